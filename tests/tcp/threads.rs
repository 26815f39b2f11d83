//! Streams that go to other threads and loops, at any moment.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::AsRawFd;
use std::pin::Pin;

use ringtoss::EventLoop;
use ringtoss::net::TcpStream;

use crate::util::*;

/// Opens connections until the kernel gives out `number` again, or does not want to.
fn strangers(number: i32) -> Vec<(StdStream, StdStream)> {
    let mut all = Vec::new();
    for _ in 0..30 {
        let pair = std_pair();
        let found = pair.0.as_raw_fd() == number || pair.1.as_raw_fd() == number;
        all.push(pair);
        if found {
            break;
        }
    }
    all
}

fn got_nothing(strangers: &[(StdStream, StdStream)]) {
    for stranger in strangers.iter().flat_map(|(a, b)| [a, b]) {
        stranger.set_nonblocking(true).unwrap();
        let mut stranger = stranger;
        assert_eq!(stranger.read(&mut [0; 99]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

/// An entry that was staged names its descriptor by number. The object goes to another thread in the same poll and is
/// dropped there, and the number must not be anybody else's when the kernel takes the entry.
#[test]
fn an_entry_never_reaches_a_stranger_that_got_the_number() {
    run(async {
        for round in 0..60 {
            let (mut stream, mut peer) = with_std_peer();
            let number = stream.as_raw_fd();
            let write = async move {
                if round % 2 == 0 {
                    // So that it has a home before.
                    stream.writable().await.unwrap();
                }
                let _ = stream.write_all("secret").await;
            };
            let mut write: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(write);
            assert!(poll_once(&mut write).await.is_pending());
            if round % 2 == 0 {
                turn().await;
                assert!(poll_once(&mut write).await.is_pending());
            }
            let there = move || {
                match round % 3 {
                    0 => drop(write),
                    1 => run(async { drop(write) }),
                    // Also one that never frees its operation.
                    _ => std::mem::forget(write),
                }
                strangers(number)
            };
            let strangers = std::thread::spawn(there).join().unwrap();
            if round / 6 % 2 == 0 {
                // The queue gets full, so the entry goes to the kernel before this loop reads its mail.
                let mut nops: Vec<_> = (0..600).map(|_| ringtoss::op::nop()).collect();
                for nop in &mut nops {
                    assert!(poll_once(nop).await.is_pending());
                }
            }
            for _ in 0..3 {
                turn().await;
            }
            got_nothing(&strangers);
            if round % 3 != 2 {
                // It may have gone where it belongs.
                peer.set_read_timeout(Some(seconds(50))).unwrap();
                let mut all = Vec::new();
                peer.read_to_end(&mut all).unwrap();
                assert!(b"secret".starts_with(&all));
            }
        }
    });
}

/// The same with a conversion: the old number stays ours until the loop has seen to it.
#[test]
fn an_entry_never_reaches_a_stranger_after_a_conversion() {
    run(async {
        for _ in 0..20 {
            let (mut stream, peer) = with_std_peer();
            let number = stream.as_raw_fd();
            let mut write = stream.write_all("secret");
            assert!(poll_once(&mut write).await.is_pending());
            std::mem::forget(write);
            let there = move || {
                let std = stream.into_std().unwrap();
                assert_ne!(std.as_raw_fd(), number);
                drop(std);
                strangers(number)
            };
            let strangers = std::thread::spawn(there).join().unwrap();
            for _ in 0..3 {
                turn().await;
            }
            got_nothing(&strangers);
            assert_eq!(rest_of(peer).await, b"secret");
        }
    });
}

/// Nor does the end of a direction, which the kernel must not get to when the number is somebody else's already.
#[test]
fn the_end_of_a_half_never_reaches_a_stranger_that_got_the_number() {
    run(async {
        for _ in 0..300 {
            let (stream, peer) = with_std_peer();
            let number = stream.as_raw_fd();
            let (mut reader, mut writer) = stream.into_split();
            writer.write_all("x").await.0.unwrap();
            assert!(poll_and_drop(reader.read(Vec::with_capacity(9))).await.is_none());
            drop((reader, writer));
            turn().await;
            let strangers = strangers(number);
            turn().await;
            for (mut a, mut b) in strangers {
                a.write_all(b"x").unwrap();
                b.write_all(b"x").unwrap();
            }
            drop(peer);
        }
    });
}

/// What a read left on one loop is read on another.
#[test]
fn a_stream_moves_to_another_loop_in_the_middle_of_a_read() {
    run(async {
        for round in 0..48 {
            let (mut stream, mut peer) = with_std_peer();
            let mut read = stream.read_exact(Vec::with_capacity(9), 9);
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            let early = round % 2 == 0;
            if early {
                peer.write_all(b"one ").unwrap();
            }
            for _ in 0..round / 2 % 4 {
                turn().await;
            }
            if round / 8 % 2 == 0 {
                drop(read);
            } else {
                std::thread::scope(|scope| scope.spawn(|| drop(read)).join().unwrap());
            }
            let there = std::thread::spawn(move || {
                run(async move {
                    let (result, buf) = stream.read_exact(Vec::with_capacity(8), 8).await;
                    assert_eq!((result.unwrap(), &buf[..]), (8, &b"one two "[..]));
                    stream.write_all("answer").await.0.unwrap();
                    // It was used by two loops, and is dropped on this one, with a read in flight.
                    let mut read = stream.read(Vec::with_capacity(8));
                    assert!(poll_once(&mut read).await.is_pending());
                    turn().await;
                })
            });
            if !early {
                peer.write_all(b"one ").unwrap();
            }
            turn().await;
            peer.write_all(b"two ").unwrap();
            until(|| there.is_finished()).await;
            there.join().unwrap();
            assert_eq!(rest_of(peer).await, b"answer");
        }
    });
}

/// A future that was begun on one loop is awaited on another.
#[test]
fn a_read_in_flight_is_awaited_on_another_loop() {
    run(async {
        for round in 0..20 {
            let (mut stream, mut peer) = with_std_peer();
            let mut read = Box::pin(async move {
                let (result, buf) = stream.read(Vec::with_capacity(9)).await;
                (result, buf, stream)
            });
            assert!(poll_once(&mut read).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            let there = std::thread::spawn(move || run(read));
            if round % 4 > 1 {
                turn().await;
            }
            peer.write_all(b"there").unwrap();
            until(|| there.is_finished()).await;
            let (result, buf, mut stream) = there.join().unwrap();
            assert_eq!((result.unwrap(), &buf[..]), (5, &b"there"[..]));
            peer.write_all(b"back").unwrap();
            assert_eq!(stream.read(Vec::with_capacity(9)).await.1, b"back");
        }
    });
}

#[test]
fn a_write_that_was_dropped_on_one_loop_is_gone_on_with_on_another() {
    run(async {
        for round in 0..8 {
            let (mut stream, peer) = with_std_peer();
            small_buffers(&stream);
            let mut write = stream.write_all(pattern(0, 4_000_000));
            for _ in 0..=round % 4 {
                assert!(poll_once(&mut write).await.is_pending());
                turn().await;
            }
            drop(write);
            let there = std::thread::spawn(move || {
                run(async move {
                    let sent = stream.take_dropped_write().await.unwrap().unwrap();
                    stream.write_all(pattern(sent, 50_000)).await.0.unwrap();
                    sent + 50_000
                })
            });
            let all = rest_of(peer).await;
            check(&all, 0);
            assert_eq!(there.join().unwrap(), all.len());
        }
    });
}

#[test]
fn halves_on_two_loops() {
    const LEN: usize = 2_000_000;
    run(async {
        let (a, b) = pair().await;
        let (mut reader, mut writer) = a.into_split();
        // It has a home already, which is neither of the two.
        writer.writable().await.unwrap();
        let write = std::thread::spawn(move || {
            run(async move {
                for place in (0..LEN).step_by(50_000) {
                    writer.write_all(pattern(place, 50_000)).await.0.unwrap();
                }
            })
        });
        let read = std::thread::spawn(move || {
            run(async move {
                let (result, all) = reader.read_exact(Vec::with_capacity(LEN), LEN).await;
                result.unwrap();
                check(&all, 0);
                assert_eq!(reader.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
            })
        });
        let (mut from, mut to) = b.into_split();
        loop {
            let (result, buf) = from.read(Vec::with_capacity(65536)).await;
            if result.unwrap() == 0 {
                break;
            }
            to.write_all(buf).await.0.unwrap();
        }
        drop(to);
        until(|| write.is_finished() && read.is_finished()).await;
        write.join().unwrap();
        read.join().unwrap();
        // Both are gone, and this loop, which has used it first, has closed its part.
        assert_eq!(from.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
    });
}

#[test]
fn a_stream_outlives_its_loops() {
    let (mut stream, mut peer) = with_std_peer();
    for round in 0..20u8 {
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {
            let (result, _) = stream.write_all(vec![round]).await;
            result.unwrap();
            assert!(poll_and_drop(stream.read(Vec::with_capacity(9))).await.is_none());
            let mut read = stream.read(Vec::with_capacity(9));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
        });
        // The read that is in flight is ended by the loop's end, or has received this.
        peer.write_all(&[round]).unwrap();
        drop(event_loop);
        let (result, buf) = run(stream.read(Vec::with_capacity(9)));
        assert_eq!((result.unwrap(), &buf[..]), (1, &[round][..]));
        let mut sent = [0];
        peer.read_exact(&mut sent).unwrap();
        assert_eq!(sent, [round]);
    }
    std::thread::spawn(move || drop(stream)).join().unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// Where a listener is shared, each loop accepts for itself, and nothing that one leaves is lost.
#[test]
fn accepting_on_two_loops() {
    const CLIENTS: usize = 200;
    run(async {
        let (listener, address) = listener().await;
        let listener = std::sync::Arc::new(listener);
        let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let accept = |seed| {
            let (listener, accepted) = (listener.clone(), accepted.clone());
            move || async move {
                let mut random = Random(seed);
                while accepted.load(std::sync::atomic::Ordering::SeqCst) < CLIENTS {
                    tokio::select! {
                        result = listener.accept() => {
                            let (mut stream, _): (TcpStream, _) = result.unwrap();
                            stream.write_all("x").await.0.unwrap();
                            accepted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                        () = ringtoss::time::sleep(std::time::Duration::from_micros(random.below(500) as u64)) => {}
                    }
                }
            }
        };
        let (here, there) = (accept(0x1234_5678), accept(0x8765_4321));
        let there = std::thread::spawn(move || run(there()));
        let clients = std::thread::spawn(move || {
            for _ in 0..CLIENTS {
                let mut client = StdStream::connect(address).unwrap();
                client.set_read_timeout(Some(seconds(50))).unwrap();
                let mut all = Vec::new();
                client.read_to_end(&mut all).unwrap();
                assert_eq!(all, b"x");
            }
        });
        here().await;
        until(|| there.is_finished() && clients.is_finished()).await;
        there.join().unwrap();
        clients.join().unwrap();
    });
}
