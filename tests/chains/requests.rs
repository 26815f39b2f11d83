//! A request and its answer as a chain: `write_then_read`.

use std::time::Duration;

use ringtoss::net::UnixStream;

use crate::util::{CANCELLED, count_wakes, errno, pair, poll_once, run, turn};

#[test]
fn a_request_and_its_answer_are_one_wake() {
    run(async {
        let (mut client, mut server) = pair().await;
        let serving = ringtoss::spawn(async move {
            for _ in 0..100 {
                let (result, request) = server.read_exact(Vec::with_capacity(8), 8).await;
                result.unwrap();
                server.write_all(request).await.0.unwrap();
            }
        });
        for round in 0..100u64 {
            let exchange = client.write_then_read(round.to_ne_bytes().to_vec(), Vec::with_capacity(100));
            let (((sent, request), (read, answer)), wakes) = count_wakes(exchange).await;
            sent.unwrap();
            assert_eq!((read.unwrap(), &answer), (8, &request));
            assert_eq!((request, wakes), (round.to_ne_bytes().to_vec(), 1));
        }
        serving.await.unwrap();
        let (mut one, mut other) = UnixStream::pair().unwrap();
        other.write_all("there already").await.0.unwrap();
        let ((sent, _), (read, answer)) = one.write_then_read("x", Vec::with_capacity(100)).await;
        sent.unwrap();
        assert_eq!((read.unwrap(), &answer[..]), (13, &b"there already"[..]));
        assert_eq!(other.read(Vec::with_capacity(9)).await.1, b"x");
    });
}

/// Larger than what the kernel takes at once: it goes on by itself, and the read comes behind the last byte.
#[test]
fn a_large_request() {
    run(async {
        let (mut client, mut server) = pair().await;
        let request: Vec<u8> = (0..5_000_000u32).map(|i| (i >> 5) as u8).collect();
        let expected = request.clone();
        let serving = ringtoss::spawn(async move {
            let (result, all) = server.read_exact(Vec::with_capacity(expected.len()), expected.len()).await;
            result.unwrap();
            assert!(all == expected);
            server.write_all("done").await.0.unwrap();
        });
        let ((sent, _), (read, answer)) = client.write_then_read(request, Vec::with_capacity(100)).await;
        sent.unwrap();
        assert_eq!((read.unwrap(), &answer[..]), (4, &b"done"[..]));
        serving.await.unwrap();
    });
}

#[test]
fn nobody_reads_behind_a_write_that_failed() {
    run(async {
        let (mut one, other) = UnixStream::pair().unwrap();
        drop(other);
        let ((sent, _), (read, _)) = one.write_then_read("x", Vec::<u8>::with_capacity(8)).await;
        assert_eq!(sent.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        assert_eq!(errno(&read), CANCELLED);
        assert_eq!(one.read(Vec::<u8>::with_capacity(8)).await.0.unwrap(), 0, "the end is there still");
        // The end as an answer.
        let (mut one, mut other) = pair().await;
        let serving = ringtoss::spawn(async move {
            assert_eq!(other.read(Vec::with_capacity(8)).await.1, b"x");
        });
        let ((sent, _), (read, _)) = one.write_then_read("x", Vec::<u8>::with_capacity(8)).await;
        sent.unwrap();
        assert_eq!(read.unwrap(), 0);
        serving.await.unwrap();
    });
}

/// Dropped at whatever moment, what was sent is known, and no byte of the answers is lost.
#[test]
fn dropped_exchanges_lose_nothing() {
    const ROUNDS: usize = 300;
    run(async {
        let (mut client, mut server) = pair().await;
        let serving = ringtoss::spawn(async move {
            let mut expected = 0u8;
            loop {
                let (result, bytes) = server.read(Vec::with_capacity(64)).await;
                if result.unwrap() == 0 {
                    return;
                }
                for &byte in &bytes {
                    assert_eq!(byte, expected, "requests come once, and in order");
                    expected = expected.wrapping_add(1);
                }
                server.write_all(bytes).await.0.unwrap();
            }
        });
        let (mut sent, mut answered) = (0usize, 0usize);
        for round in 0..ROUNDS {
            let mut exchange = client.write_then_read(vec![sent as u8], Vec::with_capacity(64));
            let mut done = None;
            for _ in 0..round % 5 {
                if let std::task::Poll::Ready(output) = poll_once(&mut exchange).await {
                    done = Some(output);
                    break;
                }
                turn().await;
            }
            if round % 7 == 0 && done.is_none() {
                done = Some(exchange.timeout(Duration::from_micros(round as u64)).await);
            } else {
                drop(exchange);
            }
            let bytes = match done {
                Some(((written, _), (_, bytes))) => {
                    sent += usize::from(written.is_ok());
                    bytes
                }
                None => {
                    if let Some(fate) = client.take_dropped_write().await {
                        sent += fate.unwrap();
                    }
                    Vec::new()
                }
            };
            for byte in bytes {
                assert_eq!(byte, answered as u8, "round {round}");
                answered += 1;
            }
        }
        while answered < sent {
            let (result, bytes) = client.read(Vec::with_capacity(64)).await;
            assert_ne!(result.unwrap(), 0);
            for byte in bytes {
                assert_eq!(byte, answered as u8);
                answered += 1;
            }
        }
        assert_eq!(answered, sent);
        drop(client);
        serving.await.unwrap();
    });
}
