//! The position of an open file, for the operations that go by it.
//!
//! The kernel moves it when such an operation is done, but not always (probed on 6.18): it stays where it was if the
//! completion comes later than the submission (`O_DIRECT`), and if a part of the transfer failed (a full disk), though the
//! part that went well is reported. So it is looked up before and after, and moved along where it stayed.

use std::os::fd::RawFd;

use super::{Cqe, Next, Sqe};
use crate::driver::poll_mask;
use crate::fd::Fd;
use crate::salvage::Undo;
use crate::sys;

/// The offset that means "at the file's position".
pub(crate) const AT_POSITION: u64 = u64::MAX;

/// The offset that stands for any in what has none: a pipe, a terminal. The kernel would go by the order of the calls there,
/// and take bytes that nobody meant.
pub(crate) const NO_OFFSET: u64 = u64::MAX - 1;

/// No position.
const NONE: u64 = u64::MAX;

/// What an operation knows of the position.
#[derive(Debug)]
pub(super) struct Position {
    /// Where it was before the step under way.
    before: u64,
    /// How far that step has gone.
    moved: u32,
    awaits_writer: bool,
    abandoned: bool,
    /// It is known that the file has none: a pipe, a terminal.
    none: bool,
}

impl Position {
    #[inline]
    pub(super) const fn new() -> Position {
        Position { before: NONE, moved: 0, awaits_writer: false, abandoned: false, none: false }
    }

    /// That of an operation at the position of this file.
    #[inline]
    pub(super) fn of(fd: &Fd) -> Position {
        Position { none: !fd.takes_offsets(), ..Position::new() }
    }

    /// A step is about to be submitted. Gives what is to be submitted in its place, if anything is.
    pub(super) fn begin(&mut self, fd: RawFd) -> Option<Sqe> {
        if self.awaits_writer {
            return Some(Sqe::new(io_uring::opcode::PollAdd::CODE).fd(fd).op_flags(poll_mask(libc::POLLIN)));
        }
        if self.none {
            return None;
        }
        self.before = sys::seek(fd, 0, libc::SEEK_CUR).unwrap_or(NONE);
        self.moved = 0;
        None
    }

    /// The future is gone. By the time of the completion the descriptor may be closed and its number another's.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// A step of a write is done.
    pub(super) fn wrote(&mut self, fd: RawFd, cqe: Cqe) {
        self.step(fd, cqe, true);
    }

    /// A step of a read is done. Gives how it goes on, if that is not for the operation to say.
    ///
    /// A plain `open(2)` of a FIFO for reading waits for a writer, the ring's does not, and a read would take a FIFO that
    /// nobody has opened yet for one that everybody has left: a false end. So the first writer is awaited here.
    pub(super) fn read(&mut self, fd: RawFd, cqe: Cqe) -> Option<Next> {
        if self.awaits_writer {
            self.awaits_writer = false;
            let failed = cqe.result < 0 && !cqe.interrupted();
            return Some(if failed { Next::Done(cqe) } else { Next::Again });
        }
        if cqe.result == 0 && !self.abandoned && sys::never_had_writer(fd) {
            self.awaits_writer = true;
            return Some(Next::Again);
        }
        self.step(fd, cqe, false);
        None
    }

    fn step(&mut self, fd: RawFd, cqe: Cqe, writes: bool) {
        if self.before == NONE {
            return;
        }
        self.moved = cqe.result.max(0) as u32;
        if self.abandoned {
            return;
        }
        if self.moved > 0 {
            sys::move_along(fd, self.before, u64::from(self.moved), writes);
        }
        self.before = NONE;
    }

    /// How a read that was dropped is undone, of which all steps together have read so much.
    pub(super) fn undo(&self, done: usize) -> Undo {
        match self.before {
            _ if done == 0 => Undo::Nothing,
            NONE => Undo::Back(done as u64),
            before => Undo::To(before.saturating_sub(done as u64 - u64::from(self.moved))),
        }
    }

    /// Where the last step of a write that was dropped began, and how far it went.
    pub(super) fn last_step(&self) -> Option<(u64, u64)> {
        (self.before != NONE && self.moved > 0).then_some((self.before, u64::from(self.moved)))
    }
}
