//! Receiving datagrams into buffers that the kernel picks when one arrives, with what travels beside them:
//! `IORING_OP_RECVMSG` with `IOSQE_BUFFER_SELECT`, once and many times. No descriptors are received like this.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::few::Few;
use super::lease::{Picks, lease_of};
use super::message::{Details, Lent, Receives};
use super::turn::{Receive, Shooting, Shoots};
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{Lease, Pool};
use crate::driver::GROUP;
use crate::fd::Fd;
use crate::ring::BUFFER_SELECT;
use crate::salvage::{Datagram, Item, Lane, Salvage};
use crate::sys::{self, Control, RawAddress};

/// `IORING_RECV_MULTISHOT`.
const MULTISHOT: u16 = 1 << 1;

/// `struct io_uring_recvmsg_out`: four numbers of four bytes.
const HEAD_BYTES: usize = 16;

fn control_flags<R: Receives>() -> u32 {
    if R::CONTROL_BYTES > 0 { libc::MSG_CMSG_CLOEXEC as u32 } else { 0 }
}

/// One that a dropped receive left.
fn give_salvaged<R: Receives>(fd: RawFd, datagram: Datagram) -> io::Result<(Lease, R::Output)> {
    let Datagram { bytes, from, flags, mut control } = datagram;
    let output = Details::new(fd, bytes.len(), from, flags, control.hand_over()).give::<R>()?;
    Ok((Lease::copied(bytes), output))
}

/// One receive of a datagram into a buffer of the kernel's choice.
#[doc(alias = "IORING_OP_RECVMSG")]
pub struct RecvMsgLease<R> {
    fd: RawFd,
    pool: Arc<Pool>,
    cell: Lent,
    got: Option<Lease>,
    salvaged: Option<Box<Datagram>>,
    in_kernel: bool,
    _gives: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for RecvMsgLease<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvMsgLease").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl<R> Sealed for RecvMsgLease<R> {}

impl<R: Receives> Picks for RecvMsgLease<R> {
    type Item = (Lease, R::Output);
    type Place = ();

    fn picking(fd: &Fd, pool: Arc<Pool>, (): ()) -> RecvMsgLease<R> {
        let cell = Lent::default();
        RecvMsgLease { fd: fd.raw(), pool, cell, got: None, salvaged: None, in_kernel: false, _gives: PhantomData }
    }

    fn lease(item: &(Lease, R::Output)) -> Option<&Lease> {
        Some(&item.0)
    }
}

impl<R: Receives> RecvMsgLease<R> {
    fn details(&self) -> (Option<RawAddress>, i32, Control<&[u8]>) {
        let cell = self.cell.0.as_ref().expect("it was with the kernel");
        (Some(cell.name()), cell.flags(), Control::new(cell.control()))
    }
}

// SAFETY: the entry points to the cell, which is on the heap, as is what that points to; the buffer is the pool's, which the
// value keeps.
unsafe impl<R: Receives> Op for RecvMsgLease<R> {
    type Output = io::Result<(Lease, R::Output)>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.pool.check(arena.loop_id)?;
        let header = self.cell.get(arena).arm_receive(0, self.pool.buffer_bytes() as u32, R::CONTROL_BYTES);
        *sqe = Sqe::new(io_uring::opcode::RecvMsg::CODE)
            .fd(self.fd)
            .addr(header)
            .len(1)
            .op_flags(control_flags::<R>())
            .flags(BUFFER_SELECT)
            .buf_index(GROUP);
        self.in_kernel = true;
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // SAFETY: the pool is that of the loop where it was made and submitted, and each completion is handed in once.
        if let Some(lease) = unsafe { lease_of(&self.pool, cqe) } {
            self.got = Some(lease);
        }
        // Called back to see what another has left, perhaps: see `RecvMsg`.
        let called = std::mem::take(&mut self.in_kernel) && cqe.cancelled();
        if called || cqe.interrupted() { Next::Again } else { Next::Done(cqe) }
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        cqe.ok()?;
        if let Some(datagram) = self.salvaged.take() {
            return give_salvaged::<R>(self.fd, *datagram);
        }
        let lease = self.got.take().unwrap_or_else(|| Lease::copied(Vec::new()));
        let (from, flags, control) = self.details();
        let output = Details::new(self.fd, lease.len(), from, flags, control).give::<R>()?;
        Ok((lease, output))
    }

