//! `copy` and `copy_bidirectional`.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::Duration;

use ringtoss::CancellationToken;
use ringtoss::fs::File;
use ringtoss::io::{self, Read, Write};
use ringtoss::op::CutShort;

use crate::util::{Pieces, Random, Taker, check, is_send, pair, patience, pattern, poll_once, run, turn};

fn cut(error: &std::io::Error) -> &CutShort {
    error.get_ref().expect("it tells how far it came").downcast_ref().expect("of this type")
}

#[test]
fn everything_is_copied_from_anything_to_anything() {
    run(async {
        let len = 3_000_000;
        let mut file = File::from_std(tempfile::tempfile().unwrap());
        file.write_all(pattern(0, len)).await.0.unwrap();
        file.rewind().await.unwrap();
        let (mut a, mut b) = pair().await;
        let send = async {
            let count = is_send(io::copy(&mut file, &mut a)).await.unwrap();
            a.shutdown(Shutdown::Write).await.unwrap();
            count
        };
        let mut received = Vec::new();
        let (sent, count) = futures::join!(send, io::copy(&mut b, &mut received));
        assert_eq!((sent, count.unwrap(), received.len()), (len as u64, len as u64, len));
        check(&received, 0);

        let mut taker = Taker::of(usize::MAX);
        let mut source = Pieces::of(100_000);
        let mut copying = io::copy(&mut source, &mut taker).timeout(patience());
        assert_eq!((&mut copying).await.unwrap(), 100_000);
        assert_eq!(copying.copied(), 100_000);
        drop(copying);
        assert_eq!(taker.taken, pattern(0, 100_000));
        assert_eq!(io::copy(&mut io::empty(), &mut io::sink()).await.unwrap(), 0);
    });
}

#[test]
fn errors_come_through_and_the_count_is_told() {
    run(async {
        let mut taker = Taker::of(12_345);
        let mut source = Pieces::of(100_000);
        let mut copying = io::copy(&mut source, &mut taker);
        assert_eq!((&mut copying).await.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(copying.copied(), 12_345);
        let (mut a, b) = pair().await;
        drop(b);
        let error = io::copy(&mut io::repeat(1), &mut a).await.unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET)), "{error}");
        let error = io::copy(&mut File::open("/").await.unwrap(), &mut io::sink()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
    });
}

#[test]
fn a_copy_in_a_select_goes_on() {
    run(async {
        let (mut client, mut input) = pair().await;
        let mut taken = Vec::new();
        let mut copying = io::copy(&mut input, &mut taken);
        for place in 0..50 {
            client.write_all(pattern(place, 1)).await.0.unwrap();
            tokio::select! {
                biased;
                _ = &mut copying => panic!("it has not ended"),
                () = turn() => {}
            }
        }
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(copying.await.unwrap(), 50);
        check(&taken, 0);
    });
}

#[test]
fn a_copy_that_is_cut_short_while_it_reads_leaves_the_rest_to_read() {
    run(async {
        let (mut client, mut input) = pair().await;
        client.write_all(pattern(0, 100)).await.0.unwrap();
        let token = CancellationToken::new();
        let mut taken = Vec::new();
        let mut copying = io::copy(&mut input, &mut taken).cancel_on(&token);
        while copying.copied() < 100 {
            assert!(poll_once(&mut copying).await.is_pending());
            turn().await;
        }
        token.cancel();
        let error = copying.await.unwrap_err();
        assert_eq!((cut(&error).transferred(), cut(&error).unwritten()), (100, &[][..]));
        assert!(cut(&error).back().is_none());
        assert_eq!(ringtoss::op::transferred(&error), Some(100));
        client.write_all(pattern(100, 100)).await.0.unwrap();
        let (result, buf) = input.read_exact(Vec::with_capacity(100), 100).await;
        assert_eq!(result.unwrap(), 100);
        check(&buf, 100);
        // Cancelled before it began, it does nothing.
        client.write_all("untouched").await.0.unwrap();
        let error = io::copy(&mut input, &mut taken).cancel_on(&token).await.unwrap_err();
        assert_eq!(cut(&error).transferred(), 0);
        assert_eq!(input.read_exact(Vec::with_capacity(9), 9).await.1, b"untouched");
    });
}

