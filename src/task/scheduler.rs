//! The queues of one loop, and the set of its live tasks.

use std::future::Future;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use super::cell::Cell;
use super::id::{self, Before};
use super::join::JoinHandle;
use super::live::LiveTasks;
use super::memory::{Memory, Shape};
use super::own::Place;
use super::remote::RemoteStack;
use super::spawn_with::MakeThenRun;
use super::task_ref::{Queued, Ran, TaskRef};
use crate::inbox::Inbox;
use crate::inbox::sync::UnsafeCell;

/// What tasks, their wakers and remote spawners share of a loop. It outlives the loop for as long
/// as any of them wants it.
pub(crate) struct Scheduler {
    /// The loop's id, here so that a wake finds it without another pointer to follow.
    id: u64,
    inbox: Arc<Inbox>,
    /// Tasks queued from other threads, and from this one while the loop is not entered.
    remote: RemoteStack,
    /// The loop's thread only. See [`Scheduler::local`].
    local: UnsafeCell<Local>,
}

/// What the loop's own thread has to itself.
struct Local {
    /// Tasks to run, after those of `batch`. Its capacity is never less than the number of live
    /// tasks, so that a wake, which queues a task that is in no queue, does not allocate.
    ready: Vec<Queued>,
    /// The tasks that a turn runs: it changes places with `ready`, because two vectors cost fewer
    /// instructions than a ring. Between turns it holds what the last one had no budget for.
    batch: Vec<Queued>,
    /// Every task that is not complete, but for those still on the remote stack.
    live: LiveTasks,
    /// That of tasks that have ended.
    memory: Memory,
    /// Whether a task has woken itself while it was polled, since somebody asked.
    gave_way: bool,
    /// How many references to the scheduler the loop keeps for the tasks to come: those of tasks that were freed on its
    /// thread, so that a task that lives and dies there counts nothing atomically.
    kept: usize,
    /// Set by shutdown: nothing is spawned, run or kept any more.
    closed: bool,
    /// How many calls of shutdown are under way: what they drop may call it again.
    shutdowns: usize,
}

// SAFETY: all fields but `local` are Send + Sync. `local` is reached only through
// `Scheduler::local`, which demands the loop's thread; it may be dropped
// on any thread: entries of queues give nothing up then, and memory may be freed anywhere.
unsafe impl Send for Scheduler {}
// SAFETY: as above.
unsafe impl Sync for Scheduler {}

impl Scheduler {
    /// Whether this is the thread of the loop, with the loop entered.
    #[inline(always)]
    pub(super) fn is_here(&self) -> bool {
        super::here::current_id() == self.id
    }

    /// Gives `access` what belongs to the loop's thread.
    ///
    /// # Safety
    ///
    /// This is the thread of the loop: either [`Scheduler::is_here`] says so (a loop's id is
    /// current only on its thread, and no other loop ever has the same), or the caller has the
    /// [`Owner`], which never leaves the thread. `access` does not get here again, and so runs no
    /// user code: no poll, no waker, no drop of a future or output; nor does it drop a `TaskRef`, which may give memory back here.
    #[inline(always)]
    unsafe fn local<R>(&self, access: impl FnOnce(&mut Local) -> R) -> R {
        // SAFETY: one thread at a time, and on it one access at a time, says the contract.
        self.local.with_mut(|local| access(unsafe { &mut *local }))
    }

    /// A reference for a task, and memory for it if that is kept. `None` after the shutdown.
    ///
    /// # Safety
    ///
    /// This is the thread of the loop, as for [`Scheduler::local`].
    #[inline(always)]
    unsafe fn share(self: &Arc<Self>, shape: Shape) -> Option<(Arc<Self>, Option<NonNull<u8>>)> {
        // SAFETY: passed on; nothing is called that runs user code.
        let (was_kept, place) = unsafe {
            self.local(|local| {
                if local.closed {
                    return None;
                }
                let was_kept = local.kept > 0;
                local.kept -= usize::from(was_kept);
                Some((was_kept, local.memory.take(shape)))
            })
        }?;
        // SAFETY: it was kept: a reference that `give_back` has forgotten.
        let scheduler = if was_kept { unsafe { Arc::from_raw(Arc::as_ptr(self)) } } else { Arc::clone(self) };
        Some((scheduler, place))
    }

