//! A counted reference to a task, the task's waker, and what the runner does with it.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use super::cell::{Cell, Header};
use super::error::quietly;
use super::id;
use super::join::JoinHandle;
use super::scheduler::Scheduler;
use super::state::{Claim, Finished, Idle, Start, Wake};

/// One reference to a task, of any type.
///
/// Dropping it frees the memory if it was the last, and touches neither future nor output: those
/// are gone by then.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: what a reference gives access to is the header, and that is shared by rules that hold
// between threads: the word and the remote link are atomic or handed over through an atomic, the
// scheduler is Send + Sync, and the join waker belongs to one party at a time, as the word says. The
// future and the output, which may be `!Send`, are reached only by `run` and `cancel`, for which
// see there, and by the join handle, which is Send only if the output is.
unsafe impl Send for TaskRef {}
// SAFETY: as above; everything that takes `&TaskRef` works through atomics.
unsafe impl Sync for TaskRef {}

/// What became of a task that was run.
pub(super) enum Ran {
    /// It waits to be woken, or had ended before.
    Waiting,
    /// It was woken while it ran, and goes to the end of the queue.
    Again(TaskRef),
    /// Its output is there. It leaves the set of live tasks, and then its end is to be published: [`TaskRef::finish`].
    Complete(TaskRef),
}

impl TaskRef {
    /// A new task: the references of the queue and of the set of live tasks, and the join handle.
    /// `kept` is memory of its shape, if there is any.
    #[inline(always)]
    pub(super) fn queued<F: Future>(
        future: F,
        scheduler: Arc<Scheduler>,
        kept: Option<NonNull<u8>>,
    ) -> (TaskRef, TaskRef, JoinHandle<F::Output>) {
        let header = Cell::queued(future, Some(scheduler), 3, kept);
        // SAFETY: the handle is the one there is, and of this task's type.
        let handle = unsafe { JoinHandle::new(TaskRef(header)) };
        (TaskRef(header), TaskRef(header), handle)
    }

    /// A new task that no loop runs: the reference of its runner, and the join handle.
    pub(super) fn unscheduled<F: Future>(future: F) -> (TaskRef, JoinHandle<F::Output>) {
        let header = Cell::queued(future, None, 2, None);
        // SAFETY: as in `queued`.
        let handle = unsafe { JoinHandle::new(TaskRef(header)) };
        (TaskRef(header), handle)
    }

    /// The handle of a task that has ended before it began. The future has been dropped.
    pub(super) fn refused<F: Future>(future: F) -> JoinHandle<F::Output> {
        let header = Cell::refused(future);
        // SAFETY: as in `queued`.
        unsafe { JoinHandle::new(TaskRef(header)) }
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the reference that we are keeps the header alive, and it is only ever shared.
        unsafe { self.0.as_ref() }
    }

    /// The pointer, to hand on or to call the functions of `Header` with.
    pub(super) fn pointer(&self) -> NonNull<Header> {
        self.0
    }

    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `header` is live, and the caller has a reference to it to give away.
    pub(super) unsafe fn from_raw(header: NonNull<Header>) -> TaskRef {
        TaskRef(header)
    }

    /// The task's loop, if this is its thread, and it is entered.
    #[inline(always)]
    fn scheduler_here(&self) -> Option<&Scheduler> {
        match &self.header().scheduler {
            Some(scheduler) if scheduler.is_here() => Some(scheduler),
            _ => None,
        }
    }

    /// Wakes the task, whose reference the queue gets if it goes there. `Err` gives it back.
    ///
    /// # Safety
    ///
    /// This is the thread of the loop that `scheduler` is of, as for [`Scheduler::push_local`], and it is the task's.
    #[inline(always)]
    pub(super) unsafe fn wake_here(self, scheduler: *const Scheduler) -> Result<(), TaskRef> {
        match self.header().state.claim(0) {
            Claim::Queue => {
                // SAFETY: the task keeps the scheduler, and the reference that moves into the queue
                // keeps the task: nobody but this thread takes it out again. The rest is passed on.
                unsafe { (*scheduler).push_local(self) };
                return Ok(());
            }
            // SAFETY: passed on: it is the runner's thread.
            Claim::Running => unsafe { self.header().own.wake() },
            Claim::Nothing => {}
        }
        Err(self)
    }

    /// Puts the task in its loop's queue, from elsewhere. For whoever has just set `SCHEDULED`.
    #[cold]
    #[inline(never)]
    fn schedule_remote(self) {
        // A blocking job is born claimed and does not wait, and a refused task is complete, so
        // neither is ever scheduled by a wake.
        let Some(scheduler) = &self.header().scheduler else {
            debug_assert!(false, "woke a task that has no queue");
            return;
        };
        // The loop may take the task as soon as it is pushed, end it and let go of all of it
        // before we have kicked, so the scheduler needs a reference of its own.
        let scheduler = Arc::clone(scheduler);
        scheduler.push_remote(self);
    }

