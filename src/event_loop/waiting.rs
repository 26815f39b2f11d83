//! L5: how a loop waits when it has nothing to run: for how long it looks before it sleeps, and for how much it sleeps.

use std::cell::Cell;
use std::hint::spin_loop;
use std::time::Duration;

use super::{EventLoop, Settings, TURNS_PER_CLOCK_READ};
use crate::blocking;
use crate::driver::Driver;
use crate::ring::Wait;

/// How often a spinning loop looks between two looks at the clock, which cost more.
const LOOKS_PER_CLOCK_READ: u32 = 32;

/// A sleep waits for no more completions than that.
const BATCH_AT_MOST: u32 = 256;

/// So often a loop goes on taking what has come, before those run who wait for it.
const DRAINS_AT_MOST: u32 = 8;

/// So many timers that were due since the last sleep are a crowd, and the next sleep is not shorter than this. `epoll_wait(2)` lets timers be
/// as late (prctl(2), `PR_SET_TIMERSLACK`); the ring's wait does not, and a sleep of a few microseconds is one that the kernel is
/// busy for all the time.
const CROWD: usize = 4;
const SHORTEST_IN_CROWD_NS: u64 = 50_000;

/// The same of a throng. A sleep with a time limit costs some fifteen microseconds, on a virtual machine, which such a number has to be
/// worth; most runtimes' timers are late by up to a millisecond whatever their number.
const THRONG: usize = 32;
const SHORTEST_IN_THRONG_NS: u64 = 200_000;

/// So many sleeps a loop that was called by other threads says each time that it is awake again, so that nobody calls it for nothing;
/// then it finds out whether anybody still would.
const WARY: u32 = 256;

/// The ways of waiting that were asked for. By default a loop that has nothing to do sleeps at once, until one completion is
/// there.
pub(super) struct Waiting {
    /// How long it looks before it sleeps.
    spin_ns: u64,
    /// How long a sleep may wait for more than one completion; 0 if it may not.
    gather_ns: u64,
    /// For how many.
    gather: Cell<u32>,
    /// How many timers were due since the last sleep.
    fired: Cell<usize>,
    /// How many sleeps it is to say that it is awake again, by the announcement of which it is called. Always, where it looks for a while
    /// before each: it is not to be called then.
    wary: Cell<u32>,
}

impl Waiting {
    pub(super) fn new(settings: &Settings) -> Waiting {
        let ns = |duration: Duration| duration.as_nanos().try_into().unwrap_or(u64::MAX);
        Waiting {
            spin_ns: ns(settings.spin),
            gather_ns: ns(settings.gather),
            gather: Cell::new(1),
            fired: Cell::new(0),
            wary: Cell::new(if settings.spin.is_zero() { 0 } else { u32::MAX }),
        }
    }

    /// Whether the announcement that the loop sleeps may stand while it is awake: nobody has called it for long. It was made `anew` if
    /// somebody has.
    #[inline(always)]
    fn lets_stand(&self, anew: bool) -> bool {
        (self.wary.get() == 0 && !anew) || self.count_sleep()
    }

    #[cold]
    fn count_sleep(&self) -> bool {
        let wary = match self.wary.get() {
            // Somebody has called, or it sleeps for the first time.
            0 => WARY,
            u32::MAX => return false,
            wary => wary - 1,
        };
        self.wary.set(wary);
        wary == 0
    }

    /// So many timers were due.
    pub(super) fn fired(&self, count: usize) {
        self.fired.set(self.fired.get().saturating_add(count));
    }

    /// For how long to sleep for a timer that is due in so many nanoseconds, after so many were due since the last sleep. In a crowd it comes with
    /// those that are due a little later; what the loop has spent looking counts.
    fn for_timer(&self, in_ns: u64, fired: usize) -> u64 {
        let shortest_ns = match fired {
            THRONG.. => SHORTEST_IN_THRONG_NS,
            CROWD.. => SHORTEST_IN_CROWD_NS,
            _ => return in_ns,
        };
        in_ns.max(shortest_ns.saturating_sub(self.spin_ns))
    }

    /// Makes of a wait for one completion one for several, where that can be had without waiting for longer than was asked.
    fn gathering(&self, wait: Wait) -> Wait {
        let (several, within_ns) = (self.gather.get(), self.gather_ns);
        match wait {
            _ if several < 2 => wait,
            Wait::Completion => Wait::Gather { several, within_ns, at_most_ns: None },
            Wait::AtMostNs(ns) if ns > within_ns => Wait::Gather { several, within_ns, at_most_ns: Some(ns) },
            other => other,
        }
    }

    /// Learns from a sleep how many completions it is worth to wait for: as many as come anyway. One that comes alone is not
    /// kept waiting the next time.
    fn learn(&self, came: u32) {
        let several = self.gather.get();
        self.gather.set(if came > several {
            came.min(BATCH_AT_MOST)
        } else if came == several && several > 1 {
            // As many as were asked for is what the kernel stops at: there may have been more to come.
            (several + 1).min(BATCH_AT_MOST)
        } else {
            (came - came / 4).max(1)
        });
    }
}

