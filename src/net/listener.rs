//! `TcpListener`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::address::ToSocketAddrs;
use super::builder::ListenerBuilder;
use super::socket::Bound;
use super::{ConvertError, TcpStream};
use crate::op::{Accept, Incoming, Operation};
use crate::sys;

/// Connections that may wait to be accepted, unless told otherwise; the kernel lowers it to `net.core.somaxconn`.
pub(super) const BACKLOG: u32 = 4096;

/// A TCP socket that listens: `socket(2)`, `bind(2)`, `listen(2)`, `accept4(2)`.
///
/// When it is dropped the port is free at once, also if accepts were in flight: the loop cancels them, closes and waits for
/// both, which takes a kernel entry. Dropped on another thread than that of the loop on which it has accepted, it goes there
/// to be closed, and the port is free soon. Connections that were accepted and not taken are closed, and their peers see
/// the end.
pub struct TcpListener {
    socket: Bound,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with `SO_REUSEADDR`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Those of `bind(2)` for the last address (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`), and those of
    /// [`lookup_host`](super::lookup_host).
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<TcpListener> {
        TcpListener::builder().bind(address).await
    }

    /// The same with a bound on how many connections may wait to be accepted.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub async fn bind_with_backlog<A: ToSocketAddrs>(address: A, backlog: u32) -> io::Result<TcpListener> {
        TcpListener::builder().backlog(backlog).bind(address).await
    }

    /// For what else has to be said before it is bound.
    pub fn builder() -> ListenerBuilder {
        ListenerBuilder::new()
    }

    pub(super) fn of(socket: Bound) -> TcpListener {
        TcpListener { socket }
    }

    /// Waits for a connection: `IORING_OP_ACCEPT`, `accept4(2)`. Several may wait at once.
    ///
    /// Dropped, nothing is lost: a connection that arrives nevertheless is given to the next accept.
    ///
    /// # Errors
    /// Those of `accept(2)`. After `EMFILE` or `ENFILE`, which are reported when descriptors that were about to be closed
    /// did not help, the connection still waits, and accepting goes on when there are descriptors again.
    pub fn accept(&self) -> Operation<'_, Accept<TcpStream>> {
        self.socket.accept()
    }

    /// Connections as they come: one submission serves many accepts (`IORING_ACCEPT_MULTISHOT`).
    ///
    /// They are accepted ahead of who asks, so it is for a listener that no other loop shares, and for a server that
    /// takes all who come: where connections are to be shared between loops or limited, [`accept`](TcpListener::accept)
    /// them. [`Incoming`] has the figures.
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
        self.socket.incoming()
    }

    /// Another descriptor of the same listener: `fcntl(2)` with `F_DUPFD_CLOEXEC`. Each connection goes to one of them; they
    /// share what dropped accepts have left. The port is free when all of them are gone.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        self.socket.try_clone().map(|socket| TcpListener { socket })
    }

    /// The address that it listens on: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.socket.raw())
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
    pub fn into_std(self) -> Result<std::net::TcpListener, ConvertError<TcpListener>> {
        let back = |(error, socket)| ConvertError::unaccepted(error, TcpListener { socket });
        self.socket.into_owned().map(Into::into).map_err(back)
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. The port is free then, as when it is dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.socket.raw()).finish()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw()
    }
}

impl From<OwnedFd> for TcpListener {
    fn from(fd: OwnedFd) -> TcpListener {
        TcpListener { socket: Bound::foreign(fd) }
    }
}

impl From<std::net::TcpListener> for TcpListener {
    fn from(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::from_std(listener)
    }
}
