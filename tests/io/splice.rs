//! `splice`, `splice_bidirectional` and `tee`.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringtoss::CancellationToken;
use ringtoss::fs::{File, OpenOptions};
use ringtoss::io::{self, SpliceFrom, SpliceTo};
use ringtoss::net::UnixStream;
use ringtoss::op::{CutShort, transferred};
use ringtoss::pipe;

use crate::util::{Random, check, is_send, pair, patience, pattern, poll_and_drop, run, turn};

fn temp() -> File {
    File::from_std(tempfile::tempfile().unwrap())
}

/// A file at whose position the pattern begins.
async fn filled(len: usize) -> File {
    let mut file = temp();
    file.write_all(pattern(0, len)).await.0.unwrap();
    file.rewind().await.unwrap();
    file
}

/// A read of `from` brings these bytes, and is dropped before it is asked for them.
async fn leave(from: &mut UnixStream, feed: &UnixStream, bytes: &[u8]) {
    let mut read = pin!(from.read(Vec::with_capacity(100)));
    assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
    // They are there before the read is with the kernel, which then has nothing to wait for and nothing to cancel.
    assert_eq!(feed.try_write(bytes).unwrap(), bytes.len());
    turn().await;
}

/// Everything from one to the other, in two splices of which the first is short.
async fn all<F: SpliceFrom, T: SpliceTo>(from: &mut F, to: &mut T, len: usize) {
    assert_eq!(is_send(io::splice(from, to, 1000)).await.unwrap(), 1000);
    assert_eq!(io::splice(from, to, u64::MAX).await.unwrap(), len as u64 - 1000);
    assert_eq!(io::splice(from, to, u64::MAX).await.unwrap(), 0, "it has ended");
}

#[test]
fn everything_goes_from_anything_to_anything() {
    run(async {
        let len = 1_500_000;
        // A file through TCP, a Unix stream and a pipe into a file.
        let mut source = filled(len).await;
        let (mut tcp_in, mut tcp_out) = pair().await;
        let (mut unix_in, mut unix_out) = UnixStream::pair().unwrap();
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        let (mut sender2, mut receiver2) = pipe::pipe().unwrap();
        let mut target = temp();
        let first = async {
            all(&mut source, &mut tcp_in, len).await;
            tcp_in.shutdown(Shutdown::Write).await.unwrap();
        };
        let second = async {
            let (mut reader, _writer) = tcp_out.split();
            all(&mut reader, &mut unix_in, len).await;
            unix_in.shutdown(Shutdown::Write).await.unwrap();
        };
        let third = async move {
            all(&mut unix_out, &mut sender, len).await;
        };
        let fourth = async move {
            all(&mut receiver, &mut sender2, len).await;
        };
        let fifth = all(&mut receiver2, &mut target, len);
        futures::join!(first, second, third, fourth, fifth);
        assert_eq!(target.stream_position().await.unwrap(), len as u64);
        target.rewind().await.unwrap();
        // From file to file, and from file to pipe.
        let mut copy = temp();
        assert_eq!(io::splice(&mut target, &mut copy, u64::MAX).await.unwrap(), len as u64);
        copy.rewind().await.unwrap();
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        let writing = async move { all(&mut copy, &mut sender, len).await };
        let ((), (result, bytes)) = futures::join!(writing, receiver.read_to_end(Vec::new()));
        assert_eq!(result.unwrap(), len);
        check(&bytes, 0);
    });
}

