//! `Socket`: of any family.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::SockAddr;
use super::datagram::DatagramSocket;
use super::socket::{self, Bound};
use crate::blocking;
use crate::buf::{IoBuf, IoBufMut};
use crate::convert::ConvertError;
use crate::op::{self, Accept, Accepted, Details, Operation, Plain, PollAdd, Receives, RecvMsg, SendMsg, WithSource};
use crate::sys::{self, Address, ancillary};

/// Of `linux/socket.h`; musl's headers have no name for it.
const SOL_RDS: libc::c_int = 276;

/// A socket of any family, for what has no type of its own here: `AF_NETLINK`, `AF_VSOCK`, `AF_PACKET`, raw and ping sockets
/// of the Internet families, SCTP. It is called as in C, with families, types and protocols by their numbers.
///
/// Receives and sends take a buffer by value and give it back, and several may be under way at once. Each may be dropped at
/// any moment, and nothing is lost: what a dropped receive has received comes out of the next one, whole if the socket keeps
/// boundaries; a dropped send may have been taken in part (a message: as a whole), the next send waits until that is known,
/// and [`take_dropped_write`](Socket::take_dropped_write) tells. (Descriptors that came to a dropped receive on a socket
/// without boundaries are closed.)
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::net::{SockAddr, Socket};
///
/// const AF_NETLINK: i32 = 16;
/// const SOCK_RAW: i32 = 3;
/// const NETLINK_ROUTE: i32 = 0;
/// let socket = Socket::new(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)?;
/// // Which interfaces are there? RTM_GETLINK (18) with NLM_F_REQUEST and NLM_F_DUMP, and an empty `struct ifinfomsg`.
/// let mut request = vec![0u8; 32];
/// request[0..4].copy_from_slice(&32u32.to_ne_bytes());
/// request[4..6].copy_from_slice(&18u16.to_ne_bytes());
/// request[6..8].copy_from_slice(&0x301u16.to_ne_bytes());
/// socket.send_to(request, &SockAddr::netlink(0, 0)).await.0?;
/// let (result, answer) = socket.recv_from(Vec::with_capacity(32 * 1024)).await;
/// let (count, from) = result?;
/// assert_eq!((answer.len(), from.as_netlink()), (count, Some((0, 0))));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct Socket {
    socket: DatagramSocket,
    /// It keeps no boundaries.
    stream: bool,
    /// It hands descriptors over.
    unix: bool,
}

impl Socket {
    /// Makes one: `socket(2)`, closed on exec. `domain` is the family (`AF_*`), `kind` one of `SOCK_*`, `protocol` one of the
    /// family's, 0 for the usual.
    ///
    /// # Errors
    /// Those of the call (`EAFNOSUPPORT`, `EPROTONOSUPPORT`, `PermissionDenied` for raw ones without `CAP_NET_RAW`).
    pub fn new(domain: i32, kind: i32, protocol: i32) -> io::Result<Socket> {
        sys::socket_of(domain, kind, protocol).map(|fd| Socket::of(Bound::new(fd)))
    }

    /// Two that are connected to each other: `socketpair(2)`.
    ///
    /// # Errors
    /// Those of the call (`EOPNOTSUPP` from most families).
    pub fn pair(domain: i32, kind: i32, protocol: i32) -> io::Result<(Socket, Socket)> {
        let (a, b) = sys::socket_pair_of(domain, kind, protocol)?;
        Ok((Socket::of(Bound::nameless(a)), Socket::of(Bound::nameless(b))))
    }

    fn of(socket: Bound) -> Socket {
        let option = |name| sys::option::<libc::c_int>(socket.raw(), libc::SOL_SOCKET, name).ok();
        let stream = option(libc::SO_TYPE) == Some(libc::SOCK_STREAM);
        let unix = option(libc::SO_DOMAIN) == Some(libc::AF_UNIX);
        Socket { socket: DatagramSocket::foreign::<SockAddr>(socket), stream, unix }
    }

    /// Sets the address of this end: `bind(2)`. A Unix path, which the file system makes, is bound on the blocking pool.
    ///
    /// # Errors
    /// Those of the call (`AddrInUse`, `AddrNotAvailable`, `PermissionDenied`).
    pub async fn bind(&self, address: &SockAddr) -> io::Result<()> {
        if libc::c_int::from(address.family()) != libc::AF_UNIX {
            return sys::bind(self.as_raw_fd(), address);
        }
        let (fd, address) = (sys::duplicate(self.as_raw_fd())?, *address);
        blocking::run(move || sys::bind(fd.as_raw_fd(), &address)).await
    }

