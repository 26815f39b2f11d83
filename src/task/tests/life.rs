//! Spawning, waking, joining, detaching; who drops what, and when.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use super::*;
use crate::task::{Scheduler, yield_now};

#[test]
fn a_spawned_task_gives_its_output_once_it_is_run() {
    let mini = MiniLoop::new();
    let mut handle = mini.owner.spawn(async { 7 });
    assert!(!handle.is_finished());
    assert!(poll_once(&mut handle).is_pending());
    assert_eq!(mini.owner.live_tasks(), 1);
    assert_eq!(mini.turn(), 1);
    assert!(handle.is_finished());
    assert_eq!(mini.owner.live_tasks(), 0);
    assert_eq!(output(&mut handle).unwrap(), 7);
}

#[test]
#[should_panic = "JoinHandle polled after completion"]
fn polling_a_handle_after_its_output_panics() {
    let mini = MiniLoop::new();
    let mut handle = mini.owner.spawn(async {});
    mini.settle();
    output(&mut handle).unwrap();
    let _ = poll_once(&mut handle);
}

#[test]
fn tasks_wait_for_each_other() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let first = mini.owner.spawn({
        let latch = latch.clone();
        async move {
            latch.await;
            String::from("first")
        }
    });
    let second = mini.owner.spawn(async move { first.await.unwrap() + ", second" });
    mini.settle();
    assert!(!second.is_finished());
    latch.open();
    mini.settle();
    assert_eq!(output(second).unwrap(), "first, second");
}

#[test]
fn a_future_and_its_output_need_not_be_send() {
    let mini = MiniLoop::new();
    let shared = Rc::new(Cell::new(1));
    let handle = mini.owner.spawn({
        let shared = Rc::clone(&shared);
        async move {
            yield_now().await;
            shared.set(2);
            shared
        }
    });
    mini.settle();
    assert!(Rc::ptr_eq(&output(handle).unwrap(), &shared));
    assert_eq!(shared.get(), 2);
}

#[test]
fn a_future_may_borrow_from_itself() {
    let mini = MiniLoop::new();
    let handle = mini.owner.spawn(async {
        let mut own = [1, 2, 3];
        let borrowed = &mut own[1];
        yield_now().await;
        *borrowed += 40;
        yield_now().await;
        own[1]
    });
    mini.settle();
    assert_eq!(output(handle).unwrap(), 42);
}

#[test]
fn a_budget_of_none_runs_none() {
    let mini = MiniLoop::new();
    for tasks in 1..4 {
        let handles: Vec<_> = (0..tasks).map(|_| mini.owner.spawn(async {})).collect();
        assert_eq!(mini.owner.run_ready(0).polls, 0);
        assert!(mini.owner.has_ready() && handles.iter().all(|handle| !handle.is_finished()));
        assert_eq!(mini.turn(), tasks);
    }
}

#[test]
fn the_future_is_dropped_before_the_end_is_published() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    // It keeps the guard until it is dropped itself.
    let handle = mini.owner.spawn(poll_fn(move |_| {
        let _guard = &guard;
        Poll::Ready(())
    }));
    assert_eq!(drops.count(), 0);
    mini.settle();
    assert!(handle.is_finished());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_detached_tasks_output_is_dropped_by_the_loop() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    drop(mini.owner.spawn(async move { guard }));
    assert_eq!((drops.count(), mini.owner.live_tasks()), (0, 1));
    mini.settle();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (1, 0));
}

#[test]
fn an_output_that_nobody_took_is_dropped_with_the_handle() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = mini.owner.spawn(async move { guard });
    mini.settle();
    assert_eq!(drops.count(), 0);
    drop(handle);
    assert_eq!(drops.count(), 1);
}

