//! Sockets: `IORING_OP_SOCKET`, `CONNECT`, `ACCEPT`, `RECV`, `SEND`, shutting down, and `POLL_ADD` on any descriptor.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use super::read::Fill;
use super::write::{All, Drain};
use super::{Arena, Cqe, Left, Link, Next, Op, Operation, Sealed, Sqe};
use crate::buf::{BufResult, IoBuf, IoBufMut, Region};
use crate::driver::poll_mask;
use crate::salvage::{Item, Lane, Salvage};
use crate::sys::{self, Address, RawAddress};

/// `IORING_OP_SOCKET`: `socket(2)`. A socket that is made after its future was dropped is closed again.
#[doc(alias = "IORING_OP_SOCKET")]
#[derive(Debug)]
pub struct Socket {
    domain: i32,
    kind: i32,
}

impl Socket {
    pub(crate) fn new(domain: i32, kind: i32) -> Socket {
        Socket { domain, kind }
    }
}

impl Sealed for Socket {}

// SAFETY: the entry holds no address.
unsafe impl Op for Socket {
    type Output = io::Result<OwnedFd>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let kind = self.kind | libc::SOCK_CLOEXEC;
        *sqe = Sqe::new(io_uring::opcode::Socket::CODE).fd(self.domain).offset(kind as u64);
        Ok(())
    }

    fn complete(self, cqe: Cqe) -> io::Result<OwnedFd> {
        cqe.ok().map(|fd| sys::own(fd as RawFd))
    }
}

/// `IORING_OP_CONNECT`: `connect(2)`.
#[doc(alias = "IORING_OP_CONNECT")]
#[derive(Debug)]
pub struct Connect {
    fd: RawFd,
    address: RawAddress,
}

impl Connect {
    pub(crate) fn new(fd: RawFd, address: &impl Address) -> Connect {
        Connect { fd, address: address.encode() }
    }
}

impl Sealed for Connect {}

// SAFETY: the address is in the arena and copied by the kernel while the entry is taken.
unsafe impl Op for Connect {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let RawAddress { storage, len } = self.address;
        *sqe = Sqe::new(io_uring::opcode::Connect::CODE).fd(self.fd).addr(arena.store(storage)).offset(u64::from(len));
        Ok(())
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }
}

/// What a listener makes of a connection that it has accepted.
pub trait Accepted: 'static {
    /// What its peers' addresses are.
    type Address: Address;

    /// Wraps the descriptor. `lingers` says that `SO_LINGER` is set on it, inherited from the listener.
    fn accepted(fd: OwnedFd, lingers: bool) -> Self;
}

/// `IORING_OP_ACCEPT`: `accept4(2)`. A connection that arrives after the future was dropped is given to the next accept.
#[doc(alias = "IORING_OP_ACCEPT")]
pub struct Accept<T> {
    fd: RawFd,
    lingers: bool,
    /// Where the kernel writes the peer's address.
    peer: Box<RawAddress>,
    salvaged: Option<(OwnedFd, RawAddress)>,
    retried: bool,
    _makes: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Accept<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accept").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl<T> Accept<T> {
    pub(crate) fn new(fd: RawFd, lingers: bool) -> Accept<T> {
        Accept { fd, lingers, peer: Box::new(RawAddress::none()), salvaged: None, retried: false, _makes: PhantomData }
    }
}

impl<T> Sealed for Accept<T> {}

// SAFETY: the peer's address is on the heap and stays put while the value is moved.
unsafe impl<T: Accepted> Op for Accept<T> {
    type Output = io::Result<(T, T::Address)>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        self.peer.len = RawAddress::room().len;
        *sqe = Sqe::new(io_uring::opcode::Accept::CODE)
            .fd(self.fd)
            .addr(&raw mut self.peer.storage as u64)
            .offset(&raw mut self.peer.len as u64)
            .op_flags(libc::SOCK_CLOEXEC as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        match -cqe.result {
            _ if cqe.interrupted() => Next::Again,
            // Descriptors that are queued to be closed are by the time of the second try.
            libc::EMFILE | libc::ENFILE if !self.retried => {
                self.retried = true;
                Next::Again
            }
            _ => Next::Done(cqe),
        }
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let (fd, peer) = match self.salvaged.take() {
            Some(salvaged) => salvaged,
            None => (cqe.ok().map(|fd| sys::own(fd as RawFd))?, *self.peer),
        };
        let told = if peer.len > 0 { T::Address::decode(&peer).ok() } else { None };
        let peer = match told {
            Some(peer) => peer,
            // One that a multishot accept left.
            None => sys::peer_address(fd.as_raw_fd())?,
        };
        Ok((T::accepted(fd, self.lingers), peer))
    }

