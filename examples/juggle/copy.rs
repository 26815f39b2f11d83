//! Copies of a file, again and again: 32 reads in flight beside the writes of what came before; then both files are read
//! again and their checksums compared.

use std::cell::{Cell, RefCell};
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::{try_join, try_join_all};
use futures::stream::{self, StreamExt, TryStreamExt};
use ringtoss::buf::BufResultExt;
use ringtoss::fs::File;
use ringtoss::time::timeout_at;
use twox_hash::XxHash3_64;

use crate::progress::Progress;

const READS_IN_FLIGHT: usize = 32;
/// Bytes of a read and of a write. The kernel copies them while the loop waits: larger ones are no faster, and everyone
/// else waits longer.
const CHUNK: u64 = 64 * 1024;
/// Bytes of the file that is made when none is given.
const GENERATED: u64 = 256 << 20;

/// The file to copy.
pub struct Source {
    file: std::fs::File,
    pub size: u64,
}

/// Both files, open on the loop. Keep them until nobody waits any more: they have no names, and when the last descriptor of
/// such a file is closed the kernel frees its pages at once, on the thread that closes it.
pub struct Files {
    from: File,
    to: File,
    size: u64,
}

/// What came of it.
#[derive(Default)]
pub struct Copies {
    /// Copies that were finished and checked.
    pub confirmed: u64,
    /// XXH3 of the last copy, and of the source.
    pub checksum: u64,
    /// Time spent copying, and checking.
    pub copying: Duration,
    pub checking: Duration,
}

impl Source {
    pub fn open(path: &Path) -> Result<Source> {
        // Before it is opened: a FIFO would wait for a writer.
        ensure!(std::fs::metadata(path)?.is_file(), "not a regular file");
        let file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        ensure!(metadata.len() > 0, "empty: there is nothing to copy");
        Ok(Source { file, size: metadata.len() })
    }

    /// Noise, in a file that has no name and goes with the process.
    pub fn generate() -> Result<Source> {
        let mut file = tempfile::tempfile()?;
        let mut noise = vec![0; 1 << 20];
        for _ in 0..GENERATED / noise.len() as u64 {
            fastrand::fill(&mut noise);
            file.write_all(&noise)?;
        }
        Ok(Source { file, size: GENERATED })
    }
}

impl Files {
    pub async fn open(source: Source) -> Result<Files> {
        let to = ringtoss::spawn_blocking(tempfile::tempfile).await?.context("a temporary file for the copy")?;
        Ok(Files { from: File::from_std(source.file), to: File::from_std(to), size: source.size })
    }
}

/// Copies and checks until the time is up; the first copy is finished in any case.
pub async fn repeat(files: Rc<Files>, until: Instant, progress: Arc<Progress>) -> Result<Copies> {
    let mut copies = Copies::default();
    loop {
        let one = copy_and_check(&files, &progress);
        let (copying, checking, checksum) = if copies.confirmed == 0 {
            one.await?
        } else {
            match timeout_at(until.into(), one).await {
                Ok(done) => done?,
                Err(_) => return Ok(copies),
            }
        };
        copies.confirmed += 1;
        copies.checksum = checksum;
        copies.copying += copying;
        copies.checking += checking;
        progress.copies.store(copies.confirmed, Ordering::Relaxed);
        if Instant::now() >= until {
            return Ok(copies);
        }
    }
}

async fn copy_and_check(files: &Files, progress: &Progress) -> Result<(Duration, Duration, u64)> {
    let Files { from, to, size } = files;
    let size = *size;
    // Of the copy before nothing is left that could pass for this one.
    to.set_len(0).await.context("emptying the temporary file")?;
    progress.copied.store(0, Ordering::Relaxed);
    progress.checked.store(0, Ordering::Relaxed);
    let begin = Instant::now();
    let next = Cell::new(0);
    try_join_all((0..READS_IN_FLIGHT).map(|_| lane(from, to, size, &next, progress))).await?;
    let copying = begin.elapsed();
    let expected = checksum(from, size, progress).await.context("reading the source again")?;
    let found = checksum(to, size, progress).await.context("reading the copy again")?;
    let length = to.metadata().await?.len();
    ensure!(length == size, "the copy has {length} bytes, the source {size}");
    ensure!(found == expected, "the checksum of the copy is {found:016x}, that of the source {expected:016x}");
    Ok((copying, begin.elapsed() - copying, found))
}

/// One of those who copy: reads the next part while it writes the one before.
async fn lane(from: &File, to: &File, size: u64, next: &Cell<u64>, progress: &Progress) -> Result<()> {
    let mut pending: Option<(Vec<u8>, u64)> = None;
    let mut spare = Vec::with_capacity(CHUNK as usize);
    loop {
        let offset = next.replace((next.get() + CHUNK).min(size));
        let write = async {
            let Some((buf, offset)) = pending.take() else { return Ok(Vec::with_capacity(CHUNK as usize)) };
            let written = to.write_all_at(buf, offset).await.into_result().context("writing the copy")?.1;
            progress.copied.fetch_add(written.len() as u64, Ordering::Relaxed);
            Ok(written)
        };
        if offset == size {
            write.await?;
            return Ok(());
        }
        let read = async { read(from, spare, offset, size).await.context("reading the source") };
        let (written, full) = try_join(write, read).await?;
        (pending, spare) = (Some((full, offset)), written);
    }
}

async fn read(file: &File, buf: Vec<u8>, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    let len = CHUNK.min(size - offset) as usize;
    Ok(file.read_exact_at(buf, len, offset).await.into_result()?.1)
}

/// XXH3 of the content, as it is read now.
async fn checksum(file: &File, size: u64, progress: &Progress) -> Result<u64> {
    let spare = RefCell::new(Vec::new());
    let hasher = RefCell::new(XxHash3_64::new());
    stream::iter((0..size).step_by(CHUNK as usize))
        .map(|offset| {
            let buf = spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(CHUNK as usize));
            read(file, buf, offset, size)
        })
        // In order, whichever comes first.
        .buffered(READS_IN_FLIGHT)
        .try_for_each(|buf| {
            hasher.borrow_mut().write(&buf);
            progress.checked.fetch_add(buf.len() as u64, Ordering::Relaxed);
            spare.borrow_mut().push(buf);
            futures::future::ready(Ok(()))
        })
        .await?;
    Ok(hasher.into_inner().finish())
}
