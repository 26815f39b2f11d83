//! `task::scope`: all children have ended when it returns.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringtoss::task::{Scope, scope};
use ringtoss::time::{sleep, timeout};

use crate::patience::run;

const LONG: Duration = Duration::from_secs(1000);

/// Counts up when it is dropped.
struct Ends<'a>(&'a Cell<u32>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn children_borrow_and_give_values() {
    run(async {
        let numbers = [1, 2, 3, 4];
        let sum = Cell::new(0);
        let mut own = String::new();
        let doubled = scope(async |s| {
            let children: Vec<_> = numbers
                .iter()
                .map(|number| {
                    let sum = &sum;
                    s.spawn(async move {
                        ringtoss::yield_now().await;
                        sum.set(sum.get() + number);
                        Ok(number * 2)
                    })
                })
                .collect();
            s.spawn(async {
                own.push_str("changed");
                Ok(())
            });
            assert!(s.len() == 5 && !s.is_empty());
            let mut doubled = Vec::new();
            for child in children {
                doubled.push(child.await.unwrap());
            }
            io::Result::Ok(doubled)
        });
        assert_eq!(doubled.await.unwrap(), [2, 4, 6, 8]);
        assert_eq!((sum.get(), own.as_str()), (10, "changed"));
    });
}

#[test]
fn it_returns_when_all_have_ended() {
    run(async {
        let ended = Cell::new(0);
        let result = scope(async |s| {
            for i in 0..100 {
                let ends = Ends(&ended);
                s.spawn(async move {
                    let _ends = ends;
                    sleep(Duration::from_millis(i % 7)).await;
                    ringtoss::op::nop().await
                });
            }
            Ok::<_, io::Error>("body")
        });
        assert_eq!(result.await.unwrap(), "body");
        assert_eq!(ended.get(), 100);
        assert_eq!(scope(async |_| Ok::<_, ()>(7)).await, Ok(7));
    });
}

#[test]
fn the_first_error_cancels_the_rest() {
    run(async {
        let ended = Cell::new(0);
        let result = scope(async |s| {
            let _body = Ends(&ended);
            for _ in 0..10 {
                let ends = Ends(&ended);
                s.spawn(async move {
                    let _ends = ends;
                    sleep(LONG).await;
                    Ok(())
                });
            }
            s.spawn(async {
                ringtoss::yield_now().await;
                Err::<(), _>("first")
            });
            s.spawn(async {
                sleep(LONG).await;
                Err::<(), _>("second")
            });
            pending::<Result<(), &str>>().await
        });
        assert_eq!(result.await, Err("first"));
        assert_eq!(ended.get(), 11);
        // The body's own.
        let result: Result<(), &str> = scope(async |s| {
            let ends = Ends(&ended);
            s.spawn(async move {
                let _ends = ends;
                pending::<Result<(), &str>>().await
            });
            ringtoss::yield_now().await;
            Err("body")
        })
        .await;
        assert_eq!((result, ended.get()), (Err("body"), 12));
    });
}

#[test]
fn a_panic_cancels_the_rest_and_goes_on() {
    for in_body in [false, true] {
        let ended = Cell::new(0);
        let unwound = std::panic::catch_unwind(AssertUnwindSafe(|| {
            run(scope(async |s| {
                let ends = Ends(&ended);
                s.spawn(async move {
                    let _ends = ends;
                    pending::<Result<(), ()>>().await
                });
                if in_body {
                    ringtoss::yield_now().await;
                    panic!("on purpose");
                }
                s.spawn::<(), _>(async {
                    ringtoss::yield_now().await;
                    panic!("on purpose");
                });
                pending::<Result<(), ()>>().await
            }))
        }));
        assert_eq!(*unwound.unwrap_err().downcast::<&str>().unwrap(), "on purpose");
        assert_eq!(ended.get(), 1);
    }
}

#[test]
fn dropped_in_the_middle_everything_has_ended() {
    run(async {
        let ended = Cell::new(0);
        {
            let mut running = Box::pin(scope(async |s| {
                for i in 0..20 {
                    let (ends, inner) = (Ends(&ended), s.clone());
                    s.spawn(async move {
                        let _ends = ends;
                        if i == 3 {
                            inner.spawn_shielded(pending::<Result<(), ()>>());
                        }
                        // In the kernel when it is dropped.
                        let (reader, _writer) = io::pipe().unwrap();
                        ringtoss::op::poll_readable(&reader).await.unwrap();
                        Ok(())
                    });
                }
                pending::<Result<(), ()>>().await
            }));
            for _ in 0..3 {
                assert!(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending())).await);
                ringtoss::yield_now().await;
            }
        }
        assert_eq!(ended.get(), 20);
        // Before its first poll, too.
        drop(scope(async |_| Ok::<(), ()>(())));
        // And by a time limit.
        let limited = timeout(
            Duration::from_millis(1),
            scope(async |s: Scope<'_, ()>| {
                let ends = Ends(&ended);
                s.spawn(async move {
                    let _ends = ends;
                    sleep(LONG).await;
                    Ok(())
                });
                Ok(())
            }),
        );
        assert!(limited.await.is_err());
        assert_eq!(ended.get(), 21);
    });
}

