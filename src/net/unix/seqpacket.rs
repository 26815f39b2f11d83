//! `UnixSeqpacket`, `UnixSeqpacketListener`.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::bound;
use super::credentials::{self, UCred};
use crate::buf::{IoBuf, IoBufMut};
use crate::convert::ConvertError;
use crate::net::datagram::DatagramSocket;
use crate::net::listener::BACKLOG;
use crate::net::socket::{self, Bound};
use crate::op::{
    self, Accept, Accepted, Details, Incoming, Operation, PollAdd, Receives, RecvMsg, SendMsg, WithRights,
};
use crate::sys::{self, ancillary};

/// `struct timeval`.
const TIMESTAMP_BYTES: usize = size_of::<libc::timeval>();

/// A record that was received: made by [`UnixSeqpacket::recv`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Bytes in the buffer.
    pub len: usize,
    /// The buffer was too small, and the rest of the record is gone: `MSG_TRUNC`.
    pub truncated: bool,
}

impl Record {
    /// `None` at the end: a record has a timestamp, which [`prepare`] has asked for, an empty one, too.
    fn of(details: &Details<'_>) -> Option<Record> {
        let stamp = |(level, kind, _)| (level, kind) == (libc::SOL_SOCKET, libc::SO_TIMESTAMP);
        let is_record = details.len > 0 || details.control.messages().any(stamp);
        is_record.then_some(Record { len: details.len, truncated: details.flags & libc::MSG_TRUNC != 0 })
    }
}

impl Receives for Record {
    type Output = Option<Record>;
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = ancillary::space(TIMESTAMP_BYTES);
    const TELLS_END: bool = true;

    fn received(details: Details<'_>) -> io::Result<Option<Record>> {
        Ok(Record::of(&details))
    }
}

/// A record, and the descriptors that came with it. What is not taken is closed.
#[derive(Debug)]
pub struct RecordWithRights(());

impl Receives for RecordWithRights {
    type Output = Option<(Record, Vec<OwnedFd>)>;
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = WithRights::CONTROL_BYTES + Record::CONTROL_BYTES;
    const TELLS_END: bool = true;

    fn received(mut details: Details<'_>) -> io::Result<Option<(Record, Vec<OwnedFd>)>> {
        let Some(record) = Record::of(&details) else { return Ok(None) };
        Ok(Some((record, details.control.take_rights())))
    }
}

/// Nothing else tells the end from an empty record, when both can be met at once.
fn prepare(fd: RawFd) {
    // A Unix socket takes it.
    let _ = sys::set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMP, 1 as libc::c_int);
}

/// A connection of records between two sockets of the Unix family: `SOCK_SEQPACKET`, `unix(7)`. Each send is one record, each
/// receive gives one, in order, and both ends see when the other is gone.
///
/// Receives and sends take a buffer by value and give it back. Each may be dropped at any moment, and nothing is lost: a record
/// that a dropped receive has received comes out of the next one, whole; a dropped send has sent its record or has not, the
/// next send waits until that is known, and [`take_dropped_write`](UnixSeqpacket::take_dropped_write) tells. (What the buffer of
/// a dropped receive was too small for is cut off, as it would have been otherwise.)
///
/// ```
/// # ringtoss::block_on(async {
/// let (a, b) = ringtoss::net::UnixSeqpacket::pair()?;
/// a.send("one").await.0?;
/// a.send("").await.0?;
/// drop(a);
/// let (result, buf) = b.recv(Vec::with_capacity(16)).await;
/// assert_eq!((result?.map(|record| record.len), &buf[..]), (Some(3), &b"one"[..]));
/// assert_eq!(b.recv(buf).await.0?.map(|record| record.len), Some(0)); // an empty record
/// assert!(b.recv(vec![0; 16]).await.0?.is_none()); // the end
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixSeqpacket {
    socket: DatagramSocket,
}

