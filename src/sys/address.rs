//! Socket addresses as the kernel has them.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;

use super::check;

/// Where a path starts in `struct sockaddr_un`.
const PATH_OFFSET: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

/// An address of any family, as the kernel takes and gives it.
#[derive(Clone, Copy)]
pub struct RawAddress {
    pub(crate) storage: libc::sockaddr_storage,
    pub(crate) len: libc::socklen_t,
}

impl RawAddress {
    /// None: what the kernel has not written.
    pub(crate) fn none() -> RawAddress {
        // SAFETY: the storage is plain bytes, for which zero is valid.
        RawAddress { storage: unsafe { mem::zeroed() }, len: 0 }
    }

    /// Room for the kernel to write one.
    pub(crate) fn room() -> RawAddress {
        RawAddress { len: size_of::<libc::sockaddr_storage>() as libc::socklen_t, ..RawAddress::none() }
    }

    fn holding<T: Copy>(value: T, len: usize) -> RawAddress {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        let mut raw = RawAddress::none();
        raw.len = len as libc::socklen_t;
        // SAFETY: the storage is large enough and aligned for every address family.
        unsafe { (&raw mut raw.storage).cast::<T>().write(value) };
        raw
    }

    /// Bytes of one, the family first. `None` if there are more than any address has, or not even a family.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<RawAddress> {
        let mut raw = RawAddress::none();
        if bytes.len() < size_of::<libc::sa_family_t>() || bytes.len() > size_of::<libc::sockaddr_storage>() {
            return None;
        }
        // SAFETY: the storage is as large as the bytes or larger (checked above), plain bytes itself, and elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (&raw mut raw.storage).cast(), bytes.len()) };
        raw.len = bytes.len() as libc::socklen_t;
        Some(raw)
    }

    /// Its bytes, the family first.
    pub(crate) fn bytes(&self) -> &[u8] {
        let len = (self.len as usize).min(size_of::<libc::sockaddr_storage>());
        // SAFETY: the storage is larger or as large, all of it is initialised, and bytes have no invalid values.
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), len) }
    }

    pub(crate) fn family(&self) -> libc::c_int {
        libc::c_int::from(self.storage.ss_family)
    }

    /// The path or name of a Unix address, with the NUL before or behind it.
    fn unix_name(&self) -> &[u8] {
        self.bytes().get(PATH_OFFSET..).unwrap_or_default()
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawAddress").field("family", &self.family()).field("len", &self.len).finish()
    }
}

/// An address of std's.
pub trait Address: Clone + fmt::Debug + Sized + 'static {
    /// As the kernel wants it.
    #[doc(hidden)]
    fn encode(&self) -> RawAddress;

    /// As the kernel wrote it.
    #[doc(hidden)]
    fn decode(raw: &RawAddress) -> io::Result<Self>;
}

impl Address for SocketAddr {
    fn encode(&self) -> RawAddress {
        match self {
            SocketAddr::V4(v4) => {
                let inner = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                RawAddress::holding(inner, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                let inner = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                RawAddress::holding(inner, size_of::<libc::sockaddr_in6>())
            }
        }
    }

    fn decode(raw: &RawAddress) -> io::Result<SocketAddr> {
        let start = &raw const raw.storage;
        match raw.family() {
            libc::AF_INET => {
                // SAFETY: the family says which structure it is; the storage is large enough and aligned for it.
                let inner = unsafe { start.cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(inner.sin_addr.s_addr.to_ne_bytes());
                Ok(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(inner.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let inner = unsafe { start.cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(inner.sin6_addr.s6_addr);
                let port = u16::from_be(inner.sin6_port);
                Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, inner.sin6_flowinfo, inner.sin6_scope_id)))
            }
            family => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("address family {family} is neither IPv4 nor IPv6"),
            )),
        }
    }
}