#[test]
fn nothing_is_lost_whenever_it_is_dropped() {
    run(async {
        let len = 2_000_000;
        let (mut feed, mut from) = pair().await;
        let (mut to, mut sink) = pair().await;
        let feeding = ringtoss::spawn(async move {
            feed.write_all(pattern(0, len)).await.0.unwrap();
            feed.shutdown(Shutdown::Write).await.unwrap();
        });
        let reading = ringtoss::spawn(async move {
            let mut all = Vec::new();
            let mut random = Random(99);
            loop {
                all.reserve(64 * 1024);
                let (result, buf) = sink.read_append(all).await;
                all = buf;
                if result.unwrap() == 0 {
                    break;
                }
                if random.below(20) == 0 {
                    turn().await;
                }
            }
            all
        });
        let mut random = Random(7);
        let mut dropped = 0;
        loop {
            // Now and then somebody reads the ordinary way in between, and passes it on.
            if random.below(8) == 0 {
                let (result, buf) = from.read(Vec::with_capacity(random.below(5000) + 1)).await;
                if result.unwrap() == 0 {
                    break;
                }
                to.write_all(buf).await.0.unwrap();
                continue;
            }
            let polls = random.below(12) + 1;
            match poll_and_drop(io::splice(&mut from, &mut to, random.below(300_000) as u64 + 1), polls).await {
                Some(Ok(0)) => break,
                Some(result) => drop(result.unwrap()),
                None => dropped += 1,
            }
        }
        assert!(dropped > 10, "only {dropped} were dropped");
        to.shutdown(Shutdown::Write).await.unwrap();
        feeding.await.unwrap();
        let all = reading.await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), len);
    });
}

#[test]
fn the_position_of_a_file_is_behind_what_has_arrived() {
    run(async {
        let len = 5_000_000;
        let mut from = filled(len).await;
        let (mut to, mut sink) = pair().await;
        // Nobody reads: it gets stuck, with bytes in the pipe between.
        let mut splice = io::splice(&mut from, &mut to, u64::MAX);
        while poll_and_drop(&mut splice, 1).await.is_none() && splice.copied() < 500_000 {}
        let mut before = 0;
        while splice.copied() > before {
            before = splice.copied();
            let _ = poll_and_drop(ringtoss::time::timeout(Duration::from_millis(100), &mut splice), 1000).await;
        }
        drop(splice);
        let arrived = match to.take_dropped_write().await {
            Some(fate) => before + fate.unwrap() as u64,
            None => before,
        };
        assert_eq!(from.stream_position().await.unwrap(), arrived);
        // And it goes on from there.
        let rest = async {
            assert_eq!(io::splice(&mut from, &mut to, u64::MAX).await.unwrap(), len as u64 - arrived);
            to.shutdown(Shutdown::Write).await.unwrap();
        };
        let ((), (result, bytes)) = futures::join!(rest, sink.read_to_end(Vec::new()));
        assert_eq!(result.unwrap(), len);
        check(&bytes, 0);
    });
}

#[test]
fn a_limit_tells_how_far_it_came() {
    run(async {
        let (mut feed, mut from) = pair().await;
        let (mut to, mut sink) = pair().await;
        feed.write_all("abcdef").await.0.unwrap();
        // What a slow machine has not moved within one limit is moved within the next.
        let (mut limit, mut moved) = (Duration::from_millis(50), 0);
        while moved < 6 {
            assert!(limit < patience(), "only {moved} bytes were moved");
            let error = io::splice(&mut from, &mut to, 100).timeout(limit).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            moved += transferred(&error).unwrap();
            limit *= 2;
        }
        assert_eq!(moved, 6);
        assert_eq!(sink.read_exact(Vec::with_capacity(6), 6).await.1, b"abcdef");
        // A token, with the target full: all of it is somewhere.
        let len = 20_000_000;
        let writing = ringtoss::spawn(async move {
            feed.write_all(pattern(0, len)).await.0.unwrap();
            feed.shutdown(Shutdown::Write).await.unwrap();
        });
        let token = CancellationToken::new();
        let canceller = token.clone();
        // It is stuck, or still at it: something has arrived.
        let cancelling = ringtoss::spawn(async move {
            sink.readable().await.unwrap();
            ringtoss::time::sleep(Duration::from_millis(300)).await;
            canceller.cancel();
            sink
        });
        let error = io::splice(&mut from, &mut to, u64::MAX).cancel_on(&token).await.unwrap_err();
        let cut = error.get_ref().unwrap().downcast_ref::<CutShort>().unwrap();
        let arrived = cut.transferred();
        assert!(arrived > 0 && cut.unwritten().is_empty());
        let mut sink = cancelling.await.unwrap();
        assert!(to.take_dropped_write().await.is_none(), "nothing was dropped");
        to.shutdown(Shutdown::Write).await.unwrap();
        let (result, bytes) = sink.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), arrived);
        check(&bytes, 0);
        let (result, rest) = from.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), len - arrived);
        check(&rest, arrived);
        writing.await.unwrap();
    });
}