    fn lane(&self) -> Lane {
        Lane::Datagram
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        if cqe.cancelled() || cqe.result == -libc::ENOBUFS {
            return Left::Nothing;
        }
        if cqe.result < 0 {
            return Left::Received(vec![Item::Error(-cqe.result)]);
        }
        let datagram = self.salvaged.take().unwrap_or_else(|| {
            let bytes = self.got.take().map(Lease::into_vec).unwrap_or_default();
            let (from, flags, control) = self.details();
            Box::new(Datagram { bytes, from, flags, control: control.into_boxed() })
        });
        Left::Received(vec![Item::Datagram(datagram)])
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        match salvage.take_datagram(false)? {
            Ok(datagram) => {
                self.salvaged = Some(Box::new(datagram));
                Some(Cqe::of(0))
            }
            Err(errno) => Some(Cqe::of(-errno)),
        }
    }
}

/// What one completion of many brings.
#[derive(Debug)]
pub enum Shot {
    /// The buffer as the kernel has filled it: what it says of the datagram first.
    Here(Lease),
    Salvaged(Box<Datagram>),
    Error(i32),
}

/// A buffer taken apart.
struct Parts<'a> {
    from: RawAddress,
    flags: i32,
    control: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of<R: Receives>(bytes: &'a [u8]) -> Parts<'a> {
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 4).unwrap_or(&[0; 4]);
            u32::from_ne_bytes(bytes.try_into().expect("four bytes"))
        };
        let (name_len, control_len) = (number(0) as usize, number(4) as usize);
        let rest = bytes.get(HEAD_BYTES..).unwrap_or_default();
        let (name, rest) = rest.split_at(R::NAME_BYTES.min(rest.len()));
        let (control, payload) = rest.split_at(R::CONTROL_BYTES.min(rest.len()));
        Parts {
            from: RawAddress::of_bytes(&name[..name_len.min(name.len())]).unwrap_or(RawAddress::none()),
            flags: number(12) as i32,
            control: &control[..control_len.min(control.len())],
            payload,
        }
    }
}

