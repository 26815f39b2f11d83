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
    mini.at(here, || assert!(Pin::new(handle).poll(&mut Context::from_waker(&waker)).is_pending()));
}

/// The same with a waker that panics, or after one. Whether that came out.
fn panics<T>(mini: &MiniLoop, handle: &mut JoinHandle<T>, waker: &Waker, here: bool) -> bool {
    let poll = || assert!(Pin::new(handle).poll(&mut Context::from_waker(waker)).is_pending());
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mini.at(here, poll))).is_err()
}

/// A waker of these functions, which do nothing with its data. It is never dropped.
fn waker_of(table: &'static RawWakerVTable) -> std::mem::ManuallyDrop<Waker> {
    // SAFETY: the functions look at no data.
    std::mem::ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), table)) })
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
        assert_eq!((Arc::strong_count(&before), Arc::strong_count(&last)), (1, 2), "{first} {second}");
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
            if polled && !dropped {
                // What lies on the loop's thread cannot be reached from elsewhere: the loop drops it.
                assert_eq!(Arc::strong_count(&waiter), 2);
                mini.owner.take_remote();
            }
            assert_eq!(Arc::strong_count(&waiter), 1);
            mini.settle();
            if ends {
                latch.open();
                mini.settle();
            } else {
                mini.owner.shutdown();
            }
            assert_eq!(Arc::strong_count(&waiter), 1);
            assert_eq!(mini.owner.live_tasks(), 0);
            assert!(!waiter.woken.load(Ordering::Relaxed));
        }
    }
}

#[test]
fn a_handle_goes_to_and_fro() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let mut handle = mini.owner.spawn(latch.clone());
    let waiters: Vec<_> = (0..6).map(|_| waiter(&mini)).collect();
    for (index, waiter) in waiters.iter().enumerate() {
        poll(&mini, &mut handle, waiter, index % 2 == 0);
    }
    mini.settle();
    latch.open();
    mini.settle();
    let woken: Vec<_> = waiters.iter().map(|waiter| waiter.woken.load(Ordering::Relaxed)).collect();
    assert_eq!(woken, [false, false, false, false, false, true]);
    assert!(waiters.iter().all(|waiter| Arc::strong_count(waiter) == 1));
    output(handle).unwrap();
}

/// Panics when it is cloned, or dropped.
static PANICS_ON_CLONE: RawWakerVTable =
    RawWakerVTable::new(|_| panic!("cloned"), |_| panic!("woken"), |_| panic!("woken"), |_| {});
static PANICS_ON_DROP: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &PANICS_ON_DROP),
    |_| {},
    |_| {},
    |_| {
        if !std::thread::panicking() {
            panic!("dropped")
        }
    },
);

#[test]
fn wakers_that_panic_leave_the_task_as_it_was() {
    let mini = MiniLoop::new();
    for here in [true, false] {
        let latch = Latch::default();
        let mut handle = mini.owner.spawn(latch.clone());
        assert!(panics(&mini, &mut handle, &waker_of(&PANICS_ON_CLONE), here));
        assert!(!panics(&mini, &mut handle, &waker_of(&PANICS_ON_DROP), here));
        let waiter = waiter(&mini);
        assert!(panics(&mini, &mut handle, &Waker::from(Arc::clone(&waiter)), here), "the one before it is dropped");
        mini.settle();
        latch.open();
        mini.settle();
        assert!(waiter.woken.load(Ordering::Relaxed), "{here}");
        output(handle).unwrap();
        // In the drop of a handle nobody hears of it.
        let mut handle = mini.owner.spawn(Latch::default());
        assert!(!panics(&mini, &mut handle, &waker_of(&PANICS_ON_DROP), here));
        drop(handle);
        mini.settle();
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
    let waker = waker_of(&TURNS);
    let Poll::Ready(output) = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) else {
        panic!("it has ended");
    };
    assert_eq!(output.unwrap(), 7);
}
