//! L1: what other threads and loops ask of a loop, by its inbox.

use std::os::fd::RawFd;
use std::sync::Arc;

use crate::slot::{Elsewhere, Handed, Key};
use crate::timer::TimerKey;

/// A descriptor on its way to be closed behind every submission that may name it.
#[derive(Debug)]
pub(crate) struct Closing {
    pub fd: RawFd,
    /// Its place in a loop's table of files, which keeps the file open.
    pub place: Option<(u64, u32)>,
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
    /// A file has left its place in the table.
    LeavePlace(u32),
    /// A registered buffer's memory is gone: its place in the table is free.
    UnregisterMemory(u16),
    /// A `Sleep` that was registered here is gone or has moved.
    DropTimer(TimerKey),
}
