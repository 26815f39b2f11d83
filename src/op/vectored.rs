//! Reading into and writing from several buffers at once: `IORING_OP_READV`, `IORING_OP_WRITEV`, `IORING_OP_SENDMSG`.
//!
//! The iovecs are read by the kernel while it takes the entry, so they live in the arena and cost no allocation.

use std::io;
use std::os::fd::RawFd;

use super::flags::{appends, told_of_flags, unknown_flags};
use super::large::Worker;
use super::message::{MAX_IOVECS, outgoing, send_message};
use super::position::{AT_POSITION, NO_OFFSET, Position};
use super::read::MAX_TRANSFER;
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe, fixed};
use crate::buf::{BufResult, IoVecBuf, IoVecBufMut};
use crate::fd::Fd;
use crate::salvage::{Item, Lane, Salvage};

/// What kind of object the buffers go to or come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file at an offset, or at its position ([`AT_POSITION`]).
    File(u64),
    /// A stream socket.
    Stream,
}

/// `IORING_OP_READV`: `preadv(2)`, `readv(2)`.
#[doc(alias = "IORING_OP_READV")]
#[derive(Debug)]
pub struct Readv<V> {
    fd: RawFd,
    /// `RWF_*` of `preadv2(2)`.
    flags: u32,
    place: Place,
    bufs: V,
    done: usize,
    position: Position,
    /// By the pages that the kernel knows, or not.
    fixed: fixed::Vectored,
    worker: Worker,
}

impl<V: IoVecBufMut> Readv<V> {
    pub(crate) fn new(fd: RawFd, bufs: V, place: Place) -> Readv<V> {
        Readv {
            fd,
            flags: 0,
            place,
            bufs,
            done: 0,
            position: Position::new(),
            fixed: fixed::Vectored::Plain,
            worker: Worker::default(),
        }
    }

    pub(crate) fn at_position(fd: &Fd, bufs: V) -> Readv<V> {
        Readv { position: Position::of(fd), ..Readv::new(fd.raw(), bufs, Place::File(AT_POSITION)) }
    }

    /// With flags of `preadv2(2)`.
    pub(crate) fn with_flags(self, flags: u32) -> Readv<V> {
        Readv { flags, ..self }
    }
}

impl<V> Sealed for Readv<V> {}

// SAFETY: the iovecs are in the arena and read while the entry is taken; what they point to is inside the buffers, which
// `IoVecBufMut` promises to stay put while it is moved.
unsafe impl<V: IoVecBufMut> Op for Readv<V> {
    type Output = BufResult<usize, V>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let count = self.bufs.buf_count().min(MAX_IOVECS);
        let mut total = 0usize;
        let address = arena.array(count, |index| {
            let (base, len) = self.bufs.window_mut(index);
            total = total.saturating_add(len);
            libc::iovec { iov_base: base.cast(), iov_len: len }
        });
        if total == 0 {
            return Err(libc::EINVAL);
        }
        if self.place == Place::File(AT_POSITION)
            && let Some(instead) = self.position.begin(self.fd)
        {
            *sqe = instead;
            return Ok(());
        }
        let offset = match self.place {
            Place::File(NO_OFFSET) => return Err(libc::ESPIPE),
            Place::File(offset) if offset != AT_POSITION && offset > i64::MAX as u64 => return Err(libc::EINVAL),
            Place::File(offset) => offset,
            Place::Stream => AT_POSITION,
        };
        *sqe = Sqe::new(io_uring::opcode::Readv::CODE)
            .fd(self.fd)
            .addr(address)
            .len(count as u32)
            .offset(offset)
            .op_flags(self.flags);
        if self.place != Place::File(AT_POSITION) {
            self.fixed.prefer(sqe, self.bufs.registered(), arena);
        }
        self.worker.spare_loop(sqe, total);
        Ok(())
    }

    fn without_worker(&mut self) -> bool {
        self.done == 0 && self.worker.refuse()
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if self.fixed.refused(cqe) {
            return Next::Again;
        }
        if self.place == Place::File(AT_POSITION)
            && let Some(next) = self.position.read(self.fd, cqe)
        {
            return next;
        }
        if cqe.interrupted() {
            return Next::Again;
        }
        self.done = cqe.result.max(0) as usize;
        Next::Done(cqe)
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let refused = (0..self.bufs.buf_count().min(MAX_IOVECS)).all(|index| self.bufs.window_mut(index).1 == 0);
        // SAFETY: the kernel (or salvage) has filled the buffers in order with so many bytes.
        unsafe { self.bufs.set_filled(self.done) };
        let result = match cqe.ok() {
            Ok(count) => Ok(count as usize),
            Err(_) if refused => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a vectored read into buffers without capacity: reserve some, or it could not tell the end",
            )),
            Err(error) => Err(unknown_flags(self.flags, cqe).unwrap_or(error)),
        };
        (result, self.bufs)
    }

    fn lane(&self) -> Lane {
        match self.place {
            Place::Stream => Lane::Receive,
            Place::File(AT_POSITION) => Lane::PositionRead,
            Place::File(_) => Lane::Free,
        }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let mut bytes = Vec::with_capacity(self.done);
        for index in 0..self.bufs.buf_count().min(MAX_IOVECS) {
            let (base, len) = self.bufs.window_mut(index);
            let count = len.min(self.done - bytes.len());
            // SAFETY: the kernel has filled the buffers in order with `done` bytes in all.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(base, count) });
        }
        let then = match cqe.result {
            0 => Some(Item::End),
            result if result < 0 && !cqe.cancelled() => Some(Item::Error(-result)),
            _ => None,
        };
        let bytes = (!bytes.is_empty()).then_some(Item::Bytes(bytes));
        match self.place {
            Place::Stream => Left::Received(bytes.into_iter().chain(then).collect()),
            Place::File(_) => {
                Left::Position { undo: self.position.undo(self.done), items: bytes.into_iter().chain(then).collect() }
            }
        }
    }

    fn abandon(&mut self) {
        self.position.abandon();
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        let mut total = 0;
        for index in 0..self.bufs.buf_count().min(MAX_IOVECS) {
            let (base, len) = self.bufs.window_mut(index);
            if len == 0 {
                continue;
            }
            let len = len.min(MAX_TRANSFER - total as usize);
            let cqe = salvage.take_bytes(len, false, &mut |bytes| {
                // SAFETY: the window is ours to write, and `bytes` is at most as long and lies elsewhere.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), base, bytes.len()) };
            });
            match cqe {
                Some(cqe) if total == 0 && cqe.result <= 0 => return Some(cqe),
                Some(cqe) => total += cqe.result,
                None => break,
            }
            // The next buffer is filled only when this one is full.
            if (cqe.map_or(0, |cqe| cqe.result) as usize) < len || !salvage.has_bytes() {
                break;
            }
        }
        (total > 0).then_some(Cqe::of(total))
    }
}

