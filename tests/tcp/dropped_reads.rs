//! Reads that are dropped at each moment: the buffer is freed once, and nothing is lost.

use std::io::{ErrorKind, Write};

use crate::util::*;

#[test]
fn before_submission_nothing_has_happened() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        peer.write_all(b"there").unwrap();
        let (buffer, drops) = Counted::new(vec![0; 99]);
        drop(stream.read(buffer));
        assert_eq!(drops.count(), 1);
        let (buffer, drops) = Counted::new(vec![0; 99]);
        assert!(poll_and_drop(stream.read(buffer)).await.is_none());
        assert_eq!(drops.count(), 1, "the kernel never had it");
        for _ in 0..3 {
            turn().await;
        }
        assert_eq!(stream.read(Vec::with_capacity(99)).await.1, b"there");
    });
}

/// Bytes that arrive at any time come out of the next read.
#[test]
fn in_flight_and_after_completion() {
    run(async {
        for round in 0..150 {
            let (before, between, after) = (round % 3, round / 3 % 4, round / 12 % 4);
            let (mut stream, mut peer) = with_std_peer();
            let (buffer, drops) = Counted::new(vec![0; 7]);
            let mut read = stream.read(buffer);
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..before {
                turn().await;
            }
            peer.write_all(b"0123456789").unwrap();
            for _ in 0..between {
                turn().await;
            }
            drop(read);
            for _ in 0..after {
                turn().await;
            }
            let (result, buf) = match round % 2 {
                0 => stream.read(Vec::with_capacity(3)).await,
                _ => {
                    let (result, (a, b)) = stream.read_vectored((Vec::with_capacity(1), Vec::with_capacity(2))).await;
                    (result, [a, b].concat())
                }
            };
            assert_eq!((result.unwrap(), &buf[..]), (3, &b"012"[..]));
            stream.readable().await.unwrap();
            assert_eq!(stream.peek(Vec::with_capacity(2)).await.1, b"34");
            assert_eq!(stream.read_exact(Vec::with_capacity(7), 7).await.1, b"3456789");
            drops.once().await;
        }
    });
}

#[test]
fn with_nothing_to_read_it_is_cancelled() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        for _ in 0..50 {
            let (buffer, drops) = Counted::new(vec![0; 99]);
            let mut read = stream.read(buffer);
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(read);
            assert_eq!(drops.count(), 0, "the kernel has it");
            drops.once().await;
            assert_eq!(ringtoss::metrics().in_flight, 0);
        }
        peer.write_all(b"x").unwrap();
        assert_eq!(stream.read(Vec::with_capacity(9)).await.1, b"x");
    });
}

#[test]
fn exact_and_appending_and_vectored_reads_leave_what_they_had() {
    run(async {
        for round in 0..60 {
            let (mut stream, mut peer) = with_std_peer();
            let turns = round % 4;
            let mut exact = stream.read_exact(Vec::with_capacity(100), 100);
            assert!(poll_once(&mut exact).await.is_pending());
            peer.write_all(b"abc").unwrap();
            for _ in 0..turns {
                turn().await;
                assert!(poll_once(&mut exact).await.is_pending());
            }
            drop(exact);
            let mut append = stream.read_append(Vec::with_capacity(2));
            let appended = poll_once(&mut append).await;
            peer.write_all(b"def").unwrap();
            let mut seen = match appended {
                std::task::Poll::Ready((_, bytes)) => bytes,
                std::task::Poll::Pending => {
                    for _ in 0..round / 4 % 4 {
                        turn().await;
                    }
                    Vec::new()
                }
            };
            drop(append);
            let mut vectored = stream.read_vectored((Vec::with_capacity(1), Vec::with_capacity(1)));
            match poll_once(&mut vectored).await {
                std::task::Poll::Ready((_, (a, b))) => seen.extend([a, b].concat()),
                std::task::Poll::Pending => {
                    for _ in 0..turns {
                        turn().await;
                    }
                }
            }
            drop(vectored);
            let missing = 6 - seen.len();
            seen.extend(stream.read_exact(Vec::with_capacity(9), missing).await.1);
            assert_eq!(seen, b"abcdef", "round {round}");
        }
    });
}

