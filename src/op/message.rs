//! Datagrams, and messages with more than bytes: `IORING_OP_RECV`, `RECVMSG`, `SEND`, `SENDMSG`.
//!
//! A receive that needs to know more than the bytes (source, control messages) goes through a message header that the
//! kernel writes at the end, so that has an address of its own: a cell of the loop's, lent for the operation. One that
//! needs the bytes only has no header.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{OwnedFd, RawFd};

use super::read::Fill;
use super::write::Drain;
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVecBuf, Region};
use crate::context;
use crate::ring::MessageCell;
use crate::salvage::{Datagram, Item, Lane, Salvage};
use crate::sys::{self, Address, Control, RawAddress, ancillary};

/// `UIO_MAXIOV`: what one call takes; further buffers are for the next call.
pub(super) const MAX_IOVECS: usize = 1024;

/// A cell of the loop's; goes back to the loop that it is dropped on.
#[derive(Debug, Default)]
pub(super) struct Lent(pub(super) Option<Box<MessageCell>>);

impl Lent {
    pub(super) fn get(&mut self, arena: &mut Arena) -> &mut MessageCell {
        self.0.get_or_insert_with(|| arena.cells.lend())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            context::look(|core| core.driver.borrow_mut().arena.cells.give_back(cell));
        }
    }
}

/// What was received besides the bytes.
#[derive(Debug)]
pub struct Details<'a> {
    fd: RawFd,
    /// Bytes in the buffer.
    pub(crate) len: usize,
    from: Option<RawAddress>,
    /// `MSG_*` flags.
    pub(crate) flags: i32,
    pub(crate) control: Control<&'a [u8]>,
}

impl<'a> Details<'a> {
    pub(super) fn new(fd: RawFd, len: usize, from: Option<RawAddress>, flags: i32, control: Control<&'a [u8]>) -> Self {
        Details { fd, len, from, flags, control }
    }

    /// What a receiver makes of it. Nothing may be an empty message, or the end.
    pub(super) fn give<R: Receives>(self) -> io::Result<R::Output> {
        if self.len == 0 && !R::TELLS_END && sys::is_shut_for_receiving(self.fd) {
            let end = "the receiving direction of this socket was shut down";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, end));
        }
        R::received(self)
    }

    /// Where it came from.
    pub(crate) fn from<A: Address>(&self) -> io::Result<A> {
        source(self.fd, self.from)
    }
}

/// Where a datagram came from. What was received on a connected socket without asking came from its peer.
pub(crate) fn source<A: Address>(fd: RawFd, from: Option<RawAddress>) -> io::Result<A> {
    match from {
        Some(from) => A::decode(&from),
        None => sys::peer_address(fd).or_else(|_| A::decode(&RawAddress::none())),
    }
}

/// What a receive gives.
pub trait Receives: 'static {
    /// What the result is.
    type Output;
    /// Whether it needs a message header at all.
    #[doc(hidden)]
    const HEADER: bool;
    /// Room for control messages, in bytes.
    #[doc(hidden)]
    const CONTROL_BYTES: usize;
    /// Room for the source's address, in bytes, in front of a message that comes with many.
    #[doc(hidden)]
    const NAME_BYTES: usize = 112;
    /// Whether it can tell an empty message from the end itself, by what travels beside it.
    #[doc(hidden)]
    const TELLS_END: bool = false;

    #[doc(hidden)]
    fn received(details: Details<'_>) -> io::Result<Self::Output>;
}

/// How many bytes there were.
#[derive(Debug)]
pub struct Plain(());

impl Receives for Plain {
    type Output = usize;
    const HEADER: bool = false;
    const CONTROL_BYTES: usize = 0;

    #[inline]
    fn received(details: Details<'_>) -> io::Result<usize> {
        Ok(details.len)
    }
}

/// How many bytes there were, and where they came from.
#[derive(Debug)]
pub struct WithSource<A>(PhantomData<fn() -> A>);

impl<A: Address> Receives for WithSource<A> {
    type Output = (usize, A);
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = 0;

    #[inline]
    fn received(details: Details<'_>) -> io::Result<(usize, A)> {
        details.from().map(|from| (details.len, from))
    }
}

