//! A disk of which one sector cannot be read and another one cannot be written, by itself and below a file system. That takes
//! a machine with such a disk, which says which one it is: `.ci/long guest disk`.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use ringtoss::buf::AlignedBuf;
use ringtoss::fs::{self, File, OpenOptions};

use crate::util::*;

const PAGE: usize = 4096;
const MIB: usize = 1 << 20;
/// Where the machine was told to have its bad sectors.
const UNREADABLE: u64 = 16 << 20;
const UNWRITABLE: u64 = 24 << 20;

fn disk() -> Option<PathBuf> {
    let disk = std::env::var_os("RINGTOSS_TEST_BAD_DISK").map(PathBuf::from);
    if disk.is_none() {
        left_out("no disk with bad sectors (RINGTOSS_TEST_BAD_DISK)");
    }
    disk
}

/// One at a time: it is one disk.
fn alone_with_it() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[track_caller]
fn assert_eio(error: &Error) {
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error:?}");
}

/// Has the kernel forget what it holds of disks, as far as it is written.
fn forget() {
    std::fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

fn aligned(place: usize, len: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(len);
    buf.extend_from_slice(&pattern(place, len));
    buf
}

#[test]
fn past_the_page_cache_a_bad_sector_is_an_error_and_its_neighbours_are_well() {
    let Some(disk) = disk() else { return };
    let _alone = alone_with_it();
    run(async {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(&disk).await.unwrap();
        // What std says of the same.
        let std = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&disk).unwrap();
        let mut buf = AlignedBuf::with_capacity(PAGE);
        buf.resize(PAGE, 0);
        let error = std.read_at(&mut buf, UNREADABLE).unwrap_err();
        let (result, buf) = file.read_at(buf, UNREADABLE).await;
        let ours = result.unwrap_err();
        assert_eq!((ours.kind(), ours.raw_os_error()), (error.kind(), error.raw_os_error()));
        assert_eio(&ours);
        assert_eq!(buf.capacity(), PAGE, "the buffer comes back");

        // Many at once, before and behind each bad one: only those fail.
        let around = |place: u64| (0..17).map(move |index| place + index * PAGE as u64 - 8 * PAGE as u64);
        let writes = around(UNWRITABLE).chain(around(UNREADABLE)).map(|place| {
            let (file, bytes) = (file.try_clone().unwrap(), aligned(place as usize, PAGE));
            ringtoss::spawn(async move { (place, file.write_all_at(bytes, place).await.0) })
        });
        for write in writes.collect::<Vec<_>>() {
            match write.await.unwrap() {
                (UNWRITABLE, result) => assert_eio(&result.unwrap_err()),
                (_, result) => result.unwrap(),
            }
        }
        let reads = around(UNWRITABLE).chain(around(UNREADABLE)).map(|place| {
            let (file, buf) = (file.try_clone().unwrap(), AlignedBuf::with_capacity(PAGE));
            ringtoss::spawn(async move {
                let (result, buf) = file.read_exact_at(buf, PAGE, place).await;
                (place, result, buf)
            })
        });
        for read in reads.collect::<Vec<_>>() {
            match read.await.unwrap() {
                (UNREADABLE, result, _) => assert_eio(&result.unwrap_err()),
                // Nobody knows what is there.
                (UNWRITABLE, result, _) => assert_eq!(result.unwrap(), PAGE),
                (place, result, buf) => {
                    assert_eq!(result.unwrap(), PAGE);
                    check(&buf, place as usize);
                }
            }
        }
        // A chain ends where it fails, and says so of what was behind.
        let ((written, _), synced) = file.write_all_at(aligned(0, PAGE), UNWRITABLE).link(file.sync_data()).await;
        assert_eio(&written.unwrap_err());
        assert_eq!(synced.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        // A dropped one that fails leaves nothing for the next.
        let mut dropped = file.write_at(aligned(0, PAGE), UNWRITABLE);
        assert!(futures::poll!(&mut dropped).is_pending());
        turn().await;
        drop(dropped);
        file.write_all_at(aligned(7, PAGE), UNWRITABLE + PAGE as u64).await.0.unwrap();
        quiet().await;
        file.close().await.unwrap();
    });
}

#[test]
fn through_the_page_cache_a_sector_that_cannot_be_written_fails_the_sync_once() {
    let Some(disk) = disk() else { return };
    let _alone = alone_with_it();
    run(async {
        let file = OpenOptions::new().read(true).write(true).open(&disk).await.unwrap();
        let (good, bad) = (UNWRITABLE - 64 * PAGE as u64, UNWRITABLE);
        file.write_all_at(pattern(0, PAGE), good).await.0.unwrap();
        file.sync_data().await.unwrap();
        file.write_all_at(pattern(1, PAGE), good).await.0.unwrap();
        file.write_all_at(pattern(2, PAGE), bad).await.0.unwrap();
        assert_eio(&file.sync_data().await.unwrap_err());
        // It is told once, as by std: the kernel has given the page up.
        file.sync_data().await.unwrap();
        // In a chain the sync is what fails.
        let ((written, _), synced) = file.write_all_at(pattern(3, PAGE), bad).link(file.sync_all()).await;
        written.unwrap();
        assert_eio(&synced.unwrap_err());
        forget();
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(PAGE), PAGE, good).await;
        result.unwrap();
        check(&bytes, 1);
        // Reads find the bad sector, and what is before it.
        let (result, bytes) = file.read_at(Vec::with_capacity(16 * PAGE), UNREADABLE - 2 * PAGE as u64).await;
        assert_eq!((result.unwrap(), bytes.len()), (2 * PAGE, 2 * PAGE));
        let (result, _) = file.read_at(Vec::with_capacity(PAGE), UNREADABLE).await;
        assert_eio(&result.unwrap_err());
        let (result, bytes) =
            file.read_exact_at(Vec::with_capacity(4 * PAGE), 4 * PAGE, UNREADABLE - 2 * PAGE as u64).await;
        assert_eio(&result.unwrap_err());
        assert_eq!(bytes.len(), 2 * PAGE, "what was read before it is there");
        file.close().await.unwrap();
    });
}

