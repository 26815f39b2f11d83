//! L1: one operation in flight, as its loop sees it. No system calls, no tasks: a slot knows a waker.
//!
//! # An operation's life
//!
//! The operation's value (its buffer, its path) lives inside the future. The loop keeps only a slot for it: where its
//! entry was staged, who is to be woken, and what the kernel said. Nothing is allocated.
//!
//! ```text
//!            submit                  final CQE                 polled
//!  (future) ────────► Waiting(waker) ─────────► Done(cqe) ───────────────► freed
//!                        │    │                    │
//!    polled on another   │    │ future dropped     │ future dropped: its value completes with the CQE, freed
//!    loop or thread      │    ▼
//!                        │  entry still staged: made void, freed at once
//!                        │  entry with the kernel: Orphan(value) ── final CQE ──► the value completes, freed
//!                        ▼
//!                     Watched(shared cell) ── final CQE ──► the cell is filled, its waker woken, freed
//! ```
//!
//! * A slot is touched by its own loop only. A future that is polled or dropped elsewhere sends mail (`mail`), and the
//!   loop does to the slot what it would have done itself. A `Done` slot is freed only when its result is taken or by
//!   such mail, so mail always finds the slot it means.
//! * An operation may give several CQEs (`F_MORE`). They are kept in order in `earlier`, the last one ends the slot's
//!   life in the kernel. `SEND_ZC` is the case in point: its result comes first, and the buffer is the kernel's until
//!   the notification.
//! * A slot's name is its index and a generation that the loop counts up with every submission; both make the entry's
//!   `user_data`. A CQE, a cancel or a piece of mail for an older generation is recognised and ignored.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::ring::Cqe;

/// The name of a slot, for as long as it is in use and ever after: generations are not reused within 2^32 submissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub index: u32,
    pub generation: u32,
}

/// Indices from here on are no slots but the loop's own entries.
const FIRST_INTERNAL: u32 = u32::MAX - 15;

/// Who a completion is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Addressee {
    Slot(Key),
    /// The poll on the inbox's eventfd.
    Wakeup,
    /// Cancels and closes that nobody waits for.
    Nobody,
    /// Closes whose end the loop waits for before it goes on.
    Counted,
}

impl Addressee {
    #[inline]
    pub(crate) const fn user_data(self) -> u64 {
        match self {
            Addressee::Slot(key) => (key.generation as u64) << 32 | key.index as u64,
            Addressee::Wakeup => FIRST_INTERNAL as u64,
            Addressee::Nobody => FIRST_INTERNAL as u64 + 1,
            Addressee::Counted => FIRST_INTERNAL as u64 + 2,
        }
    }

    #[inline]
    pub(crate) const fn of(user_data: u64) -> Addressee {
        let index = user_data as u32;
        if index < FIRST_INTERNAL {
            return Addressee::Slot(Key { index, generation: (user_data >> 32) as u32 });
        }
        match index - FIRST_INTERNAL {
            0 => Addressee::Wakeup,
            2 => Addressee::Counted,
            _ => Addressee::Nobody,
        }
    }
}

/// An operation's value after its future was dropped: it waits for the kernel to let go of it.
pub(crate) trait Orphan {
    /// The completions have come; what was received is salvaged or undone, and everything is freed.
    fn finish(self: Box<Self>, earlier: Earlier, last: Cqe);
    /// The loop ended while the kernel still had it: it is leaked, never freed, and its object is told.
    fn lose(self: Box<Self>);
    /// Whether it should be cancelled at the end of the turn: not if somebody already waits for what it brings.
    fn wants_cancel(&self) -> bool;
}

/// CQEs before the last one, oldest first.
pub(crate) type Earlier = Option<Box<VecDeque<Cqe>>>;

/// Where a loop leaves the result of an operation that is awaited on another loop or thread.
#[derive(Default)]
pub(crate) struct Elsewhere {
    pub inner: Mutex<ElsewhereState>,
}

#[derive(Default)]
pub(crate) struct ElsewhereState {
    pub waker: Option<Waker>,
    pub result: Option<(Earlier, Cqe)>,
    /// The loop was ended without the operation being reaped: it will never finish.
    pub lost: bool,
    /// The future was dropped before the result came.
    pub orphan: Option<crate::mail::Handed>,
}

pub(crate) enum State {
    /// With the kernel (or staged); the future waits.
    Waiting(Waker),
    /// The last CQE is here, the future has not taken it yet.
    Done(Cqe),
    /// The future is gone.
    Orphan(Box<dyn Orphan>),
    /// The future waits on another loop or thread.
    Watched(Arc<Elsewhere>),
}

pub(crate) struct Slot {
    pub generation: u32,
    /// Where the entry was staged; it may still be there.
    pub position: u32,
    pub state: State,
    pub earlier: Earlier,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Waiting(_) => "Waiting",
            State::Done(_) => "Done",
            State::Orphan(_) => "Orphan",
            State::Watched(_) => "Watched",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_names_slot_and_generation() {
        for (index, generation) in [(0, 0), (1, u32::MAX), (FIRST_INTERNAL - 1, 7), (77, 1 << 31)] {
            let key = Key { index, generation };
            assert_eq!(Addressee::of(Addressee::Slot(key).user_data()), Addressee::Slot(key));
        }
        for own in [Addressee::Wakeup, Addressee::Nobody, Addressee::Counted] {
            assert_eq!(Addressee::of(own.user_data()), own);
        }
    }

    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 48, "{}", size_of::<Slot>());
    }
}
