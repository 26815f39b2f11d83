//! `UnixSocket`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::{UnixDatagram, UnixListener, UnixStream};
use crate::blocking;
use crate::fd::Fd;
use crate::op::{self, Operation};
use crate::sys;

/// A Unix socket that is not yet a [`UnixStream`], a [`UnixListener`] or a [`UnixDatagram`]: for a stream that has an address of
/// its own, for instance, or for options that are to be set before.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::unix::UnixSocket;
/// let folder = tempfile::tempdir()?;
/// let (server, client) = (UnixSocket::new_stream()?, UnixSocket::new_stream()?);
/// server.bind(folder.path().join("server")).await?;
/// let listener = server.listen(16)?;
/// client.bind(folder.path().join("client")).await?;
/// let stream = client.connect(folder.path().join("server")).await?;
/// let (_, peer) = listener.accept().await?;
/// assert_eq!(peer.as_pathname(), Some(&*folder.path().join("client")));
/// # drop(stream); std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UnixSocket {
    socket: OwnedFd,
    kind: libc::c_int,
}

impl UnixSocket {
    /// A socket for streams: `socket(2)`.
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn new_stream() -> io::Result<UnixSocket> {
        UnixSocket::of(libc::SOCK_STREAM)
    }

    /// A socket for datagrams: `socket(2)`.
    ///
    /// # Errors
    /// As [`new_stream`](UnixSocket::new_stream).
    pub fn new_datagram() -> io::Result<UnixSocket> {
        UnixSocket::of(libc::SOCK_DGRAM)
    }

    fn of(kind: libc::c_int) -> io::Result<UnixSocket> {
        sys::socket(libc::AF_UNIX, kind).map(|socket| UnixSocket { socket, kind })
    }

    /// Makes the path its address: `bind(2)`, on the blocking pool. (tokio's does it at once, on the loop.) Dropped early, the
    /// path may be made nevertheless.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub async fn bind(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same with any address of the family.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub async fn bind_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let (socket, address) = (self.socket.try_clone()?, address.clone());
        blocking::run(move || sys::bind(socket.as_raw_fd(), &address)).await
    }

    /// Listens: `listen(2)`. At most `backlog` connections may wait to be accepted; the kernel lowers it to
    /// `net.core.somaxconn`.
    ///
    /// # Errors
    /// `InvalidInput` if it is for datagrams, or has no address.
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.must_be(libc::SOCK_STREAM)?;
        sys::listen(self.socket.as_raw_fd(), backlog.try_into().unwrap_or(libc::c_int::MAX))?;
        Ok(UnixListener::from(self.socket))
    }

    /// Connects: `IORING_OP_CONNECT`, `connect(2)`. Dropped early, it is cancelled and closed.
    ///
    /// # Errors
    /// As [`UnixStream::connect`]; `InvalidInput` if it is for datagrams.
    pub async fn connect(self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        self.connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same to any address of the family.
    ///
    /// # Errors
    /// As [`connect`](UnixSocket::connect).
    pub async fn connect_addr(self, address: &SocketAddr) -> io::Result<UnixStream> {
        self.must_be(libc::SOCK_STREAM)?;
        let fd = Fd::new(self.socket);
        Operation::on(&fd, op::Connect::new(fd.raw(), address)).await?;
        Ok(UnixStream::of(fd))
    }

    /// The socket for datagrams that it is.
    ///
    /// # Errors
    /// `InvalidInput` if it is for streams.
    pub fn datagram(self) -> io::Result<UnixDatagram> {
        self.must_be(libc::SOCK_DGRAM)?;
        Ok(UnixDatagram::from(self.socket))
    }

    fn must_be(&self, kind: libc::c_int) -> io::Result<()> {
        if self.kind == kind {
            return Ok(());
        }
        let reason = if kind == libc::SOCK_STREAM { "a socket for datagrams" } else { "a socket for streams" };
        Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
