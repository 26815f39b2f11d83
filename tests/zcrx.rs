//! Receives into the memory of a network card. There is none here, and the kernel's imitation is of Linux 7.3: elsewhere most of this
//! is left out, and says so (`.ci/kernels newest`).

mod patience;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use patience::seconds;
use ringtoss::buf::Lease;
use ringtoss::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, zcrx};
use ringtoss::{EventLoop, block_on, spawn};

type Peer = std::net::TcpStream;

fn imitation(memory: usize, window: u32) -> Option<zcrx::Queue> {
    match zcrx::Options::new().without_card().memory(memory).window(window).open() {
        Ok(queue) => Some(queue),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied), "{error}");
            eprintln!("LEFT OUT: {error}");
            None
        }
    }
}

async fn connection() -> (OwnedReadHalf, OwnedWriteHalf, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(seconds(20))).unwrap();
    peer.set_write_timeout(Some(seconds(20))).unwrap();
    let (read, write) = listener.accept().await.unwrap().0.into_split();
    (read, write, peer)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect()
}

/// Sends the pattern from a thread, and ends the direction.
fn send(mut peer: Peer, len: usize) -> thread::JoinHandle<Peer> {
    thread::spawn(move || {
        peer.write_all(&pattern(len)).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        peer
    })
}

async fn next(receiver: &mut zcrx::Receiver) -> Option<std::io::Result<Lease>> {
    ringtoss::time::timeout(seconds(20), receiver.next()).await.expect("nothing came")
}

async fn the_rest(receiver: &mut zcrx::Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(lease) = next(receiver).await {
        all.extend_from_slice(&lease.unwrap());
    }
    all
}

#[test]
fn what_is_missing_is_said() {
    block_on(async {
        let error = zcrx::Options::new().open().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, "no network card was named"));
        let error = zcrx::Options::new().card("nowhere0", 0).open().unwrap_err();
        assert!(error.to_string().contains("there is no network interface \"nowhere0\""), "{error}");
        // Loopback has no queues to hand over.
        let error = zcrx::Options::new().card("lo", 0).memory(1 << 16).open().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied), "{error}");
        assert!(error.to_string().contains("zcrx"), "{error}");
    });
}

