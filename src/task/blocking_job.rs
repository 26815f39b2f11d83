//! A call that blocks, as a task: the pool's thread runs it, any executor awaits it.

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::id::Before;
use super::join::JoinHandle;
use super::task_ref::{Ran, TaskRef};

/// Makes a job of `f`, and the handle that gives its result.
///
/// Aborting the handle before the job starts cancels it; later it has no effect.
pub(crate) fn blocking<F, T>(f: F) -> (BlockingJob, JoinHandle<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (job, handle) = TaskRef::unscheduled(CallOnce(Some(f)));
    let job = BlockingJob { task: ManuallyDrop::new(job) };
    (job, handle)
}

/// A call that blocks, to be run once on some thread. Dropped unrun it is cancelled: the closure is
/// dropped and the handle gives an error.
///
/// It is the task's queue entry, so to speak: whoever has it is the task's runner.
pub(crate) struct BlockingJob {
    task: ManuallyDrop<TaskRef>,
}

impl BlockingJob {
    /// Makes the call, unless it was aborted. Panics are caught into the handle.
    pub(crate) fn run(self) {
        let _before = Before::note();
        let mut job = ManuallyDrop::new(self);
        // SAFETY: `job` is not dropped, so the reference is taken once.
        let task = unsafe { ManuallyDrop::take(&mut job.task) };
        // SAFETY: we have the job, of which there is one, so we are the runner; and its reference is
        // what keeps it. The closure and its result are Send.
        match unsafe { task.entry().run() } {
            // SAFETY: we are the runner, and it has just got its output.
            Ran::Complete => unsafe { task.finish(false) },
            // `CallOnce` is never pending.
            Ran::Waiting | Ran::Again => debug_assert!(false, "a blocking job waits"),
        }
    }
}

impl Drop for BlockingJob {
    fn drop(&mut self) {
        let _before = Before::note();
        // SAFETY: the field is not used again.
        let task = unsafe { ManuallyDrop::take(&mut self.task) };
        // SAFETY: we have the job, so we are the runner; it was not run, so it is not complete.
        let cancelled = unsafe { task.cancel() };
        debug_assert!(cancelled.is_ok(), "a job that was not run is not running");
    }
}

impl fmt::Debug for BlockingJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockingJob")
    }
}

/// A closure as a future that is ready at once.
struct CallOnce<F>(Option<F>);

// The closure is moved out to be called, so it is never pinned.
impl<F> Unpin for CallOnce<F> {}

impl<F: FnOnce() -> T, T> Future for CallOnce<F> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let call = self.0.take().expect("a blocking job runs once");
        Poll::Ready(call())
    }
}
