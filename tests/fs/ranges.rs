//! Space, caching and syncing of ranges.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use ringtoss::fs::{Advice, Allocate, File, OpenOptions, SyncRange};

use crate::util::{holding, pattern, pipe, poll_once, run, turn, unnamed};

/// More than any file system's block.
const BLOCK: u64 = 64 * 1024;

async fn content(file: &File) -> Vec<u8> {
    let len = file.metadata().await.unwrap().len() as usize;
    let (result, bytes) = file.read_exact_at(Vec::with_capacity(len.max(1)), len, 0).await;
    result.unwrap();
    bytes
}

/// Whether the file system here does such things; a file in memory, for one, cannot be collapsed.
async fn can(file: &File, how: Allocate, offset: u64, len: u64) -> bool {
    match file.allocate(how, offset, len).await {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            eprintln!("skipped: {how:?} is not supported here");
            false
        }
        Err(error) => panic!("{how:?}: {error}"),
    }
}

#[test]
fn space_is_reserved_and_given_back() {
    run(async {
        let file = unnamed();
        if can(&file, Allocate::KeepSize, 0, 4 * BLOCK).await {
            let metadata = file.metadata().await.unwrap();
            assert_eq!(metadata.len(), 0);
            assert!(metadata.blocks() * 512 >= 4 * BLOCK);
        }
        if can(&file, Allocate::Extend, BLOCK, 3 * BLOCK).await {
            assert_eq!(file.metadata().await.unwrap().len(), 4 * BLOCK);
            assert!(content(&file).await.iter().all(|&byte| byte == 0));
        }
    });
}

#[test]
fn every_mode_does_what_it_says() {
    let before = pattern(4 * BLOCK as usize);
    let block = BLOCK as usize;
    run(async {
        let file = holding(&before);
        if can(&file, Allocate::PunchHole, BLOCK, BLOCK).await {
            let mut expected = before.clone();
            expected[block..2 * block].fill(0);
            assert!(content(&file).await == expected);
            assert!(file.metadata().await.unwrap().blocks() * 512 < 4 * BLOCK);
        }
        let file = holding(&before);
        if can(&file, Allocate::ZeroRange, 3 * BLOCK + 1, BLOCK).await {
            let mut expected = before[..3 * block + 1].to_vec();
            expected.resize(4 * block + 1, 0);
            assert!(content(&file).await == expected);
        }
        let file = holding(&before);
        if can(&file, Allocate::ZeroRangeKeepSize, 3 * BLOCK + 1, BLOCK).await {
            let mut expected = before.clone();
            expected[3 * block + 1..].fill(0);
            assert!(content(&file).await == expected);
        }
        let file = holding(&before);
        if can(&file, Allocate::CollapseRange, BLOCK, BLOCK).await {
            assert!(content(&file).await == [&before[..block], &before[2 * block..]].concat());
        }
        let file = holding(&before);
        if can(&file, Allocate::InsertRange, BLOCK, BLOCK).await {
            assert!(content(&file).await == [&before[..block], &vec![0; block], &before[block..]].concat());
        }
        let file = holding(&before);
        if can(&file, Allocate::Unshare, 0, BLOCK).await {
            assert!(content(&file).await == before);
        }
        let file = holding(&before);
        if can(&file, Allocate::WriteZeroes, BLOCK, BLOCK).await {
            let mut expected = before.clone();
            expected[block..2 * block].fill(0);
            assert!(content(&file).await == expected);
        } else {
            let error = file.allocate(Allocate::WriteZeroes, BLOCK, BLOCK).await.unwrap_err();
            assert!(error.to_string().contains("6.17"), "{error}");
        }
    });
}

#[test]
fn what_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        let file = File::create(&path).await.unwrap();
        for (offset, len) in [(0, 0), (1 << 63, 1), (0, 1 << 63), (u64::MAX, u64::MAX)] {
            let error = file.allocate(Allocate::Extend, offset, len).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{offset} {len}: {error}");
        }
        let error = file.allocate(Allocate::Extend, i64::MAX as u64, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        let only_read = File::open(&path).await.unwrap();
        let error = only_read.allocate(Allocate::Extend, 0, 1).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let (_reader, writer) = pipe();
        let error = writer.allocate(Allocate::Extend, 0, 1).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESPIPE));
        assert_eq!(writer.advise(Advice::WillNeed, 0, 1).await.unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        assert_eq!(writer.sync_range(SyncRange::WRITE, 0, 1).await.unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        assert_eq!(file.advise(Advice::WillNeed, 0, 1 << 63).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = file.sync_range(SyncRange::WRITE, 0, u64::MAX).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn advice_is_taken_whatever_the_length() {
    run(async {
        let file = holding(&pattern(100_000));
        for advice in
            [Advice::Random, Advice::Sequential, Advice::Normal, Advice::WillNeed, Advice::DontNeed, Advice::NoReuse]
        {
            for len in [0, 1, 4096, u64::from(u32::MAX), 1 << 32, 1 << 40, (1 << 63) - 1] {
                file.advise(advice, 0, len).await.unwrap();
                file.advise(advice, 5, len.min(1 << 62)).await.unwrap();
            }
        }
        assert!(content(&file).await == pattern(100_000));
    });
}

#[test]
fn ranges_are_synced() {
    run(async {
        let file = holding(&pattern(100_000));
        let mut all = SyncRange::WAIT_BEFORE | SyncRange::WRITE;
        all |= SyncRange::WAIT_AFTER;
        for len in [0, 1, 50_000, u64::from(u32::MAX), 1 << 32, 1 << 62] {
            file.sync_range(all, 4096, len).await.unwrap();
            file.sync_range(SyncRange::WRITE, 0, len).await.unwrap();
            file.sync_range(SyncRange::default(), 0, len).await.unwrap();
        }
    });
}

/// A hole that was dropped never comes after a write that was awaited.
#[test]
fn a_dropped_call_comes_before_the_next_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        if !can(&file, Allocate::ZeroRange, 0, BLOCK).await {
            return;
        }
        for round in 0..300 {
            let mut dropped = file.allocate(Allocate::ZeroRange, 0, BLOCK);
            if round % 4 > 0 {
                let _ = poll_once(&mut dropped).await;
            }
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(dropped);
            file.write_all_at(vec![7; BLOCK as usize], 0).await.0.unwrap();
            assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 7), "round {round}");
        }
        // Nor before one that was dropped.
        for round in 0..300 {
            let mut write = file.write_all_at(vec![9; BLOCK as usize], 0);
            let _ = poll_once(&mut write).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(write);
            file.allocate(Allocate::ZeroRange, 0, BLOCK).await.unwrap();
            turn().await;
            assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 0), "round {round}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().size(), BLOCK);
    });
}
