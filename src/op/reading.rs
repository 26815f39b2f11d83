//! Reading pipes and files into buffers that the kernel picks: `IORING_OP_READ` with `IOSQE_BUFFER_SELECT`, and
//! `IORING_OP_READ_MULTISHOT`.

use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use super::lease::{Picks, RecvMulti, Shot, lease_of, take_salvaged};
use super::position::{AT_POSITION, NO_OFFSET, Position};
use super::turn::{Receive, Shooting};
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{Lease, Pool};
use crate::driver::GROUP;
use crate::fd::Fd;
use crate::ring::BUFFER_SELECT;
use crate::salvage::{Lane, Salvage};
use crate::sys;

/// One read into a buffer of the kernel's choice.
#[doc(alias = "IORING_OP_READ")]
#[derive(Debug)]
pub struct ReadLease {
    fd: RawFd,
    offset: u64,
    pool: Arc<Pool>,
    got: Option<Lease>,
    position: Position,
}

impl Sealed for ReadLease {}

impl Picks for ReadLease {
    type Item = Option<Lease>;
    /// The offset, or [`AT_POSITION`].
    type Place = u64;

    fn picking(fd: &Fd, pool: Arc<Pool>, offset: u64) -> ReadLease {
        let position = if offset == AT_POSITION { Position::of(fd) } else { Position::new() };
        ReadLease { fd: fd.raw(), offset, pool, got: None, position }
    }

    fn lease(item: &Option<Lease>) -> Option<&Lease> {
        item.as_ref()
    }
}

// SAFETY: the entry holds no address: the buffer is the pool's, which the value keeps.
unsafe impl Op for ReadLease {
    type Output = io::Result<Option<Lease>>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.pool.check(arena.loop_id)?;
        match self.offset {
            NO_OFFSET => return Err(libc::ESPIPE),
            AT_POSITION => {
                if let Some(instead) = self.position.begin(self.fd) {
                    *sqe = instead;
                    return Ok(());
                }
            }
            offset if offset > i64::MAX as u64 => return Err(libc::EINVAL),
            _ => {}
        }
        *sqe = Sqe::new(io_uring::opcode::Read::CODE)
            .fd(self.fd)
            .len(self.pool.buffer_bytes() as u32)
            .offset(self.offset)
            .flags(BUFFER_SELECT)
            .buf_index(GROUP);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // SAFETY: the pool is that of the loop where it was made and submitted, and each completion is handed in once.
        if let Some(lease) = unsafe { lease_of(&self.pool, cqe) } {
            self.got = Some(lease);
        }
        let salvaged = self.got.as_ref().is_some_and(|lease| cqe.buffer().is_none() && !lease.is_empty());
        if self.offset == AT_POSITION
            && !salvaged
            && let Some(next) = self.position.read(self.fd, cqe)
        {
            return next;
        }
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        cqe.ok().map(|count| self.got.filter(|_| count > 0))
    }

    fn lane(&self) -> Lane {
        if self.offset == AT_POSITION { Lane::PositionRead } else { Lane::Free }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let lease = self.got.take();
        let undo = self.position.undo(lease.as_ref().map_or(0, |lease| lease.len()));
        Left::Position { undo, items: Shot::of(cqe, lease).and_then(Shot::into_item).into_iter().collect() }
    }

    fn abandon(&mut self) {
        self.position.abandon();
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        take_salvaged(salvage).map(|(cqe, lease)| {
            self.got = lease;
            cqe
        })
    }
}

/// Set when the kernel has said that it does not know `IORING_OP_READ_MULTISHOT`.
static UNKNOWN: AtomicBool = AtomicBool::new(false);

/// What a pipe brings, piece by piece, without being asked for each: one submission serves many reads
/// (`IORING_OP_READ_MULTISHOT`, from Linux 6.7 on; with an older kernel, and of a FIFO, each is a submission of its own).
///
/// Dropped, nothing is lost: what had arrived and was not taken is given to the next read. If it is not asked for long, the
/// kernel is told to stop, and told to go on when all that came has been taken: some tens of buffers at most are held by one.
/// While every buffer of the loop is held by a lease it waits, in order, for one to come back.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is asked for its items"]
pub struct Reading<'a> {
    shooting: Shooting<'a, RecvMulti>,
    /// One by one, where the other way does not work.
    once: Option<Receive<'a, ReadLease>>,
    one_by_one: bool,
    ended: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(fd: &'a Fd) -> Reading<'a> {
        // A FIFO has no reads that do not wait: the kernel polls it for bytes, and never sees that the last writer has gone
        // (6.18).
        let one_by_one = UNKNOWN.load(Ordering::Relaxed) || !sys::is_anonymous_pipe(fd.raw());
        Reading { shooting: Shooting::new(fd), once: None, one_by_one, ended: false }
    }

    /// The next piece; `None` at the end, when the last sender has gone. Dropped, it loses nothing.
    ///
    /// # Errors
    /// Those of `read(2)`.
    ///
    /// # Panics
    /// Where no loop runs.
    pub async fn next(&mut self) -> Option<io::Result<Lease>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`next`](Reading::next).
    ///
    /// # Panics
    /// As there.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        let fd = self.shooting.fd;
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if self.one_by_one && self.once.is_none() && self.shooting.is_idle() {
                self.once = Some(Receive::at(fd, AT_POSITION));
            }
            if let Some(once) = &mut self.once {
                let read = ready!(Pin::new(once).poll(cx));
                self.once = None;
                self.ended = matches!(read, Ok(None));
                return Poll::Ready(read.transpose());
            }
            match ready!(self.shooting.poll_item(cx, |fd, pool| RecvMulti::of_pipe(fd.raw(), pool))) {
                Ok(Shot::Bytes(lease)) => return Poll::Ready(Some(Ok(lease))),
                Ok(Shot::End) => self.ended = true,
                // Not known. If it is for another reason, single reads tell.
                Ok(Shot::Error(libc::EINVAL)) if !self.one_by_one => {
                    self.one_by_one = true;
                    UNKNOWN.store(true, Ordering::Relaxed);
                }
                Ok(Shot::Error(errno)) => return Poll::Ready(Some(Err(io::Error::from_raw_os_error(errno)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}