/// `IORING_OP_RECVMSG`, or `IORING_OP_RECV` where nothing but the bytes is asked for: `recvmsg(2)` of a datagram. One that
/// arrives after the future was dropped is given to the next receive.
#[doc(alias = "IORING_OP_RECVMSG")]
#[doc(alias = "IORING_OP_RECV")]
pub struct RecvMsg<B, R> {
    fd: RawFd,
    fill: Fill<B>,
    header: bool,
    /// What comes has no boundaries: bytes that are not taken now are for the next receive, and nothing is the end.
    stream: bool,
    /// `MSG_*` flags.
    flags: i32,
    in_kernel: bool,
    cell: Lent,
    salvaged: Option<Box<Datagram>>,
    _gives: PhantomData<fn() -> R>,
}

impl<B: std::fmt::Debug, R> std::fmt::Debug for RecvMsg<B, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvMsg").field("fd", &self.fd).field("buf", &self.fill).finish_non_exhaustive()
    }
}

impl<B: IoBufMut, R: Receives> RecvMsg<B, R> {
    /// `connected` says that whoever asks for the source later can be told the socket's peer.
    #[inline]
    pub(crate) fn new(fd: RawFd, buf: B, connected: bool) -> RecvMsg<B, R> {
        RecvMsg::made(fd, Fill::some(buf), connected)
    }

    pub(crate) fn append(fd: RawFd, buf: B, connected: bool) -> RecvMsg<B, R> {
        RecvMsg::made(fd, Fill::append(buf), connected)
    }

    fn made(fd: RawFd, fill: Fill<B>, connected: bool) -> RecvMsg<B, R> {
        let header = R::HEADER || !connected;
        RecvMsg {
            fd,
            fill,
            header,
            stream: false,
            // Without room for descriptors there are none, and packet sockets refuse flags that they do not know.
            flags: if R::CONTROL_BYTES > 0 { libc::MSG_CMSG_CLOEXEC } else { 0 },
            in_kernel: false,
            cell: Lent(None),
            salvaged: None,
            _gives: PhantomData,
        }
    }

    pub(crate) fn peek(mut self) -> RecvMsg<B, R> {
        self.flags |= libc::MSG_PEEK;
        self
    }

    /// On a socket without boundaries, if it is one.
    pub(crate) fn of_stream(mut self, stream: bool) -> RecvMsg<B, R> {
        self.stream = stream;
        self
    }

    /// From a family that hands no descriptors over.
    pub(crate) fn without_rights(mut self) -> RecvMsg<B, R> {
        self.flags &= !libc::MSG_CMSG_CLOEXEC;
        self
    }

    fn peeks(&self) -> bool {
        self.flags & libc::MSG_PEEK != 0
    }

    fn details(&self) -> (Option<RawAddress>, i32, Control<&[u8]>) {
        match &self.cell.0 {
            Some(cell) => (Some(cell.name()), cell.flags(), Control::new(cell.control())),
            None => (None, 0, Control::new(&[][..])),
        }
    }
}

impl<B, R> Sealed for RecvMsg<B, R> {}

