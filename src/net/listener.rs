//! `TcpListener`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::address::{ToSocketAddrs, no_address, resolve};
use super::{ConvertError, TcpStream, domain};
use crate::fd::Fd;
use crate::op::{self, Accept, Incoming, Operation};
use crate::sys;

/// Connections that may wait to be accepted, unless told otherwise; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// A TCP socket that listens: `socket(2)`, `bind(2)`, `listen(2)`, `accept4(2)`.
///
/// When it is dropped the port is free at once, also if accepts were in flight: the loop cancels them, closes and waits for
/// both, which takes a kernel entry. Dropped on another thread than that of the loop on which it has accepted, it goes there
/// to be closed, and the port is free soon. Connections that were accepted and not taken are closed, and their peers see
/// the end.
pub struct TcpListener {
    /// Taken by `drop` and conversions only.
    fd: Option<Fd>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with `SO_REUSEADDR`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Those of `bind(2)` for the last address (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`), and those of
    /// [`lookup_host`](super::lookup_host).
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        TcpListener::bind_with_backlog(address, BACKLOG).await
    }

    /// The same with a bound on how many connections may wait to be accepted.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub async fn bind_with_backlog<A: ToSocketAddrs>(address: A, backlog: u32) -> io::Result<TcpListener> {
        let mut last = None;
        for address in resolve(&address).await? {
            match listen(&address, backlog) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    fn fd(&self) -> &Fd {
        self.fd.as_ref().expect("taken at the end only")
    }

    /// Waits for a connection: `IORING_OP_ACCEPT`, `accept4(2)`. Several may wait at once.
    ///
    /// Dropped, nothing is lost: a connection that arrives nevertheless is given to the next accept.
    ///
    /// # Errors
    /// Those of `accept(2)`. After `EMFILE` or `ENFILE`, which are reported when descriptors that were about to be closed
    /// did not help, the connection still waits, and accepting goes on when there are descriptors again.
    pub fn accept(&self) -> Operation<'_, Accept<TcpStream>> {
        let fd = self.fd();
        Operation::on(fd, Accept::new(fd.raw(), fd.lingers()))
    }

    /// Connections as they come: one submission serves many accepts (`IORING_ACCEPT_MULTISHOT`).
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::net::{TcpListener, TcpStream};
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let _clients = [TcpStream::connect(listener.local_addr()?).await?, TcpStream::connect(listener.local_addr()?).await?];
    /// let mut incoming = listener.incoming();
    /// let first = incoming.next().await?;
    /// let second = incoming.next().await?;
    /// assert_ne!(first.peer_addr()?, second.peer_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_, TcpStream> {
        Incoming::new(self.fd())
    }

    /// The address that it listens on: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.fd().raw())
    }

    /// The time-to-live of packets, in hops: `IP_TTL`, `ip(7)`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        sys::option::<libc::c_int>(self.fd().raw(), libc::IPPROTO_IP, libc::IP_TTL).map(|hops| hops as u32)
    }

    /// Sets the time-to-live of packets, in hops; accepted connections inherit it.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        sys::set_option(self.fd().raw(), libc::IPPROTO_IP, libc::IP_TTL, hops as libc::c_int)
    }

    /// The error that is pending on the socket, once: `SO_ERROR`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        super::stream::take_error(self.fd().raw())
    }

    /// Takes a listener of std's.
    pub fn from_std(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::from(OwnedFd::from(listener))
    }

    /// Gives the listener to std, which blocks unless the listener was made of a socket that does not (`O_NONBLOCK`).
    /// Accepts that were dropped are ended first.
    ///
    /// # Errors
    /// With the listener, if one of those has received a connection that std would not see, or is in flight on another
    /// loop.
    pub fn into_std(mut self) -> Result<std::net::TcpListener, ConvertError<TcpListener>> {
        if let Err(error) = self.fd().settle_now() {
            return Err(ConvertError::new(error, self));
        }
        if self.fd().salvage_if_made().is_some_and(|salvage| salvage.has_items()) {
            return Err(ConvertError::unaccepted(self));
        }
        let fd = self.fd.take().expect("taken at the end only");
        match fd.into_owned() {
            Ok(fd) => Ok(std::net::TcpListener::from(fd)),
            Err((error, fd)) => Err(ConvertError::new(error, TcpListener { fd: Some(fd) })),
        }
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. The port is free then, as when it is dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(mut self) -> io::Result<()> {
        let fd = self.fd.take().expect("taken at the end only");
        // Accepts that were dropped hold the socket open. Away from home it is closed soon anyway.
        let _ = fd.settle_now();
        op::close(fd).await
    }
}

fn listen(address: &SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = sys::socket(domain(address), libc::SOCK_STREAM)?;
    let raw = socket.as_raw_fd();
    sys::set_option(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1 as libc::c_int)?;
    sys::bind(raw, address)?;
    sys::listen(raw, backlog.try_into().unwrap_or(libc::c_int::MAX))?;
    Ok(TcpListener { fd: Some(Fd::new(socket)) })
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            fd.close_and_wait();
        }
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.fd().raw()).finish()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd().borrow()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd().raw()
    }
}

impl From<OwnedFd> for TcpListener {
    fn from(fd: OwnedFd) -> TcpListener {
        let fd = Fd::new(fd);
        fd.set_lingers(matches!(sys::linger(fd.raw()), Ok(Some(_))));
        TcpListener { fd: Some(fd) }
    }
}

impl From<std::net::TcpListener> for TcpListener {
    fn from(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::from_std(listener)
    }
}
