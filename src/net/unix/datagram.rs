//! `UnixDatagram`.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::bound;
use crate::buf::{IoBuf, IoBufMut};
use crate::convert::ConvertError;
use crate::net::datagram::DatagramSocket;
use crate::net::socket::{self, Bound};
use crate::net::try_now;
use crate::op::{
    self, Datagrams, Details, Operation, Plain, PollAdd, Receive, Receives, RecvMsg, RecvMsgLease, SendMsg, WithRights,
    WithSource,
};
use crate::sys::{self, Address, RawAddress};

/// A datagram that was received into a buffer of the loop's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnixMessage {
    /// Where it came from, which may be unnamed.
    pub from: SocketAddr,
    /// The buffer was too small, and the rest of the datagram is gone: `MSG_TRUNC`.
    pub truncated: bool,
}

impl Receives for UnixMessage {
    type Output = UnixMessage;
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = 0;

    fn received(details: Details<'_>) -> io::Result<UnixMessage> {
        Ok(UnixMessage { from: details.from()?, truncated: details.flags & libc::MSG_TRUNC != 0 })
    }
}

/// A Unix socket of datagrams, which on this family are neither lost nor reordered.
///
/// Receives and sends take a buffer by value and give it back. Each may be dropped at any moment, and nothing is lost: a
/// datagram that a dropped receive has received comes out of the next one, whole and with its source; a dropped send has
/// sent its datagram or has not, the next send waits until that is known, and
/// [`take_dropped_write`](UnixDatagram::take_dropped_write) tells. (What the buffer of a dropped receive was too small for
/// is cut off, as it would have been otherwise.)
///
/// ```
/// # ringtoss::block_on(async {
/// let (a, b) = ringtoss::net::UnixDatagram::pair()?;
/// a.send("one").await.0?;
/// a.send("").await.0?;
/// let (result, buf) = b.recv(Vec::with_capacity(16)).await;
/// assert_eq!((result?, &buf[..]), (3, &b"one"[..]));
/// assert_eq!(b.recv(buf).await.0?, 0); // an empty datagram; the end would be an error
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixDatagram {
    socket: DatagramSocket,
}