    /// Connects, or sets the peer: `IORING_OP_CONNECT`, `connect(2)`. Dropped, it is cancelled if it can be; it may have taken
    /// effect.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn connect(&self, address: &SockAddr) -> io::Result<()> {
        self.socket.connect(address).await
    }

    /// Listens: `listen(2)`. At most `backlog` connections may wait to be accepted.
    ///
    /// # Errors
    /// Those of the call (`EOPNOTSUPP`).
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        sys::listen(self.as_raw_fd(), backlog.try_into().unwrap_or(libc::c_int::MAX))
    }

    /// Waits for a connection: `IORING_OP_ACCEPT`, `accept4(2)`. Several may wait at once. Dropped, nothing is lost: a
    /// connection that arrives nevertheless is given to the next accept.
    ///
    /// # Errors
    /// Those of the call (`InvalidInput` if it does not listen).
    pub fn accept(&self) -> Operation<'_, Accept<Socket>> {
        self.socket.bound().accept()
    }

    /// Sends to the peer: `IORING_OP_SEND`, `send(2)`. Without boundaries what the kernel takes at once.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send<B: IoBuf>(&self, buf: B) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.of_stream(self.stream))
    }

    /// Sends to an address: `IORING_OP_SEND`, `sendto(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send_to<B: IoBuf>(&self, buf: B, target: &SockAddr) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| send.of_stream(self.stream).to(Ok(target.encode())))
    }

    /// Sends with what is to travel beside the bytes: `IORING_OP_SENDMSG`, `sendmsg(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn send_msg<B: IoBuf>(&self, buf: B, with: Outbound) -> Operation<'_, SendMsg<B>> {
        self.socket.send(buf, |send| {
            let send = send.of_stream(self.stream).with_more(with.control, with.flags).with_rights(with.rights);
            match with.to {
                Some(target) => send.to(Ok(target.encode())),
                None => send,
            }
        })
    }

    /// Receives a message, or what there is of a stream, from the buffer's start: `IORING_OP_RECV`, `recv(2)`
    /// (`IORING_OP_RECVMSG` on a socket that is not connected). What the buffer has no room for is cut off a message. 0 is the
    /// end of a stream, or an empty message.
    ///
    /// # Errors
    /// Those of the call; `UnexpectedEof` when the receiving direction of a socket of messages was shut down; `InvalidInput`
    /// for a buffer without capacity.
    pub fn recv<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Plain>> {
        self.receive(buf)
    }

    /// The same, and tells where it came from: `IORING_OP_RECVMSG`, `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`recv`](Socket::recv).
    pub fn recv_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SockAddr>>> {
        self.receive(buf)
    }

    /// The same with everything that travels beside the bytes: `IORING_OP_RECVMSG`, `recvmsg(2)`.
    ///
    /// # Errors
    /// As [`recv`](Socket::recv).
    pub fn recv_msg<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, Inbound>> {
        self.receive(buf)
    }

    /// As [`recv_from`](Socket::recv_from), and leaves it there for the next receive: `MSG_PEEK`.
    ///
    /// # Errors
    /// As there.
    pub fn peek_from<B: IoBufMut>(&self, buf: B) -> Operation<'_, RecvMsg<B, WithSource<SockAddr>>> {
        let fd = self.socket.fd();
        Operation::on(fd, RecvMsg::new(fd.raw(), buf, self.stream).of_stream(self.stream).peek())
    }

    fn receive<B: IoBufMut, R: Receives>(&self, buf: B) -> Operation<'_, RecvMsg<B, R>> {
        let fd = self.socket.fd();
        let receive = RecvMsg::new(fd.raw(), buf, self.stream || self.socket.is_connected()).of_stream(self.stream);
        Operation::on(fd, if self.unix { receive } else { receive.without_rights() })
    }

    /// Waits until there is something to receive, or an error: `IORING_OP_POLL_ADD`, `poll(2)`.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        self.socket.readable()
    }

    /// Waits until the kernel would take something, or there is an error.
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

    /// What became of the last send that was dropped in flight: the bytes that were sent, and otherwise the error, which for a
    /// message is `ECANCELED` if it met no other. Waits until it is known; `None` if no send was dropped since the last call.
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.socket.take_dropped_write().await
    }

    /// The address of this end: `getsockname(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn local_addr(&self) -> io::Result<SockAddr> {
        sys::local_address(self.as_raw_fd())
    }

    /// The address of the other end: `getpeername(2)`.
    ///
    /// # Errors
    /// Those of the call (`NotConnected`).
    pub fn peer_addr(&self) -> io::Result<SockAddr> {
        sys::peer_address(self.as_raw_fd())
    }

    /// Whether a close may take its time has changed.
    pub(super) fn note_linger(&self) {
        self.socket.fd().set_lingers(matches!(sys::linger(self.as_raw_fd()), Ok(Some(_))));
    }

    /// Gives the descriptor away. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the socket, if a dropped receive or accept has received something that its new owner would not see, or if dropped
    /// operations are in flight on another loop.
    pub fn into_owned_fd(self) -> Result<OwnedFd, ConvertError<Socket>> {
        let Socket { socket, stream, unix } = self;
        let back = |(error, socket)| ConvertError::refused(error, Socket { socket, stream, unix });
        socket.into_owned().map_err(back)
    }

    /// Closes it and tells the error: `IORING_OP_CLOSE`, `close(2)`. Waits for sends that were dropped.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}