impl Shot {
    fn give<R: Receives>(self, fd: RawFd) -> io::Result<(Lease, R::Output)> {
        match self {
            Shot::Here(mut lease) => {
                let Parts { from, flags, control, payload } = Parts::of::<R>(&lease);
                let len = payload.len();
                let output = Details::new(fd, len, Some(from), flags, Control::new(control)).give::<R>()?;
                lease.advance(lease.len() - len);
                Ok((lease, output))
            }
            Shot::Salvaged(datagram) => give_salvaged::<R>(fd, *datagram),
            Shot::Error(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn into_item<R: Receives>(self) -> Item {
        match self {
            Shot::Here(lease) => {
                let Parts { from, flags, control, payload } = Parts::of::<R>(&lease);
                let control = Control::new(control).into_boxed();
                Item::Datagram(Box::new(Datagram { bytes: payload.to_vec(), from: Some(from), flags, control }))
            }
            Shot::Salvaged(datagram) => Item::Datagram(datagram),
            Shot::Error(errno) => Item::Error(errno),
        }
    }
}

/// What a receiver makes of bytes that the kernel might have put into a buffer.
#[cfg(any(fuzzing, all(test, not(loom))))]
pub(crate) fn fuzzed_datagram<R: Receives>(bytes: &[u8]) -> io::Result<(usize, R::Output)> {
    let Parts { from, flags, control, payload } = Parts::of::<R>(bytes);
    let details = Details::new(-1, payload.len(), Some(from), flags, Control::of_nobodys(control));
    Ok((payload.len(), R::received(details)?))
}

/// Receives of datagrams that follow each other without being asked for.
#[doc(alias = "IORING_OP_RECVMSG")]
pub struct RecvMsgMulti<R> {
    fd: RawFd,
    /// That of the loop where it is submitted next.
    pool: Arc<Pool>,
    cell: Lent,
    /// What has come and was not taken yet.
    ready: Few<Shot>,
    _gives: PhantomData<fn() -> R>,
}

impl<R> std::fmt::Debug for RecvMsgMulti<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvMsgMulti").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl<R> Sealed for RecvMsgMulti<R> {}

impl<R: Receives> Shoots for RecvMsgMulti<R> {
    type Item = Shot;

    fn set_pool(&mut self, pool: Arc<Pool>) {
        self.pool = pool;
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    fn take(&mut self) -> Option<Shot> {
        self.ready.pop()
    }

    fn lease(shot: &Shot) -> Option<&Lease> {
        if let Shot::Here(lease) = shot { Some(lease) } else { None }
    }
}

// SAFETY: the entry points to the cell, which is on the heap; the buffers are the pool's, which the value keeps.
unsafe impl<R: Receives> Op for RecvMsgMulti<R> {
    type Output = ();

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.pool.check(arena.loop_id)?;
        let header = self.cell.get(arena).arm_many(R::NAME_BYTES, R::CONTROL_BYTES);
        *sqe = Sqe::new(io_uring::opcode::RecvMsg::CODE)
            .fd(self.fd)
            .addr(header)
            .len(1)
            .op_flags(control_flags::<R>())
            .ioprio(MULTISHOT)
            .flags(BUFFER_SELECT)
            .buf_index(GROUP);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // SAFETY: the pool is changed only between two submissions, so it is that of the loop which it was submitted on, and
        // each completion is handed in once.
        let lease = unsafe { lease_of(&self.pool, cqe) };
        match cqe.result {
            0.. => self.ready.extend(lease.map(Shot::Here)),
            _ if cqe.cancelled() || cqe.result == -libc::ENOBUFS => {}
            error => self.ready.push(Shot::Error(-error)),
        }
        if cqe.more() { Next::More } else { Next::Done(cqe) }
    }

    fn complete(self, _cqe: Cqe) {}

    fn lane(&self) -> Lane {
        Lane::Datagram
    }

    fn leave(&mut self, _cqe: Cqe) -> Left {
        Left::Received(self.ready.drain().map(Shot::into_item::<R>).collect())
    }

    fn progress(&self) -> usize {
        self.ready.len()
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        let shot = match salvage.take_datagram(false)? {
            Ok(datagram) => Shot::Salvaged(Box::new(datagram)),
            Err(errno) => Shot::Error(errno),
        };
        self.ready.push(shot);
        Some(Cqe::of(0))
    }
}

/// The datagrams that a socket receives, each in a buffer of the loop's, without being asked for one by one: one submission
/// serves many (`IORING_OP_RECVMSG` with `IORING_RECV_MULTISHOT`, `recvmsg(2)`).
///
/// Dropped, nothing is lost: what had arrived and was not taken is given to the next receives, in order. If it is not asked
/// for long, the kernel is told to stop, and told to go on when all that came has been taken: some tens of buffers at most
/// are held by one, and what comes meanwhile waits in the socket's own queue, as long as that has room. While every buffer
/// of the loop is held by a lease it waits, in order, for one to come back.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is asked for its items"]
pub struct Datagrams<'a, R: Receives> {
    shooting: Shooting<'a, RecvMsgMulti<R>>,
    /// Where the direction is shut down.
    once: Option<Receive<'a, RecvMsgLease<R>>>,
}

impl<'a, R: Receives> Datagrams<'a, R> {
    pub(crate) fn new(fd: &'a Fd) -> Datagrams<'a, R> {
        Datagrams { shooting: Shooting::new(fd), once: None }
    }

    /// The next datagram, and what travelled beside it. Dropped, it loses nothing.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`, among them what the network has said about datagrams that were sent (`ConnectionRefused`, …);
    /// `UnexpectedEof` when the receiving direction was shut down before it began to wait. After an error it goes on with the
    /// next call.
    ///
    /// # Panics
    /// Where no loop runs.
    pub async fn next(&mut self) -> io::Result<(Lease, R::Output)> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`next`](Datagrams::next).
    ///
    /// # Panics
    /// As there.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Lease, R::Output)>> {
        let make = |fd: &Fd, pool| RecvMsgMulti {
            fd: fd.raw(),
            pool,
            cell: Lent::default(),
            ready: Few::new(),
            _gives: PhantomData,
        };
        let fd = self.shooting.fd;
        // A multishot receive would wait for ever (on 6.18), where one that comes once meets the end.
        if self.once.is_none() && self.shooting.is_idle() && sys::is_shut_for_receiving(fd.raw()) {
            self.once = Some(Receive::new(fd));
        }
        if let Some(once) = &mut self.once {
            let received = ready!(Pin::new(once).poll(cx));
            self.once = None;
            return Poll::Ready(received);
        }
        let shot = ready!(self.shooting.poll_item(cx, make))?;
        Poll::Ready(shot.give::<R>(fd.raw()))
    }
}
