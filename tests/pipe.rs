//! Pipes, with and without a name. What they share with `fs::File` is tested in `tests/fs`.

#[path = "patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use ringtoss::fs::File;
use ringtoss::pipe::{OpenOptions, Receiver, Sender, pipe};

use patience::*;

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls a future once, and waits until it would be polled again.
async fn poll_until_woken<F: Future + Unpin>(future: &mut F) {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::new(Flag(false.into()));
    assert!(Pin::new(&mut *future).poll(&mut Context::from_waker(&flag.clone().into())).is_pending());
    while !flag.0.load(Ordering::SeqCst) {
        turn().await;
    }
}

async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

#[test]
fn bytes_come_out_as_they_went_in_and_then_the_end() {
    run(async {
        let (mut sender, mut receiver) = pipe().unwrap();
        let writing = ringtoss::spawn(async move {
            sender.write_all(text(1 << 20)).await.0.unwrap();
            let (result, _) = sender.write_vectored((b"a".to_vec(), b"bc".to_vec())).await;
            assert_eq!(result.unwrap(), 3);
            sender.close().await.unwrap();
        });
        let (result, buf) = receiver.read_exact(Vec::with_capacity(1 << 20), 1 << 20).await;
        assert!(result.unwrap() == 1 << 20 && buf == text(1 << 20));
        let (result, bufs) = receiver.read_vectored((Vec::with_capacity(1), Vec::with_capacity(9))).await;
        assert!(result.unwrap() > 0 && bufs.0 == b"a");
        receiver.read_to_end(Vec::new()).await.0.unwrap();
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
        let error = receiver.read_exact(Vec::with_capacity(9), 9).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        writing.await.unwrap();
        receiver.close().await.unwrap();
    });
}

#[test]
fn without_a_receiver_the_pipe_is_broken_also_for_who_waits() {
    run(async {
        let (mut sender, receiver) = pipe().unwrap();
        let writing = ringtoss::spawn(async move { (sender.write_all(vec![0; 1 << 20]).await.0, sender) });
        receiver.readable().await.unwrap();
        drop(receiver);
        let (result, mut sender) = writing.await.unwrap();
        assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(sender.write("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        sender.writable().await.unwrap();
    });
}

#[test]
fn readiness_is_told() {
    run(async {
        let (mut sender, mut receiver) = pipe().unwrap();
        sender.writable().await.unwrap();
        let limit = Duration::from_millis(10);
        let error = receiver.readable().timeout(limit).await.unwrap_err();
        // Told from a peer that does not answer.
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::TimedOut, None));
        assert_eq!(error.to_string(), "the time limit of the operation has passed");
        sender.write_all("x").await.0.unwrap();
        receiver.readable().await.unwrap();
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.1, b"x");
        // Full: as much as it takes at once.
        let (result, _) = sender.write_all(vec![0; 1 << 20]).timeout(limit).await;
        let written = ringtoss::op::transferred(&result.unwrap_err()).unwrap();
        assert_eq!(sender.writable().timeout(limit).await.unwrap_err().kind(), ErrorKind::TimedOut);
        receiver.read_exact(Vec::with_capacity(written), written).await.0.unwrap();
        sender.writable().await.unwrap();
        drop(sender);
        receiver.readable().await.unwrap();
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
    });
}

/// Whatever is dropped at whatever point: all comes through, once and in order.
#[test]
fn dropped_reads_lose_nothing() {
    run(async {
        for turns in 0..5 {
            let (mut sender, mut receiver) = pipe().unwrap();
            let writing = ringtoss::spawn(async move {
                for part in text(60_000).chunks(100) {
                    sender.write_all(part.to_vec()).await.0.unwrap();
                    ringtoss::yield_now().await;
                }
            });
            let mut received = Vec::new();
            for round in 0.. {
                let capacity = 1 + round % 200;
                let mut ready = receiver.readable();
                let _ = poll_once(&mut ready).await;
                drop(ready);
                let mut dropped = receiver.read_exact(Vec::with_capacity(capacity), capacity);
                if let Poll::Ready((result, buf)) = poll_once(&mut dropped).await {
                    received.extend(buf);
                    if result.is_err() {
                        break;
                    }
                    continue;
                }
                for _ in 0..turns {
                    turn().await;
                }
                drop(dropped);
                let (result, buf) = receiver.read(Vec::with_capacity(capacity)).await;
                received.extend(buf);
                if result.unwrap() == 0 {
                    break;
                }
            }
            writing.await.unwrap();
            assert!(received == text(60_000), "after {turns} turns: {} bytes", received.len());
        }
    });
}

