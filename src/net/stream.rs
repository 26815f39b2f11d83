//! `TcpStream`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use super::address::{ToSocketAddrs, no_address, resolve};
use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, StreamSocket, WriteHalf};
use super::{ConvertError, domain, socket, try_now};
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::fd::{Fd, HasFd};
use crate::op::{self, Accepted, All, Operation, PollAdd, ReadToEnd, Readv, Receive, Receiving, Recv, Send, Writev};
use crate::sys;
use crate::time::timeout;

/// A TCP connection.
///
/// Reads and writes take a buffer by value and give it back. Each may be dropped at any moment, in a `select!` say, and
/// nothing is lost: what a dropped read receives comes out of the next read, in order; a dropped write may have been taken
/// in part, the next write waits until that is known, and [`take_dropped_write`](TcpStream::take_dropped_write) tells.
///
/// Dropping it closes it through the ring, behind everything that was submitted, after cancelling what was dropped in
/// flight, so that the peer sees the end at once.
pub struct TcpStream {
    fd: Fd,
}

impl TcpStream {
    /// Connects to the first of the addresses that takes the connection, one after the other: `IORING_OP_SOCKET`,
    /// `IORING_OP_CONNECT`, `connect(2)`. Dropped, it is cancelled and closed. [`HappyEyeballs`](super::HappyEyeballs) does not
    /// wait for one that leads nowhere.
    ///
    /// # Errors
    /// Those of `connect(2)` for the last address (`ConnectionRefused`, `TimedOut`, `NetworkUnreachable`, …), and those of
    /// [`lookup_host`](super::lookup_host).
    pub async fn connect<A: ToSocketAddrs>(address: A) -> io::Result<TcpStream> {
        let mut last = None;
        for address in resolve(&address).await? {
            match TcpStream::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// The same for a bounded time, the look-up of a name included.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect); `TimedOut` when the time has passed; `InvalidInput` for no time at all, as std
    /// says.
    pub async fn connect_timeout<A: ToSocketAddrs>(address: A, limit: Duration) -> io::Result<TcpStream> {
        if limit.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        timeout(limit, TcpStream::connect(address)).await?
    }

    pub(super) fn of(fd: Fd) -> TcpStream {
        TcpStream { fd }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
        let socket = Operation::<op::Socket>::new(op::Socket::new(domain(&address), libc::SOCK_STREAM)).await?;
        let fd = Fd::new(socket);
        Operation::on(&fd, op::Connect::new(fd.raw(), &address)).await?;
        Ok(TcpStream { fd })
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
    /// As [`read`](TcpStream::read).
    pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Recv<B>> {
        socket::recv_append(&self.fd, buf)
    }

    /// Reads exactly `len` bytes, from the buffer's start. Dropped, what it had read comes out of the next read.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read); `UnexpectedEof` if the stream ends before, with what there was in the buffer;
    /// `InvalidInput` if the buffer has less capacity. Cut short by a limit,
    /// [`op::transferred`] tells how far it came.
    pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Recv<B>> {
        socket::recv_exact(&self.fd, buf, len)
    }

    /// Reads until the end of the stream, behind what the vector holds, and gives the number of bytes read. Dropped, what it
    /// had read comes out of the next read.
    ///
    /// # Errors
    /// Those of `recv(2)`, and `OutOfMemory`, with what there was in the vector, which counts as read. Cut short by a
    /// limit, [`op::transferred`] tells how far it came.
    pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
        socket::recv_to_end(&self.fd, buf)
    }

    /// Reads what is there into several buffers, one after the other: `IORING_OP_READV`, `readv(2)`. Of more than 1,024
    /// buffers the first 1,024 are used.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
        socket::recv_vectored(&self.fd, bufs)
    }

    /// Receives what is there into a buffer of the loop's, which is picked when something arrives, so that a connection that
    /// idles ties up none: `IORING_OP_RECV` with `IOSQE_BUFFER_SELECT`, `recv(2)`. `None` is the end of the stream.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// # let (mut stream, mut peer) = { let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = ringtoss::net::TcpStream::connect(listener.local_addr()?).await?; (listener.accept().await?.0, peer) };
    /// # peer.write_all("ping").await.0?;
    /// # drop(peer);
    /// while let Some(lease) = stream.recv().await? {
    ///     assert_eq!(&lease[..], b"ping");
    ///     // It can be sent as it is, and goes back to the loop when that is done.
    ///     stream.write_all(lease).await.0?;
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of `recv(2)` (`ConnectionReset`, …); `OutOfMemory` if the loop can have no buffers.
    pub fn recv(&mut self) -> Receive<'_> {
        socket::recv_lease(&self.fd)
    }

