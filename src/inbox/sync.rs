//! The atomics and locks of `inbox`, `task` and `blocking`: the standard ones, or loom's in tests under `--cfg loom`, or
//! shuttle's under `--cfg loom --cfg shuttle`.
//!
//! Nothing here costs anything in a normal build: the names are re-exports, and the cell's
//! accessors are inlined into the plain pointer that `std::cell::UnsafeCell` gives. Loom needs the
//! closures, because it records when an access begins and ends.

#[cfg(all(test, loom, not(shuttle)))]
pub(crate) use loom as model;
#[cfg(all(test, loom, shuttle))]
pub(crate) use shuttle as model;

#[cfg(not(all(test, loom)))]
pub(crate) use std::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(all(test, loom))]
pub(crate) use model::{
    sync::{Condvar, Mutex, MutexGuard},
    thread,
};

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

#[cfg(all(test, loom))]
pub(crate) use model::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

/// Lets another thread run while this one waits for it.
pub(crate) fn yield_thread() {
    thread::yield_now();
}

/// `std::cell::UnsafeCell` with loom's interface.
#[cfg(not(all(test, loom, not(shuttle))))]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(all(test, loom, not(shuttle))))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    /// Hands `access` a pointer to the value, to read through.
    #[inline(always)]
    pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    /// Hands `access` a pointer to the value, to read and write through.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

#[cfg(all(test, loom, not(shuttle)))]
pub(crate) use loom::cell::UnsafeCell;

/// The queue that carries mail. Models cannot look into crossbeam's, so they get a locked one.
#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_queue::SegQueue as Queue;

#[cfg(all(test, loom))]
pub(crate) struct Queue<T>(Mutex<std::collections::VecDeque<T>>);

#[cfg(all(test, loom))]
impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue(Mutex::new(std::collections::VecDeque::new()))
    }

    pub(crate) fn push(&self, value: T) {
        self.0.lock().unwrap().push_back(value);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.lock().unwrap().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}
