//! Tasks: a future with a state word, a waker that any thread may use, and a handle that any thread
//! may wait on.
//!
//! # One cell
//!
//! A task is one heap allocation, the [`Cell`](cell::Cell), or none: a loop keeps the memory of tasks that have ended
//! ([`memory`]).
//!
//! ```text
//! Header   state word | vtable | Arc<Scheduler> | join waker | link | own | links     same for all tasks
//! Stage    the future, then its output in the same place, then nothing                typed
//! ```
//!
//! Everybody has the same thin pointer to it, a counted [`TaskRef`](task_ref::TaskRef): the loop's set of live tasks, the stack on
//! which other threads leave tasks, wakers, abort handles, the join handle; the loop's own queue has it uncounted. What depends on the
//! future's type goes through five functions in a vtable. There is no `Rc` anywhere.
//!
//! # A life
//!
//! ```text
//!   spawned elsewhere          spawned here
//!          │                         │
//!         new ───────arrives─────> queued ──────────────> polled ──┐ ready, panicked, or aborted:
//!  (on the remote stack)             ^                      │      │ drop the future, store the
//!                                    │ wake, abort  pending │      │ output, publish COMPLETE
//!                                    └────── waiting <──────┘      └──> over
//!                    (pending, but woken during the poll: queued again)
//! ```
//!
//! The *runner* is the thread that may run a task: the thread of its loop, or, for a blocking job,
//! whoever has the job. Where in that picture the task is, is the runner's business: it is kept beside the state word, in [`own`], and
//! takes no atomic operation. The word is what everybody sees. [`state`] says of each bit who may set it and when it may not be set.
//!
//! - **Waking** on the loop's thread notes that the task is queued, and puts it in a vector: no atomic operation, no
//!   allocation, no system call. A task that is queued already is left alone, and of one that is being
//!   polled it is noted. Waking elsewhere sets `SCHEDULED`, and whoever set it
//!   puts the task on the loop's remote stack, linked through the header, so that there is no
//!   allocation either, and with a kick if the loop sleeps. The loop takes it from there, clears `SCHEDULED`, and wakes it. A task that is
//!   woken while it is polled is queued by the runner after the poll.
//! - **Aborting** is waking with one more bit. So the future is dropped by the runner, with its loop
//!   entered, and not by whoever aborts.
//! - **Ending.** The future is dropped, then the output stored, then `COMPLETE` published. Who finds
//!   `COMPLETE` knows that the future is gone. All of it, but the memory, is over then: the last
//!   reference frees memory only, so it may be dropped anywhere.
//! - **Shutdown** drops every future that is left, by way of the set of live tasks, whoever has
//!   wakers of them, and closes the remote stack for good. All tasks are complete then, so wakers
//!   that are left find nothing to do.
//!
//! # Who may touch what, and why that is sound
//!
//! **The stage** (future or output) belongs
//! 1. until `COMPLETE`, to the runner, and to nobody else. There is one runner
//!    thread, and a task is in its queue at most once: it gets there by whoever finds it waiting, and is noted to be queued
//!    until it is taken out. A task that is being polled is in no queue, and is noted to be polled: it is taken out
//!    before, and is put back after. So no two polls overlap, not even on
//!    one thread, when a poll turns the loop; and shutdown passes a task that is being polled by, with a mark.
//! 2. from `COMPLETE` on, to the join handle, if `HANDLE` was set at that instant; else to the
//!    runner, which drops the output at once. `HANDLE` is cleared only before `COMPLETE`, in one
//!    compare-and-swap that fails after, so exactly one of the two is the owner.
//!
//! A `!Send` future can only be spawned by the loop's own thread ([`Owner`] does not leave it) or be
//! made there (`spawn_with`: the first poll makes it). It is polled and dropped only by the runner.
//! A `!Send` output has a `!Send` join handle, so it stays as well.
//!
//! **The join waker** belongs to the runner while `JOIN_WAKER` is set and to the handle while it is
//! clear; only the handle flips the bit, and not after `COMPLETE`. So there is no lock: the handle
//! takes the field back, changes it, and hands it over again, and if the task completes in between
//! the failing swap tells it so. A handle that is polled on the thread of the task's loop, with the loop entered, leaves its waker beside
//! the word instead, where the runner finds it when the task ends: nobody else can get there, so it takes no atomic operation. If such a handle
//! goes elsewhere and is polled there, it hands over the field, and the waker here is dropped with the task's end.
//!
//! **The local queue and the live set** belong to the loop's thread. One comes to them with the
//! [`Owner`], which is neither Send nor Sync, or after `current_id() == id`. The second is as good as
//! the first: an id is current only on the thread that made the loop (an event loop is not Send), and
//! no id is used twice, so no other thread ever sees it, also not after the loop's end. On that
//! thread accesses do not nest, because no user code runs inside one, and no `TaskRef` is dropped there: they move them about.
//!
//! When a task is woken on the loop's thread while the loop is *not* entered, `current_id()` differs
//! and the wake goes the remote way, which is right from everywhere.
//!
//! **The link** belongs to whoever has set `SCHEDULED`, or spawned the task, until the task is on the stack; then to the
//! stack, until the loop takes it apart, which it has when it clears `SCHEDULED`.
//!
//! **What lies beside the word** ([`own`]) is the runner's thread's.
//!
//! **References.** What is in the loop's queue is in the set of live tasks, which has a reference; the queue has none. The one
//! exception is the shutdown, which takes tasks out of the set that are queued still: their reference is the entry's then, which gives it
//! up when it is taken out. A waker that is dropped or consumed on the loop's thread leaves its reference with the task, for the next one
//! that is cloned there; all that are left over are given up when the task is over.
//!
//! **The links** of the live set are the loop's thread's. A new task from another thread is in no list yet, and its entry on
//! the remote stack then counts for two references: the stack's and the live set's.
//!
//! **Visibility.** Every change of the word from elsewhere but the counting of clones is acquire and release. What
//! a waker's thread did before it woke is seen by a poll that follows, since a wake from elsewhere writes the word
//! even if `SCHEDULED` was set already, and the runner, who acquires the word when it clears `SCHEDULED` and before it queues the task,
//! either reads that, or the wake finds `SCHEDULED` clear and leaves the task on the stack again. What the
//! runner did is seen by who finds `COMPLETE`.
//!
//! **Panics** of polls, drops and join wakers are caught where the runner calls them, so that they
//! end neither the loop nor the list they happen in; the stage is emptied by writing over it, never
//! dropped twice.
//!
//! The loom models in `loom_tests.rs` check the word, the join waker and the remote stack, with
//! every access to stage, waker, link, links and queues tracked.
#![allow(unsafe_code)]

mod blocking_job;
mod cell;
mod error;
mod here;
mod id;
mod join;
mod join_set;
mod live;
mod local;
#[cfg(all(test, loom, not(shuttle)))]
mod loom_tests;
mod main_waker;
mod memory;
#[cfg(all(test, loom))]
pub(crate) mod models;
mod own;
mod places;
mod remote;
mod scheduler;
mod scope;
#[cfg(all(test, loom, shuttle))]
pub(crate) mod shuttle_tests;
mod spawn_with;
mod state;
mod task_ref;
#[cfg(all(test, not(loom)))]
mod tests;
mod yield_now;

pub(crate) use blocking_job::{BlockingJob, blocking};
pub use error::JoinError;
pub(crate) use id::Before;
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinHandle};
pub use join_set::JoinSet;
pub use local::{AccessError, LocalKey, TaskLocalFuture};
pub(crate) use main_waker::MainWaker;
pub(crate) use scheduler::{Owner, Round, Scheduler, Waking};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use yield_now::{YieldNow, yield_now};
