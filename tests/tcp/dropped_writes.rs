//! Writes that are dropped in part: their fate is told, the order is kept, no byte is sent twice or lost.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use ringtoss::net::TcpStream;

use crate::util::*;

/// More than two small buffers take.
const MUCH: usize = 4_000_000;

/// A stream whose peer does not read: both buffers are small.
async fn narrow() -> (TcpStream, TcpStream) {
    let (a, b) = pair().await;
    small_buffers(&a);
    small_buffers(&b);
    (a, b)
}

/// Reads to the end, checks that it is the pattern from 0 on, and gives its length.
async fn read_all(stream: TcpStream) -> usize {
    let all = read_to_end(stream).await;
    check(&all, 0);
    all.len()
}

/// Starts a write that the kernel can take a part of only, and drops it.
async fn drop_in_part(stream: &mut TcpStream, turns: usize) -> Drops {
    let (buffer, drops) = Counted::new(pattern(0, MUCH));
    let mut write = stream.write_all(buffer);
    for _ in 0..=turns {
        assert!(poll_once(&mut write).await.is_pending());
        turn().await;
    }
    drop(write);
    drops
}

#[test]
fn before_submission_nothing_is_sent() {
    run(async {
        let (mut a, b) = pair().await;
        drop(a.write("never"));
        assert!(poll_and_drop(a.write("never")).await.is_none());
        assert!(poll_and_drop(a.write_vectored(("never", "ever"))).await.is_none());
        assert!(a.take_dropped_write().await.is_none());
        a.write_all(pattern(0, 10)).await.0.unwrap();
        drop(a);
        assert_eq!(read_all(b).await, 10);
    });
}

#[test]
fn the_fate_is_told_and_the_next_write_goes_on_there() {
    run(async {
        for turns in 0..10 {
            let (mut a, b) = narrow().await;
            let drops = drop_in_part(&mut a, turns).await;
            let sent = a.take_dropped_write().await.unwrap().unwrap();
            assert!(sent > 0 && sent < MUCH, "{sent}");
            assert!(a.take_dropped_write().await.is_none(), "it is told once");
            drops.once().await;
            let reader = ringtoss::spawn(read_all(b));
            a.write_all(pattern(sent, 100_000)).await.0.unwrap();
            drop(a);
            assert_eq!(reader.await.unwrap(), sent + 100_000);
        }
    });
}

/// Without asking: it waits by itself, or its bytes would come among those of the dropped one.
#[test]
fn the_next_write_waits_until_the_fate_is_known() {
    run(async {
        for round in 0..10 {
            let (mut a, b) = narrow().await;
            drop_in_part(&mut a, round % 3).await;
            let writer = ringtoss::spawn(async move {
                match round % 2 {
                    0 => a.write_all(vec![0xff; 7]).await.0.unwrap(),
                    _ => assert_eq!(a.write_vectored((vec![0xff; 3], vec![0xff; 4])).await.0.unwrap(), 7),
                }
                a.take_dropped_write().await.unwrap().unwrap()
            });
            let all = read_to_end(b).await;
            let sent = writer.await.unwrap();
            assert_eq!(all.len(), sent + 7);
            check(&all[..sent], 0);
            assert_eq!(all[sent..], [0xff; 7]);
        }
    });
}

#[test]
fn shutdown_waits_for_it_and_the_peer_reads_to_the_end() {
    run(async {
        for turns in 0..6 {
            let (mut a, b) = narrow().await;
            drop_in_part(&mut a, turns).await;
            a.shutdown(Shutdown::Write).await.unwrap();
            let sent = a.take_dropped_write().await.unwrap().unwrap();
            assert_eq!(read_all(b).await, sent);
        }
    });
}

#[test]
fn closing_waits_for_it() {
    run(async {
        let (mut a, b) = narrow().await;
        drop_in_part(&mut a, 1).await;
        a.close().await.unwrap();
        let sent = read_all(b).await;
        assert!(sent > 0 && sent < MUCH, "{sent}");
    });
}

