//! Receiving into buffers that the kernel picks when something arrives: `IORING_OP_RECV` with `IOSQE_BUFFER_SELECT`, once and
//! many times.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::few::Few;
use super::position::AT_POSITION;
use super::turn::Shoots;
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{Lease, Pool};
use crate::driver::GROUP;
use crate::fd::Fd;
use crate::ring::BUFFER_SELECT;
use crate::salvage::{Item, Lane, Salvage, Undo};

/// `IORING_RECV_MULTISHOT`.
const MULTISHOT: u16 = 1 << 1;

/// The buffer that came with a completion.
///
/// # Safety
/// The operation was submitted on the loop of this pool, and this is the only call for this completion.
pub(super) unsafe fn lease_of(pool: &Arc<Pool>, cqe: Cqe) -> Option<Lease> {
    let id = cqe.buffer()?;
    // SAFETY: with this flag the kernel hands the buffer out; it is the caller's promise that it is done once.
    Some(unsafe { Lease::of(pool, id, cqe.result.max(0) as usize) })
}

/// An operation into a buffer of the kernel's choice, which is made again when there was none.
pub trait Picks: Op<Output = io::Result<Self::Item>> {
    /// What it gives.
    type Item;
    /// Where in a file.
    #[doc(hidden)]
    type Place: Copy + Unpin + std::fmt::Debug;

    /// For a descriptor, with the buffers of the loop where it is submitted.
    #[doc(hidden)]
    fn picking(fd: &Fd, pool: Arc<Pool>, place: Self::Place) -> Self;

    /// The bytes in that.
    #[doc(hidden)]
    fn lease(item: &Self::Item) -> Option<&Lease>;
}

/// One receive into a buffer of the kernel's choice.
#[doc(alias = "IORING_OP_RECV")]
#[derive(Debug)]
pub struct RecvLease {
    fd: RawFd,
    pool: Arc<Pool>,
    got: Option<Lease>,
}

impl Picks for RecvLease {
    type Item = Option<Lease>;
    type Place = ();

    fn picking(fd: &Fd, pool: Arc<Pool>, (): ()) -> RecvLease {
        RecvLease { fd: fd.raw(), pool, got: None }
    }

    fn lease(item: &Option<Lease>) -> Option<&Lease> {
        item.as_ref()
    }
}

impl Sealed for RecvLease {}

// SAFETY: the entry holds no address: the buffer is the pool's, which the value keeps.
unsafe impl Op for RecvLease {
    type Output = io::Result<Option<Lease>>;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.pool.check(arena.loop_id)?;
        *sqe = Sqe::new(io_uring::opcode::Recv::CODE)
            .fd(self.fd)
            .len(self.pool.buffer_bytes() as u32)
            .flags(BUFFER_SELECT)
            .buf_index(GROUP);
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        // SAFETY: the pool is that of the loop where it was made and submitted, and each completion is handed in once.
        // What was salvaged comes this way, too, and is there already.
        if let Some(lease) = unsafe { lease_of(&self.pool, cqe) } {
            self.got = Some(lease);
        }
        Next::unless_interrupted(cqe)
    }

    #[inline]
    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.ok().map(|count| self.got.filter(|_| count > 0))
    }

    #[inline]
    fn lane(&self) -> Lane {
        Lane::Receive
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let shot = Shot::of(cqe, self.got.take());
        Left::Received(shot.and_then(Shot::into_item).into_iter().collect())
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        take_salvaged(salvage).map(|(cqe, lease)| {
            self.got = lease;
            cqe
        })
    }
}

/// Takes what an orphan left, whole.
pub(super) fn take_salvaged(salvage: &Salvage) -> Option<(Cqe, Option<Lease>)> {
    let mut bytes = Vec::new();
    let cqe = salvage.take_bytes(i32::MAX as usize, false, &mut |piece| bytes = piece.to_vec())?;
    Some((cqe, (cqe.result > 0).then(|| Lease::copied(bytes))))
}

/// What one completion of a receive says.
#[derive(Debug)]
pub enum Shot {
    Bytes(Lease),
    End,
    Error(i32),
}