/// `IORING_OP_WRITEV` on files, `IORING_OP_SENDMSG` on sockets: `pwritev(2)`, `writev(2)`, `sendmsg(2)`.
#[doc(alias = "IORING_OP_WRITEV")]
#[doc(alias = "IORING_OP_SENDMSG")]
#[derive(Debug)]
pub struct Writev<V> {
    fd: RawFd,
    /// `RWF_*` of `pwritev2(2)`.
    flags: u32,
    place: Place,
    bufs: V,
    done: usize,
    position: Position,
    /// By the pages that the kernel knows, or not.
    fixed: fixed::Vectored,
    worker: Worker,
}

impl<V: IoVecBuf> Writev<V> {
    pub(crate) fn new(fd: RawFd, bufs: V, place: Place) -> Writev<V> {
        Writev {
            fd,
            flags: 0,
            place,
            bufs,
            done: 0,
            position: Position::new(),
            fixed: fixed::Vectored::Plain,
            worker: Worker::default(),
        }
    }

    pub(crate) fn at_position(fd: &Fd, bufs: V) -> Writev<V> {
        Writev { position: Position::of(fd), ..Writev::new(fd.raw(), bufs, Place::File(AT_POSITION)) }
    }

    /// With flags of `pwritev2(2)`.
    pub(crate) fn with_flags(self, flags: u32) -> Writev<V> {
        Writev { flags, ..self }
    }

    pub(super) fn len(&self) -> usize {
        (0..self.bufs.buf_count()).map(|index| self.bufs.window(index).1).sum()
    }

    pub(super) fn into_bufs(self) -> V {
        self.bufs
    }
}

impl<V> Sealed for Writev<V> {}

// SAFETY: iovecs and message header are in the arena and read while the entry is taken; what they point to is inside the
// buffers, which `IoVecBuf` promises to stay put while it is moved.
unsafe impl<V: IoVecBuf> Op for Writev<V> {
    type Output = BufResult<usize, V>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        if self.place == Place::File(AT_POSITION)
            && let Some(instead) = self.position.begin(self.fd)
        {
            *sqe = instead;
            return Ok(());
        }
        let count = self.bufs.buf_count().min(MAX_IOVECS);
        let address = outgoing(&self.bufs, count, arena);
        match self.place {
            Place::File(NO_OFFSET) => Err(libc::ESPIPE),
            Place::File(offset) if offset != AT_POSITION && offset > i64::MAX as u64 => Err(libc::EINVAL),
            Place::File(offset) => {
                *sqe = Sqe::new(io_uring::opcode::Writev::CODE)
                    .fd(self.fd)
                    .addr(address)
                    .len(count as u32)
                    .offset(offset)
                    .op_flags(self.flags);
                if offset != AT_POSITION {
                    self.fixed.prefer(sqe, self.bufs.registered(), arena);
                }
                self.worker.spare_loop(sqe, self.len());
                Ok(())
            }
            Place::Stream => {
                *sqe = send_message(self.fd, address, count, None, arena);
                Ok(())
            }
        }
    }

    fn without_worker(&mut self) -> bool {
        self.done == 0 && self.worker.refuse()
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if self.fixed.refused(cqe) {
            return Next::Again;
        }
        if self.place == Place::File(AT_POSITION) {
            self.position.wrote(self.fd, cqe);
        }
        if cqe.interrupted() {
            return Next::Again;
        }
        self.done = cqe.result.max(0) as usize;
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        told_of_flags(self.flags, cqe, (cqe.ok().map(|count| count as usize), self.bufs))
    }

    fn lane(&self) -> Lane {
        match self.place {
            Place::Stream => Lane::Send,
            Place::File(AT_POSITION) => Lane::PositionWrite,
            Place::File(_) if appends(self.flags) => Lane::WriteAt { start: 0, end: u64::MAX },
            Place::File(start) => Lane::WriteAt { start, end: start.saturating_add(self.len() as u64) },
        }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let fate = if cqe.result < 0 && !cqe.cancelled() { Err(-cqe.result) } else { Ok(self.done) };
        Left::Written { fate, last_step: self.position.last_step() }
    }

    fn abandon(&mut self) {
        self.position.abandon();
    }
}
