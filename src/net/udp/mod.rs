//! UDP, `udp(7)`: [`UdpSocket`], and what travels beside the bytes of a datagram: [`UdpMessage`], [`Transmit`].

mod message;
mod options;
mod zero_copy;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub use message::{Ecn, Transmit, UdpMessage};

use super::address::{ToSocketAddrs, no_address, resolve};
use super::builder::UdpBuilder;
use super::datagram::DatagramSocket;
use super::socket::Bound;
use super::{ConvertError, domain, try_now};
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::op::{
    Datagrams, Operation, Plain, PollAdd, Receive, RecvMsg, RecvMsgLease, RecvMsgVectored, SendMsg, SendMsgVectored,
    WithSource,
};
use crate::sys::{self, Address};

/// A UDP socket.
///
/// Receives and sends take a buffer by value and give it back. Each may be dropped at any moment, in a `select!` say, and
/// nothing is lost: a datagram that a dropped receive has received comes out of the next one, whole and with its source. A
/// dropped send has sent its datagram or has not; the next send waits until that is known, and
/// [`take_dropped_write`](UdpSocket::take_dropped_write) tells. (What the buffer of a dropped receive was too small for is
/// cut off, as it would have been otherwise.)
///
/// When it is dropped its port is free at once, which takes a kernel entry.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let address = server.local_addr()?;
/// let echo = ringtoss::spawn(async move {
///     let (result, buf) = server.recv_from(Vec::with_capacity(1500)).await;
///     let (_, peer) = result?;
///     server.send_to(buf, peer).await.0
/// });
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(address).await?;
/// client.send("ping").await.0?;
/// let (result, buf) = client.recv(Vec::with_capacity(1500)).await;
/// assert_eq!((result?, &buf[..]), (4, &b"ping"[..]));
/// echo.await.unwrap()?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UdpSocket {
    socket: DatagramSocket,
}

impl UdpSocket {
    /// Binds to the first of the addresses that can be bound: `socket(2)`, `bind(2)`. Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// Those of `bind(2)` for the last address (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`), and those of
    /// [`lookup_host`](super::lookup_host).
    pub async fn bind<A: ToSocketAddrs>(address: A) -> io::Result<UdpSocket> {
        UdpSocket::builder().bind(address).await
    }

    /// For what else has to be said before it is bound.
    pub fn builder() -> UdpBuilder {
        UdpBuilder::default()
    }

    pub(super) fn unbound(domain: libc::c_int) -> io::Result<UdpSocket> {
        let socket = sys::socket(domain, libc::SOCK_DGRAM)?;
        Ok(UdpSocket { socket: DatagramSocket::new(Bound::new(socket)) })
    }

    /// Sets the peer to the first of the addresses that can be reached: [`send`](UdpSocket::send) goes there, and only what
    /// comes from there is received. `IORING_OP_CONNECT`, `connect(2)`.
    ///
    /// # Errors
    /// Those of the call for the last address (`NetworkUnreachable`, …), and those of [`lookup_host`](super::lookup_host).
    pub async fn connect<A: ToSocketAddrs>(&self, address: A) -> io::Result<()> {
        let mut last = None;
        for address in resolve(&address).await? {
            match self.socket.connect(&address).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// Sends a datagram to the peer: `IORING_OP_SEND`, `send(2)`.
    ///
    /// # Errors
    /// Those of the call: `EDESTADDRREQ` without a peer, `EMSGSIZE` for one that is too large, and what the network has said
    /// about earlier ones (`ConnectionRefused`, …).
    #[inline]
    pub fn send<B: IoBuf>(&self, buf: B) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send)
    }

