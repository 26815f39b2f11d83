//! L0: the ring itself. Set-up, the staged submissions, entering the kernel, harvesting completions. It knows
//! neither futures nor slots.
//!
//! # Why entries are staged
//!
//! An operation may be dropped before its entry was handed to the kernel; then the entry must vanish, because
//! the buffer and perhaps the descriptor that it names are gone. Entries are written into the shared queue as they
//! come, but the queue's tail is published only right before the kernel is entered: until then each can be found by
//! its position and made void. An entry that has been published counts as submitted, even if the kernel was too busy to
//! take it: it stays in the queue, in order, and goes with the next enter.
//!
//! # The seam
//!
//! Everything that the loop asks of the kernel goes through [`Ring`], a closed enum: the real ring, and in tests
//! one that misbehaves from a seed (`fault`). A software ring for places where io_uring is denied fits here too.
#![allow(unsafe_code)]

mod apart;
mod arena;
mod aside;
mod attempt;
mod buffers;
mod diagnose;
#[cfg(test)]
pub(crate) mod fault;
mod files;
mod message;
mod sqe;
mod uring;
mod zcrx;

use std::io;
use std::os::fd::RawFd;

pub use arena::Arena;
pub(crate) use buffers::BufferRing;
pub(crate) use diagnose::{explain, explain_memory};
pub(crate) use files::{OWN_FILE, lets_go_of_files};
pub(crate) use message::MessageCell;
pub(crate) use sqe::{ASYNC, BUFFER_SELECT, HARDLINK, LATE, LINK, NO_WORKER, SKIP_SUCCESS, error_of};
pub use sqe::{Cqe, Sqe};
pub(crate) use uring::Uring;
pub(crate) use zcrx::{Arrival, CardRing};

/// Links of a chain, at most. Each may have a time limit, which is one more entry.
pub(crate) const LINKS_AT_MOST: usize = 6;

/// How large a ring is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub polled: Option<Polled>,
    pub busy_poll: Option<BusyPoll>,
    /// For transfers whose device is asked whether it is done, and nothing else.
    pub iopoll: bool,
    /// Its thread waits elsewhere than in this ring: completions are written whenever that thread leaves the kernel, which it is
    /// woken to do, and not when it enters the ring.
    pub hosted: bool,
}

impl Config {
    /// A ring of these sizes and nothing else.
    pub(crate) const fn of(sq_entries: u32, cq_entries: u32) -> Config {
        Config { sq_entries, cq_entries, polled: None, busy_poll: None, iopoll: false, hosted: false }
    }
}

/// A thread of the kernel's takes the submissions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Polled {
    /// It sleeps when none came for so long.
    pub idle_ms: u32,
    pub cpu: Option<u32>,
}

/// The kernel polls the devices of sockets before a wait sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BusyPoll {
    pub at_most_us: u32,
    pub preferred: bool,
}

/// How long an enter may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: submit, and let the kernel do the work that it has deferred.
    No,
    /// Until one completion is there.
    Completion,
    /// Until one completion is there, or this many nanoseconds have passed.
    AtMostNs(u64),
    /// Until so many completions are there. When they have not come within the first time, one is enough; and after the
    /// second, if there is one, none is needed.
    Gather { several: u32, within_ns: u64, at_most_ns: Option<u64> },
}

/// What an enter did with the staged entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// All that was staged has been handed over and taken.
    All,
    /// The kernel took some only, or none: harvest, then enter again.
    Pressed,
    /// All has been handed over to the kernel's thread, which has not taken all of it yet.
    Left,
    /// What is aside was asked for, too, and may have completed; [`Ring::entered_itself`] tells the rest.
    Aside,
}

/// The kernel's side of the loop.
#[cfg_attr(test, allow(clippy::large_enum_variant, reason = "the large one is the one there is"))]
pub(crate) enum Ring {
    Uring(Uring),
    #[cfg(test)]
    Faulty(Box<fault::Faulty>),
}

