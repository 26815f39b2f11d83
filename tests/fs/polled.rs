//! Files whose device is asked whether transfers are done. Where the kernel refuses, they go the ordinary way, and everything
//! here holds all the same; with `RINGTOSS_IOPOLL_DEVICE` it is done on a block device that is polled, which is overwritten, or in
//! a folder of a file system on one.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringtoss::buf::{AlignedBuf, RegisteredPool};
use ringtoss::fs::{File, OpenOptions};
use ringtoss::{EventLoop, metrics, op, spawn, time};

use crate::util::{poll_once, turn};

const BLOCK: usize = 4096;

/// Where a test writes: a file of its own, or the one device, which it has for itself.
struct Place {
    path: PathBuf,
    /// Whether it is known that the device is polled.
    can: bool,
    _dir: Option<tempfile::TempDir>,
    _alone: Option<MutexGuard<'static, ()>>,
}

fn place() -> Place {
    static DEVICE: Mutex<()> = Mutex::new(());
    let polled = std::env::var_os("RINGTOSS_IOPOLL_DEVICE").map(PathBuf::from);
    let can = polled.is_some();
    let dir = match polled {
        Some(device) if !device.is_dir() => {
            let alone = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
            return Place { path: device, can, _dir: None, _alone: Some(alone) };
        }
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => crate::util::disk_dir(),
    };
    Place { path: dir.path().join("polled"), can, _dir: Some(dir), _alone: None }
}

impl Place {
    /// The file, to be polled for.
    async fn open(&self) -> Option<File> {
        let file = direct(&self.path).await?;
        file.set_iopoll(true).unwrap();
        assert!(file.iopoll());
        Some(file)
    }

    /// Whether so many transfers more than before were polled for, if that can be.
    #[track_caller]
    fn assert_polled(&self, before: u64, transfers: u64) {
        if self.can {
            assert_eq!(metrics().polled_transfers - before, transfers, "transfers that were polled for");
        }
    }
}

