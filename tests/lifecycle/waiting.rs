//! The ways of waiting that are off by default: each does what it says, and nothing is lost by any of them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpStream, UnixStream};
use ringtoss::{EventLoop, fs, op, spawn, spawn_blocking, time};

use crate::util::{no_children, poll_once, run, starting_a_child};

/// Longer than any test takes: what waits for so long has failed.
const LONG: Duration = Duration::from_secs(100);

/// A thread that sends back what it gets.
fn echo_thread(port: u16, rounds: u8) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = StdStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        for _ in 0..rounds {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        }
    })
}

async fn echo_rounds(rounds: u8) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = echo_thread(listener.local_addr().unwrap().port(), rounds);
    let (mut stream, _) = listener.accept().await.unwrap();
    for round in 0..rounds {
        stream.write_all(vec![round]).await.0.unwrap();
        let (result, got) = stream.read_exact(Vec::with_capacity(1), 1).await;
        result.unwrap();
        assert_eq!(got, [round]);
    }
    peer.join().unwrap();
}

/// Everything that there is, more or less: to be right on any loop.
async fn a_bit_of_everything() {
    // More in flight than any queue holds, and some dropped before they are submitted, in flight and after.
    let mut nops: Vec<_> = (0..1000).map(|_| op::nop()).collect();
    for (number, nop) in nops.iter_mut().enumerate() {
        let polled = poll_once(nop).await;
        assert!(polled.is_pending(), "{number}");
    }
    for (number, nop) in nops.into_iter().enumerate() {
        if number % 3 != 0 {
            nop.await.unwrap();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let (path, content) = (path.with_extension(number.to_string()), content.clone());
            spawn(async move {
                fs::write(&path, content.clone()).await.unwrap();
                assert!(fs::read(&path).await.unwrap() == content);
                fs::remove_file(&path).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    echo_rounds(50).await;
    // A receive that is dropped in flight loses nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    for round in 0..50u8 {
        let _ = poll_once(&mut pin!(other.read(Vec::with_capacity(1)))).await;
        one.write_all(vec![round]).await.0.unwrap();
        let (result, got) = other.read(Vec::with_capacity(1)).await;
        assert_eq!((result.unwrap(), got), (1, vec![round]));
    }
    let other = other.into_std().map_err(|error| error.to_string()).unwrap();
    drop(other);
    assert_eq!(one.read(Vec::with_capacity(1)).await.0.unwrap(), 0);
    assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
    assert!(time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
}

// ---- spin ---------------------------------------------------------------------------------------------------------------

#[test]
fn what_comes_while_a_loop_spins_costs_no_sleep() {
    let event_loop = EventLoop::builder().spin(LONG).build().unwrap();
    event_loop.block_on(async {
        echo_rounds(100).await;
        let metrics = ringtoss::metrics();
        assert_eq!((metrics.sleeps, metrics.spins_in_vain), (0, 0));
        assert!(metrics.spins_rewarded > 0);
    });
}

#[test]
fn a_spinning_loop_is_woken_from_other_threads_without_the_kernel() {
    let event_loop = EventLoop::builder().spin(LONG).build().unwrap();
    let (to_loop, from_thread) = async_channel::bounded(1);
    let (to_thread, from_loop) = mpsc::channel();
    let peer = thread::spawn(move || {
        while let Ok(number) = from_loop.recv_timeout(LONG) {
            to_loop.send_blocking(number).unwrap();
        }
    });
    // As a task, and as the main future.
    let rounds = async move {
        for number in 0..200 {
            to_thread.send(number).unwrap();
            assert_eq!(from_thread.recv().await.unwrap(), number);
        }
        (to_thread, from_thread)
    };
    let (metrics, ends) = event_loop.block_on(async {
        let before = ringtoss::metrics();
        let (to_thread, from_thread) = spawn(rounds).await.unwrap();
        for number in 0..200 {
            to_thread.send(number).unwrap();
            assert_eq!(from_thread.recv().await.unwrap(), number);
        }
        let after = ringtoss::metrics();
        ((after.enters - before.enters, after.sleeps, after.spins_in_vain), (to_thread, from_thread))
    });
    assert_eq!(metrics, (0, 0, 0));
    drop(ends);
    peer.join().unwrap();
}

#[test]
fn a_timer_ends_a_spin_and_a_paused_clock_needs_none() {
    let event_loop = EventLoop::builder().spin(LONG).build().unwrap();
    event_loop.block_on(async {
        for _ in 0..10 {
            let start = time::Instant::now();
            time::sleep(Duration::from_millis(1)).await;
            assert!(start.elapsed() >= Duration::from_millis(1));
        }
        time::pause();
        time::sleep(Duration::from_secs(3600)).await;
        time::resume();
    });
}

#[test]
fn a_spin_in_vain_ends_in_a_sleep_from_which_it_is_woken() {
    let event_loop = EventLoop::builder().spin(Duration::from_micros(20)).build().unwrap();
    event_loop.block_on(async {
        for round in 0..100 {
            let (sender, receiver) = async_channel::bounded(1);
            let thread = thread::spawn(move || {
                // Around the end of the spin, and well beyond.
                thread::sleep(Duration::from_micros(round * 10));
                sender.send_blocking(round).unwrap();
            });
            assert_eq!(receiver.recv().await.unwrap(), round);
            thread.join().unwrap();
        }
        let metrics = ringtoss::metrics();
        assert!(metrics.sleeps > 0 && metrics.spins_in_vain > 0);
    });
}

#[test]
fn a_spinning_loop_does_everything() {
    EventLoop::builder().spin(Duration::from_micros(50)).build().unwrap().block_on(a_bit_of_everything());
}

// ---- gather -------------------------------------------------------------------------------------------------------------

#[test]
fn what_comes_alone_is_not_kept_waiting() {
    // Every wait for a second one would last for ever, so to speak.
    let event_loop = EventLoop::builder().gather(LONG).build().unwrap();
    event_loop.block_on(async {
        echo_rounds(100).await;
        for _ in 0..10 {
            time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(spawn_blocking(|| 7).await.unwrap(), 7);
    });
}

#[test]
fn a_crowd_that_goes_leaves_nobody_waiting() {
    const CROWD: usize = 48;
    let event_loop = EventLoop::builder().gather(Duration::from_millis(3)).build().unwrap();
    event_loop.block_on(async {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..CROWD).map(|_| ringtoss::pipe::pipe().unwrap()).unzip();
        let senders: Vec<_> = senders.into_iter().map(|sender| sender.into_std().unwrap()).collect();
        let (go, went) = mpsc::channel::<usize>();
        let writer = thread::spawn(move || {
            let mut senders: Vec<std::fs::File> =
                senders.into_iter().map(|sender| std::fs::File::from(std::os::fd::OwnedFd::from(sender))).collect();
            while let Ok(count) = went.recv_timeout(LONG) {
                senders[..count].iter_mut().for_each(|sender| sender.write_all(b"x").unwrap());
            }
        });
        let mut receivers = receivers;
        // All of them at once, then fewer and fewer.
        for count in [CROWD, CROWD, CROWD, 40, 10, 3, 1, 1, CROWD, 1] {
            let tasks: Vec<_> = receivers
                .drain(..count)
                .map(|mut receiver| {
                    spawn(async move {
                        assert_eq!(receiver.read(Vec::with_capacity(8)).await.0.unwrap(), 1);
                        receiver
                    })
                })
                .collect();
            go.send(count).unwrap();
            let mut back = Vec::new();
            for task in tasks {
                back.push(task.await.unwrap());
            }
            back.append(&mut receivers);
            receivers = back;
        }
        drop(go);
        spawn_blocking(|| writer.join().unwrap()).await.unwrap();
    });
}

#[test]
fn a_gathering_loop_does_everything() {
    EventLoop::builder().gather(Duration::from_micros(100)).build().unwrap().block_on(a_bit_of_everything());
}

// ---- the kernel's polling -------------------------------------------------------------------------------------------------

#[test]
fn devices_are_polled_or_the_release_is_named() {
    for preferred in [false, true] {
        match EventLoop::builder().busy_poll(Duration::from_micros(20), preferred).build() {
            Ok(event_loop) => event_loop.block_on(echo_rounds(50)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains("6.9"), "{error}");
            }
        }
    }
    assert!(EventLoop::builder().busy_poll(Duration::ZERO, true).build().is_ok());
}

#[test]
fn a_thread_of_the_kernels_takes_submissions() {
    // Asleep most of the time, and never.
    for idle in [Duration::from_millis(1), Duration::from_secs(1)] {
        let event_loop = EventLoop::builder().submission_entries(8).kernel_thread(idle, None).build().unwrap();
        event_loop.block_on(a_bit_of_everything());
        let metrics = event_loop.metrics();
        assert_eq!(metrics.stale_completions, 0);
    }
    let event_loop = EventLoop::builder().kernel_thread(Duration::from_secs(1), Some(0)).spin(LONG).build().unwrap();
    event_loop.block_on(async {
        op::nop().await.unwrap();
        let before = ringtoss::metrics();
        for _ in 0..1000 {
            op::nop().await.unwrap();
        }
        let after = ringtoss::metrics();
        assert_eq!(after.submissions - before.submissions, 1000);
        assert!(after.enters - before.enters < 100, "the thread is awake: {}", after.enters - before.enters);
    });
}

#[test]
fn a_cpu_that_is_not_there_is_an_error() {
    let error = EventLoop::builder().kernel_thread(Duration::from_millis(1), Some(100_000)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("100000"), "{error}");
}

/// With operations in flight that never end, and tasks that own descriptors.
#[test]
fn such_loops_end() {
    let builders = [
        EventLoop::builder().spin(Duration::from_millis(1)),
        EventLoop::builder().gather(Duration::from_millis(1)),
        EventLoop::builder().kernel_thread(Duration::from_millis(1), None),
    ];
    for builder in builders {
        let event_loop = builder.build().unwrap();
        let listener = event_loop.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut stream = TcpStream::connect(address).await.unwrap();
            drop(spawn(async move {
                let _ = stream.read(vec![0; 10]).await;
            }));
            ringtoss::yield_now().await;
            drop(listener.accept().await.unwrap());
            listener
        });
        let before = event_loop.metrics().leaked;
        drop((event_loop, listener));
        assert_eq!(run(async { ringtoss::metrics().leaked }), before);
    }
}

/// The kernel's thread says that it has closed something before it has let go of it.
#[test]
fn what_the_kernels_thread_has_closed_is_gone() {
    use std::os::unix::fs::PermissionsExt;
    let event_loop = EventLoop::builder().kernel_thread(Duration::from_millis(20), None).build().unwrap();
    event_loop.block_on(async {
        let mut address = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
        let no_children = no_children();
        for _ in 0..100 {
            let listener = TcpListener::bind(address).await.unwrap();
            address = listener.local_addr().unwrap();
            let _ = poll_once(&mut pin!(listener.accept())).await;
            ringtoss::yield_now().await;
            drop(listener);
            std::net::TcpListener::bind(address).expect("the port is free at once");
        }
        drop(no_children);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        for _ in 0..50 {
            let _starting = starting_a_child();
            fs::write(&path, "#!/bin/sh\nexit 7\n").await.unwrap();
            let status = std::process::Command::new(&path).status().expect("nobody has it open for writing");
            assert_eq!(status.code(), Some(7));
        }
        // And a paused clock does not overtake what completes at once, or because of that.
        time::pause();
        let now = time::Instant::now();
        for _ in 0..20 {
            time::timeout(Duration::from_secs(3600), op::nop()).await.expect("it takes no hour").unwrap();
            let (mut sender, mut receiver) = ringtoss::net::UnixStream::pair().unwrap();
            let reading = spawn(async move { receiver.read(Vec::with_capacity(8)).await.0 });
            sender.write_all("x").await.0.unwrap();
            let read = time::timeout(Duration::from_secs(3600), reading).await.expect("it takes no hour");
            assert_eq!(read.unwrap().unwrap(), 1);
            assert_eq!(time::Instant::now(), now);
        }
    });
}

/// One enter hands out some twenty of them.
#[test]
fn all_that_has_come_is_taken_before_anybody_goes_on_if_files_are_waited_for() {
    const PAIRS: usize = 100;
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7]).unwrap();
        let file = fs::File::open(&path).await.unwrap();
        let (readers, mut writers): (Vec<_>, Vec<_>) =
            (0..PAIRS).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).unzip();
        let tasks: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let mut reader = UnixStream::from_std(reader);
                spawn(async move {
                    let (result, byte) = reader.read(Vec::with_capacity(1)).await;
                    assert_eq!((result.unwrap(), byte), (1, vec![7]));
                    ringtoss::metrics().completions
                })
            })
            .collect();
        // All of them are with the kernel.
        for _ in 0..3 {
            op::nop().await.unwrap();
        }
        let before = ringtoss::metrics().completions;
        let mut of_a_file = file.read_at(Vec::with_capacity(1), 0);
        assert!(poll_once(&mut of_a_file).await.is_pending());
        for writer in &mut writers {
            writer.write_all(&[7]).unwrap();
        }
        let mut when = Vec::new();
        for task in tasks {
            when.push(task.await.unwrap() - before);
        }
        assert!(when.iter().all(|&completions| completions >= PAIRS as u64), "{when:?}");
        of_a_file.await.0.unwrap();
    });
}
