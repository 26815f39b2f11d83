//! Reading into one buffer: `IORING_OP_READ`, and what it shares with receiving.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use super::flags::told_of_flags;
use super::large::Worker;
use super::position::{AT_POSITION, NO_OFFSET, Position};
use super::{Arena, Cqe, CutShort, Left, Link, Next, Op, Sealed, Sqe, fixed};
use crate::buf::{BufResult, IoBufMut};
use crate::fd::Fd;
use crate::ring::{LATE, error_of};
use crate::salvage::{Item, Lane, Salvage};

/// What one call moves at most: `MAX_RW_COUNT` of the kernel.
pub(super) const MAX_TRANSFER: usize = 0x7fff_f000;

/// A buffer that is being filled between `start` and `end`; `done` bytes are there.
#[derive(Debug)]
pub(crate) struct Fill<B> {
    buf: B,
    start: usize,
    end: usize,
    done: usize,
    exact: bool,
    refused: Option<&'static str>,
}

impl<B: IoBufMut> Fill<B> {
    /// As much as there is, up to the buffer's capacity, from its start.
    #[inline]
    pub(crate) fn some(buf: B) -> Fill<B> {
        let end = buf.buf_capacity();
        let refused =
            (end == 0).then_some("a read into a buffer without capacity: reserve some, or it could not tell the end");
        Fill { buf, start: 0, end, done: 0, exact: false, refused }
    }

    /// As much as there is, behind what the buffer holds.
    pub(super) fn append(buf: B) -> Fill<B> {
        let (start, end) = (buf.buf_len(), buf.buf_capacity());
        let refused = (start >= end).then_some("a read that appends to a full buffer: reserve some capacity");
        Fill { buf, start, end, done: 0, exact: false, refused }
    }

    /// Exactly so many bytes, from the buffer's start.
    pub(crate) fn exact(buf: B, len: usize) -> Fill<B> {
        let refused = (len > buf.buf_capacity()).then_some("an exact read of more bytes than the buffer has capacity");
        Fill { buf, start: 0, end: len, done: 0, exact: true, refused }
    }

    /// Where the kernel is to write next, and how much. `Err` as in [`Op::prepare`].
    #[inline]
    pub(super) fn window(&mut self) -> Result<(u64, u32), i32> {
        if self.refused.is_some() {
            return Err(libc::EINVAL);
        }
        let from = self.start + self.done;
        if from == self.end {
            // Nothing is wanted: done without a submission.
            return Err(0);
        }
        // SAFETY: `from` lies within the capacity (checked when made), so the address is inside the buffer.
        let address = unsafe { self.buf.buf_mut_ptr().add(from) };
        Ok((address as u64, (self.end - from).min(MAX_TRANSFER) as u32))
    }