impl UnixSeqpacket {
    /// Connects to the socket at a path: `IORING_OP_SOCKET`, `IORING_OP_CONNECT`, `connect(2)`. Dropped, it is cancelled and
    /// closed.
    ///
    /// # Errors
    /// Those of `connect(2)` (`NotFound`, `ConnectionRefused`; `EPROTOTYPE` if the socket there is of another type);
    /// `InvalidInput` if the path has a NUL byte or 108 bytes or more.
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixSeqpacket> {
        UnixSeqpacket::connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same to any address of the family.
    ///
    /// # Errors
    /// As [`UnixSeqpacket::connect`].
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixSeqpacket> {
        let socket = Operation::<op::Socket>::new(op::Socket::new(libc::AF_UNIX, libc::SOCK_SEQPACKET)).await?;
        let connection = UnixSeqpacket::from(socket);
        connection.socket.connect(address).await?;
        Ok(connection)
    }

    /// Two that are connected to each other: `socketpair(2)`.
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn pair() -> io::Result<(UnixSeqpacket, UnixSeqpacket)> {
        let (a, b) = sys::socket_pair(libc::SOCK_SEQPACKET)?;
        Ok((a.into(), b.into()))
    }

    /// Sends a record: `IORING_OP_SEND`, `send(2)`. Waits while the peer's queue is full.
    ///
    /// # Errors
    /// Those of the call (`BrokenPipe`, `ConnectionReset`; `EMSGSIZE` for one that is too large).
    pub fn send<B: IoBuf>(&self, buf: B) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send)
    }

    /// Sends a record and hands these descriptors over with it: `IORING_OP_SENDMSG`, `sendmsg(2)` with `SCM_RIGHTS`. Here they
    /// are closed when it is over, however it ended; at most 253 go with one call.
    ///
    /// # Errors
    /// As [`send`](UnixSeqpacket::send); `InvalidInput` for more than 253 descriptors.
    pub fn send_fds<B: IoBuf>(&self, buf: B, fds: Vec<OwnedFd>) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.with_rights(fds))
    }

    /// Receives a record, from the buffer's start; what the buffer has no room for is cut off, and told. `None` is the end.
    /// `IORING_OP_RECVMSG`, `recvmsg(2)`. Several receives may wait at once.
    ///
    /// # Errors
    /// Those of the call (`ConnectionReset` if the peer has left records unread); `InvalidInput` for a buffer without capacity.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Record>> {
        self.socket.recv(buf)
    }

    /// The same with the descriptors that came with it (`SCM_RIGHTS`). [`recv`](UnixSeqpacket::recv) closes them, as the kernel
    /// does. They are closed on exec, and when they are dropped.
    ///
    /// # Errors
    /// As [`recv`](UnixSeqpacket::recv). Descriptors that the process may not have any more (`RLIMIT_NOFILE`) are missing
    /// without an error.
    pub fn recv_fds<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, RecordWithRights>> {
        self.socket.recv(buf)
    }

    /// As [`recv`](UnixSeqpacket::recv), and leaves the record there for the next receive: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Record>> {
        self.socket.peek(buf)
    }

    /// Waits until there is something to receive, or the end, or an error: `IORING_OP_POLL_ADD`, `poll(2)`.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        self.socket.readable()
    }

    /// Waits until the kernel would take a record, or there is an error.
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

    /// What became of the last send that was dropped in flight: its bytes, if it was sent, and otherwise the error, which is
    /// `ECANCELED` if it met no other. Waits until it is known; `None` if no send was dropped since the last call.
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.socket.take_dropped_write().await
    }

    /// The address of this end: `getsockname(2)`. Unnamed unless it was bound.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.as_raw_fd())
    }

    /// The address of the other end: `getpeername(2)`. Unnamed unless that was bound.
    ///
    /// # Errors
    /// Those of the call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_address(self.as_raw_fd())
    }

    /// Who is at the other end: `SO_PEERCRED`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        credentials::peer(self.as_raw_fd())
    }

    /// The error that is pending on the socket, once: `SO_ERROR`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.as_raw_fd())
    }

    /// Gives the descriptor away. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the socket, if a dropped receive has received a record, which its new owner would not see, or if dropped
    /// operations are in flight on another loop.
    pub fn into_owned_fd(self) -> Result<OwnedFd, ConvertError<UnixSeqpacket>> {
        let back = |(error, socket)| ConvertError::refused(error, UnixSeqpacket { socket });
        self.socket.into_owned().map_err(back)
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. Waits for sends that were dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

/// A Unix socket that listens for connections of records.
///
/// When it is dropped its abstract name is free at once; a path stays until it is removed. Connections that were accepted and
/// not taken are closed, and their peers see the end.
pub struct UnixSeqpacketListener {
    socket: Bound,
}

impl UnixSeqpacketListener {
    /// Makes a socket at a path and listens there. The path is made on the blocking pool. Dropped early, the path may be
    /// made nevertheless.
    ///
    /// # Errors
    /// Those of `bind(2)` (`AddrInUse` if there is anything at the path, `NotFound`, `PermissionDenied`); `InvalidInput` if the
    /// path has a NUL byte or 108 bytes or more.
    pub async fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixSeqpacketListener> {
        UnixSeqpacketListener::bind_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same at any address of the family.
    ///
    /// # Errors
    /// As [`UnixSeqpacketListener::bind`].
    pub async fn bind_addr(address: &SocketAddr) -> io::Result<UnixSeqpacketListener> {
        let listen = |socket: &OwnedFd| sys::listen(socket.as_raw_fd(), BACKLOG as libc::c_int);
        let socket = bound(libc::SOCK_SEQPACKET, address.clone(), listen).await?;
        Ok(UnixSeqpacketListener::from(socket))
    }

    /// Waits for a connection: `IORING_OP_ACCEPT`, `accept4(2)`. Several may wait at once. Dropped, nothing is lost: a
    /// connection that arrives nevertheless is given to the next accept.
    ///
    /// # Errors
    /// Those of `accept(2)`. After `EMFILE` or `ENFILE` the connection still waits, and accepting goes on when there are
    /// descriptors again.
    pub fn accept(&self) -> Operation<'_, Accept<UnixSeqpacket>> {
        self.socket.accept()
    }

    /// Connections as they come: one submission serves many accepts (`IORING_ACCEPT_MULTISHOT`).
    ///
    /// They are accepted ahead of who asks, so it is for a listener that no other loop shares, and for a server that
    /// takes all who come: where connections are to be shared between loops or limited,
    /// [`accept`](UnixSeqpacketListener::accept) them. [`Incoming`] has the figures.
    pub fn incoming(&self) -> Incoming<'_, UnixSeqpacket> {
        self.socket.incoming()
    }

    /// The address that it listens on: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.socket.raw())
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

impl Accepted for UnixSeqpacket {
    type Address = SocketAddr;

    fn accepted(fd: OwnedFd, _lingers: bool) -> UnixSeqpacket {
        UnixSeqpacket::from(fd)
    }
}

impl fmt::Debug for UnixSeqpacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixSeqpacket");
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl fmt::Debug for UnixSeqpacketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixSeqpacketListener");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for UnixSeqpacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsFd for UnixSeqpacketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for UnixSeqpacket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.fd().raw()
    }
}

impl AsRawFd for UnixSeqpacketListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw()
    }
}

impl From<OwnedFd> for UnixSeqpacket {
    fn from(fd: OwnedFd) -> UnixSeqpacket {
        prepare(fd.as_raw_fd());
        UnixSeqpacket { socket: DatagramSocket::connected(Bound::nameless(fd)) }
    }
}

impl From<OwnedFd> for UnixSeqpacketListener {
    fn from(fd: OwnedFd) -> UnixSeqpacketListener {
        UnixSeqpacketListener { socket: Bound::new(fd) }
    }
}
