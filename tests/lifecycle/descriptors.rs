//! Numbers of descriptors: what was staged for one never reaches whoever has the number next.

use std::future::Future;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ringtoss::fs::File;
use ringtoss::{EventLoop, op, spawn};

use crate::util::{poll_once, run, until};

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a number stands for now; empty if nothing.
fn link(number: i32) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{number}"));
    link.map(|path| path.display().to_string()).unwrap_or_default()
}

fn file_pipe() -> (std::io::PipeReader, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, File::from(OwnedFd::from(writer)))
}

/// Bytes that are in a pipe now.
fn waiting(reader: &std::io::PipeReader) -> i32 {
    let mut count = 0;
    // SAFETY: FIONREAD writes an int, which is there.
    assert_eq!(unsafe { libc::ioctl(reader.as_raw_fd(), libc::FIONREAD, &raw mut count) }, 0);
    count
}

#[test]
fn a_staged_entry_does_not_reach_the_next_owner_of_its_number() {
    run(async {
        for _ in 0..50 {
            let (mut reader, mut writer) = file_pipe();
            let mut writing: Boxed = Box::pin(async move {
                let _ = writer.write_all(b"to a stranger".to_vec()).await;
            });
            assert!(poll_once(&mut writing).await.is_pending());
            // In the same poll: nothing has been submitted. The file and its operation end on another thread.
            let strangers = std::thread::spawn(move || {
                drop(writing);
                (0..20).map(|_| std::io::pipe().unwrap()).collect::<Vec<_>>()
            })
            .join()
            .unwrap();
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            assert!(strangers.iter().all(|(reader, _writer)| waiting(reader) == 0));
            // It never reached the right one either: what is dropped before it was submitted is void.
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "{rest:?}");
        }
    });
}

#[test]
fn nor_does_one_whose_operation_was_forgotten() {
    run(async {
        for _ in 0..50 {
            let (mut reader, mut writer) = file_pipe();
            let mut write = writer.write(b"to a stranger".to_vec());
            assert!(poll_once(&mut write).await.is_pending());
            std::mem::forget(write);
            let strangers = std::thread::spawn(move || {
                drop(writer);
                (0..20).map(|_| std::io::pipe().unwrap()).collect::<Vec<_>>()
            })
            .join()
            .unwrap();
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            assert!(strangers.iter().all(|(reader, _writer)| waiting(reader) == 0));
            // Forgotten, not dropped: the kernel does it, for the right one.
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, b"to a stranger");
        }
    });
}

#[test]
fn a_file_that_two_loops_use_is_closed_when_both_have_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shared");
    run(async {
        let file = Arc::new(File::create(&path).await.unwrap());
        let number = file.as_raw_fd();
        let write = |file: Arc<File>| -> Boxed {
            Box::pin(async move {
                let _ = file.write_at(b"bytes".to_vec(), 0).await;
            })
        };
        let (mut here, mut there) = (write(file.clone()), write(file.clone()));
        assert!(poll_once(&mut here).await.is_pending());
        std::thread::spawn(move || {
            ringtoss::block_on(async move {
                assert!(poll_once(&mut there).await.is_pending());
                drop((here, there, file));
                op::nop().await.unwrap();
            });
        })
        .join()
        .unwrap();
        // This loop has not turned since; it may have an entry that names the number.
        assert!(link(number).contains("shared"), "closed before this loop has let go: {}", link(number));
        until(|| !link(number).contains("shared")).await;
    });
}

#[test]
fn dropping_a_file_cancels_nothing_of_another_on_the_same_pipe() {
    run(async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let copy = OwnedFd::from(reader.try_clone().unwrap());
        let (mut first, mut second) = (File::from(OwnedFd::from(reader)), File::from(copy));
        let mut reading = Box::pin(async move { second.read(Vec::with_capacity(16)).await });
        assert!(poll_once(&mut reading).await.is_pending());
        {
            let mut read = first.read(Vec::<u8>::with_capacity(16));
            assert!(poll_once(&mut read).await.is_pending());
            op::nop().await.unwrap();
            op::nop().await.unwrap();
        }
        drop(first);
        // The other one's read stays: a cancel by descriptor would have hit it.
        until(|| ringtoss::metrics().in_flight == 1).await;
        std::io::Write::write_all(&mut writer, b"mine").unwrap();
        let (result, bytes) = reading.await;
        assert_eq!(result.unwrap(), 4);
        assert_eq!(bytes, b"mine");
    });
}

#[test]
fn what_tasks_own_is_closed_when_their_loop_ends() {
    let (mut reader, writer) = file_pipe();
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(async move {
        let written = std::rc::Rc::new(std::cell::Cell::new(false));
        spawn({
            let written = written.clone();
            async move {
                let mut writer = writer;
                writer.write_all(b"x".to_vec()).await.0.unwrap();
                written.set(true);
                std::future::pending::<()>().await;
            }
        });
        until(|| written.get()).await;
    });
    drop(event_loop);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"x");
}

#[test]
fn what_is_at_home_on_another_loop_is_closed_there_when_this_one_ends() {
    let (mut reader, mut writer) = file_pipe();
    let (ended, end) = std::sync::mpsc::channel();
    run(async {
        writer.write_all(b"x".to_vec()).await.0.unwrap();
        let number = writer.as_raw_fd();
        std::thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            event_loop.spawn(async move {
                let _writer = writer;
                std::future::pending::<()>().await;
            });
            event_loop.block_on(async { op::nop().await.unwrap() });
            drop(event_loop);
            ended.send(link(number)).unwrap();
        })
        .join()
        .unwrap();
        assert!(end.recv().unwrap().contains("pipe"), "the other loop has closed what this one may have staged");
        // Mail has come; it is closed in the turns to come.
        for _ in 0..3 {
            op::nop().await.unwrap();
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"x");
    });
}

#[test]
fn what_a_lost_operation_may_have_taken_is_an_error_and_not_a_wait() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let mut file = File::from(OwnedFd::from(reader));
    let event_loop = EventLoop::builder().shutdown_timeout(Duration::ZERO).build().unwrap();
    let mut read = file.read(Vec::<u8>::with_capacity(8));
    event_loop.block_on(async {
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
    });
    // Where the loop does not run: it hears of it when it ends, and has no time to cancel it.
    drop(read);
    drop(event_loop);
    run(async {
        let (result, _) = file.read(Vec::<u8>::with_capacity(8)).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
    });
}

#[test]
fn the_next_read_takes_over_from_a_dropped_one_and_nothing_is_cancelled() {
    run(async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut reader = File::from(OwnedFd::from(reader));
        // The poll on the wake-up is armed by the first sleep.
        ringtoss::time::sleep(Duration::from_millis(1)).await;
        let mut read = reader.read(Vec::<u8>::with_capacity(8));
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        let before = ringtoss::metrics().submissions;
        drop(read);
        let mut next = reader.read(Vec::<u8>::with_capacity(8));
        assert!(poll_once(&mut next).await.is_pending());
        ringtoss::yield_now().await;
        ringtoss::yield_now().await;
        std::io::Write::write_all(&mut writer, b"bytes").unwrap();
        let (result, bytes) = next.await;
        assert_eq!((result.unwrap(), bytes.as_slice()), (5, b"bytes".as_slice()));
        assert_eq!(ringtoss::metrics().submissions, before, "neither a cancel nor another read");
    });
}
