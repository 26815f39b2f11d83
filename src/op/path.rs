//! From a path to a descriptor and back: `IORING_OP_OPENAT`, `IORING_OP_STATX`, `IORING_OP_CLOSE`.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::{Arena, Cqe, Op, Operation, Sealed, Sqe};
use crate::context;
use crate::fd::Fd;
use crate::ring::ASYNC;
use crate::sys;

/// `IORING_OP_OPENAT`: `openat(2)`. A file that is opened after its future was dropped is closed again.
#[doc(alias = "IORING_OP_OPENAT")]
#[derive(Debug)]
pub struct OpenAt {
    path: CString,
    flags: i32,
    mode: u32,
}

impl OpenAt {
    pub(crate) fn new(path: CString, flags: i32, mode: u32) -> OpenAt {
        OpenAt { path, flags, mode }
    }
}

impl Sealed for OpenAt {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved.
unsafe impl Op for OpenAt {
    type Output = io::Result<OwnedFd>;

    fn prepare(&mut self, _arena: &mut Arena) -> Result<Sqe, i32> {
        Ok(Sqe::new(io_uring::opcode::OpenAt::CODE)
            .fd(libc::AT_FDCWD)
            .addr(self.path.as_ptr() as u64)
            .len(self.mode)
            .op_flags((self.flags | libc::O_CLOEXEC) as u32))
    }

    fn complete(self, cqe: Cqe) -> io::Result<OwnedFd> {
        cqe.ok().map(|fd| sys::own(fd as RawFd))
    }
}

/// `IORING_OP_STATX`: `statx(2)`, of a path or of an open file.
#[doc(alias = "IORING_OP_STATX")]
pub struct Statx {
    fd: RawFd,
    path: Option<CString>,
    flags: i32,
    result: Box<libc::statx>,
}

impl std::fmt::Debug for Statx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statx").field("fd", &self.fd).field("path", &self.path).finish_non_exhaustive()
    }
}

const EMPTY: &CStr = c"";

impl Statx {
    pub(crate) fn path(path: CString, flags: i32) -> Statx {
        Statx { fd: libc::AT_FDCWD, path: Some(path), flags, result: Statx::zeroed() }
    }

    pub(crate) fn open_file(fd: RawFd) -> Statx {
        Statx { fd, path: None, flags: libc::AT_EMPTY_PATH, result: Statx::zeroed() }
    }

    fn zeroed() -> Box<libc::statx> {
        // SAFETY: the structure is plain numbers, for which zero is valid.
        Box::new(unsafe { std::mem::zeroed() })
    }
}

impl Sealed for Statx {}

// SAFETY: path and result are on the heap (or static) and stay put while the value is moved.
unsafe impl Op for Statx {
    type Output = io::Result<Box<libc::statx>>;

    fn prepare(&mut self, _arena: &mut Arena) -> Result<Sqe, i32> {
        let path = self.path.as_deref().unwrap_or(EMPTY);
        let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
        Ok(Sqe::new(io_uring::opcode::Statx::CODE)
            .fd(self.fd)
            .addr(path.as_ptr() as u64)
            .len(mask)
            .offset(&raw mut *self.result as u64)
            .op_flags(self.flags as u32))
    }

    fn complete(self, cqe: Cqe) -> io::Result<Box<libc::statx>> {
        cqe.ok().map(|_| self.result)
    }
}

/// `IORING_OP_CLOSE`: `close(2)`, with its error. Dropped before it was submitted, it closes all the same.
#[doc(alias = "IORING_OP_CLOSE")]
#[derive(Debug)]
pub struct Close {
    fd: Fd,
}

impl Close {
    pub(crate) fn new(fd: Fd) -> Close {
        Close { fd }
    }
}

impl Sealed for Close {}

// SAFETY: the entry holds no address.
unsafe impl Op for Close {
    type Output = io::Result<()>;

    fn prepare(&mut self, _arena: &mut Arena) -> Result<Sqe, i32> {
        let flags = if self.fd.lingers() { ASYNC } else { 0 };
        Ok(Sqe::new(io_uring::opcode::Close::CODE).fd(self.fd.raw()).flags(flags))
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        if cqe.result == -libc::ECANCELED {
            // It did not get to it: dropping the descriptor closes it.
            return Ok(());
        }
        // The number is free already, even after an error.
        self.fd.forget();
        cqe.ok().map(drop)
    }
}

/// Closes an object's descriptor and tells the error: waits for writes that were dropped, gives up everything else that
/// was, and closes through the ring. Away from its home, or used by several loops, it is closed soon, and errors are lost.
pub(crate) async fn close(fd: Fd) -> io::Result<()> {
    if let Some(salvage) = fd.salvage_if_made() {
        let salvage = salvage.clone();
        salvage.writes_settled().await;
    }
    if !fd.is_at_home() || context::current_id() == 0 {
        drop(fd);
        return Ok(());
    }
    fd.cancel_orphans();
    Operation::<Close>::new(Close::new(fd)).await
}
