//! Tasks and wakes on a whole loop.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use ringtoss::{EventLoop, op, spawn, yield_now};

use crate::util::{Count, often, pipe, poll_once, run};

#[test]
fn a_million_wakes_from_four_threads_and_none_is_lost() {
    const EACH: usize = 250_000;
    let sent = Arc::new(AtomicUsize::new(0));
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (sent, waker) = (sent.clone(), waker.clone());
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    sent.fetch_add(1, Ordering::SeqCst);
                    if let Some(waker) = waker.lock().unwrap().take() {
                        waker.wake();
                    }
                }
            })
        })
        .collect();
    run(async {
        // The task sleeps whenever it has seen everything; a lost wake would leave it asleep with more to see.
        let seen = spawn(poll_fn(move |cx| {
            *waker.lock().unwrap() = Some(cx.waker().clone());
            if sent.load(Ordering::SeqCst) == 4 * EACH { Poll::Ready(()) } else { Poll::Pending }
        }));
        seen.await.unwrap();
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn single_wakes_reach_a_loop_that_sleeps() {
    let (ask, asked) = std::sync::mpsc::channel::<Waker>();
    let rounds = Arc::new(AtomicUsize::new(0));
    let answerer = std::thread::spawn({
        let rounds = rounds.clone();
        move || {
            for waker in asked {
                rounds.fetch_add(1, Ordering::SeqCst);
                waker.wake();
            }
        }
    });
    run(async {
        for round in 0..often(20_000) {
            let mut sent = false;
            poll_fn(|cx| {
                if rounds.load(Ordering::SeqCst) > round {
                    return Poll::Ready(());
                }
                if !std::mem::replace(&mut sent, true) {
                    ask.send(cx.waker().clone()).unwrap();
                }
                Poll::Pending
            })
            .await;
        }
        drop(ask);
    });
    answerer.join().unwrap();
}

/// Waits for another thread, which wakes `waker` when it is told to.
async fn waits(place: Arc<Mutex<Option<Waker>>>) {
    poll_fn(|cx| match place.lock().unwrap().replace(cx.waker().clone()) {
        Some(_) => Poll::Ready(()),
        None => Poll::Pending,
    })
    .await;
}

/// So many sleeps of the loop in which nobody calls it.
async fn sleep_uncalled(times: usize) {
    for _ in 0..times {
        op::nop().await.unwrap();
    }
}

/// The loop has taken in what others had woken when another thread wakes, before it sleeps. It looks once more then, or was
/// called, because nobody had called it for so long that it does not look.
#[test]
fn a_wake_from_elsewhere_at_the_end_of_a_turn_is_not_slept_through() {
    run(async {
        for (sleeps, rounds) in [(0, 100), (600, 5)] {
            for _ in 0..rounds {
                sleep_uncalled(sleeps).await;
                let waking = spawn(async {
                    let place: Arc<Mutex<Option<Waker>>> = Arc::default();
                    let waiting = spawn(waits(place.clone()));
                    op::nop().await.unwrap();
                    // A task is polled behind the mail, and this one wakes nobody here.
                    let waker = place.lock().unwrap().clone().expect("it has been polled");
                    std::thread::spawn(move || waker.wake()).join().unwrap();
                    waiting.await.unwrap();
                });
                waking.await.unwrap();
            }
        }
    });
}

/// The same of the future that `block_on` runs, of mail and of the pool, by a loop that nobody has called for long.
#[test]
fn a_loop_that_does_not_look_again_is_called() {
    run(async {
        for _ in 0..5 {
            sleep_uncalled(600).await;
            // The main future: its waker is left by the first poll, and used by a task, which is polled behind that.
            let place: Arc<Mutex<Option<Waker>>> = Arc::default();
            let waking = spawn({
                let place = place.clone();
                async move {
                    let waker = place.lock().unwrap().clone().expect("it has been polled");
                    std::thread::spawn(move || waker.wake()).join().unwrap();
                }
            });
            waits(place).await;
            waking.await.unwrap();
            sleep_uncalled(600).await;
            // Mail: what another thread drops is cancelled and closed here.
            let (ours, theirs) = ringtoss::net::UnixStream::pair().unwrap();
            let mut reading = Box::pin(async move { { ours }.read(Vec::with_capacity(1)).await.0 });
            assert!(poll_once(&mut reading).await.is_pending());
            let ended = spawn(async move { { theirs }.read(Vec::with_capacity(1)).await.0 });
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            spawn(async move { std::thread::spawn(move || drop(reading)).join().unwrap() }).await.unwrap();
            assert_eq!(ended.await.unwrap().unwrap(), 0);
            sleep_uncalled(600).await;
            assert_eq!(ringtoss::spawn_blocking(|| 7).await.unwrap(), 7);
        }
    });
}

#[test]
fn a_waker_may_outlive_its_loop() {
    let waker = run(async { poll_fn(|cx| Poll::Ready(cx.waker().clone())).await });
    let task_waker = run(async { spawn(poll_fn(|cx| Poll::Ready(cx.waker().clone()))).await.unwrap() });
    for waker in [waker, task_waker] {
        waker.wake_by_ref();
        std::thread::spawn(move || {
            waker.wake_by_ref();
            waker.wake();
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_task_that_never_rests_does_not_starve_the_others() {
    run(async {
        let spinning = spawn(async {
            loop {
                yield_now().await;
            }
        });
        for _ in 0..20 {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
            op::nop().await.unwrap();
        }
        // More of them than one turn has polls.
        let crowd: Vec<_> = (0..2000)
            .map(|_| {
                spawn(std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                }))
            })
            .collect();
        for _ in 0..20 {
            op::nop().await.unwrap();
        }
        ringtoss::time::sleep(Duration::from_millis(1)).await;
        crowd.iter().for_each(|task| task.abort());
        spinning.abort();
        assert!(spinning.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn panics_reach_the_handle_and_the_loop_goes_on() {
    run(async {
        let error = spawn(async { panic!("in a task") }).await.unwrap_err();
        assert!(error.is_panic());
        assert_eq!(*error.into_panic().downcast_ref::<&str>().unwrap(), "in a task");
        let handle = ringtoss::Handle::current();
        let error = handle.spawn_with(|| -> std::future::Ready<()> { panic!("in the making") }).await.unwrap_err();
        assert!(error.is_panic());
        let error = ringtoss::spawn_blocking(|| panic!("in the pool")).await.unwrap_err();
        assert!(error.is_panic());
        op::nop().await.unwrap();
    });
}

#[test]
fn what_blocks_is_not_on_the_loops_thread() {
    run(async {
        let here = std::thread::current().id();
        let calls: Vec<_> = (0..9).map(|_| ringtoss::spawn_blocking(|| std::thread::current().id())).collect();
        for call in calls {
            assert_ne!(call.await.unwrap(), here);
        }
    });
}

#[test]
fn an_aborted_task_gives_its_operation_up() {
    let count = Count::default();
    run(async {
        let pipe = pipe();
        let read = pipe.read(count.buffer());
        let task = spawn(read);
        op::nop().await.unwrap();
        op::nop().await.unwrap();
        task.abort();
        assert!(task.await.err().unwrap().is_cancelled());
        crate::util::until(|| count.dropped() == 1).await;
    });
}

#[test]
fn others_spawn_and_await_from_their_threads() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (stop, stopped) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let tasks: Vec<_> = (0..1000u64)
            .map(|index| {
                if index % 2 == 0 {
                    handle.spawn(async move { op::nop().await.map(|()| index) })
                } else {
                    handle.spawn_with(move || {
                        let local = std::rc::Rc::new(index);
                        async move { op::nop().await.map(|()| *local) }
                    })
                }
            })
            .collect();
        // Awaited on another loop than they run on.
        let sum = ringtoss::block_on(async {
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap().unwrap();
            }
            sum
        });
        stop.send(sum).unwrap();
    });
    let sum = event_loop.block_on(async {
        loop {
            match stopped.try_recv() {
                Ok(sum) => break sum,
                Err(_) => ringtoss::time::sleep(Duration::from_millis(1)).await,
            }
        }
    });
    assert_eq!(sum, 999 * 500);
    thread.join().unwrap();
    let handle = event_loop.handle();
    drop(event_loop);
    let late = handle.spawn(async { 1 });
    assert!(ringtoss::block_on(late).unwrap_err().is_cancelled());
}
