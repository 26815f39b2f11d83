//! The end of the loop: every future is dropped, nothing new comes in, nothing that is left hurts.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use super::*;
use crate::task::{JoinHandle, yield_now};

#[test]
fn drops_every_future_wherever_its_task_is() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let (waiting, queued_again) = (Latch::default(), Latch::default());
    let mut handles = Vec::new();
    for latch in [&waiting, &queued_again] {
        let (latch, guard) = (latch.clone(), drops.guard());
        handles.push(mini.owner.spawn(async move {
            let _guard = guard;
            latch.await;
            pending::<()>().await;
        }));
    }
    mini.settle();
    queued_again.open();
    let guard = drops.guard();
    handles.push(mini.owner.spawn(async move { drop(guard) }));
    mini.outside(|| {
        for _ in 0..2 {
            let guard = drops.guard();
            handles.push(mini.owner.scheduler().spawn_send(async move { drop(guard) }));
        }
    });
    let kept = waiting.take_waker().unwrap();
    mini.owner.shutdown();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (5, 0));
    for handle in handles {
        assert!(output(handle).unwrap_err().is_cancelled());
    }
    kept.wake_by_ref();
    mini.outside(|| kept.wake());
    assert!(!mini.owner.has_ready() && mini.owner.remote_is_empty());
    assert_eq!(mini.turn(), 0);
}

#[test]
fn wakers_and_handles_outlive_the_loop() {
    let latch = Latch::default();
    let handle;
    let scheduler;
    {
        let mini = MiniLoop::new();
        scheduler = Arc::clone(mini.owner.scheduler());
        handle = mini.owner.spawn(latch.clone());
        mini.settle();
    }
    let waker = latch.take_waker().unwrap();
    waker.wake_by_ref();
    let other = waker.clone();
    std::thread::spawn(move || {
        other.wake();
        assert!(output(handle).unwrap_err().is_cancelled());
    })
    .join()
    .unwrap();
    let drops = Drops::default();
    let guard = drops.guard();
    let refused = scheduler.spawn_send(async move { drop(guard) });
    assert_eq!(drops.count(), 1);
    assert!(output(refused).unwrap_err().is_cancelled());
    let guard = drops.guard();
    let refused = scheduler.spawn_with(move || async move { drop(guard) });
    assert_eq!(drops.count(), 2);
    assert!(output(refused).unwrap_err().is_cancelled());
    drop(scheduler);
    waker.wake();
}

#[test]
fn the_drop_of_a_future_may_wake_abort_and_spawn() {
    struct Busy {
        mini: Rc<MiniLoop>,
        waker: Rc<RefCell<Option<Waker>>>,
        victim: JoinHandle<()>,
        drops: Drops,
    }
    impl Drop for Busy {
        fn drop(&mut self) {
            self.victim.abort();
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
            let guard = self.drops.guard();
            let refused = self.mini.owner.spawn(async move { drop(guard) });
            assert!(output(refused).unwrap_err().is_cancelled());
            assert_eq!(self.mini.owner.run_ready(100).polls, 0);
            self.mini.owner.shutdown();
        }
    }
    let mini = Rc::new(MiniLoop::new());
    let drops = Drops::default();
    let waker = Rc::new(RefCell::new(None));
    for _ in 0..3 {
        let busy = Busy {
            mini: Rc::clone(&mini),
            waker: Rc::clone(&waker),
            victim: mini.owner.spawn(pending()),
            drops: drops.clone(),
        };
        drop(mini.owner.spawn(poll_fn(move |cx| -> Poll<()> {
            *busy.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })));
    }
    mini.settle();
    mini.owner.shutdown();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (3, 0));
    assert_eq!(Rc::strong_count(&mini), 1);
}

#[test]
fn called_from_a_poll_it_spares_the_task_until_the_poll_returns() {
    let mini = Rc::new(MiniLoop::new());
    let drops = Drops::default();
    let other_guard = drops.guard();
    let other = mini.owner.spawn(async move {
        let _guard = other_guard;
        pending::<()>().await;
    });
    mini.settle();
    let caller = mini.owner.spawn({
        let (mini, drops, guard) = (Rc::clone(&mini), drops.clone(), drops.guard());
        async move {
            let _guard = guard;
            mini.owner.shutdown();
            assert_eq!(drops.count(), 1);
            yield_now().await;
            unreachable!("it is dropped when it yields");
        }
    });
    let never = mini.owner.spawn(async { unreachable!("it is behind the caller") });
    mini.turn();
    assert_eq!((drops.count(), mini.owner.live_tasks()), (2, 0));
    assert!(output(other).unwrap_err().is_cancelled());
    assert!(output(caller).unwrap_err().is_cancelled());
    assert!(output::<JoinHandle<()>>(never).unwrap_err().is_cancelled());
    assert_eq!(Rc::strong_count(&mini), 1);
}

#[test]
fn an_owner_dropped_outside_its_loop_still_shuts_down() {
    let inbox = Inbox::new(1 << 50).unwrap();
    let owner = Owner::new(inbox);
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = owner.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    owner.run_ready(1);
    drop(owner);
    assert_eq!(drops.count(), 1);
    assert!(output(handle).unwrap_err().is_cancelled());
}

#[test]
fn tasks_that_await_each_other_are_all_dropped() {
    let mini = MiniLoop::new();
    let first = mini.owner.spawn(pending::<()>());
    let second = mini.owner.spawn(first);
    let third = mini.owner.spawn(second);
    mini.settle();
    mini.owner.shutdown();
    assert_eq!(mini.owner.live_tasks(), 0);
    assert!(output(third).unwrap_err().is_cancelled());
}
