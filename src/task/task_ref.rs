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
use super::own::Place;
use super::scheduler::Scheduler;
use super::state::{Finished, State, Wake};

/// One reference to a task, of any type.
///
/// Dropping it frees the memory if it was the last, and touches neither future nor output: those
/// are gone by then.
pub(crate) struct TaskRef(NonNull<Header>);

// SAFETY: what a reference gives access to is the header, and that is shared by rules that hold
// between threads: the word and the remote link are atomic or handed over through an atomic, the
// scheduler is Send + Sync, the join waker belongs to one party at a time, as the word says, and what the loop's thread keeps
// beside the word (`Own`) is reached only where that is asked for: `is_here`, or the contract of an unsafe function. The
// future and the output, which may be `!Send`, are reached only by `run` and `cancel`, for which
// see there, and by the join handle, which is Send only if the output is.
unsafe impl Send for TaskRef {}
// SAFETY: as above; everything else that takes `&TaskRef` works through atomics.
unsafe impl Sync for TaskRef {}

/// A task in its loop's own queue. It is no reference: what is there is in the set of live tasks, which has one. Only if that lets
/// go of it, when the loop ends, is its reference the entry's, which gives it up when it is taken out.
#[derive(Clone, Copy)]
pub(super) struct Queued(NonNull<Header>);

/// What became of a task that was run.
pub(super) enum Ran {
    /// It waits to be woken, or had ended before.
    Waiting,
    /// It was woken while it ran, and goes to the end of the queue.
    Again,
    /// Its output is there. It leaves the set of live tasks, and then its end is to be published: [`TaskRef::finish`].
    Complete,
}

impl TaskRef {
    /// A new task on its loop's thread: the reference of the set of live tasks, and the join handle. It is to be queued.
    /// `kept` is memory of its shape, if there is any.
    #[inline(always)]
    pub(super) fn born_here<F: Future>(
        future: F,
        scheduler: Arc<Scheduler>,
        kept: Option<NonNull<u8>>,
    ) -> (TaskRef, JoinHandle<F::Output>) {
        let header = Cell::born(future, State::new(2), Place::Queued, Some(scheduler), kept);
        // SAFETY: the handle is the one there is, and of this task's type.
        let handle = unsafe { JoinHandle::new(TaskRef(header)) };
        (TaskRef(header), handle)
    }

    /// A new task that is to be left for its loop: the references of the stack and of the set of live tasks, and the join handle.
    pub(super) fn born_elsewhere<F: Future>(
        future: F,
        scheduler: Arc<Scheduler>,
    ) -> (TaskRef, TaskRef, JoinHandle<F::Output>) {
        let header = Cell::born(future, State::scheduled(3), Place::New, Some(scheduler), None);
        // SAFETY: as in `born_here`.
        let handle = unsafe { JoinHandle::new(TaskRef(header)) };
        (TaskRef(header), TaskRef(header), handle)
    }

    /// A new task that no loop runs: the reference of its runner, and the join handle.
    pub(super) fn unscheduled<F: Future>(future: F) -> (TaskRef, JoinHandle<F::Output>) {
        let header = Cell::born(future, State::scheduled(2), Place::New, None, None);
        // SAFETY: as in `born_here`.
        let handle = unsafe { JoinHandle::new(TaskRef(header)) };
        (TaskRef(header), handle)
    }