impl Shot {
    /// `None` if it says nothing about the stream: it was cancelled or interrupted, or there was no buffer.
    pub(super) fn of(cqe: Cqe, lease: Option<Lease>) -> Option<Shot> {
        match cqe.result {
            0 => Some(Shot::End),
            result if result > 0 => lease.map(Shot::Bytes),
            _ if cqe.cancelled() || cqe.result == -libc::ENOBUFS => None,
            error => Some(Shot::Error(-error)),
        }
    }

    pub(super) fn into_item(self) -> Option<Item> {
        Some(match self {
            Shot::Bytes(lease) => Item::Bytes(lease.into_vec()),
            Shot::End => Item::End,
            Shot::Error(errno) => Item::Error(errno),
        })
    }
}

/// Receives, or reads of a pipe, that follow each other without being asked for, each into a buffer of the kernel's choice.
#[doc(alias = "IORING_OP_RECV")]
#[doc(alias = "IORING_OP_READ_MULTISHOT")]
#[derive(Debug)]
pub struct RecvMulti {
    fd: RawFd,
    pipe: bool,
    /// That of the loop where it is submitted next.
    pool: Arc<Pool>,
    /// What has come and was not taken yet.
    ready: Few<Shot>,
}

impl RecvMulti {
    pub(crate) fn new(fd: RawFd, pool: Arc<Pool>) -> RecvMulti {
        RecvMulti { fd, pipe: false, pool, ready: Few::new() }
    }

    pub(super) fn of_pipe(fd: RawFd, pool: Arc<Pool>) -> RecvMulti {
        RecvMulti { pipe: true, ..RecvMulti::new(fd, pool) }
    }

    /// What a completion brings: called once for each.
    #[inline]
    fn shot(&self, cqe: Cqe) -> Option<Shot> {
        // SAFETY: the pool is changed only between two submissions, so it is that of the loop which it was submitted on, and
        // each completion is handed in once.
        let lease = unsafe { lease_of(&self.pool, cqe) };
        Shot::of(cqe, lease)
    }
}

impl Sealed for RecvMulti {}

impl Shoots for RecvMulti {
    type Item = Shot;

    fn set_pool(&mut self, pool: Arc<Pool>) {
        self.pool = pool;
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    #[inline]
    fn take(&mut self) -> Option<Shot> {
        self.ready.pop()
    }

    /// Past the queue, in which it would be moved twice.
    #[inline]
    fn bring(&mut self, cqe: Cqe) -> Option<Shot> {
        debug_assert!(self.has_none(), "what waits comes first");
        self.shot(cqe)
    }

    fn lease(shot: &Shot) -> Option<&Lease> {
        if let Shot::Bytes(lease) = shot { Some(lease) } else { None }
    }
}

// SAFETY: the entry holds no address: the buffers are the pool's, which the value keeps.
unsafe impl Op for RecvMulti {
    type Output = ();

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.pool.check(arena.loop_id)?;
        let entry = if self.pipe {
            Sqe::new(io_uring::opcode::ReadMulti::CODE).offset(AT_POSITION)
        } else {
            Sqe::new(io_uring::opcode::Recv::CODE).ioprio(MULTISHOT)
        };
        *sqe = entry.fd(self.fd).flags(BUFFER_SELECT).buf_index(GROUP);
        Ok(())
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.ready.extend(self.shot(cqe));
        if cqe.more() { Next::More } else { Next::Done(cqe) }
    }

    fn complete(self, _cqe: Cqe) {}

    #[inline]
    fn lane(&self) -> Lane {
        if self.pipe { Lane::PositionRead } else { Lane::Receive }
    }

    fn leave(&mut self, _cqe: Cqe) -> Left {
        // A kernel that does not know reads of this kind (before 6.7) refuses them: that is no news of the pipe's.
        let pipe = self.pipe;
        let told = |shot: &Shot| !(pipe && matches!(shot, Shot::Error(libc::EINVAL)));
        let items = self.ready.drain().filter(told).filter_map(Shot::into_item).collect();
        if self.pipe { Left::Position { undo: Undo::Nothing, items } } else { Left::Received(items) }
    }

    fn progress(&self) -> usize {
        self.ready.len()
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        take_salvaged(salvage).map(|(cqe, lease)| {
            self.ready.extend(Shot::of(cqe, lease));
            cqe
        })
    }
}
