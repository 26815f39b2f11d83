//! Models of the task: run with `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.
//!
//! The code under test is the real one, from waker to remote stack; only the atomics and cells are
//! loom's. A lost wake-up is a deadlock, a race for the stage, the join waker, a link, a place in the set or the
//! local queues is an access that loom refuses, and a task that is not freed keeps its scheduler.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::models::{Drops, ModelLoop, Parker, WakerPlace, drive, leave, take};
use super::{JoinError, JoinHandle, MainWaker, blocking, scope};
use crate::inbox::Inbox;

/// Explores interleavings with at most `preemptions` forced switches. Most faults need two.
fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

/// Awaits a handle on a thread that is no loop, with a new waker for each poll if `fresh`.
fn block_on<T>(mut handle: JoinHandle<T>, fresh: bool) -> T {
    let inbox = Inbox::new(2).unwrap();
    let mut waker = Waker::from(Arc::new(Parker(Arc::clone(&inbox))));
    let mut polls = 0;
    loop {
        match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output.unwrap(),
            Poll::Pending if polls == 0 => {}
            Poll::Pending => inbox.wait(),
        }
        // The second poll does not wait for the first waker, so that it replaces it.
        polls += 1;
        if fresh {
            waker = Waker::from(Arc::new(Parker(Arc::clone(&inbox))));
        }
    }
}

/// The output of a task that has ended. A panic of its future, or of loom in it, is passed on.
fn output<T>(mut handle: JoinHandle<T>) -> Result<T, JoinError> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(output) = Pin::new(&mut handle).poll(&mut cx) else {
        panic!("the task has not ended");
    };
    match output.map_err(JoinError::try_into_panic) {
        Ok(output) => Ok(output),
        Err(Ok(payload)) => std::panic::resume_unwind(payload),
        Err(Err(cancelled)) => Err(cancelled),
    }
}

/// Two threads wake by two ways while the loop polls. Each stores with no order of its own, so the
/// last poll must be after both, and see both.
#[test]
fn wakes_from_two_threads_are_seen() {
    model(3, || {
        let model = ModelLoop::new(1);
        let place = WakerPlace::default();
        let flags = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let handle = model.owner.spawn({
            let (place, flags) = (Arc::clone(&place), Arc::clone(&flags));
            poll_fn(move |cx| {
                if flags.iter().all(|flag| flag.load(Ordering::Relaxed) == 1) {
                    return Poll::Ready(());
                }
                leave(&place, cx);
                Poll::Pending
            })
        });
        model.turn();
        let waker = take(&place).unwrap();
        let wakers = [waker.clone(), waker];
        let mut index = 0;
        let threads = wakers.map(|waker| {
            let (flags, own) = (Arc::clone(&flags), index);
            index += 1;
            thread::spawn(move || {
                flags[own].store(1, Ordering::Relaxed);
                if own == 0 {
                    waker.wake_by_ref();
                } else {
                    waker.wake();
                }
            })
        });
        model.run();
        output(handle).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        drop(take(&place));
        model.end();
    });
}

/// The first poll itself races with the wake.
#[test]
fn a_wake_during_the_poll_is_seen() {
    model(4, || {
        let model = ModelLoop::new(1);
        let flag = Arc::new(AtomicUsize::new(0));
        let started = Arc::new(Mutex::new(None));
        let handle = model.owner.spawn({
            let (flag, started) = (Arc::clone(&flag), Arc::clone(&started));
            poll_fn(move |cx| {
                if flag.load(Ordering::Relaxed) == 1 {
                    return Poll::Ready(());
                }
                if started.lock().unwrap().is_none() {
                    let (flag, waker) = (Arc::clone(&flag), cx.waker().clone());
                    let thread = thread::spawn(move || {
                        flag.store(1, Ordering::Relaxed);
                        waker.wake();
                    });
                    *started.lock().unwrap() = Some(thread);
                    thread::yield_now();
                }
                Poll::Pending
            })
        });
        model.run();
        output(handle).unwrap();
        let thread = started.lock().unwrap().take().unwrap();
        thread.join().unwrap();
        model.end();
    });
}

/// The loop's own thread wakes the task, clones its waker and drops it, while another thread does the same or aborts. What
/// the other thread has stored is seen by the last poll; and all references are given up.
#[test]
fn wakes_here_against_wakes_elsewhere() {
    for aborts in [false, true] {
        model(3, move || {
            let model = ModelLoop::new(1);
            let (place, drops) = (WakerPlace::default(), Drops::default());
            let guard = drops.guard(Some(1));
            let flag = Arc::new(AtomicUsize::new(0));
            let handle = model.owner.spawn({
                let (place, flag) = (Arc::clone(&place), Arc::clone(&flag));
                poll_fn(move |cx| {
                    let _guard = &guard;
                    if flag.load(Ordering::Relaxed) == 1 {
                        return Poll::Ready(());
                    }
                    leave(&place, cx);
                    Poll::Pending
                })
            });
            model.turn();
            let waker = take(&place).unwrap();
            let (own, abort) = (waker.clone(), handle.abort_handle());
            let other = thread::spawn(move || {
                flag.store(1, Ordering::Relaxed);
                if aborts {
                    abort.abort();
                } else {
                    waker.wake();
                }
            });
            own.wake_by_ref();
            drop(own.clone());
            model.turn();
            own.wake();
            model.run();
            assert_eq!(drops.count(), 1);
            let ended = output(handle);
            assert!(aborts || ended.is_ok());
            other.join().unwrap();
            drop(take(&place));
            model.end();
        });
    }
}

