//! The paused clock: exact, and moved by hand.

use std::cell::RefCell;
use std::rc::Rc;

use ringtoss::time::{self, Duration, Instant};

use crate::{HOUR, ms, panic_of, paused, poll_once};

#[test]
fn a_paused_sleep_takes_exactly_its_time() {
    paused(async {
        let start = Instant::now();
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(start.elapsed(), ms(1000));
        time::sleep(Duration::from_nanos(1)).await;
        assert_eq!(start.elapsed().as_nanos(), 1_000_000_001);
        time::sleep_until(start + HOUR).await;
        assert_eq!(start.elapsed(), HOUR);
        time::sleep(Duration::ZERO).await;
        time::sleep_until(start).await;
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn a_paused_clock_stands_still_while_tasks_run() {
    paused(async {
        let start = Instant::now();
        for _ in 0..100 {
            ringtoss::yield_now().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    });
}

#[test]
fn sleeps_end_by_deadline_and_then_in_the_order_of_their_first_poll() {
    paused(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let mut tasks = Vec::new();
        for (name, delay) in [("c", 300), ("a", 100), ("b", 200), ("b2", 200), ("c2", 300)] {
            let log = log.clone();
            tasks.push(ringtoss::spawn(async move {
                time::sleep(ms(delay)).await;
                log.borrow_mut().push((name, start.elapsed()));
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let expected = [("a", ms(100)), ("b", ms(200)), ("b2", ms(200)), ("c", ms(300)), ("c2", ms(300))];
        assert_eq!(*log.borrow(), expected);
    });
}

#[test]
fn advance_lets_what_is_due_run_before_it_returns() {
    paused(async {
        let start = Instant::now();
        let ended = Rc::new(RefCell::new(Vec::new()));
        for delay in [10, 20, 30] {
            let ended = ended.clone();
            drop(ringtoss::spawn(async move {
                time::sleep(ms(delay)).await;
                ended.borrow_mut().push((delay, start.elapsed()));
            }));
        }
        ringtoss::yield_now().await;
        time::advance(ms(9)).await;
        assert!(ended.borrow().is_empty());
        time::advance(ms(1)).await;
        assert_eq!(*ended.borrow(), [(10, ms(10))]);
        // One jump: both see where it ended.
        time::advance(ms(90)).await;
        assert_eq!(ended.borrow()[1..], [(20, ms(100)), (30, ms(100))]);
        assert_eq!(start.elapsed(), ms(100));
    });
}

#[test]
fn advance_makes_a_sleep_of_the_same_task_ready() {
    paused(async {
        let mut sleep = time::sleep(ms(50));
        assert!(poll_once(&mut sleep).await.is_pending());
        assert!(!sleep.is_elapsed());
        time::advance(ms(49)).await;
        assert!(poll_once(&mut sleep).await.is_pending());
        time::advance(ms(1)).await;
        assert!(sleep.is_elapsed());
        assert!(poll_once(&mut sleep).await.is_ready());
        assert!(poll_once(&mut sleep).await.is_ready(), "it stays ready");
    });
}

#[test]
fn pause_and_resume() {
    ringtoss::block_on(async {
        time::pause();
        let start = Instant::now();
        time::sleep(HOUR).await;
        assert_eq!(start.elapsed(), HOUR);
        time::resume();
        assert!(start.elapsed() >= HOUR);
        let resumed = Instant::now();
        time::sleep(ms(2)).await;
        assert!(resumed.elapsed() >= ms(2));
        time::pause();
        let again = Instant::now();
        time::advance(HOUR).await;
        assert_eq!(again.elapsed(), HOUR);
    });
}

#[test]
fn misuse_of_the_paused_clock_says_what_is_wrong() {
    let message = panic_of(|| paused(async { time::pause() }));
    assert_eq!(message, "time is already frozen");
    let message = panic_of(|| ringtoss::block_on(async { time::resume() }));
    assert_eq!(message, "time is not frozen");
    let message = panic_of(|| ringtoss::block_on(time::advance(HOUR)));
    assert_eq!(message, "time is not frozen");
    assert!(panic_of(time::pause).contains("no event loop runs on this thread"));
}
