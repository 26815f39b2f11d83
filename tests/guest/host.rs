//! What calls the guest, and what it does then.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt;
use ringtoss::compat::Guest;
use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{EventLoop, op, spawn, time};

use crate::util::{host_block_on, is_called, pattern, pattern_at, poll_once, turn_until, wait};

#[test]
fn tasks_of_the_guest_run_when_it_is_called() {
    let guest = Guest::new().unwrap();
    assert!(!is_called(&guest), "nothing to do");
    let file = pattern(4096);
    let path = file.path().to_owned();
    let task = guest.spawn(async move { ringtoss::fs::read(path).await.unwrap() });
    assert!(is_called(&guest));
    turn_until(&guest, || task.is_finished());
    let bytes = task.now_or_never().unwrap().unwrap();
    assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == pattern_at(index)));
    assert!(!is_called(&guest));
}

#[test]
fn futures_that_the_host_polls_find_the_guest() {
    let guest = Guest::new().unwrap();
    let file = pattern(100_000);
    host_block_on(&guest, async {
        let opened = File::open(file.path()).await.unwrap();
        let (result, bytes) = opened.read_at(Vec::with_capacity(1000), 500).await;
        assert_eq!(result.unwrap(), 1000);
        assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == pattern_at(500 + index)));
        // Tasks, timers, sockets, the pool: all of it.
        let local = Rc::new(5);
        assert_eq!(spawn(async move { *local }).await.unwrap(), 5);
        assert_eq!(ringtoss::Handle::current().spawn(async { 6 }).await.unwrap(), 6);
        assert_eq!(ringtoss::spawn_blocking(|| 7).await.unwrap(), 7);
        time::sleep(Duration::from_millis(2)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), accepted.unwrap());
        client.write_all("hello").await.0.unwrap();
        assert_eq!(server.read_exact(Vec::with_capacity(5), 5).await.1, b"hello");
        // A listener's port is free when it is gone.
        drop(listener);
        TcpListener::bind(address).await.unwrap();
        opened.close().await.unwrap();
    });
    assert_eq!(guest.metrics().stale_completions, 0);
}

#[test]
fn what_the_host_does_between_turns_calls_the_guest() {
    let guest = Guest::new().unwrap();
    let settle = || {
        while is_called(&guest) {
            guest.turn(128);
        }
    };
    // An operation.
    let mut nop = op::nop();
    assert!(poll_once(&mut nop).is_pending());
    assert!(is_called(&guest));
    settle();
    assert!(matches!(poll_once(&mut nop), Poll::Ready(Ok(()))));
    settle();
    // A timer, and one that comes before it.
    let mut late = time::sleep(Duration::from_secs(3600));
    assert!(poll_once(&mut late).is_pending());
    settle();
    let mut soon = time::sleep(Duration::from_millis(5));
    assert!(poll_once(&mut soon).is_pending());
    settle();
    wait(&guest);
    settle();
    assert!(poll_once(&mut soon).is_ready() && poll_once(&mut late).is_pending());
    settle();
    // A wake of a task of the guest's.
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let task = guest.spawn(receiver);
    settle();
    assert!(!task.is_finished());
    sender.send(1).unwrap();
    assert!(is_called(&guest));
    settle();
    assert!(task.is_finished());
    // A descriptor that is dropped.
    let file = host_block_on(&guest, File::open("/proc/self/comm")).unwrap();
    host_block_on(&guest, file.read_at(Vec::with_capacity(16), 0)).0.unwrap();
    settle();
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    drop(file);
    assert!(is_called(&guest));
    settle();
    // Another test may have got the number since.
    assert!(std::fs::read_link(link).map_or(true, |target| !target.ends_with("comm")));
    // An abort.
    let task = guest.spawn(std::future::pending::<()>());
    settle();
    task.abort();
    assert!(is_called(&guest));
    settle();
    assert!(task.now_or_never().unwrap().unwrap_err().is_cancelled());
}

#[test]
fn timers_are_never_early_and_need_no_clock_of_the_hosts() {
    let guest = Guest::new().unwrap();
    assert_eq!(guest.next_deadline(), None);
    let fired = Rc::new(Cell::new(0));
    // Each is earlier than the one before, so that the timeout has to be moved every time.
    for index in (1..=50u64).rev() {
        let fired = fired.clone();
        guest.spawn(async move {
            let start = Instant::now();
            time::sleep(Duration::from_millis(index)).await;
            assert!(start.elapsed() >= Duration::from_millis(index));
            fired.set(fired.get() + 1);
        });
    }
    let start = Instant::now();
    guest.turn(128);
    let deadline = guest.next_deadline().unwrap();
    assert!(deadline <= start + Duration::from_secs(1) && deadline >= start);
    let turns = turn_until(&guest, || fired.get() == 50);
    assert!(turns < 500, "{turns} turns for 50 timers");
    assert_eq!(guest.next_deadline(), None);
    assert!(!is_called(&guest));
}

#[test]
fn a_timer_that_is_gone_wakes_nobody_for_long() {
    let guest = Guest::new().unwrap();
    host_block_on(&guest, async {
        // The timeout stands for the first; it and each later one are dropped before they are due.
        for _ in 0..1000 {
            time::timeout(crate::patience::patience(), op::nop()).await.unwrap().unwrap();
        }
    });
    let start = guest.metrics();
    let mut late = time::sleep(Duration::from_millis(60));
    host_block_on(&guest, &mut late);
    let end = guest.metrics();
    assert!(end.turns - start.turns < 20, "{} turns", end.turns - start.turns);
}

