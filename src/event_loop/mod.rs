//! L5: the loop itself: the turn, `block_on`, and how it ends.

mod builder;
mod guest;
mod handle;
mod join_set;
mod waiting;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use builder::Builder;
pub(crate) use builder::Settings;
pub use guest::Guest;
pub use handle::Handle;

use crate::blocking;
use crate::clock::Clock;
use crate::context::{self, Core};
use crate::driver::{self, Driver, Harvest, Metrics, Wakes};
use crate::executor::Executor;
use crate::fd;
use crate::guard::{guard, wake_all};
use crate::inbox::Inbox;
use crate::registry;
use crate::ring::{Config, Wait, explain};
use crate::task::{Before, JoinHandle, MainWaker, Waking};
use crate::timer::Timers;
use waiting::Waiting;

/// How many turns without a kernel entry may go by until the clock is read again.
const TURNS_PER_CLOCK_READ: u32 = 16;

/// Up to so many polls a turn goes on with what they wake. Tokio looks around after 61.
const POLLS_IN_FURTHER_ROUNDS: usize = 64;

/// How long an end waits, beyond its time-out, for sockets that are still being closed.
const HURRY: Duration = Duration::from_secs(1);

/// Operations leaked by loops of this process that could not be reaped in time.
static LEAKED: AtomicU64 = AtomicU64::new(0);

/// An event loop: one thread, one io_uring, many futures.
///
/// It is made, run and dropped on one thread (`SINGLE_ISSUER`), so it is neither `Send` nor `Sync`; others reach it
/// through a [`Handle`]. Dropping it drops its tasks, cancels every operation and waits until the kernel has let go of
/// them, at most for [`Builder::shutdown_timeout`]; what cannot be had back by then is leaked, never freed.
///
/// **`fork(2)`**: a loop stays with the process that made it, so `daemonize` and the like come first. In a child that goes on in this
/// program a loop of its parent's panics when it is run, and does nothing when it is dropped, nor are its tasks dropped; what
/// the child makes anew works, the pool for blocking calls included. (A child that runs another program, as `std::process` and [`process`](crate::process)
/// make them, has nothing to do with any of this.)
///
/// ```
/// let event_loop = ringtoss::EventLoop::new()?;
/// let answer = event_loop.block_on(async {
///     let task = ringtoss::spawn(async { 42 });
///     task.await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct EventLoop {
    core: Rc<Core>,
    executor: Rc<Executor>,
    main: MainWaker,
    spare: RefCell<Harvest>,
    due: RefCell<Vec<Waker>>,
    turns_since_clock: Cell<u32>,
    /// What the clock said when this turn looked for timers that are due; 0 if it was not read, or if that is long ago.
    just_read_ns: Cell<u64>,
    budget: usize,
    waiting: Waiting,
    shutdown_timeout: Duration,
    _not_send: PhantomData<*const ()>,
}

/// Wakes the loop's own tasks, and its main future.
struct Own<'a> {
    tasks: Waking<'a>,
    main: &'a MainWaker,
}

impl Wakes for Own<'_> {
    #[inline(always)]
    fn wake(&mut self, waker: Waker) -> Result<(), Waker> {
        self.tasks.wake(waker).or_else(|waker| self.main.take(waker))
    }

    #[inline(always)]
    fn wake_by_ref(&mut self, waker: &Waker) -> bool {
        self.tasks.wake_by_ref(waker) || self.main.wake_if(waker)
    }
}

/// Hands everything that is staged to the kernel when dropped: nobody knows when the loop runs again.
struct Flush<'a>(&'a Core);

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        let mut driver = self.0.driver.borrow_mut();
        if !driver.is_forked() {
            driver.stage_cancels();
            driver.submit_all();
        }
    }
}

/// The rounds of one turn. In the first the tasks run that were ready when the turn began. What they wake runs in the rounds
/// after it, without a look at mail, timers and ring between them, which costs more than a short poll, and what all of them ask
/// of the kernel goes with one entry. That is for a while only; and whoever wakes himself, as `yield_now` does, wants everybody
/// else to be looked at, so a round in which somebody does so is the last.
struct Rounds {
    /// How many polls the next round may have.
    left: usize,
    /// How many there may have been, so that there is a next round.
    further: usize,
    /// Polls of tasks.
    polls: usize,
    first: bool,
    /// Whether mail is looked for at the end, too: the main future was polled after the last look. What it has begun and given
    /// to another thread, which has dropped it, is not to reach the kernel.
    looks_again: bool,
    gave_way: bool,
}

impl Rounds {
    #[inline(always)]
    fn note(&mut self, polls: usize, gave_way: bool) {
        self.further = self.further.saturating_sub(polls);
        self.gave_way |= gave_way;
    }