    #[inline]
    pub(super) fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result > 0 {
            self.done += cqe.result as usize;
            if self.exact && self.start + self.done < self.end {
                return Next::Again;
            }
        }
        Next::Done(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn complete(self, cqe: Cqe) -> BufResult<usize, B> {
        // By its parts: were a reference to the whole given to what is not inlined, the whole would be copied for it. Nor is one to the
        // buffer, by whoever would drop it if what makes errors panicked: then it is leaked.
        let Fill { buf, start, end, done, exact, refused } = self;
        let mut buf = ManuallyDrop::new(buf);
        if refused.is_none() {
            debug_assert!(start + done <= end, "the kernel wrote within the window");
            // SAFETY: the kernel (or salvage) has written `done` bytes from `start` on, and what lies before `start` was
            // initialised when the operation was made.
            unsafe { buf.set_buf_len(start + done) };
        }
        let result = if cqe.result < 0 {
            Err(failure(refused, -cqe.result, done))
        } else if exact && done < end {
            Err(ended_early())
        } else {
            Ok(done)
        };
        (result, ManuallyDrop::into_inner(buf))
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Whether it is to be filled.
    pub(super) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether there is room left.
    #[inline]
    pub(super) fn wants_more(&self) -> bool {
        self.start + self.done < self.end
    }

    /// Refuses the operation for a reason of the caller's.
    pub(super) fn refuse(&mut self, reason: &'static str) {
        self.refused.get_or_insert(reason);
    }

    /// What has been read.
    pub(super) fn filled(&self) -> &[u8] {
        // SAFETY: the kernel has written `done` bytes from `start` on, within the buffer.
        unsafe { std::slice::from_raw_parts(self.buf.buf_ptr().add(self.start), self.done) }
    }

    /// Copies out what has been read; nothing that was dropped is lost.
    pub(super) fn leave(&mut self, cqe: Cqe) -> (Option<Item>, Option<Item>) {
        let bytes = (self.done > 0).then(|| Item::Bytes(self.filled().to_vec()));
        let then = match cqe.result {
            0 if self.done < self.end => Some(Item::End),
            result if result < 0 && !cqe.cancelled() => Some(Item::Error(-result)),
            _ => None,
        };
        (bytes, then)
    }

    /// Fills the buffer from what an orphan left.
    pub(super) fn take_salvaged(&mut self, salvage: &Salvage, peek: bool) -> Option<Cqe> {
        let (address, len) = match self.window() {
            Ok(window) => window,
            Err(errno) => return Some(Cqe::of(-errno)),
        };
        salvage.take_bytes(len as usize, peek, &mut |bytes| {
            // SAFETY: the window is ours to write, and `bytes` is at most as long and lies elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        })
    }
}

/// The error of a transfer that was refused for a reason, or failed when it had moved so many bytes.
#[cold]
#[inline(never)]
pub(super) fn failure(refused: Option<&'static str>, errno: i32, done: usize) -> io::Error {
    match refused {
        Some(reason) if errno == libc::EINVAL => io::Error::new(io::ErrorKind::InvalidInput, reason),
        _ if matches!(errno, libc::ECANCELED | libc::ETIMEDOUT | LATE) => CutShort::error(errno, done),
        _ => error_of(errno),
    }
}

#[cold]
#[inline(never)]
fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the end came before the buffer was filled")
}

/// `IORING_OP_READ`: `pread(2)`, or `read(2)` at the file's position.
#[doc(alias = "IORING_OP_READ")]
#[derive(Debug)]
pub struct Read<B> {
    fd: RawFd,
    /// `RWF_*` of `preadv2(2)`.
    flags: u32,
    offset: u64,
    fill: Fill<B>,
    position: Position,
    worker: Worker,
    /// It may be made by a call, if it is alone.
    by_call: bool,
}

impl<B: IoBufMut> Read<B> {
    pub(crate) fn at(fd: RawFd, buf: B, offset: u64) -> Read<B> {
        Read::made(fd, Fill::some(buf), offset)
    }

    pub(crate) fn exact_at(fd: RawFd, buf: B, len: usize, offset: u64) -> Read<B> {
        Read::made(fd, Fill::exact(buf, len), offset)
    }

    pub(crate) fn some(fd: &Fd, buf: B) -> Read<B> {
        Read::at_position(fd, Fill::some(buf))
    }

    pub(crate) fn append(fd: &Fd, buf: B) -> Read<B> {
        Read::at_position(fd, Fill::append(buf))
    }

    pub(crate) fn exact(fd: &Fd, buf: B, len: usize) -> Read<B> {
        Read::at_position(fd, Fill::exact(buf, len))
    }

    /// With flags of `preadv2(2)`.
    pub(crate) fn with_flags(self, flags: u32) -> Read<B> {
        Read { flags, ..self }
    }

    fn at_position(fd: &Fd, fill: Fill<B>) -> Read<B> {
        Read {
            fd: fd.raw(),
            flags: 0,
            offset: AT_POSITION,
            fill,
            position: Position::of(fd),
            worker: Worker::default(),
            by_call: false,
        }
    }

    fn made(fd: RawFd, fill: Fill<B>, offset: u64) -> Read<B> {
        Read::cached(fd, fill, offset, false)
    }

    /// At an offset, of what may be in the page cache.
    #[inline]
    pub(crate) fn cached(fd: RawFd, mut fill: Fill<B>, offset: u64, by_call: bool) -> Read<B> {
        if offset > i64::MAX as u64 && offset != NO_OFFSET {
            fill.refuse("an offset beyond 2^63 - 1, the largest that a file can have");
        }
        let (position, worker) = (Position::new(), Worker::default());
        Read { fd, flags: 0, offset, fill, position, worker, by_call }
    }
}

impl<B> Sealed for Read<B> {}

// SAFETY: the only address is inside the buffer, which `IoBufMut` promises to stay put while it is moved.
unsafe impl<B: IoBufMut> Op for Read<B> {
    type Output = BufResult<usize, B>;

    const WANTS_WORKER: bool = true;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.fill.window()?;
        let mut offset = AT_POSITION;
        if self.offset == NO_OFFSET {
            return Err(libc::ESPIPE);
        } else if self.offset != AT_POSITION {
            offset = self.offset + self.fill.done as u64;
        } else if let Some(instead) = self.position.begin(self.fd) {
            *sqe = instead;
            return Ok(());
        }
        let codes = (io_uring::opcode::Read::CODE, io_uring::opcode::ReadFixed::CODE);
        let entry = fixed::entry(codes, self.fill.buf.registered(), len, arena);
        *sqe = entry.fd(self.fd).addr(address).offset(offset).op_flags(self.flags);
        if self.by_call {
            (arena.by_call, arena.file) = (sqe.place(), self.fd);
        }
        self.worker.spare_loop(sqe, len as usize);
        Ok(())
    }

    fn without_worker(&mut self) -> bool {
        self.fill.done() == 0 && self.worker.refuse()
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        if self.offset == AT_POSITION
            && self.fill.wants_more()
            && let Some(next) = self.position.read(self.fd, cqe)
        {
            return next;
        }
        self.fill.step(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, cqe: Cqe) -> Self::Output {
        let Read { flags, fill, .. } = self;
        told_of_flags(flags, cqe, fill.complete(cqe))
    }

    #[inline]
    fn lane(&self) -> Lane {
        if self.offset == AT_POSITION { Lane::PositionRead } else { Lane::Free }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let (bytes, then) = self.fill.leave(cqe);
        Left::Position { undo: self.position.undo(self.fill.done()), items: bytes.into_iter().chain(then).collect() }
    }

    fn abandon(&mut self) {
        self.position.abandon();
    }

    fn progress(&self) -> usize {
        if self.offset == AT_POSITION { self.fill.done() } else { 0 }
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        self.fill.take_salvaged(salvage, false)
    }
}

impl<B: IoBufMut> Link for Read<B> {}