    /// Takes back the reference of a task that is freed, and its memory, from any thread. Whether the memory is taken.
    ///
    /// # Safety
    ///
    /// The memory is of that shape, and is given away.
    #[inline(always)]
    pub(super) unsafe fn give_back(this: Arc<Self>, place: NonNull<u8>, shape: Shape) -> bool {
        if !this.is_here() {
            return false;
        }
        // SAFETY: we have just asked whether this is the loop's thread, and nothing is called that runs user code. The memory
        // is passed on.
        let taken = unsafe {
            this.local(|local| {
                if local.closed {
                    return None;
                }
                local.kept += 1;
                Some(local.memory.keep(place, shape))
            })
        };
        match taken {
            Some(taken) => {
                std::mem::forget(this);
                taken
            }
            None => false,
        }
    }

    /// Queues a task that is in no queue and has been noted to be.
    ///
    /// # Safety
    ///
    /// This is the thread of the loop, as for [`Scheduler::local`], and the task is in its set of live tasks.
    #[inline]
    pub(super) unsafe fn push_local(&self, task: Queued) {
        // SAFETY: passed on; pushing runs no user code.
        unsafe {
            self.local(|local| {
                if local.ready.len() < local.ready.capacity() {
                    local.ready.push(task);
                } else {
                    push_growing(&mut local.ready, task);
                }
            });
        }
    }

    /// Queues a task that has been marked as scheduled, from any thread, and wakes the loop if it
    /// sleeps. If the loop has shut down, the task has ended or is being ended, and this does
    /// nothing.
    #[cold]
    pub(super) fn push_remote(&self, task: TaskRef) {
        if self.remote.push(task).is_ok() {
            self.inbox.kick();
        }
    }

    /// Spawns on the loop's thread.
    ///
    /// # Safety
    ///
    /// As for [`Scheduler::local`].
    unsafe fn spawn_here<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        // SAFETY: passed on.
        let Some((scheduler, kept)) = (unsafe { self.share(Cell::<F>::SHAPE) }) else {
            return TaskRef::refused(future);
        };
        let (live, handle) = TaskRef::born_here(future, scheduler, kept);
        // SAFETY: as above; neither insertion runs user code.
        unsafe {
            self.local(|local| {
                let entry = live.entry();
                local.insert(live);
                local.ready.push(entry);
            });
        }
        handle
    }

    /// Spawns a task from any thread. If the loop has shut down, the future is dropped here and the
    /// handle gives the error of a cancelled task.
    pub(crate) fn spawn_send<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: the future and the output are Send.
        unsafe { self.spawn_anywhere(future) }
    }

    /// Spawns a task whose future is made on the loop's thread, and need not be `Send`. If the loop
    /// has shut down, the closure is dropped here and the handle gives the error of a cancelled
    /// task.
    pub(crate) fn spawn_with<M, F>(self: &Arc<Self>, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: the closure and the output are Send. The future is not there yet; it is made by
        // the first poll, and polls take place on the loop's thread.
        unsafe { self.spawn_anywhere(MakeThenRun::Make(make)) }
    }

    /// # Safety
    ///
    /// The future, as it is before its first poll, and its output may be sent to another thread.
    unsafe fn spawn_anywhere<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.is_here() {
            // SAFETY: we have just asked.
            return unsafe { self.spawn_here(future) };
        }
        let (left, live, handle) = TaskRef::born_elsewhere(future, Arc::clone(self));
        match self.remote.push(left) {
            Ok(()) => {
                // The loop makes its own of it when it takes the task from the stack.
                std::mem::forget(live);
                self.inbox.kick();
            }
            // SAFETY: no loop has seen the task or ever will, so that we are its runner; the caller
            // vouches that its future may be dropped here.
            Err(left) => unsafe { end_unseen(left, live) },
        }
        handle
    }
}