/// A control message: what travels beside the bytes, `cmsg(3)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlMessage {
    /// Whose it is: `SOL_SOCKET`, `IPPROTO_IP`, ….
    pub level: i32,
    /// Which one of those: `SCM_*`, `IP_*`, ….
    pub kind: i32,
    /// Its data.
    pub data: Vec<u8>,
}

/// What was received: made by [`Socket::recv_msg`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Inbound {
    /// Bytes in the buffer.
    pub len: usize,
    /// Where it came from; without bytes where that is not told.
    pub from: SockAddr,
    /// `MSG_*` flags: `MSG_EOR`, `MSG_TRUNC`, `MSG_CTRUNC`, `MSG_OOB`, `MSG_ERRQUEUE`, `MSG_NOTIFICATION`.
    pub flags: i32,
    /// The control messages, but for descriptors.
    pub control: Vec<ControlMessage>,
    /// Descriptors that came with it (`SCM_RIGHTS`, and `SCM_PIDFD` for who has set `SO_PASSPIDFD`). They are closed on exec.
    pub fds: Vec<OwnedFd>,
}

impl Inbound {
    /// The buffer was too small, and the rest of the message is gone: `MSG_TRUNC`.
    pub fn is_truncated(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }

    /// A record ends here: `MSG_EOR`. Only some families tell (SCTP); messages of others end with each receive.
    pub fn ends_record(&self) -> bool {
        self.flags & libc::MSG_EOR != 0
    }
}

impl Receives for Inbound {
    type Output = Inbound;
    const HEADER: bool = true;
    /// As many descriptors as there may be, and half a kilobyte for the rest.
    const CONTROL_BYTES: usize = ancillary::space(253 * 4) + 512;

    fn received(mut details: Details<'_>) -> io::Result<Inbound> {
        let others = details.control.messages().filter(|&message| !ancillary::is_rights(message));
        let control = others.map(|(level, kind, data)| ControlMessage { level, kind, data: data.to_vec() }).collect();
        let fds = details.control.take_rights();
        let flags = details.flags & !libc::MSG_CMSG_CLOEXEC;
        Ok(Inbound { len: details.len, from: details.from()?, flags, control, fds })
    }
}

/// How something is to be sent: for [`Socket::send_msg`].
#[derive(Debug, Default)]
pub struct Outbound {
    to: Option<SockAddr>,
    flags: i32,
    control: Vec<u8>,
    rights: Vec<OwnedFd>,
}

impl Outbound {
    /// To the peer.
    pub fn new() -> Outbound {
        Outbound::default()
    }

    /// To an address.
    #[must_use = "it is a builder"]
    pub fn to(mut self, address: SockAddr) -> Outbound {
        self.to = Some(address);
        self
    }

    /// With `MSG_*` flags: `MSG_EOR`, `MSG_OOB`, `MSG_DONTROUTE`, `MSG_CONFIRM`, `MSG_MORE`.
    ///
    /// # Panics
    /// For `MSG_ZEROCOPY`, with which the kernel may read the buffer when it has been given back.
    #[must_use = "it is a builder"]
    pub fn flags(mut self, flags: i32) -> Outbound {
        assert!(flags & libc::MSG_ZEROCOPY == 0, "with `MSG_ZEROCOPY` the buffer would come back too early");
        self.flags |= flags;
        self
    }

    /// With a control message.
    ///
    /// # Panics
    /// For descriptors (`SCM_RIGHTS`), which [`fds`](Outbound::fds) sends: as numbers they might be somebody else's by then. For
    /// those of `SOL_RDS`, which hold addresses of memory.
    #[must_use = "it is a builder"]
    pub fn control(mut self, level: i32, kind: i32, data: &[u8]) -> Outbound {
        assert!((level, kind) != (libc::SOL_SOCKET, libc::SCM_RIGHTS), "descriptors are sent by `fds`");
        assert!(level != SOL_RDS, "control messages of RDS hold addresses of memory");
        ancillary::append(&mut self.control, level, kind, data);
        self
    }

    /// With descriptors, at most 253 (`SCM_RIGHTS`). Here they are closed when the send is over, however it ended.
    #[must_use = "it is a builder"]
    pub fn fds(mut self, fds: Vec<OwnedFd>) -> Outbound {
        self.rights.extend(fds);
        self
    }
}

impl Accepted for Socket {
    type Address = SockAddr;

    fn accepted(fd: OwnedFd, lingers: bool) -> Socket {
        let socket = Socket::of(Bound::nameless(fd));
        socket.socket.fd().set_lingers(lingers);
        socket
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Socket");
        if let Ok(address) = self.local_addr() {
            debug.field("addr", &address);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd().borrow()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.fd().raw()
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket::of(Bound::foreign(fd))
    }
}
