//! Copying.

use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use ringtoss::fs;

use crate::util::{pattern, poll_once, run, same_error, starting_a_child, turn};

#[test]
fn content_and_permissions_are_copied_as_by_std() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    run(async {
        for (len, mode) in [(0, 0o644), (1, 0o600), (4096, 0o755), (1_000_001, 0o4711)] {
            std::fs::write(path("from"), pattern(len)).unwrap();
            std::fs::set_permissions(path("from"), PermissionsExt::from_mode(mode)).unwrap();
            for there in [false, true] {
                for name in ["ours", "std"] {
                    let _ = std::fs::remove_file(path(name));
                    if there {
                        std::fs::write(path(name), pattern(1_500_000)).unwrap();
                    }
                }
                assert_eq!(fs::copy(path("from"), path("ours")).await.unwrap(), len as u64);
                assert_eq!(std::fs::copy(path("from"), path("std")).unwrap(), len as u64);
                assert!(std::fs::read(path("ours")).unwrap() == pattern(len));
                let mode_of = |name| std::fs::metadata(path(name)).unwrap().mode();
                assert_eq!(mode_of("ours"), mode_of("std"));
            }
        }
    });
}

#[test]
fn errors_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "content").unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    symlink("loop", path("loop")).unwrap();
    run(async {
        for (from, to) in [
            ("missing", "to"),
            ("folder", "to"),
            ("loop", "to"),
            ("file", "folder"),
            ("file", "missing/to"),
            ("file", "loop"),
            ("file", "file/to"),
            ("nul\0", "to"),
            ("file", "nul\0"),
        ] {
            same_error(fs::copy(path(from), path(to)).await, std::fs::copy(path(from), path(to)));
            assert!(!path("to").exists());
        }
        // To itself: as std says, the file is cut off.
        assert_eq!(fs::copy(path("file"), path("file")).await.unwrap(), 0);
    });
}

#[test]
fn what_has_no_length_is_copied_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let to = dir.path().join("to");
        let copied = fs::copy("/proc/self/maps", &to).await.unwrap();
        assert!(copied > 0 && std::fs::metadata(&to).unwrap().len() == copied);
        assert_eq!(fs::copy("/proc/version", &to).await.unwrap(), std::fs::read("/proc/version").unwrap().len() as u64);
        assert_eq!(std::fs::read(&to).unwrap(), std::fs::read("/proc/version").unwrap());
        // And into what is no file.
        assert_eq!(
            fs::copy("/proc/version", "/dev/null").await.unwrap(),
            std::fs::read("/proc/version").unwrap().len() as u64
        );
    });
}

/// Writes data here and there; gives the length.
fn sparse(path: &Path, islands: &[(u64, usize)], len: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    for &(at, bytes) in islands {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&pattern(bytes)).unwrap();
    }
    file.set_len(len).unwrap();
}

#[test]
fn holes_stay_holes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    run(async {
        let cases: [(&[(u64, usize)], u64); 5] = [
            (&[], 1 << 30),
            (&[(0, 1)], 1 << 24),
            (&[(1 << 20, 70_000), (1 << 26, 1)], (1 << 26) + 1),
            (&[(0, 4096), (1 << 22, 17 << 20)], 1 << 28),
            (&[(3, 5)], 1 << 20),
        ];
        for (islands, len) in cases {
            sparse(&path("from"), islands, len);
            let _ = std::fs::remove_file(path("to"));
            assert_eq!(fs::copy(path("from"), path("to")).await.unwrap(), len);
            let (from, to) = (std::fs::metadata(path("from")).unwrap(), std::fs::metadata(path("to")).unwrap());
            assert_eq!(to.len(), len);
            assert!(to.blocks() <= from.blocks() + 64, "{} blocks of {}", to.blocks(), from.blocks());
            let mut copied = std::fs::File::open(path("to")).unwrap();
            for &(at, bytes) in islands {
                use std::io::Read;
                let mut island = vec![0; bytes];
                copied.seek(SeekFrom::Start(at)).unwrap();
                copied.read_exact(&mut island).unwrap();
                assert!(island == pattern(bytes));
            }
            if len <= 1 << 24 {
                assert!(std::fs::read(path("from")).unwrap() == std::fs::read(path("to")).unwrap());
            }
        }
    });
}

#[test]
fn a_dropped_copy_stops_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("from"), pattern(300_000)).unwrap();
    run(async {
        for turns in 0..30 {
            let to = path(&format!("to-{turns}"));
            let mut copying = Box::pin(fs::copy(path("from"), &to));
            for _ in 0..turns {
                if poll_once(&mut copying).await.is_ready() || (to.exists() && turns % 3 == 0) {
                    break;
                }
                turn().await;
            }
            drop(copying);
            let other = path("other");
            assert_eq!(fs::copy(path("from"), &other).await.unwrap(), 300_000);
            assert!(std::fs::read(&other).unwrap() == pattern(300_000));
            if let Ok(part) = std::fs::read(&to) {
                assert!(pattern(300_000).starts_with(&part), "a part, from the start");
            }
        }
    });
}

#[test]
fn a_source_that_is_a_pipe_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let starting = starting_a_child();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    drop(starting);
    run(async {
        // In the kernel's cache, so that the open does not wait for a writer.
        fs::metadata(&fifo).await.unwrap();
        let error = fs::copy(&fifo, dir.path().join("to")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
