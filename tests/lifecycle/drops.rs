//! An operation dropped at each moment of its life: its buffer is freed exactly once, and not before the kernel let go.

use std::task::Poll;

use ringtoss::op::{self, Sqe};

use crate::util::{Count, pipe, poll_once, poll_until_woken, run, until};

#[test]
fn never_polled() {
    let count = Count::default();
    run(async {
        drop(pipe().read(count.buffer()));
        assert_eq!(count.dropped(), 1);
        assert_eq!(ringtoss::metrics().in_flight, 0);
    });
}

#[test]
fn staged_and_not_submitted() {
    let count = Count::default();
    run(async {
        let mut pipe = pipe();
        pipe.write(b"x");
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        drop(read);
        assert_eq!(count.dropped(), 1, "freed at once: the kernel never had it");
        for _ in 0..3 {
            op::nop().await.unwrap();
        }
        // The entry was made void: the byte is still there.
        let ((result, _), ()) = (pipe.read(count.buffer()).await, ());
        assert_eq!(result.unwrap().result, 1);
    });
    assert_eq!((count.made(), count.dropped()), (2, 2));
}

#[test]
fn in_flight() {
    let count = Count::default();
    run(async {
        let pipe = pipe();
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        assert!(poll_once(&mut read).await.is_pending());
        drop(read);
        assert_eq!(count.dropped(), 0, "the kernel still has it");
        until(|| count.dropped() == 1).await;
        assert_eq!(ringtoss::metrics().in_flight, 0);
    });
    assert_eq!(count.dropped(), 1);
}

#[test]
fn completed_and_not_taken() {
    let count = Count::default();
    run(async {
        let mut pipe = pipe();
        pipe.write(b"done");
        let mut read = pipe.read(count.buffer());
        poll_until_woken(&mut read).await;
        drop(read);
        assert_eq!(count.dropped(), 1, "the kernel is done with it");
    });
    assert_eq!(count.dropped(), 1);
}

#[test]
fn forgotten() {
    let count = Count::default();
    let mut pipe = pipe();
    run(async {
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        std::mem::forget(read);
        // The kernel writes into memory that nobody will ever free.
        pipe.write(b"into the leak");
        for _ in 0..3 {
            op::nop().await.unwrap();
        }
    });
    assert_eq!(count.dropped(), 0);
}

#[test]
fn the_memory_of_a_dropped_read_is_not_used_again_under_the_kernel() {
    run(async {
        for _ in 0..200 {
            let mut pipe = pipe();
            let count = Count::default();
            let mut read = pipe.read(count.buffer());
            assert!(poll_once(&mut read).await.is_pending());
            op::nop().await.unwrap();
            drop(read);
            // The same size, allocated straight after: it would be the same memory, had it been freed.
            let canary = Box::new([0xa5u8; 64]);
            pipe.write(&[0x5a; 64]);
            until(|| count.dropped() == 1).await;
            assert!(canary.iter().all(|&byte| byte == 0xa5), "the kernel wrote into memory that was freed");
        }
    });
}

#[test]
fn cancelled_and_limited_operations_give_their_buffer_back() {
    let count = Count::default();
    run(async {
        let pipe = pipe();
        let (result, kept) = pipe.read(count.buffer()).timeout(std::time::Duration::from_millis(5)).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        drop(kept);
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        let (result, _kept) = read.cancel().await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        let token = ringtoss::CancellationToken::new();
        let limited = pipe.read(count.buffer()).cancel_on(&token);
        let canceller = ringtoss::spawn({
            let token = token.clone();
            async move { token.cancel() }
        });
        let (result, _kept) = limited.await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        canceller.await.unwrap();
    });
    assert_eq!((count.made(), count.dropped()), (3, 3));
}

#[test]
fn sent_to_another_thread_and_dropped_or_awaited_there() {
    let count = Count::default();
    run(async {
        let mut pipe = pipe();
        for round in 0..50 {
            let mut read = pipe.read(count.buffer());
            assert!(poll_once(&mut read).await.is_pending());
            if round % 2 == 0 {
                op::nop().await.unwrap();
            }
            std::thread::spawn(move || drop(read)).join().unwrap();
        }
        until(|| count.dropped() == 50).await;

        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        let elsewhere = std::thread::spawn(move || ringtoss::block_on(read));
        pipe.write(b"over there");
        until(|| elsewhere.is_finished()).await;
        let (result, (buffer, _)) = elsewhere.join().unwrap();
        assert_eq!(result.unwrap().result, 10);
        assert_eq!(&buffer.bytes[..10], b"over there");
    });
    assert_eq!((count.made(), count.dropped()), (51, 51));
}

#[test]
fn polled_elsewhere_and_then_dropped() {
    let count = Count::default();
    run(async {
        let pipe = pipe();
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        let there = std::thread::spawn(move || {
            ringtoss::block_on(async move {
                assert!(poll_once(&mut read).await.is_pending());
                op::nop().await.unwrap();
                assert!(matches!(poll_once(&mut read).await, Poll::Pending));
            });
        });
        until(|| count.dropped() == 1).await;
        there.join().unwrap();
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
    assert_eq!(count.dropped(), 1);
}

#[test]
fn entries_that_cannot_be_alone_are_refused() {
    run(async {
        for flag in [1 << 2, 1 << 3, 1 << 6] {
            // SAFETY: a Nop has no addresses.
            let (result, ()) = unsafe { op::submit(Sqe::new(0).flags(flag), ()) }.await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("linked"), "{error}");
        }
    });
}

#[test]
fn a_first_poll_without_a_loop_says_so() {
    let panic = std::thread::spawn(|| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::pin::pin!(op::nop()).as_mut().poll(&mut cx);
    })
    .join()
    .unwrap_err();
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    assert!(text.unwrap().contains("no event loop runs on this thread"), "{text:?}");
}
