//! L5: settings of a loop.

use std::io;
use std::time::Duration;

use super::EventLoop;
use crate::driver::LeaseConfig;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub submission_entries: u32,
    pub completion_entries: u32,
    pub poll_budget: usize,
    pub start_paused: bool,
    pub shutdown_timeout: Duration,
    pub max_blocking_threads: Option<usize>,
    pub blocking_keep_alive: Option<Duration>,
    pub leases: LeaseConfig,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            submission_entries: 256,
            completion_entries: 1024,
            poll_budget: 512,
            start_paused: false,
            shutdown_timeout: Duration::from_secs(5),
            max_blocking_threads: None,
            blocking_keep_alive: None,
            leases: LeaseConfig::default(),
        }
    }
}

/// Settings of an [`EventLoop`], made by [`EventLoop::builder`].
///
/// ```
/// use std::time::Duration;
/// let event_loop = ringtoss::EventLoop::builder()
///     .submission_entries(64)
///     .shutdown_timeout(Duration::from_secs(1))
///     .build()?;
/// event_loop.block_on(async {});
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "settings do nothing until a loop is built"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// Entries of the submission queue, rounded up to a power of two, at most 32,768; default 256. It bounds how many
    /// submissions go to the kernel with one entry, not how many operations are in flight. The completion queue is made
    /// four times as large unless [`completion_entries`](Self::completion_entries) is called after.
    pub fn submission_entries(mut self, entries: u32) -> Self {
        self.settings.submission_entries = entries.clamp(1, 32_768);
        self.settings.completion_entries = self.settings.submission_entries * 4;
        self
    }

    /// Entries of the completion queue, rounded up to a power of two and at least twice those of the submission queue;
    /// default 1,024. More completions than that are kept by the kernel, at some cost, and never lost.
    pub fn completion_entries(mut self, entries: u32) -> Self {
        self.settings.completion_entries = entries.clamp(2, 65_536);
        self
    }

    /// How many polls of tasks one turn makes at most before it looks for completions again; default 512, at least 128.
    pub fn poll_budget(mut self, polls: usize) -> Self {
        self.settings.poll_budget = polls.max(128);
        self
    }

    /// Starts with the clock paused, for tests: see [`time::pause`](crate::time::pause). Default: false.
    pub fn start_paused(mut self, paused: bool) -> Self {
        self.settings.start_paused = paused;
        self
    }

    /// How long a loop that ends waits for the kernel to let go of operations, which it has cancelled; default 5 s. What
    /// is not back by then is leaked with the ring, and counted in [`Metrics::leaked`](crate::Metrics::leaked).
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// How many threads the process's pool for calls that block may have; default 512. The pool is shared by all loops,
    /// so the last loop built decides.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.settings.max_blocking_threads = Some(threads.max(1));
        self
    }

    /// How long an idle thread of that pool stays; default 10 s.
    pub fn blocking_keep_alive(mut self, keep_alive: Duration) -> Self {
        self.settings.blocking_keep_alive = Some(keep_alive);
        self
    }

    /// The buffers that are received into where the caller gives none ([`Lease`](crate::buf::Lease)): bytes of each, default
    /// 8,192, and how many there may be, default 4,096, at least 64 and at most 32,768, rounded up to a power of two. They are
    /// made when first needed, 64 to begin with, and doubled when the kernel runs out.
    pub fn lease_buffers(mut self, buffer_bytes: usize, most: usize) -> Self {
        self.settings.leases = LeaseConfig { buffer_bytes: buffer_bytes.clamp(64, 1 << 24), most };
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    /// As [`EventLoop::new`].
    pub fn build(&self) -> io::Result<EventLoop> {
        let mut settings = self.settings.clone();
        let submission = settings.submission_entries.next_power_of_two();
        settings.completion_entries = settings.completion_entries.next_power_of_two().clamp(submission * 2, 65_536);
        EventLoop::with_settings(&settings)
    }
}
