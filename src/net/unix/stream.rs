//! `UnixStream`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::credentials::{self, UCred};
use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::convert::ConvertError;
use crate::fd::{Fd, HasFd};
use crate::net::split::{self, StreamSocket};
use crate::net::{socket, try_now};
use crate::op::{
    self, Accepted, All, Operation, PollAdd, ReadToEnd, Readv, Receive, Receiving, Recv, RecvRights, Send, SendMsg,
    Writev,
};
use crate::sys;

/// A connection between two sockets of the Unix family.
///
/// Reads and writes take a buffer by value and give it back. Each may be dropped at any moment, in a `select!` say, and
/// nothing is lost: what a dropped read receives comes out of the next read, in order; a dropped write may have been taken
/// in part, the next write waits until that is known, and [`take_dropped_write`](UnixStream::take_dropped_write) tells.
///
/// Dropping it closes it through the ring, behind everything that was submitted, after cancelling what was dropped in
/// flight, so that the peer sees the end at once.
pub struct UnixStream {
    fd: Fd,
}

impl UnixStream {
    /// Connects to the socket at a path: `IORING_OP_SOCKET`, `IORING_OP_CONNECT`, `connect(2)`. Waits while as many
    /// connections as the listener allows wait to be accepted. Dropped, it is cancelled and closed.
    ///
    /// # Errors
    /// Those of `connect(2)` (`NotFound`, `ConnectionRefused` if nobody listens, `PermissionDenied`); `InvalidInput` if the
    /// path has a NUL byte or 108 bytes or more.
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// The same to any address of the family.
    ///
    /// # Errors
    /// As [`UnixStream::connect`].
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        let socket = Operation::<op::Socket>::new(op::Socket::new(libc::AF_UNIX, libc::SOCK_STREAM)).await?;
        let fd = Fd::new(socket);
        Operation::on(&fd, op::Connect::new(fd.raw(), address)).await?;
        Ok(UnixStream { fd })
    }

    pub(super) fn of(fd: Fd) -> UnixStream {
        UnixStream { fd }
    }

    /// Two streams that are connected to each other: `socketpair(2)`.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// let (mut a, mut b) = ringtoss::net::UnixStream::pair()?;
    /// a.write_all("ping").await.0?;
    /// let (result, buf) = b.read(Vec::with_capacity(16)).await;
    /// assert_eq!((result?, &buf[..]), (4, &b"ping"[..]));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the call (too many open files).
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = sys::socket_pair(libc::SOCK_STREAM)?;
        Ok((a.into(), b.into()))
    }

    /// Reads what is there, up to the buffer's capacity, from its start: `IORING_OP_RECV`, `recv(2)`. 0 is the end of the
    /// stream.
    ///
    /// # Errors
    /// Those of `recv(2)` (`ConnectionReset`, …); `InvalidInput` for a buffer without capacity.
    pub fn read<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
        socket::recv(&self.fd, buf)
    }

    /// The same, behind what the buffer holds: tokio's `read_buf`.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
        socket::recv_append(&self.fd, buf)
    }

    /// Reads exactly `len` bytes, from the buffer's start. Dropped, what it had read comes out of the next read.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read); `UnexpectedEof` if the stream ends before, with what there was in the buffer;
    /// `InvalidInput` if the buffer has less capacity. Cut short by a limit, [`op::transferred`] tells how far it came.
    pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Recv<B>> {
        socket::recv_exact(&self.fd, buf, len)
    }

    /// Reads until the end of the stream, behind what the vector holds, as
    /// [`TcpStream::read_to_end`](crate::net::TcpStream::read_to_end).
    ///
    /// # Errors
    /// As there.
    pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
        socket::recv_to_end(&self.fd, buf)
    }

    /// Reads what is there into several buffers, one after the other: `IORING_OP_READV`, `readv(2)`. Of more than 1,024
    /// buffers the first 1,024 are used.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
        socket::recv_vectored(&self.fd, bufs)
    }

    /// Receives what is there into a buffer of the loop's, which is picked when something arrives: `IORING_OP_RECV`, as
    /// [`TcpStream::recv`](crate::net::TcpStream::recv). Descriptors that travel with the bytes are closed.
    ///
    /// # Errors
    /// As there.
    pub fn recv(&mut self) -> Receive<'_> {
        socket::recv_lease(&self.fd)
    }

    /// Receives piece by piece without asking for each, as
    /// [`TcpStream::recv_stream`](crate::net::TcpStream::recv_stream).
    pub fn recv_stream(&mut self) -> Receiving<'_> {
        socket::recv_stream(&self.fd)
    }

    /// Reads what is there and leaves it there for the next read: `recv(2)` with `MSG_PEEK`.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Operation<'_, Recv<B>> {
        socket::peek(&self.fd, buf)
    }

    /// Writes what the kernel takes at once: `IORING_OP_SEND`, `send(2)` with `MSG_NOSIGNAL`.
    ///
    /// # Errors
    /// Those of `send(2)` (`BrokenPipe`, `ConnectionReset`, …).
    pub fn write<B: IoBuf>(&mut self, buf: B) -> Operation<'_, Send<B>> {
        socket::send(&self.fd, buf)
    }

    /// Writes all of the buffer. Dropped, a part of it may have been taken:
    /// [`take_dropped_write`](UnixStream::take_dropped_write) tells how much.
    ///
    /// # Errors
    /// As [`write`](UnixStream::write). Cut short by a limit, [`op::transferred`] tells how far it came.
    pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Send<B>>> {
        socket::send_all(&self.fd, buf)
    }

    /// Writes all of `out`, and then reads what there is into `buf`: a request and (the beginning of) its answer for one
    /// submission and one wake. `IORING_OP_SEND` and `IORING_OP_RECV`, linked: see [`op::chain`]. If the write fails, nothing
    /// is read, and the error of the read is `ECANCELED`.
    ///
    /// Dropped early, it is as if the write or the read were: [`take_dropped_write`](UnixStream::take_dropped_write) tells of the
    /// one, and what the other brings comes out of the next read.
    ///
    /// # Errors
    /// Those of [`write_all`](UnixStream::write_all) and [`read`](UnixStream::read), each with its buffer.
    pub fn write_then_read<W: IoBuf, R: IoBufMut>(
        &mut self,
        out: W,
        buf: R,
    ) -> Operation<'_, op::chain::Two<All<Send<W>>, Recv<R>>> {
        socket::send_all(&self.fd, out).link(socket::recv(&self.fd, buf))
    }

    /// Writes from several buffers, one after the other, what the kernel takes at once: `IORING_OP_SENDMSG`, `sendmsg(2)`.
    /// Of more than 1,024 buffers the first 1,024 are used.
    ///
    /// # Errors
    /// As [`write`](UnixStream::write).
    pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
        socket::send_vectored(&self.fd, bufs)
    }

    /// Writes what the kernel takes at once, and with the first byte hands these descriptors over: `IORING_OP_SENDMSG`,
    /// `sendmsg(2)` with `SCM_RIGHTS`. Here they are closed when it is over, however it ended; at most 253 go with one call.
    ///
    /// Dropped, whether they were sent is known when [`take_dropped_write`](UnixStream::take_dropped_write) tells of bytes.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use std::io::Read;
    /// let (mut a, mut b) = ringtoss::net::UnixStream::pair()?;
    /// let file = std::fs::File::open("/proc/self/comm")?;
    /// a.send_fds("a file", vec![file.into()]).await.0?;
    /// let (result, _buf) = b.recv_fds(Vec::with_capacity(16)).await;
    /// let (count, mut fds) = result?;
    /// assert_eq!((count, fds.len()), (6, 1));
    /// let mut text = String::new();
    /// std::fs::File::from(fds.remove(0)).read_to_string(&mut text)?;
    /// assert!(!text.is_empty());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`write`](UnixStream::write); `InvalidInput` for more than 253 descriptors, or for descriptors without a byte.
    pub fn send_fds<B: IoBuf>(&mut self, buf: B, fds: Vec<OwnedFd>) -> Operation<'_, SendMsg<B>> {
        Operation::on(&self.fd, SendMsg::stream(self.fd.raw(), buf, fds))
    }

    /// Reads what is there, and the descriptors that came with it: `IORING_OP_RECVMSG`, `recvmsg(2)` with `SCM_RIGHTS`. Any
    /// other read closes them, as the kernel does. They are closed on exec, and when they are dropped.
    ///
    /// Dropped, bytes and descriptors that arrive nevertheless come out of the next read that asks for them.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read). Descriptors that the process may not have any more (`RLIMIT_NOFILE`) are missing without
    /// an error.
    pub fn recv_fds<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, RecvRights<B>> {
        Operation::on(&self.fd, RecvRights::new(self.fd.raw(), buf))
    }

    /// Waits until there is something to read, or the end, or an error: `IORING_OP_POLL_ADD`, `poll(2)`. It reads nothing
    /// and ties up no buffer.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        socket::readable(&self.fd)
    }

    /// Waits until the kernel would take bytes, or there is an error.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn writable(&self) -> Operation<'_, PollAdd> {
        socket::writable(&self.fd)
    }

    /// Reads what is there now, without waiting: a direct call, `recv(2)`. 0 is the end of the stream, or an empty buffer.
    /// After [`readable`](Self::readable) there usually is something.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing, or while a dropped read is in flight; those of the call.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_read_vectored(&mut [IoSliceMut::new(buf)])
    }

    /// The same into several buffers, one after the other: `recvmsg(2)`. The first 1,024 are used.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        try_now::read(&self.fd, bufs, false)
    }

    /// Writes what there is room for now, without waiting: a direct call, `send(2)`. After [`writable`](Self::writable) there
    /// usually is room.
    ///
    /// # Errors
    /// `WouldBlock` if there is no room, or while a dropped write is in flight; those of the call.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(buf)])
    }

    /// The same from several buffers, one after the other: `sendmsg(2)`. The first 1,024 are used.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        try_now::write(&self.fd, bufs, None)
    }

    /// Has the connection get a place in the ring's table of registered files with its next operation, on the loop of its first one
    /// (`IORING_OP_FILES_UPDATE`, Linux 6.13): operations cost the kernel about 50 ns less then. Nothing else changes, and
    /// where there is no place to be had, nothing at all. Worth it from some five operations on; see
    /// [`Builder::registered_files`](crate::Builder::registered_files).
    pub fn register(&self) {
        self.fd.want_place();
    }

    /// Ends one or both directions: `shutdown(2)`, a direct call. Waits for writes that were dropped. What has ended may be ended
    /// once more.
    ///
    /// # Errors
    /// Those of the call.
    pub fn shutdown(&mut self, how: Shutdown) -> Operation<'_, op::Shutdown> {
        socket::shutdown_stream(&self.fd, how)
    }

    /// What became of the last write that was dropped in flight: how many bytes the kernel took, or the error that it met.
    /// Waits until it is known; `None` if no write was dropped since the last call.
    pub async fn take_dropped_write(&mut self) -> Option<io::Result<usize>> {
        self.fd.take_dropped_write().await
    }

    /// The address of this end: `getsockname(2)`. Unnamed unless it was bound.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.fd.raw())
    }

    /// The address of the other end: `getpeername(2)`. Unnamed unless that was bound.
    ///
    /// # Errors
    /// Those of the call.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_address(self.fd.raw())
    }

    /// Who is at the other end: `SO_PEERCRED`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        credentials::peer(self.fd.raw())
    }

    /// The error that is pending on the socket, once: `SO_ERROR`.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        socket::take_error(self.fd.raw())
    }

    /// Two halves that borrow the stream, one to read and one to write.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::borrowed(self)
    }

    /// Two halves that own the stream together and may go to different tasks or threads. Dropping the one that writes ends
    /// that direction, as tokio's does.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::owned(self)
    }

    /// Takes a stream of std's.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> UnixStream {
        UnixStream::from(OwnedFd::from(stream))
    }

    /// Gives the stream to std, which blocks unless the stream was made of a socket that does not (`O_NONBLOCK`). Operations
    /// that were dropped are ended first.
    ///
    /// # Errors
    /// With the stream, if a dropped read has received bytes (see [`into_parts`](UnixStream::into_parts)) or descriptors, or
    /// met an error, which std would not see; if dropped operations are in flight on another loop; or, away from its own loop,
    /// if no duplicate of the descriptor could be had (`EMFILE`).
    pub fn into_std(self) -> Result<std::os::unix::net::UnixStream, ConvertError<UnixStream>> {
        socket::into_std(self.fd, |fd| UnixStream { fd }).map(Into::into)
    }

    /// Gives the stream to std together with the bytes that dropped reads have received and nobody has read yet.
    ///
    /// # Errors
    /// As [`into_std`](UnixStream::into_std), but for the bytes.
    pub fn into_parts(self) -> Result<(std::os::unix::net::UnixStream, Vec<u8>), ConvertError<UnixStream>> {
        socket::take_apart(self.fd, |fd| UnixStream { fd }).map(|(fd, unread)| (fd.into(), unread))
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. Waits for writes that were dropped. Dropped before it
    /// is done, it closes all the same.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        op::close(self.fd).await
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.fd.raw()).finish()
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}

impl From<OwnedFd> for UnixStream {
    fn from(fd: OwnedFd) -> UnixStream {
        UnixStream { fd: Fd::new(fd) }
    }
}

impl From<std::os::unix::net::UnixStream> for UnixStream {
    fn from(stream: std::os::unix::net::UnixStream) -> UnixStream {
        UnixStream::from_std(stream)
    }
}

impl Accepted for UnixStream {
    type Address = SocketAddr;

    fn accepted(fd: OwnedFd, _lingers: bool) -> UnixStream {
        UnixStream::from(fd)
    }
}

impl HasFd for UnixStream {
    fn ring_fd(&self) -> &Fd {
        &self.fd
    }
}

impl StreamSocket for UnixStream {
    type Address = SocketAddr;
}