    /// Sends a datagram to an address: `IORING_OP_SEND`, `sendto(2)`. For a name, see [`lookup_host`](super::lookup_host).
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send).
    #[inline]
    pub fn send_to<B: IoBuf>(&self, buf: B, target: SocketAddr) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.to(Ok(target.encode())))
    }

    /// Sends a datagram, or several of one size, with what is to travel beside the bytes: `IORING_OP_SENDMSG`, `sendmsg(2)`.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send); `InvalidInput` for what the kernel does not send like that.
    pub fn send_msg<B: IoBuf>(&self, buf: B, transmit: &Transmit) -> Operation<'_, SendMsg<B>> {
        let family = || self.peer_addr().map_or(libc::AF_INET, |peer| domain(&peer));
        self.socket.send(buf, |send| transmit.apply(send, family))
    }

    /// Sends one datagram that is made of several buffers to the peer: `IORING_OP_SENDMSG`, `sendmsg(2)`.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send); `EMSGSIZE` for more than 1,024 buffers.
    pub fn send_vectored<V: IoVecBuf>(&self, bufs: V) -> Operation<'_, SendMsgVectored<V>> {
        let fd = self.socket.fd();
        Operation::on(fd, SendMsgVectored::new(fd.raw(), bufs, None))
    }

    /// The same to an address.
    ///
    /// # Errors
    /// As [`send_vectored`](UdpSocket::send_vectored).
    pub fn send_vectored_to<V: IoVecBuf>(&self, bufs: V, target: SocketAddr) -> Operation<'_, SendMsgVectored<V>> {
        let fd = self.socket.fd();
        Operation::on(fd, SendMsgVectored::new(fd.raw(), bufs, Some(target.encode())))
    }

    /// Receives a datagram into several buffers, one after the other, and tells where it came from: `IORING_OP_RECVMSG`,
    /// `recvmsg(2)`. What they have no room for is cut off. The first 1,024 are used.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn recv_vectored_from<V: IoVecBufMut>(
        &self,
        bufs: V,
    ) -> Operation<'_, RecvMsgVectored<V, WithSource<SocketAddr>>> {
        let fd = self.socket.fd();
        Operation::on(fd, RecvMsgVectored::new(fd.raw(), bufs))
    }

    /// Receives a datagram, from the buffer's start; what the buffer has no room for is cut off. `IORING_OP_RECV`, `recv(2)`
    /// (`IORING_OP_RECVMSG` on a socket that is not connected). 0 is an empty datagram. Several receives may wait at once.
    ///
    /// # Errors
    /// Those of the call, among them what the network has said about datagrams that were sent (`ConnectionRefused`, …);
    /// `UnexpectedEof` when the receiving direction was shut down; `InvalidInput` for a buffer without capacity.
    #[inline]
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.recv(buf)
    }

    /// The same, behind what the buffer holds: tokio's `recv_buf`.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn recv_append<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.recv_append(buf)
    }

    /// Receives a datagram and tells where it came from: `IORING_OP_RECVMSG`, `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    #[inline]
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SocketAddr>>> {
        self.socket.recv(buf)
    }

    /// The same, behind what the buffer holds: tokio's `recv_buf_from`.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn recv_append_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SocketAddr>>> {
        self.socket.recv_append(buf)
    }

    /// Receives a datagram, or several that the kernel has joined, with what travelled beside the bytes as far as it was
    /// asked for ([`set_recv_ecn`](UdpSocket::set_recv_ecn) and its kin): `IORING_OP_RECVMSG`, `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub fn recv_msg<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, UdpMessage>> {
        self.socket.recv(buf)
    }

    /// Receives a datagram into a buffer of the loop's, which is picked when it arrives, so that a socket that idles ties up
    /// none: `IORING_OP_RECVMSG` with `IOSQE_BUFFER_SELECT`, `recvmsg(2)`. An empty datagram is a lease of length 0.
    ///
    /// What is longer than a buffer is cut off, as [`UdpMessage::truncated`] tells:
    /// [`Builder::lease_buffers`](crate::Builder::lease_buffers) says how long they are (8 KiB unless told otherwise; for
    /// datagrams that the kernel has [joined](UdpSocket::set_gro), 66,000 bytes are enough).
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv); `OutOfMemory` if the loop can have no buffers.
    pub fn recv_lease(&self) -> Receive<'_, RecvMsgLease<UdpMessage>> {
        self.socket.recv_lease()
    }

    /// Receives datagrams without asking for each, into buffers of the loop's, of which some 200 bytes hold what travels beside
    /// the datagram. Others may send on the socket meanwhile, and receive, but what this has received waits here until it is
    /// asked for.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::net::UdpSocket;
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// let mut received = socket.recv_stream();
    /// for text in ["one", "two", ""] {
    ///     client.send_to(text, socket.local_addr()?).await.0?;
    ///     let (lease, message) = received.next().await?;
    ///     assert_eq!((&lease[..], message.from), (text.as_bytes(), client.local_addr()?));
    ///     // It can be sent as it is, and goes back to the loop when that is done.
    ///     socket.send_to(lease, message.from).await.0?;
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn recv_stream(&self) -> Datagrams<'_, UdpMessage> {
        self.socket.recv_stream()
    }

    /// As [`recv`](UdpSocket::recv), and leaves the datagram there for the next receive: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn peek<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.socket.peek(buf)
    }

    /// As [`recv_from`](UdpSocket::recv_from), and leaves the datagram there for the next receive: `MSG_PEEK`.
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

    /// The same to an address: `sendto(2)`.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        try_now::write(self.socket.fd(), &[IoSlice::new(buf)], Some(target.encode()))
    }

    /// As [`try_recv`](Self::try_recv), and leaves the datagram there: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        try_now::recv(self.socket.fd(), buf, true).map(|(count, _)| count)
    }

    /// As [`try_recv_from`](Self::try_recv_from), and leaves the datagram there: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        try_now::recv_from(self.socket.fd(), buf, true)
    }

    /// Tells where the next datagram comes from, if one is there now.
    ///
    /// # Errors
    /// As [`try_recv`](Self::try_recv).
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.try_peek_from(&mut [0]).map(|(_, from)| from)
    }

    /// Waits for a datagram and tells where it comes from; it stays there for the next receive. Dropped, nothing is consumed.
    ///
    /// # Errors
    /// As [`recv`](UdpSocket::recv).
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.peek_from(Vec::with_capacity(1)).await.0.map(|(_, from)| from)
    }

    /// Another descriptor of the same socket: `fcntl(2)` with `F_DUPFD_CLOEXEC`. Each datagram goes to one of them; they share
    /// what dropped receives have left. The port is free when all of them are gone.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone().map(|socket| UdpSocket { socket })
    }

    /// Has the socket get a place in the ring's table of registered files with its next operation, on the loop of its first one
    /// (`IORING_OP_FILES_UPDATE`, Linux 6.13): operations cost the kernel about 50 ns less then. Nothing else changes, and
    /// where there is no place to be had, nothing at all. Worth it from some five operations on; see
    /// [`Builder::registered_files`](crate::Builder::registered_files).
    pub fn register(&self) {
        self.socket.fd().want_place();
    }

    /// What became of the last send that was dropped in flight: its bytes, if it was sent, and otherwise the error, which is
    /// `ECANCELED` if it met no other. Waits until it is known; `None` if no send was dropped since the last call.
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.socket.take_dropped_write().await
    }

    /// The address of this socket: `getsockname(2)`.
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

    /// Takes a socket of std's.
    pub fn from_std(socket: std::net::UdpSocket) -> UdpSocket {
        UdpSocket::from(OwnedFd::from(socket))
    }

    /// Gives the socket to std, in blocking mode. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the socket, if a dropped receive has received a datagram, which std would not see (see
    /// [`into_parts`](UdpSocket::into_parts)), or if dropped operations are in flight on another loop.
    pub fn into_std(self) -> Result<std::net::UdpSocket, ConvertError<UdpSocket>> {
        let back = |(error, socket)| ConvertError::refused(error, UdpSocket { socket });
        self.socket.into_owned().map(Into::into).map_err(back)
    }

    /// Gives the socket to std together with the datagrams that dropped receives have received and nobody has taken yet.
    ///
    /// # Errors
    /// With the socket, if a dropped receive has met an error, which would be lost, if dropped operations are in flight on
    /// another loop, or, away from its own loop, if no duplicate of the descriptor could be had (`EMFILE`).
    #[expect(clippy::type_complexity, reason = "it is what it says")]
    pub fn into_parts(self) -> Result<(std::net::UdpSocket, Vec<(Vec<u8>, SocketAddr)>), ConvertError<UdpSocket>> {
        match self.socket.into_parts() {
            Ok((fd, unread)) => Ok((fd.into(), unread)),
            Err(failure) => Err(failure.map(|socket| UdpSocket { socket })),
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

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.fd().raw()
    }
}

impl From<OwnedFd> for UdpSocket {
    fn from(fd: OwnedFd) -> UdpSocket {
        UdpSocket { socket: DatagramSocket::foreign::<SocketAddr>(Bound::new(fd)) }
    }
}

impl From<std::net::UdpSocket> for UdpSocket {
    fn from(socket: std::net::UdpSocket) -> UdpSocket {
        UdpSocket::from_std(socket)
    }
}