impl Local {
    /// Takes a task into the set of live ones.
    #[inline]
    fn insert(&mut self, task: TaskRef) {
        self.live.insert(task);
        if self.ready.capacity() < self.live.len() {
            reserve(&mut self.ready, self.live.len());
        }
    }

    /// Takes back what `take_batch` gave, with what was not run.
    #[inline]
    fn give_back(&mut self, mut batch: Vec<Queued>) {
        debug_assert!(self.batch.is_empty());
        // It is the next one to be filled, and filling it is not to allocate.
        if batch.capacity() < self.live.len() {
            reserve(&mut batch, self.live.len());
        }
        self.batch = batch;
    }

    /// How many tasks are to be run.
    #[inline]
    fn waiting(&self) -> usize {
        self.batch.len() + self.ready.len()
    }

    /// The task that is to be run, if it is one alone.
    #[inline(always)]
    fn take_single(&mut self) -> Option<Queued> {
        if self.ready.len() == 1 && self.batch.is_empty() && !self.closed { self.ready.pop() } else { None }
    }

    /// Everything that is to be run. The vector is to be given back.
    #[inline]
    fn take_batch(&mut self) -> Vec<Queued> {
        if self.batch.is_empty() {
            std::mem::swap(&mut self.batch, &mut self.ready);
        } else {
            self.batch.append(&mut self.ready);
        }
        std::mem::take(&mut self.batch)
    }

    /// Takes a completed task out of the set of live ones.
    fn remove(&mut self, task: Queued) -> TaskRef {
        self.live.remove(task.pointer())
    }
}

/// What a call of [`Owner::run_ready`] has done.
pub(crate) struct Round {
    /// How many tasks were polled.
    pub polls: usize,
    /// Whether a task woke itself while it was polled, as `yield_now` does: it wants everything else to be looked at first.
    pub gave_way: bool,
}

/// Makes room for so many in all.
#[cold]
#[inline(never)]
fn reserve(tasks: &mut Vec<Queued>, room: usize) {
    tasks.reserve(room - tasks.len());
}

/// Away from the path of every wake, which finds room.
#[cold]
#[inline(never)]
fn push_growing(ready: &mut Vec<Queued>, task: Queued) {
    ready.push(task);
}

/// Whether a task that others have left has never been in the set of live tasks. For the loop's thread.
fn is_new(task: &TaskRef) -> bool {
    // SAFETY: this is the loop's thread, and the task is its.
    unsafe { task.header().own.place() == Place::New }
}

/// Cancels a task that never came into a set of live tasks.
///
/// # Safety
///
/// The caller is the task's runner; the references are those that the stack and the set of live
/// tasks had or were to have.
unsafe fn end_unseen(left: TaskRef, live: TaskRef) {
    let _before = Before::note();
    drop(left);
    // SAFETY: passed on. A task that was never run is not complete.
    let ended = unsafe { live.cancel() };
    debug_assert!(ended.is_ok(), "a task that was never run is not running");
}

/// The loop's side of a [`Scheduler`]: there is one, on the loop's thread, and it is the runner of
/// the tasks. Dropping it shuts down.
pub(crate) struct Owner {
    scheduler: Arc<Scheduler>,
    /// Not `Send`, not `Sync`: to have one is the proof of being on the loop's thread.
    thread: PhantomData<*mut ()>,
}

/// Wakes the tasks of a loop on its thread, without user code: it queues them, or lets go of a reference.
pub(crate) struct Waking<'a> {
    scheduler: &'a Scheduler,
    /// As in [`Owner`], of which it is a loan.
    thread: PhantomData<*mut ()>,
}

impl Waking<'_> {
    /// Wakes the task that a waker is of, or gives the waker back if it is of anything but one of this loop's tasks.
    #[inline(always)]
    pub(crate) fn wake(&self, waker: Waker) -> Result<(), Waker> {
        // SAFETY: the owner is borrowed, so this is the loop's thread.
        unsafe { TaskRef::wake_waker_here(waker, self.scheduler) }
    }

    /// The same, for a waker that stays where it is. Whether it is of one of this loop's tasks.
    #[inline(always)]
    pub(crate) fn wake_by_ref(&self, waker: &Waker) -> bool {
        // SAFETY: as above.
        unsafe { TaskRef::wake_lent_here(waker, self.scheduler) }
    }
}