/// The first read after a reset gives the error, the second the end: the error must not be dropped with the first.
#[test]
fn a_reset_is_not_turned_into_a_clean_end() {
    run(async {
        for round in 0..60 {
            let (mut stream, mut peer) = with_std_peer();
            let mut read = stream.read(Vec::with_capacity(9));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            if round % 2 == 0 {
                peer.write_all(b"x").unwrap();
                turn().await;
            }
            reset(peer);
            for _ in 0..round / 2 % 4 {
                turn().await;
            }
            drop(read);
            for _ in 0..round / 8 % 4 {
                turn().await;
            }
            let mut error = None;
            for _ in 0..3 {
                match stream.read(Vec::with_capacity(9)).await.0 {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(met) => error = Some(met),
                }
            }
            let error = error.expect("a clean end");
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::ConnectionReset, Some(libc::ECONNRESET)));
        }
    });
}

#[test]
fn the_end_is_met_again() {
    run(async {
        for round in 0..24 {
            let (mut stream, peer) = with_std_peer();
            let mut read = stream.read(Vec::with_capacity(9));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(peer);
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            for _ in 0..round / 4 % 3 {
                turn().await;
            }
            for _ in 0..2 {
                assert_eq!(stream.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
            }
        }
    });
}

#[test]
fn dropped_peeks_and_waits_take_nothing() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        for round in 0..60 {
            for turns in 0..3 {
                let mut peek = stream.peek(Vec::with_capacity(9));
                assert!(poll_once(&mut peek).await.is_pending());
                let mut readable = stream.readable();
                let _ = poll_once(&mut readable).await;
                for _ in 0..turns {
                    turn().await;
                }
                if turns == round % 3 {
                    peer.write_all(b"once").unwrap();
                    for _ in 0..round / 3 % 3 {
                        turn().await;
                    }
                    break;
                }
            }
            let mut seen = Vec::new();
            while seen.len() < 4 {
                seen.extend(stream.read(Vec::with_capacity(9)).await.1);
            }
            assert_eq!(seen, b"once");
        }
    });
}

/// A future that is leaked leaks its buffer, into which the kernel writes; the memory is never used again.
#[test]
fn forgotten_in_flight() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        let (buffer, drops) = Counted::new(vec![0; 64]);
        let mut read = stream.read(buffer);
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::mem::forget(read);
        let canaries: Vec<_> = (0..100).map(|_| vec![0xa5u8; 64]).collect();
        peer.write_all(b"into the leak").unwrap();
        for _ in 0..3 {
            turn().await;
        }
        assert!(canaries.iter().flatten().all(|&byte| byte == 0xa5));
        peer.write_all(b"and on").unwrap();
        assert_eq!(stream.read(Vec::with_capacity(64)).await.1, b"and on");
        assert_eq!(drops.count(), 0);
    });
}

/// What the kernel writes late does not land in memory that somebody else has by then.
#[test]
fn memory_is_not_used_again_under_the_kernel() {
    run(async {
        for _ in 0..200 {
            let (mut stream, mut peer) = with_std_peer();
            let (buffer, drops) = Counted::new(vec![0; 64]);
            let mut read = stream.read(buffer);
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(read);
            // The same size, straight after: it would be the same memory, had it been freed.
            let canary = Box::new([0xa5u8; 64]);
            peer.write_all(&[0x5a; 64]).unwrap();
            drops.once().await;
            assert!(canary.iter().all(|&byte| byte == 0xa5));
            assert_eq!(stream.read_exact(Vec::with_capacity(64), 64).await.1, [0x5a; 64]);
        }
    });
}
