//! Which loop this thread is in: the question that each wake asks.
//!
//! Normal builds re-export `context::entered_id`: to a guest that is not entered a wake goes the remote way, which calls it.
//! Tests and models may also pretend to be a loop.

/// The id of the loop that is entered on this thread, or 0.
#[cfg(not(test))]
pub(super) use crate::context::entered_id as current_id;

/// The same for the crate's own tests, which may also pretend to be a loop.
#[cfg(all(test, not(loom)))]
pub(super) fn current_id() -> u64 {
    match PRETENDED_ID.get() {
        0 => crate::context::entered_id(),
        id => id,
    }
}

/// The same in models, whose threads all run on one thread of the system.
#[cfg(all(test, loom))]
pub(super) fn current_id() -> u64 {
    PRETENDED_ID.with(|id| id.get())
}

#[cfg(all(test, not(loom)))]
thread_local! {
    /// The id of the loop that a test runs by hand on this thread.
    pub(super) static PRETENDED_ID: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(all(test, loom))]
crate::inbox::sync::model::thread_local! {
    /// The id of the loop that a model runs by hand on this thread of its.
    pub(super) static PRETENDED_ID: std::cell::Cell<u64> = std::cell::Cell::new(0);
}