/// The file covers both: each sync tells of its own part, and all that was confirmed is there.
#[test]
fn below_a_file_system_what_was_confirmed_is_there() {
    let Some(disk) = disk() else { return };
    let _alone = alone_with_it();
    let Some(mounted) = Mounted::ext4_on(&disk) else { return };
    let path = mounted.path().join("all");
    run(async {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).await.unwrap();
        let parts = 40;
        let mut failed = Vec::new();
        for part in 0..parts {
            file.write_all_at(pattern(part * MIB, MIB), (part * MIB) as u64).await.0.unwrap();
            if let Err(error) = file.sync_data().await {
                assert_eio(&error);
                failed.push(part);
            }
        }
        assert_eq!(failed.len(), 1, "{failed:?}");
        file.close().await.unwrap();
        forget();
        let file = File::open(&path).await.unwrap();
        let mut unreadable = 0;
        for place in (0..parts * MIB).step_by(PAGE) {
            let (result, bytes) = file.read_exact_at(Vec::with_capacity(PAGE), PAGE, place as u64).await;
            match result {
                Ok(_) if failed.contains(&(place / MIB)) => {}
                Ok(_) => check(&bytes, place),
                Err(error) => {
                    assert_eio(&error);
                    unreadable += 1;
                }
            }
        }
        // A kernel that reads in large folios gives up all of one: 2 MiB at most, under 7.3.
        assert!((1..=2 * MIB / PAGE).contains(&unreadable), "{unreadable} pages");
        // Whole files fail as std's do.
        let theirs = std::fs::read(&path).unwrap_err();
        let ours = fs::read(&path).await.unwrap_err();
        assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()));
        assert_ne!(ours.kind(), ErrorKind::UnexpectedEof);
        let copy = tempfile::NamedTempFile::new().unwrap();
        assert_eio(&fs::copy(&path, copy.path()).await.unwrap_err());
        file.close().await.unwrap();
        quiet().await;
    });
}
