//! A loop inside a current-thread tokio runtime, or a `LocalSet`.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringtoss::compat::tokio::Guest;
use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{EventLoop, op, time};
use tokio::runtime::Runtime;

use crate::patience::bounded;
use crate::util::{Random, pattern, pattern_at};

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn start() -> Guest {
    Guest::start(&EventLoop::builder()).unwrap()
}

/// Runs a test in tokio with a guest, for a bounded time.
fn run<F: Future>(test: impl FnOnce(Rc<Guest>) -> F) -> F::Output {
    runtime().block_on(async {
        let guest = Rc::new(start());
        bounded(test(guest.clone())).await
    })
}

/// Lets tokio's other tasks, the guest's among them, have some rounds.
pub async fn rounds(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[test]
fn one_task_awaits_both() {
    run(|_guest| async {
        let file = pattern(4096);
        let path = file.path().to_owned();
        let task = tokio::spawn(async move {
            let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
            let bytes = ringtoss::fs::read(path).await.unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            one.write_all(&bytes).await.unwrap();
            let mut back = vec![0; bytes.len()];
            other.read_exact(&mut back).await.unwrap();
            time::sleep(Duration::from_millis(1)).await;
            assert_eq!(back, bytes);
            // Each may spawn onto the other.
            let inner = ringtoss::spawn(async {
                op::nop().await.unwrap();
                tokio::spawn(async { op::nop().await.map(|()| 3) }).await.unwrap().unwrap()
            });
            inner.await.unwrap()
        });
        assert_eq!(task.await.unwrap(), 3);
    });
}

#[test]
fn a_local_set_turns_it_too() {
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime(), async {
        let guest = Guest::start_local(&EventLoop::builder()).unwrap();
        let local = Rc::new(4);
        let task = tokio::task::spawn_local(async move {
            op::nop().await.unwrap();
            *local
        });
        assert_eq!(task.await.unwrap(), 4);
        let local = Rc::new(5);
        assert_eq!(guest.spawn(async move { *local }).await.unwrap(), 5);
    });
    // Outside of one it says so.
    let outside = std::panic::catch_unwind(|| runtime().block_on(async { Guest::start_local(&EventLoop::builder()) }));
    assert!(outside.is_err());
    assert!(ringtoss::Handle::try_current().is_none(), "what it made is gone");
}