#[test]
fn the_fate_of_dropped_writes_is_told_and_order_is_kept() {
    run(async {
        for turns in 0..5 {
            let (mut sender, mut receiver) = pipe().unwrap();
            let mut expected = Vec::new();
            for round in 0..50u8 {
                let mut dropped = sender.write_all(vec![round; 100]);
                let taken = poll_once(&mut dropped).await.is_ready();
                for _ in 0..turns {
                    turn().await;
                }
                drop(dropped);
                let count = match sender.take_dropped_write().await {
                    _ if taken => 100,
                    None => 0,
                    Some(fate) => fate.unwrap(),
                };
                expected.extend(vec![round; count]);
                sender.write_all(vec![round | 0x80; 10]).await.0.unwrap();
                expected.extend(vec![round | 0x80; 10]);
            }
            drop(sender);
            let (result, received) = receiver.read_to_end(Vec::new()).await;
            result.unwrap();
            assert!(received == expected);
        }
    });
}

#[test]
fn conversions_keep_what_was_salvaged_and_refuse_what_does_not_fit() {
    run(async {
        let (mut sender, mut receiver) = pipe().unwrap();
        let mut dropped = receiver.read(Vec::with_capacity(64));
        let writing = ringtoss::spawn(async move {
            turn().await;
            sender.write_all("salvaged").await.0.unwrap();
            sender
        });
        poll_until_woken(&mut dropped).await;
        drop(dropped);
        let sender = writing.await.unwrap();
        let failure = receiver.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        // To a file and back.
        let receiver = Receiver::from_file(File::from(failure.into_inner())).unwrap();
        receiver.readable().await.unwrap();
        let (mut std_reader, unread) = receiver.into_parts().unwrap();
        assert_eq!(unread, b"salvaged");
        let mut std_writer = sender.into_std().unwrap();
        std_writer.write_all(b"std").unwrap();
        drop(std_writer);
        let mut rest = Vec::new();
        std_reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"std");

        let (sender, receiver) = pipe().unwrap();
        let (sender, receiver) =
            (OwnedFd::from(sender.into_std().unwrap()), OwnedFd::from(receiver.into_std().unwrap()));
        let copies = || (sender.try_clone().unwrap(), receiver.try_clone().unwrap());
        assert_eq!(Sender::from_owned_fd(copies().1).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Receiver::from_owned_fd(copies().0).unwrap_err().kind(), ErrorKind::InvalidInput);
        let file = File::from_std(tempfile::tempfile().unwrap());
        let file = Sender::from_file(file).unwrap_err().into_inner();
        file.write_all_at("still usable", 0).await.0.unwrap();
        let mut sender = Sender::from_owned_fd(copies().0).unwrap();
        let mut receiver = Receiver::from_owned_fd(copies().1).unwrap();
        sender.write_all("x").await.0.unwrap();
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.1, b"x");
    });
}

#[test]
fn clones_are_the_same_end() {
    run(async {
        let (mut sender, mut receiver) = pipe().unwrap();
        let mut other = sender.try_clone().unwrap();
        let mut second = receiver.try_clone().unwrap();
        let mut dropped = receiver.read(Vec::with_capacity(1));
        assert!(poll_once(&mut dropped).await.is_pending());
        turn().await;
        sender.write_all("abc").await.0.unwrap();
        drop(dropped);
        drop(sender);
        let (result, buf) = second.read_exact(Vec::with_capacity(3), 3).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"abc"[..]), "a clone finds what was dropped");
        other.write_all("d").await.0.unwrap();
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.1, b"d");
        drop(other);
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
    });
}

