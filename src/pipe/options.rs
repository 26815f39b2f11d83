//! Opening pipes that have a name.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::{End, Receiver, Sender, check};
use crate::fs::{File, OpenOptions as FileOptions};
use crate::sys;

/// How a FIFO is opened: tokio's options, with tokio's meaning.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::pipe;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("fifo");
/// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
/// let mut receiver = pipe::OpenOptions::new().open_receiver(&path).await?;
/// let mut sender = pipe::OpenOptions::new().open_sender(&path).await?;
/// sender.write_all("by name").await.0?;
/// drop(sender);
/// assert_eq!(receiver.read_to_end(Vec::new()).await.1, b"by name");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read_write: bool,
    unchecked: bool,
}

impl OpenOptions {
    /// For one direction, and only what is a FIFO.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// For both directions (`O_RDWR`, which Linux allows): a receiver that is its own writer never meets the end, a sender
    /// that is its own reader needs no other.
    pub fn read_write(&mut self, read_write: bool) -> &mut OpenOptions {
        self.read_write = read_write;
        self
    }

    /// Without a look at whether it is a FIFO.
    pub fn unchecked(&mut self, unchecked: bool) -> &mut OpenOptions {
        self.unchecked = unchecked;
        self
    }

    /// Opens the end that is read from, without waiting for a writer (the first read does): `IORING_OP_OPENAT`, `openat(2)`.
    /// Dropped early, it is closed again.
    ///
    /// # Errors
    /// `InvalidInput` for what is no FIFO; those of std: `NotFound`, `PermissionDenied`, ….
    pub async fn open_receiver(&self, path: impl AsRef<Path>) -> io::Result<Receiver> {
        self.open(path.as_ref(), End::Reading).await.map(Receiver::from_file_unchecked)
    }

    /// Opens the end that is written to, without waiting for a reader: `IORING_OP_OPENAT`, `openat(2)`. Dropped early, it is
    /// closed again.
    ///
    /// # Errors
    /// `ENXIO` if nobody has it open for reading (to wait for that, open it as an
    /// [`fs::File`](crate::fs::OpenOptions::open) and use [`Sender::from_file`]); `InvalidInput` for what is no FIFO; those
    /// of std.
    pub async fn open_sender(&self, path: impl AsRef<Path>) -> io::Result<Sender> {
        self.open(path.as_ref(), End::Writing).await.map(Sender::from_file_unchecked)
    }

    async fn open(&self, path: &Path, end: End) -> io::Result<File> {
        let mut options = FileOptions::new();
        options.read(self.read_write || matches!(end, End::Reading));
        options.write(self.read_write || matches!(end, End::Writing));
        let unchecked = self.unchecked;
        let opening = options.custom_flags(libc::O_NONBLOCK).open(path);
        let file = opening.await?;
        let fd = file.as_raw_fd();
        if !unchecked {
            check(fd, end)?;
        }
        // It was only the open that was not to wait, and nobody else has this one.
        sys::set_status_flags(fd, sys::status_flags(fd)? & !libc::O_NONBLOCK)?;
        Ok(file)
    }
}
