//! What arrives is received, once or many times, and the buffers go back.

use std::io::{ErrorKind, Write};

use ringtoss::EventLoop;
use ringtoss::buf::Lease;
use ringtoss::net::TcpStream;

use crate::util::*;

const _: () = {
    const fn thread_safe<T: Send + Sync>() {}
    thread_safe::<Lease>();
    const fn sendable<T: Send>() {}
    sendable::<ringtoss::op::Receive<'static>>();
    sendable::<ringtoss::op::Receiving<'static>>();
};

/// Sends `len` bytes of the pattern in pieces of odd sizes, and closes.
async fn send(mut stream: TcpStream, len: usize) {
    let mut random = Random(7);
    let mut place = 0;
    while place < len {
        let piece = (1 + random.below(5000)).min(len - place);
        stream.write_all(pattern(place, piece)).await.0.unwrap();
        place += piece;
    }
}

#[test]
fn every_byte_comes_in_order_and_then_the_end() {
    run(async {
        let (mut ours, theirs) = pair().await;
        let sender = ringtoss::spawn(send(theirs, 3_000_000));
        let mut place = 0;
        while let Some(lease) = ours.recv().await.unwrap() {
            assert!(!lease.is_empty());
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(place, 3_000_000);
        assert!(ours.recv().await.unwrap().is_none(), "the end stays the end");
        sender.await.unwrap();
    });
}

#[test]
fn a_stream_of_leases() {
    run(async {
        let (mut ours, theirs) = pair().await;
        let sender = ringtoss::spawn(send(theirs, 3_000_000));
        let mut place = 0;
        let mut received = ours.recv_stream();
        while let Some(lease) = received.next().await {
            let lease = lease.unwrap();
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(place, 3_000_000);
        assert!(received.next().await.is_none());
        sender.await.unwrap();
    });
}

#[test]
fn one_submission_serves_many_receives() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        let mut received = ours.recv_stream();
        peer.write_all(b"first").unwrap();
        assert_eq!(&received.next().await.unwrap().unwrap()[..], b"first");
        let before = ringtoss::metrics();
        for round in 0..1000u32 {
            peer.write_all(&round.to_le_bytes()).unwrap();
            assert_eq!(&received.next().await.unwrap().unwrap()[..], round.to_le_bytes());
        }
        let after = ringtoss::metrics();
        assert!(after.submissions - before.submissions < 50, "{} submissions", after.submissions - before.submissions);
        assert_eq!(after.stale_completions, 0);
    });
}

#[test]
fn halves_receive_too() {
    run(async {
        let (ours, theirs) = pair().await;
        let (mut reader, mut writer) = ours.into_split();
        let echo = ringtoss::spawn(async move {
            let (mut reader, mut writer) = theirs.into_split();
            while let Some(lease) = reader.recv().await.unwrap() {
                writer.write_all(lease).await.0.unwrap();
            }
        });
        writer.write_all("there and back").await.0.unwrap();
        let lease = reader.recv_stream().next().await.unwrap().unwrap();
        assert_eq!(&lease[..], b"there and back");
        drop(writer);
        assert!(reader.recv_stream().next().await.is_none());
        echo.await.unwrap();
    });
}

#[test]
fn a_reset_is_an_error_and_then_the_end() {
    run(async {
        let (mut ours, peer) = with_std_peer();
        let mut received = ours.recv_stream();
        assert!(poll_and_drop(received.next()).await.is_none());
        turn().await;
        reset(peer);
        assert_eq!(received.next().await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(received.next().await.is_none());
        drop(received);
        let (mut ours, peer) = with_std_peer();
        reset(peer);
        assert_eq!(ours.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn leases_outlive_their_loop_and_go_to_other_threads() {
    let event_loop = EventLoop::new().unwrap();
    let lease = event_loop.block_on(bounded(async {
        let (mut ours, mut peer) = with_std_peer();
        peer.write_all(b"kept").unwrap();
        ours.recv().await.unwrap().unwrap()
    }));
    drop(event_loop);
    std::thread::spawn(move || {
        assert_eq!(&lease[..], b"kept");
        let sent = ringtoss::block_on(async {
            let (mut ours, mut peer) = pair().await;
            ours.write_all(lease).await.0.unwrap();
            peer.recv().await.unwrap().unwrap().into_vec()
        });
        assert_eq!(sent, b"kept");
    })
    .join()
    .unwrap();
}

#[test]
fn a_stream_moves_to_another_loop_with_what_it_has() {
    let (ours, mut peer) = with_std_peer();
    let mut ours = Box::new(ours);
    let first = EventLoop::new().unwrap();
    // A stream of leases that is begun on one loop and goes on on another.
    std::thread::scope(|scope| {
        let mut received = ours.recv_stream();
        first.block_on(bounded(async {
            peer.write_all(b"one").unwrap();
            assert_eq!(&received.next().await.unwrap().unwrap()[..], b"one");
            peer.write_all(b"two").unwrap();
            turn().await;
        }));
        let moved = scope.spawn(move || {
            run(async {
                let mut all = Vec::new();
                while let Some(lease) = received.next().await {
                    all.extend_from_slice(&lease.unwrap());
                }
                all
            })
        });
        first.block_on(bounded(async {
            ringtoss::time::sleep(std::time::Duration::from_millis(20)).await;
            peer.write_all(b"three").unwrap();
            drop(peer);
            until(|| moved.is_finished()).await;
        }));
        assert_eq!(moved.join().unwrap(), b"twothree");
    });
}