#[test]
fn a_thread_has_one() {
    run(|_guest| async {
        assert_eq!(Guest::start(&EventLoop::builder()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        op::nop().await.unwrap();
    });
}

#[test]
fn an_idle_guest_costs_nothing_while_tokio_works() {
    run(|guest| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let accepting = ringtoss::spawn(async move { listener.accept().await.map(drop) });
        let sleeping = ringtoss::spawn(time::sleep(Duration::from_secs(3600)));
        rounds(100).await;
        let before = guest.metrics();
        let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
        for _ in 0..2000 {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            one.write_all(b"x").await.unwrap();
            other.read_exact(&mut [0]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let after = guest.metrics();
        assert_eq!((after.turns, after.enters), (before.turns, before.enters));
        assert!(!accepting.is_finished() && !sleeping.is_finished());
    });
}

#[test]
fn a_read_costs_one_entry_and_those_of_many_tasks_share_it() {
    run(|guest| async move {
        let file = pattern(1 << 20);
        let path = file.path().to_owned();
        let opened = std::sync::Arc::new(File::open(&path).await.unwrap());
        // They are in the page cache.
        std::fs::read(&path).unwrap();
        rounds(10).await;
        let before = guest.metrics();
        for _ in 0..1000 {
            opened.read_at(Vec::with_capacity(512), 0).await.0.unwrap();
        }
        let alone = guest.metrics();
        let enters = alone.enters - before.enters;
        assert!(enters <= 1000 + 10, "{enters} entries for 1000 reads");
        let tasks: Vec<_> = (0..32)
            .map(|index| {
                let opened = opened.clone();
                tokio::spawn(async move {
                    for step in 0..100 {
                        let offset = (index * 1009 + step * 4099) % (1 << 19);
                        let (result, bytes) = opened.read_at(Vec::with_capacity(512), offset).await;
                        result.unwrap();
                        assert_eq!(bytes[511], pattern_at(offset as usize + 511));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let enters = guest.metrics().enters - alone.enters;
        assert!(enters <= 3200 / 8, "{enters} entries for 3200 reads, 32 at a time");
    });
}

#[test]
fn thousands_of_operations_race_the_hosts_wakes() {
    run(|guest| async move {
        let file = pattern(1 << 20);
        let mut tasks = Vec::new();
        for index in 0..16u64 {
            let path = file.path().to_owned();
            // Files, from tokio's tasks.
            tasks.push(tokio::spawn(async move {
                let file = File::open(path).await.unwrap();
                for step in 0..200 {
                    let offset = (index * 7919 + step * 4099) % (1 << 19);
                    let (result, bytes) = file.read_at(Vec::with_capacity(512), offset).await;
                    result.unwrap();
                    assert_eq!(bytes[511], pattern_at(offset as usize + 511));
                }
            }));
            // Timers.
            tasks.push(tokio::spawn(async move {
                let mut random = Random(index + 1);
                for _ in 0..50 {
                    time::sleep(Duration::from_micros(random.below(1000))).await;
                }
            }));
            // A ring's server, a tokio's client.
            tasks.push(tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = ringtoss::spawn(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    loop {
                        let (result, bytes) = stream.read(Vec::with_capacity(64)).await;
                        if result.unwrap() == 0 {
                            return;
                        }
                        stream.write_all(bytes).await.0.unwrap();
                    }
                });
                let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
                for step in 0..100u8 {
                    client.write_all(&[step; 32]).await.unwrap();
                    let mut back = [0; 32];
                    client.read_exact(&mut back).await.unwrap();
                    assert_eq!(back, [step; 32]);
                }
                drop(client);
                server.await.unwrap();
            }));
            // A ring's client, a tokio's server.
            tasks.push(tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let server = tokio::spawn(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut bytes = [0; 32];
                    while stream.read_exact(&mut bytes).await.is_ok() {
                        stream.write_all(&bytes).await.unwrap();
                    }
                });
                let mut client = TcpStream::connect(address).await.unwrap();
                for step in 0..100u8 {
                    client.write_all(vec![step; 32]).await.0.unwrap();
                    assert_eq!(client.read_exact(Vec::with_capacity(32), 32).await.1, [step; 32]);
                }
                drop(client);
                server.await.unwrap();
            }));
        }
        // Wakes from another thread, of tasks of both kinds, one at a time.
        let (to_thread, orders) = std::sync::mpsc::channel::<tokio::sync::oneshot::Sender<u32>>();
        let thread = std::thread::spawn(move || (0..).zip(orders).for_each(|(n, sender)| sender.send(n).unwrap()));
        let wakes = |to_thread: std::sync::mpsc::Sender<tokio::sync::oneshot::Sender<u32>>| async move {
            for _ in 0..1500 {
                let (sender, receiver) = tokio::sync::oneshot::channel();
                to_thread.send(sender).unwrap();
                receiver.await.unwrap();
            }
        };
        tasks.push(tokio::spawn(wakes(to_thread.clone())));
        let woken = ringtoss::spawn(wakes(to_thread));
        for task in tasks {
            task.await.unwrap();
        }
        woken.await.unwrap();
        thread.join().unwrap();
        let metrics = guest.metrics();
        assert_eq!(metrics.stale_completions, 0);
        // No busy spin: each turn has some reason.
        let reasons = metrics.completions + metrics.polls + metrics.submissions;
        assert!(metrics.turns <= 2 * reasons, "{} turns for {reasons} reasons", metrics.turns);
        assert!(metrics.enters <= metrics.turns + metrics.completions / 20, "{metrics:?}");
    });
}

#[test]
fn a_task_that_is_never_done_does_not_starve_tokio() {
    run(|_guest| async {
        let endless = ringtoss::spawn(async {
            loop {
                ringtoss::yield_now().await;
            }
        });
        let task = tokio::spawn(async {
            rounds(100).await;
            op::nop().await.unwrap();
        });
        task.await.unwrap();
        endless.abort();
        assert!(endless.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn tokio_s_budget_is_given_back_between_turns() {
    // A task of the guest's that uses tokio's channel far beyond the budget of the one task of tokio's that turns it.
    run(|guest| async move {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        (0..10_000).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        let sum = guest.spawn(async move {
            let mut sum = 0u64;
            while let Some(number) = receiver.recv().await {
                sum += number;
            }
            sum
        });
        assert_eq!(sum.await.unwrap(), 9_999 * 5_000);
    });
}

#[test]
fn threads_that_have_no_loop_say_so_and_reach_it_by_its_handle() {
    run(|guest| async move {
        let failed = tokio::task::spawn_blocking(|| futures::executor::block_on(op::nop())).await.unwrap_err();
        let message = failed.into_panic();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("no event loop runs on this thread"), "{message}");
        let handle = guest.handle();
        let comm = tokio::task::spawn_blocking(move || {
            futures::executor::block_on(handle.spawn(ringtoss::fs::read("/proc/self/comm"))).unwrap()
        });
        assert!(!comm.await.unwrap().unwrap().is_empty());
    });
}

#[test]
fn what_was_begun_here_is_awaited_on_another_thread() {
    run(|_guest| async {
        let (mut peer, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut receive = Box::pin(async move {
            let mut stream = ringtoss::net::UnixStream::from_std(other);
            stream.read(Vec::with_capacity(16)).await
        });
        std::future::poll_fn(|cx| {
            assert!(receive.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        rounds(5).await;
        let elsewhere = tokio::task::spawn_blocking(|| futures::executor::block_on(receive));
        std::io::Write::write_all(&mut peer, b"there").unwrap();
        assert_eq!(elsewhere.await.unwrap().1, b"there");
    });
}

#[test]
fn select_loses_nothing() {
    run(|_guest| async {
        let (mut peer, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut stream = ringtoss::net::UnixStream::from_std(other);
        let (ticks, mut ticking) = tokio::sync::mpsc::channel::<()>(1);
        let ticker = tokio::spawn(async move {
            while ticks.send(()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        let thread = std::thread::spawn(move || {
            for step in 0..500u32 {
                std::io::Write::write_all(&mut peer, &step.to_le_bytes()).unwrap();
                if step % 7 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        let mut all = Vec::new();
        while all.len() < 2000 {
            let mut read = pin!(stream.read(Vec::with_capacity(64)));
            tokio::select! {
                (result, bytes) = &mut read => {
                    result.unwrap();
                    all.extend(bytes);
                }
                _ = ticking.recv() => {}
            }
        }
        thread.join().unwrap();
        drop(ticking);
        ticker.await.unwrap();
        let expected: Vec<u8> = (0..500u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(all, expected);
    });
}

#[test]
fn streams_of_the_guest_with_tokios_traits_in_tasks_of_tokios() {
    use ringtoss::compat::PollIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    run(|_guest| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut stream = PollIo::new(listener.accept().await.unwrap().0);
            let mut bytes = [0; 32];
            while stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await.unwrap();
            }
        });
        let mut client = PollIo::new(TcpStream::connect(address).await.unwrap());
        for step in 0..300u32 {
            client.write_all(&[step as u8; 32]).await.unwrap();
            let mut back = [0; 32];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(back, [step as u8; 32]);
        }
        // What was taken is sent, also if nobody flushes, and the stream is dropped between two turns.
        client.write_all(&[7; 32]).await.unwrap();
        drop(client);
        server.await.unwrap();
    });
}