async fn direct(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT);
    match options.open(path).await {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            eprintln!("skipped: this file system has no O_DIRECT");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn block(value: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(BLOCK);
    buf.resize(BLOCK, value);
    buf
}

/// Emulated devices are slow.
async fn bounded<F: Future>(test: F) -> F::Output {
    time::timeout(Duration::from_secs(240), test).await.expect("the test hangs")
}

fn run<F: Future>(test: F) -> F::Output {
    ringtoss::block_on(bounded(test))
}

#[test]
fn what_is_written_is_read_whichever_way_it_went() {
    let place = place();
    run(async {
        let Some(file) = place.open().await else { return };
        const LEN: usize = 1 << 18;
        let bytes: Vec<u8> = (0..LEN).map(|index| (index / 7) as u8).collect();
        let mut buf = AlignedBuf::with_capacity(LEN);
        buf.extend_from_slice(&bytes);
        let (result, buf) = file.write_all_at(buf, 0).await;
        result.unwrap();
        file.sync_all().await.unwrap();
        let (result, buf) = file.read_exact_at(buf, LEN, 0).await;
        assert!(result.unwrap() == LEN && buf[..] == bytes);
        let (result, buf) = file.read_at(block(0), 4 * BLOCK as u64).await;
        assert!(result.unwrap() == BLOCK && buf[..] == bytes[4 * BLOCK..][..BLOCK]);
        place.assert_polled(0, 3);
        println!("{} transfers were polled for, and the file {}", metrics().polled_transfers, file.iopoll());
        assert!(file.iopoll() || !place.can);
        // A clone has the same wish, and the same answer.
        let clone = file.try_clone().unwrap();
        assert_eq!(clone.iopoll(), file.iopoll());
        let (result, buf) = clone.read_at(block(0), 0).await;
        assert!(result.unwrap() == BLOCK && buf[..] == bytes[..BLOCK]);
        place.assert_polled(0, 4);
        // What is not aligned is refused as ever, which says nothing about the device.
        let (result, _) = file.read_at(block(0), 7).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(clone.iopoll(), file.iopoll());
        // In several parts, and at the position, the ordinary way.
        let (result, bufs) = file.read_vectored_at([block(0), block(0)], 0).await;
        assert!(result.unwrap() == 2 * BLOCK && bufs[1][..] == bytes[BLOCK..][..BLOCK]);
        let mut clone = clone;
        let (result, buf) = clone.read(block(0)).await;
        assert!(result.unwrap() == BLOCK && buf[..] == bytes[..BLOCK]);
        place.assert_polled(0, 4);
        file.set_iopoll(false).unwrap();
        assert!(!file.iopoll());
        let (result, _) = file.write_at(block(9), 0).await;
        assert_eq!(result.unwrap(), BLOCK);
        place.assert_polled(0, 4);
        file.close().await.unwrap();
    });
}

#[test]
fn a_file_that_cannot_be_polled_for_is_not() {
    run(async {
        let file = File::from_std(tempfile::tempfile().unwrap());
        assert_eq!(file.set_iopoll(true).unwrap_err().kind(), ErrorKind::InvalidInput, "it has a cache");
        file.set_iopoll(false).unwrap();
        assert!(!file.iopoll());
        // In memory there is no device (and before Linux 6.6 no O_DIRECT).
        let dir = crate::util::quick_dir();
        let Some(file) = direct(&dir.path().join("polled")).await else { return };
        file.set_iopoll(true).unwrap();
        let clone = file.try_clone().unwrap();
        let (result, _) = file.write_all_at(block(1), 0).await;
        result.unwrap();
        if !file.iopoll() {
            assert!(!clone.iopoll(), "the same for all of them");
            let (result, buf) = clone.read_at(block(0), 0).await;
            assert_eq!((result.unwrap(), buf[0]), (BLOCK, 1));
            assert_eq!(metrics().polled_transfers, 0);
            // It is asked anew.
            clone.set_iopoll(true).unwrap();
            assert!(clone.iopoll());
            let (result, _) = clone.read_at(block(0), 0).await;
            assert!(result.unwrap() == BLOCK && !clone.iopoll());
        } else {
            eprintln!("skipped: the quick directory is on a disk that is polled");
        }
    });
}

#[test]
fn more_at_once_than_the_queue_holds_and_everything_else_goes_on() {
    let place = place();
    run(async {
        let Some(file) = place.open().await else { return };
        let file = Arc::new(file);
        let tasks: Vec<_> = (0..300u64)
            .map(|number| {
                let file = file.clone();
                spawn(async move {
                    let offset = number * BLOCK as u64;
                    let (result, buf) = file.write_all_at(block(number as u8), offset).await;
                    result.unwrap();
                    let (result, buf) = file.read_exact_at(buf, BLOCK, offset).await;
                    assert_eq!(result.unwrap(), BLOCK);
                    assert!(buf.iter().all(|&byte| byte == number as u8));
                })
            })
            .collect();
        op::nop().await.unwrap();
        time::sleep(Duration::from_millis(1)).await;
        let answer = std::thread::spawn({
            let handle = ringtoss::Handle::current();
            move || ringtoss::block_on(handle.spawn(async { 7 }))
        });
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(ringtoss::spawn_blocking(|| answer.join().unwrap()).await.unwrap().unwrap(), 7);
        place.assert_polled(0, 600);
        // Registered with the loop's own ring.
        let pool = RegisteredPool::new(BLOCK, 1).unwrap();
        let (result, buf) = file.read_at(pool.try_take().unwrap(), 5 * BLOCK as u64).await;
        assert_eq!((result.unwrap(), buf[0]), (BLOCK, 5));
        place.assert_polled(0, 601);
        // The loop sleeps again.
        let sleeps = metrics().sleeps;
        time::sleep(Duration::from_millis(5)).await;
        assert!(metrics().sleeps > sleeps);
    });
}

#[test]
fn dropped_at_any_moment_and_the_loop_ended_over_them() {
    let place = place();
    for round in 0..20u8 {
        run(async {
            let Some(file) = place.open().await else { return };
            let (result, _) = file.write_all_at(block(round), 0).await;
            result.unwrap();
            for turns in 0..3 {
                let before = metrics().polled_transfers;
                let mut read = file.read_at(block(0), 0);
                let mut write = file.write_at(block(round + 1), 0);
                let _ = (poll_once(&mut read).await, poll_once(&mut write).await);
                for _ in 0..turns {
                    ringtoss::yield_now().await;
                }
                drop((read, write));
                if turns == 0 {
                    // Nobody has them yet.
                    assert!(file.take_dropped_write().await.is_none());
                    place.assert_polled(before, 0);
                }
                // Whatever became of it: this one comes after it.
                let (result, _) = file.write_all_at(block(round + 2), 0).await;
                result.unwrap();
                let (result, buf) = file.read_exact_at(block(0), BLOCK, 0).await;
                assert!(result.unwrap() == BLOCK && buf.iter().all(|&byte| byte == round + 2));
            }
            let mut left: Vec<_> = (0..200).map(|number| file.read_at(block(0), number % 2 * BLOCK as u64)).collect();
            for read in &mut left {
                let _ = poll_once(read).await;
            }
            if round % 2 == 0 {
                op::nop().await.unwrap();
            }
            drop(left);
        });
    }
}

#[test]
fn a_dropped_one_is_kept_until_the_device_is_done_and_then_freed_once() {
    let place = place();
    run(async {
        let Some(file) = place.open().await else { return };
        file.write_all_at(block(0), 0).await.0.unwrap();
        // A whole registered pool, so that it is known when the buffer is back.
        let pool = RegisteredPool::new(BLOCK, 1).unwrap();
        for turns in 0..4 {
            let mut read = file.read_at(pool.try_take().unwrap(), 0);
            let _ = poll_once(&mut read).await;
            for _ in 0..turns {
                turn().await;
            }
            drop(read);
            drop(pool.take().await);
        }
        // A limit waits for the device, and gives the buffer back.
        let (result, buf) = file.read_at(block(7), 0).timeout(Duration::ZERO).await;
        assert_eq!(buf.capacity(), BLOCK);
        assert!(result.map_or_else(|error| error.kind() == ErrorKind::TimedOut, |len| len == BLOCK));
        // The file may go first.
        let mut read = file.read_at(pool.try_take().unwrap(), 0);
        let _ = poll_once(&mut read).await;
        turn().await;
        drop(read);
        drop(file.into_std().unwrap());
        drop(pool.take().await);
    });
}

/// The entry names a number that is to be closed.
#[test]
fn what_is_staged_goes_before_the_close() {
    let place = place();
    for round in 1..10 {
        run(async {
            let Some(file) = place.open().await else { return };
            file.write_all_at(block(0), 0).await.0.unwrap();
            let before = metrics().polled_transfers;
            let mut write = file.write_at(block(round), 0);
            assert!(poll_once(&mut write).await.is_pending());
            // Nobody takes it back.
            std::mem::forget(write);
            drop(file);
            turn().await;
            let file = direct(&place.path).await.unwrap();
            let written = async {
                while file.read_at(block(0), 0).await.1[0] != round {
                    turn().await;
                }
            };
            time::timeout(Duration::from_secs(20), written).await.expect("it was written to the file");
            // Not polled for: it goes before the close, in the queue where that is.
            place.assert_polled(before, 0);
        });
    }
}

#[test]
fn a_place_in_the_table_is_left_and_not_asked_for() {
    let place = place();
    let event_loop = EventLoop::builder().registered_files(true).build().unwrap();
    event_loop.block_on(bounded(async {
        let Some(file) = direct(&place.path).await else { return };
        file.register();
        for _ in 0..4 {
            file.write_all_at(block(3), 0).await.0.unwrap();
        }
        let registered = metrics().registered_files;
        file.set_iopoll(true).unwrap();
        file.register();
        for _ in 0..20 {
            let (result, buf) = file.read_at(block(0), 0).await;
            assert_eq!((result.unwrap(), buf[0]), (BLOCK, 3));
        }
        place.assert_polled(0, 20);
        if place.can {
            assert_eq!(metrics().registered_files, 0, "of {registered}");
        }
        file.set_iopoll(false).unwrap();
        file.register();
        for _ in 0..4 {
            file.write_all_at(block(3), 0).await.0.unwrap();
        }
        assert_eq!(metrics().registered_files, registered);
        place.assert_polled(0, 20);
    }));
}

#[test]
fn every_loop_asks_for_itself_and_a_guest_does_not() {
    let place = place();
    let file = run(async { place.open().await });
    let Some(file) = file else { return };
    let both = |expected: u64| {
        run(async {
            file.write_all_at(block(1), 0).await.0.unwrap();
            let (result, buf) = file.read_at(block(0), 0).await;
            assert_eq!((result.unwrap(), buf[0]), (BLOCK, 1));
            place.assert_polled(0, expected);
        });
    };
    both(2);
    std::thread::scope(|scope| {
        scope.spawn(|| both(2));
        scope.spawn(|| both(2));
    });
    // A future that is awaited elsewhere than where it was submitted.
    let mut read = Box::pin(file.read_at(block(0), 0));
    let submitted = EventLoop::new().unwrap();
    submitted.block_on(async { assert!(poll_once(&mut read).await.is_pending()) });
    std::thread::scope(|scope| {
        let elsewhere = scope.spawn(|| run(&mut read));
        while !elsewhere.is_finished() {
            submitted.block_on(turn());
        }
        let (result, buf) = elsewhere.join().unwrap();
        assert_eq!((result.unwrap(), buf[0]), (BLOCK, 1));
    });
    drop(read);
    // The kernel's thread takes what is submitted otherwise.
    let threaded = EventLoop::builder().kernel_thread(Duration::from_millis(10), None).build().unwrap();
    threaded.block_on(bounded(async {
        let reads: Vec<_> = (0..3).map(|_| file.read_at(block(0), 0)).collect();
        for (result, buf) in futures::future::join_all(reads).await {
            assert_eq!((result.unwrap(), buf[0]), (BLOCK, 1));
            op::nop().await.unwrap();
        }
        place.assert_polled(0, 3);
    }));
    drop(threaded);
    let guest = EventLoop::builder().build_guest().unwrap();
    let file = Arc::new(file);
    let task = guest.spawn({
        let file = file.clone();
        async move { file.read_at(block(0), 0).await }
    });
    while !task.is_finished() {
        guest.turn(128);
    }
    assert!(guest.metrics().polled_transfers == 0 && !file.iopoll());
}

/// What is refused goes the ordinary way, by a number that is its file's for as long as its future exists. One that was
/// forgotten has a file that is closed.
#[test]
fn a_forgotten_transfer_that_is_refused_does_not_go_to_the_next_owner_of_its_number() {
    run(async {
        for _ in 0..20 {
            let place = place();
            let Some(file) = place.open().await else { return };
            file.write_at(block(1), 0).await.0.unwrap();
            file.sync_all().await.unwrap();
            file.set_iopoll(true).unwrap();
            // A pipe gives what it has to whoever reads, at whatever offset.
            let (mut stranger, mut theirs) = std::io::pipe().unwrap();
            theirs.write_all(b"theirs").unwrap();
            let number = file.as_raw_fd();
            let mut read = file.read_at(block(0), 0);
            assert!(poll_once(&mut read).await.is_pending());
            std::mem::forget(read);
            drop(file);
            turn().await;
            // The lowest that is free, from there on.
            let owner = rustix::io::fcntl_dupfd_cloexec(&stranger, number).unwrap();
            for _ in 0..3 {
                turn().await;
            }
            drop(theirs);
            let mut bytes = Vec::new();
            stranger.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"theirs");
            if owner.as_raw_fd() == number {
                return;
            }
        }
        eprintln!("not tried: other tests have always had the number");
    });
}
