//! Reading and writing.

use super::File;
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::op::{
    AT_POSITION, All, Fill, NO_OFFSET, Operation, Place, Read, ReadLease, ReadToEnd, Readv, Receive, Write, Writev,
};

/// # Reading and writing at an offset
///
/// Any number of these may be in flight; the file's position plays no part. Offsets are in bytes from the file's start, at
/// most 2^63 - 1. One call moves at most 2,147,479,552 bytes; what is to be moved exactly takes as many as it needs. They
/// fail with `NotSeekable` (`ESPIPE`) on pipes and terminals.
///
/// With `O_DIRECT` (see [`AlignedBuf`](crate::buf::AlignedBuf)) address, offset and the length that is asked for have
/// to be aligned. For `read_at` that length is the buffer's capacity, so it reads the tail of a file of any size;
/// `read_exact_at` asks for `len`, and for one that is not aligned it is `InvalidInput`.
impl File {
    /// Reads up to the buffer's capacity from an offset into its start: `IORING_OP_READ`, `pread(2)`. The buffer's length
    /// is the number of bytes read, 0 at the end of the file. Dropped early, nothing has happened.
    ///
    /// A read that the loop has nothing to do beside is made by `preadv2(2)` if the page cache has it all (`RWF_NOWAIT`), or if the file
    /// is in memory itself (tmpfs, memfd), which `fcntl(2)` tells (`F_GET_SEALS`). Who wants `O_DIRECT` says so when the file is opened: set
    /// later, by its number, such a read may wait for the device.
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a buffer without capacity. The buffer comes back.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Operation<'_, Read<B>> {
        let cached = self.fd.may_be_cached();
        Operation::on(&self.fd, Read::cached(self.fd.raw(), Fill::some(buf), self.offset(offset), cached))
    }

    /// Reads from an offset into a buffer of the loop's, as much as that holds: `IORING_OP_READ` with `IOSQE_BUFFER_SELECT`,
    /// `pread(2)`. `None` at the end of the file. Dropped early, nothing has happened. See
    /// [`Builder::lease_buffers`](crate::Builder::lease_buffers).
    ///
    /// # Errors
    /// Those of std; `OutOfMemory` if the loop can have no buffers.
    pub fn read_lease_at(&self, offset: u64) -> Receive<'_, ReadLease> {
        Receive::at(&self.fd, self.offset(offset))
    }

    /// Reads exactly `len` bytes from an offset into the buffer's start: `IORING_OP_READ`, `pread(2)`, as often as needed.
    /// Dropped early, nothing has happened. As with [`read_at`](File::read_at), the ring is not always asked.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before that; `InvalidInput` if the capacity is less; those of std. The buffer comes
    /// back with what was read.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn read_exact_at<B: IoBufMut>(&self, buf: B, len: usize, offset: u64) -> Operation<'_, Read<B>> {
        let cached = self.fd.may_be_cached();
        Operation::on(&self.fd, Read::cached(self.fd.raw(), Fill::exact(buf, len), self.offset(offset), cached))
    }

    /// Reads from an offset into several buffers, each filled before the next: `IORING_OP_READV`, `preadv(2)`. At most
    /// 1,024 of them are used. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// As [`read_at`](File::read_at).
    pub fn read_vectored_at<V: IoVecBufMut>(&self, bufs: V, offset: u64) -> Operation<'_, Readv<V>> {
        Operation::on(&self.fd, Readv::new(self.fd.raw(), bufs, Place::File(self.offset(offset))))
    }

    /// Writes the buffer at an offset and gives the number of bytes taken: `IORING_OP_WRITE`, `pwrite(2)`. To a file opened
    /// with `append` it writes at the end, whatever the offset.
    ///
    /// Dropped early, it may have been taken in part; writes to the same bytes wait until that is decided, and
    /// [`take_dropped_write`](File::take_dropped_write) tells.
    ///
    /// # Errors
    /// Those of std: `StorageFull`, `FileTooLarge`, …. The buffer comes back.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<'_, Write<B>> {
        Operation::on(&self.fd, Write::at(self.fd.raw(), buf, self.offset(offset)))
    }

    /// Writes all of the buffer at an offset: `IORING_OP_WRITE`, `pwrite(2)`, as often as needed. Dropped early it is as
    /// [`write_at`](File::write_at).
    ///
    /// # Errors
    /// `WriteZero` if the file takes no more; those of std. The buffer comes back; how much was written is told only of an
    /// operation that was cut short (see [`transferred`](crate::op::transferred)).
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<'_, All<Write<B>>> {
        Operation::on(&self.fd, Write::all_at(self.fd.raw(), buf, self.offset(offset)))
    }

    /// Writes several buffers, one after the other, at an offset, and gives the number of bytes taken: `IORING_OP_WRITEV`,
    /// `pwritev(2)`. At most 1,024 of them are used. Dropped early it is as [`write_at`](File::write_at).
    ///
    /// # Errors
    /// Those of std. The buffers come back.
    pub fn write_vectored_at<V: IoVecBuf>(&self, bufs: V, offset: u64) -> Operation<'_, Writev<V>> {
        Operation::on(&self.fd, Writev::new(self.fd.raw(), bufs, Place::File(self.offset(offset))))
    }

    /// An offset as operations take it. The ones that mean something else to them are as invalid as their neighbours.
    #[inline]
    pub(super) fn offset(&self, offset: u64) -> u64 {
        if self.fd.takes_offsets() { offset.min(NO_OFFSET - 1) } else { NO_OFFSET }
    }
}