    /// Receives piece by piece without asking for each: one submission serves many (`IORING_RECV_MULTISHOT`).
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// # let (mut stream, mut peer) = { let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let peer = ringtoss::net::TcpStream::connect(listener.local_addr()?).await?; (listener.accept().await?.0, peer) };
    /// # peer.write_all("ping").await.0?;
    /// # drop(peer);
    /// let mut received = stream.recv_stream();
    /// while let Some(lease) = received.next().await {
    ///     assert_eq!(&lease?[..], b"ping");
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn recv_stream(&mut self) -> Receiving<'_> {
        socket::recv_stream(&self.fd)
    }

    /// Reads what is there and leaves it there for the next read: `recv(2)` with `MSG_PEEK`.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
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
    /// [`take_dropped_write`](TcpStream::take_dropped_write) tells how much.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write). Cut short by a limit, [`op::transferred`] tells how
    /// far it came.
    pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Send<B>>> {
        socket::send_all(&self.fd, buf)
    }

    /// Writes all of `out`, and then reads what there is into `buf`: a request and (the beginning of) its answer for one
    /// submission and one wake. `IORING_OP_SEND` and `IORING_OP_RECV`, linked: see [`op::chain`]. If the write fails, nothing
    /// is read, and the error of the read is `ECANCELED`.
    ///
    /// Dropped early, it is as if the write or the read were: [`take_dropped_write`](TcpStream::take_dropped_write) tells of the
    /// one, and what the other brings comes out of the next read.
    ///
    /// # Errors
    /// Those of [`write_all`](TcpStream::write_all) and [`read`](TcpStream::read), each with its buffer.
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
    /// As [`write`](TcpStream::write).
    pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
        socket::send_vectored(&self.fd, bufs)
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
    /// once more, also by a reset of the peer's (`ENOTCONN`, which tokio does not tell either).
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

    // ---- addresses; the options are in `options` ---------------------------------------------------------------------------------------

    /// The address of this end: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_address(self.fd.raw())
    }

    /// The address of the other end: `getpeername(2)`.
    ///
    /// # Errors
    /// Those of the call (`NotConnected` after a reset).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_address(self.fd.raw())
    }

    // ---- halves and conversions -------------------------------------------------------------------------------

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
    pub fn from_std(stream: std::net::TcpStream) -> TcpStream {
        TcpStream::from(OwnedFd::from(stream))
    }

    /// Gives the stream to std, which blocks unless the stream was made of a socket that does not (`O_NONBLOCK`). Operations
    /// that were dropped are ended first.
    ///
    /// # Errors
    /// With the stream, if a dropped read has received bytes (see [`into_parts`](TcpStream::into_parts)) or met an error,
    /// which std would not see; if dropped operations are in flight on another loop; or, away from its own loop, if no
    /// duplicate of the descriptor could be had (`EMFILE`).
    pub fn into_std(self) -> Result<std::net::TcpStream, ConvertError<TcpStream>> {
        socket::into_std(self.fd, |fd| TcpStream { fd }).map(Into::into)
    }

    /// Gives the stream to std together with the bytes that dropped reads have received and nobody has read yet.
    ///
    /// # Errors
    /// As [`into_std`](TcpStream::into_std), but for the bytes.
    pub fn into_parts(self) -> Result<(std::net::TcpStream, Vec<u8>), ConvertError<TcpStream>> {
        socket::take_apart(self.fd, |fd| TcpStream { fd }).map(|(fd, unread)| (fd.into(), unread))
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

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.fd.raw()).finish()
    }
}

impl HasFd for TcpStream {
    fn ring_fd(&self) -> &Fd {
        &self.fd
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}

impl From<OwnedFd> for TcpStream {
    fn from(fd: OwnedFd) -> TcpStream {
        let lingers = matches!(sys::linger(fd.as_raw_fd()), Ok(Some(_)));
        TcpStream::accepted(fd, lingers)
    }
}

impl From<std::net::TcpStream> for TcpStream {
    fn from(stream: std::net::TcpStream) -> TcpStream {
        TcpStream::from_std(stream)
    }
}

impl Accepted for TcpStream {
    type Address = SocketAddr;

    fn accepted(fd: OwnedFd, lingers: bool) -> TcpStream {
        let fd = Fd::new(fd);
        fd.set_lingers(lingers);
        TcpStream { fd }
    }
}

impl StreamSocket for TcpStream {
    type Address = SocketAddr;
}
