//! Sleeps that see more than one thread or loop.

use std::sync::Arc;
use std::task::Waker;
use std::thread;

use ringtoss::EventLoop;
use ringtoss::time::{self, Duration, Instant, Sleep};

use crate::{Counter, HOUR, ms, panic_of, paused, poll_once, poll_with};

#[test]
fn polled_without_a_loop_it_panics_only_if_it_has_to_wait() {
    let mut past = time::sleep(Duration::ZERO);
    assert!(poll_with(&mut past, Waker::noop()).is_ready());
    let mut future = time::sleep(HOUR);
    let message = panic_of(|| assert!(poll_with(&mut future, Waker::noop()).is_pending()));
    assert!(message.contains("no event loop runs on this thread"), "{message}");
}

#[test]
fn a_sleep_may_move_to_a_loop_on_another_thread() {
    let (sleep, waker) = ringtoss::block_on(async {
        let mut sleep = time::sleep(ms(5));
        let waker = Arc::new(Counter::default());
        assert!(poll_with(&mut sleep, &Waker::from(waker.clone())).is_pending());
        let other = thread::spawn(move || {
            let deadline = sleep.deadline();
            let mut sleep = sleep;
            ringtoss::block_on(async { (&mut sleep).await });
            assert!(Instant::now() >= deadline);
            sleep
        });
        let sleep = other.join().unwrap();
        // A turn takes in the mail that the move has left.
        time::sleep(ms(1)).await;
        (sleep, waker)
    });
    assert!(sleep.is_elapsed());
    assert_eq!(Arc::strong_count(&waker), 1, "its first loop has let go of it");
}

#[test]
fn a_sleep_may_move_between_two_loops_of_one_thread() {
    let first = EventLoop::new().unwrap();
    let second = EventLoop::new().unwrap();
    let mut sleep = time::sleep(ms(4));
    assert!(first.block_on(poll_once(&mut sleep)).is_pending());
    let there = second.block_on(poll_once(&mut sleep));
    if there.is_pending() {
        let deadline = sleep.deadline();
        first.block_on(&mut sleep);
        assert!(Instant::now() >= deadline);
    }
}

#[test]
fn a_sleep_outlives_its_loop() {
    let mut sleep = time::sleep(ms(4));
    assert!(ringtoss::block_on(poll_once(&mut sleep)).is_pending());
    let deadline = sleep.deadline();
    ringtoss::block_on(&mut sleep);
    assert!(Instant::now() >= deadline);

    let mut dropped = time::sleep(HOUR);
    assert!(ringtoss::block_on(poll_once(&mut dropped)).is_pending());
    drop(dropped);
}

#[test]
fn a_dropped_sleep_lets_go_of_its_waker() {
    ringtoss::block_on(async {
        let waker = Arc::new(Counter::default());
        let mut here = time::sleep(HOUR);
        assert!(poll_with(&mut here, &Waker::from(waker.clone())).is_pending());
        assert_eq!(Arc::strong_count(&waker), 2);
        drop(here);
        assert_eq!(Arc::strong_count(&waker), 1);

        let mut elsewhere = time::sleep(HOUR);
        assert!(poll_with(&mut elsewhere, &Waker::from(waker.clone())).is_pending());
        thread::spawn(move || drop(elsewhere)).join().unwrap();
        time::sleep(ms(1)).await;
        assert_eq!(Arc::strong_count(&waker), 1);
    });
}

#[test]
fn a_million_timers_come_and_go() {
    paused(async {
        let start = Instant::now();
        let mut sleeps: Vec<Sleep> =
            (1..=1_000_000_u64).map(|n| time::sleep(Duration::from_micros(n * 7919 % 1_000_003))).collect();
        for sleep in &mut sleeps {
            assert!(poll_with(sleep, Waker::noop()).is_pending());
        }
        sleeps.truncate(500_000);
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert!(sleeps.iter_mut().all(|sleep| poll_with(sleep, Waker::noop()).is_ready()));
        let mut rest: Vec<_> = (0..1000).map(|_| time::sleep(HOUR)).collect();
        for sleep in &mut rest {
            assert!(poll_with(sleep, Waker::noop()).is_pending());
        }
        // Some are left to the end of the loop.
        std::mem::forget(rest);
    });
}
