//! What is done to a range of a file without moving bytes through user space: `IORING_OP_FALLOCATE`, `IORING_OP_FADVISE`,
//! `IORING_OP_SYNC_FILE_RANGE`. The kernel makes these calls in a worker thread.

use std::io;
use std::os::fd::RawFd;

use super::at::Duplicate;
use super::{Arena, Cqe, Link, Next, Op, Sealed, Sqe};
use crate::salvage::Lane;

/// `IORING_OP_FALLOCATE`: `fallocate(2)`, on a duplicate of its own.
#[doc(alias = "IORING_OP_FALLOCATE")]
#[derive(Debug)]
pub struct Fallocate {
    fd: Duplicate,
    mode: i32,
    offset: u64,
    len: u64,
    newer: Option<&'static str>,
}

impl Fallocate {
    /// `mode` is `FALLOC_FL_*` of `fallocate(2)`; `newer` is what to say if the kernel does not know it.
    pub(crate) fn new(fd: RawFd, mode: i32, offset: u64, len: u64, newer: Option<&'static str>) -> Fallocate {
        Fallocate { fd: Duplicate::of(fd), mode, offset, len, newer }
    }

    /// Whether bytes behind the range move, too; such a call is not one to be made twice.
    fn shifts(&self) -> bool {
        self.mode & (libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE) != 0
    }
}

impl Sealed for Fallocate {}

// SAFETY: the entry holds no address; what lies in that field is a length.
unsafe impl Op for Fallocate {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::Fallocate::CODE)
            .fd(self.fd.number()?)
            .offset(self.offset)
            .addr(self.len)
            .len(self.mode as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() && !self.shifts() { Next::Again } else { Next::Done(cqe) }
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        match (self.newer, cqe.result) {
            (Some(newer), errno) if errno == -libc::EOPNOTSUPP => {
                Err(io::Error::new(io::ErrorKind::Unsupported, newer))
            }
            // How a call that was stopped in the kernel ends.
            _ if cqe.interrupted() => Err(io::ErrorKind::Interrupted.into()),
            _ => cqe.ok().map(drop),
        }
    }

    /// As a write to the range: it waits for those that were dropped, and once dropped it is waited for.
    fn lane(&self) -> Lane {
        let end = if self.shifts() { u64::MAX } else { self.offset.saturating_add(self.len) };
        Lane::WriteAt { start: self.offset, end }
    }
}

/// `IORING_OP_FADVISE`: `posix_fadvise(2)`, on a duplicate of its own.
#[doc(alias = "IORING_OP_FADVISE")]
#[derive(Debug)]
pub struct Fadvise {
    fd: Duplicate,
    offset: u64,
    len: u32,
    advice: i32,
}

impl Fadvise {
    /// A length of 0 reaches to the end.
    pub(crate) fn new(fd: RawFd, offset: u64, len: u32, advice: i32) -> Fadvise {
        Fadvise { fd: Duplicate::of(fd), offset, len, advice }
    }
}

impl Sealed for Fadvise {}

// SAFETY: the entry holds no address.
unsafe impl Op for Fadvise {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::Fadvise::CODE)
            .fd(self.fd.number()?)
            .offset(self.offset)
            .len(self.len)
            .op_flags(self.advice as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }
}

/// `IORING_OP_SYNC_FILE_RANGE`: `sync_file_range(2)`. A worker thread that comes late to the number does another file no
/// harm.
#[doc(alias = "IORING_OP_SYNC_FILE_RANGE")]
#[derive(Debug)]
pub struct SyncFileRange {
    fd: RawFd,
    offset: u64,
    len: u32,
    flags: u32,
}

impl SyncFileRange {
    /// `flags` are `SYNC_FILE_RANGE_*`; a length of 0 reaches to the end.
    pub(crate) fn new(fd: RawFd, offset: u64, len: u32, flags: u32) -> SyncFileRange {
        SyncFileRange { fd, offset, len, flags }
    }
}

impl Sealed for SyncFileRange {}

// SAFETY: the entry holds no address.
unsafe impl Op for SyncFileRange {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::SyncFileRange::CODE)
            .fd(self.fd)
            .offset(self.offset)
            .len(self.len)
            .op_flags(self.flags);
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

impl Link for Fadvise {}

impl Link for Fallocate {}

impl Link for SyncFileRange {}
