//! What has to be said before a socket is bound.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use super::address::{ToSocketAddrs, first_that_works};
use super::listener::BACKLOG;
use super::{TcpListener, TcpSocket, UdpSocket};
use crate::sys;

pub(super) type Configure<S> = Box<dyn Fn(&S) -> io::Result<()> + Send + Sync>;

/// How a TCP listener is made: by [`TcpListener::builder`].
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::TcpListener;
///
/// // One of several listeners that share a port, on one loop each.
/// let listener = TcpListener::builder().reuseport(true).backlog(128).bind("127.0.0.1:0").await?;
/// let address = listener.local_addr()?;
/// let another = TcpListener::builder().reuseport(true).configure(|socket| socket.set_mss(1200)).bind(address).await?;
/// assert_eq!(another.local_addr()?, address);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[must_use = "a builder makes nothing before it is told to bind"]
pub struct ListenerBuilder {
    backlog: u32,
    reuseaddr: bool,
    reuseport: bool,
    only_v6: Option<bool>,
    fastopen: u32,
    device: Option<Vec<u8>>,
    configure: Option<Configure<TcpSocket>>,
}

impl ListenerBuilder {
    pub(super) fn new() -> ListenerBuilder {
        ListenerBuilder {
            backlog: BACKLOG,
            reuseaddr: true,
            reuseport: false,
            only_v6: None,
            fastopen: 0,
            device: None,
            configure: None,
        }
    }

    /// How many connections may wait to be accepted: 4096 unless told otherwise; the kernel lowers it to
    /// `net.core.somaxconn`.
    pub fn backlog(mut self, connections: u32) -> ListenerBuilder {
        self.backlog = connections;
        self
    }

    /// Whether a port can be bound on which connections were closed a short while ago (`SO_REUSEADDR`): yes, unless told
    /// otherwise.
    pub fn reuseaddr(mut self, on: bool) -> ListenerBuilder {
        self.reuseaddr = on;
        self
    }

    /// Whether several listeners of one user may have the same port and share the connections: `SO_REUSEPORT`.
    pub fn reuseport(mut self, on: bool) -> ListenerBuilder {
        self.reuseport = on;
        self
    }

    /// Whether a listener on an address of IPv6 takes no connections of IPv4: `IPV6_V6ONLY`. It is the system's default
    /// unless told (`net.ipv6.bindv6only`).
    pub fn only_v6(mut self, on: bool) -> ListenerBuilder {
        self.only_v6 = Some(on);
        self
    }

    /// How many connections that came with their first bytes may wait to be established: `TCP_FASTOPEN`. None are taken
    /// unless told.
    pub fn fastopen(mut self, queue_len: u32) -> ListenerBuilder {
        self.fastopen = queue_len;
        self
    }

    /// Takes connections that come by this device (interface) only: `SO_BINDTODEVICE`.
    pub fn device(mut self, interface: &[u8]) -> ListenerBuilder {
        self.device = Some(interface.to_vec());
        self
    }

    /// Whatever else is to be set before it is bound. Connections inherit most of it.
    pub fn configure(mut self, with: impl Fn(&TcpSocket) -> io::Result<()> + Send + Sync + 'static) -> ListenerBuilder {
        self.configure = Some(Box::new(with));
        self
    }

    /// Listens on the first of the addresses that can be bound. Port 0 lets the kernel choose. Direct calls
    /// ([why](crate::net#set-up)).
    ///
    /// # Errors
    /// Those of `setsockopt(2)` and `bind(2)` for the last address (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`),
    /// and those of [`lookup_host`](super::lookup_host).
    pub async fn bind<A: ToSocketAddrs>(self, address: A) -> io::Result<TcpListener> {
        first_that_works(&address, |address| self.listen(address)).await
    }