impl Address for net::SocketAddr {
    fn encode(&self) -> RawAddress {
        let mut inner = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        // A path has a NUL behind it, an abstract name has one before it, and std lets neither be too long.
        let (from, bytes, nul) = match (self.as_pathname(), self.as_abstract_name()) {
            (Some(path), _) => (0, path.as_os_str().as_bytes(), 1),
            (None, Some(name)) => (1, name, 1),
            (None, None) => (0, &[][..], 0),
        };
        for (to, &byte) in inner.sun_path[from..].iter_mut().zip(bytes) {
            *to = byte as libc::c_char;
        }
        RawAddress::holding(inner, PATH_OFFSET + bytes.len() + nul)
    }

    fn decode(raw: &RawAddress) -> io::Result<net::SocketAddr> {
        // The kernel writes nothing at all for a sender without a name.
        if raw.len > 0 && raw.family() != libc::AF_UNIX {
            let family = raw.family();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("address family {family} is not that of Unix sockets"),
            ));
        }
        match raw.unix_name() {
            // The empty path is how std says that there is no name.
            [] => net::SocketAddr::from_pathname(""),
            [0, name @ ..] => net::SocketAddr::from_abstract_name(name),
            path => {
                let end = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
                // The kernel lets a path be one byte longer than std can say. Then it has no name, but is no error:
                // that would lose the connection.
                net::SocketAddr::from_pathname(OsStr::from_bytes(&path[..end]))
                    .or_else(|_| net::SocketAddr::from_pathname(""))
            }
        }
    }
}

/// The address that a socket is bound to: `getsockname(2)`.
pub(crate) fn local_address<A: Address>(fd: RawFd) -> io::Result<A> {
    ask(fd, libc::getsockname)
}

/// The address that a socket is connected to: `getpeername(2)`.
pub(crate) fn peer_address<A: Address>(fd: RawFd) -> io::Result<A> {
    ask(fd, libc::getpeername)
}

type Ask = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn ask<A: Address>(fd: RawFd, call: Ask) -> io::Result<A> {
    let mut raw = RawAddress::room();
    // SAFETY: storage and length live over the call, which writes at most `len` bytes.
    check(unsafe { call(fd, (&raw mut raw.storage).cast(), &raw mut raw.len) })?;
    A::decode(&raw)
}

/// `bind(2)`. Does not block on the network; a path is looked up and made.
pub(crate) fn bind<A: Address>(fd: RawFd, address: &A) -> io::Result<()> {
    let raw = address.encode();
    // SAFETY: the address lives over the call, and its length is passed.
    check(unsafe { libc::bind(fd, (&raw const raw.storage).cast(), raw.len) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in
            ["127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:443", "[fe80::1%7]:1", "[::ffff:1.2.3.4]:9"]
        {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(SocketAddr::decode(&address.encode()).unwrap(), address);
        }
        assert!(SocketAddr::decode(&RawAddress::none()).is_err());
    }

    #[test]
    fn unix_addresses_survive_the_way_to_the_kernel_and_back() {
        let longest = "p".repeat(107);
        for path in ["/run/it", "relative", "with space", longest.as_str()] {
            let address = net::SocketAddr::from_pathname(path).unwrap();
            assert_eq!(net::SocketAddr::decode(&address.encode()).unwrap().as_pathname(), Some(Path::new(path)));
        }
        let longest = [7u8; 107];
        for name in [&b"name"[..], b"", b"\0in\0side\0", &longest] {
            let address = net::SocketAddr::from_abstract_name(name).unwrap();
            assert_eq!(net::SocketAddr::decode(&address.encode()).unwrap().as_abstract_name(), Some(name));
        }
        let unnamed = net::SocketAddr::decode(&RawAddress::none()).unwrap();
        assert!(unnamed.is_unnamed());
        assert!(net::SocketAddr::decode(&unnamed.encode()).unwrap().is_unnamed());
        let ip: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(net::SocketAddr::decode(&ip.encode()).is_err());
    }
}