#[test]
fn what_dropped_reads_have_left_comes_first() {
    run(async {
        let (mut feed, mut from) = UnixStream::pair().unwrap();
        let (mut to, mut sink) = pair().await;
        leave(&mut from, &feed, b"first ").await;
        feed.write_all("second").await.0.unwrap();
        assert_eq!(io::splice(&mut from, &mut to, 3).await.unwrap(), 3);
        assert_eq!(io::splice(&mut from, &mut to, 9).await.unwrap(), 9);
        let (result, bytes) = sink.read_exact(Vec::with_capacity(12), 12).await;
        assert_eq!((result.unwrap(), &bytes[..]), (12, &b"first second"[..]));
    });
}

/// Of what a dropped read has left only a part was asked for, and that did not arrive: the rest comes behind it.
#[test]
fn what_did_not_arrive_comes_before_what_was_not_asked_for() {
    run(async {
        let (feed, mut from) = UnixStream::pair().unwrap();
        let (mut sender, receiver) = pipe::pipe().unwrap();
        leave(&mut from, &feed, b"first second").await;
        drop(receiver);
        let error = io::splice(&mut from, &mut sender, 6).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let (result, bytes) = from.read_exact(Vec::with_capacity(12), 12).await;
        assert_eq!((result.unwrap(), &bytes[..]), (12, &b"first second"[..]));
    });
}

/// The same of a splice that is dropped while a write to its target is under way: nobody reads past what that may leave.
#[test]
fn what_is_on_its_way_comes_before_what_was_not_asked_for() {
    run(async {
        const FULL: usize = 64 * 1024;
        let (feed, mut from) = UnixStream::pair().unwrap();
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        sender.write_all(vec![0; FULL]).await.0.unwrap();
        leave(&mut from, &feed, b"first second").await;
        assert!(poll_and_drop(io::splice(&mut from, &mut sender, 6), 2).await.is_none());
        let (result, bytes) = from.read_exact(Vec::with_capacity(12), 12).await;
        assert_eq!((result.unwrap(), &bytes[..]), (12, &b"first second"[..]));
        assert_eq!(sender.take_dropped_write().await.unwrap().unwrap(), 0);
        drop(sender);
        assert_eq!(receiver.read_to_end(Vec::new()).await.1.len(), FULL);
    });
}

