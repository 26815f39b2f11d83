//! The end that is written to.

use std::fmt;
use std::io::{self, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{End, check};
use crate::buf::{IoBuf, IoVecBuf};
use crate::convert::ConvertError;
use crate::fd::{Fd, HasFd};
use crate::fs::File;
use crate::op::{All, Operation, PollAdd, Write, Writev};

/// The end of a pipe that is written to.
///
/// It is `Send` and `Sync`. Dropping it cancels what it still has in flight and closes it in the background; the receiver
/// meets the end when the last sender is gone.
pub struct Sender {
    file: File,
}

impl Sender {
    /// Writes the buffer and gives the number of bytes taken, waiting for room if there is none: `IORING_OP_WRITE`,
    /// `write(2)`. What is not longer than 4,096 bytes (`PIPE_BUF`) is taken as a whole. Dropped early, it may have been
    /// taken in part; the next write waits until that is decided, and [`take_dropped_write`](Sender::take_dropped_write)
    /// tells.
    ///
    /// # Errors
    /// `BrokenPipe` if there is no receiver; those of std. The buffer comes back.
    pub fn write<B: IoBuf>(&mut self, buf: B) -> Operation<'_, Write<B>> {
        self.file.write(buf)
    }

    /// Writes all of the buffer: `IORING_OP_WRITE`, `write(2)`, as often as needed. Dropped early it is as
    /// [`write`](Sender::write).
    ///
    /// # Errors
    /// As [`write`](Sender::write); how much was written is told only of an operation that was cut short (see
    /// [`transferred`](crate::op::transferred)).
    pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Write<B>>> {
        self.file.write_all(buf)
    }

    /// Writes several buffers, one after the other, and gives the number of bytes taken: `IORING_OP_WRITEV`, `writev(2)`.
    /// At most 1,024 of them are used. Dropped early it is as [`write`](Sender::write).
    ///
    /// # Errors
    /// As [`write`](Sender::write). The buffers come back.
    pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
        self.file.write_vectored(bufs)
    }

    /// Waits until there is room, or no receiver any more: `IORING_OP_POLL_ADD`, `poll(2)`. Dropped early, nothing has
    /// happened.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn writable(&self) -> Operation<'_, PollAdd> {
        let fd = self.file.fd();
        Operation::on(fd, PollAdd::new(fd.raw(), libc::POLLOUT))
    }

    /// What became of the last write that was dropped in flight: how many bytes the kernel took, or the error that it met.
    /// Waits until it is known. `None` if no write was dropped since the last call, or not before the kernel had it.
    pub async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.file.take_dropped_write().await
    }

    /// Closes it: `IORING_OP_CLOSE`, `close(2)`. Writes that were dropped are waited for first. Dropped early, it closes all
    /// the same.
    ///
    /// # Errors
    /// Those of the call. It is closed in any case.
    pub async fn close(self) -> io::Result<()> {
        self.file.close().await
    }

    /// Another descriptor of the same end: `fcntl(2)` with `F_DUPFD_CLOEXEC`. The two may write at once; what is not longer
    /// than 4,096 bytes is not mixed with what the other writes.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<Sender> {
        self.file.try_clone().map(|file| Sender { file })
    }

    /// Takes a descriptor that is a pipe, or a FIFO, open for writing. Whether it is non-blocking is left as it is.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else; it is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Sender> {
        check(fd.as_raw_fd(), End::Writing)?;
        Ok(Sender { file: File::from(fd) })
    }

    /// Takes a file that is a pipe, or a FIFO, open for writing, with what its dropped operations have left.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else, with the file.
    pub fn from_file(file: File) -> Result<Sender, ConvertError<File>> {
        match check(file.as_raw_fd(), End::Writing) {
            Ok(()) => Ok(Sender { file }),
            Err(error) => Err(ConvertError::new(error, file)),
        }
    }

    /// The same without a look at what it is.
    pub fn from_file_unchecked(file: File) -> Sender {
        Sender { file }
    }

    /// Gives it to std. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the sender, if dropped operations are in flight on another loop, or, away from its own loop, if no duplicate of
    /// the descriptor could be had.
    pub fn into_std(self) -> Result<PipeWriter, ConvertError<Sender>> {
        match self.file.into_std() {
            Ok(file) => Ok(OwnedFd::from(file).into()),
            Err(failure) => Err(failure.map(|file| Sender { file })),
        }
    }
}

impl From<PipeWriter> for Sender {
    fn from(writer: PipeWriter) -> Sender {
        Sender { file: File::from(OwnedFd::from(writer)) }
    }
}

/// With what its dropped operations have left.
impl From<Sender> for File {
    fn from(sender: Sender) -> File {
        sender.file
    }
}

impl HasFd for Sender {
    fn ring_fd(&self) -> &Fd {
        self.file.ring_fd()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("fd", &self.file.as_raw_fd()).finish()
    }
}

/// For calls that this crate does not wrap; they are not ordered with the sender's operations.
impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// As for [`AsFd`]; the number is valid as long as the sender lives.
impl AsRawFd for Sender {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Sender>();
};