macro_rules! either {
    ($self:ident, $ring:ident => $call:expr) => {
        match $self {
            Ring::Uring($ring) => $call,
            #[cfg(test)]
            Ring::Faulty($ring) => $call,
        }
    };
}

impl Ring {
    pub(crate) fn new(config: Config) -> io::Result<Ring> {
        Uring::new(config).map(Ring::Uring)
    }

    /// The place of the next entry, which is staged with [`Ring::commit`]. What is there now is to be overwritten.
    #[inline]
    pub(crate) fn stage(&mut self) -> &mut Sqe {
        either!(self, ring => ring.stage())
    }

    /// Stages what was written to the place that `stage` gave; gives its position, by which it can be found until it is
    /// handed to the kernel.
    #[inline]
    pub(crate) fn commit(&mut self) -> u32 {
        either!(self, ring => ring.commit())
    }

    /// [`Ring::commit`] where the queue is known not to be full.
    #[inline]
    pub(crate) fn commit_fitting(&mut self) -> u32 {
        either!(self, ring => ring.commit_fitting())
    }

    /// Whether as many entries are staged as the queue holds, so that the kernel should be entered.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        either!(self, ring => ring.is_full())
    }

    /// How many more entries can be staged now that one enter hands over with those that are there.
    pub(crate) fn room(&self) -> usize {
        either!(self, ring => ring.room())
    }

    /// How many entries there is room for at best.
    pub(crate) fn capacity(&self) -> usize {
        either!(self, ring => ring.capacity())
    }

    /// Takes back the youngest entries, which were staged with [`Ring::commit_fitting`] and are nobody's yet.
    pub(crate) fn take_back(&mut self, count: u32) {
        either!(self, ring => ring.take_back(count));
    }

    /// How many entries are staged: the next enter hands them over, unless the queue is still full of others.
    #[inline]
    pub(crate) fn staged(&self) -> usize {
        either!(self, ring => ring.staged())
    }

    /// The entry at a position, if it was not handed to the kernel yet and is the one with that `user_data`.
    pub(crate) fn staged_mut(&mut self, position: u32, user_data: u64) -> Option<&mut Sqe> {
        either!(self, ring => ring.staged_mut(position, user_data))
    }

    /// Whether an enter is due even if there is nothing to wait for: entries to hand over, deferred work of the
    /// kernel, or completions that did not fit.
    #[inline]
    pub(crate) fn needs_enter(&mut self) -> bool {
        either!(self, ring => ring.needs_enter())
    }

    /// Whether no enter is due and no completion is there.
    #[inline]
    pub(crate) fn is_idle(&mut self) -> bool {
        either!(self, ring => ring.is_idle())
    }

    /// How many entries have not been taken by the kernel.
    pub(crate) fn unsubmitted(&mut self) -> usize {
        either!(self, ring => ring.unsubmitted())
    }

    /// Hands the staged entries over and waits as told. Interruptions and time-outs are no errors.
    #[inline]
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        either!(self, ring => ring.enter(wait))
    }

    /// Whether the caches of a CPU hardly hold what has come: see `apart`.
    #[inline]
    pub(crate) fn is_heavy(&self) -> bool {
        either!(self, ring => ring.is_heavy())
    }

    /// Hands the staged entries over without asking for completions, if some are due.
    pub(crate) fn submit_apart(&mut self) {
        either!(self, ring => ring.submit_apart());
    }

    /// Whether a thread of the kernel's takes what is staged.
    pub(crate) fn is_polled(&self) -> bool {
        either!(self, ring => ring.is_polled())
    }

    /// Whether this is a child's copy of a ring of its parent's, behind which there is no kernel.
    pub(crate) fn is_forked(&self) -> bool {
        either!(self, ring => ring.is_forked())
    }

    /// How many system calls all enters were: where the kernel's thread takes what is staged, most of them need none.
    pub(crate) fn calls(&self) -> u64 {
        either!(self, ring => ring.calls())
    }

    /// Hands each completion that is there, with its `user_data`, to `each`, and frees their places.
    #[inline(always)]
    pub(crate) fn harvest(&mut self, each: impl FnMut(u64, Cqe)) -> usize {
        either!(self, ring => ring.harvest(each))
    }

    /// How many completions the queue holds.
    pub(crate) fn room_for_completions(&self) -> usize {
        either!(self, ring => ring.room_for_completions())
    }

    /// Has the kernel signal an eventfd when there is something to reap, or to enter for.
    pub(crate) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        either!(self, ring => ring.register_eventfd(eventfd))
    }

    /// With `true` the kernel may leave that eventfd alone; with `false` it signals it from here on, and what came before is
    /// seen by [`Ring::is_idle`].
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        either!(self, ring => ring.set_quiet(quiet))
    }

    /// Registers a ring by which the kernel is given buffers.
    pub(crate) fn register_buffers(&self, group: u16, entries: usize) -> io::Result<BufferRing> {
        either!(self, ring => ring.register_buffers(group, entries))
    }

    /// Makes an empty table for memory that is registered.
    pub(crate) fn make_memory_table(&self, places: u16) -> io::Result<()> {
        either!(self, ring => ring.make_memory_table(places))
    }

    /// Makes an empty table for files that are registered.
    pub(crate) fn make_file_table(&self, places: u32) -> io::Result<()> {
        either!(self, ring => ring.make_file_table(places))
    }

    /// Has the kernel let go of the files in it.
    pub(crate) fn drop_file_table(&self) {
        either!(self, ring => ring.drop_file_table())
    }

    /// Does what is staged at this place by a system call, if it is alone. See `attempt`.
    pub(crate) fn attempt(&mut self, place: usize, file: RawFd) -> Option<(u64, Cqe)> {
        either!(self, ring => ring.attempt(place, file))
    }

    /// Whether there is a queue aside, for transfers that are polled for; makes it the first time. See `aside`.
    pub(crate) fn make_aside(&mut self) -> bool {
        either!(self, ring => ring.make_aside())
    }

    /// There is to be none.
    pub(crate) fn refuse_aside(&mut self) {
        either!(self, ring => ring.refuse_aside())
    }

    /// Whether something is under way there: then no enter waits.
    #[inline]
    pub(crate) fn has_aside(&self) -> bool {
        either!(self, ring => ring.has_aside())
    }

    /// What an enter has done beside that.
    pub(crate) fn entered_itself(&self) -> Entered {
        either!(self, ring => ring.entered_itself())
    }

    /// Has an entry that was made void not handed over at all, where that can be.
    pub(crate) fn forget_void(&mut self, position: u32) {
        either!(self, ring => ring.forget_void(position))
    }

    /// Stages a transfer there; gives its position.
    pub(crate) fn stage_aside(&mut self, sqe: Sqe) -> u32 {
        either!(self, ring => ring.stage_aside(sqe))
    }

    /// Makes one void that was not handed over yet. Tells whether that was so: it gives no completion then.
    pub(crate) fn void_aside(&mut self, position: u32, user_data: u64) -> bool {
        either!(self, ring => ring.void_aside(position, user_data))
    }

    /// [`Ring::harvest`] of what is aside.
    pub(crate) fn harvest_aside(&mut self, each: impl FnMut(u64, Cqe)) -> usize {
        either!(self, ring => ring.harvest_aside(each))
    }

    /// Registers memory at a place of the table, or nothing if there are no bytes. Whoever names the place in an entry owns
    /// the memory; the kernel pins its pages, so it may go before it is taken off the table.
    pub(crate) fn set_memory(&self, index: u16, address: u64, bytes: usize) -> io::Result<()> {
        either!(self, ring => ring.set_memory(index, address, bytes))
    }
}
