//! What is done to an open file as a whole: `IORING_OP_FSYNC`, `IORING_OP_FTRUNCATE`, and moving its position.

use std::io::{self, SeekFrom};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::at::Duplicate;
use super::{Arena, Cqe, Link, Next, Op, Sealed, Sqe};
use crate::salvage::Lane;
use crate::sys;

/// `IORING_OP_FSYNC`: `fsync(2)`, `fdatasync(2)`.
#[doc(alias = "IORING_OP_FSYNC")]
#[derive(Debug)]
pub struct Fsync {
    fd: RawFd,
    data_only: bool,
    _directory: Option<Arc<OwnedFd>>,
}

/// `IORING_FSYNC_DATASYNC`.
const DATASYNC: u32 = 1;

impl Fsync {
    pub(crate) fn new(fd: RawFd, data_only: bool) -> Fsync {
        Fsync { fd, data_only, _directory: None }
    }

    /// Of a directory, which is kept open until it is done.
    pub(crate) fn of_directory(dir: Arc<OwnedFd>) -> Fsync {
        Fsync { fd: dir.as_raw_fd(), data_only: false, _directory: Some(dir) }
    }
}

impl Sealed for Fsync {}

// SAFETY: the entry holds no address.
unsafe impl Op for Fsync {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let flags = if self.data_only { DATASYNC } else { 0 };
        *sqe = Sqe::new(io_uring::opcode::Fsync::CODE).fd(self.fd).op_flags(flags);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    fn lane(&self) -> Lane {
        Lane::Settle
    }
}

/// `IORING_OP_FTRUNCATE` (Linux 6.9): `ftruncate(2)`, on a duplicate of its own: a worker thread of the kernel's looks the
/// number up when it gets to it, and by then the file may be closed and the number another file's.
#[doc(alias = "IORING_OP_FTRUNCATE")]
#[derive(Debug)]
pub struct Ftruncate {
    fd: Duplicate,
    len: u64,
}

impl Ftruncate {
    pub(crate) fn new(fd: RawFd, len: u64) -> Ftruncate {
        Ftruncate { fd: Duplicate::of(fd), len }
    }
}

impl Sealed for Ftruncate {}

// SAFETY: the entry holds no address.
unsafe impl Op for Ftruncate {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::Ftruncate::CODE).fd(self.fd.number()?).offset(self.len);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    /// As a write to all of the file: it waits for those that were dropped, and once dropped it is waited for, because
    /// what it cuts off late is lost.
    fn lane(&self) -> Lane {
        Lane::WriteAt { start: 0, end: u64::MAX }
    }
}

/// `lseek(2)`, which the ring does not have: a direct call, made when no operation at the file's position is in flight,
/// clones of the file and dropped operations included.
#[derive(Debug)]
pub struct Seek {
    fd: RawFd,
    to: SeekFrom,
    position: Option<io::Result<u64>>,
}

impl Seek {
    pub(crate) fn new(fd: RawFd, to: SeekFrom) -> Seek {
        Seek { fd, to, position: None }
    }
}

impl Sealed for Seek {}

// SAFETY: there is never an entry.
unsafe impl Op for Seek {
    type Output = io::Result<u64>;

    fn prepare(&mut self, _sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (offset, whence) = match self.to {
            // As std: what does not fit is negative and refused.
            SeekFrom::Start(offset) => (offset as i64, libc::SEEK_SET),
            SeekFrom::End(offset) => (offset, libc::SEEK_END),
            SeekFrom::Current(offset) => (offset, libc::SEEK_CUR),
        };
        self.position = Some(sys::seek(self.fd, offset, whence));
        Err(0)
    }

    fn complete(self, cqe: Cqe) -> io::Result<u64> {
        cqe.ok()?;
        self.position.expect("the call was made when it was prepared")
    }

    fn lane(&self) -> Lane {
        Lane::PositionWrite
    }
}

impl Link for Fsync {}

impl Link for Ftruncate {}
