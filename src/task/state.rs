//! The state word of a task: what threads other than its loop's have to know of it and say to it, four flags, one marker and
//! the number of references, in one atomic.
//!
//! The runner in this text is the thread that may run the task: the loop's own thread, or for a
//! blocking job whoever holds the job. Where the task is for the runner (it waits, it is queued, it is being polled) is not
//! in here but beside it, in [`Own`](super::own::Own): so a task that is woken, polled and waits again on its loop's thread
//! does without an atomic operation.

use std::fmt;

use crate::inbox::sync::{AtomicUsize, Ordering};

/// The task is on the stack on which other threads leave tasks for the loop, or on its way there.
///
/// Set by whoever wakes or aborts the task from elsewhere, and at birth if it is born elsewhere. Cleared by the runner when it
/// takes the task from the stack. Never set on a task that is `COMPLETE`, but it stays set on one that completes while it is on
/// the stack, until it is taken from there.
pub(super) const SCHEDULED: usize = 1 << 0;

/// The future is gone and the stage holds the output. This is the end: `COMPLETE` is never cleared,
/// and after it the runner touches neither stage nor future.
///
/// Set by the runner only. From then on the stage belongs to the
/// join handle if `HANDLE` was set in that step, and to the runner (to drop the output) if not.
pub(super) const COMPLETE: usize = 1 << 1;

/// Somebody wants the future dropped. The runner does so when it next has the task in its hands.
///
/// Set by anybody, never cleared. It may be set on a task that then completes all the same: when
/// the poll that ran meanwhile gave the output, the output wins. Never set on a `COMPLETE` task.
pub(super) const ABORT: usize = 1 << 2;

/// There is a join handle. Set at birth, cleared when the handle is dropped before `COMPLETE`, and
/// not changed after that: it then tells who owns the output.
pub(super) const HANDLE: usize = 1 << 3;

/// The cell's `join_waker` holds a waker and belongs to the runner. While it is clear the field
/// belongs to the join handle, and is empty whenever the handle is not inside `poll`.
///
/// Set and cleared by the join handle, and only before `COMPLETE`. So `COMPLETE` freezes it, and the
/// runner that set `COMPLETE` knows from the word it replaced whether the waker is its own.
pub(super) const JOIN_WAKER: usize = 1 << 4;

/// One reference: the entry in the loop's set of live tasks, one on the stack of those that were left by other threads, a waker, the join
/// handle, an abort handle, one that is kept for the wakers to come. An entry in the loop's own queue has none: what is there
/// is in the set of live tasks.
pub(super) const REFERENCE: usize = 1 << 5;

/// More references than this are a leak of wakers in a loop; as with `Arc`, the process ends before
/// the count can wrap into a use after free.
const MAX_WORD: usize = isize::MAX as usize;

/// What a waker or an abort handle must do after it has changed the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    /// The task is on its way to the runner already, or it is complete.
    Nothing,
    /// Put the task on the stack. The reference for the stack has been counted.
    Queue,
}

/// See the module's text.
pub(super) struct State(AtomicUsize);

impl State {
    /// A task that is born on its loop's thread, and has a join handle, with `references` in all.
    pub(super) fn new(references: usize) -> State {
        State(AtomicUsize::new(HANDLE | (references * REFERENCE)))
    }

    /// The same for one that is to be left for its loop, or has none.
    pub(super) fn scheduled(references: usize) -> State {
        State(AtomicUsize::new(SCHEDULED | HANDLE | (references * REFERENCE)))
    }

    /// A task that has ended before it began. The join handle has the only reference.
    pub(super) fn complete() -> State {
        State(AtomicUsize::new(COMPLETE | HANDLE | REFERENCE))
    }

