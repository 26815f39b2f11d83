//! Waiting for a task, and ending it early.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::cell::{Header, Notes};
use super::error::{JoinError, quietly};
use super::id::Id;
use super::state::Detach;
use super::task_ref::TaskRef;

/// The right to wait for a task's output: a future that gives it.
///
/// It may be awaited anywhere, on another loop, another runtime, another thread; so it is `Send`
/// and `Sync` when the output is `Send`.
///
/// # Cancellation
///
/// Dropping the handle detaches the task, which goes on; its output is dropped when it comes.
/// Dropping a future that waits on `&mut JoinHandle` loses nothing. To end the task, call
/// [`abort`](JoinHandle::abort).
///
/// # Errors
///
/// Awaiting it gives a [`JoinError`] when the task panicked, was aborted, or was dropped because its
/// loop ended.
///
/// # Panics
///
/// When it is polled again after it has given the output.
pub struct JoinHandle<T> {
    /// Dropped by hand: `detach` may already have given up its reference. It is all there is, so that a handle is moved about as
    /// one word: what is written as a word and a bit and read as two words at once keeps a CPU waiting.
    task: ManuallyDrop<TaskRef>,
    /// The handle may take and drop a `T`. The pointer keeps the compiler from deriving Send and
    /// Sync, which are given below.
    output: PhantomData<*mut T>,
}

