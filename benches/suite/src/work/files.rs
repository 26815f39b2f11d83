//! Files: blocks of a big one, many small ones, copies.
//!
//! What is read and written is looked at: blocks bear numbers, small files are as long as they should be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::buffers::{Buffer, PAGE_BYTES};
use crate::counts::uncounted;
use crate::places::{self, FILE_BYTES};
use crate::runtime::{Files, How};

use super::{Clock, Random, Window, timed};

/// What is done with blocks of a big file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    pub write: bool,
    /// Random blocks of 4 KiB, or one block of 64 KiB after the other.
    pub random: bool,
    /// Past the page cache.
    pub direct: bool,
    /// Each write is made durable.
    pub sync: bool,
    pub in_flight: usize,
}

impl Blocks {
    pub fn bytes(&self) -> usize {
        if self.random { PAGE_BYTES } else { 16 * PAGE_BYTES }
    }

    pub fn how(&self) -> How {
        How { write: self.write, direct: self.direct, ..How::default() }
    }

    /// The file that it is done to, given the one that is read.
    pub fn path(&self, file: &Path) -> PathBuf {
        if self.write { places::written_beside(file).expect("a file to write to") } else { file.to_owned() }
    }

    /// Where the blocks are that a task works on, one after the other.
    pub fn offsets(&self, sequence: &Arc<AtomicU64>, seed: usize) -> Offsets {
        let random = self.random.then(|| Random::new(seed as u64));
        Offsets { random, sequence: sequence.clone(), bytes: self.bytes() as u64 }
    }
}

pub struct Offsets {
    random: Option<Random>,
    /// All tasks take the next block of the same sequence.
    sequence: Arc<AtomicU64>,
    bytes: u64,
}

impl Offsets {
    pub fn next(&mut self) -> u64 {
        let blocks = FILE_BYTES / self.bytes;
        let number = match &mut self.random {
            Some(random) => random.below(blocks),
            None => self.sequence.fetch_add(1, Ordering::Relaxed) % blocks,
        };
        number * self.bytes
    }
}

pub async fn blocks<R: Files>(work: Blocks, duration: Duration, file: &Path) -> Window {
    let file = Arc::new(R::open(&work.path(file), work.how()).await.expect("the file"));
    let mut buffers = R::buffers(work.bytes(), work.in_flight);
    let sequence = Arc::default();
    let window = timed::<R, _>(work.in_flight, duration, |seed, until| {
        let (file, buf) = (file.clone(), buffers.pop().expect("one for each task"));
        transfers::<R>(work, file, buf, work.offsets(&sequence, seed), until)
    });
    let window = window.await;
    if let Some(file) = Arc::into_inner(file) {
        R::close(file).await.expect("a close");
    }
    window
}

async fn transfers<R: Files>(
    work: Blocks,
    file: Arc<R::File>,
    mut buf: R::Buf,
    mut offsets: Offsets,
    until: Instant,
) -> u64 {
    // Looking at the clock costs something, and how long a disk takes is another matter.
    let at_once = if work.direct || work.sync { 1 } else { 16 };
    let mut ops = 0;
    while ops == 0 || Instant::now() < until {
        for _ in 0..at_once {
            let offset = offsets.next();
            let result = if work.write {
                buf.stamp(!offset);
                R::write_at(&file, buf, offset).await
            } else {
                R::read_at(&file, buf, offset).await
            };
            buf = result.1;
            assert_eq!(result.0.expect("a transfer"), work.bytes(), "a whole block");
            if !work.write {
                assert_eq!(buf.stamped(), offset, "another block was read");
            }
            if work.sync {
                R::sync(&file).await.expect("a sync");
            }
        }
        ops += at_once;
    }
    ops
}

/// What is done with small files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Small {
    /// Create, write 4 KiB, close.
    Create,
    /// Open, read, close.
    Read,
    Unlink,
    /// Open, read, close, unlink.
    Drain,
}

/// The small files of a batch. What is not the work itself is done between the batches, by plain system calls.
pub struct SmallFiles {
    pub paths: Vec<PathBuf>,
    what: Small,
}

/// Enough that the clock is not what is measured.
const BATCH: usize = 512;

impl SmallFiles {
    pub fn new(what: Small, file: &Path) -> SmallFiles {
        let folder = places::memory_beside(file);
        SmallFiles { paths: (0..BATCH).map(|number| folder.join(format!("small-{number}"))).collect(), what }
    }

    /// Makes everything as it has to be before a batch.
    pub fn prepare(&self) {
        for path in &self.paths {
            match self.what {
                Small::Create => drop(std::fs::remove_file(path)),
                _ if path.exists() => {}
                _ => std::fs::write(path, [7; PAGE_BYTES]).expect("a small file"),
            }
        }
    }

