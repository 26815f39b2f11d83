//! Whole files.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringtoss::fs::{self, MemfdOptions};

use crate::util::{disk_dir, forget, pattern, poll_once, run, same_error, starting_a_child, turn};

#[test]
fn whole_files_of_all_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        for len in [0, 1, 4095, 4096, 4097, 8192, 16_383, 16_384, 16_385, 100_000, 3_000_000] {
            fs::write(&path, pattern(len)).await.unwrap();
            assert!(std::fs::read(&path).unwrap() == pattern(len), "{len}");
            let bytes = fs::read(&path).await.unwrap();
            assert!(bytes == pattern(len), "{len}");
            assert!(len > 16_384 || bytes.capacity() <= len.max(16) + 16, "room that is not needed is given back");
        }
        // A shorter one replaces a longer one; any kind of buffer will do.
        fs::write(&path, "text").await.unwrap();
        assert_eq!(fs::read_to_string(&path).await.unwrap(), "text");
        let shared: Arc<[u8]> = Arc::from(&b"shared"[..]);
        fs::write(&path, shared.clone()).await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), &shared[..]);
    });
}

/// How many entries it takes to read a whole file, opening it included.
async fn entries_for(path: &Path, len: usize) -> u64 {
    turn().await;
    let before = ringtoss::metrics().submissions;
    let bytes = fs::read(path).await.unwrap();
    turn().await;
    assert!(bytes == pattern(len) && bytes.capacity() <= len + 16, "{len}: {}", bytes.capacity());
    // One is the turn's.
    ringtoss::metrics().submissions - before - 1
}

/// Its length is known when it is open, so it is one read, into as much room as it needs; of larger files one more finds the end.
#[test]
fn one_read_is_enough() {
    let dir = disk_dir();
    let path = dir.path().join("file");
    run(async {
        for (len, reads) in [(1, 1), (4096, 1), (16_383, 1), (16_384, 2), (100_000, 2), (2_000_000, 2)] {
            std::fs::write(&path, pattern(len)).unwrap();
            // Opened and closed; what is in the page cache may need none.
            assert!(entries_for(&path, len).await <= 2 + reads, "{len}");
            forget(&path, 0..len as u64);
            assert!(entries_for(&path, len).await <= 2 + reads, "{len}, from the device");
        }
    });
}

/// A file that is memory is copied on the spot, and closed there; a large one is read by a thread of the kernel's, to its end.
#[test]
fn files_in_memory_are_read_without_the_ring() {
    run(async {
        for (len, entries) in [(1, 1), (16_383, 1), (16_384, 1), ((1 << 20) - 1, 1), (1 << 20, 3)] {
            let memory = MemfdOptions::new().create("whole").unwrap();
            memory.write_all_at(pattern(len), 0).await.0.unwrap();
            let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
            assert_eq!(entries_for(&path, len).await, entries, "{len}");
        }
    });
}

/// What the page cache has is taken on the spot, and the rest is waited for.
#[test]
fn a_file_that_is_cached_in_part() {
    let dir = disk_dir();
    let path = dir.path().join("file");
    run(async {
        for len in [10_000, 200_000] {
            std::fs::write(&path, pattern(len)).unwrap();
            for from in [0, 4096, 8192, len as u64 / 2 / 4096 * 4096] {
                std::fs::read(&path).unwrap();
                forget(&path, from..len as u64);
                assert!(fs::read(&path).await.unwrap() == pattern(len), "{len}, cached up to {from}");
                if from > 0 {
                    forget(&path, 0..from);
                }
                assert!(fs::read(&path).await.unwrap() == pattern(len), "{len}, cached from {from} on");
            }
        }
    });
}

#[test]
fn files_of_proc_have_a_length_of_0() {
    run(async {
        assert_eq!(fs::metadata("/proc/self/status").await.unwrap().len(), 0);
        let status = fs::read_to_string("/proc/self/status").await.unwrap();
        assert!(status.starts_with("Name:") && status.contains("\nnonvoluntary_ctxt_switches:"));
        // More than one page of it.
        let symbols = fs::read("/proc/kallsyms").await.unwrap();
        assert_eq!(symbols.len(), std::fs::read("/proc/kallsyms").unwrap().len());
        // Files of sysfs say 4096 and hold less.
        assert_eq!(fs::metadata("/sys/kernel/fscaps").await.map_or(4096, |metadata| metadata.len()), 4096);
        let online = fs::read_to_string("/sys/devices/system/cpu/online").await.unwrap();
        assert_eq!(online, std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap());
    });
}

