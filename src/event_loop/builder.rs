//! L5: settings of a loop.

use std::io;
use std::time::Duration;

use super::EventLoop;
use crate::driver::LeaseConfig;
use crate::ring::{BusyPoll, Polled};

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
    pub registered_files: bool,
    pub spin: Duration,
    pub gather: Duration,
    pub busy_poll: Option<BusyPoll>,
    pub kernel_thread: Option<Polled>,
    /// As a guest; nobody sets that but what makes one.
    pub hosted: bool,
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
            registered_files: false,
            spin: Duration::ZERO,
            gather: Duration::ZERO,
            busy_poll: None,
            kernel_thread: None,
            hosted: false,
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
    /// made when first needed, 64 to begin with, and doubled when the kernel runs out and few are back. Those that were
    /// dropped on the loop's thread are used again last in, first out.
    pub fn lease_buffers(mut self, buffer_bytes: usize, most: usize) -> Self {
        self.settings.leases = LeaseConfig { buffer_bytes: buffer_bytes.clamp(64, 1 << 24), most };
        self
    }

    /// Whether files, sockets and pipes that are used often get a place in the ring's table (registered files, of which direct
    /// descriptors are the kind that has nothing else; `IORING_OP_FILES_UPDATE`); default: false, only those that ask for it
    /// do ([`File::register`](crate::fs::File::register) and its kin).
    ///
    /// By its place the kernel finds a file without looking its number up and counting its use, which saves about 50 ns an
    /// operation; to give and take away a place costs about 250 ns, so an object gets one after eight operations. It keeps its
    /// number beside it. So everything works as ever, on other loops too, and where there is no place to be had: the table has
    /// as many as the limit of open files (`RLIMIT_NOFILE`) allows, at most 65,536, and is made when the first file needs it.
    ///
    /// Linux 6.13: before that, a file that is taken off the table stays open until all operations on others that came before
    /// have ended. Where the kernel does that (it is tried out) nothing gets a place, as if this were false.
    /// [`Metrics::registered_files`](crate::Metrics::registered_files) shows whether it works.
    #[doc(alias = "direct descriptors")]
    #[doc(alias = "fixed files")]
    pub fn registered_files(mut self, when_used_often: bool) -> Self {
        self.settings.registered_files = when_used_often;
        self
    }

    /// How long a loop that has nothing to do looks for completions and for what other threads send it before it asks the
    /// kernel to put it to sleep; default 0, it sleeps at once.
    ///
    /// What comes while it looks costs neither the kernel's wake-up (2 to 30 µs, by how deeply the CPU sleeps) nor, from
    /// another thread, the system call that would wake it. In return the CPU is busy for so long before each sleep, which pays
    /// where a loop has a CPU of its own and answers come within about that time; with fewer CPUs than busy threads it takes
    /// time from those it waits for. 10 to 50 µs are usual. A timer that is due ends it. See
    /// [`Metrics::spins_rewarded`](crate::Metrics::spins_rewarded) for whether it helps.
    pub fn spin(mut self, at_most: Duration) -> Self {
        self.settings.spin = at_most;
        self
    }

    /// How long a sleep may last while there are completions already, if more are to be expected; default 0, the first
    /// ends it. Whole microseconds.
    ///
    /// The loop learns from each sleep how many come at once, and has the kernel wait for about that many the next time: fewer
    /// sleeps and entries for many connections that are not in step, at the price of so much latency at most. What comes
    /// alone is not kept waiting. Wake-ups by other threads may be: they are completions to the kernel. Needs Linux 6.12
    /// (`IORING_FEAT_MIN_TIMEOUT`); without it, and beside [`kernel_thread`](Builder::kernel_thread), where kernels before 6.18
    /// forget to wake up, it is as if it were 0.
    pub fn gather(mut self, at_most: Duration) -> Self {
        self.settings.gather = at_most;
        self
    }

    /// Has the kernel poll the network devices of this loop's sockets for so long before a wait sleeps (NAPI busy polling,
    /// `IORING_REGISTER_NAPI`); default 0, it does not. Whole microseconds.
    ///
    /// Where packets come in often it saves the interrupt and what the kernel does before it gets to a socket. It does nothing
    /// for devices that have no NAPI, loopback among them. With `preferred`, interrupts stay deferred while the loop polls
    /// (`SO_PREFER_BUSY_POLL`, see [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html)); that wants the
    /// device's `napi_defer_hard_irqs` and `gro_flush_timeout` set. Linux 6.9; making the loop fails with `Unsupported` where
    /// the kernel has none of it.
    pub fn busy_poll(mut self, at_most: Duration, preferred: bool) -> Self {
        let at_most_us = at_most.as_micros().try_into().unwrap_or(u32::MAX);
        self.settings.busy_poll = (at_most_us > 0).then_some(BusyPoll { at_most_us, preferred });
        self
    }

    /// Has a thread of the kernel's take submissions, so that the loop enters the kernel only to sleep
    /// (`IORING_SETUP_SQPOLL`); default: none, the loop hands them over itself.
    ///
    /// The thread looks for submissions without a pause and sleeps when none came for `idle` (whole milliseconds, at least
    /// one); with `cpu` it runs there. It is a second busy CPU for one loop, which pays where the loop's own CPU is the
    /// bottleneck and another one has nothing else to do. Completions come by interrupts then, not when the loop asks for them
    /// (`DEFER_TASKRUN` cannot be had together with it), which makes most network loads slower; measure. Wake-ups by other
    /// threads go by way of the kernel's thread, too.
    pub fn kernel_thread(mut self, idle: Duration, cpu: Option<u32>) -> Self {
        let idle_ms = idle.as_millis().clamp(1, u32::MAX.into()) as u32;
        self.settings.kernel_thread = Some(Polled { idle_ms, cpu });
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    /// As [`EventLoop::new`]; `Unsupported` where something was asked for that this kernel does not have; and `InvalidInput`
    /// for a CPU that is not there.
    pub fn build(&self) -> io::Result<EventLoop> {
        self.build_as(false)
    }

    pub(super) fn build_as(&self, hosted: bool) -> io::Result<EventLoop> {
        let mut settings = Settings { hosted, ..self.settings.clone() };
        let submission = settings.submission_entries.next_power_of_two();
        settings.completion_entries = settings.completion_entries.next_power_of_two().clamp(submission * 2, 65_536);
        EventLoop::with_settings(&settings)
    }
}