impl EventLoop {
    /// Waits: looks for a while if that was asked for, then announces that the loop sleeps, looks once more for what others
    /// have left, and waits in the kernel.
    #[inline(never)]
    pub(super) fn sleep(&self, driver: &mut Driver, has_timers: bool) {
        let core = &*self.core;
        if driver.may_go_by_call() && self.attempt(driver) {
            return;
        }
        if self.waiting.spin_ns > 0 && self.spin(driver) {
            return;
        }
        let paused = core.clock.is_paused();
        if paused && driver.has_thread() {
            // What completes at once is to have completed before the clock jumps: what was asked for, and what follows of it.
            driver.let_thread_settle();
            driver.let_thread_settle();
            if driver.has_harvest() {
                self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
                return;
            }
        }
        if !driver.may_sleep() {
            // No interrupt tells when what is polled for is done, or there is something to hand out. It has not announced sleep, so
            // what others leave it sees with the next turn.
            driver.enter(Wait::No);
            self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
            self.reap(driver);
            return;
        }
        debug_assert!(!driver.has_harvest(), "who is to be told of something is told before the loop sleeps");
        let anew = core.inbox.announce_sleep();
        // Where an announcement stands, who has left something since the loop looked calls it, and it does not sleep. But a clock
        // that is to jump does not wait for that.
        let called = (anew || paused) && self.is_called();
        let wait = if called { Wait::No } else { self.how_long(has_timers) };
        if wait != Wait::No {
            driver.metrics.sleeps += 1;
            driver.enter(if self.waiting.gather_ns > 0 { self.waiting.gathering(wait) } else { wait });
        } else if driver.needs_enter() {
            driver.enter(Wait::No);
        }
        if !self.waiting.lets_stand(anew) {
            core.inbox.announce_awake();
        }
        self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
        let mut count = self.reap(driver);
        if std::mem::take(&mut driver.asks_files) && driver.needs_enter() {
            count += self.drain(driver);
        }
        if self.waiting.gather_ns > 0 && wait != Wait::No {
            self.waiting.learn(count as u32);
        }
        if paused && !called && count == 0 {
            self.jump();
        }
    }

    /// Takes what else has come: one enter hands out about twenty deferred completions. For what is done by devices it pays to take all
    /// of them before anybody goes on, since each time that a device is told of the next requests is dear (on a virtual
    /// machine it is an exit from that), and what was taken apart once goes on in small batches.
    #[cold]
    fn drain(&self, driver: &mut Driver) -> usize {
        let mut count = 0;
        for _ in 0..DRAINS_AT_MOST {
            driver.enter(Wait::No);
            let came = self.reap(driver);
            count += came;
            // Linux 7.3 may leave the mark of deferred work set where there is none.
            if came == 0 || !driver.needs_enter() {
                break;
            }
        }
        count
    }

    /// Moves the one datagram or makes the one read that is to be handed over, instead of entering for it.
    #[cold]
    #[inline(never)]
    fn attempt(&self, driver: &mut Driver) -> bool {
        if !driver.attempt(self.wakes()) {
            return false;
        }
        self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
        true
    }

    /// Whether others have left something.
    fn is_called(&self) -> bool {
        !self.core.inbox.is_empty() || !self.executor.remote_is_empty() || self.main.is_woken()
    }

    /// Looks for what may come, for a while. Whether something came.
    ///
    /// The loop has not announced sleep, so nobody kicks it: to others it is awake, and like every loop that is awake it looks
    /// once more after it has announced. So spinning adds nothing to the protocol of the inbox.
    #[inline(never)]
    fn spin(&self, driver: &mut Driver) -> bool {
        let core = &*self.core;
        if core.clock.is_paused() {
            return false;
        }
        if driver.needs_enter() {
            driver.enter(Wait::No);
        }
        self.just_read_ns.set(0);
        let mut until_ns = None;
        loop {
            for _ in 0..LOOKS_PER_CLOCK_READ {
                if !driver.is_idle() || self.is_called() {
                    if driver.needs_enter() {
                        driver.enter(Wait::No);
                    }
                    self.turns_since_clock.set(TURNS_PER_CLOCK_READ);
                    let came = self.reap(driver) > 0 || driver.has_harvest() || self.is_called();
                    // If not, the kernel has said that there is work after the work was done, and goes on saying it: who believed it
                    // would look for ever.
                    driver.metrics.spins_rewarded += u64::from(came);
                    driver.metrics.spins_in_vain += u64::from(!came);
                    return came;
                }
                spin_loop();
            }
            let now_ns = core.clock.now_ns();
            // The clock is read only when nothing has come at once.
            let until_ns = *until_ns.get_or_insert_with(|| {
                let deadline_ns = core.timers.borrow_mut().next_deadline().unwrap_or(u64::MAX);
                now_ns.saturating_add(self.waiting.spin_ns).min(deadline_ns)
            });
            if now_ns >= until_ns {
                driver.metrics.spins_in_vain += 1;
                return false;
            }
        }
    }

