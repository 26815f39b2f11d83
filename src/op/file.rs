//! What is done to an open file as a whole: `IORING_OP_FSYNC`, `IORING_OP_FTRUNCATE`.

use std::io;
use std::os::fd::RawFd;

use super::{Arena, Cqe, Op, Sealed, Sqe};
use crate::salvage::Lane;

/// `IORING_OP_FSYNC`: `fsync(2)`, `fdatasync(2)`.
#[doc(alias = "IORING_OP_FSYNC")]
#[derive(Debug)]
pub struct Fsync {
    fd: RawFd,
    data_only: bool,
}

/// `IORING_FSYNC_DATASYNC`.
const DATASYNC: u32 = 1;

impl Fsync {
    pub(crate) fn new(fd: RawFd, data_only: bool) -> Fsync {
        Fsync { fd, data_only }
    }
}

impl Sealed for Fsync {}

// SAFETY: the entry holds no address.
unsafe impl Op for Fsync {
    type Output = io::Result<()>;

    fn prepare(&mut self, _arena: &mut Arena) -> Result<Sqe, i32> {
        let flags = if self.data_only { DATASYNC } else { 0 };
        Ok(Sqe::new(io_uring::opcode::Fsync::CODE).fd(self.fd).op_flags(flags))
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    fn lane(&self) -> Lane {
        Lane::Settle
    }
}

/// `IORING_OP_FTRUNCATE` (Linux 6.9): `ftruncate(2)`.
#[doc(alias = "IORING_OP_FTRUNCATE")]
#[derive(Debug)]
pub struct Ftruncate {
    fd: RawFd,
    len: u64,
}

impl Ftruncate {
    pub(crate) fn new(fd: RawFd, len: u64) -> Ftruncate {
        Ftruncate { fd, len }
    }
}

impl Sealed for Ftruncate {}

// SAFETY: the entry holds no address.
unsafe impl Op for Ftruncate {
    type Output = io::Result<()>;

    fn prepare(&mut self, _arena: &mut Arena) -> Result<Sqe, i32> {
        Ok(Sqe::new(io_uring::opcode::Ftruncate::CODE).fd(self.fd).offset(self.len))
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    fn lane(&self) -> Lane {
        Lane::Settle
    }
}
