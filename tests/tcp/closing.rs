//! Closing: the peer sees the end at once, and nothing holds up the loop.

use std::time::Duration;

use ringtoss::net::TcpStream;
use ringtoss::{EventLoop, op};

use crate::util::*;

/// A read that the kernel has would hold the socket open: it is cancelled.
#[test]
fn with_a_read_in_flight_the_peer_sees_the_end() {
    run(async {
        for round in 0..60 {
            let (mut stream, peer) = with_std_peer();
            let mut read = stream.read(Vec::with_capacity(9));
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(read);
            match round / 3 % 4 {
                0 => {}
                // Others wait there, too.
                1 => {
                    let mut peek = stream.peek(Vec::with_capacity(9));
                    let mut readable = stream.readable();
                    let _ = (poll_once(&mut peek).await, poll_once(&mut readable).await);
                    turn().await;
                    let _ = (poll_once(&mut peek).await, poll_once(&mut readable).await);
                }
                // The next read has adopted it.
                2 => assert!(poll_and_drop(stream.read(Vec::with_capacity(9))).await.is_none()),
                _ => turn().await,
            }
            if round % 2 == 0 {
                drop(stream);
            } else {
                stream.close().await.unwrap();
            }
            assert_eq!(rest_of(peer).await, b"");
        }
    });
}

/// A task that waits for its peer is aborted, with everything that it had.
#[test]
fn an_aborted_task_closes_what_it_had() {
    run(async {
        let (mut stream, peer) = with_std_peer();
        let task = ringtoss::spawn(async move { stream.read(Vec::with_capacity(9)).await.0 });
        turn().await;
        turn().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(rest_of(peer).await, b"");
    });
}

/// A loop that is kept and does not run has closed what it was asked to.
#[test]
fn a_loop_that_is_not_run_on_leaves_nothing_open() {
    run_watched(|| {
        let event_loop = EventLoop::new().unwrap();
        for round in 0..8 {
            let (mut stream, peer) = with_std_peer();
            event_loop.block_on(async move {
                stream.write_all("bye").await.0.unwrap();
                if round % 2 == 0 {
                    let _ = poll_and_drop(stream.read(Vec::with_capacity(9))).await;
                    assert!(poll_and_drop(stream.readable()).await.is_none());
                    turn().await;
                }
                if round % 4 > 1 {
                    let mut read = stream.read(Vec::with_capacity(9));
                    assert!(poll_once(&mut read).await.is_pending());
                    turn().await;
                }
            });
            peer.set_read_timeout(Some(seconds(50))).unwrap();
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut &peer, &mut all).unwrap();
            assert_eq!(all, b"bye");
        }
    });
}

/// A stream that wants to linger for longer than any test, with unsent bytes.
async fn lingering() -> (TcpStream, std::net::TcpStream) {
    let (mut stream, peer) = with_std_peer();
    small_buffers(&stream);
    small_buffers(&peer);
    stream.set_linger(Some(Duration::from_secs(3000))).unwrap();
    while stream.write(vec![0; 65536]).timeout(Duration::from_millis(20)).await.0.is_ok() {}
    (stream, peer)
}

async fn goes_on(peer: std::net::TcpStream) {
    for _ in 0..10 {
        turn().await;
    }
    // It lingers until the peer has read.
    assert!(!rest_of(peer).await.is_empty());
}

#[test]
fn lingering_does_not_hold_up_the_loop() {
    run_watched(|| {
        run(async {
            let (stream, peer) = lingering().await;
            drop(stream);
            goes_on(peer).await;

            let (stream, peer) = lingering().await;
            let closing = ringtoss::spawn(stream.close());
            goes_on(peer).await;
            closing.await.unwrap().unwrap();

            // Inherited by a stream that no loop has used.
            let (stream, peer) = lingering().await;
            let stream = TcpStream::from_std(stream.into_std().unwrap());
            drop(stream);
            goes_on(peer).await;
        });
    });
}

#[test]
fn lingering_away_from_a_home_that_has_ended() {
    run_watched(|| {
        let (stream, peer) = run(lingering());
        run(async {
            drop(stream);
            goes_on(peer).await;
        });
    });
}

#[test]
fn zero_linger_resets() {
    run(async {
        let (mut stream, peer) = pair().await;
        let mut peer = peer;
        stream.write_all("lost").await.0.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
        let mut last = Ok(1);
        while let Ok(1..) = last {
            last = peer.read(Vec::with_capacity(99)).await.0;
        }
        assert_eq!(last.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
    });
}

#[test]
fn closing_tells_when_it_is_done_and_may_be_dropped() {
    run(async {
        for turns in 0..4 {
            let (stream, peer) = with_std_peer();
            let mut closing = Box::pin(stream.close());
            for _ in 0..turns {
                if poll_once(&mut closing).await.is_ready() {
                    break;
                }
                op::nop().await.unwrap();
            }
            drop(closing);
            assert_eq!(rest_of(peer).await, b"");
        }
    });
}
