//! L0: running other people's code where a panic in it must not stop what it was called from.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs code of the user's that nobody awaits (the drop of a buffer): a panic in it must not end the loop. The panic
/// hook has reported it.
#[inline]
pub(crate) fn guard(f: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { return };
    // A payload's drop may panic, too; what that throws is left alone.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

/// Wakes everybody. A waker of somebody else's may panic: the others are woken all the same.
#[inline]
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    let mut wakers = wakers.drain(..);
    while !wakers.as_slice().is_empty() {
        guard(|| wakers.by_ref().for_each(Waker::wake));
    }
}
