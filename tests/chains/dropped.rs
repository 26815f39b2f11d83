//! Chains that are dropped: before they were submitted, in flight, when they are complete, here and elsewhere; that are
//! forgotten, and that their loop ends under.

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use ringtoss::fs::File;
use ringtoss::{EventLoop, fs, op};

use crate::util::{bounded, content, pair, patience, poll_once, run, turn, unnamed};

#[test]
fn before_it_is_submitted_nothing_happens() {
    run(async {
        let file = unnamed();
        for round in 0..100 {
            let before = ringtoss::metrics();
            let mut chain = file.write_all_at("gone", 0).link_timeout(Duration::from_secs(9)).link(file.sync_data());
            if round % 2 == 0 {
                assert!(poll_once(&mut chain).await.is_pending());
            }
            drop(chain);
            turn().await;
            turn().await;
            assert_eq!(ringtoss::metrics().in_flight, before.in_flight);
            assert!(content(&file).await.is_empty());
            assert!(file.take_dropped_write().await.is_none());
        }
        // Between two that go.
        let mut chain = file.write_all_at("gone", 0).link(file.write_all_at("too", 4));
        let mut before = file.write_all_at("a", 0).link(file.write_all_at("b", 1));
        let mut behind = file.write_all_at("c", 2).link(file.write_all_at("d", 3));
        assert!(poll_once(&mut before).await.is_pending());
        assert!(poll_once(&mut chain).await.is_pending());
        assert!(poll_once(&mut behind).await.is_pending());
        drop(chain);
        before.await.1.0.unwrap();
        behind.await.1.0.unwrap();
        assert_eq!(content(&file).await, b"abcd");
    });
}

/// What a link has received is there for the next receive, whether it had come before the drop or came behind it.
#[test]
fn received_bytes_are_not_lost() {
    run(async {
        for round in 0..60 {
            let (mut one, mut other) = pair().await;
            let file = unnamed();
            let mut chain = file.write_all_at("x", 0).link(one.read(Vec::with_capacity(100))).link(file.sync_data());
            assert!(poll_once(&mut chain).await.is_pending());
            if round % 3 > 0 {
                turn().await;
            }
            if round % 2 == 0 {
                other.write_all("some bytes").await.0.unwrap();
            }
            if round % 5 == 0 {
                turn().await;
                turn().await;
            }
            drop(chain);
            if round % 2 == 1 {
                other.write_all("some bytes").await.0.unwrap();
            }
            let (result, bytes) = one.read_exact(Vec::with_capacity(10), 10).await;
            result.unwrap();
            assert_eq!(bytes, b"some bytes", "round {round}");
        }
    });
}

/// And a chain takes what a dropped one has left, and keeps behind what is not over.
#[test]
fn a_chain_takes_what_was_left() {
    run(async {
        for round in 0..60 {
            let (mut one, mut other) = pair().await;
            let file = unnamed();
            let mut read = one.read(Vec::<u8>::with_capacity(4));
            assert!(poll_once(&mut read).await.is_pending());
            if round % 3 > 0 {
                turn().await;
            }
            drop(read);
            if round % 2 == 0 {
                other.write_all("0123456789").await.0.unwrap();
            } else {
                ringtoss::spawn(async move {
                    turn().await;
                    other.write_all("0123456789").await.0.unwrap();
                    ringtoss::time::sleep(Duration::from_secs(60)).await;
                });
            }
            let chain = one.read_exact(Vec::with_capacity(10), 10).link(file.write_all_at("read", 0));
            let ((read, bytes), (written, _)) = chain.await;
            read.unwrap();
            written.unwrap();
            assert_eq!((bytes, content(&file).await), (b"0123456789".to_vec(), b"read".to_vec()), "round {round}");
        }
    });
}

/// It had taken a part of what was left, and waited for something else: the part comes before the rest again.
#[test]
fn what_it_took_is_put_back_in_its_place() {
    run(async {
        for round in 0..20 {
            let (mut one, mut other) = pair().await;
            let (mut silent, _peer) = pair().await;
            let mut read = one.read(Vec::<u8>::with_capacity(10));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            other.write_all("0123456789").await.0.unwrap();
            turn().await;
            drop(read);
            {
                let mut chain = one
                    .read_exact(Vec::with_capacity(4), 4)
                    .link(silent.read(Vec::<u8>::with_capacity(1)))
                    .link(op::nop());
                assert!(poll_once(&mut chain).await.is_pending());
                for _ in 0..round % 3 {
                    turn().await;
                }
                if round % 4 == 3 {
                    std::thread::scope(|scope| scope.spawn(move || drop(chain)).join().unwrap());
                }
            }
            let (result, bytes) = one.read_exact(Vec::with_capacity(10), 10).await;
            result.unwrap();
            assert_eq!(bytes, b"0123456789", "round {round}");
        }
    });
}

