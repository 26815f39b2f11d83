//! The state word of a task: five flags, one marker and the number of references, in one atomic.
//!
//! The runner in this text is the thread that may run the task: the loop's own thread, or for a
//! blocking job whoever holds the job.

use std::fmt;

use crate::inbox::sync::{AtomicUsize, Ordering};

/// A reference to the task sits in a queue, is on its way there, or (while `RUNNING`) the task is to be polled once more:
/// if it is being polled, it is put there when the poll has returned.
///
/// Set by whoever aborts the task, or wakes it from elsewhere. Cleared by the runner when it takes the
/// task from the queue. Never set on a task that is `COMPLETE`, but it may stay set on one that
/// completes while it is set; there it means nothing.
pub(super) const SCHEDULED: usize = 1 << 0;

/// The runner has the task: it is polling it, dropping its future, or (the task is *claimed*) has it in its own queue and
/// will poll it next.
///
/// Set at birth, which claims the task for its first poll, and else set and cleared by the runner only. While it is set the
/// runner alone touches the stage of the cell, and a waker does not queue the task: the runner has done so, or will. A
/// runner that wakes a task claims it, so that from there to the poll the word need not be written to. Whether it is
/// polling a task just now or has only claimed it, the runner keeps beside the word (`Own`). Never set together with
/// `COMPLETE`.
pub(super) const RUNNING: usize = 1 << 1;

/// The future is gone and the stage holds the output. This is the end: `COMPLETE` is never cleared,
/// and after it the runner touches neither stage nor future.
///
/// Set by the runner only, in the step that clears `RUNNING`. From then on the stage belongs to the
/// join handle if `HANDLE` was set in that step, and to the runner (to drop the output) if not.
pub(super) const COMPLETE: usize = 1 << 2;

/// Somebody wants the future dropped. The runner does so when it next has the task in its hands.
///
/// Set by anybody, never cleared. It may be set on a task that then completes all the same: when
/// the poll that ran meanwhile gave the output, the output wins. Never set on a `COMPLETE` task.
pub(super) const ABORT: usize = 1 << 3;

/// There is a join handle. Set at birth, cleared when the handle is dropped before `COMPLETE`, and
/// not changed after that: it then tells who owns the output.
pub(super) const HANDLE: usize = 1 << 4;

/// The cell's `join_waker` holds a waker and belongs to the runner. While it is clear the field
/// belongs to the join handle, and is empty whenever the handle is not inside `poll`.
///
/// Set and cleared by the join handle, and only before `COMPLETE`. So `COMPLETE` freezes it, and the
/// runner that set `COMPLETE` knows from the word it replaced whether the waker is its own.
pub(super) const JOIN_WAKER: usize = 1 << 5;

/// One reference: a queue entry, the entry in the loop's set of live tasks, a waker, the join
/// handle, an abort handle.
pub(super) const REFERENCE: usize = 1 << 6;

/// More references than this are a leak of wakers in a loop; as with `Arc`, the process ends before
/// the count can wrap into a use after free.
const MAX_WORD: usize = isize::MAX as usize;

/// What a waker or an abort handle must do after it has changed the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wake {
    /// The task is queued already, or the runner will queue it, or it is complete.
    Nothing,
    /// Put the task in a queue. The reference for the queue has been counted.
    Queue,
}

/// What somebody on the runner's thread must do to wake a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// The task is queued already, or it is complete.
    Nothing,
    /// It is being polled, or claimed.
    Running,
    /// It is claimed now: put it in the runner's queue.
    Queue,
}

/// What the runner must do after a poll that returned `Pending`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Idle {
    /// The task waits. The queue's reference has been given up.
    Waiting,
    /// It was woken meanwhile: put it in the queue, with the reference it had.
    Queue,
    /// It was aborted meanwhile. It is still `RUNNING`: drop the future, then finish.
    Aborted,
}

/// See the module's text.
pub(super) struct State(AtomicUsize);

