//! The turn: how often the kernel is entered, and what must not be missed when it is not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ringtoss::op::{self, Sqe};
use ringtoss::{EventLoop, metrics, spawn, yield_now};

use crate::util::{Count, patience, pipe, poll_once, run, until};

#[test]
fn a_turn_enters_once_for_each_queue_full_of_entries() {
    let event_loop = EventLoop::builder().submission_entries(64).completion_entries(4096).build().unwrap();
    event_loop.block_on(async {
        op::nop().await.unwrap();
        for count in [1usize, 63, 64, 65, 128, 1000] {
            let mut nops: Vec<_> = (0..count).map(|_| op::nop()).collect();
            let before = ringtoss::metrics();
            for nop in &mut nops {
                assert!(poll_once(nop).await.is_pending());
            }
            while nops.iter().any(|_| ringtoss::metrics().completions < before.completions + count as u64) {
                yield_now().await;
            }
            let after = ringtoss::metrics();
            assert_eq!(after.submissions - before.submissions, count as u64);
            assert_eq!(after.enters - before.enters, count.div_ceil(64) as u64, "for {count} entries");
            for nop in nops {
                nop.await.unwrap();
            }
        }
    });
}

/// Tasks that wait for one pipe on a loop whose completion queue is far too small for them.
async fn crowd(ready: &Rc<Cell<usize>>, count: usize) -> crate::util::Pipe {
    let pipe = pipe();
    ready.set(0);
    for _ in 0..count {
        let (reader, ready) = (pipe.reader.clone(), ready.clone());
        drop(spawn(async move {
            op::poll_readable(&*reader).await.unwrap();
            ready.set(ready.get() + 1);
        }));
    }
    until(|| ringtoss::metrics().in_flight >= count as u64).await;
    pipe
}

#[test]
fn completions_that_did_not_fit_come_without_a_sleep_or_a_submission() {
    let event_loop = EventLoop::builder().submission_entries(8).completion_entries(16).build().unwrap();
    event_loop.block_on(async {
        let ready = Rc::new(Cell::new(0));
        let mut pipe = crowd(&ready, 2000).await;
        pipe.write(b"x");
        // Always something ready to run, so the loop never waits in the kernel.
        let end = Instant::now() + patience();
        while ready.get() < 2000 {
            yield_now().await;
            assert!(Instant::now() < end, "{} of 2000", ready.get());
        }
    });
}

#[test]
fn wakes_arrive_also_after_completions_that_did_not_fit() {
    // Such an overflow ends the multishot poll by which others wake the loop, if it is among those that do not fit.
    let (ask, asked) = std::sync::mpsc::channel::<(Waker, crate::util::Pipe, Arc<AtomicUsize>)>();
    let answerer = std::thread::spawn(move || {
        for (waker, mut pipe, answers) in asked {
            // So that it sleeps, mostly; it is right in any case.
            std::thread::sleep(Duration::from_millis(1));
            pipe.write(b"x");
            answers.fetch_add(1, Ordering::SeqCst);
            waker.wake();
        }
    });
    let _watchdog = crate::util::watchdog("a wake was lost");
    let event_loop = EventLoop::builder().submission_entries(8).completion_entries(16).build().unwrap();
    event_loop.block_on(async move {
        let answers = Arc::new(AtomicUsize::new(0));
        let ready = Rc::new(Cell::new(0));
        for round in 0..60 {
            // Every other time nothing overflows, and the wake alone ends the sleep.
            let count = if round % 2 == 0 { 300 } else { 0 };
            let mut pipe = Some(crowd(&ready, count).await);
            let answered = std::future::poll_fn(|cx| {
                if let Some(pipe) = pipe.take() {
                    ask.send((cx.waker().clone(), pipe, answers.clone())).unwrap();
                }
                if answers.load(Ordering::SeqCst) > round { ().into() } else { std::task::Poll::Pending }
            });
            // No timer: it would end the sleep as well.
            answered.await;
            until(|| ready.get() == count).await;
        }
    });
    answerer.join().unwrap();
}