#[test]
fn what_fails_leaves_the_source_as_it_was() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let mut log = OpenOptions::new().append(true).create(true).open(folder.path().join("log")).await.unwrap();
        let mut from = filled(100_000).await;
        let error = io::splice(&mut from, &mut log, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(from.stream_position().await.unwrap(), 0);
        assert_eq!(io::copy(&mut from, &mut log).await.unwrap(), 100_000);

        let (mut feed, mut from) = pair().await;
        feed.write_all("precious").await.0.unwrap();
        let (mut sender, receiver) = pipe::pipe().unwrap();
        drop(receiver);
        let error = io::splice(&mut from, &mut sender, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        // A stream whose peer is gone: the bytes were in the pipe between.
        let (mut to, peer) = UnixStream::pair().unwrap();
        drop(peer);
        let error = io::splice(&mut from, &mut to, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(from.read(Vec::with_capacity(100)).await.1, b"precious");
        // A file and its clone have one position.
        let mut file = filled(10).await;
        let mut clone = file.try_clone().unwrap();
        let error = io::splice(&mut file, &mut clone, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(clone.read(Vec::with_capacity(100)).await.0.unwrap(), 10, "the position is free again");
        assert_eq!(io::splice(&mut file, &mut to, 0).await.unwrap(), 0);
    });
}

#[test]
fn clones_of_a_file_take_turns() {
    run(async {
        let mut one = filled(400_000).await;
        let mut other = one.try_clone().unwrap();
        let (mut to, mut sink) = pair().await;
        let (mut to2, mut sink2) = pair().await;
        let moving = async {
            let moved =
                futures::join!(io::splice(&mut one, &mut to, 200_000), io::splice(&mut other, &mut to2, u64::MAX));
            to.shutdown(Shutdown::Write).await.unwrap();
            to2.shutdown(Shutdown::Write).await.unwrap();
            moved
        };
        let (moved, (first, start), (second, rest)) =
            futures::join!(moving, sink.read_to_end(Vec::new()), sink2.read_to_end(Vec::new()));
        assert_eq!((moved.0.unwrap(), first.unwrap()), (200_000, 200_000));
        assert_eq!((moved.1.unwrap(), second.unwrap()), (200_000, 200_000));
        check(&start, 0);
        check(&rest, 200_000);
    });
}

#[test]
fn one_that_is_leaked_keeps_nobody_waiting() {
    run(async {
        let (mut feed, mut from) = pair().await;
        let (mut to, _sink) = pair().await;
        let mut splice = Box::pin(io::splice(&mut from, &mut to, u64::MAX));
        poll_fn(|cx| {
            assert!(Future::poll(splice.as_mut(), cx).is_pending());
            Poll::Ready(())
        })
        .await;
        turn().await;
        std::mem::forget(splice);
        feed.write_all("for the poll and for the read").await.0.unwrap();
        assert_eq!(from.read(Vec::with_capacity(7)).await.0.unwrap(), 7);
    });
}

#[test]
fn those_that_wait_hold_no_thread_of_the_kernels() {
    let thread = rustix::thread::gettid();
    // They have the name of the thread whose ring they work for.
    let name = format!("iou-wrk-{}", thread.as_raw_nonzero());
    let workers = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|other| other.trim_end() == name).count()
    };
    run(async {
        let mut idle = Vec::new();
        for _ in 0..20 {
            let ((feed, mut from), (mut to, sink)) = (pair().await, pair().await);
            let splice = ringtoss::spawn(async move { io::splice(&mut from, &mut to, u64::MAX).await });
            idle.push((feed, splice, sink));
        }
        for (feed, _, sink) in &mut idle {
            // What has come is moved, by a thread; then it waits for more.
            feed.write_all("x").await.0.unwrap();
            sink.read_exact(Vec::with_capacity(1), 1).await.0.unwrap();
        }
        for _ in 0..100 {
            turn().await;
        }
        assert!(workers() < 10, "{} threads", workers());
        for (mut feed, splice, _sink) in idle {
            feed.shutdown(Shutdown::Write).await.unwrap();
            assert_eq!(splice.await.unwrap().unwrap(), 1);
        }
    });
}

#[test]
fn both_directions_end_by_themselves() {
    run(async {
        let (mut client, mut a) = pair().await;
        let (mut b, mut server) = UnixStream::pair().unwrap();
        let proxy = ringtoss::spawn(async move {
            let mut splicing = io::splice_bidirectional(&mut a, &mut b);
            let counts = (&mut splicing).await;
            assert_eq!(splicing.copied(), *counts.as_ref().unwrap());
            counts
        });
        let len = 700_000;
        let asking = async {
            client.write_all(pattern(0, len)).await.0.unwrap();
            // Half of it is over; the answer still comes.
            client.shutdown(Shutdown::Write).await.unwrap();
            let (result, answer) = client.read_to_end(Vec::new()).await;
            assert_eq!((result.unwrap(), &answer[..]), (6, &b"answer"[..]));
        };
        let answering = async {
            let (result, bytes) = server.read_to_end(Vec::new()).await;
            assert_eq!(result.unwrap(), len);
            check(&bytes, 0);
            server.write_all("answer").await.0.unwrap();
            server.shutdown(Shutdown::Write).await.unwrap();
        };
        futures::join!(asking, answering);
        assert_eq!(proxy.await.unwrap().unwrap(), (len as u64, 6));
    });
}

