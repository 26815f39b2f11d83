//! `task_local!`: values that belong to a future.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

ringtoss::task_local! {
    /// Documented, and public.
    pub static NUMBER: u32;
    static TEXT: String;
    static DROPS: Says;
}

#[test]
fn each_task_has_its_own() {
    ringtoss::block_on(async {
        let mut tasks = Vec::new();
        for i in 0..10 {
            let outer = NUMBER.scope(i, async move {
                ringtoss::yield_now().await;
                assert_eq!(NUMBER.get(), i);
                let inner = NUMBER.scope(i + 100, async {
                    ringtoss::yield_now().await;
                    NUMBER.get()
                });
                assert_eq!(inner.await, i + 100);
                assert_eq!(NUMBER.try_get().unwrap(), i);
                // A task of its own does not see it.
                ringtoss::spawn(async { assert!(NUMBER.try_with(|_| ()).is_err()) }).await.unwrap();
                NUMBER.with(|number| *number)
            });
            tasks.push(ringtoss::spawn(outer));
        }
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), i as u32);
        }
        let error = NUMBER.try_get().unwrap_err();
        assert_eq!(
            (error.to_string(), format!("{error:?}")),
            ("task-local value not set".into(), "AccessError".into())
        );
    });
}

#[test]
fn it_goes_where_the_future_goes() {
    let mut future = Box::pin(TEXT.scope("here".into(), async {
        ringtoss::op::nop().await.unwrap();
        TEXT.get()
    }));
    let event_loop = ringtoss::EventLoop::new().unwrap();
    event_loop.block_on(poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    }));
    let said = std::thread::spawn(move || ringtoss::block_on(future));
    event_loop.block_on(async {
        while !said.is_finished() {
            ringtoss::time::sleep(std::time::Duration::from_millis(1)).await
        }
    });
    assert_eq!(said.join().unwrap(), "here");
}

#[test]
fn a_function_has_it_too_and_a_panic_gives_it_back() {
    let said = TEXT.sync_scope("outer".into(), || {
        let unwound = std::panic::catch_unwind(|| TEXT.sync_scope("inner".into(), || panic!("{}", TEXT.get())));
        assert_eq!(*unwound.unwrap_err().downcast::<String>().unwrap(), "inner");
        TEXT.get()
    });
    assert_eq!(said, "outer");
    assert!(TEXT.try_get().is_err());
}

#[test]
fn a_scope_inside_of_a_borrow_is_refused() {
    TEXT.sync_scope("outer".into(), || {
        TEXT.with(|outer| {
            let unwound = std::panic::catch_unwind(|| TEXT.sync_scope("inner".into(), || ()));
            assert!(unwound.is_err());
            TEXT.with(|again| assert_eq!(again, outer));
        });
    });
}

struct Says(RefCell<Vec<&'static str>>);

#[test]
fn it_is_there_while_the_future_is_dropped() {
    thread_local!(static SEEN: Cell<usize> = const { Cell::new(0) });
    struct Looks;
    impl Drop for Looks {
        fn drop(&mut self) {
            DROPS.with(|says| says.0.borrow_mut().push("dropped"));
            SEEN.set(SEEN.get() + 1);
        }
    }
    ringtoss::block_on(async {
        // Pending, done, and never polled.
        let looks = Looks;
        let mut future = Box::pin(DROPS.scope(Says(RefCell::default()), async move {
            let _looks = looks;
            pending::<()>().await;
        }));
        assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await);
        drop(future);
        assert_eq!(SEEN.get(), 1);
        let looks = Looks;
        let mut future = pin!(DROPS.scope(Says(RefCell::default()), async move { drop(looks) }));
        future.as_mut().await;
        assert_eq!(SEEN.get(), 2);
        // The value outlives the future, and is had back.
        let value = future.as_mut().take_value().unwrap();
        assert_eq!(*value.0.borrow(), ["dropped"]);
        assert!(future.take_value().is_none());
        let looks = Looks;
        drop(DROPS.scope(Says(RefCell::default()), async move { drop(looks) }));
        assert_eq!(SEEN.get(), 3);
    });
}
