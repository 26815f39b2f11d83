//! Runtime, guest and operations end in any order.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::mpsc;

use ringtoss::net::UnixStream;
use ringtoss::{Handle, op, time};

use crate::in_tokio::{rounds, runtime, start};

fn pair() -> (StdStream, UnixStream) {
    let (one, other) = StdStream::pair().unwrap();
    (one, UnixStream::from_std(other))
}

/// A task of tokio's with a receive in flight.
fn receiving() -> (StdStream, tokio::task::JoinHandle<std::io::Result<usize>>) {
    let (peer, mut stream) = pair();
    (peer, tokio::spawn(async move { stream.read(Vec::with_capacity(16)).await.0 }))
}

#[test]
fn the_guest_goes_first() {
    runtime().block_on(async {
        let guest = start();
        let (mut peer, task) = receiving();
        let own = guest.spawn(std::future::pending::<()>());
        rounds(5).await;
        assert_eq!(guest.metrics().in_flight, 1);
        drop(guest);
        assert_eq!(task.await.unwrap().unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert!(own.await.unwrap_err().is_cancelled());
        assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0, "the stream is closed");
        // What begins now says that there is no loop.
        let failed = tokio::spawn(async { op::nop().await }).await.unwrap_err();
        assert!(failed.is_panic());
        // Another may come.
        let guest = start();
        op::nop().await.unwrap();
        drop(guest);
    });
}

/// A timer that never comes is not waited for: the task is told as with everything else that finds no loop.
#[test]
fn who_sleeps_is_told_that_the_guest_is_gone() {
    runtime().block_on(async {
        let guest = start();
        let sleeper = tokio::spawn(time::sleep(std::time::Duration::from_secs(3600)));
        rounds(5).await;
        assert!(!sleeper.is_finished());
        drop(guest);
        assert!(sleeper.await.unwrap_err().is_panic());
    });
}

#[test]
fn the_runtime_goes_first() {
    let runtime = runtime();
    let (guest, mut peer) = runtime.block_on(async {
        let guest = start();
        let (peer, task) = receiving();
        drop(task);
        rounds(5).await;
        (guest, peer)
    });
    drop(runtime);
    // The task is gone, its operation an orphan that nobody turns for.
    peer.write_all(b"late").unwrap();
    let mut left = op::nop();
    assert!(crate::util::poll_once(&mut left).is_pending());
    let before = guest.metrics();
    assert_eq!(before.leaked, 0);
    drop(guest);
    assert!(matches!(crate::util::poll_once(&mut left), std::task::Poll::Ready(_)));
    assert!(Handle::try_current().is_none());
    // EOF, or a reset because it had not read what was sent.
    assert!(matches!(peer.read(&mut [0; 16]), Ok(0) | Err(_)));
}

#[test]
fn the_runtime_goes_first_on_another_thread() {
    let runtime = runtime();
    let (guest, peer) = runtime.block_on(async {
        let guest = start();
        let (peer, task) = receiving();
        drop(task);
        rounds(5).await;
        (guest, peer)
    });
    std::thread::spawn(move || drop(runtime)).join().unwrap();
    drop(guest);
    let mut peer = peer;
    assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0, "the stream is closed");
}

#[test]
fn the_runtime_goes_in_the_middle_of_everything() {
    for round in 0..50 {
        let runtime = runtime();
        let guest = runtime.block_on(async {
            let guest = start();
            for index in 0..20u64 {
                drop(receiving().1);
                tokio::spawn(time::sleep(std::time::Duration::from_millis(index)));
                ringtoss::spawn(async move { tokio::spawn(async { op::nop().await }).await });
            }
            rounds(round % 7).await;
            guest
        });
        if round % 2 == 0 {
            drop(runtime);
            drop(guest);
        } else {
            drop(guest);
            drop(runtime);
        }
    }
}

#[test]
fn a_task_of_its_own_drops_it() {
    runtime().block_on(async {
        let guest = start();
        let handle = guest.handle();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        drop(ringtoss::spawn(async move {
            op::nop().await.unwrap();
            drop(guest);
            // Until the end of the turn it is there.
            let _ = sender.send(Handle::try_current().is_some());
            std::future::pending::<()>().await;
        }));
        assert!(receiver.await.unwrap());
        rounds(5).await;
        assert!(Handle::try_current().is_none());
        assert!(handle.spawn(async {}).await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_task_of_tokios_drops_it() {
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime(), async {
        let guest = start();
        let (_peer, task) = receiving();
        rounds(5).await;
        tokio::task::spawn_local(async move {
            op::nop().await.unwrap();
            drop(guest);
        })
        .await
        .unwrap();
        assert!(task.await.unwrap().is_err());
    });
}

#[test]
fn a_runtime_that_another_thread_runs_says_so() {
    let runtime = runtime();
    let guest = runtime.block_on(async {
        let guest = start();
        op::nop().await.unwrap();
        guest
    });
    let (panicked, message) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let before = std::panic::take_hook();
            let sender = std::sync::Mutex::new(panicked);
            std::panic::set_hook(Box::new(move |info| {
                let text = info.payload().downcast_ref::<String>().cloned().unwrap_or_default();
                let text = text + info.payload().downcast_ref::<&str>().copied().unwrap_or_default();
                let _ = sender.lock().unwrap().send(text);
                before(info);
            }));
            let failed = runtime.block_on(async { tokio::spawn(async { op::nop().await }).await }).unwrap_err();
            assert!(failed.is_panic(), "an operation that begins there");
        });
        guest.handle().spawn(async {});
    });
    runtime.block_on(rounds(5));
    let messages: Vec<String> = message.try_iter().collect();
    assert!(messages.iter().any(|text| text.contains("no event loop runs on this thread")), "{messages:?}");
    let _ = std::panic::take_hook();
    drop(guest);
}