    fn lane(&self) -> Lane {
        Lane::Accept
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        if let Some((fd, peer)) = self.salvaged.take() {
            return Left::Received(vec![Item::Connection(fd, peer)]);
        }
        match cqe.result {
            fd if fd >= 0 => Left::Received(vec![Item::Connection(sys::own(fd), *self.peer)]),
            _ if cqe.cancelled() => Left::Nothing,
            error => Left::Received(vec![Item::Error(-error)]),
        }
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        match salvage.take_connection()? {
            Ok(connection) => {
                self.salvaged = Some(connection);
                Some(Cqe::of(0))
            }
            Err(errno) => Some(Cqe::of(-errno)),
        }
    }
}

/// `IORING_OP_RECV`: `recv(2)` on a stream. What arrives after the future was dropped is given to the next receive.
#[doc(alias = "IORING_OP_RECV")]
#[derive(Debug)]
pub struct Recv<B> {
    fd: RawFd,
    fill: Fill<B>,
    peek: bool,
    /// In a chain: what is to be filled is waited for by the kernel.
    linked: bool,
}

impl<B: IoBufMut> Recv<B> {
    #[inline]
    pub(crate) fn some(fd: RawFd, buf: B) -> Recv<B> {
        Recv { fd, fill: Fill::some(buf), peek: false, linked: false }
    }

    pub(crate) fn append(fd: RawFd, buf: B) -> Recv<B> {
        Recv { fd, fill: Fill::append(buf), peek: false, linked: false }
    }

    pub(crate) fn exact(fd: RawFd, buf: B, len: usize) -> Recv<B> {
        Recv { fd, fill: Fill::exact(buf, len), peek: false, linked: false }
    }

    pub(crate) fn peek(fd: RawFd, buf: B) -> Recv<B> {
        Recv { fd, fill: Fill::some(buf), peek: true, linked: false }
    }
}

impl<B> Sealed for Recv<B> {}

// SAFETY: the only address is inside the buffer, which `IoBufMut` promises to stay put while it is moved.
unsafe impl<B: IoBufMut> Op for Recv<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.fill.window()?;
        let mut flags = if self.peek { libc::MSG_PEEK } else { 0 };
        if self.linked && self.fill.is_exact() {
            flags |= libc::MSG_WAITALL;
        }
        *sqe = Sqe::new(io_uring::opcode::Recv::CODE).fd(self.fd).addr(address).len(len).op_flags(flags as u32);
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.fill.step(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, cqe: Cqe) -> Self::Output {
        self.fill.complete(cqe)
    }

    #[inline]
    fn lane(&self) -> Lane {
        Lane::Receive
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        if self.peek {
            return Left::Nothing;
        }
        let (bytes, then) = self.fill.leave(cqe);
        Left::Received(bytes.into_iter().chain(then).collect())
    }

    fn progress(&self) -> usize {
        if self.peek { 0 } else { self.fill.done() }
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        self.fill.take_salvaged(salvage, self.peek)
    }
}

impl<B: IoBufMut> Link for Recv<B> {
    fn join(&mut self) {
        self.linked = true;
    }
}

/// `IORING_OP_SEND`: `send(2)` on a stream, without `SIGPIPE`.
#[doc(alias = "IORING_OP_SEND")]
#[derive(Debug)]
pub struct Send<B> {
    fd: RawFd,
    drain: Drain<B>,
    flags: i32,
}

impl<B: IoBuf> Send<B> {
    #[inline]
    pub(crate) fn some(fd: RawFd, buf: B) -> Send<B> {
        Send { fd, drain: Drain::some(buf), flags: libc::MSG_NOSIGNAL }
    }

    #[inline]
    pub(crate) fn all(fd: RawFd, buf: B) -> All<Send<B>> {
        All(Send { fd, drain: Drain::all(buf), flags: libc::MSG_NOSIGNAL })
    }

    /// Everything, for which the kernel sees to it that it goes on by itself when there was room for a part: nobody may be there
    /// to ask again.
    #[inline]
    pub(crate) fn whole(fd: RawFd, buf: B) -> All<Send<B>> {
        All(Send { fd, drain: Drain::all(buf), flags: libc::MSG_NOSIGNAL | libc::MSG_WAITALL })
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
}

impl All<Send<Vec<u8>>> {
    /// What is to be sent, to be added to while the kernel has not been asked yet.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        self.0.drain.buf_mut()
    }
}

impl<B> Sealed for Send<B> {}

// SAFETY: the only address is inside the buffer, which `IoBuf` promises to stay put while it is moved.
unsafe impl<B: IoBuf> Op for Send<B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.drain.window()?;
        *sqe = Sqe::new(io_uring::opcode::Send::CODE).fd(self.fd).addr(address).len(len).op_flags(self.flags as u32);
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.drain.step(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, cqe: Cqe) -> Self::Output {
        self.drain.complete(cqe)
    }

    #[inline]
    fn lane(&self) -> Lane {
        Lane::Send
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        Left::Written { fate: self.drain.fate(cqe), last_step: None }
    }

    fn progress(&self) -> usize {
        self.drain.done()
    }
}

