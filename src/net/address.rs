//! Names to addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::blocking;

/// What stands for socket addresses: addresses themselves, and names with a port, which are resolved on the blocking pool
/// (`getaddrinfo(3)`), never on the loop. The types are those of [`std::net::ToSocketAddrs`].
pub trait ToSocketAddrs: sealed::Named {}

mod sealed {
    use std::net::SocketAddr;

    /// An address, or a question for the resolver.
    pub enum Name {
        Known(Vec<SocketAddr>),
        Lookup(String, u16),
        Malformed(&'static str),
    }

    pub trait Named {
        fn name(&self) -> Name;
    }
}

use sealed::{Name, Named};

impl<T: Named + ?Sized> ToSocketAddrs for T {}

impl<T: Named + ?Sized> Named for &T {
    fn name(&self) -> Name {
        (**self).name()
    }
}

macro_rules! known {
    ($($type:ty),*) => {$(
        impl Named for $type {
            fn name(&self) -> Name {
                Name::Known(vec![SocketAddr::from(*self)])
            }
        }
    )*};
}

known!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl Named for [SocketAddr] {
    fn name(&self) -> Name {
        Name::Known(self.to_vec())
    }
}

impl Named for Vec<SocketAddr> {
    fn name(&self) -> Name {
        Name::Known(self.clone())
    }
}

impl<const N: usize> Named for [SocketAddr; N] {
    fn name(&self) -> Name {
        Name::Known(self.to_vec())
    }
}

impl Named for (&str, u16) {
    fn name(&self) -> Name {
        match self.0.parse::<IpAddr>() {
            Ok(ip) => Name::Known(vec![SocketAddr::new(ip, self.1)]),
            Err(_) => Name::Lookup(self.0.to_string(), self.1),
        }
    }
}

impl Named for (String, u16) {
    fn name(&self) -> Name {
        (self.0.as_str(), self.1).name()
    }
}

impl Named for str {
    fn name(&self) -> Name {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Name::Known(vec![address]);
        }
        let Some((host, port)) = self.rsplit_once(':') else {
            return Name::Malformed("a socket address without a port: write HOST:PORT");
        };
        match port.parse() {
            Ok(port) => (host, port).name(),
            Err(_) => Name::Malformed("a socket address whose port is not a number from 0 to 65535"),
        }
    }
}

impl Named for String {
    fn name(&self) -> Name {
        self.as_str().name()
    }
}

/// The addresses that a name stands for, in the resolver's order. Names are resolved by `getaddrinfo(3)` on the blocking
/// pool; addresses are given as they are.
///
/// ```
/// # ringtoss::block_on(async {
/// let mut addresses = ringtoss::net::lookup_host("localhost:80").await?;
/// assert!(addresses.all(|address| address.ip().is_loopback()));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// `InvalidInput` for what is no name with a port; the resolver's error otherwise. Dropped, the look-up goes on in its
/// thread and its answer is dropped.
pub async fn lookup_host<A: ToSocketAddrs>(host: A) -> io::Result<impl Iterator<Item = SocketAddr>> {
    resolve(&host).await.map(Vec::into_iter)
}

pub(super) async fn resolve<A: ToSocketAddrs>(host: &A) -> io::Result<Vec<SocketAddr>> {
    // Asked before the first await, so that the future does not hold the name.
    match host.name() {
        Name::Known(addresses) => Ok(addresses),
        Name::Malformed(reason) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason)),
        Name::Lookup(host, port) => {
            blocking::run(move || {
                std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port)).map(Iterator::collect)
            })
            .await
        }
    }
}

/// Makes something of the first address with which that works, or gives the error of the last.
pub(super) async fn first_that_works<A: ToSocketAddrs, T>(
    name: &A,
    make: impl Fn(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in resolve(name).await? {
        match make(&address) {
            Ok(made) => return Ok(made),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

/// What is said when there was no address to try.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any address")
}