#[test]
fn another_loop_of_the_same_thread_is_another_loop() {
    let count = Count::default();
    let mut pipe = pipe();
    let (home, away) = (EventLoop::new().unwrap(), EventLoop::new().unwrap());
    let (mut polled, dropped, staged) = home.block_on(async {
        let mut reads = [pipe.read(count.buffer()), pipe.read(count.buffer())];
        for read in &mut reads {
            assert!(poll_once(read).await.is_pending());
        }
        op::nop().await.unwrap();
        let mut staged = pipe.read(count.buffer());
        assert!(poll_once(&mut staged).await.is_pending());
        let [polled, dropped] = reads;
        (polled, dropped, staged)
    });
    away.block_on(async {
        drop((dropped, staged));
        assert!(poll_once(&mut polled).await.is_pending());
        op::nop().await.unwrap();
        assert!(poll_once(&mut polled).await.is_pending());
        assert_eq!(count.dropped(), 0, "their loop has not seen it");
    });
    home.block_on(async {
        until(|| count.dropped() == 2).await;
        pipe.write(b"over");
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
    let (result, (buffer, _)) = away.block_on(polled);
    assert_eq!((result.unwrap().result, &buffer.bytes[..4]), (4, b"over".as_slice()));
}

#[test]
fn an_abort_from_another_thread_reaches_a_loop_that_sleeps() {
    let count = Count::default();
    run(async {
        let pipe = pipe();
        let task = spawn(pipe.read(count.buffer()));
        op::nop().await.unwrap();
        let abort = task.abort_handle();
        let thread = std::thread::spawn(move || abort.abort());
        assert!(task.await.err().unwrap().is_cancelled());
        until(|| count.dropped() == 1).await;
        thread.join().unwrap();
    });
}

#[test]
fn two_completions_of_one_operation_are_one_result() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let count = Count::default();
        let before = ringtoss::metrics().completions;
        let buffer = count.buffer();
        // IORING_OP_SEND_ZC
        let entry = Sqe::new(47).fd(client.as_raw_fd()).addr(buffer.bytes.as_ptr() as u64).len(64);
        // SAFETY: the buffer is kept, and the socket outlives the operation.
        let mut send = unsafe { op::submit(entry, buffer) };
        let (result, buffer) = (&mut send).await;
        assert_eq!(result.unwrap().result, 64);
        assert_eq!(count.dropped(), 0);
        drop(buffer);
        assert_eq!(ringtoss::metrics().completions - before, 2, "the result, and that the kernel has let go");
        assert_eq!((ringtoss::metrics().in_flight, ringtoss::metrics().stale_completions), (0, 0));

        // Dropped between the two, or before either: the buffer is freed once, when the kernel has let go.
        for turns in 0..3 {
            let buffer = count.buffer();
            let entry = Sqe::new(47).fd(client.as_raw_fd()).addr(buffer.bytes.as_ptr() as u64).len(64);
            // SAFETY: as above.
            let mut send = unsafe { op::submit(entry, buffer) };
            assert!(poll_once(&mut send).await.is_pending());
            for _ in 0..turns {
                op::nop().await.unwrap();
            }
            drop(send);
            until(|| count.dropped() == 2 + turns).await;
        }

        // An error may come with or without a notification.
        drop(server);
        let mut failed = false;
        for _ in 0..1000 {
            let buffer = count.buffer();
            let entry = Sqe::new(47).fd(client.as_raw_fd()).addr(buffer.bytes.as_ptr() as u64).len(64);
            // SAFETY: as above.
            let (result, _buffer) = unsafe { op::submit(entry, buffer) }.await;
            failed = result.is_err();
            if failed {
                break;
            }
        }
        assert!(failed);
        assert_eq!(count.made(), count.dropped());
        assert_eq!((ringtoss::metrics().in_flight, ringtoss::metrics().stale_completions), (0, 0));
    });
}

#[test]
fn what_the_drop_of_a_task_asks_of_an_ending_loop_is_refused() {
    struct Last(Arc<AtomicUsize>);
    impl Drop for Last {
        fn drop(&mut self) {
            // A spawn is cancelled, an operation and a timer end or wait for ever; none of it panics.
            let mut task = spawn(async {});
            let mut cx = std::task::Context::from_waker(Waker::noop());
            match std::pin::Pin::new(&mut task).poll(&mut cx) {
                std::task::Poll::Ready(result) => assert!(result.unwrap_err().is_cancelled()),
                std::task::Poll::Pending => panic!("spawned on a loop that ends"),
            }
            let mut nop = op::nop();
            if let std::task::Poll::Ready(result) = std::pin::Pin::new(&mut nop).poll(&mut cx) {
                assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
            }
            let mut sleep = Box::pin(ringtoss::time::sleep(Duration::from_secs(3600)));
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let event_loop = EventLoop::new().unwrap();
    for _ in 0..3 {
        let last = Last(drops.clone());
        event_loop.spawn(async move {
            let _last = last;
            std::future::pending::<()>().await;
        });
    }
    event_loop.block_on(async { op::nop().await.unwrap() });
    drop(event_loop);
    assert_eq!(drops.load(Ordering::SeqCst), 3);
}

#[test]
fn tasks_that_wake_each_other_share_turns_and_hold_nothing_up() {
    run(async {
        let (ping, pinged) = async_channel::bounded::<()>(1);
        let (pong, ponged) = async_channel::bounded::<()>(1);
        let rounds = Rc::new(Cell::new(0u64));
        let echo = spawn(async move { while pinged.recv().await.is_ok() && pong.send(()).await.is_ok() {} });
        let asking = spawn({
            let rounds = rounds.clone();
            async move {
                while ping.send(()).await.is_ok() && ponged.recv().await.is_ok() {
                    rounds.set(rounds.get() + 1);
                }
            }
        });
        // What does not go with them.
        let mut most = 0;
        for _ in 0..100 {
            let start = rounds.get();
            op::nop().await.unwrap();
            most = most.max(rounds.get() - start);
        }
        assert!(most > 0, "they share a turn");
        assert!(most <= 256, "{most} rounds while one operation was under way");
        // Whoever gives way sees what has completed.
        let mut nop = op::nop();
        assert!(poll_once(&mut nop).await.is_pending());
        let mut yields = 0;
        while poll_once(&mut nop).await.is_pending() {
            yields += 1;
            assert!(yields < 10, "a turn for each");
            let turns = metrics().turns;
            yield_now().await;
            assert!(metrics().turns > turns);
        }
        asking.abort();
        echo.abort();
    });
}

/// `run` polls no main future, and does not stay awake for what woke the last one.
#[test]
fn the_wake_of_a_future_that_has_ended_keeps_no_loop_awake() {
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    }));
    event_loop.spawn(ringtoss::time::sleep(Duration::from_millis(50)));
    let before = event_loop.metrics().turns;
    event_loop.run();
    let turns = event_loop.metrics().turns - before;
    assert!(turns < 100, "{turns} turns for one timer");
}
