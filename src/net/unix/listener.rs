//! `UnixListener`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::{UnixStream, bound};
use crate::convert::ConvertError;
use crate::net::listener::BACKLOG;
use crate::net::socket::{self, Bound};
use crate::op::{Accept, Incoming, Operation};
use crate::sys;

/// A Unix socket that listens: `socket(2)`, `bind(2)`, `listen(2)`, `accept4(2)`.
///
/// When it is dropped its abstract name is free at once; a path stays until it is removed, as with std and tokio.
/// Connections that were accepted and not taken are closed, and their peers see the end.
pub struct UnixListener {
    socket: Bound,
}

impl UnixListener {
    /// Makes a socket at a path and listens there. The path is made on the blocking pool. Dropped early, the path may be
    /// made nevertheless.
    ///
    /// # Errors
    /// Those of `bind(2)` (`AddrInUse` if there is anything at the path, `NotFound`, `PermissionDenied`); `InvalidInput` if the
    /// path has a NUL byte or 108 bytes or more.
    pub async fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same at any address of the family.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        let listen = |socket: &OwnedFd| sys::listen(socket.as_raw_fd(), BACKLOG as libc::c_int);
        let socket = bound(libc::SOCK_STREAM, address.clone(), listen).await?;
        Ok(UnixListener { socket: Bound::new(socket) })
    }

    /// Waits for a connection: `IORING_OP_ACCEPT`, `accept4(2)`. Several may wait at once.
    ///
    /// Dropped, nothing is lost: a connection that arrives nevertheless is given to the next accept.
    ///
    /// # Errors
    /// Those of `accept(2)`. After `EMFILE` or `ENFILE` the connection still waits, and accepting goes on when there are
    /// descriptors again.
    pub fn accept(&self) -> Operation<'_, Accept<UnixStream>> {
        self.socket.accept()
    }

    /// Connections as they come: one submission serves many accepts (`IORING_ACCEPT_MULTISHOT`).
    ///
    /// They are accepted ahead of who asks, so it is for a listener that no other loop shares, and for a server that
    /// takes all who come: where connections are to be shared between loops or limited,
    /// [`accept`](UnixListener::accept) them. [`Incoming`] has the figures.
    pub fn incoming(&self) -> Incoming<'_, UnixStream> {
        self.socket.incoming()
    }

    /// The address that it listens on: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.socket.raw())
    }

    /// The error that is pending on the socket, once: `SO_ERROR`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.socket.raw())
    }

    /// Takes a listener of std's.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> UnixListener {
        UnixListener::from(OwnedFd::from(listener))
    }

    /// Gives the listener to std, in blocking mode. Accepts that were dropped are ended first.
    ///
    /// # Errors
    /// With the listener, if one of those has received a connection that std would not see, or is in flight on another
    /// loop.
    pub fn into_std(self) -> Result<std::os::unix::net::UnixListener, ConvertError<UnixListener>> {
        let back = |(error, socket)| ConvertError::unaccepted(error, UnixListener { socket });
        self.socket.into_owned().map(Into::into).map_err(back)
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.socket.raw()).finish()
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw()
    }
}

impl From<OwnedFd> for UnixListener {
    fn from(fd: OwnedFd) -> UnixListener {
        UnixListener { socket: Bound::new(fd) }
    }
}

impl From<std::os::unix::net::UnixListener> for UnixListener {
    fn from(listener: std::os::unix::net::UnixListener) -> UnixListener {
        UnixListener::from_std(listener)
    }
}