    #[inline(always)]
    fn how_long(&self, has_timers: bool) -> Wait {
        if has_timers {
            return self.how_long_for_timers();
        }
        self.waiting.fired.set(0);
        Wait::Completion
    }

    #[inline(never)]
    fn how_long_for_timers(&self) -> Wait {
        let core = &*self.core;
        let mut timers = core.timers.borrow_mut();
        let Some(deadline_ns) = timers.next_deadline() else { return Wait::Completion };
        drop(timers);
        if core.clock.is_paused() {
            // Others may have work for this loop that does not depend on its clock.
            return if blocking::outstanding() > 0 { Wait::AtMostNs(1_000_000) } else { Wait::No };
        }
        // Between the look for timers that are due and this there is next to nothing; a second read would cost more.
        let now_ns = match self.just_read_ns.replace(0) {
            0 => core.clock.now_ns(),
            now_ns => now_ns,
        };
        match deadline_ns.saturating_sub(now_ns) {
            // No sleep: those that were due count for the next one.
            0 => Wait::No,
            ns => Wait::AtMostNs(self.waiting.for_timer(ns, self.waiting.fired.take())),
        }
    }

    /// A paused clock goes on to the next deadline when nothing else is left to do.
    fn jump(&self) {
        let core = &*self.core;
        let next = core.timers.borrow_mut().next_deadline();
        if let Some(deadline_ns) = next
            && blocking::outstanding() == 0
        {
            core.clock.jump_to_ns(deadline_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(gather_us: u64) -> Waiting {
        Waiting::new(&Settings { gather: Duration::from_micros(gather_us), ..Settings::default() })
    }

    #[test]
    fn what_comes_alone_is_not_kept_waiting() {
        let waiting = waiting(50);
        for _ in 0..10 {
            assert_eq!(waiting.gathering(Wait::Completion), Wait::Completion);
            waiting.learn(1);
        }
    }

    #[test]
    fn a_crowd_is_waited_for_until_it_goes() {
        let waiting = waiting(50);
        waiting.learn(40);
        let within_ns = 50_000;
        assert_eq!(waiting.gathering(Wait::Completion), Wait::Gather { several: 40, within_ns, at_most_ns: None });
        waiting.learn(40);
        assert_eq!(waiting.gather.get(), 41, "there may be more");
        for came in [30, 10, 4, 1] {
            waiting.learn(came);
            assert!(waiting.gather.get() <= came.max(1));
        }
        waiting.learn(0);
        assert_eq!(waiting.gathering(Wait::Completion), Wait::Completion);
        waiting.learn(100_000);
        assert_eq!(waiting.gather.get(), BATCH_AT_MOST);
    }

    #[test]
    fn timers_that_come_in_crowds_are_waited_for_together() {
        let idle = waiting(0);
        idle.fired(3);
        idle.fired(1);
        assert_eq!(idle.fired.take(), 4);
        assert_eq!(idle.for_timer(2_000, 3), 2_000, "a few are no crowd");
        assert_eq!(idle.for_timer(2_000, 4), 50_000);
        assert_eq!(idle.for_timer(60_000, 4), 60_000);
        assert_eq!(idle.for_timer(2_000, 31), 50_000);
        assert_eq!(idle.for_timer(2_000, 32), 200_000);
        assert_eq!(idle.for_timer(201_000, 1_000), 201_000);
        let spinning = |us| Waiting::new(&Settings { spin: Duration::from_micros(us), ..Settings::default() });
        assert_eq!(spinning(20).for_timer(2_000, 4), 30_000);
        assert_eq!(spinning(60).for_timer(2_000, 4), 2_000, "it has looked for longer than that");
    }

    #[test]
    fn a_loop_that_nobody_calls_says_once_that_it_sleeps() {
        let waiting = waiting(0);
        // The first time it says so anew, and finds out that nobody calls.
        assert!(!waiting.lets_stand(true));
        for _ in 1..WARY {
            assert!(!waiting.lets_stand(true));
        }
        assert!(waiting.lets_stand(true));
        for _ in 0..3 {
            assert!(waiting.lets_stand(false));
        }
        // Somebody has called.
        for _ in 0..WARY {
            assert!(!waiting.lets_stand(true));
        }
        assert!(waiting.lets_stand(true) && waiting.lets_stand(false));
        let spinning = Waiting::new(&Settings { spin: Duration::from_micros(20), ..Settings::default() });
        assert!(!(0..3 * WARY).any(|_| spinning.lets_stand(true)));
    }

    #[test]
    fn no_wait_gets_longer() {
        let waiting = waiting(50);
        waiting.learn(9);
        assert_eq!(waiting.gathering(Wait::No), Wait::No);
        assert_eq!(waiting.gathering(Wait::AtMostNs(50_000)), Wait::AtMostNs(50_000));
        let long = Wait::Gather { several: 9, within_ns: 50_000, at_most_ns: Some(50_001) };
        assert_eq!(waiting.gathering(Wait::AtMostNs(50_001)), long);
    }
}