#[test]
fn an_output_that_was_taken_is_dropped_once() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let mut handle = mini.owner.spawn(async move { guard });
    mini.settle();
    let taken = output(&mut handle).unwrap();
    drop(handle);
    assert_eq!(drops.count(), 0);
    drop(taken);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_handle_with_a_waker_may_be_dropped_before_the_end() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let mut handle = mini.owner.spawn(latch.clone());
    let waiter = Arc::new(RootWaker { woken: AtomicBool::new(false), inbox: Arc::clone(&mini.inbox) });
    let waker = Waker::from(Arc::clone(&waiter));
    assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(Arc::strong_count(&waiter), 3);
    drop(handle);
    assert_eq!(Arc::strong_count(&waiter), 2);
    mini.settle();
    latch.open();
    mini.settle();
    assert!(!waiter.woken.load(Ordering::Relaxed));
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn only_the_last_waker_of_a_handle_is_woken_and_none_is_kept() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let mut handle = mini.owner.spawn(latch.clone());
    let waiters: Vec<_> =
        (0..2).map(|_| Arc::new(RootWaker { woken: AtomicBool::new(false), inbox: Arc::clone(&mini.inbox) })).collect();
    for waiter in [&waiters[0], &waiters[0], &waiters[1]] {
        let waker = Waker::from(Arc::clone(waiter));
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&waiters[0]), 1);
    mini.settle();
    latch.open();
    mini.settle();
    assert!(!waiters[0].woken.load(Ordering::Relaxed));
    assert!(waiters[1].woken.load(Ordering::Relaxed));
    assert_eq!(Arc::strong_count(&waiters[1]), 1);
}

#[test]
fn a_task_woken_many_times_is_polled_once_a_turn() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let handle = mini.owner.spawn(latch.clone());
    mini.settle();
    let waker = latch.take_waker().unwrap();
    for _ in 0..10 {
        waker.wake_by_ref();
        waker.clone().wake();
    }
    mini.outside(|| waker.wake_by_ref());
    assert_eq!(mini.turn(), 1);
    assert_eq!(latch.polls(), 2);
    assert_eq!(mini.turn(), 0);
    assert!(!handle.is_finished());
}

#[test]
fn a_task_that_wakes_itself_does_not_starve_the_others() {
    let mini = MiniLoop::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    for name in ["a", "b", "c"] {
        let order = Rc::clone(&order);
        drop(mini.owner.spawn(poll_fn(move |cx| -> Poll<()> {
            order.borrow_mut().push(name);
            cx.waker().wake_by_ref();
            Poll::Pending
        })));
    }
    assert_eq!(mini.owner.run_ready(2).polls, 2);
    assert_eq!(mini.owner.run_ready(2).polls, 2);
    assert_eq!(mini.owner.run_ready(100).polls, 3);
    assert_eq!(mini.owner.run_ready(0).polls, 0);
    assert_eq!(order.take(), ["a", "b", "c", "a", "b", "c", "a"]);
    assert!(mini.owner.has_ready());
}

/// A task that spawns the next, and so on.
fn relay(scheduler: Arc<Scheduler>, left: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if left > 0 {
            drop(scheduler.clone().spawn_send(relay(scheduler, left - 1)));
        }
    })
}

#[test]
fn tasks_that_are_ready_alone_run_one_after_the_other_until_somebody_else_has_his_turn() {
    let mini = MiniLoop::new();
    drop(mini.owner.spawn(relay(mini.owner.scheduler().clone(), 99)));
    let rounds = |further, called: usize| {
        let asked = Cell::new(0);
        let interrupted = || asked.replace(asked.get() + 1) + 1 == called;
        mini.owner.run_rounds(100, further, interrupted).polls
    };
    assert_eq!(rounds(1, 0), 1);
    assert_eq!(rounds(10, 0), 10);
    assert_eq!(rounds(10, 3), 3, "the main future was woken, say");
    // Two at once are a round of their own.
    drop(mini.owner.spawn(async {}));
    assert_eq!(rounds(100, 0), 2);
    assert_eq!(rounds(1000, 0), 100 - 15);
    assert_eq!(rounds(1000, 0), 0);
    // Who gives way ends them.
    drop(mini.owner.spawn(async {
        yield_now().await;
        yield_now().await;
    }));
    let round = mini.owner.run_rounds(100, 100, || false);
    assert!(round.gave_way);
    assert_eq!(round.polls, 1);
    mini.settle();
}

