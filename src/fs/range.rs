//! Space, caching and syncing of ranges of a file.

use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::fd::AsRawFd;

use super::{File, on_pool};
use crate::op::{Fadvise, Fallocate, Operation, SyncFileRange};
use crate::sys;

/// `FALLOC_FL_WRITE_ZEROES`.
const WRITE_ZEROES: i32 = 0x80;

/// What [`File::allocate`] does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocate {
    /// Has space reserved, so that writes to it do not fail for lack of that, and the file extended if it ends before: what was
    /// not there reads as zeros.
    Extend,
    /// Has space reserved, but leaves the length as it is (`FALLOC_FL_KEEP_SIZE`).
    KeepSize,
    /// Gives the space back: the range reads as zeros; the length stays (`FALLOC_FL_PUNCH_HOLE`).
    PunchHole,
    /// Zeros, with the space kept or reserved, and the file extended if it ends before (`FALLOC_FL_ZERO_RANGE`).
    ZeroRange,
    /// The same, but leaves the length as it is.
    ZeroRangeKeepSize,
    /// Cuts the range out: what lies behind moves to its place, and the file gets shorter (`FALLOC_FL_COLLAPSE_RANGE`). The
    /// range must be of whole blocks and end before the file does.
    CollapseRange,
    /// Puts a hole in: what lies from the offset on moves behind the range (`FALLOC_FL_INSERT_RANGE`). The range must be of
    /// whole blocks and begin before the file ends.
    InsertRange,
    /// Has content that is shared with other files (see [`fs::copy`](super::copy())) copied, so that writes do not fail for
    /// lack of space (`FALLOC_FL_UNSHARE_RANGE`).
    Unshare,
    /// Zeros that are written, by the device itself if it can, so that later writes need not change metadata
    /// (`FALLOC_FL_WRITE_ZEROES`, Linux 6.17).
    WriteZeroes,
}

impl Allocate {
    fn mode(self) -> i32 {
        match self {
            Allocate::Extend => 0,
            Allocate::KeepSize => libc::FALLOC_FL_KEEP_SIZE,
            Allocate::PunchHole => libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            Allocate::ZeroRange => libc::FALLOC_FL_ZERO_RANGE,
            Allocate::ZeroRangeKeepSize => libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
            Allocate::CollapseRange => libc::FALLOC_FL_COLLAPSE_RANGE,
            Allocate::InsertRange => libc::FALLOC_FL_INSERT_RANGE,
            Allocate::Unshare => libc::FALLOC_FL_UNSHARE_RANGE,
            Allocate::WriteZeroes => WRITE_ZEROES,
        }
    }
}

/// How a range of a file will be used: for [`File::advise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// In no special way. Of the whole file, whatever the range.
    Normal,
    /// At random: nothing is read ahead. Of the whole file, whatever the range.
    Random,
    /// From the start to the end: more is read ahead. Of the whole file, whatever the range.
    Sequential,
    /// Soon: it is read ahead now.
    WillNeed,
    /// Not soon: what is cached of it and is on the device already is dropped.
    DontNeed,
    /// Once.
    NoReuse,
}

impl Advice {
    fn number(self) -> i32 {
        match self {
            Advice::Normal => libc::POSIX_FADV_NORMAL,
            Advice::Random => libc::POSIX_FADV_RANDOM,
            Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
            Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
            Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
            Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
        }
    }
}

/// What [`File::sync_range`] does; they can be combined with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncRange(u32);

impl SyncRange {
    /// Waits for pages that are being written already.
    pub const WAIT_BEFORE: SyncRange = SyncRange(libc::SYNC_FILE_RANGE_WAIT_BEFORE);
    /// Has changed pages written.
    pub const WRITE: SyncRange = SyncRange(libc::SYNC_FILE_RANGE_WRITE);
    /// Waits for pages that are being written by then.
    pub const WAIT_AFTER: SyncRange = SyncRange(libc::SYNC_FILE_RANGE_WAIT_AFTER);
}

impl BitOr for SyncRange {
    type Output = SyncRange;

    fn bitor(self, other: SyncRange) -> SyncRange {
        SyncRange(self.0 | other.0)
    }
}

impl BitOrAssign for SyncRange {
    fn bitor_assign(&mut self, other: SyncRange) {
        *self = *self | other;
    }
}

/// # Space, caching and syncing of ranges
///
/// Offsets and lengths are in bytes.
impl File {
    /// Reserves, frees, zeroes, cuts out or inserts space: `IORING_OP_FALLOCATE`, `fallocate(2)`. Writes to the range that
    /// were dropped are waited for first; dropped itself, it may happen all the same, and what changes the range next waits
    /// for that.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::{Allocate, File};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("log");
    /// let log = File::create(&path).await?;
    /// log.allocate(Allocate::KeepSize, 0, 1 << 20).await?;
    /// assert_eq!(log.metadata().await?.len(), 0);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `Unsupported` where the file system cannot do it, or where the kernel is older than the mode says; `InvalidInput` for a
    /// length of 0, for what exceeds 2^63 - 1, and where whole blocks are asked for; `StorageFull`, `FileTooLarge`,
    /// `NotSeekable` for pipes, `EBADF` if the file is not open for writing, ….
    pub fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Operation<'_, Fallocate> {
        let newer = (how == Allocate::WriteZeroes)
            .then_some("zeros cannot be written here: that takes Linux 6.17, and a file system and a device that can");
        Operation::on(&self.fd, Fallocate::new(self.fd.raw(), how.mode(), offset, len, newer))
    }

    /// Tells how a range will be used; a length of 0 reaches to the end: `IORING_OP_FADVISE`, `posix_fadvise(2)`, for lengths
    /// from 4 GiB on on the blocking pool. Dropped early, it may happen all the same.
    ///
    /// # Errors
    /// `InvalidInput` for a length beyond 2^63 - 1; `NotSeekable` for pipes.
    pub async fn advise(&self, advice: Advice, offset: u64, len: u64) -> io::Result<()> {
        let advice = advice.number();
        match u32::try_from(len) {
            Ok(len) => Operation::on(&self.fd, Fadvise::new(self.fd.raw(), offset, len, advice)).await,
            // The entry has no room for more before Linux 6.10.
            Err(_) => on_pool::change(&self.fd, move |file| sys::advise(file.as_raw_fd(), offset, len, advice)).await,
        }
    }

    /// Has a range written to the device, without the file's metadata and without flushing the device's cache: after a crash
    /// it may be missing nevertheless. It is for spreading the work of a later [`sync_data`](File::sync_data). A length
    /// of 0 reaches to the end. `IORING_OP_SYNC_FILE_RANGE`, `sync_file_range(2)`, for lengths from 4 GiB on on the blocking
    /// pool. Writes that were dropped are waited for first. Dropped early, it may happen all the same.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::{File, SyncRange};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("log");
    /// let log = File::create(&path).await?;
    /// log.write_all_at(vec![0; 1 << 20], 0).await.0?;
    /// log.sync_range(SyncRange::WRITE, 0, 1 << 20).await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the device; `InvalidInput` for what exceeds 2^63 - 1; `NotSeekable` for pipes.
    pub async fn sync_range(&self, what: SyncRange, offset: u64, len: u64) -> io::Result<()> {
        match u32::try_from(len) {
            Ok(len) => Operation::on(&self.fd, SyncFileRange::new(self.fd.raw(), offset, len, what.0)).await,
            Err(_) => {
                on_pool::change(&self.fd, move |file| sys::sync_range(file.as_raw_fd(), offset, len, what.0)).await
            }
        }
    }
}
