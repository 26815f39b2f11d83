//! Whatever panics, the loop goes on and the handle says so.

use std::future::pending;

use super::*;
use crate::task::{Id, JoinError, JoinHandle, blocking};

/// The panic's value, which must be a `&str`.
fn message<T>(handle: JoinHandle<T>) -> &'static str {
    let error = output(handle).err().expect("the task gave an output");
    assert!(error.is_panic() && !error.is_cancelled());
    *error.into_panic().downcast::<&'static str>().unwrap()
}

#[test]
fn in_a_poll() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle: JoinHandle<()> = mini.owner.spawn(async move {
        let _guard = guard;
        panic!("in a poll");
    });
    let after = mini.owner.spawn(async { 1 });
    mini.settle();
    assert_eq!(drops.count(), 1);
    assert_eq!(message(handle), "in a poll");
    assert_eq!(output(after).unwrap(), 1);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn in_the_drop_of_a_future_that_is_done() {
    struct ReadyBomb(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    impl Future for ReadyBomb {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(8)
        }
    }
    let mini = MiniLoop::new();
    let handle = mini.owner.spawn(ReadyBomb(Bomb("late")));
    mini.settle();
    assert_eq!(output(handle).unwrap(), 8);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn in_the_drop_of_a_future_that_panicked() {
    struct Twice(#[allow(dead_code, reason = "it is there to be dropped")] Bomb);
    impl Future for Twice {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            std::panic::panic_any("first");
        }
    }
    let mini = MiniLoop::new();
    let handle = mini.owner.spawn(Twice(Bomb("second")));
    mini.settle();
    assert_eq!(message(handle), "first");
}

#[test]
fn in_the_drop_of_a_future_that_is_aborted() {
    let mini = MiniLoop::new();
    let bomb = Bomb("aborted");
    let handle = mini.owner.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    mini.settle();
    handle.abort();
    mini.settle();
    assert_eq!(message(handle), "aborted");
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn in_the_drop_of_an_output() {
    let mini = MiniLoop::new();
    drop(mini.owner.spawn(async { Bomb("unwanted") }));
    let kept = mini.owner.spawn(async { Bomb("kept") });
    mini.settle();
    drop(kept);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn in_the_drop_of_what_a_panic_carries() {
    let mini = MiniLoop::new();
    for _ in 0..2 {
        let handle = mini.owner.spawn(async { std::panic::panic_any(Bomb("payload")) });
        drop(handle);
    }
    let kept = mini.owner.spawn(async { std::panic::panic_any(Bomb("payload")) });
    mini.settle();
    drop(kept);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn in_the_closure_of_spawn_with() {
    let mini = MiniLoop::new();
    let make = || -> std::future::Ready<()> { panic!("making") };
    let handle = mini.outside(|| mini.owner.scheduler().spawn_with(make));
    let here = mini.owner.scheduler().spawn_with(make);
    mini.settle();
    assert_eq!(message(handle), "making");
    assert_eq!(message(here), "making");
}

#[test]
fn in_the_waker_of_a_handle() {
    struct PanicWaker;
    impl Wake for PanicWaker {
        fn wake(self: Arc<Self>) {
            panic!("waking");
        }
    }
    let mini = MiniLoop::new();
    for here in [false, true] {
        let mut handle = mini.owner.spawn(async { 2 });
        let waker = Waker::from(Arc::new(PanicWaker));
        let mut poll = || assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        if here {
            poll()
        } else {
            mini.outside(poll)
        }
        mini.settle();
        assert_eq!(output(handle).unwrap(), 2);
    }
}

#[test]
fn in_the_drop_of_a_refused_future() {
    let mini = MiniLoop::new();
    mini.owner.shutdown();
    let bomb = Bomb("refused");
    let handle = mini.owner.spawn(async move {
        let _bomb = bomb;
    });
    assert_eq!(message(handle), "refused");
    let bomb = Bomb("refused");
    let handle = mini.outside(|| {
        mini.owner.scheduler().spawn_send(async move {
            let _bomb = bomb;
        })
    });
    assert_eq!(message(handle), "refused");
}

#[test]
fn in_shutdown_each_future_is_dropped() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let handles: Vec<_> = (0..5)
        .map(|number| {
            let (bomb, guard) = ((number % 2 == 0).then(|| Bomb("ending")), drops.guard());
            mini.owner.spawn(async move {
                let _both = (bomb, guard);
                pending::<()>().await;
            })
        })
        .collect();
    mini.settle();
    mini.owner.shutdown();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (5, 0));
    for (number, handle) in handles.into_iter().enumerate() {
        assert_eq!(output(handle).unwrap_err().is_panic(), number % 2 == 0);
    }
}

#[test]
fn in_a_blocking_job() {
    let (job, handle) = blocking(|| -> () { panic!("blocking") });
    job.run();
    assert_eq!(message(handle), "blocking");
    let bomb = Bomb("unrun");
    let (job, handle) = blocking(move || drop(bomb));
    drop(job);
    assert_eq!(message(handle), "unrun");
}

fn name() -> Id {
    Id::of(std::ptr::NonNull::<u64>::dangling())
}

#[test]
fn the_error_reads_like_tokios() {
    let cancelled = JoinError::cancelled(name());
    assert_eq!(cancelled.to_string(), "task 8 was cancelled");
    assert_eq!(format!("{cancelled:?}"), "JoinError::Cancelled(Id(8))");
    let text = JoinError::panic(Box::new("why"), name());
    assert_eq!(text.to_string(), "task 8 panicked with message \"why\"");
    let owned = JoinError::panic(Box::new(String::from("why")), name());
    assert_eq!(format!("{owned:?}"), "JoinError::Panic(Id(8), \"why\", ...)");
    let other = JoinError::panic(Box::new(5), name());
    assert_eq!(other.to_string(), "task 8 panicked");
    assert_eq!(*other.into_panic().downcast::<i32>().unwrap(), 5);
    let io = std::io::Error::from(JoinError::cancelled(name()));
    assert_eq!(io.kind(), std::io::ErrorKind::Other);
    assert_eq!(io.to_string(), "task 8 was cancelled");
}

#[test]
#[should_panic = "`JoinError` reason is not a panic."]
fn into_panic_of_a_cancelled_task_panics() {
    JoinError::cancelled(name()).into_panic();
}

/// Of panics that nobody hears of, the payloads may panic, too. What they panic with is leaked.
#[test]
#[cfg_attr(any(fresh_tasks, miri), ignore = "a sanitizer would find the leak")]
fn in_the_drop_of_what_a_panic_was_made_with() {
    crate::task::error::quietly(|| std::panic::panic_any(Bomb("the payload's own")));
    let payload = std::panic::catch_unwind(|| std::panic::panic_any(Bomb("again"))).unwrap_err();
    crate::task::error::drop_payload(payload);
}
