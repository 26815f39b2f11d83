//! Reading all that is left of a file or a stream into a vector that grows.

use std::os::fd::RawFd;

use super::large::Worker;
use super::position::{AT_POSITION, Position};
use super::read::MAX_TRANSFER;
use super::{Arena, Cqe, CutShort, Left, Next, Op, Sealed, Sqe};
use crate::buf::BufResult;
use crate::fd::Fd;
use crate::ring::LATE;
use crate::salvage::{Item, Lane, Salvage};

/// Room that is made at least when the vector is full.
const LEAST_ROOM: usize = 8 * 1024;

/// `IORING_OP_READ` until the end, `read(2)` at the file's position; of a stream `IORING_OP_RECV`, `recv(2)`. Appended
/// to a vector.
#[doc(alias = "IORING_OP_READ")]
#[doc(alias = "IORING_OP_RECV")]
#[derive(Debug)]
pub struct ReadToEnd {
    fd: RawFd,
    buf: Vec<u8>,
    /// What the vector held before.
    start: usize,
    source: Source,
    worker: Worker,
}

/// What is read from.
#[derive(Debug)]
enum Source {
    /// A file, at its position.
    File(Position),
    /// One that nobody else has, behind so many bytes.
    Own(u64),
    Stream,
}

impl ReadToEnd {
    pub(crate) fn new(fd: &Fd, buf: Vec<u8>) -> ReadToEnd {
        ReadToEnd {
            fd: fd.raw(),
            start: buf.len(),
            buf,
            source: Source::File(Position::of(fd)),
            worker: Worker::default(),
        }
    }

    pub(crate) fn of_stream(fd: RawFd, buf: Vec<u8>) -> ReadToEnd {
        ReadToEnd { fd, start: buf.len(), buf, source: Source::Stream, worker: Worker::default() }
    }

    /// Of a file that nobody else has, from its start. What the vector holds has been read.
    pub(crate) fn of_own_file(fd: &Fd, buf: Vec<u8>) -> ReadToEnd {
        let source = if fd.takes_offsets() { Source::Own(buf.len() as u64) } else { Source::File(Position::of(fd)) };
        ReadToEnd { fd: fd.raw(), start: buf.len(), buf, source, worker: Worker::default() }
    }

    fn done(&self) -> usize {
        self.buf.len() - self.start
    }

    /// Makes room: twice as much each time, so that the copies stay few. Without memory it is an error, as in std.
    fn reserve(&mut self) -> Result<(), i32> {
        if self.buf.len() < self.buf.capacity() {
            return Ok(());
        }
        self.buf.try_reserve(self.buf.len().max(LEAST_ROOM)).map_err(|_| libc::ENOMEM)
    }
}

impl Sealed for ReadToEnd {}

// SAFETY: the vector's bytes are on the heap and stay put while the value is moved; it grows only when it is prepared,
// that is, when the kernel has no entry of it.
unsafe impl Op for ReadToEnd {
    type Output = BufResult<usize, Vec<u8>>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        self.reserve()?;
        let room = self.buf.spare_capacity_mut();
        let (address, len) = (room.as_mut_ptr() as u64, room.len().min(MAX_TRANSFER) as u32);
        let read = Sqe::new(io_uring::opcode::Read::CODE).fd(self.fd).addr(address).len(len);
        *sqe = match &mut self.source {
            Source::Stream => Sqe::new(io_uring::opcode::Recv::CODE).fd(self.fd).addr(address).len(len),
            Source::File(position) => match position.begin(self.fd) {
                Some(instead) => instead,
                None => self.worker.sparing_loop(read.offset(AT_POSITION)),
            },
            Source::Own(offset) => self.worker.sparing_loop(read.offset(*offset)),
        };
        Ok(())
    }

    fn without_worker(&mut self) -> bool {
        self.done() == 0 && self.worker.refuse()
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if let Source::File(position) = &mut self.source
            && let Some(next) = position.read(self.fd, cqe)
        {
            return next;
        }
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result > 0 {
            let len = self.buf.len() + cqe.result as usize;
            debug_assert!(len <= self.buf.capacity(), "the kernel wrote within the room");
            // SAFETY: the kernel (or salvage) has written so many bytes behind the length.
            unsafe { self.buf.set_len(len) };
            if let Source::Own(offset) = &mut self.source {
                *offset += cqe.result as u64;
            }
            return Next::Again;
        }
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let done = self.done();
        let result = match cqe.ok() {
            Ok(_) => Ok(done),
            Err(_) if matches!(-cqe.result, libc::ECANCELED | libc::ETIMEDOUT | LATE) => {
                Err(CutShort::error(-cqe.result, done))
            }
            Err(error) => Err(error),
        };
        (result, self.buf)
    }

    fn lane(&self) -> Lane {
        match self.source {
            Source::File(_) => Lane::PositionRead,
            Source::Own(_) => Lane::Free,
            Source::Stream => Lane::Receive,
        }
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let undo = match &self.source {
            Source::File(position) => Some(position.undo(self.done())),
            Source::Own(_) | Source::Stream => None,
        };
        let bytes = (self.done() > 0).then(|| Item::Bytes(self.buf.split_off(self.start)));
        let then = match cqe.result {
            0 => Some(Item::End),
            result if result < 0 && !cqe.cancelled() => Some(Item::Error(-result)),
            _ => None,
        };
        let items = bytes.into_iter().chain(then).collect();
        match undo {
            Some(undo) => Left::Position { undo, items },
            None => Left::Received(items),
        }
    }

    fn abandon(&mut self) {
        if let Source::File(position) = &mut self.source {
            position.abandon();
        }
    }

    fn progress(&self) -> usize {
        self.done()
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        if let Err(errno) = self.reserve() {
            return Some(Cqe::of(-errno));
        }
        let room = self.buf.spare_capacity_mut();
        let (address, len) = (room.as_mut_ptr().cast::<u8>(), room.len().min(MAX_TRANSFER));
        salvage.take_bytes(len, false, &mut |bytes| {
            // SAFETY: the room is ours to write, and `bytes` is at most as long and lies elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address, bytes.len()) };
        })
    }
}
