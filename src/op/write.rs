//! Writing from one buffer: `IORING_OP_WRITE`, and what it shares with sending.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use super::flags::{appends, told_of_flags};
use super::large::Worker;
use super::position::{AT_POSITION, NO_OFFSET, Position};
use super::read::{MAX_TRANSFER, failure};
use super::{Arena, Cqe, Left, Link, Next, Op, Sealed, Sqe, fixed};
use crate::buf::{BufResult, IoBuf, Region};
use crate::fd::Fd;
use crate::salvage::Lane;

/// A buffer that is being written out; `done` bytes were taken.
#[derive(Debug)]
pub(super) struct Drain<B> {
    buf: B,
    done: usize,
    all: bool,
    refused: Option<&'static str>,
}

impl<B: IoBuf> Drain<B> {
    /// As much as the kernel takes at once.
    #[inline]
    pub(super) fn some(buf: B) -> Drain<B> {
        Drain { buf, done: 0, all: false, refused: None }
    }

    /// Everything.
    #[inline]
    pub(super) fn all(buf: B) -> Drain<B> {
        Drain { buf, done: 0, all: true, refused: None }
    }

    /// What is to be written next.
    #[inline]
    pub(super) fn window(&self) -> Result<(u64, u32), i32> {
        if self.refused.is_some() {
            return Err(libc::EINVAL);
        }
        let len = self.buf.buf_len() - self.done;
        if len == 0 && self.all {
            return Err(0);
        }
        // SAFETY: `done` is at most the buffer's length.
        let address = unsafe { self.buf.buf_ptr().add(self.done) };
        Ok((address as u64, len.min(MAX_TRANSFER) as u32))
    }

    #[inline]
    pub(super) fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result > 0 {
            self.done += cqe.result as usize;
            debug_assert!(self.done <= self.buf.buf_len(), "the kernel took no more than there was");
            if self.all && self.done < self.buf.buf_len() {
                return Next::Again;
            }
        }
        Next::Done(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn complete(self, cqe: Cqe) -> BufResult<usize, B> {
        // As in `Fill::complete`.
        let Drain { buf, done, all, refused } = self;
        let buf = ManuallyDrop::new(buf);
        let result = if cqe.result < 0 {
            Err(failure(refused, -cqe.result, done))
        } else if all && done < buf.buf_len() {
            Err(nothing_taken())
        } else {
            Ok(done)
        };
        (result, ManuallyDrop::into_inner(buf))
    }

    /// The buffer, which the kernel must not know yet.
    #[inline]
    pub(super) fn buf_mut(&mut self) -> &mut B {
        &mut self.buf
    }

    /// The buffer, without asking it anything.
    pub(super) fn into_buf(self) -> B {
        self.buf
    }

    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Whether all of it is to be written.
    pub(super) fn is_whole(&self) -> bool {
        self.all
    }

    pub(super) fn len(&self) -> usize {
        self.buf.buf_len()
    }

    pub(super) fn registered(&self) -> Option<&Region> {
        self.buf.registered()
    }

    /// What became of a write that was dropped.
    pub(super) fn fate(&self, cqe: Cqe) -> Result<usize, i32> {
        if cqe.result < 0 && !cqe.cancelled() { Err(-cqe.result) } else { Ok(self.done) }
    }
}

#[cold]
#[inline(never)]
fn nothing_taken() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the kernel took nothing more of the buffer")
}

/// `IORING_OP_WRITE`: `pwrite(2)`, or `write(2)` at the file's position.
#[doc(alias = "IORING_OP_WRITE")]
#[derive(Debug)]
pub struct Write<B> {
    fd: RawFd,
    /// `RWF_*` of `pwritev2(2)`.
    flags: u32,
    offset: u64,
    drain: Drain<B>,
    position: Position,
    worker: Worker,
}

impl<B: IoBuf> Write<B> {
    pub(crate) fn at(fd: RawFd, buf: B, offset: u64) -> Write<B> {
        Write::made(fd, Drain::some(buf), offset)
    }

    pub(crate) fn all_at(fd: RawFd, buf: B, offset: u64) -> All<Write<B>> {
        All(Write::made(fd, Drain::all(buf), offset))
    }

    pub(crate) fn some(fd: &Fd, buf: B) -> Write<B> {
        Write::at_position(fd, Drain::some(buf))
    }

