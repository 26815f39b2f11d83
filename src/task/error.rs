//! Why a task gave no output.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fmt, io};

use super::id::Id;

/// The error that a [`JoinHandle`](super::JoinHandle) gives when its task has no output: it was
/// cancelled, or it panicked.
///
/// The same as tokio's type of that name.
pub struct JoinError {
    cause: Cause,
    id: Id,
}

enum Cause {
    Cancelled,
    Panic(Box<dyn Any + Send + 'static>),
}

// SAFETY: a `Cause` is shared only through `&JoinError`, and the methods that take that reach into
// the payload in one place, `panic_message`. It asks for the payload's type, which is a constant, and
// looks at the value only when that is `String` or `&'static str`, both of which are Sync.
unsafe impl Sync for JoinError {}

// A payload may have a broken invariant after the panic, but only its owner can look at it.
impl std::panic::UnwindSafe for JoinError {}
impl std::panic::RefUnwindSafe for JoinError {}

impl JoinError {
    pub(super) fn cancelled(id: Id) -> JoinError {
        JoinError { cause: Cause::Cancelled, id }
    }

    pub(super) fn panic(payload: Box<dyn Any + Send + 'static>, id: Id) -> JoinError {
        JoinError { cause: Cause::Panic(payload), id }
    }

    /// The task's name.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whether the task was cancelled: aborted, dropped when its loop ended, or spawned on a loop
    /// that was ending.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.cause, Cause::Cancelled)
    }

    /// Whether the task panicked, in a poll or while its future was dropped by an abort.
    pub fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }

    /// The value that the task panicked with, to pass to
    /// [`resume_unwind`](std::panic::resume_unwind) or to look at.
    ///
    /// # Panics
    ///
    /// If the task did not panic. [`try_into_panic`](JoinError::try_into_panic) does not.
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        self.try_into_panic().expect("`JoinError` reason is not a panic.")
    }

    /// The value that the task panicked with, or the error itself if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        match self.cause {
            Cause::Panic(payload) => Ok(payload),
            Cause::Cancelled => Err(self),
        }
    }
}

/// The message of a panic, if it was made with one.
fn panic_message(payload: &(dyn Any + Send)) -> Option<&str> {
    if let Some(message) = payload.downcast_ref::<String>() {
        Some(message)
    } else {
        payload.downcast_ref::<&'static str>().copied()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Cancelled => write!(f, "task {} was cancelled", self.id),
            Cause::Panic(payload) => match panic_message(payload.as_ref()) {
                Some(message) => write!(f, "task {} panicked with message {message:?}", self.id),
                None => write!(f, "task {} panicked", self.id),
            },
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Cancelled => write!(f, "JoinError::Cancelled({:?})", self.id),
            Cause::Panic(payload) => match panic_message(payload.as_ref()) {
                Some(message) => write!(f, "JoinError::Panic({:?}, {message:?}, ...)", self.id),
                None => write!(f, "JoinError::Panic({:?}, ...)", self.id),
            },
        }
    }
}

impl std::error::Error for JoinError {}

/// So that `?` works in functions that return `io::Result`, as with tokio. The kind is
/// [`Other`](io::ErrorKind::Other), and the error itself is the inner one.
impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}

/// Runs `f`, whose panic nobody is to hear of but the panic hook.
pub(super) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        drop_payload(payload);
    }
}

/// Drops what a panic was made with. The drop of that may panic too, and so on; the second payload
/// is leaked rather than chased.
pub(super) fn drop_payload(payload: Box<dyn Any + Send + 'static>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(second);
    }
}