    /// The task that a waker is of, lent by that, if it is a task of this loop.
    #[inline(always)]
    fn lent_by(waker: &Waker, scheduler: &Scheduler) -> Option<ManuallyDrop<TaskRef>> {
        if !std::ptr::eq(waker.vtable(), &WAKER) {
            return None;
        }
        // SAFETY: it is a task's waker, as its vtable says, whose data is a header with a reference.
        let task = unsafe { loan(waker.data()) };
        let is_own = task.header().scheduler.as_ref().is_some_and(|own| std::ptr::eq(&raw const **own, scheduler));
        is_own.then_some(task)
    }

    /// The task that a waker is of, with the waker's reference; the waker back if it is of something else, or of a task of
    /// another loop.
    #[inline(always)]
    pub(super) fn of_waker(waker: Waker, scheduler: &Scheduler) -> Result<TaskRef, Waker> {
        match TaskRef::lent_by(&waker, scheduler) {
            Some(task) => {
                std::mem::forget(waker);
                Ok(ManuallyDrop::into_inner(task))
            }
            None => Err(waker),
        }
    }

    /// Wakes the task that a waker is of, if it is a task of this loop. Whether it is.
    ///
    /// # Safety
    ///
    /// This is the loop's thread, as for [`Scheduler::push_local`].
    #[inline(always)]
    pub(super) unsafe fn wake_lent_here(waker: &Waker, scheduler: &Scheduler) -> bool {
        let Some(task) = TaskRef::lent_by(waker, scheduler) else { return false };
        match task.header().state.claim(1) {
            // SAFETY: passed on; `claim` has counted the reference.
            Claim::Queue => unsafe { scheduler.push_local(TaskRef::from_raw(task.0)) },
            // SAFETY: passed on: it is the runner's thread.
            Claim::Running => unsafe { task.header().own.wake() },
            Claim::Nothing => {}
        }
        true
    }

    /// Asks for the task to be cancelled.
    pub(super) fn abort(&self) {
        if self.header().state.abort() == Wake::Queue {
            // SAFETY: `abort` has counted the reference.
            let task = unsafe { TaskRef::from_raw(self.0) };
            match self.scheduler_here() {
                // SAFETY: it has just been asked whether this is the loop's thread.
                Some(scheduler) => unsafe { scheduler.push_local(task) },
                None => task.schedule_remote(),
            }
        }
    }

    /// Runs the task once.
    ///
    /// # Safety
    ///
    /// The caller is the runner: the thread of the task's loop, or the one that may run a blocking
    /// job, and `self` is the reference that was in the queue.
    #[inline(always)]
    pub(super) unsafe fn run(self) -> Ran {
        let start = self.header().state.start();
        // SAFETY: we are the runner.
        unsafe { self.header().own.begin_poll() };
        match start {
            None => return Ran::Waiting,
            // SAFETY: we are the runner, `start` has seen to RUNNING, and a task that was not complete
            // has a future.
            Some(Start::Aborted) => unsafe { self.drop_future() },
            Some(Start::Poll) => {
                // The waker is a loan of our own reference: a future that does not keep it costs
                // no counting.
                // SAFETY: the functions of `WAKER` fulfil the contract, see there.
                let waker = unsafe { Waker::new(self.0.as_ptr().cast(), &WAKER) };
                let waker = ManuallyDrop::new(waker);
                let mut cx = Context::from_waker(&waker);
                id::runs(self.0);
                // SAFETY: as for `drop_future` above.
                if !unsafe { Header::poll(self.0, &mut cx) } {
                    // SAFETY: we are the runner.
                    let again = unsafe { self.header().own.end_poll() };
                    match self.header().state.idle(again) {
                        Idle::Waiting => {
                            // `idle` has given up our reference.
                            std::mem::forget(self);
                            return Ran::Waiting;
                        }
                        Idle::Queue => return Ran::Again(self),
                        // SAFETY: still RUNNING, and still pending; and we are the runner.
                        Idle::Aborted => unsafe {
                            self.header().own.begin_poll();
                            self.drop_future();
                        },
                    }
                }
            }
        }
        Ran::Complete(self)
    }

    /// Drops the future of a task that may be anywhere but in a poll, and completes it. `Err`, with
    /// nothing done but a mark, if it is being polled.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and the task is not complete and in no set of live tasks.
    pub(super) unsafe fn cancel(self) -> Result<(), TaskRef> {
        // SAFETY: we are the runner.
        let polling = unsafe { self.header().own.is_polling() };
        if !self.header().state.start_cancel(polling) {
            return Err(self);
        }
        // SAFETY: we are the runner, `start_cancel` has set RUNNING, and the future is there,
        // because the task is not complete.
        unsafe {
            self.drop_future();
            self.finish(None);
        }
        Ok(())
    }

