//! The open file: opening, what is done to it as a whole, and conversions. Reading and writing are in `transfer`.

use std::fmt;
use std::io::{self, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use super::truncate;
use super::{Metadata, OpenOptions};
use crate::convert::ConvertError;
use crate::fd::{Fd, HasFd};
use crate::op::{self, Fsync, OpenAt, Opened, Operation, Seek, Statx};

/// An open file, or anything else that has a descriptor to read from or write to: a pipe, a terminal, a device.
///
/// Operations at an offset ([`read_at`](File::read_at), [`write_at`](File::write_at) and their kin) take `&self`, and any
/// number of them may be in flight. Those at the file's position ([`read`](File::read), [`write`](File::write), …) take
/// `&mut self`; clones of a file share the position and take turns. What dropping one of them means is told in the
/// [module](super).
///
/// A file is `Send` and `Sync` and may be used on several loops. Dropping it cancels what it still has in flight and closes
/// it in the background, behind everything that was submitted; [`close`](File::close) tells the error.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::File;
///
/// let file = File::open("/etc/passwd").await?;
/// let (result, buf) = file.read_at(Vec::with_capacity(4), 0).await;
/// assert_eq!(result?, 4);
/// assert_eq!(buf, b"root");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct File {
    pub(super) fd: Fd,
}

impl Opened for File {
    fn opened(fd: OwnedFd) -> File {
        File::from(fd)
    }
}

impl File {
    // ---- opening ----------------------------------------------------------------------------------------------

    /// Opens a file for reading: `IORING_OP_OPENAT`, `openat(2)`. Dropped early, the file is closed again.
    ///
    /// A FIFO is opened without waiting for a writer; the first read waits for one. (Opened for writing it waits for a
    /// reader, as ever.)
    ///
    /// # Errors
    /// Those of std: `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
    pub fn open(path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing, creates it if there is none, and truncates it: `IORING_OP_OPENAT`, `openat(2)`. Dropped
    /// early, the file is closed again, but may have been created or truncated.
    ///
    /// # Errors
    /// Those of std: `PermissionDenied`, `IsADirectory`, …; `InvalidInput` for a path that contains a NUL.
    pub fn create(path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Creates a file for reading and writing: `IORING_OP_OPENAT`, `openat(2)` with `O_EXCL`. Dropped early, the file is
    /// closed again, but may have been created.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one, and as [`create`](File::create).
    pub fn create_new(path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Other ways to open a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    // ---- the whole file ---------------------------------------------------------------------------------------

    /// Waits until content and metadata have reached the device: `IORING_OP_FSYNC`, `fsync(2)`. Writes that were dropped
    /// are waited for first.
    ///
    /// # Errors
    /// Those of the call. After an error of a device what was written before may be lost, even if a second call succeeds.
    pub fn sync_all(&self) -> Operation<'_, Fsync> {
        Operation::on(&self.fd, Fsync::new(self.fd.raw(), false))
    }

    /// The same without metadata that is not needed to read the content: `fdatasync(2)`.
    ///
    /// # Errors
    /// As [`sync_all`](File::sync_all).
    pub fn sync_data(&self) -> Operation<'_, Fsync> {
        Operation::on(&self.fd, Fsync::new(self.fd.raw(), true))
    }

    /// Cuts the file off at so many bytes, or extends it with a hole: `IORING_OP_FTRUNCATE` (Linux 6.9; before that
    /// `ftruncate(2)` on the blocking pool). Writes that were dropped are waited for first; dropped itself, it may happen
    /// all the same, and what changes the file next waits for that.
    ///
    /// # Errors
    /// Those of std: `InvalidInput` if the file is not open for writing or the length exceeds 2^63 - 1, `FileTooLarge`, ….
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        truncate::set_len(&self.fd, len).await
    }