    /// The handle of a task that has ended before it began. The future has been dropped.
    pub(super) fn refused<F: Future>(future: F) -> JoinHandle<F::Output> {
        let header = Cell::refused(future);
        // SAFETY: as in `born_here`.
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

    /// The entry for its loop's queue.
    #[inline(always)]
    pub(super) fn entry(&self) -> Queued {
        Queued(self.0)
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

    /// Whether this is the thread of the task's loop, and it is entered.
    #[inline(always)]
    pub(super) fn is_here(&self) -> bool {
        self.scheduler_here().is_some()
    }

    /// Wakes the task. Whether it waited, and so lives.
    ///
    /// # Safety
    ///
    /// This is the thread of the loop that `scheduler` is of, as for [`Scheduler::push_local`], and it is the task's.
    #[inline(always)]
    unsafe fn wake_here(&self, scheduler: &Scheduler) -> bool {
        // SAFETY: passed on. A task that waits is in the set of live tasks, which keeps it, and in no queue.
        unsafe {
            let waited = self.header().own.wake();
            if waited {
                scheduler.push_local(self.entry());
            }
            waited
        }
    }

    /// Gives a reference up, on the thread of the task's loop.
    ///
    /// # Safety
    ///
    /// As for [`TaskRef::wake_here`]; the task `lives` if that is said.
    #[inline(always)]
    unsafe fn leave_here(self, lives: bool) {
        // SAFETY: passed on.
        if unsafe { self.header().own.keep(lives) } {
            std::mem::forget(self);
        }
    }

    /// Wakes the task from elsewhere, and gives the reference up.
    #[cold]
    #[inline(never)]
    pub(super) fn wake_elsewhere(self) {
        if self.header().state.wake_by_value() == Wake::Queue {
            self.schedule_remote();
        }
    }

    /// Puts the task in its loop's queue, from elsewhere. For whoever has just set `SCHEDULED`.
    #[cold]
    #[inline(never)]
    fn schedule_remote(self) {
        // A blocking job is born scheduled, as if it were on a stack, and a refused task is complete, so
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

    /// Wakes the task that a waker is of; the waker back if it is of something else, or of a task of
    /// another loop.
    ///
    /// # Safety
    ///
    /// This is the loop's thread, as for [`Scheduler::push_local`].
    #[inline(always)]
    pub(super) unsafe fn wake_waker_here(waker: Waker, scheduler: &Scheduler) -> Result<(), Waker> {
        match TaskRef::lent_by(&waker, scheduler) {
            Some(task) => {
                std::mem::forget(waker);
                // SAFETY: passed on; the reference was the waker's.
                unsafe {
                    let lives = task.wake_here(scheduler);
                    ManuallyDrop::into_inner(task).leave_here(lives);
                }
                Ok(())
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
        // SAFETY: passed on.
        unsafe { task.wake_here(scheduler) };
        true
    }

    /// A task that others have left for its loop is there. Whether it has to be queued.
    ///
    /// # Safety
    ///
    /// This is the loop's thread, and the task has been taken off the stack. If it is new, it is in the set of live tasks now.
    pub(super) unsafe fn arrive(self) -> bool {
        let awaited_here = self.header().state.arrive();
        // SAFETY: passed on.
        unsafe {
            let wakes = self.header().own.arrive();
            // Its handle is gone, or awaits it elsewhere.
            let stale = if awaited_here { None } else { self.header().own.replace_join_waker(None) };
            self.leave_here(wakes);
            if stale.is_some() {
                quietly(|| drop(stale));
            }
            wakes
        }
    }

    /// Asks for the task to be cancelled.
    pub(super) fn abort(&self) {
        if let Some(scheduler) = self.scheduler_here() {
            if self.header().state.abort_here() {
                // SAFETY: it has just been asked whether this is the loop's thread.
                unsafe { self.wake_here(scheduler) };
            }
        } else if self.header().state.abort() == Wake::Queue {
            // SAFETY: `abort` has counted the reference.
            unsafe { TaskRef::from_raw(self.0) }.schedule_remote();
        }
    }

    /// Drops the future of a task that may be anywhere but in a poll, and completes it. This is the reference of the set of
    /// live tasks, or that of who runs a blocking job. `Err`, with nothing done but a mark, if it is being polled.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and the task is not complete and in no set of live tasks.
    pub(super) unsafe fn cancel(self) -> Result<(), TaskRef> {
        // SAFETY: we are the runner.
        let place = unsafe { self.header().own.place() };
        if matches!(place, Place::Polled | Place::Again) {
            self.header().state.abort_here();
            // SAFETY: as above. It is not queued for that, but looked at when the poll returns.
            unsafe { self.header().own.wake() };
            return Err(self);
        }
        // SAFETY: we are the runner, the task is not being polled, and the future is there, because the task is not complete.
        unsafe {
            self.header().own.begin_end();
            drop_future(self.0);
            self.finish(place == Place::Queued);
        }
        Ok(())
    }

    /// Publishes the end of a task that has its output, does with that what nobody else will, and gives up the runner's
    /// references: this one, which was that of the set of live tasks, unless an entry in the queue `stays` that gets it; and those that were kept. Runs
    /// user code, whose panics are caught: the drop of an unwanted output, and the waker of the join handle.
    ///
    /// # Safety
    ///
    /// The caller is the runner, the task is not complete, and its stage holds the output.
    #[inline(always)]
    pub(super) unsafe fn finish(self, stays: bool) {
        let header = self.into_raw();
        // SAFETY: the header is live: the references are ours. We are the runner.
        let (kept, waker_here) = unsafe { header.as_ref().own.finish() };
        let count = kept + usize::from(!stays);
        // SAFETY: the references are ours, so the header is live until they are given up, in `state.finish` if that says so or
        // by `release`; and if they were the last, it is ours to free. We are the runner.
        unsafe {
            match header.as_ref().state.finish(count) {
                Finished::Released => return wake_quietly(waker_here),
                Finished::Kept => wake_quietly(waker_here),
                // The handle was dropped before the task was complete, so the output is ours.
                Finished::Unwanted => {
                    Header::drop_output(header);
                    quietly(|| drop(waker_here));
                }
                Finished::Awaited => {
                    // JOIN_WAKER was set when the task became complete, so the field is ours from there on.
                    wake_quietly(header.as_ref().join_waker.with_mut(|waker| (*waker).take()));
                    // The handle has gone elsewhere since this one was left.
                    quietly(|| drop(waker_here));
                }
            }
            if header.as_ref().state.release(count) {
                Header::free(header);
            }
        }
    }
}

impl Queued {
    /// Runs the task once.
    ///
    /// # Safety
    ///
    /// The caller is the runner: the thread of the task's loop, or the one that may run a blocking
    /// job, and this is the entry that was in the queue.
    #[inline(always)]
    pub(super) unsafe fn run(self) -> Ran {
        // SAFETY: the set of live tasks keeps it, or this entry does.
        let header = unsafe { self.0.as_ref() };
        // SAFETY: we are the runner, here and below.
        if !unsafe { header.own.begin() } {
            // SAFETY: it is over, and was not taken out of the queue then.
            unsafe { self.end() };
            return Ran::Waiting;
        }
        if header.state.is_aborted() {
            // SAFETY: a task that was not complete has a future, and nobody polls it.
            unsafe { drop_future(self.0) };
            return Ran::Complete;
        }
        // The waker is a loan of the reference of the set of live tasks: a future that does not keep it costs no counting.
        // SAFETY: the functions of `WAKER` fulfil the contract, see there.
        let waker = ManuallyDrop::new(unsafe { Waker::new(self.0.as_ptr().cast(), &WAKER) });
        let mut cx = Context::from_waker(&waker);
        id::runs(self.0);
        // SAFETY: as for `drop_future` above.
        if unsafe { Header::poll(self.0, &mut cx) } {
            return Ran::Complete;
        }
        // The reference outlives this: a task that is being polled stays in the set.
        // SAFETY: see above.
        if !unsafe { header.own.end() } {
            return Ran::Waiting;
        }
        if header.state.is_aborted() {
            // It was aborted by itself, or by what it has called. SAFETY: still pending, and in no queue yet.
            unsafe {
                header.own.begin_end();
                drop_future(self.0);
            }
            return Ran::Complete;
        }
        Ran::Again
    }

    pub(super) fn pointer(self) -> NonNull<Header> {
        self.0
    }

    /// Takes out of the queue what is over.
    ///
    /// # Safety
    ///
    /// The task is over, and was when the set of live tasks let go of it, and this is the entry in the queue, which is not used again.
    pub(super) unsafe fn end(self) {
        // SAFETY: the reference of the set is the entry's from then on.
        drop(unsafe { TaskRef::from_raw(self.0) });
    }
}

/// Wakes who awaits a task, and lives with what that does.
#[inline(always)]
fn wake_quietly(waker: Option<Waker>) {
    if let Some(waker) = waker {
        quietly(|| waker.wake());
    }
}

/// # Safety
///
/// See [`Header::cancel`].
unsafe fn drop_future(task: NonNull<Header>) {
    id::runs(task);
    // SAFETY: passed on.
    unsafe { Header::cancel(task) };
}

#[cfg(test)]
impl TaskRef {
    /// How many references there are of the task that a waker is of.
    pub(super) fn references(waker: &Waker) -> usize {
        assert!(std::ptr::eq(waker.vtable(), &WAKER));
        // SAFETY: as in `lent_by`.
        unsafe { loan(waker.data()) }.header().state.references()
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
    let task = unsafe { loan(data) };
    // SAFETY: it has just been asked whether this is the thread of the task's loop.
    if !(task.is_here() && unsafe { task.header().own.take_kept() }) {
        retain(&task);
    }
    RawWaker::new(data, &WAKER)
}

/// Not inlined, so that the way around it saves no registers.
#[cold]
#[inline(never)]
fn retain(task: &TaskRef) {
    task.header().state.retain();
}

unsafe fn wake_by_value(data: *const ()) {
    // SAFETY: passed on. The waker is being consumed, so its reference is ours.
    let task = ManuallyDrop::into_inner(unsafe { loan(data) });
    if let Some(scheduler) = task.scheduler_here() {
        let scheduler: *const Scheduler = scheduler;
        // SAFETY: it has just been asked whether this is the thread of the task's loop, with that entered: so it keeps the
        // scheduler, whatever becomes of the task.
        unsafe {
            let lives = task.wake_here(&*scheduler);
            task.leave_here(lives);
        }
    } else {
        task.wake_elsewhere();
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: passed on.
    let task = unsafe { loan(data) };
    if let Some(scheduler) = task.scheduler_here() {
        // SAFETY: it has just been asked whether this is the thread of the task's loop.
        unsafe { task.wake_here(scheduler) };
    } else if task.header().state.wake_by_ref() == Wake::Queue {
        // SAFETY: `wake_by_ref` has counted the reference.
        unsafe { TaskRef::from_raw(task.0) }.schedule_remote();
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: passed on. The waker is being dropped, so its reference is ours.
    let task = ManuallyDrop::into_inner(unsafe { loan(data) });
    if task.is_here() {
        // SAFETY: it has just been asked whether this is the thread of the task's loop.
        unsafe { task.leave_here(false) };
    }
}