#[test]
fn what_a_task_spawns_is_for_the_next_call() {
    let mini = Rc::new(MiniLoop::new());
    let inner = Rc::downgrade(&mini);
    let handle = mini.owner.spawn(async move {
        let spawned = inner.upgrade().unwrap().owner.spawn(async { 5 });
        spawned.await.unwrap()
    });
    assert_eq!(mini.turn(), 1);
    assert_eq!(mini.owner.live_tasks(), 2);
    assert_eq!(mini.turn(), 1);
    assert_eq!(mini.turn(), 1);
    assert_eq!(output(handle).unwrap(), 5);
}

#[test]
fn a_wake_between_two_calls_of_block_on_takes_the_remote_queue() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let handle = mini.owner.spawn(latch.clone());
    mini.settle();
    mini.outside(|| latch.open());
    assert!(!mini.owner.has_ready() && !mini.owner.remote_is_empty());
    mini.block_on(handle).unwrap();
}

#[test]
fn remote_arrivals_keep_their_order() {
    let mini = MiniLoop::new();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    mini.outside(|| {
        for number in 0..5 {
            let order = Arc::clone(&order);
            drop(mini.owner.scheduler().spawn_send(async move { order.lock().unwrap().push(number) }));
        }
    });
    mini.settle();
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_waker_outlives_its_task_and_does_nothing() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let handle = mini.owner.spawn(latch.clone());
    mini.settle();
    let waker = latch.take_waker().unwrap();
    latch.open();
    waker.wake_by_ref();
    mini.settle();
    assert!(handle.is_finished());
    drop(handle);
    waker.wake_by_ref();
    waker.clone().wake();
    assert_eq!(mini.turn(), 0);
    assert!(waker.will_wake(&waker.clone()));
}

#[test]
fn a_task_may_hold_its_own_handle() {
    let mini = MiniLoop::new();
    let place: Rc<RefCell<Option<crate::task::JoinHandle<()>>>> = Rc::default();
    let latch = Latch::default();
    let handle = mini.owner.spawn({
        let (place, latch) = (Rc::clone(&place), latch.clone());
        async move {
            let mut own = place.take().unwrap();
            // Waiting for itself, a task would wait forever; but it may look.
            assert!(poll_once(&mut own).is_pending());
            latch.await;
            drop(own);
            pending::<()>().await;
        }
    });
    let abort = handle.abort_handle();
    *place.borrow_mut() = Some(handle);
    mini.settle();
    latch.open();
    mini.settle();
    abort.abort();
    mini.settle();
    assert!(abort.is_finished());
}

#[test]
fn yield_now_works_on_any_executor() {
    let mini = MiniLoop::new();
    mini.block_on(async {
        for _ in 0..3 {
            yield_now().await;
        }
    });
}

