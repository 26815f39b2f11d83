//! Many tasks with one owner, joined in the order in which they end. How tasks get in is in `event_loop`.

use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

use super::error::JoinError;
use super::id::Id;
use super::join::{AbortHandle, JoinHandle};
use super::places::Places;

/// Tasks that are awaited together, in the order in which they end: tokio's type of that name.
///
/// Each task has its place, and a task that ends leaves the number of its place in a queue; so a join costs the same
/// however many tasks there are. Beside the task itself one small allocation is made per task. The set may be sent to
/// other threads if the outputs may; its tasks stay on their loops.
///
/// # Cancellation
///
/// Dropping the set aborts every task that is still in it; what they own is dropped at their loop's next turn.
/// [`detach_all`](JoinSet::detach_all) lets them go on instead. Dropping a future of [`join_next`](JoinSet::join_next)
/// loses nothing.
///
/// ```
/// use ringtoss::task::JoinSet;
///
/// ringtoss::block_on(async {
///     let mut set = JoinSet::new();
///     for i in 0..10 {
///         set.spawn(async move { i * i });
///     }
///     let mut sum = 0;
///     while let Some(result) = set.join_next().await {
///         sum += result.unwrap();
///     }
///     assert_eq!(sum, 285);
/// });
/// ```
#[must_use = "dropping a set aborts its tasks"]
pub struct JoinSet<T> {
    tasks: Slab<JoinHandle<T>>,
    /// Which tasks have ended and were not joined yet. Each place is in there once: a task's end wakes its join waker once,
    /// and a place is given away only when its number was taken out.
    ended: Arc<Places>,
}

/// What a task's end wakes.
struct Place {
    ended: Arc<Places>,
    place: usize,
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        self.ended.push(self.place);
    }
}

impl<T> JoinSet<T> {
    /// A set without tasks.
    pub fn new() -> JoinSet<T> {
        JoinSet { tasks: Slab::new(), ended: Arc::default() }
    }

    /// How many tasks are in the set: those that run, and those that have ended and were not joined.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is in the set.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Takes a task in.
    pub(crate) fn insert(&mut self, mut task: JoinHandle<T>) -> AbortHandle {
        let abort = task.abort_handle();
        let entry = self.tasks.vacant_entry();
        let place = entry.key();
        let waker = Waker::from(Arc::new(Place { ended: self.ended.clone(), place }));
        let runs = task.register(&waker);
        entry.insert(task);
        if !runs {
            // Its end woke nobody.
            self.ended.push(place);
        }
        abort
    }

    /// Waits for the next task to end and gives its output; `None` if the set is empty.
    ///
    /// # Cancellation
    ///
    /// Dropped early, no output is lost: the task stays in the set.
    ///
    /// # Errors
    ///
    /// The [`JoinError`] of a task that panicked or was aborted.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// The output of a task that has ended, if there is one now.
    ///
    /// # Errors
    ///
    /// As [`join_next`](JoinSet::join_next).
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_join_next_with_id().map(without_id)
    }

    /// [`join_next`](JoinSet::join_next), with the task's name, which the error has, too.
    ///
    /// # Errors
    ///
    /// As [`join_next`](JoinSet::join_next).
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// [`try_join_next`](JoinSet::try_join_next), with the task's name.
    ///
    /// # Errors
    ///
    /// As [`join_next`](JoinSet::join_next).
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        let place = self.ended.pop()?;
        Some(self.take(place))
    }

    /// [`join_next`](JoinSet::join_next) as a poll, for streams and hand-made futures: `Ready(None)` if the set is
    /// empty. The waker of the last call is woken.
    ///
    /// # Errors
    ///
    /// As [`join_next`](JoinSet::join_next).
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_join_next_with_id(cx).map(|joined| joined.map(without_id))
    }

    /// The same, with the task's name.
    ///
    /// # Errors
    ///
    /// As [`join_next`](JoinSet::join_next).
    pub fn poll_join_next_with_id(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(Id, T), JoinError>>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        self.ended.poll(cx).map(|place| Some(self.take(place)))
    }

    /// Takes the output of a task that has ended.
    fn take(&mut self, place: usize) -> Result<(Id, T), JoinError> {
        let mut task = self.tasks.remove(place);
        let id = task.id();
        task.take_output().map(|output| (id, output))
    }

    /// Asks for all tasks to be cancelled. They stay in the set and are joined as ever, with an error for which
    /// [`is_cancelled`](JoinError::is_cancelled) holds.
    pub fn abort_all(&mut self) {
        self.tasks.iter().for_each(|(_, task)| task.abort());
    }

    /// Cancels all tasks and waits until each is over. Outputs are dropped, and so are panics.
    ///
    /// # Cancellation
    ///
    /// Dropped early, the tasks are cancelled all the same.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for all tasks and gives their outputs, in the order in which they ended. Dropped early, the tasks are
    /// aborted.
    ///
    /// # Panics
    ///
    /// With the panic of the first task that panicked, and if a task was aborted; the other tasks are aborted then.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result.map_err(JoinError::try_into_panic) {
                Ok(output) => outputs.push(output),
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(error)) => panic!("{error}"),
            }
        }
        outputs
    }

    /// Lets all tasks go on by themselves. The set is empty afterwards.
    pub fn detach_all(&mut self) {
        // A new queue: the ends of these tasks mean nothing to the tasks that get their places.
        self.ended = Arc::default();
        self.tasks.clear();
    }
}

fn without_id<T>(joined: Result<(Id, T), JoinError>) -> Result<T, JoinError> {
    joined.map(|(_, output)| output)
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet::new()
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}
