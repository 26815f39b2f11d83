//! L5: how other threads reach a loop.

use std::future::Future;
use std::sync::Arc;

use crate::context::{self, NO_LOOP};
use crate::executor::Executor;
use crate::inbox::Inbox;
use crate::task::{JoinHandle, Scheduler};

/// Spawns tasks onto a loop from any thread. It does not keep the loop alive: what is spawned after the loop's end is
/// dropped at once, and its handle says that it was cancelled.
///
/// ```
/// let event_loop = ringtoss::EventLoop::new()?;
/// let handle = event_loop.handle();
/// let thread = std::thread::spawn(move || handle.spawn(async { 7 }));
/// let task = thread.join().unwrap();
/// assert_eq!(event_loop.block_on(task).unwrap(), 7);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    scheduler: Arc<Scheduler>,
    inbox: Arc<Inbox>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("loop_id", &self.inbox.id()).finish()
    }
}

impl Handle {
    pub(crate) fn new(scheduler: Arc<Scheduler>, inbox: Arc<Inbox>) -> Handle {
        Handle { scheduler, inbox }
    }

    /// The loop of this thread.
    ///
    /// # Panics
    /// Where no loop runs.
    pub fn current() -> Handle {
        Handle::try_current().unwrap_or_else(|| panic!("{NO_LOOP}"))
    }

    /// The loop of this thread, if one runs.
    pub fn try_current() -> Option<Handle> {
        let core = context::current()?;
        let executor = core.executor.get::<Executor>();
        Some(Handle::new(executor.scheduler().clone(), core.inbox.clone()))
    }

    /// Spawns a task onto the loop, from any thread. The output travels back, so it must be `Send` too:
    ///
    /// ```compile_fail,E0277
    /// # let event_loop = ringtoss::EventLoop::new().unwrap();
    /// event_loop.handle().spawn(async { std::rc::Rc::new(1) });
    /// ```
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.scheduler.spawn_send(future)
    }

    /// Spawns a task whose future is made on the loop, and so need not be `Send`.
    ///
    /// ```
    /// let event_loop = ringtoss::EventLoop::new()?;
    /// let task = event_loop.handle().spawn_with(|| async {
    ///     let local = std::rc::Rc::new(5);
    ///     ringtoss::yield_now().await;
    ///     *local
    /// });
    /// assert_eq!(event_loop.block_on(task).unwrap(), 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// Its output must be:
    ///
    /// ```compile_fail,E0277
    /// # let event_loop = ringtoss::EventLoop::new().unwrap();
    /// event_loop.handle().spawn_with(|| async { std::rc::Rc::new(1) });
    /// ```
    pub fn spawn_with<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.scheduler.spawn_with(make)
    }
}