impl Owner {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Owner {
        Owner {
            scheduler: Arc::new(Scheduler {
                id: inbox.id(),
                inbox,
                remote: RemoteStack::new(),
                local: UnsafeCell::new(Local {
                    ready: Vec::new(),
                    batch: Vec::new(),
                    live: LiveTasks::new(),
                    memory: Memory::new(),
                    gave_way: false,
                    kept: 0,
                    closed: false,
                    shutdowns: 0,
                }),
            }),
            thread: PhantomData,
        }
    }

    pub(crate) fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// [`Scheduler::local`], which is safe for the owner to call as long as `access` keeps to its
    /// part: it runs no user code. Private to this file for that reason.
    #[inline(always)]
    fn local<R>(&self, access: impl FnOnce(&mut Local) -> R) -> R {
        // SAFETY: we are the owner; and what is passed in below only moves tasks about.
        unsafe { self.scheduler.local(access) }
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        // SAFETY: we are the owner.
        unsafe { self.scheduler.spawn_here(future) }
    }

    /// What wakes this loop's tasks.
    #[inline]
    pub(crate) fn waking(&self) -> Waking<'_> {
        Waking { scheduler: &self.scheduler, thread: PhantomData }
    }

    /// Moves what other threads have queued to the local queue, in its order.
    #[inline]
    pub(crate) fn take_remote(&self) {
        // The look spares an awake loop a write to a shared line per turn. It also keeps the stack
        // closed once it is.
        if !self.remote_is_empty() {
            self.take_arrivals();
        }
    }

    #[cold]
    fn take_arrivals(&self) {
        for task in self.scheduler.remote.take() {
            if is_new(&task) {
                // SAFETY: a task that is new has a second reference on the stack, which
                // `spawn_anywhere` has forgotten for this.
                let live = unsafe { TaskRef::from_raw(task.pointer()) };
                self.local(|local| local.insert(live));
            }
            let entry = task.entry();
            // SAFETY: we are on the loop's thread, and the task was on the stack. It is in the set, if it is not over. This may
            // free it, so it is not called inside of `local`.
            if unsafe { task.arrive() } {
                self.local(|local| local.ready.push(entry));
            }
        }
    }

    #[inline]
    pub(crate) fn remote_is_empty(&self) -> bool {
        self.scheduler.remote.is_empty()
    }

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.local(|local| local.waiting() > 0)
    }

    pub(crate) fn live_tasks(&self) -> usize {
        self.local(|local| local.live.len())
    }

    /// Polls what is ready now, `budget` tasks at most. Whoever calls it from where a task may run has noted that
    /// ([`Before`]).
    #[inline]
    pub(crate) fn run_ready(&self, budget: usize) -> Round {
        self.run_rounds(budget, 1, || true)
    }

    /// The same; and where that was one task alone, and after it again one is ready alone, that one, too, and so on, until there
    /// were `further` polls, a task gave way or `interrupted` says that somebody else is to have his turn.
    #[inline(always)]
    pub(crate) fn run_rounds(&self, budget: usize, further: usize, interrupted: impl Fn() -> bool) -> Round {
        // One task alone, mostly: two that wake each other, or a loop that does one thing.
        match self.local(Local::take_single) {
            Some(task) if budget > 0 => self.run_singles(task, further, interrupted),
            Some(task) => {
                self.local(|local| local.ready.push(task));
                Round { polls: 0, gave_way: false }
            }
            None => self.run_batch(budget),
        }
    }

    #[inline(never)]
    fn run_singles(&self, mut task: Queued, further: usize, interrupted: impl Fn() -> bool) -> Round {
        let mut polls = 0;
        loop {
            self.run_task(task);
            polls += 1;
            // The likeliest reason to stop comes first.
            let goes_on =
                self.local(|local| local.ready.len() == 1 && !local.gave_way) && polls < further && !interrupted();
            match goes_on.then(|| self.local(Local::take_single)).flatten() {
                Some(next) => task = next,
                None => return self.round(polls),
            }
        }
    }

    /// What has been done, when so many tasks were polled.
    #[inline(always)]
    fn round(&self, polls: usize) -> Round {
        id::nobody();
        Round { polls, gave_way: self.local(|local| std::mem::take(&mut local.gave_way)) }
    }

    /// Runs a task that was in the queue.
    #[inline(always)]
    fn run_task(&self, task: Queued) {
        // Shutting down in the middle of a poll completes the others, which then are not run.
        // SAFETY: we are the owner, and the entry was in the queue.
        match unsafe { task.run() } {
            Ran::Waiting => {}
            Ran::Again => self.local(|local| {
                local.gave_way = true;
                local.ready.push(task);
            }),
            Ran::Complete => {
                let live = self.local(|local| local.remove(task));
                // SAFETY: we are the owner, and the task has just got its output; it is in no queue.
                unsafe { live.finish(false) };
            }
        }
    }

    #[inline(never)]
    fn run_batch(&self, budget: usize) -> Round {
        // What a task wakes, itself included, goes to `ready`, for the next call.
        let Some(mut batch) = self.local(|local| (!local.closed).then(|| local.take_batch())) else {
            return Round { polls: 0, gave_way: false };
        };
        let total = batch.len();
        let count = total.min(budget);
        // Not `drain`, whose care for panics costs more than a short batch. Nothing here panics; if it did, tasks would never run
        // again and none be run twice, because the vector says from here on that it is empty.
        // SAFETY: zero is within the capacity, and nothing has to be initialized for it.
        unsafe { batch.set_len(0) };
        let tasks = batch.as_mut_ptr();
        for index in 0..count {
            // SAFETY: `total` entries are initialized, the vector does not touch them while its length is zero (it is ours,
            // and not used in this loop), and each is moved out once.
            let task = unsafe { tasks.add(index).read() };
            self.run_task(task);
        }
        if count < total {
            // SAFETY: those from `count` to `total` have not been moved out. They come to the front, where they are as many as
            // the length says.
            unsafe {
                tasks.copy_from(tasks.add(count), total - count);
                batch.set_len(total - count);
            }
        }
        self.local(|local| local.give_back(batch));
        self.round(count)
    }

    /// Drops the future of every task, and spawns none from here on. Panics of the futures are
    /// caught into their handles.
    ///
    /// A task that is being polled, because this is called from inside that poll, is dropped when
    /// the poll returns.
    pub(crate) fn shutdown(&self) {
        self.local(|local| {
            local.closed = true;
            local.shutdowns += 1;
        });
        let _before = Before::note();
        for task in self.scheduler.remote.close() {
            if is_new(&task) {
                // SAFETY: we are the owner; for the second reference see `take_remote`.
                unsafe {
                    let live = TaskRef::from_raw(task.pointer());
                    end_unseen(task, live);
                }
            }
        }
        // Nothing is inserted any more, so this ends. The drops may wake and abort tasks, which then are queued, or marked,
        // and met all the same.
        let mut running = Vec::new();
        while let Some(task) = self.local(|local| local.live.pop()) {
            // SAFETY: we are the owner, and tasks leave the set when they are complete.
            if let Err(task) = unsafe { task.cancel() } {
                running.push(task);
            }
        }
        // They leave it when their polls return.
        self.local(|local| running.into_iter().for_each(|task| local.live.insert(task)));
        let kept = self.local(|local| {
            local.memory.clear();
            std::mem::take(&mut local.kept)
        });
        for _ in 0..kept {
            // SAFETY: each of those kept is a reference that `give_back` has forgotten.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&self.scheduler)) });
        }
        let queued = self.local(|local| {
            local.shutdowns -= 1;
            // One further out may be about to end a task whose entry is here, and has to find it.
            (local.shutdowns == 0).then(|| (std::mem::take(&mut local.ready), std::mem::take(&mut local.batch)))
        });
        for task in queued.into_iter().flat_map(|(ready, batch)| ready.into_iter().chain(batch)) {
            // SAFETY: all that is queued is complete, and was in the queue when it left the set; nobody queues or runs it any more.
            unsafe { task.end() };
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shutdown();
    }
}
