//! `TcpSocket`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::socket::Bound;
use super::{TcpListener, TcpStream, domain};
use crate::fd::Fd;
use crate::op::{self, Operation};
use crate::sys;

/// A TCP socket that neither listens nor is connected yet: for options that have to be set before that, and for the
/// address that a connection is to come from.
///
/// Its calls are direct ones, but for connecting: none of them blocks, and through the ring each would cost a turn
/// ([why](crate::net#set-up)).
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::TcpSocket;
/// use std::time::Duration;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_keepalive(true)?;
/// socket.set_keepalive_time(Duration::from_secs(30))?;
/// let stream = socket.connect(listener.local_addr()?).await?;
/// assert_eq!(stream.keepalive_time()?, Duration::from_secs(30));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct TcpSocket {
    fd: Fd,
}

impl TcpSocket {
    /// A socket of IPv4: `socket(2)`.
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::of(libc::AF_INET)
    }

    /// A socket of IPv6: `socket(2)`.
    ///
    /// # Errors
    /// As [`new_v4`](TcpSocket::new_v4); `EAFNOSUPPORT` on a machine without IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::of(libc::AF_INET6)
    }

    /// A socket of the family of an address.
    pub(super) fn for_address(address: &SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::of(domain(address))
    }

    fn of(domain: libc::c_int) -> io::Result<TcpSocket> {
        sys::socket(domain, libc::SOCK_STREAM).map(|socket| TcpSocket { fd: Fd::new(socket) })
    }

    /// Sets the address of this end: `bind(2)`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Those of the call (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`).
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        sys::bind(self.fd.raw(), &address)
    }

    /// Connects: `IORING_OP_CONNECT`, `connect(2)`. Dropped, it is cancelled and closed.
    ///
    /// # Errors
    /// Those of the call (`ConnectionRefused`, `TimedOut`, `NetworkUnreachable`, …).
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        Operation::on(&self.fd, op::Connect::new(self.fd.raw(), &address)).await?;
        Ok(TcpStream::of(self.fd))
    }

    /// Listens: `listen(2)`. At most `backlog` connections may wait to be accepted; the kernel lowers it to
    /// `net.core.somaxconn`.
    ///
    /// # Errors
    /// Those of the call (`AddrInUse`).
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        sys::listen(self.fd.raw(), backlog.try_into().unwrap_or(libc::c_int::MAX))?;
        Ok(TcpListener::of(Bound::of(self.fd)))
    }

    /// The address of this end: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.fd.raw())
    }

    /// Takes a socket that was made by other means and is not connected yet, as std's type for those that are. It has to be
    /// of the Internet families.
    pub fn from_std_stream(stream: std::net::TcpStream) -> TcpSocket {
        TcpSocket::from(OwnedFd::from(stream))
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpSocket");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.fd.raw()).finish()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}

impl From<OwnedFd> for TcpSocket {
    fn from(fd: OwnedFd) -> TcpSocket {
        let lingers = matches!(sys::linger(fd.as_raw_fd()), Ok(Some(_)));
        let fd = Fd::new(fd);
        fd.set_lingers(lingers);
        TcpSocket { fd }
    }
}
