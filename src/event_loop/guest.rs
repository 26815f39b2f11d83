//! L5: a loop inside the loop of somebody else, on the same thread.
//!
//! Nobody waits in the kernel for a guest. Between the host's calls it *dozes*: it has announced sleep, so that other
//! threads kick it, the kernel is allowed to signal the same eventfd, and the next timer is a timeout of the ring's. What is
//! asked of it on its own thread, by futures that the host polls, finds it as the thread's resident loop (see `context`),
//! which calls it. So the descriptor alone says when there is something to do.
//!
//! The order at the end of a turn is that of the inbox: announce, let the kernel signal, fence, look once more at everything.
//! What came before is seen; what comes after signals. The eventfd is cleared at the beginning, before anything is looked at.
//!
//! Completions of a guest's ring are not deferred to the next enter, as those of other loops are: of those the kernel tells by
//! an eventfd only late, or once and never again (`Config::hosted`, `docs/kernels.md`).

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(feature = "tokio-guest")]
use std::task::Waker;
use std::time::Instant;

use super::{Builder, EventLoop, Handle, TURNS_PER_CLOCK_READ};
use crate::context::{self, Resident};
use crate::driver::Metrics;
use crate::ring::Wait;
use crate::sys;
use crate::task::{Before, JoinHandle};

/// How often one turn enters the kernel for entries that it has not taken, or completions that did not fit.
const ENTERS_IN_A_ROW: usize = 16;

/// An event loop whose thread belongs to another loop: glib's, winit's, calloop's, an `epoll_wait` of your own.
///
/// The host watches the descriptor that the guest gives ([`AsFd`]) and calls [`turn`](Guest::turn) when it is readable. That
/// is all: it becomes readable for completions, for timers that are due, for what other threads wake, and for what happens
/// on this thread between the turns. For tokio there is `compat::tokio::Guest` (feature `tokio-guest`), which does it by
/// itself.
///
/// While it lives, it is *the* loop of its thread: whatever polls a future there, the host's executor or the guest's own
/// tasks, operations, timers and [`spawn`](crate::spawn) find it. Futures that are polled on other threads find none there, as
/// ever; [`Handle`] is how other threads reach it. A thread has one guest at most, and runs no other loop beside it.
///
/// # System calls of the host's that wait
/// Completions are written when the thread leaves the kernel, and a thread that waits there is woken for them, whatever signals it
/// blocks. To the host that looks as if it had been stopped and told to go on: `poll(2)`, `nanosleep(2)` and most others go on by themselves;
/// `epoll_wait(2)`, calls on sockets with a timeout and what else signal(7) names under stop signals fail with `EINTR`, which
/// is to be taken for "nothing yet"; a transfer that was under way gives what it has moved so far.
///
/// # Timers
/// They need nothing of the host's. A clock that is [paused](crate::time::pause) moves by
/// [`advance`](crate::time::advance) only: a guest does not know when its host has nothing left to do.
///
/// # Dropping it
/// That ends the loop as dropping an [`EventLoop`] does: tasks are dropped, operations cancelled and waited for, at most for
/// [`Builder::shutdown_timeout`]. Operations whose futures the host still has are cancelled.
///
/// ```
/// use ringtoss::compat::Guest;
/// use rustix::event::{PollFd, PollFlags, poll};
///
/// let guest = Guest::new()?;
/// let task = guest.spawn(async { ringtoss::fs::read("/proc/self/comm").await });
/// while !task.is_finished() {
///     // Here a host waits for other things, too.
///     poll(&mut [PollFd::new(&guest, PollFlags::IN)], None)?;
///     guest.turn(128);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Guest {
    /// Before the loop, so that nothing finds it once it ends.
    _resident: Resident,
    event_loop: EventLoop,
    fd: OwnedFd,
    edge_triggered: bool,
}

impl Builder {
    /// Makes the loop as a guest on this thread.
    ///
    /// # Errors
    /// As [`EventLoop::new`], and `AlreadyExists` if the thread has a loop already.
    pub fn build_guest(&self) -> io::Result<Guest> {
        Guest::of(self.build_as(true)?)
    }
}

impl Guest {
    /// A guest with the default settings.
    ///
    /// # Errors
    /// As [`Builder::build_guest`].
    pub fn new() -> io::Result<Guest> {
        EventLoop::builder().build_guest()
    }

