//! Who keeps a task: what is queued is kept by the set of live tasks, and what wakers leave behind is bounded and given up.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;

use super::*;
use crate::task::task_ref::TaskRef;

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Ends the loop; every task has to have been freed.
fn end(mini: MiniLoop) {
    let scheduler = Arc::clone(mini.owner.scheduler());
    drop(mini);
    assert_eq!(Arc::strong_count(&scheduler), 1, "a task was not freed");
}

#[test]
fn tasks_that_are_queued_when_the_loop_ends_are_freed() {
    let mini = MiniLoop::new();
    let latches: Vec<_> = (0..5).map(|_| Latch::default()).collect();
    latches.iter().for_each(|latch| drop(mini.owner.spawn(latch.clone())));
    mini.settle();
    latches.iter().filter_map(Latch::take_waker).for_each(Waker::wake);
    // Two of them have come from elsewhere as well, and some lie where the budget has left them.
    mini.outside(|| latches[..2].iter().for_each(|latch| drop(mini.owner.spawn(latch.clone()))));
    assert_eq!(mini.owner.run_ready(2).polls, 2);
    mini.outside(|| latches.iter().filter_map(Latch::take_waker).for_each(Waker::wake));
    end(mini);
}

#[test]
fn a_queued_task_whose_drop_ends_the_loop_again_is_freed_once() {
    thread_local! {
        // What a panic carries has to be `Send`.
        static MINI: RefCell<Option<Rc<MiniLoop>>> = const { RefCell::new(None) };
    }
    let end_again = || {
        let mini = MINI.with_borrow(|mini| mini.clone());
        mini.expect("it is there").owner.shutdown();
    };
    let mini = Rc::new(MiniLoop::new());
    MINI.set(Some(Rc::clone(&mini)));
    let drops = Drops::default();
    for panics in [false, true] {
        let guard = drops.guard();
        let on_drop = OnDrop(move || {
            let _guard = &guard;
            end_again();
            if panics {
                std::panic::panic_any(OnDrop(end_again));
            }
        });
        // Never run, so that it is in the queue, and nobody else has it.
        drop(mini.owner.spawn(async move {
            let _on_drop = on_drop;
            pending::<()>().await;
        }));
    }
    mini.owner.shutdown();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (2, 0));
    MINI.set(None);
    end(Rc::into_inner(mini).expect("all that had it is gone"));
}

#[test]
fn a_batch_that_is_left_when_a_poll_ends_the_loop_is_freed() {
    let mini = Rc::new(MiniLoop::new());
    for index in 0..6 {
        let inner = Rc::clone(&mini);
        drop(mini.owner.spawn(async move {
            if index == 1 {
                inner.owner.shutdown();
            }
            pending::<()>().await;
        }));
    }
    // Some of those behind it are in the batch, and some are left for the next.
    assert_eq!(mini.owner.run_ready(4).polls, 4);
    assert_eq!(mini.owner.live_tasks(), 0);
    end(Rc::into_inner(mini).expect("all that had it is gone"));
}

#[test]
fn one_that_ends_while_it_is_on_the_stack_is_freed_when_that_is_taken() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    drop(mini.owner.spawn(latch.clone()));
    mini.settle();
    let here = latch.take_waker().unwrap();
    let elsewhere = here.clone();
    mini.outside(|| elsewhere.wake());
    latch.open();
    here.wake();
    // Not with the stack's: it ends first.
    assert_eq!(mini.owner.run_ready(10).polls, 1);
    drop(latch);
    assert_eq!(mini.owner.live_tasks(), 0);
    mini.owner.take_remote();
    assert!(!mini.owner.has_ready());
    end(mini);
}

#[test]
fn one_that_has_not_arrived_may_be_aborted_by_its_loop() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = mini.outside(|| mini.owner.scheduler().spawn_send(async move { drop(guard) }));
    handle.abort();
    assert!(!mini.owner.has_ready());
    assert_eq!(mini.turn(), 1);
    assert_eq!(drops.count(), 1);
    assert!(output(handle).unwrap_err().is_cancelled());
    end(mini);
}

#[test]
fn wakers_leave_some_references_and_no_more() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    drop(mini.owner.spawn(latch.clone()));
    mini.settle();
    let waker = latch.take_waker().unwrap();
    assert_eq!(TaskRef::references(&waker), 2, "that of the set, and this one");
    // Made and dropped here, it is one that is kept.
    (0..1000).for_each(|_| drop(waker.clone()));
    assert_eq!(TaskRef::references(&waker), 3);
    // Elsewhere none is taken or left.
    mini.outside(|| (0..1000).for_each(|_| drop(waker.clone())));
    assert_eq!(TaskRef::references(&waker), 3);
    let taken: Vec<_> = (0..5).map(|_| waker.clone()).collect();
    assert_eq!(TaskRef::references(&waker), 7);
    mini.outside(|| drop(taken));
    assert_eq!(TaskRef::references(&waker), 2);
    // Those of wakes from elsewhere are left here, but not without end.
    for _ in 0..1000 {
        mini.outside(|| waker.wake_by_ref());
        mini.settle();
        let cloned = mini.outside(|| waker.clone());
        drop(cloned);
    }
    assert!(TaskRef::references(&waker) < 100, "{}", TaskRef::references(&waker));
    latch.open();
    waker.wake();
    mini.settle();
    assert_eq!(mini.owner.live_tasks(), 0);
    drop(latch);
    end(mini);
}

#[test]
fn wakers_that_outlive_their_task_keep_nothing() {
    let mini = MiniLoop::new();
    let left = Rc::new(RefCell::new(Vec::new()));
    let leaving = Rc::clone(&left);
    drop(mini.owner.spawn(poll_fn(move |cx| {
        leaving.borrow_mut().extend((0..4).map(|_| cx.waker().clone()));
        Poll::Ready(())
    })));
    mini.settle();
    let wakers = left.take();
    assert_eq!(TaskRef::references(&wakers[0]), 4);
    drop(wakers[1].clone());
    wakers[0].wake_by_ref();
    assert_eq!(TaskRef::references(&wakers[0]), 4);
    drop(wakers);
    end(mini);
}
