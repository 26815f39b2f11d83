//! The poll-based traits, as callers use and misuse them.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::Poll;

use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::fs::File;
use ringtoss::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream, UnixStream};
use ringtoss::process::{ChildStderr, ChildStdin, ChildStdout};
use ringtoss::{io, pipe};
use util::*;

mod files;
mod hostile;
mod kinds;
#[allow(dead_code, reason = "shared with the tests of TCP")]
#[path = "../tcp/util.rs"]
mod util;

const _: () = {
    const fn thread_safe<T: Send + Sync + Unpin>() {}
    thread_safe::<PollIo<TcpStream>>();
    thread_safe::<PollIo<UnixStream>>();
    thread_safe::<PollIo<OwnedReadHalf>>();
    thread_safe::<PollIo<OwnedWriteHalf<UnixStream>>>();
    thread_safe::<PollIo<File>>();
    thread_safe::<PollIo<pipe::Receiver>>();
    thread_safe::<PollIo<pipe::Sender>>();
    thread_safe::<PollIo<ChildStdin>>();
    thread_safe::<PollIo<ChildStdout>>();
    thread_safe::<PollIo<ChildStderr>>();
    thread_safe::<PollIo<io::Stdin>>();
    thread_safe::<PollIo<io::Stdout>>();
    thread_safe::<PollIo<io::Stderr>>();
    thread_safe::<Executor>();
    thread_safe::<Timer>();
};

async fn wrapped() -> (PollIo<TcpStream>, PollIo<TcpStream>) {
    let (ours, theirs) = pair().await;
    (PollIo::new(ours), PollIo::new(theirs))
}

#[test]
fn three_megabytes_and_the_end() {
    run(async {
        let (mut ours, mut theirs) = wrapped().await;
        let sender = ringtoss::spawn(async move {
            let mut place = 0;
            while place < 3_000_000 {
                theirs.write_all(&pattern(place, 70_000)).await.unwrap();
                place += 70_000;
            }
            theirs.flush().await.unwrap();
            theirs.close().await.unwrap();
            theirs.close().await.expect("twice is as good as once");
            let mut rest = Vec::new();
            theirs.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"thanks");
            place
        });
        let mut all = Vec::new();
        ours.read_to_end(&mut all).await.unwrap();
        check(&all, 0);
        assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 0, "the end stays the end");
        ours.write_all(b"thanks").await.unwrap();
        drop(ours);
        assert_eq!(sender.await.unwrap(), all.len());
    });
}

/// The kernel takes what it takes, and a caller that is told to wait may bring other bytes the next time: nothing of those that
/// it brought before may be sent.
#[test]
fn a_write_that_was_told_to_wait_may_be_tried_again_with_other_bytes() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        small_buffers(&peer);
        let mut ours = PollIo::direct(stream);
        let mut taken = 0;
        // Room may come late, and then the bytes of that very try are taken.
        let mut expected = Vec::new();
        loop {
            // Each try brings bytes that are right for the place where they would land, and of another length.
            let bytes = pattern(taken, 3000 + taken % 777);
            let wrote = poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_write(cx, &bytes))).await;
            match wrote {
                Poll::Ready(count) => taken += count.unwrap(),
                Poll::Pending => break,
            }
        }
        expected.extend(pattern(0, taken));
        for number in 0..3 {
            let other = vec![0xe0 + number; 5000];
            let wrote = poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_write(cx, &other))).await;
            if let Poll::Ready(count) = wrote {
                expected.extend(&other[..count.unwrap()]);
            }
            turn().await;
        }
        let reader = ringtoss::spawn_blocking(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let last = pattern(taken, 100_000);
        ours.write_all(&last).await.unwrap();
        drop(ours);
        expected.extend(last);
        assert!(reader.await.unwrap() == expected, "other bytes than those that were taken");
    });
}

#[test]
fn writes_that_are_never_flushed_arrive() {
    run(async {
        let (mut ours, mut theirs) = wrapped().await;
        ours.write_all(b"unflushed").await.unwrap();
        let mut buf = [0; 9];
        theirs.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"unflushed");
    });
}

#[test]
fn several_slices_go_in_one_write() {
    run(async {
        let (mut ours, mut theirs) = wrapped().await;
        let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two "), IoSlice::new(b"three")];
        assert_eq!(ours.write_vectored(&slices).await.unwrap(), 13);
        assert!(tokio::io::AsyncWrite::is_write_vectored(&ours));
        let mut buf = [0; 13];
        theirs.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"one two three");
        // More slices than one call takes.
        let many = vec![IoSlice::new(b"x"); 3000];
        assert_eq!(ours.write_vectored(&many).await.unwrap(), 3000);
        assert_eq!(PollIo::direct(ours.into_inner()).write_vectored(&many).await.unwrap(), 1024);
    });
}