/// Flags that others may share stay, and do not matter.
#[test]
fn non_blocking_pipes_wait_all_the_same() {
    run(async {
        for non_blocking in [false, true] {
            let (sender, receiver) = pipe().unwrap();
            let (sender, receiver) = (sender.into_std().unwrap(), receiver.into_std().unwrap());
            if non_blocking {
                util::set_non_blocking(sender.as_raw_fd());
                util::set_non_blocking(receiver.as_raw_fd());
            }
            let flags = (util::flags(sender.as_raw_fd()), util::flags(receiver.as_raw_fd()));
            let (mut sender, mut receiver) = (Sender::from(sender), Receiver::from(receiver));
            let reading = ringtoss::spawn(async move {
                // Before there is anything.
                let (result, bufs) = receiver.read_vectored((Vec::with_capacity(2), Vec::with_capacity(2))).await;
                result.unwrap();
                let mut all = [bufs.0, bufs.1].concat();
                let result;
                (result, all) = receiver.read_to_end(all).await;
                result.unwrap();
                (all, receiver)
            });
            for _ in 0..5 {
                turn().await;
            }
            let mut written = 0;
            while written < 1 << 19 {
                let parts = (text(1 << 19)[written..].to_vec(), Vec::new());
                written += sender.write_vectored(parts).await.0.unwrap();
            }
            sender.write_all(text(1 << 19)).await.0.unwrap();
            assert_eq!(util::flags(sender.as_raw_fd()), flags.0);
            drop(sender);
            let (all, receiver) = reading.await.unwrap();
            assert!(all == [text(1 << 19), text(1 << 19)].concat());
            assert_eq!(util::flags(receiver.as_raw_fd()), flags.1);
        }
    });
}

mod util {
    #![allow(unsafe_code)]

    pub fn flags(fd: i32) -> i32 {
        // SAFETY: no memory is passed.
        unsafe { libc::fcntl(fd, libc::F_GETFL) }
    }

    pub fn set_non_blocking(fd: i32) {
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, flags(fd) | libc::O_NONBLOCK) }, 0);
    }
}

#[test]
fn a_fifo_is_opened_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    run(async {
        let error = OpenOptions::new().open_sender(&path).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "nobody reads");
        let mut receiver = OpenOptions::new().open_receiver(&path).await.unwrap();
        let limit = Duration::from_millis(10);
        let error = receiver.read(Vec::with_capacity(9)).timeout(limit).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "the first writer is awaited");
        for round in ["one", "two"] {
            let mut sender = OpenOptions::new().open_sender(&path).await.unwrap();
            sender.write_all(round).await.0.unwrap();
            drop(sender);
            let (result, buf) = receiver.read_to_end(Vec::new()).await;
            result.unwrap();
            assert_eq!(buf, round.as_bytes());
        }
        // Its own writer: it never ends.
        let mut receiver = OpenOptions::new().read_write(true).open_receiver(&path).await.unwrap();
        let mut sender = OpenOptions::new().open_sender(&path).await.unwrap();
        sender.write_all("x").await.0.unwrap();
        drop(sender);
        assert_eq!(receiver.read(Vec::with_capacity(9)).await.1, b"x");
        let error = receiver.read(Vec::with_capacity(9)).timeout(limit).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(receiver);
        let mut sender = OpenOptions::new().read_write(true).open_sender(&path).await.unwrap();
        sender.write_all("nobody reads").await.0.unwrap();
        assert_eq!(util::flags(sender.as_raw_fd()) & libc::O_NONBLOCK, 0, "only the open did not wait");
    });
}

#[test]
fn what_is_no_fifo_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "content").unwrap();
    run(async {
        let options = OpenOptions::new();
        assert_eq!(options.open_receiver(&path).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(options.open_sender(&path).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(options.open_sender(dir.path().join("missing")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(options.open_receiver("nul\0").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
        let mut receiver = OpenOptions::new().unchecked(true).open_receiver(&path).await.unwrap();
        assert_eq!(receiver.read_to_end(Vec::new()).await.1, b"content");
    });
}

#[test]
fn ends_may_be_on_other_threads_and_loops() {
    let (mut sender, mut receiver) = pipe().unwrap();
    let writer = std::thread::spawn(move || {
        for part in text(1 << 20).chunks(1 << 18) {
            // A loop of its own for each part; the sender outlives them.
            ringtoss::block_on(async { sender.write_all(part.to_vec()).await.0.unwrap() });
        }
    });
    let (result, buf) = run(receiver.read_to_end(Vec::new()));
    result.unwrap();
    assert!(buf == text(1 << 20));
    writer.join().unwrap();
}
