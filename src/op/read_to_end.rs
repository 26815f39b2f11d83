//! Reading all that is left of a file into a vector that grows.

use std::os::fd::RawFd;

use super::position::{AT_POSITION, Position};
use super::read::MAX_TRANSFER;
use super::{Arena, Cqe, CutShort, Left, Next, Op, Sealed, Sqe};
use crate::buf::BufResult;
use crate::fd::Fd;
use crate::salvage::{Item, Lane, Salvage};

/// Room that is made at least when the vector is full.
const LEAST_ROOM: usize = 8 * 1024;

/// `IORING_OP_READ` until the end: `read(2)` at the file's position, appended to a vector.
#[doc(alias = "IORING_OP_READ")]
#[derive(Debug)]
pub struct ReadToEnd {
    fd: RawFd,
    buf: Vec<u8>,
    /// What the vector held before.
    start: usize,
    position: Position,
}

impl ReadToEnd {
    pub(crate) fn new(fd: &Fd, buf: Vec<u8>) -> ReadToEnd {
        ReadToEnd { fd: fd.raw(), start: buf.len(), buf, position: Position::of(fd) }
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

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        self.reserve()?;
        if let Some(instead) = self.position.begin(self.fd) {
            *sqe = instead;
            return Ok(());
        }
        let room = self.buf.spare_capacity_mut();
        let len = room.len().min(MAX_TRANSFER) as u32;
        *sqe = Sqe::new(io_uring::opcode::Read::CODE)
            .fd(self.fd)
            .addr(room.as_mut_ptr() as u64)
            .len(len)
            .offset(AT_POSITION);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if let Some(next) = self.position.read(self.fd, cqe) {
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
            return Next::Again;
        }
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        let done = self.done();
        let result = match cqe.ok() {
            Ok(_) => Ok(done),
            Err(_) if matches!(-cqe.result, libc::ECANCELED | libc::ETIMEDOUT) => {
                Err(CutShort::error(-cqe.result, done))
            }
            Err(error) => Err(error),
        };
        (result, self.buf)
    }

    fn lane(&self) -> Lane {
        Lane::PositionRead
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let undo = self.position.undo(self.done());
        let bytes = (self.done() > 0).then(|| Item::Bytes(self.buf.split_off(self.start)));
        let then = match cqe.result {
            0 => Some(Item::End),
            result if result < 0 && !cqe.cancelled() => Some(Item::Error(-result)),
            _ => None,
        };
        Left::Position { undo, items: bytes.into_iter().chain(then).collect() }
    }

    fn abandon(&mut self) {
        self.position.abandon();
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