    fn listen(&self, address: &SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::for_address(address)?;
        socket.set_reuseaddr(self.reuseaddr)?;
        if self.reuseport {
            socket.set_reuseport(true)?;
        }
        if let Some(on) = self.only_v6.filter(|_| address.is_ipv6()) {
            socket.set_only_v6(on)?;
        }
        if self.fastopen > 0 {
            socket.set_fastopen(self.fastopen)?;
        }
        if let Some(interface) = &self.device {
            socket.bind_device(Some(interface))?;
        }
        if let Some(configure) = &self.configure {
            configure(&socket)?;
        }
        socket.bind(*address)?;
        socket.listen(self.backlog)
    }
}

impl fmt::Debug for ListenerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerBuilder")
            .field("backlog", &self.backlog)
            .field("reuseaddr", &self.reuseaddr)
            .field("reuseport", &self.reuseport)
            .field("only_v6", &self.only_v6)
            .field("fastopen", &self.fastopen)
            .finish_non_exhaustive()
    }
}

/// How a UDP socket is made: by [`UdpSocket::builder`].
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::UdpSocket;
///
/// let socket = UdpSocket::builder().reuseport(true).bind("127.0.0.1:0").await?;
/// let another = UdpSocket::builder().reuseport(true).bind(socket.local_addr()?).await?;
/// assert_eq!(another.local_addr()?, socket.local_addr()?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[must_use = "a builder makes nothing before it is told to bind"]
#[derive(Default)]
pub struct UdpBuilder {
    reuseaddr: bool,
    reuseport: bool,
    only_v6: Option<bool>,
    device: Option<Vec<u8>>,
    configure: Option<Configure<UdpSocket>>,
}

impl UdpBuilder {
    /// Whether several sockets may have the same address and port, of which the last one gets what comes (and each of them
    /// what comes to groups): `SO_REUSEADDR`.
    pub fn reuseaddr(mut self, on: bool) -> UdpBuilder {
        self.reuseaddr = on;
        self
    }

    /// Whether several sockets of one user may have the same port and share what comes: `SO_REUSEPORT`.
    pub fn reuseport(mut self, on: bool) -> UdpBuilder {
        self.reuseport = on;
        self
    }

    /// Whether a socket on an address of IPv6 takes nothing of IPv4: `IPV6_V6ONLY`. It is the system's default unless told
    /// (`net.ipv6.bindv6only`).
    pub fn only_v6(mut self, on: bool) -> UdpBuilder {
        self.only_v6 = Some(on);
        self
    }

    /// Takes what comes by this device (interface) only: `SO_BINDTODEVICE`.
    pub fn device(mut self, interface: &[u8]) -> UdpBuilder {
        self.device = Some(interface.to_vec());
        self
    }

    /// Whatever else is to be set before it is bound.
    pub fn configure(mut self, with: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static) -> UdpBuilder {
        self.configure = Some(Box::new(with));
        self
    }

    /// Binds to the first of the addresses that can be bound: `socket(2)`, `bind(2)`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// As [`ListenerBuilder::bind`].
    pub async fn bind<A: ToSocketAddrs>(self, address: A) -> io::Result<UdpSocket> {
        first_that_works(&address, |address| self.bind_to(address)).await
    }

    fn bind_to(&self, address: &SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::unbound(super::domain(address))?;
        if self.reuseaddr {
            socket.set_reuseaddr(true)?;
        }
        if self.reuseport {
            socket.set_reuseport(true)?;
        }
        if let Some(on) = self.only_v6.filter(|_| address.is_ipv6()) {
            socket.set_only_v6(on)?;
        }
        if let Some(interface) = &self.device {
            socket.bind_device(Some(interface))?;
        }
        if let Some(configure) = &self.configure {
            configure(&socket)?;
        }
        sys::bind(socket.as_raw_fd(), address)?;
        Ok(socket)
    }
}

impl fmt::Debug for UdpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpBuilder")
            .field("reuseaddr", &self.reuseaddr)
            .field("reuseport", &self.reuseport)
            .field("only_v6", &self.only_v6)
            .finish_non_exhaustive()
    }
}