    /// Acquires what the runner stored before it set `COMPLETE`.
    #[inline]
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// Replaces the word by what `step` makes of it, until `step` says `None`. Returns the word
    /// that was replaced, or the one for which `step` said `None`.
    ///
    /// Success acquires and releases, failure acquires.
    #[inline(always)]
    fn update(&self, mut step: impl FnMut(usize) -> Option<usize>) -> Result<usize, usize> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let Some(next) = step(word) else {
                return Err(word);
            };
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(word),
                Err(now) => word = now,
            }
        }
    }

    /// Wakes from elsewhere, for a waker that keeps its reference.
    ///
    /// A task that is scheduled already is written to all the same: what the waking thread did
    /// before must be visible to the poll that follows, and the runner acquires this word.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> Wake {
        self.schedule(SCHEDULED)
    }

    /// Asks from elsewhere for the future to be dropped.
    pub(super) fn abort(&self) -> Wake {
        self.schedule(SCHEDULED | ABORT)
    }

    #[inline(always)]
    fn schedule(&self, flags: usize) -> Wake {
        let replaced = self.update(|word| {
            if word & COMPLETE != 0 {
                None
            } else if word & SCHEDULED != 0 {
                Some(word | flags)
            } else {
                check_overflow(word);
                Some((word | flags) + REFERENCE)
            }
        });
        match replaced {
            Ok(word) if word & SCHEDULED == 0 => Wake::Queue,
            _ => Wake::Nothing,
        }
    }

    /// Wakes from elsewhere, for a waker that gives up its reference: the stack gets it. With
    /// [`Wake::Nothing`] the caller still has the reference, and releases it.
    #[inline]
    pub(super) fn wake_by_value(&self) -> Wake {
        let replaced = self.update(|word| if word & COMPLETE != 0 { None } else { Some(word | SCHEDULED) });
        match replaced {
            Ok(word) if word & SCHEDULED == 0 => Wake::Queue,
            _ => Wake::Nothing,
        }
    }

    /// Has the runner drop the future. For somebody on its thread. False if the task is complete.
    pub(super) fn abort_here(&self) -> bool {
        self.update(|word| (word & COMPLETE == 0).then_some(word | ABORT)).is_ok()
    }

    /// The runner has taken the task from the stack. What was done before it was left there is seen from here on, and who
    /// wakes it from here on leaves it there again. Whether there may be a handle that awaits it on the runner's thread.
    pub(super) fn arrive(&self) -> bool {
        let word = self.0.fetch_and(!SCHEDULED, Ordering::AcqRel);
        debug_assert_ne!(word & SCHEDULED, 0, "what is on the stack is scheduled");
        word & (HANDLE | JOIN_WAKER) == HANDLE
    }

    /// Whether the runner is to drop the future.
    #[inline(always)]
    pub(super) fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire) & ABORT != 0
    }

    /// Publishes that the future is gone and the output stored. The runner gives up `count` references: all that there
    /// are but for the handle's and those of wakers, abort handles and queues.
    #[inline]
    pub(super) fn finish(&self, count: usize) -> Finished {
        // Only the runner, who is here, sets COMPLETE.
        let word = self.0.load(Ordering::Acquire);
        debug_assert_eq!(word & COMPLETE, 0);
        if word & (HANDLE | JOIN_WAKER) == HANDLE {
            // Both in one step: the handle has a reference, so those given up are not the last.
            let next = word + COMPLETE - count * REFERENCE;
            if self.0.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Finished::Released;
            }
        } else if word & HANDLE == 0 && word / REFERENCE == count {
            // Nobody is left to be told, and nobody can come. Acquire, as in `release`.
            return Finished::Unwanted;
        }
        let word = self.0.fetch_add(COMPLETE, Ordering::AcqRel);
        if word & HANDLE == 0 {
            Finished::Unwanted
        } else if word & JOIN_WAKER != 0 {
            Finished::Awaited
        } else {
            Finished::Kept
        }
    }

    /// The join handle takes back the field with its waker. False if the task is complete.
    pub(super) fn reclaim_join_waker(&self) -> bool {
        self.update(|word| (word & COMPLETE == 0).then_some(word & !JOIN_WAKER)).is_ok()
    }

    /// The join handle hands the field with its waker over. False if the task is complete; then the
    /// field is still the handle's.
    #[inline]
    pub(super) fn offer_join_waker(&self) -> bool {
        self.update(|word| (word & COMPLETE == 0).then_some(word | JOIN_WAKER)).is_ok()
    }

    /// Whether the join handle has handed over a waker. Only the handle may ask: nobody else
    /// changes the answer.
    #[inline]
    pub(super) fn has_join_waker(&self) -> bool {
        self.0.load(Ordering::Relaxed) & JOIN_WAKER != 0
    }

    /// The join handle is being dropped.
    #[inline]
    pub(super) fn detach(&self) -> Detach {
        let replaced = self.update(|word| {
            if word & COMPLETE != 0 {
                None
            } else if word & JOIN_WAKER != 0 {
                Some(word & !(HANDLE | JOIN_WAKER))
            } else {
                // The runner has a reference until the task is complete.
                debug_assert!(word >= 2 * REFERENCE);
                Some((word & !HANDLE) - REFERENCE)
            }
        });
        match replaced {
            Err(_) => Detach::TakeOutput,
            Ok(word) if word & JOIN_WAKER != 0 => Detach::TakeWaker,
            Ok(_) => Detach::Done,
        }
    }

    #[cfg(test)]
    pub(super) fn references(&self) -> usize {
        self.0.load(Ordering::Relaxed) / REFERENCE
    }

    /// Counts one more reference, on behalf of somebody who has one.
    #[inline]
    pub(super) fn retain(&self) {
        let word = self.0.fetch_add(REFERENCE, Ordering::Relaxed);
        check_overflow(word);
    }

    /// Gives up `count` references. True if they were the last, and the memory is to be freed.
    #[inline]
    #[must_use]
    pub(super) fn release(&self, count: usize) -> bool {
        // Whoever has all the references that there are is alone with the task, and nobody can make another. Acquire, as
        // below: this reads what the last of the others has left.
        if self.0.load(Ordering::Acquire) / REFERENCE == count {
            return true;
        }
        let word = self.0.fetch_sub(count * REFERENCE, Ordering::Release);
        debug_assert!(word >= count * REFERENCE);
        if word / REFERENCE != count {
            return false;
        }
        // As in `Arc`: what others did with the task before they let go happened before the free. A
        // load rather than a fence, because thread sanitizer understands no fences.
        self.0.load(Ordering::Acquire);
        true
    }
}

/// What the runner does with the output of a task that has just completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finished {
    /// The handle is gone: drop it.
    Unwanted,
    /// The handle will ask, or its drop will see to it; or whoever awaits it on the runner's thread is to be woken.
    Kept,
    /// The same, and the references have been given up.
    Released,
    /// The same, and `join_waker` is to be taken and woken.
    Awaited,
}

/// What a join handle that is being dropped has to see to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Detach {
    /// Nothing is left; its reference has been given up.
    Done,
    /// Drop the waker in `join_waker`, then release the reference.
    TakeWaker,
    /// Drop the output if it was not taken, then release the reference.
    TakeOutput,
}

#[inline(always)]
fn check_overflow(word: usize) {
    if word > MAX_WORD {
        std::process::abort();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.load(Ordering::Relaxed);
        f.debug_struct("State")
            .field("scheduled", &(word & SCHEDULED != 0))
            .field("complete", &(word & COMPLETE != 0))
            .field("abort", &(word & ABORT != 0))
            .field("handle", &(word & HANDLE != 0))
            .field("references", &(word / REFERENCE))
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