impl State {
    /// A task that is to be polled for the first time, and has a join handle, with `references` in all.
    pub(super) fn queued(references: usize) -> State {
        State(AtomicUsize::new(RUNNING | HANDLE | (references * REFERENCE)))
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

    /// Wakes, for a waker that keeps its reference.
    ///
    /// A task that is scheduled already is written to all the same: what the waking thread did
    /// before must be visible to the poll that follows, and the runner acquires this word.
    #[inline]
    pub(super) fn wake_by_ref(&self) -> Wake {
        let replaced = self.update(|word| {
            if word & COMPLETE != 0 {
                None
            } else if word & (SCHEDULED | RUNNING) != 0 {
                Some(word | SCHEDULED)
            } else {
                check_overflow(word);
                Some((word | SCHEDULED) + REFERENCE)
            }
        });
        match replaced {
            Ok(word) if word & (SCHEDULED | RUNNING) == 0 => Wake::Queue,
            _ => Wake::Nothing,
        }
    }

    /// Wakes, for a waker that gives up its reference: the queue gets it. With
    /// [`Wake::Nothing`] the caller still has the reference, and releases it.
    #[inline]
    pub(super) fn wake_by_value(&self) -> Wake {
        let replaced = self.update(|word| if word & COMPLETE != 0 { None } else { Some(word | SCHEDULED) });
        match replaced {
            Ok(word) if word & (SCHEDULED | RUNNING) == 0 => Wake::Queue,
            _ => Wake::Nothing,
        }
    }

    /// Whether the runner has the task. Only somebody on its thread may ask: nobody else changes the answer.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) & RUNNING != 0
    }

