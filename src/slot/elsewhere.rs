//! An operation whose future has left the loop that it was submitted on.
#![allow(unsafe_code)]

use std::sync::Mutex;
use std::task::Waker;

use super::{Earlier, Orphan};
use crate::ring::Cqe;

/// Where a loop leaves the result of an operation that is awaited on another loop or thread.
#[derive(Default)]
pub(crate) struct Elsewhere {
    pub inner: Mutex<ElsewhereState>,
}

#[derive(Default)]
pub(crate) struct ElsewhereState {
    pub waker: Option<Waker>,
    pub result: Option<(Earlier, Cqe)>,
    /// The loop was ended without the operation being reaped: it will never finish.
    pub lost: bool,
    /// The future was dropped before the result came.
    pub orphan: Option<Handed>,
}

/// An operation's value on its way from the thread that dropped its future to the loop that submitted it.
pub(crate) struct Handed(Box<dyn Orphan>);

// SAFETY: a value is handed over only by a future that was polled on one loop and dropped or polled where that loop is
// not entered. A loop never leaves its thread, so either the future was sent to another thread, and is therefore
// `Send`, and with it the value inside, which is all that the box holds besides `Send` things; or it is still on the
// loop's own thread, and then so is the loop that takes the value out again. If the loop has ended dirty, the value is
// forgotten, not dropped; if it ended cleanly, the value is finished by whoever holds it, under the same argument.
unsafe impl Send for Handed {}

impl Handed {
    pub(crate) fn new(orphan: Box<dyn Orphan>) -> Handed {
        Handed(orphan)
    }

    pub(crate) fn into_inner(self) -> Box<dyn Orphan> {
        self.0
    }
}