#[test]
fn reads_that_are_dropped_lose_nothing() {
    run(async {
        let (mut ours, mut theirs) = wrapped().await;
        let writer = ringtoss::spawn(async move {
            for round in 0..3000u32 {
                theirs.write_all(&round.to_le_bytes()).await.unwrap();
                if round % 3 == 0 {
                    turn().await;
                }
            }
        });
        let mut all = Vec::new();
        let mut round = 0;
        while all.len() < 12_000 {
            round += 1;
            let mut buf = vec![0; 1 + round % 97];
            tokio::select! {
                count = ours.read(&mut buf) => {
                    let count = count.unwrap();
                    assert!(count > 0);
                    all.extend_from_slice(&buf[..count]);
                }
                () = async { if round % 2 == 0 { turn().await } } => {}
            }
        }
        writer.await.unwrap();
        let numbers: Vec<u32> = all.chunks(4).map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap())).collect();
        assert!(numbers.into_iter().eq(0..3000));
    });
}

#[test]
fn both_directions_from_two_tasks() {
    run(async {
        let (ours, theirs) = wrapped().await;
        let (mut reader, mut writer) = ours.split();
        let (their_reader, mut their_writer) = tokio::io::split(theirs);
        let echo = ringtoss::spawn(async move {
            tokio::io::copy(&mut tokio::io::BufReader::new(their_reader), &mut their_writer).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut their_writer).await.unwrap();
        });
        let write = ringtoss::spawn(async move {
            for place in (0..1_000_000).step_by(10_000) {
                writer.write_all(&pattern(place, 10_000)).await.unwrap();
            }
            writer.close().await.unwrap();
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), 1_000_000);
        write.await.unwrap();
        echo.await.unwrap();
    });
}

#[test]
fn lines_are_lent() {
    run(async {
        let (mut ours, mut theirs) = wrapped().await;
        ringtoss::spawn(async move {
            for line in 0..1000 {
                theirs.write_all(format!("line {line}\n").as_bytes()).await.unwrap();
            }
        });
        let mut lines = (&mut ours).lines();
        for line in 0..1000 {
            assert_eq!(lines.next().await.unwrap().unwrap(), format!("line {line}"));
        }
        assert!(lines.next().await.is_none());
    });
}

#[test]
fn what_was_not_read_goes_back_with_the_stream() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        let mut ours = PollIo::new(stream);
        for round in 0..20 {
            peer.write_all(b"read unread").unwrap();
            let mut buf = [0; 5];
            ours.read_exact(&mut buf).await.unwrap();
            peer.write_all(b" more").unwrap();
            for _ in 0..round % 3 {
                turn().await;
            }
            let mut stream = ours.into_inner();
            let (result, buf) = stream.read_exact(Vec::with_capacity(20), 11).await;
            result.unwrap();
            assert_eq!(buf, b"unread more");
            ours = PollIo::new(stream);
        }
        assert!(ours.get_ref().nodelay().is_ok());
    });
}

#[test]
fn a_write_that_was_dropped_before_comes_first() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        small_buffers(&peer);
        let mut write = stream.write_all(pattern(0, 1_000_000));
        assert!(poll_once(&mut write).await.is_pending());
        turn().await;
        drop(write);
        let mut ours = PollIo::new(stream);
        ours.write_all(b"after").await.unwrap();
        drop(ours);
        let all = ringtoss::spawn_blocking(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let all = all.await.unwrap();
        let (first, last) = all.split_at(all.len() - 5);
        check(first, 0);
        assert_eq!(last, b"after");
    });
}

#[test]
fn errors_are_those_of_the_write_that_met_them() {
    run(async {
        let (stream, peer) = with_std_peer();
        let mut ours = PollIo::direct(stream);
        reset(peer);
        let mut error = None;
        for _ in 0..1000 {
            if let Err(met) = ours.write_all(b"x").await {
                error = Some(met);
                break;
            }
            turn().await;
        }
        assert!(matches!(error.unwrap().kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    });
}

#[test]
fn hyper_s_timer_goes_by_the_loop_s_clock() {
    use hyper::rt::Timer as _;
    let event_loop = ringtoss::EventLoop::builder().start_paused(true).build().unwrap();
    event_loop.block_on(async {
        let timer = Timer;
        let start = timer.now();
        timer.sleep(std::time::Duration::from_secs(3600)).await;
        assert!(timer.now() - start >= std::time::Duration::from_secs(3600));
        let mut sleep = timer.sleep(std::time::Duration::from_secs(10));
        timer.reset(&mut sleep, timer.now() + std::time::Duration::from_secs(1));
        let before = timer.now();
        sleep.await;
        assert!(timer.now() - before < std::time::Duration::from_secs(9));
    });
}
