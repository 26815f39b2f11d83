//! L1: what other threads and loops ask of a loop, by its inbox.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::slot::{Elsewhere, Key, Orphan};
use crate::timer::TimerKey;

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

/// A descriptor on its way to be closed behind every submission that may name it.
#[derive(Debug)]
pub(crate) struct Closing {
    pub fd: RawFd,
    /// `SO_LINGER` is set: the close may take its time and must not hold up the loop.
    pub lingers: bool,
    /// Operations on it that were dropped and are still with the kernel, by loop. They hold the file open.
    pub cancels: Vec<(u64, Key)>,
    /// The loops that it must still visit, the last of which closes it.
    pub visits: Vec<u64>,
}

pub(crate) enum Mail {
    /// A future was dropped elsewhere; this is its operation.
    Orphan(Key, Handed),
    /// A future is awaited elsewhere: leave the result there.
    Watch(Key, Arc<Elsewhere>),
    /// The future that watched was dropped and left its operation in the cell.
    Unwatch(Key, Arc<Elsewhere>),
    /// Ask the kernel to cancel it.
    Cancel(Key),
    /// Close behind everything that was submitted here.
    Close(Closing),
    /// A `Sleep` that was registered here is gone or has moved.
    DropTimer(TimerKey),
}