/// Abort against wake against run: the future is dropped once, on the loop's thread.
#[test]
fn abort_wake_and_run() {
    model(3, || {
        let model = ModelLoop::new(1);
        let (place, drops) = (WakerPlace::default(), Drops::default());
        let guard = drops.guard(Some(1));
        let handle = model.owner.spawn({
            let place = Arc::clone(&place);
            poll_fn(move |cx| {
                let _guard = &guard;
                leave(&place, cx);
                Poll::<()>::Pending
            })
        });
        model.turn();
        let waker = take(&place).unwrap();
        let waking = thread::spawn(move || waker.wake());
        let abort = handle.abort_handle();
        let aborting = thread::spawn(move || abort.abort());
        model.run();
        assert_eq!(drops.count(), 1);
        assert!(output(handle).is_err());
        waking.join().unwrap();
        aborting.join().unwrap();
        drop(take(&place));
        model.end();
    });
}

/// The handle is dropped elsewhere while the task completes: the output is dropped once.
#[test]
fn complete_against_the_drop_of_the_handle() {
    // Polled nowhere, here, where it is dropped.
    for (here, elsewhere) in [(false, false), (true, false), (false, true), (true, true)] {
        model(3, move || {
            let model = ModelLoop::new(1);
            let drops = Drops::default();
            let guard = drops.guard(None);
            let mut handle = model.owner.spawn(async move { guard });
            let waker = Waker::from(Arc::new(Parker(Inbox::new(2).unwrap())));
            if here {
                assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            }
            let dropping = thread::spawn(move || {
                if elsewhere {
                    let _ = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
                }
                drop(handle);
            });
            model.run();
            dropping.join().unwrap();
            assert_eq!(drops.count(), 1);
            model.end();
        });
    }
}