/// The most common case: a write that the kernel has taken at once, whose future nobody asks any more.
#[test]
fn one_that_was_done() {
    run(async {
        for turns in 1..4 {
            let (mut a, b) = pair().await;
            let mut write = a.write_all(pattern(0, 1000));
            assert!(poll_once(&mut write).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            drop(write);
            assert_eq!(a.take_dropped_write().await.unwrap().unwrap(), 1000);
            a.write_all(pattern(1000, 10)).await.0.unwrap();
            drop(a);
            assert_eq!(read_all(b).await, 1010);
        }
    });
}

#[test]
fn an_error_is_its_fate_too() {
    run(async {
        let (mut stream, peer) = with_std_peer();
        small_buffers(&stream);
        let mut write = stream.write_all(vec![0; MUCH]);
        for _ in 0..3 {
            assert!(poll_once(&mut write).await.is_pending());
            turn().await;
        }
        reset(peer);
        for _ in 0..3 {
            turn().await;
        }
        drop(write);
        match stream.take_dropped_write().await.unwrap() {
            // What the last step had taken before the reset came.
            Ok(sent) => assert!(sent < MUCH, "{sent}"),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET), "{error}"),
        }
        stream.write("x").await.0.unwrap_err();
    });
}

/// The writer cares for nothing but what it is told, and the reader sees every byte once, in order.
#[test]
fn writes_that_lose_races_are_gone_on_with() {
    const ROUNDS: usize = 3000;
    run(async {
        let (mut a, b) = narrow().await;
        let reader = ringtoss::spawn(async move {
            let mut b = b;
            let mut random = Random(0x4ead_0001);
            let mut place = 0;
            loop {
                let (result, buf) = b.read(Vec::with_capacity(1 + random.below(20_000))).await;
                check(&buf, place);
                place += buf.len();
                if result.unwrap() == 0 {
                    return place;
                }
                if random.below(4) == 0 {
                    ringtoss::time::sleep(Duration::from_micros(100)).await;
                }
            }
        });
        let mut random = Random(0x3417_0001);
        let (mut place, mut dropped) = (0, 0);
        for _ in 0..ROUNDS {
            let len = 1 + random.below_one_of([10, 5000, 50_000]);
            let turns = random.below(4);
            let other = async {
                for _ in 0..turns {
                    turn().await;
                }
            };
            let written = match random.below(3) {
                0 => tokio::select! {
                    (result, _) = a.write_all(pattern(place, len)) => result.map(|()| Some(len)),
                    () = other => Ok(None),
                },
                1 => tokio::select! {
                    (result, _) = a.write(pattern(place, len)) => result.map(Some),
                    () = other => Ok(None),
                },
                _ => tokio::select! {
                    (result, _) = a.write_vectored((pattern(place, len / 2), pattern(place + len / 2, len - len / 2))) =>
                        result.map(Some),
                    () = other => Ok(None),
                },
            };
            place += match written.unwrap() {
                Some(count) => count,
                None => {
                    dropped += 1;
                    a.take_dropped_write().await.map_or(0, |fate| fate.unwrap())
                }
            };
        }
        drop(a);
        assert_eq!(reader.await.unwrap(), place);
        assert!(dropped > ROUNDS / 10, "{dropped}");
    });
}

/// Reading does not wait for a dropped write.
#[test]
fn the_other_direction_goes_on() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        let mut write = stream.write_all(vec![0; MUCH]);
        assert!(poll_once(&mut write).await.is_pending());
        turn().await;
        drop(write);
        peer.write_all(b"meanwhile").unwrap();
        assert_eq!(stream.read(Vec::with_capacity(99)).await.1, b"meanwhile");
        drop(stream);
        let mut rest = Vec::new();
        // The stream is gone with unread bytes of nobody's: a clean end.
        peer.set_read_timeout(Some(seconds(50))).unwrap();
        let end = ringtoss::spawn_blocking(move || peer.read_to_end(&mut rest).map(|_| rest.len()));
        assert!(end.await.unwrap().unwrap() < MUCH);
    });
}