/// # Reading and writing at the position
///
/// One after the other; also for pipes, terminals and devices, which have no position. Clones of a file take turns.
impl File {
    /// Reads up to the buffer's capacity into its start: `IORING_OP_READ`, `read(2)`. The buffer's length is the number of
    /// bytes read, 0 at the end. Dropped early, it has not happened: the position is moved back, or the next read gives
    /// the bytes.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::File;
    /// let mut file = File::open("/proc/self/status").await?;
    /// let mut status = Vec::new();
    /// let mut buf = Vec::with_capacity(64);
    /// loop {
    ///     let result;
    ///     (result, buf) = file.read(buf).await;
    ///     if result? == 0 {
    ///         break;
    ///     }
    ///     status.extend_from_slice(&buf);
    /// }
    /// assert!(status.starts_with(b"Name:"));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a buffer without capacity. The buffer comes back.
    pub fn read<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        Operation::on(&self.fd, Read::some(&self.fd, buf))
    }

    /// Reads at the position into a buffer of the loop's, as much as that holds: `IORING_OP_READ` with `IOSQE_BUFFER_SELECT`,
    /// `read(2)`. `None` at the end. Dropped early it is as [`read`](File::read).
    ///
    /// # Errors
    /// Those of std; `OutOfMemory` if the loop can have no buffers.
    pub fn read_lease(&mut self) -> Receive<'_, ReadLease> {
        Receive::at(&self.fd, AT_POSITION)
    }

    /// Reads behind what the buffer holds, up to its capacity, and gives the number of bytes read: `IORING_OP_READ`,
    /// `read(2)`. Dropped early it is as [`read`](File::read).
    ///
    /// # Errors
    /// Those of std; `InvalidInput` for a full buffer. The buffer comes back.
    pub fn read_append<B: IoBufMut>(&mut self, buf: B) -> Operation<'_, Read<B>> {
        Operation::on(&self.fd, Read::append(&self.fd, buf))
    }

    /// Reads exactly `len` bytes into the buffer's start: `IORING_OP_READ`, `read(2)`, as often as needed. Dropped early it
    /// is as [`read`](File::read), with all that it had read.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before that; `InvalidInput` if the capacity is less; those of std. The buffer comes
    /// back with what was read, which counts as read.
    pub fn read_exact<B: IoBufMut>(&mut self, buf: B, len: usize) -> Operation<'_, Read<B>> {
        Operation::on(&self.fd, Read::exact(&self.fd, buf, len))
    }

    /// Reads into several buffers, each filled before the next: `IORING_OP_READV`, `readv(2)`. At most 1,024 of them are
    /// used. Dropped early it is as [`read`](File::read).
    ///
    /// # Errors
    /// As [`read`](File::read).
    pub fn read_vectored<V: IoVecBufMut>(&mut self, bufs: V) -> Operation<'_, Readv<V>> {
        Operation::on(&self.fd, Readv::at_position(&self.fd, bufs))
    }

    /// Reads all that is left behind what the vector holds, and gives the number of bytes read: `IORING_OP_READ`,
    /// `read(2)`, until the end. Dropped early it is as [`read`](File::read), with all that it had read.
    ///
    /// # Errors
    /// Those of std, `OutOfMemory` among them. The vector comes back with what was read, which counts as read.
    pub fn read_to_end(&mut self, buf: Vec<u8>) -> Operation<'_, ReadToEnd> {
        Operation::on(&self.fd, ReadToEnd::new(&self.fd, buf))
    }

    /// Writes the buffer and gives the number of bytes taken: `IORING_OP_WRITE`, `write(2)`. Dropped early, it may have been
    /// taken in part; what comes next waits until that is decided, and
    /// [`take_dropped_write`](File::take_dropped_write) tells.
    ///
    /// # Errors
    /// Those of std: `StorageFull`, `BrokenPipe`, …. The buffer comes back.
    pub fn write<B: IoBuf>(&mut self, buf: B) -> Operation<'_, Write<B>> {
        Operation::on(&self.fd, Write::some(&self.fd, buf))
    }

    /// Writes all of the buffer: `IORING_OP_WRITE`, `write(2)`, as often as needed. Dropped early it is as
    /// [`write`](File::write).
    ///
    /// # Errors
    /// `WriteZero` if the file takes no more; those of std. The buffer comes back; how much was written is told only of an
    /// operation that was cut short (see [`transferred`](crate::op::transferred)).
    pub fn write_all<B: IoBuf>(&mut self, buf: B) -> Operation<'_, All<Write<B>>> {
        Operation::on(&self.fd, Write::all(&self.fd, buf))
    }

    /// Writes several buffers, one after the other, and gives the number of bytes taken: `IORING_OP_WRITEV`, `writev(2)`.
    /// At most 1,024 of them are used. Dropped early it is as [`write`](File::write).
    ///
    /// # Errors
    /// As [`write`](File::write). The buffers come back.
    pub fn write_vectored<V: IoVecBuf>(&mut self, bufs: V) -> Operation<'_, Writev<V>> {
        Operation::on(&self.fd, Writev::at_position(&self.fd, bufs))
    }
}