    /// What the file system knows of the file: `IORING_OP_STATX`, `statx(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn metadata(&self) -> Operation<'_, Statx<Metadata>> {
        Operation::on(&self.fd, Statx::open_file(self.fd.raw()))
    }

    /// Moves the position, and gives the new one, in bytes from the start: `lseek(2)`. It waits for dropped operations at
    /// the position, and for those of clones; the call itself is a direct one.
    ///
    /// # Errors
    /// Those of std: `InvalidInput` for a position before the start, `NotSeekable` (`ESPIPE`) for pipes and terminals.
    pub fn seek(&mut self, to: SeekFrom) -> Operation<'_, Seek> {
        Operation::on(&self.fd, Seek::new(self.fd.raw(), to))
    }

    /// The position, in bytes from the start: `lseek(2)`, as [`seek`](File::seek).
    ///
    /// # Errors
    /// As [`seek`](File::seek).
    pub fn stream_position(&mut self) -> Operation<'_, Seek> {
        self.seek(SeekFrom::Current(0))
    }

    /// Moves the position to the start: `lseek(2)`, as [`seek`](File::seek).
    ///
    /// # Errors
    /// As [`seek`](File::seek).
    pub fn rewind(&mut self) -> Operation<'_, Seek> {
        self.seek(SeekFrom::Start(0))
    }

    /// What became of the last write that was dropped in flight: how many bytes the kernel took, or the error that it met.
    /// Waits until it is known. `None` if no write has been dropped since the last call, or not before the kernel had it:
    /// such a write did nothing.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::{fs::File, time};
    /// use std::time::Duration;
    /// let file = File::from_std(tempfile::tempfile()?);
    ///
    /// // Better: `file.write_at(..).timeout(..)`, which gives the buffer back.
    /// if time::timeout(Duration::ZERO, file.write_at("first", 0)).await.is_err() {
    ///     match file.take_dropped_write().await {
    ///         None => println!("nothing was written"),
    ///         Some(fate) => println!("{} bytes were written", fate?),
    ///     }
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.fd.take_dropped_write().await
    }

    /// Closes the file and tells the error, which may be that of an earlier write (network file systems):
    /// `IORING_OP_CLOSE`, `close(2)`. Writes that were dropped are waited for first. Dropped early, it closes all the same.
    ///
    /// A file that was used on another loop, or on several, is closed there soon; errors are lost then.
    ///
    /// # Errors
    /// Those of the call. The file is closed in any case.
    pub async fn close(self) -> io::Result<()> {
        op::close(self.fd).await
    }

    /// Has the file get a place in the ring's table of registered files with its next operation, on the loop of its first one
    /// (`IORING_OP_FILES_UPDATE`, Linux 6.13): operations cost the kernel about 50 ns less then. Nothing else changes, and
    /// where there is no place to be had, nothing at all. Worth it from some five operations on; see
    /// [`Builder::registered_files`](crate::Builder::registered_files).
    pub fn register(&self) {
        self.fd.want_place();
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    // ---- conversions ------------------------------------------------------------------------------------------

    /// Another descriptor of the same open file: `fcntl(2)` with `F_DUPFD_CLOEXEC`. Both share the position, which
    /// operations of both take turns to use, and what dropped reads have left.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<File> {
        self.fd.try_clone().map(|fd| File { fd })
    }

    /// Takes a file of std's. Nothing else should use its position as long as operations at the position are in flight.
    pub fn from_std(file: std::fs::File) -> File {
        File::from(OwnedFd::from(file))
    }

    /// Gives the file to std. Operations that were dropped are ended first, which waits for what the kernel cannot cancel;
    /// [`take_dropped_write`](File::take_dropped_write) does that waiting without blocking.
    ///
    /// # Errors
    /// With the file, if dropped reads have received bytes from a pipe, which std would not see (see
    /// [`into_parts`](File::into_parts)), or if dropped operations are in flight on another loop.
    pub fn into_std(self) -> Result<std::fs::File, ConvertError<File>> {
        if let Err(error) = self.fd.settle_now() {
            return Err(ConvertError::new(error, self));
        }
        if self.fd.salvage_if_made().is_some_and(|salvage| salvage.has_items()) {
            return Err(ConvertError::unread(self));
        }
        self.give_away()
    }

    /// Gives the file to std together with the bytes that dropped reads have received from a pipe and nobody has read yet;
    /// of a file that has a position there are none.
    ///
    /// # Errors
    /// With the file, if dropped operations are in flight on another loop, or, away from its own loop, if no duplicate of
    /// the descriptor could be had.
    pub fn into_parts(self) -> Result<(std::fs::File, Vec<u8>), ConvertError<File>> {
        if let Err(error) = self.fd.settle_now() {
            return Err(ConvertError::new(error, self));
        }
        let salvage = self.fd.salvage_if_made().cloned();
        let file = self.give_away()?;
        Ok((file, salvage.map(|salvage| salvage.take_all_bytes()).unwrap_or_default()))
    }

    fn give_away(self) -> Result<std::fs::File, ConvertError<File>> {
        match self.fd.into_owned() {
            Ok(fd) => Ok(fd.into()),
            Err((error, fd)) => Err(ConvertError::new(error, File { fd })),
        }
    }
}

impl HasFd for File {
    fn ring_fd(&self) -> &Fd {
        &self.fd
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("fd", &self.fd.raw()).finish()
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File { fd: Fd::new(fd) }
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> File {
        File::from_std(file)
    }
}

/// For calls that this crate does not wrap. What is done with the descriptor is not ordered with the file's operations:
/// not with those in flight, nor with those that were dropped.
impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.borrow()
    }
}

/// As for [`AsFd`]; the number is valid as long as the file lives.
impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}