    pub(crate) fn all(fd: &Fd, buf: B) -> All<Write<B>> {
        All(Write::at_position(fd, Drain::all(buf)))
    }

    /// With flags of `pwritev2(2)`.
    pub(crate) fn with_flags(self, flags: u32) -> Write<B> {
        Write { flags, ..self }
    }

    fn at_position(fd: &Fd, drain: Drain<B>) -> Write<B> {
        Write {
            fd: fd.raw(),
            flags: 0,
            offset: AT_POSITION,
            drain,
            position: Position::of(fd),
            worker: Worker::default(),
        }
    }

    fn made(fd: RawFd, mut drain: Drain<B>, offset: u64) -> Write<B> {
        if offset > i64::MAX as u64 && offset != NO_OFFSET {
            drain.refused = Some("an offset beyond 2^63 - 1, the largest that a file can have");
        }
        Write { fd, flags: 0, offset, drain, position: Position::new(), worker: Worker::default() }
    }
}

impl<B> Sealed for Write<B> {}

// SAFETY: the only address is inside the buffer, which `IoBuf` promises to stay put while it is moved.
unsafe impl<B: IoBuf> Op for Write<B> {
    type Output = BufResult<usize, B>;

    const WANTS_WORKER: bool = true;

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.drain.window()?;
        let mut offset = AT_POSITION;
        if self.offset == NO_OFFSET {
            return Err(libc::ESPIPE);
        } else if self.offset != AT_POSITION {
            offset = self.offset + self.drain.done as u64;
        } else if let Some(instead) = self.position.begin(self.fd) {
            *sqe = instead;
            return Ok(());
        }
        let codes = (io_uring::opcode::Write::CODE, io_uring::opcode::WriteFixed::CODE);
        let entry = fixed::entry(codes, self.drain.buf.registered(), len, arena);
        *sqe = entry.fd(self.fd).addr(address).offset(offset).op_flags(self.flags);
        self.worker.spare_loop(sqe, len as usize);
        Ok(())
    }

    fn without_worker(&mut self) -> bool {
        self.drain.done == 0 && self.worker.refuse()
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        if self.offset == AT_POSITION {
            self.position.wrote(self.fd, cqe);
        }
        self.drain.step(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, cqe: Cqe) -> Self::Output {
        let Write { flags, drain, .. } = self;
        told_of_flags(flags, cqe, drain.complete(cqe))
    }

    #[inline]
    fn lane(&self) -> Lane {
        if self.offset == AT_POSITION {
            Lane::PositionWrite
        } else if appends(self.flags) {
            // Wherever the end is by then.
            Lane::WriteAt { start: 0, end: u64::MAX }
        } else {
            Lane::WriteAt { start: self.offset, end: self.offset.saturating_add(self.drain.len() as u64) }
        }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        Left::Written { fate: self.drain.fate(cqe), last_step: self.position.last_step() }
    }

    fn abandon(&mut self) {
        self.position.abandon();
    }

    fn progress(&self) -> usize {
        self.drain.done()
    }
}

impl<B: IoBuf> Link for Write<B> {}

/// An operation that moves everything, whose output therefore needs no count.
#[derive(Debug)]
pub struct All<O>(pub(super) O);

impl<B: IoBuf> All<Write<B>> {
    /// With flags of `pwritev2(2)`.
    pub(crate) fn with_flags(self, flags: u32) -> All<Write<B>> {
        All(self.0.with_flags(flags))
    }
}

impl<O> Sealed for All<O> {}

// SAFETY: everything is the inner operation's.
unsafe impl<B, O: Op<Output = BufResult<usize, B>>> Op for All<O> {
    type Output = BufResult<(), B>;

    const WANTS_WORKER: bool = O::WANTS_WORKER;

    fn without_worker(&mut self) -> bool {
        self.0.without_worker()
    }

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.0.prepare(sqe, arena)
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.0.step(cqe)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn complete(self, cqe: Cqe) -> Self::Output {
        let (result, buf) = self.0.complete(cqe);
        (result.map(drop), buf)
    }

    #[inline]
    fn lane(&self) -> Lane {
        self.0.lane()
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        self.0.leave(cqe)
    }

    fn abandon(&mut self) {
        self.0.abandon();
    }

    fn progress(&self) -> usize {
        self.0.progress()
    }
}

impl<B, O: Link<Output = BufResult<usize, B>>> Link for All<O> {
    fn join(&mut self) {
        self.0.join();
    }
}
