//! `JoinSet`: what a set of tasks promises.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use ringtoss::EventLoop;
use ringtoss::task::JoinSet;
use tokio::sync::oneshot;

use crate::patience::*;

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Counts how often it is dropped.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn guard(&self) -> Guard {
        Guard(self.0.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn tasks_are_joined_in_the_order_in_which_they_end() {
    run(async {
        let mut set = JoinSet::new();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..100).map(|_| oneshot::channel::<usize>()).unzip();
        for receiver in receivers {
            set.spawn(async move { receiver.await.unwrap() });
        }
        assert!(set.len() == 100 && !set.is_empty());
        // Now all wait.
        ringtoss::yield_now().await;
        // 37 has no divisor in common with 100: each once, in an order of its own.
        let order: Vec<usize> = (0..100).map(|i| i * 37 % 100).collect();
        let mut senders: Vec<_> = senders.into_iter().map(Some).collect();
        for &i in &order {
            senders[i].take().unwrap().send(i).unwrap();
        }
        for &i in &order {
            assert_eq!(set.join_next().await.unwrap().unwrap(), i);
        }
        assert!(set.is_empty() && set.join_next().await.is_none() && set.try_join_next().is_none());
    });
}

#[test]
fn places_are_used_again_while_others_run() {
    run(async {
        let mut set = JoinSet::new();
        let mut expected = 0usize;
        let mut sum = 0usize;
        for i in 0..20_000usize {
            expected += i;
            set.spawn(async move {
                for _ in 0..i % 7 {
                    ringtoss::yield_now().await;
                }
                i
            });
            if i % 3 == 0 {
                sum += set.join_next().await.unwrap().unwrap();
            }
            while let Some(result) = set.try_join_next() {
                sum += result.unwrap();
            }
        }
        while let Some(result) = set.join_next().await {
            sum += result.unwrap();
        }
        assert_eq!(sum, expected);
    });
}

#[test]
fn a_join_polls_nobody_but_the_task_that_has_ended() {
    // What makes a join cost the same with any number of tasks: the waker of the set is woken, no other is touched.
    struct Wakes(AtomicUsize);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    run(async {
        let mut set = JoinSet::new();
        let started = Arc::new(AtomicUsize::new(0));
        for _ in 0..5_000 {
            let started = started.clone();
            set.spawn(async move {
                started.fetch_add(1, Ordering::SeqCst);
                pending::<u8>().await
            });
        }
        while started.load(Ordering::SeqCst) < 5_000 {
            ringtoss::yield_now().await;
        }
        let (sender, receiver) = oneshot::channel();
        set.spawn(async move { receiver.await.unwrap() });
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(wakes.clone());
        assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        ringtoss::yield_now().await;
        let before = ringtoss::metrics().polls;
        sender.send(5u8).unwrap();
        while wakes.0.load(Ordering::SeqCst) == 0 {
            ringtoss::yield_now().await;
        }
        assert_eq!(set.join_next().await.unwrap().unwrap(), 5);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        let polls = ringtoss::metrics().polls - before;
        assert!(polls < 100, "{polls} polls for one join among 5,000 tasks");
        set.detach_all();
    });
}

#[test]
fn dropping_a_set_aborts_its_tasks_and_a_detached_one_goes_on() {
    run(async {
        let drops = Drops::default();
        let mut set = JoinSet::new();
        for _ in 0..10 {
            let guard = drops.guard();
            set.spawn(async move {
                pending::<()>().await;
                drop(guard);
            });
        }
        ringtoss::yield_now().await;
        assert_eq!(drops.count(), 0);
        drop(set);
        while drops.count() < 10 {
            ringtoss::yield_now().await;
        }

        let (sender, receiver) = oneshot::channel();
        let mut set = JoinSet::new();
        set.spawn(async move {
            ringtoss::yield_now().await;
            sender.send(3).unwrap();
        });
        set.detach_all();
        assert!(set.is_empty());
        // The detached task's place is given away before it ends: its end must not count for the new one.
        let (hold, held) = oneshot::channel::<u8>();
        set.spawn(async move { drop(held.await) });
        assert_eq!(receiver.await.unwrap(), 3);
        ringtoss::yield_now().await;
        assert!(set.try_join_next().is_none());
        hold.send(0).unwrap();
        set.join_next().await.unwrap().unwrap();
        drop(set);
    });
}

#[test]
fn shutdown_waits_until_every_future_is_gone() {
    run(async {
        let drops = Drops::default();
        let mut set = JoinSet::new();
        for i in 0..100 {
            let guard = drops.guard();
            set.spawn(async move {
                if i % 2 == 0 {
                    pending::<()>().await;
                }
                drop(guard);
            });
        }
        set.shutdown().await;
        assert_eq!(drops.count(), 100);
        assert!(set.is_empty());
    });
}

#[test]
fn aborts_and_panics_are_told() {
    run(async {
        let mut set = JoinSet::new();
        let first = set.spawn(pending::<u8>());
        set.spawn(async { panic!("on purpose") });
        assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
        assert!(!first.is_finished());
        first.abort();
        assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
        set.spawn(pending::<u8>());
        set.abort_all();
        assert_eq!(set.len(), 1);
        assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn join_all_gives_every_output_and_passes_a_panic_on() {
    run(async {
        let set: JoinSet<u32> = (0..50).map(|i| async move { i }).collect();
        let mut outputs = set.join_all().await;
        outputs.sort_unstable();
        assert_eq!(outputs, (0..50).collect::<Vec<u32>>());
    });
    let panic = std::panic::catch_unwind(|| {
        run(async {
            let mut set = JoinSet::new();
            set.spawn(pending::<()>());
            set.spawn(async { panic!("passed on") });
            set.join_all().await
        })
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"passed on"));
}

#[test]
fn a_dropped_join_next_loses_nothing() {
    run(async {
        let mut set = JoinSet::new();
        let (sender, receiver) = oneshot::channel();
        set.spawn(async move { receiver.await.unwrap() });
        for _ in 0..10 {
            let mut join = Box::pin(set.join_next());
            assert!(poll_once(&mut join).await.is_pending());
        }
        sender.send("kept").unwrap();
        assert_eq!(set.join_next().await.unwrap().unwrap(), "kept");
    });
}

#[test]
fn a_set_is_joined_on_another_thread_while_tasks_end() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        sender.send((event_loop.handle(), stop)).unwrap();
        let _ = event_loop.block_on(bounded(stopped));
    });
    let (handle, stop) = receiver.recv().unwrap();
    run(async move {
        let mut set = JoinSet::new();
        let mut sum = 0u64;
        for round in 0..200u64 {
            for i in 0..50 {
                set.spawn_on(async move { round + i }, &handle);
            }
            set.spawn_blocking(|| 1);
            // Some are joined while others of the same round are still on their way.
            for _ in 0..51 {
                sum += set.join_next().await.unwrap().unwrap();
            }
        }
        assert_eq!(sum, (0..200u64).map(|round| 50 * round + 49 * 50 / 2 + 1).sum());
        is_send(set).shutdown().await;
        // Places change hands while the ends of their former tasks are on the way.
        for _ in 0..300 {
            let mut set: JoinSet<u64> = JoinSet::new();
            for i in 0..10 {
                set.spawn_on(async move { i }, &handle);
            }
            set.detach_all();
            for i in 0..10 {
                set.spawn_on(async move { 100 + i }, &handle);
            }
            assert_eq!(set.join_all().await.into_iter().sum::<u64>(), 1045);
        }
        stop.send(()).unwrap();
    });
    thread.join().unwrap();
}

#[test]
fn a_set_outlives_its_loop() {
    let drops = Drops::default();
    let mut set = JoinSet::new();
    let event_loop = EventLoop::new().unwrap();
    let guard = drops.guard();
    set.spawn_on(
        async move {
            pending::<()>().await;
            drop(guard);
        },
        &event_loop.handle(),
    );
    let handle = event_loop.handle();
    drop(event_loop);
    assert_eq!(drops.count(), 1);
    set.spawn_on(async {}, &handle);
    for _ in 0..2 {
        assert!(set.try_join_next().unwrap().unwrap_err().is_cancelled());
    }
    assert!(set.is_empty());
}

#[test]
fn outputs_need_not_be_send() {
    run(async {
        let mut set = JoinSet::new();
        let shared = Rc::new(4);
        let task = shared.clone();
        set.spawn(async move { task });
        assert!(Rc::ptr_eq(&set.join_next().await.unwrap().unwrap(), &shared));
    });
}