/// The handle is awaited elsewhere while the task completes: the output arrives.
#[test]
fn complete_against_join() {
    for (fresh, first_here) in [(false, false), (true, false), (false, true), (true, true)] {
        model(4, move || {
            let model = ModelLoop::new(1);
            let mut handle = model.owner.spawn(async { 7 });
            if first_here {
                assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            let joining = thread::spawn(move || assert_eq!(block_on(handle, fresh), 7));
            model.run();
            joining.join().unwrap();
            model.end();
        });
    }
}

/// What was done before the main future was woken is seen by its next poll, however its loop goes to sleep and whoever wakes
/// it beside.
#[test]
fn the_main_future_is_woken_from_another_thread() {
    for stands in [false, true] {
        model(3, move || {
            let model = ModelLoop::new(1);
            let main = MainWaker::new(Arc::clone(&model.inbox));
            let seen: Arc<[AtomicUsize; 2]> = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
            let wakers = [0, 1].map(|index| {
                let (seen, waker) = (Arc::clone(&seen), main.waker());
                thread::spawn(move || {
                    seen[index].store(1, Ordering::Relaxed);
                    waker.wake();
                })
            });
            let own = main.waker();
            own.wake_by_ref();
            loop {
                if main.take_woken() {
                    drop(own.clone());
                    if seen.iter().all(|seen| seen.load(Ordering::Relaxed) == 1) {
                        break;
                    }
                }
                if main.is_woken() {
                    continue;
                }
                let called = model.inbox.announce_sleep() && main.is_woken();
                if !called {
                    model.inbox.wait();
                }
                if !stands {
                    model.inbox.announce_awake();
                }
            }
            for waker in wakers {
                waker.join().unwrap();
            }
            drop(own);
            main.close();
            assert_eq!(main.references(), (1, 0));
            model.end();
        });
    }
}

/// A task spawned from elsewhere runs, also when the loop is going to sleep.
#[test]
fn spawn_from_another_thread() {
    model(3, || {
        let model = ModelLoop::new(1);
        let scheduler = model.scheduler();
        let seen = Arc::new(AtomicUsize::new(0));
        let spawning = thread::spawn({
            let seen = Arc::clone(&seen);
            move || {
                let task = async move { seen.store(1, Ordering::Relaxed) };
                block_on(scheduler.spawn_send(task), false);
            }
        });
        while seen.load(Ordering::Relaxed) == 0 {
            model.turn();
            let _anew = model.inbox.announce_sleep();
            if model.owner.remote_is_empty() && !model.owner.has_ready() && seen.load(Ordering::Relaxed) == 0 {
                model.inbox.wait();
            }
            model.inbox.announce_awake();
        }
        model.run();
        spawning.join().unwrap();
        model.end();
    });
}

/// Two threads push while the loop takes the stack apart.
#[test]
fn spawns_from_two_threads() {
    model(3, || {
        let model = ModelLoop::new(1);
        let drops = Drops::default();
        let threads = [0, 1].map(|_| {
            let (scheduler, guard) = (model.scheduler(), drops.guard(Some(1)));
            thread::spawn(move || drop(scheduler.spawn_send(async move { drop(guard) })))
        });
        while drops.count() < 2 {
            model.turn();
            let _anew = model.inbox.announce_sleep();
            if model.owner.remote_is_empty() && drops.count() < 2 {
                model.inbox.wait();
            }
            model.inbox.announce_awake();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        model.end();
    });
}

/// The loop ends while others wake, spawn and abort. Nothing is dropped twice or not at all, and
/// what needs the loop's thread is dropped there.
#[test]
fn shutdown_against_wake_and_spawn() {
    model(3, || {
        let model = ModelLoop::new(1);
        let (place, drops) = (WakerPlace::default(), Drops::default());
        let guard = drops.guard(Some(1));
        let handle = model.owner.spawn({
            let place = Arc::clone(&place);
            poll_fn(move |cx| {
                let _guard = &guard;
                leave(&place, cx);
                Poll::<()>::Pending
            })
        });
        model.turn();
        let waker = take(&place).unwrap();
        let waking = thread::spawn(move || waker.wake());
        let scheduler = model.scheduler();
        let spawned = drops.guard(None);
        let spawning = thread::spawn(move || {
            drop(scheduler.spawn_send(async move { drop(spawned) }));
        });
        model.owner.shutdown();
        assert!(output(handle).is_err());
        waking.join().unwrap();
        spawning.join().unwrap();
        assert_eq!(drops.count(), 2);
        model.end();
    });
}

#[test]
fn shutdown_against_abort() {
    model(4, || {
        let model = ModelLoop::new(1);
        let drops = Drops::default();
        let guard = drops.guard(Some(1));
        let handle = model.owner.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        model.turn();
        let aborting = thread::spawn(move || {
            handle.abort();
            drop(handle);
        });
        model.owner.shutdown();
        aborting.join().unwrap();
        assert_eq!(drops.count(), 1);
        model.end();
    });
}

/// A blocking job is run on one thread, aborted and awaited on others.
#[test]
fn blocking_job_against_abort_and_join() {
    model(4, || {
        let drops = Drops::default();
        let guard = drops.guard(None);
        let (job, mut handle) = blocking(move || guard);
        let abort = handle.abort_handle();
        let running = thread::spawn(move || job.run());
        let aborting = thread::spawn(move || abort.abort());
        let inbox = Inbox::new(2).unwrap();
        let waker = Waker::from(Arc::new(Parker(Arc::clone(&inbox))));
        let mut cx = Context::from_waker(&waker);
        let output = loop {
            match Pin::new(&mut handle).poll(&mut cx) {
                Poll::Ready(output) => break output,
                Poll::Pending => inbox.wait(),
            }
        };
        match output {
            Ok(_guard) => assert_eq!(drops.count(), 0),
            Err(error) => assert!(error.is_cancelled()),
        }
        running.join().unwrap();
        aborting.join().unwrap();
        assert_eq!(drops.count(), 1);
    });
}

/// Waits until another thread has said so. That one wakes before, too: so the second poll may be under way when it says so and
/// wakes once more, and must not be the last.
async fn woken_in_the_middle() {
    let said = Arc::new(AtomicUsize::new(0));
    let mut other = None;
    poll_fn(|cx| {
        if other.is_none() {
            let (said, waker) = (Arc::clone(&said), cx.waker().clone());
            other = Some(thread::spawn(move || {
                waker.wake_by_ref();
                said.store(1, Ordering::Relaxed);
                waker.wake();
            }));
            return Poll::Pending;
        }
        if said.load(Ordering::Relaxed) == 1 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    other.unwrap().join().unwrap();
}

#[test]
fn a_child_of_a_scope_is_woken_from_another_thread() {
    model(3, || {
        let result: Result<(), ()> = drive(scope(async |s| {
            s.spawn(async { Ok::<(), ()>(woken_in_the_middle().await) });
            Ok(())
        }));
        assert!(result.is_ok());
    });
}

#[test]
fn the_body_of_a_scope_is_woken_from_another_thread() {
    model(3, || {
        let result: Result<(), ()> = drive(scope(async |_| {
            woken_in_the_middle().await;
            Ok(())
        }));
        assert!(result.is_ok());
    });
}

/// Two children of which one ends while the other is woken: the places are told apart, and none is forgotten.
#[test]
fn two_children_of_a_scope_are_woken_from_two_threads() {
    model(2, || {
        let result: Result<(), ()> = drive(scope(async |s| {
            for _ in 0..2 {
                s.spawn(async { Ok::<(), ()>(woken_in_the_middle().await) });
            }
            Ok(())
        }));
        assert!(result.is_ok());
    });
}
