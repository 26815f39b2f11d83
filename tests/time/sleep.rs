//! Sleeping on one loop.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Waker;
use std::thread;

use ringtoss::time::{self, Duration, Instant};

use crate::{Counter, HOUR, ms, paused, poll_once, poll_with};

#[test]
fn no_sleep_ends_early() {
    ringtoss::block_on(async {
        let mut tasks = Vec::new();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let delay = Duration::from_nanos(random % 20_000_000);
            tasks.push(ringtoss::spawn(async move {
                let deadline = Instant::now() + delay;
                let real = std::time::Instant::now() + delay;
                let sleep = time::sleep_until(deadline);
                assert_eq!(sleep.deadline(), deadline);
                sleep.await;
                assert!(Instant::now() >= deadline);
                time::sleep_until(real.into()).await;
                assert!(std::time::Instant::now() >= real);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn the_deadline_counts_from_the_call_and_not_from_the_first_poll() {
    paused(async {
        let start = Instant::now();
        let sleep = time::sleep(ms(10));
        time::advance(ms(7)).await;
        sleep.await;
        assert_eq!(start.elapsed(), ms(10));
        let mut late = time::sleep(ms(10));
        time::advance(ms(11)).await;
        assert!(poll_with(&mut late, Waker::noop()).is_ready());
    });
}

#[test]
fn what_overflows_waits_for_decades() {
    paused(async {
        let start = Instant::now();
        let mut sleep = time::sleep(Duration::MAX);
        assert!(sleep.deadline() - start > 29 * 365 * 24 * HOUR);
        assert!(poll_once(&mut sleep).await.is_pending());
        assert_eq!(time::timeout(Duration::MAX, time::sleep(HOUR)).await, Ok(()));
        assert_eq!(start.elapsed(), HOUR);
    });
}

#[test]
fn reset_moves_the_deadline_either_way() {
    paused(async {
        let start = Instant::now();
        let mut sleep = pin!(time::sleep(ms(100)));
        assert!(poll_once(&mut sleep).await.is_pending());
        sleep.as_mut().reset(start + ms(250));
        sleep.as_mut().await;
        assert_eq!(start.elapsed(), ms(250));

        sleep.as_mut().reset(start + HOUR);
        assert!(!sleep.is_elapsed());
        assert!(poll_once(&mut sleep).await.is_pending());
        sleep.as_mut().reset(start + ms(300));
        assert_eq!(sleep.deadline(), start + ms(300));
        sleep.as_mut().await;
        assert_eq!(start.elapsed(), ms(300));

        sleep.as_mut().reset(start);
        sleep.as_mut().await;
        assert_eq!(start.elapsed(), ms(300));
    });
}

#[test]
fn reset_wakes_a_waiting_task_at_the_new_deadline() {
    paused(async {
        let start = Instant::now();
        let sleep = Rc::new(RefCell::new(time::sleep(HOUR)));
        let waiting = sleep.clone();
        let task = ringtoss::spawn(async move {
            poll_fn(|cx| Pin::new(&mut *waiting.borrow_mut()).poll(cx)).await;
            start.elapsed()
        });
        ringtoss::yield_now().await;
        Pin::new(&mut *sleep.borrow_mut()).reset(start + ms(5));
        assert_eq!(task.await.unwrap(), ms(5));
    });
}

#[test]
fn reset_on_another_thread_wakes_the_waiting_task_too() {
    let sleep = Arc::new(Mutex::new(time::sleep(HOUR)));
    let (polled, was_polled) = mpsc::channel();
    let resetter = thread::spawn({
        let sleep = sleep.clone();
        move || {
            was_polled.recv().unwrap();
            let mut sleep = sleep.lock().unwrap();
            Pin::new(&mut *sleep).reset(Instant::now() + ms(1));
        }
    });
    ringtoss::block_on(poll_fn(|cx| {
        let poll = Pin::new(&mut *sleep.lock().unwrap()).poll(cx);
        polled.send(()).ok();
        poll
    }));
    resetter.join().unwrap();
    assert!(sleep.lock().unwrap().is_elapsed());
}

#[test]
fn the_last_waker_is_woken() {
    paused(async {
        let (old, new) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let mut sleep = time::sleep(ms(5));
        assert!(poll_with(&mut sleep, &Waker::from(old.clone())).is_pending());
        assert!(poll_with(&mut sleep, &Waker::from(new.clone())).is_pending());
        assert_eq!(Arc::strong_count(&old), 1, "the old waker is let go");
        time::advance(ms(5)).await;
        assert_eq!((old.count(), new.count()), (0, 1));
        assert!(poll_with(&mut sleep, Waker::noop()).is_ready());
    });
}