#[test]
fn a_copy_that_is_cut_short_while_it_writes_tells_what_was_written_and_what_was_not() {
    run(async {
        let (mut output, mut server) = pair().await;
        let mut source = Pieces::of(usize::MAX);
        let error = io::copy(&mut source, &mut output).timeout(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let cut = cut(&error);
        assert_eq!(cut.transferred() + cut.unwritten().len(), source.place);
        check(cut.unwritten(), cut.transferred());
        let (result, buf) = server.read_exact(Vec::with_capacity(cut.transferred()), cut.transferred()).await;
        assert_eq!(result.unwrap(), cut.transferred());
        check(&buf, 0);
        // And nothing more was sent.
        let (result, _) = server.read(vec![0; 1]).timeout(Duration::from_millis(1)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// Cut short at random and taken up again, until everything is across.
async fn in_bursts<R: Read, W: Write>(mut reader: R, mut writer: W, seed: u64) {
    let mut random = Random(seed);
    loop {
        let token = CancellationToken::new();
        let mut copying = io::copy(&mut reader, &mut writer).cancel_on(&token);
        for _ in 0..random.below(6) {
            if let std::task::Poll::Ready(result) = poll_once(&mut copying).await {
                result.unwrap();
                drop(copying);
                return writer.shutdown().await.unwrap();
            }
            turn().await;
        }
        token.cancel();
        let ended = copying.await;
        match ended {
            Ok(_) => return writer.shutdown().await.unwrap(),
            Err(error) => writer.write_all(cut(&error).unwritten().to_vec()).await.0.unwrap(),
        }
    }
}

#[test]
fn a_copy_in_bursts_loses_and_repeats_nothing() {
    run(async {
        for seed in 1..=6 {
            let len = 700_000;
            let (mut client, input) = pair().await;
            let (output, mut server) = pair().await;
            let send = async {
                client.write_all(pattern(0, len)).await.0.unwrap();
                client.shutdown(Shutdown::Write).await.unwrap();
            };
            let receive = async {
                let mut all = Vec::new();
                loop {
                    let (result, buf) = server.read(Vec::with_capacity(20_000)).await;
                    if result.unwrap() == 0 {
                        return all;
                    }
                    all.extend_from_slice(&buf);
                    turn().await;
                }
            };
            let ((), (), all) = futures::join!(send, in_bursts(input, output, seed), receive);
            assert_eq!(all.len(), len);
            check(&all, 0);
        }
    });
}

#[test]
fn a_copy_in_bursts_asks_what_a_dropped_write_has_taken() {
    run(async {
        for seed in 1..=20 {
            let mut taker = Taker::of(usize::MAX);
            in_bursts(Pieces::of(30_000), &mut taker, seed).await;
            assert_eq!(taker.taken.len(), 30_000);
            check(&taker.taken, 0);
        }
    });
}

#[test]
fn the_end_of_one_direction_is_passed_on_while_the_other_goes_on() {
    run(async {
        let (mut client, mut front) = pair().await;
        let (mut back, mut server) = pair().await;
        let proxy = ringtoss::spawn(is_send(async move { io::copy_bidirectional(&mut front, &mut back).await }));
        client.write_all("request").await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        // The server sees the end, and can still answer.
        assert_eq!(server.read_to_end(Vec::new()).await.1, b"request");
        let answer = pattern(0, 2_000_000);
        let write = async {
            server.write_all(answer).await.0.unwrap();
            drop(server);
        };
        let ((result, got), ()) = futures::join!(client.read_to_end(Vec::new()), write);
        assert_eq!(result.unwrap(), 2_000_000);
        check(&got, 0);
        assert_eq!(proxy.await.unwrap().unwrap(), (7, 2_000_000));
    });
}

#[test]
fn a_proxy_that_is_cut_short_tells_of_both_directions() {
    run(async {
        let (mut client, mut front) = io::duplex(1_000);
        let (mut back, mut server) = io::duplex(10);
        client.write_all(pattern(0, 100)).await.0.unwrap();
        server.write_all("answer").await.0.unwrap();
        let limit = Duration::from_millis(20);
        let mut copying = io::copy_bidirectional(&mut front, &mut back).timeout(limit);
        let error = (&mut copying).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let there = cut(&error);
        assert_eq!((there.transferred(), there.unwritten()), (10, &pattern(10, 90)[..]));
        let back_cut = there.back().unwrap();
        assert_eq!((back_cut.transferred(), back_cut.unwritten()), (6, &[][..]));
        assert_eq!(copying.copied(), (10, 6));
        assert!(error.to_string().ends_with("after 10 bytes one way and 6 the other"), "{error}");
        drop(copying);
        assert_eq!(client.read(Vec::with_capacity(10)).await.1, b"answer");
        assert_eq!(server.read(Vec::with_capacity(20)).await.1, pattern(0, 10));
    });
}

#[test]
fn the_first_failure_ends_both_directions() {
    run(async {
        let (mut client, mut front) = pair().await;
        let (mut back, server) = io::duplex(10);
        drop(server);
        client.write_all("to nobody").await.0.unwrap();
        let error = io::copy_bidirectional(&mut front, &mut back).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}
