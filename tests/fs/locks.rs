//! Locks: who is kept out, who gets one, and what a dropped call leaves.
#![allow(unsafe_code)]

use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use ringtoss::fs::{File, OpenOptions, TryLockError};
use ringtoss::time::{sleep, timeout};

use crate::util::{poll_once, run, turn};

struct Locked {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Locked {
    fn new() -> Locked {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "content").unwrap();
        Locked { _dir: dir, path }
    }

    /// An open file of its own.
    async fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.path).await.unwrap()
    }

    /// Of somebody who knows nothing of us.
    fn stranger(&self) -> std::fs::File {
        std::fs::File::options().read(true).write(true).open(&self.path).unwrap()
    }
}

fn flock(file: &std::fs::File, operation: i32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::flock(file.as_raw_fd(), operation) == 0 }
}

/// Whether a lock can be had there now.
async fn is_free(locked: &Locked) -> bool {
    match locked.open().await.try_lock().await {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

#[test]
fn whoever_has_one_keeps_others_out() {
    let locked = Locked::new();
    run(async {
        let (one, two) = (locked.open().await, locked.open().await);
        one.lock().await.unwrap();
        assert!(matches!(two.try_lock().await, Err(TryLockError::WouldBlock)));
        assert!(matches!(two.try_lock_shared().await, Err(TryLockError::WouldBlock)));
        assert!(!flock(&locked.stranger(), libc::LOCK_SH | libc::LOCK_NB), "strangers, too");
        // A clone is the same open file.
        one.try_clone().unwrap().try_lock().await.unwrap();
        one.unlock().await.unwrap();
        two.lock_shared().await.unwrap();
        one.try_lock_shared().await.unwrap();
        assert!(matches!(one.try_lock().await, Err(TryLockError::WouldBlock)));
        two.unlock().await.unwrap();
        one.try_lock().await.unwrap();
        assert!(!is_free(&locked).await);
        one.close().await.unwrap();
        assert!(is_free(&locked).await, "closing releases");
        // Twice is no error, as std.
        two.unlock().await.unwrap();
        two.unlock().await.unwrap();
        let error = std::io::Error::from(TryLockError::WouldBlock);
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_lock_is_waited_for() {
    let locked = Locked::new();
    run(async {
        // Of ours, of a stranger's who releases, and of one who goes.
        for how in 0..3 {
            let (stranger, ours) = (locked.stranger(), locked.open().await);
            match how {
                0 => ours.lock().await.unwrap(),
                _ => assert!(flock(&stranger, libc::LOCK_EX | libc::LOCK_NB)),
            }
            let waiter = locked.open().await;
            let mut waiting = Box::pin(waiter.lock());
            assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err(), "{how}");
            match how {
                0 => ours.unlock().await.unwrap(),
                1 => assert!(flock(&stranger, libc::LOCK_UN)),
                _ => drop(stranger),
            }
            waiting.await.unwrap();
            assert!(!is_free(&locked).await);
        }
    });
}

/// Many who wait hold up neither each other nor whoever is to release the lock.
#[test]
fn many_wait_at_once() {
    let locked = Locked::new();
    run(async {
        let holder = locked.open().await;
        holder.lock().await.unwrap();
        let mut waiters = ringtoss::task::JoinSet::new();
        for index in 0..60 {
            let file = locked.open().await;
            waiters.spawn(async move {
                if index % 2 == 0 {
                    file.lock().await.unwrap();
                } else {
                    file.lock_shared().await.unwrap();
                }
                turn().await;
                if index % 3 == 0 {
                    file.unlock().await.unwrap();
                }
            });
        }
        sleep(Duration::from_millis(5)).await;
        holder.unlock().await.unwrap();
        while let Some(waiter) = waiters.join_next().await {
            waiter.unwrap();
        }
        assert!(is_free(&locked).await);
    });
}

/// One that is dropped is not held, whenever that is, and does not take away the one that is got next.
#[test]
fn a_dropped_lock_is_not_held() {
    let locked = Locked::new();
    run(async {
        let file = locked.open().await;
        for round in 0..400u32 {
            let mut dropped = Box::pin(file.lock());
            if round % 8 > 0 && poll_once(&mut dropped).await.is_ready() {
                // The thread was faster than we.
                file.unlock().await.unwrap();
                continue;
            }
            for _ in 0..round % 3 {
                turn().await;
            }
            if round % 5 == 0 {
                // Until it is done and nobody has taken the result.
                sleep(Duration::from_micros(200)).await;
            }
            drop(dropped);
            if round % 2 == 0 {
                // Waits until the fate of the dropped one is known.
                file.set_modified(std::time::SystemTime::now()).await.unwrap();
                assert!(is_free(&locked).await, "round {round}");
            } else {
                file.try_lock().await.unwrap();
                assert!(!is_free(&locked).await, "round {round}: it was taken away");
            }
            file.unlock().await.unwrap();
            assert!(is_free(&locked).await, "round {round}");
        }
    });
}

/// Dropped on another thread, and with the file gone.
#[test]
fn a_lock_that_is_dropped_elsewhere_is_not_held() {
    let locked = Locked::new();
    run(async {
        for round in 0..100 {
            let file = std::sync::Arc::new(locked.open().await);
            let clone = file.clone();
            let mut dropped = Box::pin(async move { clone.lock().await });
            let _ = poll_once(&mut dropped).await;
            if round % 2 == 0 {
                sleep(Duration::from_micros(100)).await;
            }
            std::thread::spawn(move || drop(dropped)).join().unwrap();
            drop(file);
            for attempt in 0.. {
                if is_free(&locked).await {
                    break;
                }
                assert!(attempt < 1000, "round {round}");
                sleep(Duration::from_millis(1)).await;
            }
        }
    });
}

/// A waiting one that is dropped is gone: nobody gets the lock in its place.
#[test]
fn a_dropped_wait_leaves_nothing() {
    let locked = Locked::new();
    run(async {
        let (holder, waiter) = (locked.open().await, locked.open().await);
        holder.lock().await.unwrap();
        for _ in 0..20 {
            assert!(timeout(Duration::from_millis(3), waiter.lock()).await.is_err());
            waiter.lock_range(0..1).await.unwrap();
            waiter.unlock_range(..).await.unwrap();
        }
        holder.unlock().await.unwrap();
        waiter.set_modified(std::time::SystemTime::now()).await.unwrap();
        assert!(is_free(&locked).await);
    });
}

/// What was written under the lock is there when it is released, also if the write was dropped.
#[test]
fn a_lock_is_not_released_under_a_dropped_write() {
    let locked = Locked::new();
    run(async {
        let file = locked.open().await;
        for round in 0..100u8 {
            file.lock().await.unwrap();
            let mut write = file.write_all_at(vec![round; 300_000], 0);
            let _ = poll_once(&mut write).await;
            turn().await;
            drop(write);
            file.unlock().await.unwrap();
            let seen = std::fs::read(&locked.path).unwrap();
            for _ in 0..3 {
                turn().await;
            }
            assert!(std::fs::read(&locked.path).unwrap() == seen, "round {round}");
        }
    });
}

#[test]
fn ranges_are_locked_apart() {
    let locked = Locked::new();
    run(async {
        let (one, two) = (locked.open().await, locked.open().await);
        one.lock_range(10..20).await.unwrap();
        two.lock_range(..10).await.unwrap();
        two.lock_range(20..).await.unwrap();
        assert!(matches!(two.try_lock_range(19..=19).await, Err(TryLockError::WouldBlock)));
        assert!(matches!(one.try_lock_range_shared(u64::MAX / 4..).await, Err(TryLockError::WouldBlock)));
        let found = one.find_range_lock(..).await.unwrap().unwrap();
        assert!(found.exclusive && found.pid.is_none(), "{found:?}");
        assert_eq!((found.start, found.end), (0, Some(10)));
        let found = one.find_range_lock(15..).await.unwrap().unwrap();
        assert_eq!((found.start, found.end), (20, None));
        assert_eq!(two.find_range_lock(20..).await.unwrap(), None);
        // Not those on the whole file.
        locked.open().await.lock().await.unwrap();
        let mut waiting = Box::pin(two.lock_range_shared(12..15));
        assert!(timeout(Duration::from_millis(5), &mut waiting).await.is_err());
        one.unlock_range(12..15).await.unwrap();
        waiting.await.unwrap();
        one.lock_range_shared(14..15).await.unwrap();
        assert!(matches!(one.try_lock_range(14..15).await, Err(TryLockError::WouldBlock)));
    });
}

#[test]
fn what_cannot_be_locked_is_an_error() {
    let locked = Locked::new();
    run(async {
        let file = locked.open().await;
        for (start, end) in [(5, 5), (6, 5), (0, 0), (1 << 63, 1 << 63), (u64::MAX, u64::MAX)] {
            assert_eq!(
                file.lock_range(start..end).await.unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{start}..{end}"
            );
            assert_eq!(file.unlock_range(start..end).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        // The last byte that a file can have, and what cannot be.
        file.lock_range((1 << 63) - 1..1 << 63).await.unwrap();
        file.lock_range(0..=u64::MAX).await.unwrap();
        file.lock_range((std::ops::Bound::Excluded(3), std::ops::Bound::Unbounded)).await.unwrap();
        let only_read = File::open(&locked.path).await.unwrap();
        let error = only_read.lock_range(..).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        match only_read.try_lock_range(..).await {
            Err(TryLockError::Error(error)) => assert_eq!(error.raw_os_error(), Some(libc::EBADF)),
            result => panic!("{result:?}"),
        }
        file.unlock_range(..).await.unwrap();
        only_read.lock_range_shared(..).await.unwrap();
        only_read.lock().await.unwrap();
    });
}

/// Futures of locks may be sent.
#[test]
fn locks_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let locked = Locked::new();
    run(async {
        let file = locked.open().await;
        is_send(file.lock()).await.unwrap();
        is_send(file.lock_range(3..)).await.unwrap();
        is_send(file.unlock()).await.unwrap();
        let _: &dyn Future<Output = _> = &is_send(file.try_lock());
    });
}

#[derive(Clone, Debug)]
struct Step {
    who: usize,
    ask: u8,
    start: u64,
    len: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3usize, 0..3u8, 0..24u64, 1..12u64).prop_map(|(who, ask, start, len)| Step { who, ask, start, len });
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three open files lock and unlock ranges at random: each call does what a table of bytes says.
    #[test]
    fn range_locks_are_those_of_a_table(steps in steps()) {
        let locked = Locked::new();
        run(async {
            let files = [locked.open().await, locked.open().await, locked.open().await];
            // For each byte and file: 0 none, 1 shared, 2 exclusive.
            let mut table = [[0u8; 3]; 64];
            for step in steps {
                let range = step.start..step.start + step.len;
                let bytes = step.start as usize..(step.start + step.len) as usize;
                let file = &files[step.who];
                let free = table[bytes.clone()].iter().all(|byte| {
                    (0..3).filter(|&other| other != step.who).all(|other| byte[other] == 0 || step.ask + byte[other] <= 2)
                });
                let done = match step.ask {
                    0 => file.unlock_range(range).await.map(|()| true).unwrap(),
                    1 => file.try_lock_range_shared(range).await.is_ok(),
                    _ => file.try_lock_range(range).await.is_ok(),
                };
                assert_eq!(done, step.ask == 0 || free, "{step:?} {table:?}");
                if done {
                    table[bytes].iter_mut().for_each(|byte| byte[step.who] = step.ask);
                }
            }
        });
    }
}