#[test]
fn a_limit_on_both_directions_tells_of_both() {
    run(async {
        let (mut client, mut a) = pair().await;
        let (mut b, mut server) = pair().await;
        client.write_all("to").await.0.unwrap();
        server.write_all("fro!").await.0.unwrap();
        let (mut limit, mut there, mut back) = (Duration::from_millis(50), 0, 0);
        while there < 2 || back < 4 {
            assert!(limit < patience(), "only {there} and {back} bytes were moved");
            let error = io::splice_bidirectional(&mut a, &mut b).timeout(limit).await.unwrap_err();
            let cut = error.get_ref().unwrap().downcast_ref::<CutShort>().unwrap();
            there += cut.transferred();
            back += cut.back().unwrap().transferred();
            limit *= 2;
        }
        assert_eq!((there, back), (2, 4));
    });
}

#[test]
fn a_tee_leaves_what_it_copies() {
    run(async {
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        let (mut copies, mut copied) = pipe::pipe().unwrap();
        // What a dropped read has left counts.
        assert!(poll_and_drop(receiver.read(Vec::with_capacity(100)), 1).await.is_none());
        sender.write_all("one ").await.0.unwrap();
        receiver.readable().await.unwrap();
        assert_eq!(is_send(io::tee(&mut receiver, &mut copies, 100)).await.unwrap(), 4);
        assert_eq!(receiver.read(Vec::with_capacity(100)).await.1, b"one ");
        sender.write_all("two").await.0.unwrap();
        assert_eq!(io::tee(&mut receiver, &mut copies, 100).await.unwrap(), 3);
        assert_eq!(io::tee(&mut receiver, &mut copies, 2).await.unwrap(), 2);
        assert_eq!(receiver.read(Vec::with_capacity(100)).await.1, b"two");
        assert_eq!(copied.read_exact(Vec::with_capacity(9), 9).await.1, b"one twotw");
        // It waits for something to copy, and dropped, it has taken nothing.
        assert!(poll_and_drop(io::tee(&mut receiver, &mut copies, 9), 5).await.is_none());
        sender.write_all("x").await.0.unwrap();
        drop(sender);
        assert_eq!(receiver.read(Vec::with_capacity(100)).await.1, b"x");
        assert_eq!(io::tee(&mut receiver, &mut copies, 9).await.unwrap(), 0, "the end");
        drop(copied);
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        sender.write_all("y").await.0.unwrap();
        assert_eq!(io::tee(&mut receiver, &mut copies, 9).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn nothing_is_lost_when_it_is_awaited_and_dropped_on_another_loop() {
    run(async {
        for round in 0..30 {
            let len = 300_000;
            let (mut sender, mut receiver) = pipe::pipe().unwrap();
            let (mut to, mut sink) = UnixStream::pair().unwrap();
            // A clone shares what dropped operations leave.
            let mut from = receiver.try_clone().unwrap();
            let mut splicing = Box::pin(async move { io::splice(&mut from, &mut to, u64::MAX).await });
            assert!(poll_fn(|cx| Poll::Ready(splicing.as_mut().poll(cx))).await.is_pending());
            let writing = ringtoss::spawn(async move { sender.write_all(pattern(0, len)).await.0.unwrap() });
            if round % 2 == 0 {
                turn().await;
            }
            let elsewhere = ringtoss::spawn_blocking(move || {
                run(async move { drop(poll_and_drop(splicing, round * 3).await) });
            });
            let (result, arrived) = sink.read_to_end(Vec::new()).await;
            elsewhere.await.unwrap();
            let (rest_result, rest) = receiver.read_to_end(Vec::new()).await;
            writing.await.unwrap();
            assert_eq!(result.unwrap() + rest_result.unwrap(), len, "round {round}");
            check(&arrived, 0);
            check(&rest, arrived.len());
        }
    });
}
