//! Aborting a task in each state, from here and from elsewhere.

use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use super::*;
use crate::task::{AbortHandle, blocking};

fn assert_cancelled<T>(handle: crate::task::JoinHandle<T>) {
    let error = output(handle).err().expect("the task gave an output");
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.to_string(), format!("task {} was cancelled", error.id()));
    assert!(error.try_into_panic().is_err());
}

#[test]
fn before_the_first_poll() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = mini.owner.spawn(async move {
        let _guard = guard;
        unreachable!("an aborted task is not polled");
    });
    handle.abort();
    assert!(!handle.is_finished());
    assert_eq!(drops.count(), 0);
    mini.settle();
    assert_eq!(drops.count(), 1);
    assert!(handle.is_finished());
    assert_cancelled(handle);
    assert_eq!(mini.owner.live_tasks(), 0);
}

#[test]
fn while_it_waits() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let latch = Latch::default();
    let handle = mini.owner.spawn({
        let latch = latch.clone();
        async move {
            let _guard = guard;
            latch.await;
        }
    });
    mini.settle();
    handle.abort();
    handle.abort();
    assert_eq!(mini.turn(), 1);
    assert_eq!((latch.polls(), drops.count()), (1, 1));
    assert_cancelled(handle);
    // A waker of it is still about.
    latch.open();
    assert_eq!(mini.turn(), 0);
}

#[test]
fn while_it_is_queued() {
    let mini = MiniLoop::new();
    let latch = Latch::default();
    let handle = mini.owner.spawn(latch.clone());
    mini.settle();
    latch.open();
    handle.abort();
    mini.settle();
    assert_eq!(latch.polls(), 1);
    assert_cancelled(handle);
}

#[test]
fn while_it_runs_by_itself() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let own: Rc<std::cell::OnceCell<AbortHandle>> = Rc::default();
    let handle = mini.owner.spawn({
        let own = Rc::clone(&own);
        async move {
            let _guard = guard;
            own.get().unwrap().abort();
            pending::<()>().await;
        }
    });
    own.set(handle.abort_handle()).unwrap();
    assert_eq!(mini.turn(), 1);
    assert_eq!(drops.count(), 1);
    assert_cancelled(handle);
}

#[test]
fn an_output_given_in_the_same_poll_wins() {
    let mini = MiniLoop::new();
    let own: Rc<std::cell::OnceCell<AbortHandle>> = Rc::default();
    let handle = mini.owner.spawn({
        let own = Rc::clone(&own);
        async move {
            own.get().unwrap().abort();
            3
        }
    });
    own.set(handle.abort_handle()).unwrap();
    mini.settle();
    assert_eq!(output(handle).unwrap(), 3);
}

#[test]
fn after_the_end() {
    let mini = MiniLoop::new();
    let handle = mini.owner.spawn(async { 4 });
    let abort = handle.abort_handle();
    mini.settle();
    handle.abort();
    abort.abort();
    assert!(abort.is_finished());
    assert_eq!(mini.turn(), 0);
    assert_eq!(output(handle).unwrap(), 4);
}

#[test]
fn after_the_handle_is_gone() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let handle = mini.owner.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let abort = handle.abort_handle();
    drop(handle);
    mini.settle();
    abort.clone().abort();
    mini.settle();
    assert!(abort.is_finished());
    assert_eq!((drops.count(), mini.owner.live_tasks()), (1, 0));
}

#[test]
fn from_another_thread_the_future_is_dropped_on_the_loops() {
    let mini = MiniLoop::new();
    let drops = Drops::default();
    let guard = drops.guard();
    let not_send = Rc::new(());
    let handle = mini.owner.spawn(async move {
        let _guard = guard;
        let _not_send = not_send;
        pending::<()>().await;
    });
    mini.settle();
    let abort = handle.abort_handle();
    let aborter = thread::spawn(move || abort.abort());
    let error = mini.block_on(handle).unwrap_err();
    assert!(error.is_cancelled());
    aborter.join().unwrap();
    assert_eq!(drops.count(), 1);
    assert_eq!(drops.thread(), Some(thread::current().id()));
}

#[test]
fn a_task_may_abort_another_that_awaits_it() {
    let mini = MiniLoop::new();
    let first = mini.owner.spawn(pending::<()>());
    let abort = first.abort_handle();
    let second = mini.owner.spawn(first);
    let third = mini.owner.spawn(async move { abort.abort() });
    mini.settle();
    assert!(output(third).is_ok());
    assert!(output(second).unwrap().unwrap_err().is_cancelled());
}

#[test]
fn waking_from_the_drop_of_the_future_is_harmless() {
    struct WakeOnDrop(Option<Waker>);
    impl Drop for WakeOnDrop {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake_by_ref();
                waker.wake();
            }
        }
    }
    let mini = MiniLoop::new();
    let mut state = WakeOnDrop(None);
    let handle = mini.owner.spawn(poll_fn(move |cx| -> Poll<()> {
        let state = &mut state;
        state.0 = Some(cx.waker().clone());
        Poll::Pending
    }));
    mini.settle();
    handle.abort();
    assert_eq!(mini.turn(), 1);
    assert_eq!(mini.turn(), 0);
    assert_cancelled(handle);
}

#[test]
fn a_blocking_job_before_it_starts() {
    let drops = Drops::default();
    let guard = drops.guard();
    let (job, handle) = blocking(move || drop(guard));
    handle.abort();
    assert!(!handle.is_finished());
    job.run();
    assert_eq!(drops.count(), 1);
    assert_cancelled(handle);
}

#[test]
fn a_blocking_job_that_has_started_goes_on() {
    let place: Arc<std::sync::OnceLock<AbortHandle>> = Arc::default();
    let (job, handle) = blocking({
        let place = Arc::clone(&place);
        move || {
            place.get().unwrap().abort();
            9
        }
    });
    place.set(handle.abort_handle()).unwrap();
    thread::spawn(move || job.run()).join().unwrap();
    assert_eq!(output(handle).unwrap(), 9);
}

#[test]
fn a_blocking_job_that_is_dropped_unrun_is_cancelled() {
    let drops = Drops::default();
    let guard = drops.guard();
    let (job, handle) = blocking(move || drop(guard));
    drop(job);
    assert_eq!(drops.count(), 1);
    assert_cancelled(handle);
}
