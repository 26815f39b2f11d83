//! More than one call takes, and what is out of all bounds.
#![allow(unsafe_code)]

use std::io::ErrorKind;
use std::ptr::NonNull;

use ringtoss::buf::{IoBuf, IoBufMut};
use ringtoss::fs::{self, Allocate, File, OpenOptions};

use crate::util::{pattern, poll_once, run, same_error, unnamed};

const WINDOW: usize = 4 << 20;

/// More than 2 GiB of addresses, all of the same few MiB of memory.
struct Huge {
    start: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: it owns its mapping, as a vector does its memory.
unsafe impl Send for Huge {}

impl Huge {
    fn new(windows: usize) -> Huge {
        let capacity = windows * WINDOW;
        // SAFETY: a fresh file and fresh addresses; the windows lie within these.
        unsafe {
            let memory = libc::memfd_create(c"huge".as_ptr(), libc::MFD_CLOEXEC);
            assert_eq!(libc::ftruncate(memory, WINDOW as i64), 0);
            let start = libc::mmap(
                std::ptr::null_mut(),
                capacity,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(start, libc::MAP_FAILED);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            for window in 0..windows {
                let at = start.cast::<u8>().add(window * WINDOW).cast();
                assert_eq!(libc::mmap(at, WINDOW, access, libc::MAP_SHARED | libc::MAP_FIXED, memory, 0), at);
            }
            libc::close(memory);
            Huge { start: NonNull::new(start.cast()).unwrap(), capacity, len: 0 }
        }
    }
}

impl Drop for Huge {
    fn drop(&mut self) {
        // SAFETY: the mapping is its own.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
    }
}

// SAFETY: the mapping stays where it is when this is moved, and a file in memory is initialised.
unsafe impl IoBuf for Huge {
    fn buf_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }
    fn buf_len(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Huge {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.capacity
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        self.len = len;
    }
}

/// What the kernel takes in one call.
const ONE_CALL: usize = 0x7fff_f000;

#[test]
fn more_than_two_gib_are_moved_in_several_calls() {
    run(async {
        let mut huge = Huge::new(600);
        huge.len = huge.capacity;
        let total = huge.capacity;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").await.unwrap();
        let (result, huge) = null.write_at(huge, 0).await;
        assert_eq!(result.unwrap(), ONE_CALL);
        let (result, huge) = null.write_all_at(huge, 0).await;
        result.unwrap();
        let mut null = null;
        let (result, huge) = null.write_all(huge).await;
        result.unwrap();
        // Holes cost no disk; in memory not even that.
        let Ok(sparse) = tempfile::tempfile_in("/dev/shm") else { return };
        sparse.set_len(total as u64 + 5).unwrap();
        let sparse = File::from_std(sparse);
        let (result, huge) = sparse.read_at(huge, 0).await;
        assert_eq!((result.unwrap(), huge.len), (ONE_CALL, ONE_CALL));
        let (result, huge) = sparse.read_exact_at(huge, total, 5).await;
        assert_eq!((result.unwrap(), huge.len), (total, total));
        let (result, huge) = sparse.read_exact_at(huge, total, 6).await;
        assert_eq!((result.unwrap_err().kind(), huge.len), (ErrorKind::UnexpectedEof, total - 1));
    });
}

#[test]
fn ten_thousand_buffers_are_taken_by_the_thousand() {
    run(async {
        let file = unnamed();
        let bytes = pattern(10_000);
        let bufs: Vec<Vec<u8>> = bytes.iter().map(|&byte| vec![byte]).collect();
        let (result, bufs) = file.write_vectored_at(bufs, 0).await;
        assert_eq!((result.unwrap(), bufs.len()), (1024, 10_000));
        let bufs: Vec<Vec<u8>> = (0..10_000).map(|_| Vec::with_capacity(1)).collect();
        let (result, bufs) = file.read_vectored_at(bufs, 0).await;
        let count = result.unwrap();
        assert!(count >= 1024 && bufs.concat()[..1024] == bytes[..1024]);
        let (result, _) = file.write_vectored_at(Vec::<Vec<u8>>::new(), 0).await;
        assert_eq!(result.unwrap(), 0);
        let (result, _) = file.read_vectored_at(Vec::<Vec<u8>>::new(), 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn offsets_that_cannot_be_are_errors() {
    run(async {
        let file = unnamed();
        for offset in [1 << 63, (1 << 63) + 1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
            assert_eq!(file.read_at(vec![0; 4], offset).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(file.write_at("x", offset).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(file.write_vectored_at(["x"], offset).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(
                file.read_vectored_at([vec![0; 4]], offset).await.0.unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            assert_eq!(file.set_len(offset).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(file.allocate(Allocate::Extend, offset, 1).await.is_err());
        }
        // The last byte that a file may have: as far as its file system goes.
        let std = tempfile::tempfile().unwrap();
        use std::os::unix::fs::FileExt;
        same_error(file.write_at("xy", i64::MAX as u64).await.0, std.write_at(b"xy", i64::MAX as u64));
        assert_eq!(file.read_at(vec![0; 4], i64::MAX as u64 - 10).await.0.unwrap(), 0);
        // Nothing to move is no error to write, and one to read, as it could not tell the end.
        assert_eq!(file.write_at("", 0).await.0.unwrap(), 0);
        file.write_all_at("", 5).await.0.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 0);
        assert_eq!(file.read_exact_at(Vec::new(), 0, 0).await.0.unwrap(), 0);
        assert_eq!(file.read_at(Vec::new(), 0).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn advice_on_memory_leaves_it_as_it_is() {
    use ringtoss::buf::AlignedBuf;
    use ringtoss::op::{self, MemoryAdvice};
    run(async {
        let mut buf = AlignedBuf::with_capacity(3 << 20);
        buf.extend_from_slice(&pattern(3 << 20));
        for advice in [
            MemoryAdvice::Random,
            MemoryAdvice::Sequential,
            MemoryAdvice::Normal,
            MemoryAdvice::WillNeed,
            MemoryAdvice::Cold,
            MemoryAdvice::PageOut,
            MemoryAdvice::PopulateRead,
            MemoryAdvice::PopulateWrite,
            MemoryAdvice::HugePage,
            MemoryAdvice::Collapse,
            MemoryAdvice::NoHugePage,
        ] {
            let result;
            (result, buf) = op::madvise(buf, advice).await;
            if let Err(error) = result {
                eprintln!("{advice:?}: {error}");
            }
            assert!(buf[..] == pattern(3 << 20), "{advice:?}");
            let mut dropped = op::madvise(vec![7u8; 100_000], advice);
            let _ = poll_once(&mut dropped).await;
            drop(dropped);
        }
        // What has no whole page in it.
        op::madvise(vec![1u8; 100], MemoryAdvice::PopulateRead).await.0.unwrap();
        op::madvise(Vec::new(), MemoryAdvice::PopulateRead).await.0.unwrap();
        // In several steps.
        let (result, _) = op::madvise(Huge::new(300), MemoryAdvice::Random).await;
        result.unwrap();
    });
}

/// Every combination of options, on everything that a path may lead to: the outcome and the error of std.
#[test]
fn every_combination_of_options_on_every_kind_of_path() {
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let dir = root.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), "content").unwrap();
        std::fs::create_dir(dir.join("dir")).unwrap();
        for (target, link) in [("file", "link"), ("nowhere", "dangling"), ("loop", "loop"), ("dir", "link_to_dir")] {
            std::os::unix::fs::symlink(target, dir.join(link)).unwrap();
        }
        dir
    };
    let long = "n".repeat(256);
    let names = [
        "file",
        "missing",
        "dir",
        "link",
        "dangling",
        "loop",
        "link_to_dir",
        "file/",
        "file/x",
        "missing/x",
        "dir/",
        "",
        "nul\0",
        &long,
    ];
    run(async {
        for set in 0..64u32 {
            let bit = |n: u32| set & (1 << n) != 0;
            let (ours_dir, std_dir) = (make(&format!("ours-{set}")), make(&format!("std-{set}")));
            for name in names {
                let (mut ours, mut std) = (File::options(), std::fs::OpenOptions::new());
                ours.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3)).create(bit(4)).create_new(bit(5));
                std.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3)).create(bit(4)).create_new(bit(5));
                let ours = ours.open(ours_dir.join(name)).await.map(drop);
                let std = std.open(std_dir.join(name)).map(drop);
                let kinds = |result: std::io::Result<()>| {
                    result.map_err(|e| (e.kind(), e.raw_os_error().filter(|&n| n != libc::EINVAL)))
                };
                assert_eq!(kinds(ours), kinds(std), "{set:#b} {name}");
            }
            for name in ["file", "missing", "nowhere"] {
                assert_eq!(
                    std::fs::read(ours_dir.join(name)).ok(),
                    std::fs::read(std_dir.join(name)).ok(),
                    "{set:#b} {name}"
                );
            }
        }
        assert_eq!(fs::metadata("nul\0").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
