//! Sending without copying. Over loopback the kernel copies all the same and says so, which is part of what is tested.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use ringtoss::net::TcpStream;

use crate::util::*;

/// More than the buffers of both ends take.
const MUCH: usize = 1_000_000;
/// Enough not to be copied at once, and little enough to be taken at once.
const SOME: usize = 64 * 1024;

/// Whether notifications tell for sure if the kernel has copied (6.2); older ones may have that carried back to them.
pub fn reports() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 2)
}

/// Reads to the end on a thread, checks that it is the pattern from 0 on, and gives its length.
fn reader(mut peer: std::net::TcpStream) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        check(&all, 0);
        all.len()
    })
}

/// A stream whose peer does not read, and a small buffer.
fn narrow() -> (TcpStream, std::net::TcpStream) {
    let (a, b) = with_std_peer();
    // The peer's stays as it is: windows smaller than a packet are opened by timers.
    small_buffers(&a);
    (a, b)
}

/// What a thread gives, without blocking the loop, on which its end may depend.
async fn peer_thread<T>(peer: std::thread::JoinHandle<T>) -> T {
    until(|| peer.is_finished()).await;
    peer.join().unwrap()
}

/// Completions that sending so many bytes takes, while nothing else goes on.
async fn completions(stream: &mut TcpStream, len: usize) -> u64 {
    let before = ringtoss::metrics().completions;
    let (result, buf) = stream.send_zc(vec![7; len]).await;
    assert_eq!((result.unwrap(), buf.len()), (len, len));
    ringtoss::metrics().completions - before
}

#[test]
fn what_is_copied_all_the_same_is_copied_from_then_on() {
    run(async {
        let (mut a, peer) = with_std_peer();
        let peer = std::thread::spawn(move || std::io::copy(&mut &peer, &mut std::io::sink()).unwrap());
        // Too little to be worth it: one completion, as ever.
        assert_eq!(completions(&mut a, 4096).await, 1);
        let first = completions(&mut a, SOME).await;
        // Who does not know the report refuses it once.
        assert!(first == 2 || first == 3 && !reports(), "{first}: a result and a notification");
        // Loopback copies: it said so.
        let then = completions(&mut a, SOME).await;
        assert!(then == 1 || then == 2 && !reports(), "{then}");
        let before = ringtoss::metrics().completions;
        a.send_all_zc(vec![7; SOME]).await.0.unwrap();
        assert_eq!(ringtoss::metrics().completions - before, then);
        drop(a);
        assert_eq!(peer_thread(peer).await, 4096 + 3 * SOME as u64);
    });
}

#[test]
fn everything_arrives() {
    run(async {
        for connections in 0..4 {
            let (mut a, b) = with_std_peer();
            let reader = reader(b);
            // Whole or in pieces, from one buffer or several, by reference or not.
            let (result, buf) = a.send_all_zc(pattern(0, 4 * MUCH)).await;
            result.unwrap();
            check(&buf, 0);
            let mut place = 4 * MUCH;
            for round in 0..20 {
                let len = [10, SOME, 3 * SOME, 16 * 1024 - 1, 16 * 1024][(round + connections) % 5];
                let sent = if round % 2 == 0 {
                    a.send_zc(pattern(place, len)).await.0.unwrap()
                } else {
                    let bufs = (pattern(place, len / 3), pattern(place + len / 3, len - len / 3));
                    a.send_vectored_zc(bufs).await.0.unwrap()
                };
                assert!(sent > 0 && sent <= len);
                place += sent;
            }
            let (mut read, mut write) = a.into_split();
            write.send_all_zc(pattern(place, SOME)).await.0.unwrap();
            assert!(poll_and_drop(read.read(Vec::with_capacity(10))).await.is_none());
            drop((read, write));
            assert_eq!(peer_thread(reader).await, place + SOME);
        }
    });
}

#[test]
fn dropped_its_fate_is_told_and_the_buffer_is_freed_once() {
    run(async {
        for turns in 0..10 {
            let (mut a, b) = narrow();
            let (buffer, drops) = Counted::new(pattern(0, MUCH));
            let mut send = a.send_all_zc(buffer);
            for _ in 0..turns {
                assert!(poll_once(&mut send).await.is_pending());
                turn().await;
            }
            drop(send);
            let reader = reader(b);
            let sent = a.take_dropped_write().await.map_or(0, Result::unwrap);
            assert_eq!(sent > 0, turns > 0, "{sent} bytes after {turns} turns");
            drops.once().await;
            // In order behind it, although nobody knows how the kernel sent either.
            a.send_all_zc(pattern(sent, MUCH)).await.0.unwrap();
            drop(a);
            assert_eq!(peer_thread(reader).await, sent + MUCH);
        }
    });
}

#[test]
fn the_socket_may_go_before_the_notification() {
    run(async {
        for turns in 0..6 {
            let (mut a, b) = narrow();
            let (buffer, drops) = Counted::new(pattern(0, MUCH));
            let mut send = a.send_zc(buffer);
            for _ in 0..turns {
                if poll_once(&mut send).await.is_ready() {
                    break;
                }
                turn().await;
            }
            drop(send);
            drop(a);
            // What the kernel had taken is still sent from the buffer, then it is freed.
            peer_thread(reader(b)).await;
            drops.once().await;
        }
    });
}

#[test]
fn the_loop_may_go_before_the_notification() {
    let (stream, peer) = std_pair();
    small_buffers(&stream);
    let (buffer, drops) = Counted::new(pattern(0, MUCH));
    run(async move {
        let mut a = TcpStream::from_std(stream);
        let mut send = a.send_all_zc(buffer);
        assert!(poll_once(&mut send).await.is_pending());
        turn().await;
    });
    assert_eq!(drops.count(), 1);
    drop(peer);
}

#[test]
fn limits_and_errors_give_the_buffer_back() {
    run(async {
        let (mut a, b) = narrow();
        small_buffers(&b);
        // It waits for the buffer, which the kernel has until what it took has arrived: the peer reads, but slowly.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let slow = std::thread::spawn(move || {
            let mut all = vec![0; 1000];
            (&b).read_exact(&mut all).unwrap();
            let _ = stopped.recv();
            (&b).read_to_end(&mut all).unwrap();
            check(&all, 0);
            all.len()
        });
        let mut send = a.send_all_zc(pattern(0, MUCH)).timeout(Duration::from_millis(20));
        assert!(ringtoss::time::timeout(Duration::from_millis(100), &mut send).await.is_err());
        drop(stop);
        let (result, buf) = send.await;
        let error = result.unwrap_err();
        let sent = ringtoss::op::transferred(&error).unwrap();
        assert!(error.kind() == ErrorKind::TimedOut && sent > 0 && sent < buf.len(), "{error}, {sent}");
        drop(a);
        assert_eq!(peer_thread(slow).await, sent);

        let (mut a, peer) = with_std_peer();
        reset(peer);
        until(|| !matches!(a.take_error(), Ok(None))).await;
        let (result, buf) = a.send_all_zc(pattern(0, SOME)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        check(&buf, 0);
        let (result, _) = a.send_zc(Vec::new()).await;
        assert!(result.is_err());
    });
}