// SAFETY: the entry points into the buffer, which `IoBufMut` promises to stay put while it is moved, or to the cell, which is
// on the heap, as is what that points to.
unsafe impl<B: IoBufMut, R: Receives> Op for RecvMsg<B, R> {
    type Output = BufResult<R::Output, B>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.fill.window()?;
        *sqe = if self.header {
            let header = self.cell.get(arena).arm_receive(address, len, R::CONTROL_BYTES);
            Sqe::new(io_uring::opcode::RecvMsg::CODE).addr(header).len(1)
        } else {
            Sqe::new(io_uring::opcode::Recv::CODE).addr(address).len(len)
        };
        *sqe = sqe.fd(self.fd).op_flags(self.flags as u32);
        self.in_kernel = true;
        if !self.stream {
            arena.by_call = sqe.place();
        }
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        if std::mem::take(&mut self.in_kernel) && cqe.cancelled() {
            // Called back to see what another has left. If that was not the reason, `Again` says so, too.
            return Next::Again;
        }
        self.fill.step(cqe)
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let mut salvaged = self.salvaged.take();
        let (from, flags, control) = match &mut salvaged {
            Some(datagram) => (datagram.from, datagram.flags, datagram.control.hand_over()),
            None if cqe.result >= 0 => self.details(),
            None => (None, 0, Control::new(&[][..])),
        };
        let received = (cqe.result >= 0).then(|| {
            let len = cqe.result as usize;
            let details = Details { fd: self.fd, len, from, flags, control };
            if self.stream { R::received(details) } else { details.give::<R>() }
        });
        let (result, buf) = self.fill.complete(cqe);
        (result.and_then(|_| received.expect("it was received")), buf)
    }

    #[inline]
    fn lane(&self) -> Lane {
        Lane::Datagram
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        if self.peeks() || cqe.cancelled() {
            return Left::Nothing;
        }
        if self.stream {
            // Descriptors that came with the bytes are closed: they would have to come with the next ones.
            drop((cqe.result > 0).then(|| self.details()));
            let (bytes, then) = self.fill.leave(cqe);
            return Left::Received(bytes.into_iter().chain(then).collect());
        }
        if cqe.result < 0 {
            return Left::Received(vec![Item::Error(-cqe.result)]);
        }
        let datagram = match self.salvaged.take() {
            Some(datagram) => datagram,
            None => {
                let (from, flags, control) = self.details();
                let bytes = self.fill.filled().to_vec();
                Box::new(Datagram { bytes, from, flags, control: control.into_boxed() })
            }
        };
        Left::Received(vec![Item::Datagram(datagram)])
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        let (address, len) = match self.fill.window() {
            Ok(window) => window,
            Err(errno) => return Some(Cqe::of(-errno)),
        };
        if self.stream {
            // From here on nothing in the cell is this operation's.
            self.cell = Lent(None);
            return self.fill.take_salvaged(salvage, self.peeks());
        }
        let mut datagram = match salvage.take_datagram(self.peeks())? {
            Ok(datagram) => datagram,
            Err(errno) => return Some(Cqe::of(-errno)),
        };
        let count = datagram.bytes.len().min(len as usize);
        if count < datagram.bytes.len() {
            datagram.flags |= libc::MSG_TRUNC;
        }
        // SAFETY: the window is ours to write, `count` is at most its length, and the datagram lies elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(datagram.bytes.as_ptr(), address as *mut u8, count) };
        self.salvaged = Some(Box::new(datagram));
        Some(Cqe::of(count as i32))
    }
}

/// The iovecs of the first buffers, to be written from.
pub(super) fn outgoing<V: IoVecBuf>(bufs: &V, count: usize, arena: &mut Arena) -> u64 {
    arena.array(count, |index| {
        let (base, len) = bufs.window(index);
        libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len }
    })
}

/// `IORING_OP_SENDMSG` of so many iovecs, to an address or to the peer, without `SIGPIPE`.
pub(super) fn send_message(fd: RawFd, iovecs: u64, count: usize, to: Option<RawAddress>, arena: &mut Arena) -> Sqe {
    // SAFETY: a message header is plain numbers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = iovecs as *mut libc::iovec;
    message.msg_iovlen = count as _;
    if let Some(RawAddress { storage, len }) = to {
        message.msg_name = arena.store(storage) as *mut libc::c_void;
        message.msg_namelen = len;
    }
    let address = arena.store(message);
    Sqe::new(io_uring::opcode::SendMsg::CODE).fd(fd).addr(address).len(1).op_flags(libc::MSG_NOSIGNAL as u32)
}

/// `IORING_OP_SENDMSG`, or `IORING_OP_SEND` where there are no control messages: `sendmsg(2)`, without `SIGPIPE`.
#[doc(alias = "IORING_OP_SENDMSG")]
#[doc(alias = "IORING_OP_SEND")]
#[derive(Debug)]
pub struct SendMsg<B> {
    fd: RawFd,
    drain: Drain<B>,
    to: Option<Result<RawAddress, &'static str>>,
    control: Outgoing,
    /// What few messages have.
    extra: Option<Box<Extra>>,
    datagram: bool,
    cell: Lent,
}

/// What few messages have.
#[derive(Debug, Default)]
struct Extra {
    /// Open until the kernel has let go: it looks them up with every try.
    rights: Vec<OwnedFd>,
    /// Further control messages, as they lie in memory.
    control: Vec<u8>,
    /// `MSG_*` flags.
    flags: i32,
}

/// Control messages that go out with a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    bytes: [u8; Outgoing::MAX],
    len: usize,
}

impl Outgoing {
    /// ECN, a source of IPv6 and a segment's size.
    const MAX: usize = ancillary::space(4) + ancillary::space(20) + ancillary::space(2);

    pub(crate) fn none() -> Outgoing {
        Outgoing { bytes: [0; Outgoing::MAX], len: 0 }
    }