    /// The runner wakes the task, or somebody on its thread. What was done before is seen by the poll that follows, which
    /// is on this thread, so a task that is to be polled anyway is not written to. So many `references` are counted for the
    /// queue.
    #[inline(always)]
    pub(super) fn claim(&self, references: usize) -> Claim {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (SCHEDULED | RUNNING | COMPLETE) != 0 {
                return if word & RUNNING != 0 { Claim::Running } else { Claim::Nothing };
            }
            match self.0.compare_exchange_weak(
                word,
                word + RUNNING + references * REFERENCE,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Claim::Queue,
                Err(now) => word = now,
            }
        }
    }

    /// Asks for the future to be dropped.
    pub(super) fn abort(&self) -> Wake {
        let replaced = self.update(|word| {
            if word & COMPLETE != 0 {
                None
            } else if word & (SCHEDULED | RUNNING) != 0 {
                Some(word | ABORT | SCHEDULED)
            } else {
                check_overflow(word);
                Some((word | ABORT | SCHEDULED) + REFERENCE)
            }
        });
        match replaced {
            Ok(word) if word & (SCHEDULED | RUNNING) == 0 => Wake::Queue,
            _ => Wake::Nothing,
        }
    }

    /// The runner takes the task from its queue. Returns whether there is anything to run, and
    /// whether it is to be aborted.
    #[inline]
    pub(super) fn start(&self) -> Option<Start> {
        // Acquire: what others did before they woke it happens before the poll.
        if self.0.load(Ordering::Acquire) & (SCHEDULED | RUNNING | ABORT | COMPLETE) == RUNNING {
            // Claimed. Who wakes it from here on sets SCHEDULED, and that is seen after the poll.
            return Some(Start::Poll);
        }
        self.start_scheduled()
    }

    /// It was woken from elsewhere or aborted, or it completed while it sat in the queue, which happens only when a loop shuts
    /// down.
    #[inline(never)]
    fn start_scheduled(&self) -> Option<Start> {
        let word = self.0.load(Ordering::Acquire);
        if word & COMPLETE != 0 {
            return None;
        }
        debug_assert_ne!(word & SCHEDULED, 0, "a task that was aborted or not claimed is scheduled");
        // SCHEDULED is set, and nobody else changes it or RUNNING now. So one step clears the one and sees to the other.
        let word = if word & RUNNING != 0 {
            self.0.fetch_sub(SCHEDULED, Ordering::AcqRel)
        } else {
            self.0.fetch_add(RUNNING - SCHEDULED, Ordering::AcqRel)
        };
        Some(if word & ABORT == 0 { Start::Poll } else { Start::Aborted })
    }

    /// The runner takes a task from the set of live tasks, wherever it is, to drop its future.
    /// False if it is `polling` the task just now (shutdown was called from inside a poll); then it is marked
    /// to be aborted when that poll returns.
    pub(super) fn start_cancel(&self, polling: bool) -> bool {
        let set = if polling { ABORT | SCHEDULED } else { RUNNING };
        let word = self.0.fetch_or(set, Ordering::AcqRel);
        debug_assert_eq!(word & COMPLETE, 0, "a complete task in the live set");
        !polling
    }

    /// The poll returned `Pending`. `again` if the runner's thread woke it meanwhile.
    #[inline]
    pub(super) fn idle(&self, again: bool) -> Idle {
        let word = self.0.load(Ordering::Relaxed);
        if word & SCHEDULED != 0 {
            // RUNNING and SCHEDULED stay set, for `start`, and with them the task is the runner's.
            return if word & ABORT != 0 { Idle::Aborted } else { Idle::Queue };
        }
        if again {
            // Claimed.
            return Idle::Queue;
        }
        // The set of live tasks has another reference, so that of the queue is never the last.
        let word = self.0.fetch_sub(RUNNING + REFERENCE, Ordering::AcqRel);
        debug_assert_eq!(word & (RUNNING | COMPLETE), RUNNING);
        debug_assert!(word >= 2 * REFERENCE);
        if word & SCHEDULED == 0 { Idle::Waiting } else { self.idle_after_all(word) }
    }

    /// It was woken or aborted during the last moments of the poll, so it needs its reference again. With SCHEDULED
    /// set and the task in no queue nobody but the runner does anything with it, whether RUNNING is set or not.
    #[cold]
    fn idle_after_all(&self, word: usize) -> Idle {
        if word & ABORT != 0 {
            self.0.fetch_add(RUNNING + REFERENCE, Ordering::AcqRel);
            return Idle::Aborted;
        }
        self.0.fetch_add(REFERENCE, Ordering::Relaxed);
        Idle::Queue
    }

    /// Publishes that the future is gone and the output stored. The runner has `count` references, which are all that there
    /// are but for the handle's and those of wakers and abort handles.
    #[inline]
    pub(super) fn finish(&self, count: usize) -> Finished {
        // RUNNING is set and COMPLETE is not, and only the runner, who is here, changes them.
        let word = self.0.load(Ordering::Acquire);
        if word & (HANDLE | JOIN_WAKER) == HANDLE {
            // Both in one step: the handle has a reference, so those given up are not the last.
            let next = word + COMPLETE - RUNNING - count * REFERENCE;
            if self.0.compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Finished::Released;
            }
        } else if word & HANDLE == 0 && word / REFERENCE == count {
            // Nobody is left to be told, and nobody can come. Acquire, as in `release`.
            return Finished::Unwanted;
        }
        let word = self.0.fetch_add(COMPLETE - RUNNING, Ordering::AcqRel);
        debug_assert_eq!(word & (RUNNING | COMPLETE), RUNNING);
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

/// What the runner does with a task from the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    Poll,
    Aborted,
}

/// What the runner does with the output of a task that has just completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finished {
    /// The handle is gone: drop it.
    Unwanted,
    /// The handle will ask, or its drop will see to it.
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
            .field("running", &(word & RUNNING != 0))
            .field("complete", &(word & COMPLETE != 0))
            .field("abort", &(word & ABORT != 0))
            .field("handle", &(word & HANDLE != 0))
            .field("references", &(word / REFERENCE))
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
