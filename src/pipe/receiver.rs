//! The end that is read from.

use std::fmt;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{End, check};
use crate::buf::{IoBufMut, IoVecBufMut};
use crate::convert::ConvertError;
use crate::fd::{Fd, HasFd};
use crate::fs::File;
use crate::op::{AT_POSITION, Operation, PollAdd, Read, ReadLease, ReadToEnd, Reading, Readv, Receive};

/// The end of a pipe that is read from.
///
/// It is `Send` and `Sync`. Dropping it cancels what it still has in flight and closes it in the background; who writes gets
/// `BrokenPipe` then.
pub struct Receiver {
    file: File,
}

impl Receiver {
    /// Reads up to the buffer's capacity into its start, waiting until there is something: `IORING_OP_READ`, `read(2)`. The
    /// buffer's length is the number of bytes read, 0 when the last sender has gone. A FIFO that nobody has opened for
    /// writing yet is not at its end; the first writer is awaited.
    ///
    /// Dropped early, it has not happened: the next read gives the bytes.
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a buffer without capacity. The buffer comes back.
    pub fn read<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        self.file.read(buf)
    }

    /// Reads behind what the buffer holds, up to its capacity, and gives the number of bytes read: `IORING_OP_READ`,
    /// `read(2)`. Dropped early it is as [`read`](Receiver::read).
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a full buffer. The buffer comes back.
    pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        self.file.read_append(buf)
    }

    /// Reads exactly `len` bytes into the buffer's start: `IORING_OP_READ`, `read(2)`, as often as needed. Dropped early it
    /// is as [`read`](Receiver::read), with all that it had read.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before that; `InvalidInput` if the capacity is less; those of std. The buffer comes
    /// back with what was read, which counts as read.
    pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Read<B>> {
        self.file.read_exact(buf, len)
    }

    /// Reads into several buffers, each filled before the next: `IORING_OP_READV`, `readv(2)`. At most 1,024 of them are
    /// used. Dropped early it is as [`read`](Receiver::read).
    ///
    /// # Errors
    /// As [`read`](Receiver::read).
    pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
        self.file.read_vectored(bufs)
    }

    /// Reads all that comes, until the last sender has gone, behind what the vector holds, and gives the number of bytes
    /// read: `IORING_OP_READ`, `read(2)`. Dropped early it is as [`read`](Receiver::read), with all that it had read.
    ///
    /// # Errors
    /// Those of std, `OutOfMemory` among them. The vector comes back with what was read, which counts as read.
    pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
        self.file.read_to_end(buf)
    }

    /// Reads what is there into a buffer of the loop's, which is picked when something comes, so that a pipe that idles ties up
    /// none: `IORING_OP_READ` with `IOSQE_BUFFER_SELECT`, `read(2)`. `None` when the last sender has gone. Dropped early it is as
    /// [`read`](Receiver::read).
    ///
    /// # Errors
    /// Those of std; `OutOfMemory` if the loop can have no buffers.
    pub fn read_lease(&mut self) -> Receive<'_, ReadLease> {
        Receive::at(self.file.fd(), AT_POSITION)
    }

    /// Reads piece by piece without asking for each, into buffers of the loop's.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// let (mut sender, mut receiver) = ringtoss::pipe::pipe()?;
    /// sender.write_all("down the pipe").await.0?;
    /// drop(sender);
    /// let mut pieces = receiver.read_stream();
    /// while let Some(lease) = pieces.next().await {
    ///     assert_eq!(&lease?[..], b"down the pipe");
    /// }
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn read_stream(&mut self) -> Reading<'_> {
        Reading::new(self.file.fd())
    }

    /// Waits until there is something to read, or no sender any more: `IORING_OP_POLL_ADD`, `poll(2)`. What a dropped read
    /// has left counts. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// Those of `poll(2)`.
    pub fn readable(&self) -> Operation<'_, PollAdd> {
        let fd = self.file.fd();
        Operation::on(fd, PollAdd::readable(fd.raw()))
    }

    /// Closes it: `IORING_OP_CLOSE`, `close(2)`. Dropped early, it closes all the same.
    ///
    /// # Errors
    /// Those of the call. It is closed in any case.
    pub async fn close(self) -> io::Result<()> {
        self.file.close().await
    }

    /// Another descriptor of the same end: `fcntl(2)` with `F_DUPFD_CLOEXEC`. Each byte goes to one of them; they share what
    /// dropped reads have left.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<Receiver> {
        self.file.try_clone().map(|file| Receiver { file })
    }

    /// Takes a descriptor that is a pipe, or a FIFO, open for reading. Whether it is non-blocking is left as it is.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else; it is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Receiver> {
        check(fd.as_raw_fd(), End::Reading)?;
        Ok(Receiver { file: File::from(fd) })
    }

    /// Takes a file that is a pipe, or a FIFO, open for reading, with what its dropped operations have left.
    ///
    /// # Errors
    /// `InvalidInput` if it is something else, with the file.
    pub fn from_file(file: File) -> Result<Receiver, ConvertError<File>> {
        match check(file.as_raw_fd(), End::Reading) {
            Ok(()) => Ok(Receiver { file }),
            Err(error) => Err(ConvertError::new(error, file)),
        }
    }

    /// The same without a look at what it is.
    pub fn from_file_unchecked(file: File) -> Receiver {
        Receiver { file }
    }

    /// Gives it to std. Operations that were dropped are ended first.
    ///
    /// # Errors
    /// With the receiver, if dropped reads have received bytes, which std would not see (see
    /// [`into_parts`](Receiver::into_parts)), if dropped operations are in flight on another loop, or, away from its own
    /// loop, if no duplicate of the descriptor could be had.
    pub fn into_std(self) -> Result<PipeReader, ConvertError<Receiver>> {
        match self.file.into_std() {
            Ok(file) => Ok(OwnedFd::from(file).into()),
            Err(failure) => Err(failure.map(|file| Receiver { file })),
        }
    }

    /// Gives it to std together with the bytes that dropped reads have received and nobody has read yet.
    ///
    /// # Errors
    /// With the receiver, if dropped operations are in flight on another loop, or, away from its own loop, if no duplicate
    /// of the descriptor could be had.
    pub fn into_parts(self) -> Result<(PipeReader, Vec<u8>), ConvertError<Receiver>> {
        match self.file.into_parts() {
            Ok((file, unread)) => Ok((OwnedFd::from(file).into(), unread)),
            Err(failure) => Err(failure.map(|file| Receiver { file })),
        }
    }
}

impl From<PipeReader> for Receiver {
    fn from(reader: PipeReader) -> Receiver {
        Receiver { file: File::from(OwnedFd::from(reader)) }
    }
}

/// With what its dropped operations have left.
impl From<Receiver> for File {
    fn from(receiver: Receiver) -> File {
        receiver.file
    }
}

impl HasFd for Receiver {
    fn ring_fd(&self) -> &Fd {
        self.file.ring_fd()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.file.as_raw_fd()).finish()
    }
}

/// For calls that this crate does not wrap; they are not ordered with the receiver's operations, and do not see what dropped
/// reads have left.
impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// As for [`AsFd`]; the number is valid as long as the receiver lives.
impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Receiver>();
};