    fn of(event_loop: EventLoop) -> io::Result<Guest> {
        let core = &event_loop.core;
        let Some(resident) = Resident::new(core.clone()) else {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "this thread has an event loop already, and a guest would be its second: use the one that is there, \
                 or another thread",
            ));
        };
        let fd = sys::duplicate(core.inbox.eventfd())?;
        core.driver.borrow_mut().become_guest()?;
        let guest = Guest { _resident: resident, event_loop, fd, edge_triggered: false };
        if !guest.doze() {
            sys::eventfd_signal(&guest.fd);
        }
        Ok(guest)
    }

    /// For a host that watches the descriptor edge-triggered (`EPOLLET`): a turn does not clear it then, which saves a system
    /// call, and every event is an edge.
    pub fn set_edge_triggered(&mut self, edge_triggered: bool) {
        self.edge_triggered = edge_triggered;
    }

    /// Runs what is ready, hands what was asked of the kernel over with one entry (`io_uring_enter(2)`) or none, and hands out
    /// what has completed; repeats this while its own tasks are ready, up to `budget` polls of them. It never waits.
    ///
    /// Gives whether more is ready now: then it is to be called again, and the descriptor is readable, too. Called for nothing
    /// it does no harm, and enters the kernel only if there is a reason.
    ///
    /// # Panics
    /// If it is called from inside of a turn, or while the thread runs another loop.
    pub fn turn(&self, budget: usize) -> bool {
        let core = &self.event_loop.core;
        let _entered = context::enter(core.clone());
        let _before = Before::note();
        core.host.dozing.set(false);
        core.inbox.announce_awake();
        core.driver.borrow_mut().set_quiet(true);
        if !self.edge_triggered {
            sys::eventfd_clear(self.fd.as_raw_fd());
        }
        let (mut left, mut was_full) = (budget.max(1), false);
        loop {
            let (polls, full) = self.event_loop.guest_round(left);
            left -= polls;
            was_full |= full;
            if left == 0 || !self.event_loop.executor.has_ready() {
                break;
            }
        }
        // Where the queue was full, a worker thread of the kernel's may be about to say that its completion did not fit, of which
        // nothing signals: it is looked for once more.
        let more = was_full || !self.doze();
        if more && core.host.waker.borrow().is_none() {
            sys::eventfd_signal(&self.fd);
        }
        more
    }

    /// When the next timer of the loop is due, if there is one. The descriptor becomes readable then, so a host need not look;
    /// it may, to plan ahead. It may be too early, never too late. Other threads and the host's own futures add timers at any
    /// moment.
    pub fn next_deadline(&self) -> Option<Instant> {
        let core = &self.event_loop.core;
        let next = core.timers.borrow_mut().next_deadline().filter(|_| !core.clock.is_paused());
        next.map(|deadline_ns| core.clock.instant(deadline_ns))
    }

    /// A handle by which other threads reach the loop.
    pub fn handle(&self) -> Handle {
        self.event_loop.handle()
    }

    /// Spawns a task onto the loop, to be run in its turns. The future need not be `Send`. [`spawn`](crate::spawn) does the
    /// same.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.event_loop.core.call();
        self.event_loop.spawn(future)
    }

    /// What the loop has done so far.
    pub fn metrics(&self) -> Metrics {
        self.event_loop.metrics()
    }

    /// Has what comes from this thread wake a task of the host's instead of signalling the descriptor. The waker must be one
    /// that runs nothing at once.
    #[cfg(feature = "tokio-guest")]
    pub(crate) fn wake_with(&self, waker: Option<&Waker>) {
        let current = &self.event_loop.core.host.waker;
        let same = match (&*current.borrow(), waker) {
            (Some(current), Some(waker)) => current.will_wake(waker),
            _ => false,
        };
        if !same {
            // Dropped when nothing is borrowed any more.
            let _old = current.replace(waker.cloned());
        }
    }

    /// Has the host call it.
    #[cfg(feature = "tokio-guest")]
    pub(crate) fn wake_host(&self) {
        self.event_loop.core.call();
    }

    /// Sees to it that whatever happens from here on calls the guest. False if something is there already.
    fn doze(&self) -> bool {
        let EventLoop { core, executor, .. } = &self.event_loop;
        self.event_loop.arm_next_deadline();
        let mut driver = core.driver.borrow_mut();
        if executor.has_ready() || !driver.may_sleep() || driver.has_events() {
            return false;
        }
        // It looks again in any case.
        let _anew = core.inbox.announce_sleep();
        driver.set_quiet(false);
        if driver.has_events() || !core.inbox.is_empty() || !executor.remote_is_empty() {
            core.inbox.announce_awake();
            driver.set_quiet(true);
            return false;
        }
        core.host.dozing.set(true);
        true
    }
}

impl EventLoop {
    /// One turn as a guest, of at most so many polls; how many it were, and whether the queue of completions was full.
    fn guest_round(&self, budget: usize) -> (usize, bool) {
        let core = &*self.core;
        self.take_in_mail();
        let polls = self.executor.run_ready(budget).polls;
        // Who knows when the last turn was.
        self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
        if !core.timers.borrow().is_empty() {
            self.fire_timers();
        }
        self.arm_next_deadline();
        let mut full = false;
        {
            let mut driver = core.driver.borrow_mut();
            driver.metrics.turns += 1;
            driver.metrics.polls += polls as u64;
            driver.stage_cancels();
            let room = driver.room_for_completions();
            full |= self.reap(&mut driver) >= room;
            for _ in 0..ENTERS_IN_A_ROW {
                if !driver.needs_enter() {
                    break;
                }
                driver.enter(Wait::No);
                full |= self.reap(&mut driver) >= room;
            }
        }
        core.run_harvest(&mut self.spare.borrow_mut());
        (polls, full)
    }

    /// Has the ring complete something when the next timer is due.
    fn arm_next_deadline(&self) {
        let core = &*self.core;
        let next = core.timers.borrow_mut().next_deadline();
        if let Some(deadline_ns) = next
            && !core.clock.is_paused()
        {
            let in_ns = deadline_ns.saturating_sub(core.clock.now_ns());
            core.driver.borrow_mut().arm_deadline(deadline_ns, in_ns);
        }
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Guest {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