#[test]
fn an_idle_guest_makes_no_system_call() {
    let mut guest = Guest::new().unwrap();
    guest.set_edge_triggered(true);
    // With an operation in flight, a timer pending and a task waiting.
    let listener = host_block_on(&guest, TcpListener::bind("127.0.0.1:0")).unwrap();
    let accepting = guest.spawn(async move { listener.accept().await.map(drop) });
    let sleeping = guest.spawn(time::sleep(Duration::from_secs(3600)));
    while guest.turn(128) {}
    let before = guest.metrics();
    assert_eq!(before.in_flight, 1);
    for _ in 0..10_000 {
        assert!(!guest.turn(128));
    }
    let after = guest.metrics();
    assert_eq!((after.enters, after.polls), (before.enters, before.polls));
    assert_eq!(after.turns - before.turns, 10_000);
    assert!(!accepting.is_finished() && !sleeping.is_finished());
}

#[test]
fn an_idle_guest_is_not_called() {
    let guest = Guest::new().unwrap();
    let listener = host_block_on(&guest, TcpListener::bind("127.0.0.1:0")).unwrap();
    let accepting = guest.spawn(async move { listener.accept().await.map(drop) });
    while is_called(&guest) {
        guest.turn(128);
    }
    for _ in 0..1000 {
        assert!(!guest.turn(128) && !is_called(&guest));
    }
    assert!(!accepting.is_finished());
}

#[test]
fn the_budget_bounds_a_turn_and_what_is_left_calls_it_again() {
    let guest = Guest::new().unwrap();
    let count = Rc::new(Cell::new(0));
    for _ in 0..100 {
        let count = count.clone();
        guest.spawn(async move {
            for _ in 0..3 {
                count.set(count.get() + 1);
                ringtoss::yield_now().await;
            }
        });
    }
    assert!(guest.turn(10));
    assert_eq!(count.get(), 10);
    assert!(is_called(&guest));
    // As many rounds as it takes.
    assert!(!guest.turn(1000));
    assert_eq!(count.get(), 300);
    assert!(!is_called(&guest));
    // A task that is never done does not keep the host.
    let endless = guest.spawn(async {
        loop {
            ringtoss::yield_now().await;
        }
    });
    assert!(guest.turn(50));
    assert!(is_called(&guest));
    endless.abort();
    while guest.turn(50) {}
}

#[test]
fn hundreds_of_deferred_completions_come_in_one_turn() {
    let guest = Guest::new().unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..200)
        .map(|_| {
            let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
            (one, ringtoss::net::UnixStream::from_std(other))
        })
        .unzip();
    let tasks: Vec<_> = receivers
        .into_iter()
        .map(|mut stream| guest.spawn(async move { stream.read_exact(Vec::with_capacity(1), 1).await.0 }))
        .collect();
    while guest.turn(1000) {}
    for mut sender in senders {
        io::Write::write_all(&mut sender, b"x").unwrap();
    }
    wait(&guest);
    let before = guest.metrics().enters;
    while guest.turn(1000) {}
    assert!(tasks.iter().all(|task| task.is_finished()));
    let enters = guest.metrics().enters - before;
    assert!((1..=40).contains(&enters), "{enters} entries");
}

#[test]
fn a_thread_has_one_guest_and_no_other_loop() {
    let guest = Guest::new().unwrap();
    assert_eq!(Guest::new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let panic = std::panic::catch_unwind(|| ringtoss::block_on(async {})).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("guest"));
    let other = EventLoop::new().unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.block_on(async {}))).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("guest"));
    // It may end here.
    drop(other);
    host_block_on(&guest, op::nop()).unwrap();
    // Nor does a turn nest.
    let guest = Rc::new(guest);
    let inner = guest.clone();
    let task = guest.spawn(async move { inner.turn(1) });
    while guest.turn(128) {}
    assert!(task.now_or_never().unwrap().unwrap_err().is_panic());
    drop(guest);
    // Afterwards everything is as before.
    ringtoss::block_on(async {
        assert_eq!(Guest::new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        op::nop().await.unwrap();
    });
    Guest::new().unwrap();
}

#[test]
fn a_panic_of_a_task_is_the_tasks() {
    let guest = Guest::new().unwrap();
    let task = guest.spawn(async { panic!("as it must be") });
    while guest.turn(128) {}
    assert!(task.now_or_never().unwrap().unwrap_err().is_panic());
    host_block_on(&guest, op::nop()).unwrap();
}

#[test]
fn a_paused_clock_moves_by_hand() {
    let guest = EventLoop::builder().start_paused(true).build_guest().unwrap();
    let task = guest.spawn(time::sleep(Duration::from_secs(60)));
    while guest.turn(128) {}
    assert_eq!(guest.next_deadline(), None);
    assert!(!task.is_finished());
    // The host's future is in the loop's context, so it may move it.
    let advance = time::advance(Duration::from_secs(60));
    host_block_on(&guest, advance);
    turn_until(&guest, || task.is_finished());
}

/// The kernel's timeout goes by the system's time; the loop's clock may have been moved since it was made.
#[test]
fn a_clock_that_goes_on_after_it_was_moved_calls_in_time() {
    let guest = Guest::new().unwrap();
    let mut sleep = Box::pin(time::sleep(Duration::from_secs(3600)));
    assert!(poll_once(&mut sleep).is_pending());
    while guest.turn(128) {}
    host_block_on(&guest, async {
        time::pause();
        time::advance(Duration::from_secs(3600) - Duration::from_millis(20)).await;
        time::resume();
    });
    host_block_on(&guest, sleep);
}