    /// Whether there may be another round.
    #[inline(always)]
    fn may_go_on(&mut self) -> bool {
        self.left = self.further;
        self.further > 0 && !self.gave_way
    }
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("id", &self.core.id).finish_non_exhaustive()
    }
}

impl EventLoop {
    /// A loop with the default settings.
    ///
    /// # Errors
    /// Where no io_uring can be had; the message names which of seccomp, `kernel.io_uring_disabled`,
    /// `RLIMIT_MEMLOCK`, `RLIMIT_NOFILE` or kernel release it was, and the fix. See `io_uring_setup(2)`.
    pub fn new() -> io::Result<EventLoop> {
        Builder::default().build()
    }

    /// Settings for a loop.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn with_settings(settings: &Settings) -> io::Result<EventLoop> {
        let inbox = Inbox::new(registry::new_id()).map_err(explain)?;
        let config = Config {
            sq_entries: settings.submission_entries,
            cq_entries: settings.completion_entries,
            polled: settings.kernel_thread,
            busy_poll: settings.busy_poll,
            iopoll: false,
            hosted: settings.hosted,
        };
        let mut driver = Driver::new(config, inbox.eventfd())?;
        driver.lease_config = settings.leases;
        driver.files.wanted = settings.registered_files;
        blocking::configure(settings.max_blocking_threads, settings.blocking_keep_alive);
        Ok(EventLoop::on(driver, inbox, settings))
    }

    pub(crate) fn on(mut driver: Driver, inbox: Arc<Inbox>, settings: &Settings) -> EventLoop {
        driver.arena.loop_id = inbox.id();
        let executor = Rc::new(Executor::new(inbox.clone()));
        registry::register(inbox.clone());
        EventLoop {
            core: Rc::new_cyclic(|this| Core {
                id: inbox.id(),
                this: this.clone(),
                driver: RefCell::new(driver),
                timers: RefCell::new(Timers::new()),
                clock: Clock::new(settings.start_paused),
                inbox: inbox.clone(),
                executor: context::Hidden::new(executor.clone()),
                host: context::Host::default(),
            }),
            executor,
            main: MainWaker::new(inbox),
            spare: RefCell::default(),
            due: RefCell::default(),
            turns_since_clock: Cell::new(0),
            just_read_ns: Cell::new(0),
            budget: settings.poll_budget,
            waiting: Waiting::new(settings),
            shutdown_timeout: settings.shutdown_timeout,
            _not_send: PhantomData,
        }
    }

    /// A handle by which other threads reach this loop.
    pub fn handle(&self) -> Handle {
        Handle::new(self.executor.scheduler().clone(), self.core.inbox.clone())
    }

    /// Spawns a task onto this loop; it runs whenever the loop does. The future need not be `Send`.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.executor.spawn(future)
    }

    /// Runs the loop until the future is done, and gives its output. Tasks that are left are kept for the next call; what
    /// they and the future have asked of the kernel (to close something, say) is handed over before this returns.
    ///
    /// # Panics
    /// If this thread is in a loop already, and with the future's own panic.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = context::enter(self.core.clone());
        let _before = Before::note();
        // Dropped after the future.
        let _flush = Flush(&self.core);
        self.catch_up();
        let waker = self.main.waker();
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        self.main.wake();
        loop {
            let mut rounds = self.rounds();
            let ready = loop {
                if self.main.take_woken() {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                        return output;
                    }
                    rounds.note(1, self.main.is_woken());
                    rounds.looks_again = !rounds.first;
                }
                self.run_round(&mut rounds);
                let ready = self.is_ready();
                if !(ready && rounds.may_go_on()) {
                    break ready;
                }
            };
            self.finish_turn(rounds.polls, rounds.looks_again, ready);
        }
    }

    /// Runs the loop until no task is left.
    ///
    /// # Panics
    /// If this thread is in a loop already; if the loop is that of this process's parent.
    pub fn run(&self) {
        let _entered = context::enter(self.core.clone());
        let _before = Before::note();
        self.catch_up();
        while self.executor.live_tasks() > 0 || !self.executor.remote_is_empty() {
            // There is no main future, so nobody is to be kept awake by what its waker has left.
            self.main.take_woken();
            let mut rounds = self.rounds();
            let ready = loop {
                self.run_round(&mut rounds);
                let ready = self.executor.has_ready();
                if !(ready && rounds.may_go_on()) {
                    break ready;
                }
            };
            // It does not sleep when the last task has ended.
            self.finish_turn(rounds.polls, rounds.looks_again, ready || self.executor.live_tasks() == 0);
        }
    }

    /// Does what was asked of the loop while it did not run, so that a listener that was dropped meanwhile is closed before
    /// anything else happens.
    fn catch_up(&self) {
        if self.core.inbox.is_empty() {
            return self.executor.take_remote();
        }
        self.take_in_mail();
        self.core.driver.borrow_mut().submit_all();
        self.core.settle_harvest();
    }

    /// What this loop has done so far.
    pub fn metrics(&self) -> Metrics {
        metrics_of(&self.core)
    }

    // ---- the turn ---------------------------------------------------------------------------------------------

    // One turn: mail, rounds of ready tasks, due timers, one kernel entry, completions.

    #[inline(always)]
    fn rounds(&self) -> Rounds {
        Rounds {
            left: self.budget,
            further: self.budget.min(POLLS_IN_FURTHER_ROUNDS),
            polls: 0,
            first: true,
            looks_again: false,
            gave_way: false,
        }
    }

    /// Polls every task that is ready now, once. The first time it takes in what others have left before.
    #[inline(always)]
    fn run_round(&self, rounds: &mut Rounds) {
        if rounds.first {
            self.take_in_mail();
            rounds.first = false;
        }
        let round = self.executor.run_rounds(rounds.left, rounds.further, || self.main.is_woken());
        rounds.polls += round.polls;
        rounds.note(round.polls, round.gave_way);
    }

    /// Whether the main future or a task is to be polled.
    #[inline(always)]
    fn is_ready(&self) -> bool {
        self.main.is_woken() || self.executor.has_ready()
    }

    /// The rest of a turn. It does not sleep if somebody is `ready`.
    fn finish_turn(&self, polls: usize, looks_again: bool, mut ready: bool) {
        let core = &*self.core;
        if looks_again {
            self.take_in_mail();
            ready |= self.is_ready();
        }
        let has_timers = !core.timers.borrow().is_empty();
        if has_timers {
            self.fire_timers();
            ready |= self.is_ready();
        }
        {
            let mut driver = core.driver.borrow_mut();
            driver.metrics.turns += 1;
            driver.metrics.polls += polls as u64;
            driver.stage_cancels();
            // Tasks that wake each other and ask nothing of the kernel cost no more than that.
            if ready && driver.is_idle() {
                return;
            }
            if !ready && !driver.has_harvest() {
                self.sleep(&mut driver, has_timers);
            } else if driver.needs_enter() {
                driver.enter(Wait::No);
                self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
                self.reap(&mut driver);
            } else {
                self.reap(&mut driver);
            }
            // Mostly every completion has queued a task of this loop's, and nothing is left.
            if !driver.has_harvest() {
                return;
            }
        }
        core.run_harvest(&mut self.spare.borrow_mut());
    }

    /// Hands completions out. Tasks of this loop are queued at once; everybody else is woken when the driver is not borrowed
    /// any more.
    #[inline(never)]
    fn reap(&self, driver: &mut Driver) -> usize {
        driver.reap_waking(self.wakes())
    }

    #[inline(always)]
    fn wakes(&self) -> Own<'_> {
        Own { tasks: self.executor.waking(), main: &self.main }
    }

    #[inline(always)]
    fn take_in_mail(&self) {
        self.executor.take_remote();
        fd::take_in_mail(&self.core);
    }

    fn fire_timers(&self) {
        let core = &*self.core;
        if self.turns_since_clock.get() < TURNS_PER_CLOCK_READ {
            self.turns_since_clock.set(self.turns_since_clock.get() + 1);
            self.just_read_ns.set(0);
            return;
        }
        self.turns_since_clock.set(0);
        let now_ns = core.clock.now_ns();
        let mut due = self.due.borrow_mut();
        core.timers.borrow_mut().expire(now_ns, &mut due);
        // Wakers of others may take their time.
        self.just_read_ns.set(if due.is_empty() { now_ns } else { 0 });
        self.waiting.fired(due.len());
        wake_all(&mut due);
    }

    // ---- the end ----------------------------------------------------------------------------------------------

    /// Ends the loop in the order that keeps every promise.
    fn end(&self) {
        let core = &self.core;
        let _entered = context::enter_nested(core.clone());
        self.executor.take_remote();
        self.executor.shutdown();
        self.take_in_mail();
        core.settle_harvest();
        core.driver.borrow_mut().begin_ending();
        registry::ending(core.id);
        core.inbox.close();
        self.take_in_mail();
        self.executor.shutdown();
        let mut timers = Vec::new();
        core.timers.borrow_mut().expire(u64::MAX, &mut timers);
        wake_all(&mut timers);
        core.driver.borrow_mut().cancel_all();
        if self.reap_all() { self.end_clean() } else { self.end_dirty() }
    }

    /// Waits until the kernel has let go of everything, for a bounded time.
    fn reap_all(&self) -> bool {
        let core = &self.core;
        let start = std::time::Instant::now();
        let mut limit = self.shutdown_timeout;
        let mut hurried = false;
        loop {
            core.settle_harvest();
            let mut driver = core.driver.borrow_mut();
            let reaped = driver.all_reaped();
            if reaped && !driver.has_harvest() && !driver.closes_slowly() {
                return true;
            }
            let mut left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                // What was promised could not be kept in time.
                let promised = !hurried && driver.cancel_promised();
                if hurried || !(reaped || promised) {
                    return false;
                }
                // Only closes are left. Those that linger are interrupted, the others have not begun.
                driver.hurry_closes();
                hurried = true;
                limit = start.elapsed() + HURRY;
                left = HURRY;
            }
            driver.enter(Wait::AtMostNs(left.as_nanos().try_into().unwrap_or(u64::MAX)));
            driver.reap();
        }
    }

    fn end_clean(&self) {
        let core = &self.core;
        let results = core.driver.borrow_mut().take_results();
        for (handed, earlier, cqe) in registry::ended(core.id, results) {
            guard(|| handed.into_inner().finish(earlier, cqe));
        }
        self.close_late();
    }

    fn end_dirty(&self) {
        let core = &self.core;
        // First of all, whatever happens below. The ring stays mapped and open: the kernel may go on writing where it was
        // told to.
        std::mem::forget(core.clone());
        registry::dirty(core.id);
        let (count, states) = core.driver.borrow_mut().give_up();
        LEAKED.fetch_add(count as u64, Ordering::Relaxed);
        states.into_iter().for_each(|state| guard(|| driver::lose(state)));
        self.close_late();
    }

    fn close_late(&self) {
        self.core.driver.borrow_mut().drop_file_table();
        for fd in self.core.driver.borrow_mut().take_late_closes() {
            let _ = crate::sys::close(fd);
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if self.core.driver.borrow().is_forked() {
            // The loop is the parent's, and so is all that its tasks have under way.
            return std::mem::forget(self.core.clone());
        }
        let ended = catch_unwind(AssertUnwindSafe(|| self.end()));
        if let Err(panic) = ended {
            // No code of the user's gets here, so this is a defect of ours. What it must not become is memory that is freed
            // while the kernel has it: ring, slots and mail are leaked.
            std::mem::forget(self.core.clone());
            guard(|| registry::dirty(self.core.id));
            if !std::thread::panicking() {
                resume_unwind(panic);
            }
        }
    }
}

