//! What a loop counts.

/// Counts of what a loop has done since it was made. See [`EventLoop::metrics`](crate::EventLoop::metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Calls of `io_uring_enter(2)`. A datagram or a read of a file that is all there is to do goes by a call of its own instead, which is
    /// not counted.
    pub enters: u64,
    /// Of these, how many were to wait: the loop had nothing to do.
    pub sleeps: u64,
    /// Sleeps that looking spared, because something came ([`Builder::spin`](crate::Builder::spin)).
    pub spins_rewarded: u64,
    /// Times that nothing came until the loop slept after all.
    pub spins_in_vain: u64,
    /// Entries submitted.
    pub submissions: u64,
    /// Completions harvested.
    pub completions: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Completions of operations that no longer existed. Always 0 unless something is wrong.
    pub stale_completions: u64,
    /// Operations in flight now.
    pub in_flight: u64,
    /// Files that have a place in the loop's table now ([`Builder::registered_files`](crate::Builder::registered_files)).
    pub registered_files: u64,
    /// Transfers of files whose device was asked whether they were done ([`File::set_iopoll`](crate::fs::File::set_iopoll)).
    pub polled_transfers: u64,
    /// Operations given up when loops of this process ended before the kernel had let go of them: their memory is leaked.
    pub leaked: u64,
}