#[test]
fn every_byte_comes_in_order_and_then_the_end() {
    block_on(async {
        let Some(queue) = imitation(1 << 20, 64 << 10) else { return };
        let (read, _write, peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let sender = send(peer, 4 << 20);
        assert!(the_rest(&mut receiver).await == pattern(4 << 20));
        assert!(next(&mut receiver).await.is_none(), "it stays at its end");
        drop(sender.join().unwrap());
    });
}

/// More than there is memory for, and all of it held: it waits for what comes back.
#[test]
fn without_memory_it_waits_and_goes_on() {
    block_on(async {
        let Some(queue) = imitation(64 << 10, 1 << 20) else { return };
        let (read, _write, peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let sender = send(peer, 1 << 20);
        let (mut held, mut all) = (Vec::new(), Vec::new());
        while all.len() < 1 << 20 {
            let held_bytes: usize = held.iter().map(|lease: &Lease| lease.len()).sum();
            let lease = match ringtoss::time::timeout(Duration::from_millis(200), receiver.next()).await {
                Ok(lease) => lease.expect("there is more").unwrap(),
                Err(_) => {
                    assert!(held_bytes > 0, "nothing is held, and nothing comes");
                    // On another thread, half of them.
                    let some: Vec<Lease> = held.drain(..held.len().div_ceil(2)).collect();
                    thread::spawn(move || drop(some)).join().unwrap();
                    continue;
                }
            };
            assert!(held_bytes <= 64 << 10);
            all.extend_from_slice(&lease);
            held.push(lease);
        }
        assert!(all == pattern(1 << 20));
        drop(held);
        assert!(next(&mut receiver).await.is_none());
        drop(sender.join().unwrap());
    });
}

#[test]
fn one_that_nobody_reads_makes_its_peer_wait() {
    block_on(async {
        let Some(queue) = imitation(1 << 20, 64 << 10) else { return };
        let (read, _write, mut peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        peer.write_all(&[7; 1000]).unwrap();
        let mut got = next(&mut receiver).await.unwrap().unwrap().len();
        // Another one is served meanwhile, with what memory there is besides.
        let (read, _other_write, other) = connection().await;
        let mut other_receiver = queue.receive(read).unwrap();
        peer.set_nonblocking(true).unwrap();
        let mut sent = 1000;
        let mut full = 0;
        while full < 20 {
            match peer.write(&[7; 65536]) {
                Ok(count) => sent += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    full += 1;
                    ringtoss::time::sleep(Duration::from_millis(10)).await;
                }
            }
            assert!(sent < 64 << 20, "it is never held up");
        }
        let sender = send(other, 300_000);
        assert!(the_rest(&mut other_receiver).await == pattern(300_000));
        drop(sender.join().unwrap());
        peer.shutdown(Shutdown::Write).unwrap();
        while let Some(lease) = next(&mut receiver).await {
            let lease = lease.unwrap();
            assert!(lease.iter().all(|&byte| byte == 7));
            got += lease.len();
        }
        assert_eq!(got, sent);
    });
}

#[test]
fn a_dropped_one_closes_its_connection() {
    block_on(async {
        let Some(queue) = imitation(1 << 20, 64 << 10) else { return };
        for begun in [false, true] {
            let (read, write, mut peer) = connection().await;
            let mut receiver = queue.receive(read).unwrap();
            if begun {
                peer.write_all(b"one").unwrap();
                assert_eq!(&next(&mut receiver).await.unwrap().unwrap()[..], b"one");
                // And now it waits in the kernel.
                let more = ringtoss::time::timeout(Duration::from_millis(20), receiver.next()).await;
                assert!(more.is_err());
            }
            drop(receiver);
            drop(write);
            let end = spawn(async move { ringtoss::spawn_blocking(move || peer.read(&mut [0; 8])).await.unwrap() });
            assert_eq!(end.await.unwrap().unwrap(), 0, "begun: {begun}");
        }
        // The queue goes on.
        let (read, _write, peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let sender = send(peer, 10_000);
        assert!(the_rest(&mut receiver).await == pattern(10_000));
        drop(sender.join().unwrap());
    });
}

#[test]
fn a_lease_outlives_everything() {
    let (mut whole, rest) = {
        let events = EventLoop::new().unwrap();
        let kept = events.block_on(async {
            let queue = imitation(1 << 20, 64 << 10)?;
            let (read, _write, mut peer) = connection().await;
            let mut receiver = queue.receive(read).unwrap();
            peer.write_all(b"kept for long").unwrap();
            let mut lease = next(&mut receiver).await.unwrap().unwrap();
            let rest = lease.split_off(8);
            Some((lease, rest))
        });
        let Some(kept) = kept else { return };
        kept
    };
    assert_eq!((&whole[..], &rest[..]), (&b"kept for"[..], &b" long"[..]));
    whole.truncate(4);
    thread::spawn(move || assert_eq!(&whole[..], b"kept")).join().unwrap();
    drop(rest);
}

#[test]
fn a_reset_is_an_error_and_the_last_word() {
    block_on(async {
        let Some(queue) = imitation(1 << 20, 64 << 10) else { return };
        let (read, _write, peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let waiting = spawn(async move {
            let first = next(&mut receiver).await;
            (first, next(&mut receiver).await)
        });
        let peer = ringtoss::net::TcpStream::from_std(peer);
        peer.set_linger(Some(Duration::ZERO)).unwrap();
        peer.close().await.unwrap();
        let (first, second) = waiting.await.unwrap();
        assert_eq!(first.expect("an error").unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(second.is_none());
    });
}

#[test]
fn receivers_work_on_other_threads_and_end_with_the_loop() {
    let events = EventLoop::new().unwrap();
    let Some(queue) = events.block_on(async { imitation(1 << 20, 64 << 10) }) else { return };
    let (receiver, peer) = events.block_on(async {
        let (read, _write, peer) = connection().await;
        (queue.receive(read).unwrap(), peer)
    });
    let (tell, told) = std::sync::mpsc::channel();
    let elsewhere = thread::spawn(move || {
        let mut receiver = receiver;
        block_on(async {
            let first = next(&mut receiver).await.unwrap().unwrap().to_vec();
            tell.send(first).unwrap();
            let error = next(&mut receiver).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
            assert!(next(&mut receiver).await.is_none());
        });
    });
    let mut sender = peer.try_clone().unwrap();
    sender.write_all(b"hello").unwrap();
    let first = events.block_on(async { ringtoss::spawn_blocking(move || told.recv().unwrap()).await.unwrap() });
    assert_eq!(first, b"hello");
    drop(events);
    elsewhere.join().unwrap();
    block_on(async {
        let (read, _write, _peer) = connection().await;
        assert_eq!(queue.receive(read).unwrap_err().kind(), ErrorKind::NotConnected);
    });
}

#[test]
fn many_connections_share_little_memory() {
    block_on(async {
        let Some(queue) = imitation(256 << 10, 32 << 10) else { return };
        let mut tasks = Vec::new();
        for number in 0..20 {
            let (read, mut write, peer) = connection().await;
            let sender = send(peer, 200_000 + number);
            let mut receiver = queue.receive(read).unwrap();
            tasks.push(spawn(async move {
                let mut all = Vec::new();
                while let Some(lease) = next(&mut receiver).await {
                    let lease = lease.unwrap();
                    all.extend_from_slice(&lease);
                    // Given up, again and again.
                    let _ = ringtoss::time::timeout(Duration::from_micros(10), std::future::pending::<()>()).await;
                }
                assert!(all == pattern(200_000 + number));
                write.write_all("done").await.0.unwrap();
                sender
            }));
        }
        for task in tasks {
            let sender = task.await.unwrap();
            let mut peer = ringtoss::spawn_blocking(move || sender.join().unwrap()).await.unwrap();
            let mut done = [0; 4];
            peer.read_exact(&mut done).unwrap();
            assert_eq!(&done, b"done");
        }
    });
}

#[test]
fn a_wait_that_is_dropped_loses_nothing() {
    block_on(async {
        let Some(queue) = imitation(1 << 20, 16 << 10) else { return };
        let (read, _write, peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let sender = send(peer, 500_000);
        let mut all = Vec::new();
        loop {
            match ringtoss::time::timeout(Duration::from_micros(50), receiver.next()).await {
                Ok(Some(lease)) => all.extend_from_slice(&lease.unwrap()),
                Ok(None) => break,
                Err(_) => {}
            }
        }
        assert!(all == pattern(500_000));
        drop(sender.join().unwrap());
    });
}

#[test]
fn what_a_dropped_receive_brings_has_to_be_read_before() {
    block_on(async {
        let Some(queue) = imitation(1 << 16, 16 << 10) else { return };
        let (mut read, _write, mut peer) = connection().await;
        assert!(ringtoss::time::timeout(Duration::from_millis(5), read.read(vec![0; 8])).await.is_err());
        let error = queue.receive(read).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        peer.write_all(b"x").unwrap_or(());
    });
}

/// Each comes when the loop sleeps, so each has to wake it. How long that took is printed: kernels that are slow to tell of what is deferred
/// have been seen to take 20 ms.
#[test]
fn one_message_at_a_time_wakes_the_loop() {
    const ROUNDS: u32 = 100;
    block_on(async {
        let Some(queue) = imitation(1 << 20, 1 << 20) else { return };
        let (read, mut write, mut peer) = connection().await;
        let mut receiver = queue.receive(read).unwrap();
        let asking = thread::spawn(move || {
            let mut took = Vec::new();
            for round in 0..ROUNDS {
                let start = Instant::now();
                peer.write_all(&round.to_ne_bytes()).unwrap();
                let mut reply = [0; 4];
                peer.read_exact(&mut reply).unwrap();
                assert_eq!(u32::from_ne_bytes(reply), round);
                took.push(start.elapsed());
            }
            took.sort();
            took[ROUNDS as usize / 2]
        });
        while let Some(lease) = next(&mut receiver).await {
            write.write_all(lease.unwrap()).await.0.unwrap();
        }
        eprintln!("a question and its reply: {:?} (median)", asking.join().unwrap());
    });
}
