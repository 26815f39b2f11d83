use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Duration, Instant, Sleep, sleep_until};

/// Ticks now and then every `period`.
///
/// The first [tick](Interval::tick) is ready at once. A tick that is taken late is followed up according to the
/// [`MissedTickBehavior`], by default [`Burst`](MissedTickBehavior::Burst).
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration};
///
/// ringtoss::block_on(async {
///     let mut interval = time::interval(Duration::from_millis(2));
///     interval.tick().await; // at once
///     interval.tick().await; // 2 ms later
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start` and then every `period`. In all else it is [`interval`].
///
/// # Panics
///
/// If `period` is zero.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     let start = Instant::now() + Duration::from_millis(2);
///     let mut interval = time::interval_at(start, Duration::from_millis(1));
///     assert_eq!(interval.tick().await, start);
///     assert_eq!(interval.tick().await, start + Duration::from_millis(1));
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "`period` must be non-zero.");
    Interval { delay: sleep_until(start), period, missed_tick_behavior: MissedTickBehavior::default() }
}

/// What an [`Interval`] does when a tick was taken more than 5 ms late.
///
/// With a `period` of 50 ms and a task that is busy for 120 ms after the first tick:
///
/// ```text
/// expected:  0    50   100   150   200   250
/// Burst:     0              120 120 150   200   250
/// Delay:     0              120       170       220
/// Skip:      0              120     150   200   250
/// ```
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, MissedTickBehavior};
///
/// let mut interval = time::interval(Duration::from_millis(50));
/// interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// assert_eq!(interval.missed_tick_behavior(), MissedTickBehavior::Skip);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Every missed tick is made up for at once, until the interval has caught up with its plan.
    #[default]
    Burst,
    /// Missed ticks are forgotten, and the next comes one period after the late one: the plan moves.
    Delay,
    /// Missed ticks are forgotten, and the next comes when the plan has its next: at `start` plus a multiple of the
    /// period.
    Skip,
}

impl MissedTickBehavior {
    /// When to tick after one planned for `planned` was taken at `now`, too late.
    fn next(self, planned: Instant, now: Instant, period: Duration) -> Option<Instant> {
        match self {
            Self::Burst => planned.checked_add(period),
            Self::Delay => now.checked_add(period),
            Self::Skip => {
                let into_period_ns = (now - planned).as_nanos() % period.as_nanos();
                // Less than a period: a remainder beyond u64 nanoseconds is of one that ends in the far future anyhow.
                let into_period = Duration::from_nanos(u64::try_from(into_period_ns).ok()?);
                now.checked_add(period - into_period)
            }
        }
    }
}

/// The ticks of [`interval`] and [`interval_at`].
///
/// It is `Send`, `Sync` and `Unpin`, and belongs to no loop until it is polled, as [`Sleep`].
#[derive(Debug)]
pub struct Interval {
    /// Stands at the next tick.
    delay: Sleep,
    period: Duration,
    missed_tick_behavior: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns the instant for which it was planned, which may lie in the past.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no tick.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread where no event loop runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::time::{self, Duration};
    ///
    /// ringtoss::block_on(async {
    ///     let mut interval = time::interval(Duration::from_millis(1));
    ///     let first = interval.tick().await;
    ///     let second = interval.tick().await;
    ///     assert_eq!(second - first, interval.period());
    /// });
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick; what [`tick`](Interval::tick) awaits. The task that polled last is woken.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.delay).poll(cx));
        let planned = self.delay.deadline();
        let now = Instant::now();
        // Within 5 ms of its time a tick counts as punctual, as with tokio, or jitter would shift the plan.
        let punctual_until = planned.checked_add(Duration::from_millis(5));
        let next = if punctual_until.is_some_and(|until| now > until) {
            self.missed_tick_behavior.next(planned, now, self.period)
        } else {
            planned.checked_add(self.period)
        };
        // The delay has fired, so this registers nothing: the next poll does.
        Pin::new(&mut self.delay).reset(next.unwrap_or_else(Instant::far_future));
        Poll::Ready(planned)
    }

    /// Plans the next tick for one period from now, whatever was planned.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::time::{self, Duration, Instant};
    ///
    /// ringtoss::block_on(async {
    ///     time::pause();
    ///     let mut interval = time::interval(Duration::from_millis(100));
    ///     interval.tick().await;
    ///     time::sleep(Duration::from_millis(50)).await;
    ///     let now = Instant::now();
    ///     interval.reset();
    ///     assert_eq!(interval.tick().await, now + Duration::from_millis(100));
    /// });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Plans the next tick for now, and those that follow from there.
    pub fn reset_immediately(&mut self) {
        self.reset_at(Instant::now());
    }

    /// Plans the next tick for `after` from now, and those that follow from there.
    pub fn reset_after(&mut self, after: Duration) {
        self.reset_at(Instant::after(after));
    }

    /// Plans the next tick for `deadline`, and those that follow from there. A deadline in the past is due at once.
    pub fn reset_at(&mut self, deadline: Instant) {
        Pin::new(&mut self.delay).reset(deadline);
    }

    /// What happens after a tick that was taken late.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed_tick_behavior
    }

    /// Chooses what happens after a tick that is taken late.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed_tick_behavior = behavior;
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

const _: () = {
    const fn sendable<T: Send + Sync + Unpin + 'static>() {}
    sendable::<Interval>();
};