    pub(crate) fn append(&mut self, level: i32, kind: i32, data: &[u8]) {
        self.len += ancillary::put(&mut self.bytes[self.len..], level, kind, data);
    }
}

impl<B: IoBuf> SendMsg<B> {
    /// A datagram to the peer.
    #[inline]
    pub(crate) fn datagram(fd: RawFd, buf: B) -> SendMsg<B> {
        let control = Outgoing::none();
        SendMsg { fd, drain: Drain::some(buf), to: None, control, extra: None, datagram: true, cell: Lent(None) }
    }

    /// Bytes of a stream, with descriptors.
    pub(crate) fn stream(fd: RawFd, buf: B, rights: Vec<OwnedFd>) -> SendMsg<B> {
        SendMsg::datagram(fd, buf).of_stream(true).with_rights(rights)
    }

    /// On a socket without boundaries, if it is one.
    pub(crate) fn of_stream(mut self, stream: bool) -> SendMsg<B> {
        self.datagram = !stream;
        self
    }

    /// To another address, if there is one; `Err` says why not.
    pub(crate) fn to(mut self, to: Result<RawAddress, &'static str>) -> SendMsg<B> {
        self.to = Some(to);
        self
    }

    pub(crate) fn with(mut self, control: Outgoing) -> SendMsg<B> {
        self.control = control;
        self
    }

    pub(super) fn len(&self) -> usize {
        self.drain.len()
    }

    pub(super) fn registered(&self) -> Option<&Region> {
        self.drain.registered()
    }

    pub(super) fn into_buf(self) -> B {
        self.drain.into_buf()
    }

    pub(crate) fn with_rights(mut self, rights: Vec<OwnedFd>) -> SendMsg<B> {
        if !rights.is_empty() {
            self.extra.get_or_insert_default().rights = rights;
        }
        self
    }

    /// With control messages as they lie in memory, and flags.
    pub(crate) fn with_more(mut self, control: Vec<u8>, flags: i32) -> SendMsg<B> {
        if !control.is_empty() || flags != 0 {
            let extra = self.extra.get_or_insert_default();
            (extra.control, extra.flags) = (control, flags);
        }
        self
    }
}

impl<B> Sealed for SendMsg<B> {}

// SAFETY: an address is in the arena and copied by the kernel while the entry is taken. Otherwise the entry points into the
// buffer, which `IoBuf` promises to stay put while it is moved, or to the cell, which is on the heap, as is what that
// points to.
unsafe impl<B: IoBuf> Op for SendMsg<B> {
    type Output = BufResult<usize, B>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.drain.window()?;
        let to = self.to.transpose().map_err(|_| libc::EINVAL)?;
        let control = &self.control.bytes[..self.control.len];
        let (rights, more, flags) = match self.extra.as_deref() {
            Some(extra) => (&extra.rights[..], &extra.control[..], extra.flags),
            None => (&[][..], &[][..], 0),
        };
        if len == 0 && !self.datagram && !rights.is_empty() {
            // The kernel would say that it sent nothing, and lose them.
            return Err(libc::EINVAL);
        }
        *sqe = if rights.is_empty() && more.is_empty() && control.is_empty() {
            let mut send = Sqe::new(io_uring::opcode::Send::CODE).addr(address).len(len);
            if let Some(RawAddress { storage, len }) = to {
                send = send.name_address(arena.store(storage), len);
            }
            send
        } else {
            let rights = ancillary::sending_rights(rights);
            let header = self.cell.get(arena).arm_send(address, len, to, &[control, more, &rights]);
            Sqe::new(io_uring::opcode::SendMsg::CODE).addr(header).len(1)
        };
        *sqe = sqe.fd(self.fd).op_flags((libc::MSG_NOSIGNAL | flags) as u32);
        if self.datagram {
            arena.by_call = sqe.place();
        }
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.drain.step(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let (result, buf) = self.drain.complete(cqe);
        match self.to {
            Some(Err(reason)) if result.is_err() => (Err(io::Error::new(io::ErrorKind::InvalidInput, reason)), buf),
            _ => (result, buf),
        }
    }

    #[inline]
    fn lane(&self) -> Lane {
        Lane::Send
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        // Of a datagram, nothing sent is not the same as 0 bytes sent.
        let unsent = self.datagram && cqe.cancelled();
        let fate = if unsent { Err(libc::ECANCELED) } else { self.drain.fate(cqe) };
        Left::Written { fate, last_step: None }
    }
}
