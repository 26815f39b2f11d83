//! L5: how tasks get into a [`JoinSet`]. What the set is, is in `task`.

use std::future::Future;

use super::{Handle, spawn};
use crate::blocking::spawn_blocking;
use crate::task::{AbortHandle, JoinSet};

impl<T: 'static> JoinSet<T> {
    /// Spawns a task onto the loop of this thread and takes it into the set. The future need not be `Send`.
    ///
    /// # Panics
    ///
    /// Where no loop runs.
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(spawn(future))
    }

    /// Spawns a task onto any loop, from any thread, and takes it into the set. After the loop's end the task is
    /// cancelled at once.
    ///
    /// ```
    /// use ringtoss::task::JoinSet;
    ///
    /// let event_loop = ringtoss::EventLoop::new()?;
    /// let mut set = JoinSet::new();
    /// set.spawn_on(async { 7 }, &event_loop.handle());
    /// assert_eq!(event_loop.block_on(set.join_next()).unwrap().unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn(future))
    }

    /// Runs a call that blocks on the blocking pool and takes it into the set; see
    /// [`spawn_blocking`](crate::spawn_blocking). A call that has begun cannot be aborted: it goes on, and is joined
    /// when it is over.
    pub fn spawn_blocking<F>(&mut self, call: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(spawn_blocking(call))
    }
}

/// Spawns all of the futures onto the loop of this thread.
impl<T: 'static, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = JoinSet::new();
        futures.into_iter().for_each(|future| drop(set.spawn(future)));
        set
    }
}