impl<B: IoBuf> Link for Send<B> {
    fn join(&mut self) {
        if self.drain.is_whole() {
            self.flags |= libc::MSG_WAITALL;
        }
    }
}

/// `shutdown(2)`, a direct call, which does not block, made when no dropped write is in flight. `IORING_OP_SHUTDOWN` always
/// goes to a worker thread of the kernel's, and only that one looks the number up: by then it may be another socket's.
#[derive(Debug)]
pub struct Shutdown {
    fd: RawFd,
    how: i32,
    stream: bool,
}

impl Shutdown {
    /// As the call is.
    pub(crate) fn new(fd: RawFd, how: std::net::Shutdown) -> Shutdown {
        let how = match how {
            std::net::Shutdown::Read => libc::SHUT_RD,
            std::net::Shutdown::Write => libc::SHUT_WR,
            std::net::Shutdown::Both => libc::SHUT_RDWR,
        };
        Shutdown { fd, how, stream: false }
    }

    /// Of a stream that was connected: what has ended already may be ended.
    pub(crate) fn of_stream(fd: RawFd, how: std::net::Shutdown) -> Shutdown {
        Shutdown { stream: true, ..Shutdown::new(fd, how) }
    }
}

impl Sealed for Shutdown {}

// SAFETY: there is never an entry.
unsafe impl Op for Shutdown {
    type Output = io::Result<()>;

    fn prepare(&mut self, _sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let ended =
            if self.stream { sys::shutdown_stream(self.fd, self.how) } else { sys::shutdown(self.fd, self.how) };
        Err(match ended {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        })
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    fn lane(&self) -> Lane {
        Lane::Settle
    }
}

/// `IORING_OP_POLL_ADD`: waits until a descriptor is ready, `poll(2)`.
#[doc(alias = "IORING_OP_POLL_ADD")]
#[derive(Debug)]
pub struct PollAdd {
    fd: RawFd,
    events: i16,
    lane: Lane,
    in_kernel: bool,
}

impl PollAdd {
    pub(crate) fn new(fd: RawFd, events: i16) -> PollAdd {
        PollAdd { fd, events, lane: Lane::Free, in_kernel: false }
    }

    /// Whether a stream of ours can be read: what was salvaged counts, too.
    pub(crate) fn readable(fd: RawFd) -> PollAdd {
        PollAdd { lane: Lane::Receive, ..PollAdd::new(fd, libc::POLLIN | libc::POLLRDHUP) }
    }

    /// The same for a socket of datagrams.
    pub(crate) fn has_datagram(fd: RawFd) -> PollAdd {
        PollAdd { lane: Lane::Datagram, ..PollAdd::readable(fd) }
    }
}

impl Sealed for PollAdd {}

// SAFETY: the entry holds no address.
unsafe impl Op for PollAdd {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::PollAdd::CODE).fd(self.fd).op_flags(poll_mask(self.events));
        self.in_kernel = true;
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // Called back to see what a dropped receive has left.
        let called = std::mem::take(&mut self.in_kernel) && self.lane == Lane::Datagram && cqe.cancelled();
        if called { Next::Again } else { Next::Done(cqe) }
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    fn lane(&self) -> Lane {
        self.lane
    }

    fn take_salvaged(&mut self, _salvage: &Salvage) -> Option<Cqe> {
        Some(Cqe::of(0))
    }
}

/// Waits until a descriptor of anybody's can be read from, or has an error or hang-up: `IORING_OP_POLL_ADD` with
/// `POLLIN`, `poll(2)`. It reads nothing; dropped, it is cancelled.
///
/// # Errors
/// `EBADF` and what else `poll(2)` gives; `EPERM` never: files that cannot be polled are ready.
pub fn poll_readable<T: AsFd>(source: &T) -> Operation<'_, PollAdd> {
    Operation::<PollAdd>::new(PollAdd::new(source.as_fd().as_raw_fd(), libc::POLLIN))
}

/// The same for writing, with `POLLOUT`.
///
/// # Errors
/// As [`poll_readable`].
pub fn poll_writable<T: AsFd>(source: &T) -> Operation<'_, PollAdd> {
    Operation::<PollAdd>::new(PollAdd::new(source.as_fd().as_raw_fd(), libc::POLLOUT))
}

/// [`poll_readable`] on a number that is never closed.
pub(crate) fn poll_number(fd: RawFd) -> Operation<'static, PollAdd> {
    Operation::<PollAdd>::new(PollAdd::new(fd, libc::POLLIN))
}