pub(crate) fn metrics_of(core: &Core) -> Metrics {
    let driver = core.driver.borrow();
    Metrics {
        enters: driver.enters(),
        in_flight: driver.in_flight() as u64,
        registered_files: driver.files.taken() as u64,
        leaked: LEAKED.load(Ordering::Relaxed),
        ..driver.metrics
    }
}

/// Runs a future on a new loop with default settings, on this thread. When it is done, other tasks are dropped and
/// operations are reaped.
///
/// ```
/// assert_eq!(ringtoss::block_on(async { 1 + 1 }), 2);
/// ```
///
/// # Panics
/// If no loop can be made, with the cause and the fix (see [`EventLoop::new`]), and if this thread is in a loop already.
pub fn block_on<F: Future>(future: F) -> F::Output {
    if context::current_id() != 0 {
        context::refuse_nested();
    }
    match EventLoop::new() {
        Ok(event_loop) => event_loop.block_on(future),
        Err(error) => panic!("ringtoss: {error}"),
    }
}

/// What the loop of this thread has done so far.
///
/// # Panics
/// Where no loop runs.
pub fn metrics() -> Metrics {
    let core = context::current().unwrap_or_else(|| panic!("{}", context::NO_LOOP));
    metrics_of(&core)
}

/// Spawns a task onto the loop of this thread. The future need not be `Send`; dropping the handle detaches the task.
///
/// ```
/// ringtoss::block_on(async {
///     let local = std::rc::Rc::new(3);
///     let task = ringtoss::spawn(async move { *local + 1 });
///     assert_eq!(task.await.unwrap(), 4);
/// });
/// ```
///
/// # Panics
/// Where no loop runs.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // A loop that ends refuses the future and drops it in here. That is code of the user's, but it finds nothing borrowed,
    // and the loop is entered further down the stack and so stays.
    let spawned = context::with(|core| core.executor.get::<Executor>().spawn(future));
    spawned.unwrap_or_else(|| panic!("{}", context::NO_LOOP))
}