impl UnixDatagram {
    /// Makes a socket at a path. The path is made on the blocking pool. Dropped early, the path may be made nevertheless.
    ///
    /// # Errors
    /// Those of `bind(2)` (`AddrInUse` if there is anything at the path, `NotFound`, `PermissionDenied`); `InvalidInput` if the
    /// path has a NUL byte or 108 bytes or more.
    pub async fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same at any address of the family. When it is dropped an abstract name is free at once.
    ///
    /// # Errors
    /// As [`UnixDatagram::bind`].
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let socket = bound(libc::SOCK_DGRAM, address.clone(), |_| Ok(())).await?;
        Ok(UnixDatagram { socket: DatagramSocket::new(Bound::new(socket)) })
    }

    /// A socket without an address, to send from: `socket(2)`.
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn unbound() -> io::Result<UnixDatagram> {
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM)?;
        Ok(UnixDatagram { socket: DatagramSocket::new(Bound::nameless(socket)) })
    }

    /// Two sockets that are connected to each other: `socketpair(2)`.
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = sys::socket_pair(libc::SOCK_DGRAM)?;
        let wrap = |fd| UnixDatagram { socket: DatagramSocket::connected(Bound::nameless(fd)) };
        Ok((wrap(a), wrap(b)))
    }

    /// Sets the peer: [`send`](UnixDatagram::send) goes there, and only what comes from there is received:
    /// `IORING_OP_CONNECT`, `connect(2)`.
    ///
    /// # Errors
    /// Those of the call (`NotFound`, `ConnectionRefused`, …); `InvalidInput` for a path that cannot be one.
    pub async fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same to any address of the family.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    pub async fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.connect(address).await
    }

    /// Sends a datagram to the peer: `IORING_OP_SEND`, `send(2)`. Waits while the peer's queue is full.
    ///
    /// # Errors
    /// Those of the call (`NotConnected`, `ConnectionRefused`, `ConnectionReset`; `EMSGSIZE` for one that is too large).
    pub fn send<B: IoBuf>(&self, buf: B) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send)
    }

    /// Sends a datagram to the socket at a path: `IORING_OP_SEND`, `sendto(2)`.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send); `NotFound`; `InvalidInput` for a path that cannot be one.
    pub fn send_to<B: IoBuf, P: AsRef<Path>>(&self, buf: B, path: P) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.to(path_address(path.as_ref())))
    }

    /// Sends a datagram to any address of the family: `IORING_OP_SEND`, `sendto(2)`.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    pub fn send_to_addr<B: IoBuf>(&self, buf: B, address: &SocketAddr) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.to(Ok(address.encode())))
    }

    /// Sends a datagram to the peer and hands these descriptors over with it: `IORING_OP_SENDMSG`, `sendmsg(2)` with
    /// `SCM_RIGHTS`. Here they are closed when it is over, however it ended; at most 253 go with one call.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send); `InvalidInput` for more than 253 descriptors.
    pub fn send_fds<B: IoBuf>(&self, buf: B, fds: Vec<OwnedFd>) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.with_rights(fds))
    }

    /// Receives a datagram, from the buffer's start; what the buffer has no room for is cut off. `IORING_OP_RECV`, `recv(2)`.
    /// 0 is an empty datagram. Several receives may wait at once.
    ///
    /// # Errors
    /// Those of the call; `UnexpectedEof` when the receiving direction was [shut down](UnixDatagram::shutdown);
    /// `InvalidInput` for a buffer without capacity.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.recv(buf)
    }

    /// The same, behind what the buffer holds: tokio's `recv_buf`.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn recv_append<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.recv_append(buf)
    }

    /// Receives a datagram and tells where it came from, which may be unnamed: `IORING_OP_RECVMSG`, `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SocketAddr>>> {
        self.socket.recv(buf)
    }

    /// Receives a datagram and the descriptors that came with it: `IORING_OP_RECVMSG`, `recvmsg(2)` with `SCM_RIGHTS`. Any
    /// other receive closes them, as the kernel does. They are closed on exec, and when they are dropped.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv). Descriptors that the process may not have any more (`RLIMIT_NOFILE`) are missing
    /// without an error.
    pub fn recv_fds<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithRights>> {
        self.socket.recv(buf)
    }

    /// Receives a datagram into a buffer of the loop's, which is picked when it arrives, as
    /// [`UdpSocket::recv_lease`](crate::net::UdpSocket::recv_lease). Descriptors that came with it are closed.
    ///
    /// # Errors
    /// As there.
    pub fn recv_lease(&self) -> Receive<'_, RecvMsgLease<UnixMessage>> {
        self.socket.recv_lease()
    }

    /// Receives datagrams without asking for each, into buffers of the loop's, as
    /// [`UdpSocket::recv_stream`](crate::net::UdpSocket::recv_stream). Descriptors that came with them are closed.
    pub fn recv_stream(&self) -> Datagrams<'_, UnixMessage> {
        self.socket.recv_stream()
    }

    /// As [`recv`](UnixDatagram::recv), and leaves the datagram there for the next receive: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.peek(buf)
    }

    /// As [`recv_from`](UnixDatagram::recv_from), and leaves the datagram there for the next receive: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn peek_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SocketAddr>>> {
        self.socket.peek(buf)
    }

    /// Waits until there is something to receive, or an error: `IORING_OP_POLL_ADD`, `poll(2)`.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        self.socket.readable()
    }

    /// Waits until the kernel would take a datagram, or there is an error.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn writable(&self) -> Operation<'_, PollAdd> {
        self.socket.writable()
    }

    /// Ends one or both directions: `shutdown(2)`, a direct call. Waits for sends that were dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub fn shutdown(&self, how: Shutdown) -> Operation<'_, op::Shutdown> {
        socket::shutdown(self.socket.fd(), how)
    }

    /// Receives a datagram that is there now, without waiting: a direct call, `recv(2)`. What the buffer has no room for is cut
    /// off.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, or while a dropped receive is in flight; those of the call.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        try_now::recv(self.socket.fd(), buf, false).map(|(count, _)| count)
    }

    /// The same, and tells where it came from: `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        try_now::recv_from(self.socket.fd(), buf, false)
    }

    /// Sends a datagram to the peer, if there is room now, without waiting: a direct call, `send(2)`.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, or while a dropped send is in flight; those of the call.
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        try_now::write(self.socket.fd(), &[IoSlice::new(buf)], None)
    }

    /// The same to the socket at a path: `sendto(2)`.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `NotFound`; `InvalidInput` for a path that cannot be one.
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.try_send_to_addr(buf, &SocketAddr::from_pathname(path)?)
    }

    /// The same to any address of the family.
    ///
    /// # Errors
    /// As [`try_send_to`](Self::try_send_to).
    pub fn try_send_to_addr(&self, buf: &[u8], address: &SocketAddr) -> io::Result<usize> {
        try_now::write(self.socket.fd(), &[IoSlice::new(buf)], Some(address.encode()))
    }

    /// What became of the last send that was dropped in flight: its bytes, if it was sent, and otherwise the error, which is
    /// `ECANCELED` if it met no other. Waits until it is known; `None` if no send was dropped since the last call.
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.socket.take_dropped_write().await
    }

    /// The address of this socket: `getsockname(2)`. Unnamed unless it was bound.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.as_raw_fd())
    }

    /// The address of the peer: `getpeername(2)`.
    ///
    /// # Errors
    /// Those of the call (`NotConnected`).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_address(self.as_raw_fd())
    }

    /// The error that is pending on the socket, once: `SO_ERROR`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.as_raw_fd())
    }

    /// Takes a socket of std's.
    pub fn from_std(socket: std::os::unix::net::UnixDatagram) -> UnixDatagram {
        UnixDatagram::from(OwnedFd::from(socket))
    }

    /// Gives the socket to std, in blocking mode. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the socket, if a dropped receive has received a datagram, which std would not see (see
    /// [`into_parts`](UnixDatagram::into_parts)), or if dropped operations are in flight on another loop.
    pub fn into_std(self) -> Result<std::os::unix::net::UnixDatagram, ConvertError<UnixDatagram>> {
        let back = |(error, socket)| ConvertError::refused(error, UnixDatagram { socket });
        self.socket.into_owned().map(Into::into).map_err(back)
    }

    /// Gives the socket to std together with the datagrams that dropped receives have received and nobody has taken yet.
    ///
    /// # Errors
    /// With the socket, if a dropped receive has met an error, or descriptors, which would be lost, if dropped operations are in flight on
    /// another loop, or, away from its own loop, if no duplicate of the descriptor could be had (`EMFILE`).
    #[expect(clippy::type_complexity, reason = "it is what it says")]
    pub fn into_parts(
        self,
    ) -> Result<(std::os::unix::net::UnixDatagram, Vec<(Vec<u8>, SocketAddr)>), ConvertError<UnixDatagram>> {
        match self.socket.into_parts() {
            Ok((fd, unread)) => Ok((fd.into(), unread)),
            Err(failure) => Err(failure.map(|socket| UnixDatagram { socket })),
        }
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. Waits for sends that were dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

/// A path as an address, or why it cannot be one, in std's words.
fn path_address(path: &Path) -> Result<RawAddress, &'static str> {
    let nul = path.as_os_str().as_bytes().contains(&0);
    match SocketAddr::from_pathname(path) {
        Ok(address) => Ok(address.encode()),
        Err(_) if nul => Err("paths must not contain interior null bytes"),
        Err(_) => Err("path must be shorter than SUN_LEN"),
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixDatagram");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.fd().raw()
    }
}

impl From<OwnedFd> for UnixDatagram {
    fn from(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram { socket: DatagramSocket::foreign::<SocketAddr>(Bound::new(fd)) }
    }
}

impl From<std::os::unix::net::UnixDatagram> for UnixDatagram {
    fn from(socket: std::os::unix::net::UnixDatagram) -> UnixDatagram {
        UnixDatagram::from_std(socket)
    }
}
