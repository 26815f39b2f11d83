//! Wakes, spawns and joins between threads.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use super::*;
use crate::task::{blocking, yield_now};

const WAKES: usize = if cfg!(miri) { 50 } else { 250_000 };
const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

#[test]
fn a_million_wakes_from_four_threads_and_none_is_lost() {
    let mini = MiniLoop::new();
    // Each thread counts up and wakes, so the last count must be seen by a poll.
    let counts: Arc<[AtomicUsize; 4]> = Arc::default();
    let latch = Latch::default();
    let handle = mini.owner.spawn({
        let (counts, latch) = (Arc::clone(&counts), latch.clone());
        poll_fn(move |cx| {
            *latch.0.waker.lock().unwrap() = Some(cx.waker().clone());
            let done = counts.iter().all(|count| count.load(Ordering::Relaxed) == WAKES);
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
    });
    mini.settle();
    let waker = latch.take_waker().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|index| {
            let (counts, waker) = (Arc::clone(&counts), waker.clone());
            thread::spawn(move || {
                for _ in 0..WAKES {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    if index % 2 == 0 {
                        waker.wake_by_ref();
                    } else {
                        waker.clone().wake();
                    }
                }
            })
        })
        .collect();
    mini.block_on(handle).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn each_of_many_single_wakes_arrives() {
    // One wake per sleep: nothing hides a lost one.
    let mini = MiniLoop::new();
    let round = Arc::new(AtomicUsize::new(0));
    let (sender, wakers) = std::sync::mpsc::channel::<Waker>();
    let waking = thread::spawn({
        let round = Arc::clone(&round);
        move || {
            for waker in wakers {
                round.fetch_add(1, Ordering::Relaxed);
                waker.wake();
            }
        }
    });
    let handle = mini.owner.spawn(async move {
        for target in 1..=ROUNDS {
            let mut sent = false;
            poll_fn(|cx| {
                if round.load(Ordering::Relaxed) == target {
                    return Poll::Ready(());
                }
                if !sent {
                    sent = true;
                    sender.send(cx.waker().clone()).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
    });
    mini.block_on(handle).unwrap();
    waking.join().unwrap();
}

#[test]
fn spawn_send_from_many_threads() {
    let mini = MiniLoop::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let scheduler = Arc::clone(mini.owner.scheduler());
            thread::spawn(move || {
                (0..ROUNDS / 4)
                    .map(|number| {
                        scheduler.spawn_send(async move {
                            yield_now().await;
                            number
                        })
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let joiner = mini.owner.scheduler().spawn_send(async move {
        let mut sum = 0;
        for thread in threads {
            while !thread.is_finished() {
                yield_now().await;
            }
            for handle in thread.join().unwrap() {
                sum += handle.await.unwrap();
            }
        }
        sum
    });
    let rounds = ROUNDS / 4;
    assert_eq!(mini.block_on(joiner).unwrap(), 4 * rounds * (rounds - 1) / 2);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn spawn_with_makes_a_future_that_is_not_send_on_the_loops_thread() {
    let mini = MiniLoop::new();
    let scheduler = Arc::clone(mini.owner.scheduler());
    let here = thread::current().id();
    let spawner = thread::spawn(move || {
        scheduler.spawn_with(move || {
            assert_eq!(thread::current().id(), here);
            let shared = Rc::new(Cell::new(1));
            async move {
                let also = Rc::clone(&shared);
                yield_now().await;
                also.set(also.get() + 1);
                yield_now().await;
                assert_eq!(thread::current().id(), here);
                shared.get()
            }
        })
    });
    let handle = spawner.join().unwrap();
    assert_eq!(mini.block_on(handle).unwrap(), 2);
}

#[test]
fn a_closure_that_never_ran_is_dropped_with_its_task() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = mini.outside(|| {
        mini.owner.scheduler().spawn_with(move || {
            drop(guard);
            pending::<()>()
        })
    });
    handle.abort();
    assert_eq!(drops.count(), 0);
    mini.settle();
    assert_eq!(drops.count(), 1);
    assert!(output(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_handle_is_awaited_on_another_loop() {
    let (sender, handles) = std::sync::mpsc::channel::<crate::task::JoinHandle<String>>();
    let other = thread::spawn(move || {
        let mini = MiniLoop::new();
        for handle in handles {
            assert_eq!(mini.block_on(handle).unwrap(), "output");
        }
    });
    let mini = MiniLoop::new();
    for _ in 0..ROUNDS / 10 {
        sender.send(mini.owner.spawn(async { String::from("output") })).unwrap();
        mini.settle();
    }
    drop(sender);
    other.join().unwrap();
}

#[test]
fn handles_dropped_while_the_task_ends_drop_the_output_once() {
    let mini = MiniLoop::new();
    let (sender, handles) = std::sync::mpsc::channel::<crate::task::JoinHandle<Guard>>();
    let other = thread::spawn(move || {
        for (number, mut handle) in handles.into_iter().enumerate() {
            if number % 2 == 0 {
                let _ = poll_once(&mut handle);
            }
            if number % 3 == 0 {
                handle.abort();
            }
        }
    });
    let drops = Drops::default();
    for _ in 0..ROUNDS {
        let guard = drops.guard();
        sender.send(mini.owner.spawn(async move { guard })).unwrap();
        mini.turn();
    }
    drop(sender);
    other.join().unwrap();
    mini.settle();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (ROUNDS, 0));
}

#[test]
fn the_loop_may_end_while_others_wake_spawn_and_abort() {
    for _ in 0..if cfg!(miri) { 3 } else { 300 } {
        let mini = MiniLoop::new();
        let (latch, drops) = (Latch::default(), Drops::default());
        let (waited, guard) = (latch.clone(), drops.guard());
        let handle = mini.owner.spawn(async move {
            let _guard = guard;
            waited.await;
            pending::<()>().await;
        });
        mini.settle();
        let waker = latch.take_waker().unwrap();
        let scheduler = Arc::clone(mini.owner.scheduler());
        let abort = handle.abort_handle();
        let threads = [
            thread::spawn(move || {
                for _ in 0..50 {
                    waker.wake_by_ref();
                    waker.clone().wake();
                }
            }),
            thread::spawn({
                let drops = drops.clone();
                move || {
                    for _ in 0..50 {
                        let guard = drops.guard();
                        drop(scheduler.spawn_send(async move { drop(guard) }));
                    }
                }
            }),
            thread::spawn(move || abort.abort()),
        ];
        mini.turn();
        drop(mini);
        assert!(output(handle).unwrap_err().is_cancelled());
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(drops.count(), 51);
    }
}

#[test]
fn a_blocking_job_gives_its_result_to_a_loop() {
    let mini = MiniLoop::new();
    let (job, handle) = blocking(|| thread::current().id());
    let pool = thread::spawn(move || job.run());
    let expected = pool.thread().id();
    assert_eq!(mini.block_on(handle).unwrap(), expected);
    pool.join().unwrap();
}