#[test]
fn the_loop_wakes_its_own_tasks_without_calling_their_wakers_and_gives_others_back() {
    let mini = MiniLoop::new();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let polls = Rc::new(Cell::new(0));
    let latch = Latch::default();
    let handle = mini.owner.spawn({
        let (wakers, polls, latch) = (Rc::clone(&wakers), Rc::clone(&polls), latch.clone());
        async move {
            let mut latch = latch;
            poll_fn(|cx| {
                polls.set(polls.get() + 1);
                wakers.borrow_mut().extend([cx.waker().clone(), cx.waker().clone()]);
                std::pin::Pin::new(&mut latch).poll(cx)
            })
            .await;
        }
    });
    mini.settle();
    assert_eq!(polls.get(), 1);
    // Two wakes in a turn are one poll, wherever they come from.
    for waker in wakers.take() {
        assert!(mini.owner.waking().wake(waker).is_ok());
    }
    assert_eq!(mini.turn(), 1);
    assert_eq!((polls.get(), mini.turn()), (2, 0));
    // The same of those that are kept, again and again.
    let kept = wakers.take();
    for polled in [3, 4] {
        for waker in &kept {
            assert!(mini.owner.waking().wake_by_ref(waker));
        }
        assert_eq!(mini.turn(), 1);
        assert_eq!((polls.get(), mini.turn()), (polled, 0));
    }
    drop(kept);
    let mut late = wakers.take().split_off(2);
    latch.open();
    mini.settle();
    assert!(handle.is_finished());
    // Of a task that has ended: nothing happens, and its memory goes with the last reference.
    assert!(mini.owner.waking().wake_by_ref(&late[0]));
    assert!(mini.owner.waking().wake(late.pop().unwrap()).is_ok());
    assert_eq!(mini.turn(), 0);
    drop(handle);

    let woken = Arc::new(RootWaker { woken: AtomicBool::new(false), inbox: Arc::clone(&mini.inbox) });
    let foreign = mini.owner.waking().wake(Waker::from(Arc::clone(&woken))).unwrap_err();
    assert!(!mini.owner.waking().wake_by_ref(&foreign));
    assert!(!woken.woken.load(Ordering::Acquire));
    foreign.wake();
    assert!(woken.woken.load(Ordering::Acquire));

    let stranger = late.pop().unwrap();
    let id = PRETENDED_ID.replace(0);
    let other = MiniLoop::new();
    assert!(!other.owner.waking().wake_by_ref(&stranger), "a task of another loop is not ours to queue");
    assert!(other.owner.waking().wake(stranger).is_err(), "nor that");
    drop(other);
    PRETENDED_ID.set(id);
}

#[test]
fn the_memory_of_a_task_is_that_of_one_that_has_ended_here() {
    if cfg!(any(miri, fuzzing, fresh_tasks)) {
        return;
    }
    let mini = MiniLoop::new();
    let place = |future: u64| {
        let handle = mini.owner.spawn(async move { future });
        let id = handle.id();
        (handle, id)
    };
    let (first, first_id) = place(1);
    let (second, second_id) = place(2);
    assert_ne!(first_id, second_id);
    mini.settle();
    assert_eq!(output(first).unwrap(), 1);
    let (third, third_id) = place(3);
    assert_eq!(third_id, first_id, "whose handle has gone");
    mini.settle();
    assert_eq!(output(second).unwrap(), 2);
    // What another thread frees is not kept.
    std::thread::spawn(move || assert_eq!(output(third).unwrap(), 3)).join().unwrap();
    let (fourth, fourth_id) = place(4);
    assert_eq!(fourth_id, second_id);
    mini.settle();
    assert_eq!(output(fourth).unwrap(), 4);
}

#[test]
fn a_task_that_is_woken_before_its_poll_is_polled_once() {
    let mini = MiniLoop::new();
    let polls = Rc::new(Cell::new(0));
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let handle = mini.owner.spawn(poll_fn({
        let (polls, waker) = (Rc::clone(&polls), Rc::clone(&waker));
        move |cx| {
            polls.set(polls.get() + 1);
            *waker.borrow_mut() = Some(cx.waker().clone());
            if polls.get() == 4 { Poll::Ready(()) } else { Poll::Pending }
        }
    }));
    mini.settle();
    let wake = || waker.borrow().as_ref().unwrap().clone();
    // From here, from elsewhere and from here again: it is one poll.
    wake().wake();
    std::thread::spawn({
        let waker = wake();
        move || waker.wake()
    })
    .join()
    .unwrap();
    wake().wake_by_ref();
    mini.settle();
    assert_eq!(polls.get(), 2);
    // The other way round.
    let foreign = wake();
    std::thread::spawn(move || foreign.wake_by_ref()).join().unwrap();
    wake().wake();
    mini.settle();
    assert_eq!(polls.get(), 3);
    let own = wake();
    mini.outside(|| own.wake_by_ref());
    own.wake();
    mini.settle();
    assert_eq!(polls.get(), 4);
    output(handle).unwrap();
}
