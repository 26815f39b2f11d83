//! Who awaits a task: on its loop's thread without an atomic operation, elsewhere by the word; and from one to the other.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable};

use super::*;
use crate::task::JoinHandle;

fn waiter(mini: &MiniLoop) -> Arc<RootWaker> {
    Arc::new(RootWaker { woken: AtomicBool::new(false), inbox: Arc::clone(&mini.inbox) })
}

/// Polls a handle of a task that has not ended, on the loop's thread, with the loop entered or not.
fn poll<T>(mini: &MiniLoop, handle: &mut JoinHandle<T>, waiter: &Arc<RootWaker>, here: bool) {
    let waker = Waker::from(Arc::clone(waiter));
    let mut poll = || assert!(Pin::new(&mut *handle).poll(&mut Context::from_waker(&waker)).is_pending());
    if here { poll() } else { mini.outside(poll) }
}

#[test]
fn the_last_waker_is_woken_wherever_it_was_left() {
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let mini = MiniLoop::new();
        let latch = Latch::default();
        let mut handle = mini.owner.spawn(latch.clone());
        let (before, last) = (waiter(&mini), waiter(&mini));
        poll(&mini, &mut handle, &before, first);
        poll(&mini, &mut handle, &last, second);
        poll(&mini, &mut handle, &last, second);
        mini.settle();
        latch.open();
        mini.settle();
        assert!(last.woken.load(Ordering::Relaxed), "{first} {second}");
        assert!(!before.woken.load(Ordering::Relaxed), "{first} {second}");
        assert_eq!((Arc::strong_count(&before), Arc::strong_count(&last)), (1, 1));
        output(handle).unwrap();
    }
}

#[test]
fn the_waker_of_a_handle_that_is_gone_is_dropped_by_whoever_may() {
    for ends in [false, true] {
        for (polled, dropped) in [(true, true), (true, false), (false, true), (false, false)] {
            let mini = MiniLoop::new();
            let latch = Latch::default();
            let mut handle = mini.owner.spawn(latch.clone());
            let waiter = waiter(&mini);
            poll(&mini, &mut handle, &waiter, polled);
            if dropped {
                drop(handle);
            } else {
                mini.outside(|| drop(handle));
            }
            // What lies on the loop's thread cannot be reached from elsewhere.
            assert_eq!(Arc::strong_count(&waiter), if polled && !dropped { 2 } else { 1 });
            mini.settle();
            if ends {
                latch.open();
                mini.settle();
            } else {
                mini.owner.shutdown();
            }
            assert_eq!(Arc::strong_count(&waiter), 1);
            assert!(!waiter.woken.load(Ordering::Relaxed));
        }
    }
}

thread_local! {
    static ON_CLONE: RefCell<Option<Rc<MiniLoop>>> = const { RefCell::new(None) };
}

/// A waker whose clone turns the loop.
static TURNS: RawWakerVTable = RawWakerVTable::new(
    |data| {
        let mini = ON_CLONE.take();
        mini.expect("cloned once").settle();
        RawWaker::new(data, &TURNS)
    },
    |_| panic!("woken"),
    |_| panic!("woken"),
    |_| {},
);

#[test]
fn a_task_that_ends_while_the_waker_is_cloned_is_told_at_once() {
    let mini = Rc::new(MiniLoop::new());
    let mut handle = mini.owner.spawn(async { 7 });
    ON_CLONE.set(Some(Rc::clone(&mini)));
    // SAFETY: the functions do nothing with the data.
    let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TURNS)) };
    let Poll::Ready(output) = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) else {
        panic!("it has ended");
    };
    assert_eq!(output.unwrap(), 7);
}
