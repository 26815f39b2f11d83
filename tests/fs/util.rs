//! What the tests share.
#![allow(unsafe_code)]

#[path = "../patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ringtoss::buf::{IoBuf, IoBufMut};
use ringtoss::fs::File;

pub use patience::*;

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls a future once, and waits until it would be polled again.
pub async fn poll_until_woken<F: Future + Unpin>(future: &mut F) {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::new(Flag(false.into()));
    assert!(Pin::new(&mut *future).poll(&mut std::task::Context::from_waker(&flag.clone().into())).is_pending());
    while !flag.0.load(Ordering::SeqCst) {
        turn().await;
    }
}

/// Lets the loop go round, so that what was staged is with the kernel.
pub async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// A directory in memory, if there is such a file system, for tests that make thousands of files.
pub fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A directory on a real disk, if the build has left one.
pub fn disk_dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).or_else(|_| tempfile::tempdir()).unwrap()
}

/// An empty file without a name, on the disk that the temporary directory is on.
pub fn unnamed() -> File {
    File::from_std(tempfile::tempfile().unwrap())
}

/// A file with this content.
pub fn holding(content: &[u8]) -> File {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    File::from_std(file)
}

/// A pipe, as files.
pub fn pipe() -> (File, File) {
    let (reader, writer) = io::pipe().unwrap();
    (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)))
}

/// Bytes that tell where they are.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// The same kind and `errno` as std's error for the same call.
#[track_caller]
pub fn same_error<A: std::fmt::Debug, B: std::fmt::Debug>(ours: io::Result<A>, std: io::Result<B>) {
    let (ours, std) = (ours.unwrap_err(), std.unwrap_err());
    assert_eq!((ours.kind(), ours.raw_os_error()), (std.kind(), std.raw_os_error()), "{ours} is not {std}");
}

/// A buffer that counts how often it is freed.
#[derive(Debug)]
pub struct Counted {
    bytes: Vec<u8>,
    drops: Arc<AtomicUsize>,
}

impl Counted {
    pub fn new(bytes: Vec<u8>) -> (Counted, Drops) {
        let drops = Arc::new(AtomicUsize::new(0));
        (Counted { bytes, drops: drops.clone() }, Drops(drops))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        // What the kernel would write from now on would be seen.
        self.bytes.fill(0xdd);
    }
}

pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until the buffer has been freed, once.
    pub async fn once(&self) {
        while self.count() == 0 {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
        }
        turn().await;
        assert_eq!(self.count(), 1);
    }
}

// SAFETY: as the vector inside.
unsafe impl IoBuf for Counted {
    fn buf_ptr(&self) -> *const u8 {
        self.bytes.buf_ptr()
    }
    fn buf_len(&self) -> usize {
        self.bytes.buf_len()
    }
}

// SAFETY: as the vector inside.
unsafe impl IoBufMut for Counted {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.buf_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.bytes.buf_capacity()
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.set_buf_len(len) };
    }
}

/// Has the page cache give up a part of a file, where there is a page cache.
pub fn forget(path: &Path, range: Range<u64>) {
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    let len = NonZeroU64::new(range.end - range.start);
    rustix::fs::fadvise(&file, range.start, len, rustix::fs::Advice::DontNeed).unwrap();
}
