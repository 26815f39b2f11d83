use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use super::Duration;
use crate::clock;
use crate::context;

/// A point in time, as the current loop's clock counts it.
///
/// It is [`std::time::Instant`] in all but [`Instant::now`], which reads the clock of the loop that runs on
/// this thread. That clock can be [paused](super::pause) and [advanced](super::advance) in tests; unless it is,
/// both agree. On threads without a loop, `now` is std's.
///
/// Read from `CLOCK_MONOTONIC` ([clock_gettime(2)]), in nanoseconds.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     let start = Instant::now();
///     time::sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
///
/// [clock_gettime(2)]: https://man7.org/linux/man-pages/man2/clock_gettime.2.html
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    std: std::time::Instant,
}

impl Instant {
    /// The current time, of the loop that runs on this thread or else of the system.
    ///
    /// ```
    /// use ringtoss::time::Instant;
    ///
    /// let now = Instant::now();
    /// assert!(Instant::now() >= now);
    /// ```
    #[must_use]
    pub fn now() -> Self {
        let on_loop = context::look(|core| core.clock.now());
        Self { std: on_loop.unwrap_or_else(clock::system_now) }
    }

    /// About 30 years from now, which stands for "never": what overflows ends here.
    pub(crate) fn far_future() -> Self {
        Self::now() + Duration::from_secs(86_400 * 365 * 30)
    }

    /// Now plus `duration`, or the far future if there is no such time.
    pub(crate) fn after(duration: Duration) -> Self {
        Self::now().checked_add(duration).unwrap_or_else(Self::far_future)
    }

    /// The same point in time, from std's type.
    #[must_use]
    pub fn from_std(std: std::time::Instant) -> Self {
        Self { std }
    }

    /// The same point in time, as std's type.
    #[must_use]
    pub fn into_std(self) -> std::time::Instant {
        self.std
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is the later one.
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.std.saturating_duration_since(earlier.std)
    }

    /// The time from `earlier` to `self`, or `None` if `earlier` is the later one.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.std.checked_duration_since(earlier.std)
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is the later one.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.std.saturating_duration_since(earlier.std)
    }

    /// The time from `self` to [now](Instant::now), or zero if `self` lies ahead.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// `self + duration`, or `None` if it cannot be represented.
    ///
    /// ```
    /// use ringtoss::time::{Duration, Instant};
    ///
    /// assert!(Instant::now().checked_add(Duration::from_secs(1)).is_some());
    /// assert!(Instant::now().checked_add(Duration::MAX).is_none());
    /// ```
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.std.checked_add(duration).map(Self::from_std)
    }

    /// `self - duration`, or `None` if it cannot be represented.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.std.checked_sub(duration).map(Self::from_std)
    }
}

impl From<std::time::Instant> for Instant {
    fn from(std: std::time::Instant) -> Self {
        Self::from_std(std)
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> Self {
        instant.into_std()
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// # Panics
    ///
    /// If the sum cannot be represented, as std's does.
    fn add(self, other: Duration) -> Instant {
        Self::from_std(self.std + other)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Zero if `rhs` is the later one.
    fn sub(self, rhs: Instant) -> Duration {
        self.duration_since(rhs)
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    /// # Panics
    ///
    /// If the difference cannot be represented, as std's does.
    fn sub(self, rhs: Duration) -> Instant {
        Self::from_std(self.std - rhs)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, rhs: Duration) {
        *self = *self - rhs;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