/// The old bytes never land last, and their fate is told.
#[test]
fn dropped_writes_come_before_what_is_written_next() {
    const LEN: usize = 1 << 15;
    run(async {
        let file = unnamed();
        for round in 0..400u32 {
            let (old, new) = (vec![1; LEN], vec![(round % 250) as u8 + 2; LEN]);
            let mut chain = file.write_all_at(old.clone(), 0).link(file.write_all_at(old, 100)).link(file.sync_data());
            let _ = poll_once(&mut chain).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(chain);
            let chain = file.write_all_at(new.clone(), 0).link(file.read_exact_at(Vec::with_capacity(LEN), LEN, 0));
            let ((written, _), (read, bytes)) = chain.await;
            written.unwrap();
            read.unwrap();
            assert!(bytes == new, "round {round}");
            if let Some(fate) = file.take_dropped_write().await {
                assert!([0, LEN].contains(&fate.unwrap()));
            }
        }
    });
}

/// A file that a link opens late is closed.
#[test]
fn what_it_opened_is_closed() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let is_open = || {
            let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            links.filter_map(|link| std::fs::read_link(link.path()).ok()).any(|target| target == path)
        };
        for round in 0..100 {
            let opening = fs::OpenOptions::new().write(true).create(true).open(&path);
            let mut chain = opening.link(op::nop()).link(File::open(&path));
            let _ = poll_once(&mut chain).await;
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(chain);
        }
        for _ in 0..1000 {
            turn().await;
            if ringtoss::metrics().in_flight == 0 && !is_open() {
                return;
            }
            ringtoss::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is open still");
    });
}

