//! Directories, read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, symlink};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use ringtoss::fs::{self, DirEntry};

use crate::util::{poll_once, quick_dir, run, turn};

async fn all(path: &Path) -> Vec<DirEntry> {
    let mut entries = fs::read_dir(path).await.unwrap();
    let mut all = Vec::new();
    while let Some(entry) = entries.next_entry().await.unwrap() {
        all.push(entry);
    }
    assert!(entries.next_entry().await.unwrap().is_none(), "the end stays the end");
    all
}

fn many(dir: &Path, count: usize) {
    for number in 0..count {
        // Long names, so that there are many batches.
        std::fs::File::create(dir.join(format!("{number:050}"))).unwrap();
    }
}

#[test]
fn entries_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "content").unwrap();
    std::fs::create_dir(path("directory")).unwrap();
    symlink("file", path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"not \xff\xfe UTF-8")), "").unwrap();
    std::fs::write(dir.path().join(OsString::from_vec(vec![b'n'; 255])), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    run(async {
        let ours: BTreeMap<_, _> = all(dir.path()).await.into_iter().map(|entry| (entry.file_name(), entry)).collect();
        let std: BTreeMap<_, _> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()).map(|e| (e.file_name(), e)).collect();
        assert!(ours.keys().eq(std.keys()));
        for (ours, std) in ours.values().zip(std.values()) {
            assert_eq!((ours.path(), ours.ino()), (std.path(), std.ino()));
            let (kind, std_kind) = (ours.file_type().await.unwrap(), std.file_type().unwrap());
            assert_eq!(
                (kind.is_dir(), kind.is_file(), kind.is_symlink()),
                (std_kind.is_dir(), std_kind.is_file(), std_kind.is_symlink())
            );
            let (metadata, std_metadata) = (ours.metadata().await.unwrap(), std.metadata().unwrap());
            assert_eq!((metadata.len(), metadata.file_type()), (std_metadata.len(), kind));
            assert_eq!(format!("{ours:?}"), format!("{std:?}"));
        }
    });
}

#[test]
fn twenty_thousand_entries_come_once_each_and_the_loop_goes_on() {
    const COUNT: usize = 20_000;
    let dir = quick_dir();
    many(dir.path(), COUNT);
    run(async {
        let beside = ringtoss::spawn(async {
            let mut turns = 0u64;
            loop {
                turn().await;
                turns += 1;
                if turns > 1_000_000 {
                    return;
                }
            }
        });
        let mut names: Vec<_> = all(dir.path()).await.into_iter().map(|entry| entry.file_name()).collect();
        assert!(!beside.is_finished());
        beside.abort();
        names.sort();
        assert_eq!(names.len(), COUNT);
        assert!(names.iter().enumerate().all(|(number, name)| name == OsStr::new(&format!("{number:050}"))));
    });
}

/// A `next_entry` that is dropped at any point gives its entry to the next one.
#[test]
fn a_dropped_next_entry_loses_nothing() {
    let dir = quick_dir();
    many(dir.path(), 3000);
    run(async {
        let (mut round, mut dropped) = (0, 0);
        // A batch may be there before it is first asked for.
        while round < 8 || dropped < 8 {
            let turns = round % 4;
            round += 1;
            let mut entries = fs::read_dir(dir.path()).await.unwrap();
            let mut count = 0;
            loop {
                let mut next = Box::pin(entries.next_entry());
                match poll_once(&mut next).await {
                    Poll::Ready(entry) => match entry.unwrap() {
                        Some(_) => count += 1,
                        None => break,
                    },
                    Poll::Pending => {
                        drop(next);
                        dropped += 1;
                        for _ in 0..turns {
                            turn().await;
                        }
                    }
                }
            }
            assert_eq!(count, 3000);
        }
    });
}

#[test]
fn entries_outlive_the_reader_and_changes_of_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    std::fs::create_dir(&before).unwrap();
    std::fs::write(before.join("file"), "content").unwrap();
    run(async {
        let entry = all(&before).await.remove(0);
        fs::rename(&before, &after).await.unwrap();
        assert_eq!(entry.metadata().await.unwrap().len(), 7, "it looks in the directory, not along the path");
        fs::remove_dir_all(&after).await.unwrap();
        assert_eq!(entry.metadata().await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
        // One that was removed while it was open has no entries.
        std::fs::create_dir(&before).unwrap();
        let mut entries = fs::read_dir(&before).await.unwrap();
        std::fs::remove_dir(&before).unwrap();
        assert!(entries.next_entry().await.unwrap().is_none());
    });
}

/// Read, kept and dropped on other threads and loops.
#[test]
fn it_may_go_to_other_threads() {
    let dir = quick_dir();
    many(dir.path(), 2000);
    run(async {
        let mut entries = fs::read_dir(dir.path()).await.unwrap();
        let first = entries.next_entry().await.unwrap().unwrap();
        let (count, second) = std::thread::spawn(move || {
            ringtoss::block_on(async move {
                let mut second = None;
                let mut count = 1;
                while let Some(entry) = entries.next_entry().await.unwrap() {
                    count += 1;
                    second = Some(entry);
                }
                let second = second.unwrap();
                assert!(second.metadata().await.unwrap().is_file());
                (count, second)
            })
        })
        .join()
        .unwrap();
        assert_eq!(count, 2000);
        assert!(first.metadata().await.unwrap().is_file());
        assert!(second.metadata().await.unwrap().is_file());
        // A call under way when everything is dropped.
        for turns in 0..20 {
            let mut entries = fs::read_dir(dir.path()).await.unwrap();
            let _ = poll_once(&mut Box::pin(entries.next_entry())).await;
            for _ in 0..turns % 3 {
                turn().await;
            }
            drop(entries);
        }
        ringtoss::time::sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn an_open_that_is_dropped_closes_again() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for turns in 0..40 {
            let mut opening = Box::pin(fs::read_dir(dir.path()));
            let _ = poll_once(&mut opening).await;
            for _ in 0..turns % 4 {
                turn().await;
            }
        }
    });
}
