//! How loops end, and what is left of them.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringtoss::{EventLoop, op};

use crate::util::{Count, pipe, poll_once, poll_until_woken, run};

#[test]
fn the_end_reaps_everything_that_is_in_flight() {
    let count = Count::default();
    let pipe = pipe();
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(async {
        for index in 0..500 {
            let read = pipe.read(count.buffer());
            ringtoss::spawn(async move {
                let _ = read.await;
                panic!("read {index} ended before its loop");
            });
        }
        op::nop().await.unwrap();
        op::nop().await.unwrap();
        assert!(ringtoss::metrics().in_flight >= 500);
    });
    assert_eq!(count.dropped(), 0);
    drop(event_loop);
    assert_eq!((count.made(), count.dropped()), (500, 500));
}

#[test]
fn results_outlive_their_loop() {
    let count = Count::default();
    let mut pipe = pipe();
    let event_loop = EventLoop::new().unwrap();
    pipe.write(b"kept");
    let (done, dropped, cancelled) = event_loop.block_on(async {
        let mut reads = [pipe.read(count.buffer()), pipe.read(count.buffer()), pipe.read(count.buffer())];
        poll_until_woken(&mut reads[0]).await;
        assert!(poll_once(&mut reads[1]).await.is_pending());
        assert!(poll_once(&mut reads[2]).await.is_pending());
        op::nop().await.unwrap();
        reads.into()
    });
    drop(event_loop);
    // One had completed, the others were cancelled by the end.
    let (result, (buffer, _)) = ringtoss::block_on(done);
    assert_eq!(result.unwrap().result, 4);
    assert_eq!(&buffer.bytes[..4], b"kept");
    let (result, _) = std::thread::spawn(|| ringtoss::block_on(cancelled)).join().unwrap();
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    drop(dropped);
    drop(buffer);
    assert_eq!((count.made(), count.dropped()), (3, 3));
}

#[test]
fn what_cannot_be_had_back_in_time_is_leaked_and_never_freed() {
    let count = Count::default();
    let pipe = pipe();
    let event_loop = EventLoop::builder().shutdown_timeout(Duration::ZERO).build().unwrap();
    let leaked = ringtoss::block_on(async { ringtoss::metrics().leaked });
    let held = event_loop.block_on(async {
        let read = pipe.read(count.buffer());
        let mut held = pipe.read(count.buffer());
        assert!(poll_once(&mut held).await.is_pending());
        ringtoss::spawn(read);
        op::nop().await.unwrap();
        op::nop().await.unwrap();
        held
    });
    drop(event_loop);
    assert_eq!(count.dropped(), 0, "never freed: the kernel may have it");
    assert_eq!(ringtoss::block_on(async { ringtoss::metrics().leaked }) - leaked, 2);
    // A future that is still around says so instead of hanging; its buffer stays leaked.
    let told = std::thread::spawn(move || ringtoss::block_on(held)).join();
    let panic = told.err().expect("it cannot have a result");
    assert!(panic.downcast_ref::<&str>().unwrap().contains("its buffer is leaked"));
    assert_eq!(count.dropped(), 0);
}

#[test]
fn two_loops_on_two_threads_and_one_after_the_other_on_one() {
    let threads: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..50 {
                    assert_eq!(
                        run(async { ringtoss::spawn(async { op::nop().await.map(|()| 7) }).await.unwrap() }).unwrap(),
                        7
                    );
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn nested_block_on_is_a_clear_panic_and_the_loop_goes_on() {
    run(async {
        for nested in [
            || ringtoss::block_on(async {}),
            || EventLoop::new().unwrap().block_on(async {}),
            || EventLoop::new().unwrap().run(),
        ] {
            let panic = ringtoss::spawn(async move { nested() }).await.unwrap_err().into_panic();
            let text = panic.downcast_ref::<&str>().unwrap();
            assert!(text.contains("cannot be nested"), "{text}");
        }
        op::nop().await.unwrap();
    });
}

#[test]
fn a_loop_ends_inside_another() {
    let count = Count::default();
    let pipe = pipe();
    let inner = EventLoop::new().unwrap();
    inner.block_on(async {
        ringtoss::spawn(pipe.read(count.buffer()));
        op::nop().await.unwrap();
    });
    run(async {
        drop(inner);
        assert_eq!(count.dropped(), 1);
        op::nop().await.unwrap();
    });
}

#[test]
fn run_goes_on_until_no_task_is_left() {
    let event_loop = EventLoop::new().unwrap();
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for depth in 0..10 {
        let done = done.clone();
        event_loop.spawn(async move {
            for _ in 0..depth {
                ringtoss::time::sleep(Duration::from_millis(1)).await;
            }
            ringtoss::spawn(async move {
                op::nop().await.unwrap();
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        });
    }
    event_loop.run();
    assert_eq!(done.load(std::sync::atomic::Ordering::Relaxed), 10);
    event_loop.run();
}

#[test]
fn tasks_are_kept_for_the_next_block_on() {
    let event_loop = EventLoop::new().unwrap();
    let task = event_loop.block_on(async { ringtoss::spawn(async { op::nop().await.map(|()| 5) }) });
    assert_eq!(event_loop.block_on(task).unwrap().unwrap(), 5);
}

#[test]
fn drops_that_panic_do_not_end_the_loop() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("a drop");
            }
        }
    }
    run(async {
        let pipe = pipe();
        let entry = op::Sqe::new(6).fd(std::os::fd::AsRawFd::as_raw_fd(&*pipe.reader)).op_flags(1); // POLL_ADD, POLLIN
        // SAFETY: a poll has no address.
        let mut poll = unsafe { op::submit(entry, Bomb) };
        assert!(poll_once(&mut poll).await.is_pending());
        op::nop().await.unwrap();
        drop(poll);
        crate::util::until(|| ringtoss::metrics().in_flight == 0).await;
        op::nop().await.unwrap();
    });
}

/// What an operation had with it is dropped when a loop that ends has had it back. By then nothing is submitted any more.
#[test]
fn what_is_dropped_at_the_very_end_can_ask_for_nothing() {
    struct Asks(Arc<Mutex<Option<std::io::Result<()>>>>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = pin!(op::nop()).poll(&mut cx) {
                *self.0.lock().unwrap() = Some(answer);
            }
        }
    }
    let answer = Arc::default();
    let pipe = pipe();
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(async {
        let entry = op::Sqe::new(6).fd(std::os::fd::AsRawFd::as_raw_fd(&*pipe.reader)).op_flags(1); // POLL_ADD, POLLIN
        // SAFETY: a poll has no address.
        ringtoss::spawn(unsafe { op::submit(entry, Asks(Arc::clone(&answer))) });
        op::nop().await.unwrap();
        op::nop().await.unwrap();
    });
    drop(event_loop);
    let answer = answer.lock().unwrap().take().expect("it is refused, and at once");
    assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
}