#[test]
fn leaked_in_the_middle_nothing_goes_on() {
    let polls = Rc::new(Cell::new(0));
    run(async {
        let (own, counted) = (polls.clone(), polls.clone());
        let mut running = Box::pin(scope(async move |s| {
            s.spawn(async move {
                loop {
                    counted.set(counted.get() + 1);
                    ringtoss::yield_now().await;
                }
                #[allow(unreachable_code, reason = "for the type")]
                Ok::<(), ()>(())
            });
            Ok(())
        }));
        // The body, and then its child.
        for _ in 0..2 {
            assert!(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending())).await);
        }
        let before = own.get();
        assert!(before > 0);
        std::mem::forget(running);
        for _ in 0..10 {
            ringtoss::yield_now().await;
        }
        assert_eq!(own.get(), before);
    });
}

#[test]
fn children_spawn_children_and_scopes_are_nested() {
    run(async {
        let count = Cell::new(0);
        async fn tree<'env>(s: Scope<'env, ()>, count: &'env Cell<u32>, depth: u32) -> Result<(), ()> {
            count.set(count.get() + 1);
            if depth > 0 {
                for _ in 0..2 {
                    let child: Pin<Box<dyn Future<Output = _> + 'env>> = Box::pin(tree(s.clone(), count, depth - 1));
                    s.spawn(child);
                }
            }
            ringtoss::yield_now().await;
            Ok(())
        }
        scope(async |s| {
            s.spawn(tree(s.clone(), &count, 5));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(count.get(), 63);
        let inner_ended = Cell::new(0);
        let result = scope(async |outer| {
            outer.spawn(scope(async |inner| {
                let ends = Ends(&inner_ended);
                inner.spawn(async move {
                    let _ends = ends;
                    pending::<Result<(), &str>>().await
                });
                Ok(())
            }));
            ringtoss::yield_now().await;
            ringtoss::yield_now().await;
            Err::<(), _>("outer")
        });
        assert_eq!(result.await, Err("outer"));
        assert_eq!(inner_ended.get(), 1);
    });
}

#[test]
fn one_child_is_aborted_and_the_others_go_on() {
    run(async {
        let ended = Cell::new(0);
        let value = scope(async |s| {
            let ends = Ends(&ended);
            let child = s.spawn(async move {
                let _ends = ends;
                pending::<Result<(), ()>>().await
            });
            let other = s.spawn(async {
                ringtoss::yield_now().await;
                Ok(5)
            });
            assert!(!child.is_finished());
            child.abort();
            assert!(child.await.unwrap_err().is_cancelled());
            assert_eq!(ended.get(), 1);
            let value = other.await.unwrap();
            // All that are left, one of which calls it.
            for _ in 0..3 {
                let (ends, inner) = (Ends(&ended), s.clone());
                s.spawn(async move {
                    let _ends = ends;
                    inner.abort_all();
                    pending::<Result<(), ()>>().await
                });
            }
            Ok::<_, ()>(value)
        });
        assert_eq!(value.await, Ok(5));
        assert_eq!(ended.get(), 4);
    });
}

#[test]
fn a_shielded_child_sees_the_end_and_is_waited_for() {
    run(async {
        let log = RefCell::new(Vec::new());
        let result: Result<(), &str> = scope(async |s| {
            let asked = s.token().clone().cancelled_owned();
            s.spawn_shielded(async {
                asked.await;
                log.borrow_mut().push("begins to tidy");
                sleep(Duration::from_millis(2)).await;
                log.borrow_mut().push("has tidied");
                Err::<(), _>("a second error")
            });
            let (inner, log) = (s.clone(), &log);
            s.spawn_shielded(async move {
                inner.token().cancelled().await;
                // Refused: the scope has failed.
                let refused = inner.spawn(async { Ok(()) });
                let refused = refused.await.is_err();
                log.borrow_mut().push(if refused { "refused" } else { "spawned" });
                Ok(())
            });
            s.spawn(async { Err::<(), _>("the first error") });
            pending().await
        })
        .await;
        assert_eq!(result, Err("the first error"));
        let log = log.into_inner();
        assert!(log.contains(&"has tidied") && log.contains(&"refused"), "{log:?}");
    });
}

#[test]
fn who_cancels_the_token_ends_nobody() {
    run(async {
        let value = scope(async |s| {
            s.token().cancel();
            let child = s.spawn(async {
                ringtoss::yield_now().await;
                Ok(3)
            });
            Ok::<_, ()>(child.await.unwrap())
        });
        assert_eq!(value.await, Ok(3));
    });
}

#[test]
fn a_handle_is_awaited_after_the_end() {
    run(async {
        let (good, bad) = (RefCell::new(None), RefCell::new(None));
        let result = scope(async |s| {
            *good.borrow_mut() = Some(s.spawn(async { Ok("value") }));
            ringtoss::yield_now().await;
            *bad.borrow_mut() = Some(s.spawn(pending::<Result<(), ()>>()));
            Err::<(), ()>(())
        });
        assert!(result.await.is_err());
        assert_eq!(good.into_inner().unwrap().await.unwrap(), "value");
        assert!(bad.into_inner().unwrap().await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_child_that_is_always_ready_lets_the_loop_go_on() {
    run(async {
        let result = scope(async |s| {
            let stop = Rc::new(Cell::new(false));
            let seen = stop.clone();
            s.spawn(async move {
                while !seen.get() {
                    ringtoss::yield_now().await;
                }
                Ok(())
            });
            // Needs a kernel entry, which the other must not keep from happening.
            let other = ringtoss::spawn(async { ringtoss::op::nop().await });
            other.await??;
            ringtoss::op::nop().await?;
            stop.set(true);
            io::Result::Ok(())
        });
        result.await.unwrap();
    });
}

#[test]
fn drops_that_panic_and_drops_that_spawn_stop_nothing() {
    struct Panics<'a, 'env>(Scope<'env, &'static str>, #[allow(dead_code, reason = "it is dropped")] Ends<'a>);
    impl Drop for Panics<'_, '_> {
        fn drop(&mut self) {
            drop(self.0.spawn(pending::<Result<(), &str>>()));
            panic!("in a drop");
        }
    }
    let ended = Cell::new(0);
    run(async {
        let result = scope(async |s| {
            for _ in 0..5 {
                let panics = Panics(s.clone(), Ends(&ended));
                s.spawn(async move {
                    let _panics = panics;
                    pending::<Result<(), &str>>().await
                });
            }
            ringtoss::yield_now().await;
            Err::<(), _>("the first failure")
        });
        assert_eq!(result.await, Err("the first failure"));
        assert_eq!(ended.get(), 5);
    });
}

#[test]
fn wakes_from_other_threads_reach_a_child() {
    run(async {
        let total = scope(async |s| {
            let (sender, receiver) = async_channel::unbounded();
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let sender = sender.clone();
                    std::thread::spawn(move || (0..500).for_each(|i| sender.send_blocking(thread * 500 + i).unwrap()))
                })
                .collect();
            drop(sender);
            let children: Vec<_> = (0..3)
                .map(|_| {
                    let receiver = receiver.clone();
                    s.spawn(async move {
                        let mut sum = 0u64;
                        while let Ok(number) = receiver.recv().await {
                            sum += number;
                        }
                        Ok::<_, ()>(sum)
                    })
                })
                .collect();
            let mut total = 0;
            for child in children {
                total += child.await.unwrap();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            Ok(total)
        });
        assert_eq!(total.await, Ok((0..2000).sum()));
    });
}

/// One that is shielded outlives the failure, and spawns: what it spawns is dropped at once.
#[test]
fn a_scope_that_has_failed_takes_no_more_children() {
    run(async {
        let (dropped, seen) = (Cell::new(0), Cell::new(None));
        let (ends, sees) = (&dropped, &seen);
        let result = scope(async |s| {
            assert!(s.is_empty());
            let inner = s.clone();
            s.spawn_shielded(async move {
                inner.token().clone().cancelled_owned().await;
                let guard = Ends(ends);
                let late = inner.spawn(async move {
                    let _guard = guard;
                    pending().await
                });
                let at_once = (ends.get(), late.is_finished());
                let refused: Result<(), _> = late.await;
                sees.set(Some((at_once, refused.unwrap_err().is_cancelled())));
                Ok(())
            });
            s.spawn(async { Err::<(), _>("failed") });
            pending::<Result<(), _>>().await
        })
        .await;
        assert_eq!(result, Err("failed"));
        // A panic of a child would be heard of only if it were the first failure.
        assert_eq!(seen.get(), Some(((1, true), true)));
    });
}

/// One that waits is polled once more to be dropped.
#[test]
fn a_child_that_waits_is_aborted() {
    run(async {
        let dropped = Cell::new(0);
        let result: Result<bool, ()> = scope(async |s| {
            let guard = Ends(&dropped);
            let child = s.spawn(async move {
                let _guard = guard;
                pending::<Result<(), ()>>().await
            });
            for _ in 0..3 {
                ringtoss::yield_now().await;
            }
            child.abort();
            Ok(child.await.unwrap_err().is_cancelled())
        })
        .await;
        assert_eq!((result, dropped.get()), (Ok(true), 1));
    });
}