    /// Sees whether a batch has done what it should.
    pub fn check(&self) {
        for path in &self.paths {
            let len = std::fs::metadata(path).ok().map(|metadata| metadata.len());
            let expected = (!matches!(self.what, Small::Unlink | Small::Drain)).then_some(PAGE_BYTES as u64);
            assert_eq!(len, expected, "{} after {:?}", path.display(), self.what);
        }
    }
}

impl Drop for SmallFiles {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

pub async fn small_files<R: Files>(what: Small, in_flight: usize, duration: Duration, file: &Path) -> Window {
    let (files, until) = (Arc::new(SmallFiles::new(what, file)), Instant::now() + duration);
    let mut buffers = R::buffers(PAGE_BYTES, in_flight);
    let mut window = Window::default();
    while window.ops == 0 || Instant::now() < until {
        uncounted(|| files.prepare());
        let clock = Clock::start();
        let batch = (0..in_flight).map(|number| {
            let buf = buffers.pop().expect("one for each task");
            R::spawn(some_small_files::<R>(what, files.clone(), (number, in_flight), buf))
        });
        let tasks: Vec<_> = batch.collect();
        for task in tasks {
            buffers.push(task.await);
        }
        window += clock.stop(files.paths.len() as u64);
        uncounted(|| files.check());
    }
    window
}

/// Every so-manieth file, from one on.
async fn some_small_files<R: Files>(
    what: Small,
    files: Arc<SmallFiles>,
    (first, step): (usize, usize),
    mut buf: R::Buf,
) -> R::Buf {
    for (number, path) in files.paths.iter().enumerate().skip(first).step_by(step) {
        if what == Small::Create {
            buf.stamp(number as u64);
            let (result, written) = R::write_file(path, buf).await;
            result.expect("a file written");
            buf = written;
        }
        if matches!(what, Small::Read | Small::Drain) {
            let (result, read) = R::read_file(path, buf).await;
            assert_eq!(result.expect("a file read"), PAGE_BYTES, "all of it");
            buf = read;
        }
        if matches!(what, Small::Unlink | Small::Drain) {
            R::unlink(path).await.expect("an unlink");
        }
    }
    buf
}

/// Files of different lengths, for `stat`.
pub fn files_to_stat(file: &Path) -> Arc<Vec<PathBuf>> {
    const FILES: usize = 1000;
    let folder = places::memory_beside(file);
    let paths: Vec<_> = (0..FILES).map(|number| folder.join(format!("stat-{number}"))).collect();
    if !paths[FILES - 1].exists() {
        for (number, path) in paths.iter().enumerate() {
            std::fs::write(path, vec![7; number]).expect("a small file");
        }
    }
    Arc::new(paths)
}

pub async fn stats<R: Files>(in_flight: usize, duration: Duration, file: &Path) -> Window {
    let paths = files_to_stat(file);
    timed::<R, _>(in_flight, duration, |seed, until| {
        let (paths, mut random) = (paths.clone(), Random::new(seed as u64));
        async move {
            let mut ops = 0;
            while ops == 0 || Instant::now() < until {
                for _ in 0..16 {
                    let number = random.below(paths.len() as u64);
                    let len = R::stat(&paths[number as usize]).await.expect("a stat");
                    assert_eq!(len, number, "the length of another file");
                }
                ops += 16;
            }
            ops
        }
    })
    .await
}

/// A big file to copy, and where to.
pub fn copy_paths(file: &Path) -> (PathBuf, PathBuf) {
    let folder = places::memory_beside(file);
    let (from, to) = (folder.join("big"), folder.join("copy"));
    if !from.exists() {
        std::fs::copy(file, &from).expect("a big file");
    }
    (from, to)
}

/// Takes a copy away when it has been looked at.
pub fn check_copy(to: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(to).expect("the copy");
    assert_eq!(file.metadata().expect("the copy").len(), FILE_BYTES);
    for offset in (0..FILE_BYTES).step_by(1 << 20) {
        let mut stamp = [0; 8];
        file.read_exact_at(&mut stamp, offset).expect("a read");
        assert_eq!(u64::from_ne_bytes(stamp), offset, "another block was copied");
    }
    std::fs::remove_file(to).expect("the copy");
}

/// An operation is a MiB.
pub async fn copies<R: Files>(duration: Duration, file: &Path) -> Window {
    let ((from, to), until) = (copy_paths(file), Instant::now() + duration);
    let mut window = Window::default();
    while window.ops == 0 || Instant::now() < until {
        let clock = Clock::start();
        assert_eq!(R::copy(&from, &to).await.expect("a copy"), FILE_BYTES, "all of it");
        window += clock.stop(FILE_BYTES >> 20);
        uncounted(|| check_copy(&to));
    }
    window
}