// SAFETY: through the handle its owner takes or drops the output, on whatever thread it is, so the
// output must be Send. All else that it does works from any thread, see `TaskRef`; in particular it
// never drops the future.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: with `&JoinHandle` one can abort the task and ask whether it has ended, both of which work
// on the atomic word. The output is out of reach. (T need not be Sync, then; that it must be Send
// follows tokio.)
unsafe impl<T: Send> Sync for JoinHandle<T> {}
// The output is never pinned.
impl<T> Unpin for JoinHandle<T> {}
// The output is behind the end of the task: a panic elsewhere does not break it.
impl<T> std::panic::UnwindSafe for JoinHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// The reference is the join handle's, of which there is one per task, and `T` is the output of
    /// the task's future.
    pub(super) unsafe fn new(task: TaskRef) -> JoinHandle<T> {
        JoinHandle { task: ManuallyDrop::new(task), output: PhantomData }
    }

    /// Asks for the task to be cancelled: its future is dropped, on its loop's thread, at the loop's
    /// next turn, and then awaiting the handle gives an error for which
    /// [`is_cancelled`](JoinError::is_cancelled) holds.
    ///
    /// A task that has ended is not changed, nor is one that ends in the poll that is under way. A
    /// blocking call that has begun is not interrupted. No system call, unless the task's loop runs on
    /// another thread and sleeps.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can abort the task, but not wait for it.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: TaskRef::clone(&self.task) }
    }

    /// Whether the task has ended, in any way. After an [`abort`](JoinHandle::abort) it has not
    /// until the future has been dropped.
    pub fn is_finished(&self) -> bool {
        self.task.header().state.is_complete()
    }

    /// The task's name.
    pub fn id(&self) -> Id {
        Id::of(self.task.pointer())
    }

    /// The output of a task that is known to have ended.
    pub(super) fn take_output(&mut self) -> Result<T, JoinError> {
        assert!(self.is_finished(), "the output of a task that has not ended");
        // SAFETY: the task is complete, and it was while its handle, we, existed: the output is
        // ours. `T` is its type, by `new`.
        let output = unsafe { Header::take_output(self.task.pointer()) };
        // SAFETY: the field belongs to the handle, which we have for ourselves.
        self.task.header().notes.with_mut(|notes| unsafe { (*notes).taken = true });
        output.expect("JoinHandle polled after completion")
    }

    /// Leaves `waker` to be woken at the end of the task. False if the task has ended.
    #[inline]
    pub(super) fn register(&mut self, waker: &Waker) -> bool {
        let header = self.task.header();
        if header.state.has_join_waker() {
            return self.register_again(waker);
        }
        if self.task.is_here() {
            return self.register_here(waker);
        }
        let waker = waker.clone();
        // SAFETY: JOIN_WAKER is clear, and nobody but us sets it: the field is ours. It is empty, so there is nothing to be
        // dropped, and the compiler need not look.
        header.join_waker.with_mut(|slot| unsafe { std::mem::forget((*slot).replace(waker)) });
        if header.state.offer_join_waker() {
            self.call_back_from_here();
            return true;
        }
        // SAFETY: the runner found JOIN_WAKER clear when it completed the task.
        drop(header.join_waker.with_mut(|slot| unsafe { (*slot).take() }));
        false
    }

    /// The same on the thread of the task's loop, where the task ends: without an atomic operation.
    #[inline(always)]
    fn register_here(&mut self, waker: &Waker) -> bool {
        let header = self.task.header();
        // SAFETY: it has just been asked whether this is the loop's thread, on which the loop stays entered. So it is below.
        if unsafe { header.own.has_join_waker(waker) } {
            return true;
        }
        // The waker's functions are other people's code, and may run the loop.
        let waker = waker.clone();
        if self.is_finished() {
            return false;
        }
        // SAFETY: as above; what was there is dropped when it has been replaced. The notes are the handle's, which we have for
        // ourselves.
        let old = unsafe {
            header.notes.with_mut(|notes| (*notes).left_here = true);
            header.own.replace_join_waker(Some(waker))
        };
        drop(old);
        true
    }

    /// Has the loop drop the waker that was left there, if there is one: it is not wanted any more, and cannot be reached from here. The word
    /// says so already.
    #[inline]
    fn call_back_from_here(&self) {
        // SAFETY: the notes are the handle's.
        if self.task.header().notes.with_mut(|notes| unsafe { std::mem::take(&mut (*notes).left_here) }) {
            TaskRef::clone(&self.task).wake_elsewhere();
        }
    }

    /// The same where one was left before, elsewhere.
    #[inline(never)]
    fn register_again(&mut self, waker: &Waker) -> bool {
        let header = self.task.header();
        if !header.state.reclaim_join_waker() {
            return false;
        }
        // SAFETY: JOIN_WAKER is clear and the task was not complete when it became so: the
        // field is ours until we set it again. So it is for the other accesses here.
        let kept = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
        // The waker's functions are other people's code, so none is called with the field open.
        let (next, old) = match kept {
            Some(kept) if kept.will_wake(waker) => (kept, None),
            old => (waker.clone(), old),
        };
        // SAFETY: as above.
        header.join_waker.with_mut(|slot| unsafe { *slot = Some(next) });
        let offered = header.state.offer_join_waker();
        let refused = if offered {
            None
        } else {
            // SAFETY: as above: the runner found JOIN_WAKER clear when it completed the task.
            header.join_waker.with_mut(|slot| unsafe { (*slot).take() })
        };
        drop((old, refused));
        offered
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() && self.register(cx.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.take_output())
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the notes belong to the handle.
        let Notes { taken, left_here } = self.task.header().notes.with(|notes| unsafe { notes.read() });
        if taken {
            // The task is complete, and nothing is left in it.
            // SAFETY: the field is not used again.
            return unsafe { ManuallyDrop::drop(&mut self.task) };
        }
        let mut elsewhere = None;
        if left_here {
            if self.task.is_here() {
                // SAFETY: it has just been asked whether this is the thread of the task's loop.
                let waker = unsafe { self.task.header().own.replace_join_waker(None) };
                quietly(|| drop(waker));
            } else {
                elsewhere = Some(TaskRef::clone(&self.task));
            }
        }
        let header = self.task.header();
        let detached = header.state.detach();
        if let Some(task) = elsewhere {
            // Now that there is no handle, its loop drops the waker.
            task.wake_elsewhere();
        }
        match detached {
            // The reference is gone as well.
            Detach::Done => return,
            Detach::TakeWaker => {
                // SAFETY: `detach` has cleared JOIN_WAKER before the task was complete, so the field
                // is ours, and nobody looks at it again.
                let waker = header.join_waker.with_mut(|slot| unsafe { (*slot).take() });
                quietly(|| drop(waker));
            }
            // SAFETY: the task was complete while its handle existed, so the output is ours.
            Detach::TakeOutput => unsafe { Header::drop_output(self.task.pointer()) },
        }
        // SAFETY: the field is not used again.
        unsafe { ManuallyDrop::drop(&mut self.task) };
    }
}

// A handle goes to other threads if, and only if, the output may.
const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<JoinHandle<std::cell::Cell<u8>>>();
    send_and_sync::<AbortHandle>();
    send_and_sync::<JoinError>();

    /// Implemented again for what is `Send` or `Sync`, so that the name below is then ambiguous.
    trait Neither<Which> {
        const HOLDS: () = ();
    }
    struct Send_;
    struct Sync_;
    impl<T: ?Sized> Neither<()> for T {}
    impl<T: ?Sized + Send> Neither<Send_> for T {}
    impl<T: ?Sized + Sync> Neither<Sync_> for T {}
    <JoinHandle<std::rc::Rc<u8>> as Neither<_>>::HOLDS
};

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("state", &self.task.header().state).finish()
    }
}

/// The right to end a task early, from any thread, without the right to wait for it.
///
/// Dropping it does nothing to the task.
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
}

impl AbortHandle {
    /// Asks for the task to be cancelled; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task has ended, in any way; see [`JoinHandle::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.task.header().state.is_complete()
    }

    /// The task's name.
    pub fn id(&self) -> Id {
        Id::of(self.task.pointer())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("state", &self.task.header().state).finish()
    }
}
