//! Names of tasks.

use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;

thread_local! {
    /// The address of the task that this thread polls or drops; 0 if it does neither.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// The name of a task, as long as anybody has a handle of it, or it runs: another task may have it afterwards. What tokio
/// promises, too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(usize);

impl Id {
    /// The name of whatever lies there.
    pub(super) fn of<T>(pointer: NonNull<T>) -> Id {
        Id(pointer.as_ptr().addr())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({})", self.0)
    }
}

/// The name of the task that this is called from.
///
/// # Panics
/// Outside of a task; the future that `block_on` was given is none.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("ringtoss: there is no task here; the future that `block_on` was given is none")
}

/// The name of the task that this is called from, if it is one.
pub fn try_id() -> Option<Id> {
    match RUNNING.get() {
        0 => None,
        address => Some(Id(address)),
    }
}

/// Notes who runs. One store, on the path of every poll; who runs some puts back what was before them, with
/// [`Before`], or says that it is [`nobody`].
#[inline(always)]
pub(super) fn runs<T>(task: NonNull<T>) {
    RUNNING.set(task.as_ptr().addr());
}

/// Notes that no task runs.
#[inline(always)]
pub(super) fn nobody() {
    RUNNING.set(0);
}

/// Nobody runs for as long as it lives; then it puts back what ran before: a blocking job may run a loop, and a task end one.
pub(crate) struct Before(usize);

impl Before {
    pub(crate) fn note() -> Before {
        Before(RUNNING.replace(0))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}