/// Every link that waits is ended, also those that begin when the one before was cancelled.
#[test]
fn hard_links_do_not_live_on() {
    run(async {
        for round in 0..50 {
            let (mut one, _a) = pair().await;
            let (mut two, _b) = pair().await;
            let (mut three, _c) = pair().await;
            let mut chain = one
                .read(Vec::<u8>::with_capacity(1))
                .hardlink(two.read(Vec::<u8>::with_capacity(1)))
                .hardlink(three.read(Vec::<u8>::with_capacity(1)));
            assert!(poll_once(&mut chain).await.is_pending());
            for _ in 0..round % 3 {
                turn().await;
            }
            let before = ringtoss::metrics().in_flight;
            drop(chain);
            for attempt in 0.. {
                turn().await;
                if ringtoss::metrics().in_flight < before {
                    break;
                }
                assert!(attempt < 500, "round {round}: it is still in flight");
                ringtoss::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}

#[test]
fn on_another_thread() {
    run(async {
        for round in 0..40 {
            let (mut one, mut other) = pair().await;
            let file = unnamed();
            let mut chain = file.write_all_at("x", 0).link(one.read(Vec::with_capacity(100)));
            assert!(poll_once(&mut chain).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            if round % 4 == 0 {
                other.write_all("bytes").await.0.unwrap();
                turn().await;
            }
            std::thread::scope(|scope| scope.spawn(move || drop(chain)).join().unwrap());
            if round % 4 != 0 {
                other.write_all("bytes").await.0.unwrap();
            }
            let (result, bytes) = one.read_exact(Vec::with_capacity(5), 5).await;
            result.unwrap();
            assert_eq!(bytes, b"bytes", "round {round}");
        }
    });
}

/// Polled on a thread where another loop runs, it gives there what its own loop found.
#[test]
fn awaited_on_another_loop() {
    let file = std::sync::Arc::new(unnamed());
    let event_loop = EventLoop::new().unwrap();
    let other = file.clone();
    let (sender, receiver) = std::sync::mpsc::channel();
    event_loop.block_on(bounded(async {
        let chain: &'static std::sync::Arc<File> = Box::leak(Box::new(other));
        let mut chain = chain.write_all_at("x", 0).link(chain.read_exact_at(Vec::with_capacity(1), 1, 0));
        assert!(poll_once(&mut chain).await.is_pending());
        let thread = std::thread::spawn(move || {
            let ((written, _), (read, bytes)) = ringtoss::block_on(bounded(chain));
            written.unwrap();
            read.unwrap();
            sender.send(bytes).unwrap();
        });
        while !thread.is_finished() {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
        }
    }));
    assert_eq!(receiver.recv().unwrap(), b"x");
}

/// Nothing that was given to the kernel is freed; the rest goes on.
#[test]
fn forgotten() {
    run(async {
        let (mut one, mut other) = pair().await;
        let file = unnamed();
        {
            let mut chain = Box::pin(file.write_all_at("x", 0).link(one.read(vec![0; 8])));
            assert!(poll_once(&mut chain).await.is_pending());
            std::mem::forget(chain);
        }
        turn().await;
        other.write_all("taken by what was forgotten").await.0.unwrap();
        while content(&file).await != b"x" {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn the_end_of_the_loop() {
    for round in 0..20 {
        let file = std::sync::Arc::new(unnamed());
        let event_loop = EventLoop::new().unwrap();
        let chained = file.clone();
        let mut kept = None;
        event_loop.block_on(bounded(async {
            let (mut one, other) = pair().await;
            // In a task that the loop drops.
            ringtoss::spawn(async move {
                let _other = other;
                let chain =
                    chained.write_all_at("x", 0).link(one.read(Vec::<u8>::with_capacity(8))).hardlink(op::nop());
                chain.await
            });
            turn().await;
            for _ in 0..round % 3 {
                turn().await;
            }
            let file: &'static File = Box::leak(Box::new(unnamed()));
            let mut chain = file.write_all_at("y", 0).link(file.read_exact_at(Vec::with_capacity(1), 1, 0));
            assert!(poll_once(&mut chain).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            kept = Some(chain);
        }));
        drop(event_loop);
        // Its result was reaped, and is its heir's: it had run, or was cancelled.
        let ((written, _), (read, bytes)) = run(kept.take().unwrap());
        if written.is_ok() && read.is_ok() {
            assert_eq!(bytes, b"y");
        }
        // The other may have been cancelled before its first link was done.
        assert!([&b"x"[..], b""].contains(&&run(content(&file))[..]));
    }
}

/// A file is closed behind what its dropped chains have in flight.
#[test]
fn its_objects_can_go() {
    run(async {
        for round in 0..50 {
            let (mut one, other) = pair().await;
            let file = unnamed();
            let mut chain = file.write_all_at("x", 0).link(one.read(Vec::<u8>::with_capacity(8)));
            assert!(poll_once(&mut chain).await.is_pending());
            if round % 2 == 0 {
                turn().await;
            }
            drop(chain);
            drop(one);
            // The receive does not hold the connection open.
            let mut other = other;
            let (result, _) = other.read(Vec::<u8>::with_capacity(1)).await;
            assert!(result.is_err() || result.unwrap() == 0);
            file.close().await.unwrap();
        }
    });
}

/// The kernel looks up what a link names when it gets to it. Until then nobody else gets the number.
#[test]
fn a_link_that_has_not_begun_does_not_meet_whoever_has_its_number_next() {
    run(async {
        for way in ["cloned", "forgotten", "shared", "waited for"] {
            let (mut one, mut peer) = pair().await;
            // By its name nobody takes another's file for it: other tests may get its number, and its inode.
            let named = tempfile::NamedTempFile::new().unwrap();
            let file = File::from_std(named.reopen().unwrap());
            let other = unnamed();
            if way == "shared" {
                std::thread::scope(|scope| {
                    scope.spawn(|| ringtoss::block_on(async { file.sync_data().await.unwrap() }));
                });
            }
            let number = file.as_raw_fd();
            let mut chain = one.read(Vec::<u8>::with_capacity(1)).hardlink(file.write_all_at("meant for another", 0));
            assert!(poll_once(&mut chain).await.is_pending());
            turn().await;
            let clone = (way == "cloned").then(|| file.try_clone().unwrap());
            if way == "forgotten" {
                std::mem::forget(chain);
            } else {
                drop(chain);
            }
            if way == "waited for" {
                file.close().await.unwrap();
            } else {
                drop(file);
            }
            // Hands over what is staged, in the middle of the turn.
            let mut sync = other.sync_data();
            assert!(poll_once(&mut sync).await.is_pending());
            drop(sync);
            drop(other.into_std().unwrap());
            let strangers: Vec<_> = (0..8).map(|_| tempfile::tempfile().unwrap()).collect();
            peer.write_all("x").await.0.unwrap();
            for _ in 0..4 {
                turn().await;
            }
            for stranger in &strangers {
                assert_eq!(stranger.metadata().unwrap().len(), 0, "{way}: {number} is now {}", stranger.as_raw_fd());
            }
            drop((strangers, clone));
            let path = named.into_temp_path();
            let is_open = || std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|to| to == *path);
            let limit = Instant::now() + patience();
            while is_open() {
                assert!(Instant::now() < limit, "{way}: it is closed when the chain has ended");
                turn().await;
            }
        }
    });
}

/// Nothing of a chain is submitted of which a later buffer panics when it is asked where it is.
#[test]
fn a_buffer_that_panics_takes_its_chain_with_it() {
    struct Panics;
    #[allow(unsafe_code)]
    // SAFETY: it never says where it is.
    unsafe impl ringtoss::buf::IoBuf for Panics {
        fn buf_ptr(&self) -> *const u8 {
            panic!("as it was told to")
        }
        fn buf_len(&self) -> usize {
            100
        }
    }
    run(async {
        let file = unnamed();
        let mut chain = file.write_all_at(vec![7; 100], 0).link(file.write_all_at(Panics, 200));
        let polled =
            poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| Pin::new(&mut chain).poll(cx).is_ready()))));
        assert!(polled.await.is_err());
        drop(chain);
        turn().await;
        turn().await;
        assert_eq!(content(&file).await, b"");
    });
}
