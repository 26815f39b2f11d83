//! The tasks of one loop: what is spawned, what is ready, what is run in a turn.
//!
//! The executor lives on the loop's thread and never leaves it. Other threads reach its tasks
//! through the [`Scheduler`], which is shared.
//!
//! A turn asks for three things: [`take_remote`](Executor::take_remote) brings in what other
//! threads have woken and spawned, [`run_ready`](Executor::run_ready) polls what is ready, and
//! before the loop sleeps [`remote_is_empty`](Executor::remote_is_empty) and
//! [`has_ready`](Executor::has_ready) say whether it may.

use std::future::Future;
use std::sync::Arc;

use crate::inbox::Inbox;
use crate::task::{JoinHandle, Owner, Round, Scheduler, Waking};

/// See the module's text. Dropping it shuts down.
pub(crate) struct Executor {
    owner: Owner,
}

impl Executor {
    /// An executor without tasks, for the loop that `inbox` belongs to. To be made on the loop's
    /// thread.
    pub(crate) fn new(inbox: Arc<Inbox>) -> Executor {
        Executor { owner: Owner::new(inbox) }
    }

    /// What other threads spawn through.
    pub(crate) fn scheduler(&self) -> &Arc<Scheduler> {
        self.owner.scheduler()
    }

    /// Spawns a task: it is polled for the first time in the next [`run_ready`](Executor::run_ready).
    /// After [`shutdown`](Executor::shutdown) the future is dropped instead, and the handle gives the
    /// error of a cancelled task.
    ///
    /// One allocation, or none if a task of about that size has ended on this thread.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.owner.spawn(future)
    }

    /// Takes in what other threads have woken and spawned.
    #[inline]
    pub(crate) fn take_remote(&self) {
        self.owner.take_remote();
    }

    /// What wakes tasks of this executor. It runs no code of the user's, so it may be used while the driver is borrowed.
    #[inline]
    pub(crate) fn waking(&self) -> Waking<'_> {
        self.owner.waking()
    }

    /// Whether other threads have left nothing. This is one of the looks that must follow
    /// [`Inbox::announce_sleep`].
    pub(crate) fn remote_is_empty(&self) -> bool {
        self.owner.remote_is_empty()
    }

    /// Whether a task is ready to be polled.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.owner.has_ready()
    }

    /// Polls the tasks that are ready now, `budget` at most, each once. What they
    /// wake, themselves included, is for the next call. Panics are caught into the join handles.
    pub(crate) fn run_ready(&self, budget: usize) -> Round {
        self.owner.run_ready(budget)
    }

    /// The same, and goes on while one task alone is ready, for `further` polls at most and until `interrupted` says so. It
    /// runs no code of the user's.
    #[inline(always)]
    pub(crate) fn run_rounds(&self, budget: usize, further: usize, interrupted: impl Fn() -> bool) -> Round {
        self.owner.run_rounds(budget, further, interrupted)
    }

    /// How many tasks have not ended. Those that other threads have spawned count from
    /// [`take_remote`](Executor::take_remote) on.
    pub(crate) fn live_tasks(&self) -> usize {
        self.owner.live_tasks()
    }

    /// Drops the futures of all tasks, and refuses what is spawned from here on, by whichever
    /// thread. Panics are caught into the join handles. May be called more than once.
    pub(crate) fn shutdown(&self) {
        self.owner.shutdown();
    }
}
