//! L4: the pool for calls that block. One for the process, bounded, grown on demand.

use std::collections::VecDeque;
use std::io;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::inbox::sync::{Condvar, Mutex, MutexGuard, thread};
#[cfg(not(all(test, loom)))]
use crate::sys::fork;
use crate::task::{self, BlockingJob, JoinHandle};

struct Pool {
    state: Mutex<State>,
    /// Something for an idle thread to do: a job, or to leave.
    called: Condvar,
}

struct State {
    jobs: VecDeque<BlockingJob>,
    threads: usize,
    idle: usize,
    running: usize,
    next_name: u64,
    max_threads: usize,
    keep_alive: Duration,
}

#[cfg(not(all(test, loom)))]
static POOL: Pool = Pool { state: Mutex::new(State::NEW), called: Condvar::new() };
/// Models make pools of their own; this one is not used.
#[cfg(all(test, loom))]
static POOL: std::sync::LazyLock<Pool> = std::sync::LazyLock::new(Pool::new);

/// Changes the pool's bound and how long idle threads stay.
pub(crate) fn configure(max_threads: Option<usize>, keep_alive: Option<Duration>) {
    POOL.configure(max_threads, keep_alive);
}

/// Jobs that wait or run.
pub(crate) fn outstanding() -> usize {
    POOL.outstanding()
}

/// Queues a job, and starts a thread for it if none is idle and the bound allows.
///
/// # Errors
/// If there is no thread and none can be started; the job is dropped unrun.
pub(crate) fn submit(job: BlockingJob) -> io::Result<()> {
    #[cfg(not(all(test, loom)))]
    {
        static KNOWN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        fork::keep(&KNOWN, keep);
    }
    POOL.submit(job)
}

/// While a thread forks. The child has none of the threads: what they had to do, they do in the parent.
#[cfg(not(all(test, loom)))]
fn keep() -> fork::Held {
    fork::held(POOL.state(), |state, process| {
        if process == fork::Process::Child {
            (state.threads, state.idle, state.running) = (0, 0, 0);
            std::mem::forget(std::mem::take(&mut state.jobs));
        }
    })
}

impl State {
    const NEW: State = State {
        jobs: VecDeque::new(),
        threads: 0,
        idle: 0,
        running: 0,
        next_name: 0,
        max_threads: 512,
        keep_alive: Duration::from_secs(10),
    };
}

impl Pool {
    #[cfg(all(test, loom))]
    fn new() -> Pool {
        Pool { state: Mutex::new(State::NEW), called: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Jobs run outside the lock, and nothing under it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self, max_threads: Option<usize>, keep_alive: Option<Duration>) {
        if max_threads.is_none() && keep_alive.is_none() {
            return;
        }
        let mut state = self.state();
        state.max_threads = max_threads.unwrap_or(state.max_threads).max(1);
        state.keep_alive = keep_alive.unwrap_or(state.keep_alive);
        drop(state);
        self.called.notify_all();
    }

    fn outstanding(&self) -> usize {
        let state = self.state();
        state.jobs.len() + state.running
    }

    fn submit(&'static self, job: BlockingJob) -> io::Result<()> {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            drop(state);
            self.called.notify_one();
            return Ok(());
        }
        if state.threads >= state.max_threads {
            return Ok(());
        }
        state.threads += 1;
        state.next_name += 1;
        let name = format!("ringtoss-blocking-{}", state.next_name);
        drop(state);
        let Err(error) = thread::Builder::new().name(name).spawn(move || self.work()) else { return Ok(()) };
        let mut state = self.state();
        state.threads -= 1;
        if state.threads > 0 {
            // Others will come to it.
            return Ok(());
        }
        let unrun = std::mem::take(&mut state.jobs);
        drop(state);
        drop(unrun);
        Err(io::Error::new(
            error.kind(),
            format!("no thread could be started for a call that blocks (see ulimit -u): {error}"),
        ))
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.running += 1;
                drop(state);
                #[cfg(not(all(test, loom)))]
                let process = fork::generation();
                job.run();
                #[cfg(not(all(test, loom)))]
                if fork::generation() != process {
                    // The job has forked, and this is the child, whose pool knows nothing of this thread.
                    return;
                }
                state = self.state();
                state.running -= 1;
                continue;
            }
            if state.threads > state.max_threads {
                break;
            }
            state.idle += 1;
            let since = Instant::now();
            let mut left = state.keep_alive;
            while state.jobs.is_empty() && !left.is_zero() && state.threads <= state.max_threads {
                state = self.called.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                left = state.keep_alive.saturating_sub(since.elapsed());
            }
            state.idle -= 1;
            if state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

/// Runs a call that blocks on a thread of the process's pool, which grows on demand up to
/// [`Builder::max_blocking_threads`](crate::Builder::max_blocking_threads) and shrinks when idle. Works from any thread,
/// with or without a loop. A panic reaches the handle; dropping the handle detaches the call, which cannot be stopped once
/// it has begun; [`JoinHandle::abort`] keeps it from beginning. If no thread can be had at all, the handle says that it was
/// cancelled.
///
/// ```
/// let sum = ringtoss::block_on(async {
///     ringtoss::spawn_blocking(|| (1..=100).sum::<u32>()).await.unwrap()
/// });
/// assert_eq!(sum, 5050);
/// ```
pub fn spawn_blocking<F, T>(call: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (job, handle) = task::blocking(call);
    // An error means that the job was dropped, which the handle tells.
    let _ = submit(job);
    handle
}

/// The same for the crate's own calls, whose errors are `io::Error`s.
pub(crate) async fn run<F, T>(call: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    start(call)?.await.map_err(io::Error::other)?
}

/// The same for whoever keeps the call itself.
pub(crate) fn start<F, T>(call: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (job, handle) = task::blocking(call);
    submit(job)?;
    Ok(handle)
}

#[cfg(all(test, loom, shuttle))]
mod shuttle_tests;
