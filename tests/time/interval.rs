//! Intervals and missed ticks.

use std::future::poll_fn;
use std::task::Poll;

use ringtoss::time::{self, Duration, Instant, Interval, MissedTickBehavior};

use crate::{HOUR, ms, panic_of, paused};

#[test]
fn an_interval_ticks_at_once_and_then_by_its_period() {
    paused(async {
        let start = Instant::now();
        let mut interval = time::interval(ms(10));
        assert_eq!(interval.period(), ms(10));
        for n in 0..100 {
            assert_eq!(interval.tick().await, start + n * ms(10));
            assert_eq!(start.elapsed(), n * ms(10));
            time::sleep(Duration::from_micros(n as u64 * 10)).await;
        }
        let mut later = time::interval_at(start + HOUR, ms(3));
        assert_eq!(later.tick().await, start + HOUR);
        assert_eq!(later.tick().await, start + HOUR + ms(3));
    });
}

/// Period 50 ms; after the first tick the task is busy for 120 ms. When the ticks were planned, and when taken.
async fn ticks_after_a_delay(behavior: MissedTickBehavior) -> Vec<(u128, u128)> {
    let start = Instant::now();
    let mut interval = time::interval(ms(50));
    interval.set_missed_tick_behavior(behavior);
    assert_eq!(interval.missed_tick_behavior(), behavior);
    let mut ticks = Vec::new();
    for n in 0..5 {
        let planned = interval.tick().await - start;
        ticks.push((planned.as_millis(), start.elapsed().as_millis()));
        if n == 0 {
            time::advance(ms(120)).await;
        }
    }
    ticks
}

#[test]
fn missed_ticks_are_followed_up_as_chosen() {
    paused(async {
        assert_eq!(
            ticks_after_a_delay(MissedTickBehavior::Burst).await,
            [(0, 0), (50, 120), (100, 120), (150, 150), (200, 200)]
        );
        assert_eq!(
            ticks_after_a_delay(MissedTickBehavior::Delay).await,
            [(0, 0), (50, 120), (170, 170), (220, 220), (270, 270)]
        );
        assert_eq!(
            ticks_after_a_delay(MissedTickBehavior::Skip).await,
            [(0, 0), (50, 120), (150, 150), (200, 200), (250, 250)]
        );
        assert_eq!(MissedTickBehavior::default(), MissedTickBehavior::Burst);
    });
}

#[test]
fn up_to_five_milliseconds_late_is_punctual() {
    paused(async {
        for behavior in [MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let mut interval = time::interval(ms(2));
            interval.set_missed_tick_behavior(behavior);
            let start = interval.tick().await;
            time::advance(ms(7)).await;
            assert_eq!(interval.tick().await, start + ms(2));
            assert_eq!(interval.tick().await, start + ms(4));
        }
        let mut interval = time::interval(ms(2));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let start = interval.tick().await;
        time::advance(ms(7) + Duration::from_nanos(1)).await;
        assert_eq!(interval.tick().await, start + ms(2));
        assert_eq!(interval.tick().await, start + ms(9) + Duration::from_nanos(1));
    });
}

#[test]
fn an_interval_can_be_reset() {
    paused(async {
        let mut interval = time::interval(ms(100));
        let start = interval.tick().await;
        time::advance(ms(50)).await;
        interval.reset();
        assert_eq!(interval.tick().await, start + ms(150));
        time::advance(ms(10)).await;
        interval.reset_immediately();
        assert_eq!(interval.tick().await, start + ms(160));
        assert_eq!(interval.tick().await, start + ms(260));
        interval.reset_after(ms(5));
        assert_eq!(interval.tick().await, start + ms(265));
        interval.reset_at(start + ms(1000));
        assert_eq!(interval.tick().await, start + ms(1000));
        assert_eq!(interval.tick().await, start + ms(1100));
        interval.reset_after(Duration::MAX);
        assert!(poll_fn(|cx| Poll::Ready(interval.poll_tick(cx))).await.is_pending());
    });
}

#[test]
fn a_dropped_tick_is_not_lost() {
    paused(async {
        let mut interval = time::interval(ms(10));
        let start = interval.tick().await;
        assert!(time::timeout(ms(9), interval.tick()).await.is_err());
        assert_eq!(time::timeout(ms(9), interval.tick()).await, Ok(start + ms(10)));
    });
}

#[test]
fn a_huge_period_ends_in_the_far_future() {
    paused(async {
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let mut interval = time::interval_at(Instant::now(), Duration::MAX);
            interval.set_missed_tick_behavior(behavior);
            time::advance(ms(10)).await;
            interval.tick().await;
            let next = poll_fn(|cx| Poll::Ready(interval.poll_tick(cx))).await;
            assert!(next.is_pending());
        }
    });
}

#[test]
fn a_period_of_zero_panics() {
    let message = panic_of(|| drop::<Interval>(time::interval(Duration::ZERO)));
    assert_eq!(message, "`period` must be non-zero.");
    let message = panic_of(|| drop::<Interval>(time::interval_at(Instant::now(), Duration::ZERO)));
    assert_eq!(message, "`period` must be non-zero.");
}
