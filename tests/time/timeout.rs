//! Timeouts.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::thread;

use ringtoss::time::{self, Duration, Instant};

use crate::{HOUR, ms, paused};

#[test]
fn a_timeout_takes_exactly_its_time() {
    paused(async {
        let start = Instant::now();
        assert!(time::timeout(ms(30), pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), ms(30));
        assert_eq!(time::timeout(ms(30), time::sleep(ms(10))).await, Ok(()));
        assert_eq!(start.elapsed(), ms(40));
        let error = time::timeout_at(start + ms(50), pending::<()>()).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(50));
        assert_eq!(error.to_string(), "deadline has elapsed");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn the_inner_future_comes_first() {
    paused(async {
        assert_eq!(time::timeout(Duration::ZERO, async { 7 }).await, Ok(7));
        assert_eq!(time::timeout_at(Instant::now(), async { 8 }).await, Ok(8));
        // Both are due at the same instant.
        assert_eq!(time::timeout(ms(5), time::sleep(ms(5))).await, Ok(()));
        assert!(time::timeout(Duration::ZERO, pending::<()>()).await.is_err());
    });
    // It needs no loop when it need not wait.
    let ready = pin!(time::timeout(HOUR, async { 9 }));
    assert_eq!(ready.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(9)));
}

#[test]
fn a_borrowed_future_survives_its_timeout() {
    paused(async {
        let start = Instant::now();
        let mut sleep = time::sleep(ms(100));
        for _ in 0..9 {
            assert!(time::timeout(ms(10), &mut sleep).await.is_err());
        }
        assert_eq!(time::timeout(ms(10), &mut sleep).await, Ok(()));
        assert_eq!(start.elapsed(), ms(100));
    });
}

#[test]
fn a_timeout_counts_from_the_call_and_drops_what_it_ends() {
    paused(async {
        let start = Instant::now();
        let held = Rc::new(());
        let inner = {
            let held = held.clone();
            async move {
                let _held = held;
                pending::<()>().await;
            }
        };
        let timeout = time::timeout(ms(10), inner);
        time::advance(ms(4)).await;
        assert!(timeout.await.is_err());
        assert_eq!(start.elapsed(), ms(10));
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn a_timeout_is_send_when_its_future_is() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let timeout = sendable(time::timeout(ms(1), async { 3 }));
    assert_eq!(thread::spawn(|| ringtoss::block_on(timeout)).join().unwrap(), Ok(3));
}