    /// # Safety
    ///
    /// See [`Header::cancel`].
    unsafe fn drop_future(&self) {
        id::runs(self.0);
        // SAFETY: passed on.
        unsafe { Header::cancel(self.0) };
    }

    /// Publishes the end of a task that has its output, does with that what nobody else will, and gives up the runner's
    /// references: this one, and that of the set of live tasks, which it has left. Runs user code,
    /// whose panics are caught: the drop of an unwanted output, and the waker of the join handle.
    ///
    /// # Safety
    ///
    /// The caller is the runner, the task is RUNNING, and its stage holds the output.
    #[inline(always)]
    pub(super) unsafe fn finish(self, live: Option<TaskRef>) {
        debug_assert!(live.as_ref().is_none_or(|live| live.0 == self.0));
        let header = self.into_raw();
        let count = 1 + usize::from(live.is_some());
        std::mem::forget(live);
        // SAFETY: the references are ours, so the header is live until they are given up, in `state.finish` if that says so or
        // by `release`; and if they were the last, it is ours to free. We are the runner.
        unsafe {
            match header.as_ref().state.finish(count) {
                Finished::Released => return,
                Finished::Kept => {}
                // The handle was dropped before the task was complete, so the output is ours.
                Finished::Unwanted => Header::drop_output(header),
                Finished::Awaited => {
                    // JOIN_WAKER was set when the task became complete, so the field is ours from there on.
                    let waker = header.as_ref().join_waker.with_mut(|waker| (*waker).take());
                    if let Some(waker) = waker {
                        quietly(|| waker.wake());
                    }
                }
            }
            if header.as_ref().state.release(count) {
                Header::free(header);
            }
        }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> TaskRef {
        self.header().state.retain();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        if self.header().state.release(1) {
            // SAFETY: that was the last reference.
            unsafe { Header::free(self.0) };
        }
    }
}

/// The waker of a task: its data is a counted reference. It may be used on any thread and for as
/// long as anybody likes; after the end of the task, and of its loop, waking does nothing.
static WAKER: RawWakerVTable = RawWakerVTable::new(clone_waker, wake_by_value, wake_by_ref, drop_waker);

/// # Safety
///
/// `data` is the data of a live waker. So it is for all four.
unsafe fn loan(data: *const ()) -> ManuallyDrop<TaskRef> {
    // SAFETY: the data of a waker is never null, and it is a header with a reference of its own,
    // which is lent here and not dropped.
    ManuallyDrop::new(TaskRef(unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }))
}

unsafe fn clone_waker(data: *const ()) -> RawWaker {
    // SAFETY: passed on.
    unsafe { loan(data) }.header().state.retain();
    RawWaker::new(data, &WAKER)
}

unsafe fn wake_by_value(data: *const ()) {
    // SAFETY: passed on. The waker is being consumed, so its reference is ours.
    let task = ManuallyDrop::into_inner(unsafe { loan(data) });
    if let Some(scheduler) = task.scheduler_here() {
        let scheduler: *const Scheduler = scheduler;
        // SAFETY: it has just been asked whether this is the thread of the task's loop.
        unsafe { drop(task.wake_here(scheduler)) };
    } else if task.header().state.wake_by_value() == Wake::Queue {
        task.schedule_remote();
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: passed on.
    let task = unsafe { loan(data) };
    if task.scheduler_here().is_some() && task.header().state.is_running() {
        // It wakes itself, mostly. SAFETY: it has just been asked whether this is the thread of the task's loop.
        unsafe { task.header().own.wake() };
    } else {
        // SAFETY: passed on.
        unsafe { wake_by_ref_waiting(data) };
    }
}

/// Not inlined, so that the way above saves no registers.
#[inline(never)]
unsafe fn wake_by_ref_waiting(data: *const ()) {
    // SAFETY: passed on.
    let task = unsafe { loan(data) };
    if let Some(scheduler) = task.scheduler_here() {
        if task.header().state.claim(1) == Claim::Queue {
            // SAFETY: it has just been asked whether this is the thread of the task's loop; `claim` has counted the reference.
            unsafe { scheduler.push_local(TaskRef::from_raw(task.0)) };
        }
    } else if task.header().state.wake_by_ref() == Wake::Queue {
        // SAFETY: `wake_by_ref` has counted the reference.
        unsafe { TaskRef::from_raw(task.0) }.schedule_remote();
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: passed on. The waker is being dropped, so its reference is ours.
    drop(ManuallyDrop::into_inner(unsafe { loan(data) }));
}