/// The length is only a hint: another thread changes it all the time.
#[test]
fn files_that_grow_and_shrink_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, vec![1; 100_000]).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let changer = std::thread::spawn({
        let (stop, file) = (stop.clone(), std::fs::OpenOptions::new().write(true).open(&path).unwrap());
        move || {
            use std::os::unix::fs::FileExt;
            let mut round = 0u64;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                file.set_len(round % 7 * 1000).unwrap();
                file.write_all_at(&vec![1; 1000], round % 13 * 90_000).unwrap();
            }
        }
    });
    run(async {
        for _ in 0..300 {
            let bytes = fs::read(&path).await.unwrap();
            assert!(bytes.len() <= 12 * 90_000 + 1000, "{}", bytes.len());
            assert!(bytes.iter().all(|&byte| byte <= 1));
        }
    });
    stop.store(true, Ordering::Relaxed);
    changer.join().unwrap();
}

#[test]
fn errors_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("bytes"), b"ab\xffcd").unwrap();
    run(async {
        same_error(
            fs::read_to_string(path("bytes")).await.map_err(kind),
            std::fs::read_to_string(path("bytes")).map_err(kind),
        );
        assert_eq!(fs::read_to_string(path("bytes")).await.unwrap_err().kind(), ErrorKind::InvalidData);
        for name in ["missing", "nul\0", "bytes/deeper", ""] {
            same_error(fs::read(path(name)).await, std::fs::read(path(name)));
            same_error(fs::read_to_string(path(name)).await, std::fs::read_to_string(path(name)));
        }
        for name in ["missing/deeper", "nul\0", "bytes/deeper", ""] {
            same_error(fs::write(path(name), "x").await, std::fs::write(path(name), "x"));
        }
        same_error(fs::write("/dev/full", "x").await, std::fs::write("/dev/full", "x"));
    });
}

fn kind(error: std::io::Error) -> std::io::Error {
    error.kind().into()
}

/// A program that was written can be run at once: nobody has it open for writing any more.
#[test]
fn what_was_written_is_at_nobody_s_hand() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    run(async {
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        for _ in 0..20 {
            // A child of another test's would have it open for a moment.
            let _starting = starting_a_child();
            fs::write(&path, "#!/bin/sh\nexit 7\n").await.unwrap();
            assert_eq!(std::process::Command::new(&path).status().unwrap().code(), Some(7));
        }
    });
}

/// It is closed whatever becomes of it, and no descriptor is left behind.
#[test]
fn a_write_that_fails_or_is_dropped_closes_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let is_open = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .any(|target| target == path || target == *"/dev/full")
    };
    run(async {
        let error = fs::write("/dev/full", pattern(100)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        for round in 0..60 {
            let mut write = Box::pin(fs::write(&path, pattern(100_000)));
            for _ in 0..round % 6 {
                if poll_once(&mut write).await.is_ready() {
                    break;
                }
                turn().await;
            }
            drop(write);
        }
        for _ in 0..1000 {
            if !is_open() {
                return;
            }
            ringtoss::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("it is open still");
    });
}

/// What has no offsets is written and read as ever.
#[test]
fn a_pipe_by_its_name() {
    run(async {
        let (reader, writer) = std::io::pipe().unwrap();
        let name = |fd: i32| format!("/proc/self/fd/{fd}");
        fs::write(name(writer.as_raw_fd()), "through a pipe").await.unwrap();
        let read = ringtoss::spawn(fs::read(name(reader.as_raw_fd())));
        turn().await;
        fs::write(name(writer.as_raw_fd()), ", twice").await.unwrap();
        drop(writer);
        assert_eq!(read.await.unwrap().unwrap(), b"through a pipe, twice");
    });
}
