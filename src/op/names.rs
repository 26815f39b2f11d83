//! Names in directories: `IORING_OP_MKDIRAT`, `UNLINKAT`, `RENAMEAT`, `LINKAT`, `SYMLINKAT`.
//!
//! The kernel makes these calls in a worker thread. One whose future is dropped is cancelled if it has not begun, and
//! done otherwise: there is nothing to undo that somebody else might not rely on by then.

use std::io;

use super::{Arena, Cqe, KernelPath, Next, Op, Sealed, Sqe, invalid};

/// The address of a path for the entry. `Err` as in [`Op::prepare`].
fn address(path: &KernelPath) -> Result<u64, i32> {
    path.as_ref().map(|path| path.as_ptr() as u64).map_err(|_| libc::EINVAL)
}

fn step(cqe: Cqe) -> Next {
    if cqe.interrupted() { Next::Again } else { Next::Done(cqe) }
}

fn outcome<const N: usize>(paths: [KernelPath; N], cqe: Cqe) -> io::Result<()> {
    match paths.into_iter().find_map(Result::err) {
        Some(reason) if cqe.result == -libc::EINVAL => Err(invalid(reason)),
        _ => cqe.ok().map(drop),
    }
}

/// `IORING_OP_MKDIRAT`: `mkdir(2)`.
#[doc(alias = "IORING_OP_MKDIRAT")]
#[derive(Debug)]
pub struct MkdirAt {
    path: KernelPath,
    mode: u32,
}

impl MkdirAt {
    pub(crate) fn new(path: KernelPath, mode: u32) -> MkdirAt {
        MkdirAt { path, mode }
    }
}

impl Sealed for MkdirAt {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved.
unsafe impl Op for MkdirAt {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let path = address(&self.path)?;
        *sqe = Sqe::new(io_uring::opcode::MkDirAt::CODE).fd(libc::AT_FDCWD).addr(path).len(self.mode);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        step(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([self.path], cqe)
    }
}

/// `IORING_OP_UNLINKAT`: `unlink(2)`, `rmdir(2)`.
#[doc(alias = "IORING_OP_UNLINKAT")]
#[derive(Debug)]
pub struct UnlinkAt {
    path: KernelPath,
    flags: i32,
}

impl UnlinkAt {
    /// Of anything but a directory.
    pub(crate) fn file(path: KernelPath) -> UnlinkAt {
        UnlinkAt { path, flags: 0 }
    }

    /// Of an empty directory.
    pub(crate) fn directory(path: KernelPath) -> UnlinkAt {
        UnlinkAt { path, flags: libc::AT_REMOVEDIR }
    }
}

impl Sealed for UnlinkAt {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved.
unsafe impl Op for UnlinkAt {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let path = address(&self.path)?;
        *sqe = Sqe::new(io_uring::opcode::UnlinkAt::CODE).fd(libc::AT_FDCWD).addr(path).op_flags(self.flags as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        step(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([self.path], cqe)
    }
}

/// `IORING_OP_RENAMEAT`: `rename(2)`, `renameat2(2)`.
#[doc(alias = "IORING_OP_RENAMEAT")]
#[derive(Debug)]
pub struct RenameAt {
    from: KernelPath,
    to: KernelPath,
    flags: u32,
}

impl RenameAt {
    /// `flags` are `RENAME_*` of `renameat2(2)`.
    pub(crate) fn new(from: KernelPath, to: KernelPath, flags: u32) -> RenameAt {
        RenameAt { from, to, flags }
    }
}

impl Sealed for RenameAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for RenameAt {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (from, to) = (address(&self.from)?, address(&self.to)?);
        *sqe = Sqe::new(io_uring::opcode::RenameAt::CODE)
            .fd(libc::AT_FDCWD)
            .addr(from)
            .len(libc::AT_FDCWD as u32)
            .offset(to)
            .op_flags(self.flags);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        step(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([self.from, self.to], cqe)
    }
}

/// `IORING_OP_LINKAT`: `link(2)`.
#[doc(alias = "IORING_OP_LINKAT")]
#[derive(Debug)]
pub struct LinkAt {
    original: KernelPath,
    link: KernelPath,
}

impl LinkAt {
    pub(crate) fn new(original: KernelPath, link: KernelPath) -> LinkAt {
        LinkAt { original, link }
    }
}

impl Sealed for LinkAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for LinkAt {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (original, link) = (address(&self.original)?, address(&self.link)?);
        *sqe = Sqe::new(io_uring::opcode::LinkAt::CODE)
            .fd(libc::AT_FDCWD)
            .addr(original)
            .len(libc::AT_FDCWD as u32)
            .offset(link);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        step(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([self.original, self.link], cqe)
    }
}

/// `IORING_OP_SYMLINKAT`: `symlink(2)`.
#[doc(alias = "IORING_OP_SYMLINKAT")]
#[derive(Debug)]
pub struct SymlinkAt {
    target: KernelPath,
    link: KernelPath,
}

impl SymlinkAt {
    pub(crate) fn new(target: KernelPath, link: KernelPath) -> SymlinkAt {
        SymlinkAt { target, link }
    }
}

impl Sealed for SymlinkAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for SymlinkAt {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (target, link) = (address(&self.target)?, address(&self.link)?);
        *sqe = Sqe::new(io_uring::opcode::SymlinkAt::CODE).fd(libc::AT_FDCWD).addr(target).offset(link);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        step(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([self.target, self.link], cqe)
    }
}
