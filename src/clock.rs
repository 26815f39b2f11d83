//! The loop's clock: the one place that reads the time.
//!
//! It counts nanoseconds since the loop was made, and can be frozen and moved by hand for tests.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The system's monotonic clock, for code that runs on no loop.
pub(crate) fn system_now() -> Instant {
    Instant::now()
}

/// One loop's time, in nanoseconds since its base.
pub(crate) struct Clock {
    base: Instant,
    /// What had passed when the clock was last frozen; 0 if it never was.
    frozen_ns: Cell<u64>,
    /// Since when it has been running, or `None` while it is paused. Before the first pause this is `base`,
    /// so that loop time and system time are the same.
    running_since: Cell<Option<Instant>>,
    /// Whether it never was paused.
    never_paused: Cell<bool>,
}

impl Clock {
    pub fn new(start_paused: bool) -> Self {
        let base = system_now();
        Self {
            base,
            frozen_ns: Cell::new(0),
            running_since: Cell::new((!start_paused).then_some(base)),
            never_paused: Cell::new(!start_paused),
        }
    }

    /// Nanoseconds since the base: a fresh read, or the frozen value.
    pub fn now_ns(&self) -> u64 {
        let frozen_ns = self.frozen_ns.get();
        match self.running_since.get() {
            Some(since) => frozen_ns.saturating_add(saturating_ns(system_now().duration_since(since))),
            None => frozen_ns,
        }
    }

    /// The present, as [`Clock::instant`] of [`Clock::now_ns`], without the way there and back where it is not needed.
    #[inline]
    pub fn now(&self) -> Instant {
        if self.never_paused.get() { system_now() } else { self.instant(self.now_ns()) }
    }

    /// Whether loop time and system time are the same, because it never was paused.
    #[inline]
    pub fn is_the_systems(&self) -> bool {
        self.never_paused.get()
    }

    /// The instant at `ns` nanoseconds after the base.
    pub fn instant(&self, ns: u64) -> Instant {
        // Linux counts seconds in an i64: the base plus 584 years is far from its end.
        self.base + Duration::from_nanos(ns)
    }

    /// The first nanosecond of this clock at which `instant` has come; `u64::MAX` for what lies beyond.
    ///
    /// Both sides count whole nanoseconds, so this is exact and nothing can fire early.
    pub fn ns_of(&self, instant: impl Into<Instant>) -> u64 {
        saturating_ns(instant.into().saturating_duration_since(self.base))
    }

    pub fn is_paused(&self) -> bool {
        self.running_since.get().is_none()
    }

    /// Freezes the clock. Does nothing if it is frozen.
    pub fn pause(&self) {
        self.frozen_ns.set(self.now_ns());
        self.running_since.set(None);
        self.never_paused.set(false);
    }

    /// Lets the clock run on from the frozen value. Does nothing if it runs.
    pub fn resume(&self) {
        if self.is_paused() {
            self.running_since.set(Some(system_now()));
        }
    }

    /// Moves a frozen clock forward.
    pub fn advance(&self, by: Duration) {
        assert!(self.is_paused(), "only a frozen clock can be moved");
        self.frozen_ns.set(self.frozen_ns.get().saturating_add(saturating_ns(by)));
    }

    /// Moves a frozen clock forward to `ns`; never back.
    pub fn jump_to_ns(&self, ns: u64) {
        assert!(self.is_paused(), "only a frozen clock can be moved");
        self.frozen_ns.set(self.frozen_ns.get().max(ns));
    }
}

fn saturating_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_clock_agrees_with_the_system() {
        let clock = Clock::new(false);
        let before = system_now();
        let now = clock.instant(clock.now_ns());
        assert!(before <= now && now <= clock.now() && clock.now() <= system_now());
        assert_eq!(clock.ns_of(clock.instant(123_456_789)), 123_456_789);
    }

    #[test]
    fn a_paused_clock_moves_by_hand_only() {
        let clock = Clock::new(true);
        assert!(clock.is_paused());
        assert_eq!(clock.now_ns(), 0);
        clock.advance(Duration::from_nanos(7));
        assert_eq!(clock.now_ns(), 7);
        clock.jump_to_ns(5);
        assert_eq!(clock.now_ns(), 7);
        clock.jump_to_ns(9);
        assert_eq!(clock.now_ns(), 9);
        assert_eq!(clock.now(), clock.instant(9));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now_ns(), u64::MAX);
    }

    #[test]
    fn resuming_continues_where_the_clock_stood() {
        let clock = Clock::new(true);
        clock.advance(Duration::from_secs(3600));
        clock.resume();
        assert!(!clock.is_paused());
        let hour_ns = 3_600_000_000_000;
        assert!(clock.now_ns() >= hour_ns);
        clock.resume();
        assert!(clock.now_ns() >= hour_ns);
        clock.pause();
        let frozen = clock.now_ns();
        assert_eq!(clock.now(), clock.instant(frozen));
        clock.pause();
        assert_eq!(clock.now_ns(), frozen);
    }

    #[test]
    fn instants_out_of_range_saturate() {
        let clock = Clock::new(false);
        let past = clock.base.checked_sub(Duration::from_nanos(1)).unwrap_or(clock.base);
        assert_eq!(clock.ns_of(past), 0);
        let far = clock.base + Duration::from_secs(600 * 365 * 86_400);
        assert_eq!(clock.ns_of(far), u64::MAX);
    }
}
