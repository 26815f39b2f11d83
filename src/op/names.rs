//! Names in directories: `IORING_OP_MKDIRAT`, `UNLINKAT`, `RENAMEAT`, `LINKAT`, `SYMLINKAT`.
//!
//! The kernel makes these calls in a worker thread. One whose future is dropped is cancelled if it has not begun, and
//! done otherwise: there is nothing to undo that somebody else might not rely on by then.

use std::io;

use super::{Arena, Cqe, Link, Name, Next, Op, Sealed, Sqe, invalid};

fn outcome<const N: usize>(paths: [&Name; N], cqe: Cqe) -> io::Result<()> {
    match paths.into_iter().find_map(Name::reason) {
        Some(reason) if cqe.result == -libc::EINVAL => Err(invalid(reason)),
        _ => cqe.ok().map(drop),
    }
}

/// `IORING_OP_MKDIRAT`: `mkdir(2)`.
#[doc(alias = "IORING_OP_MKDIRAT")]
#[derive(Debug)]
pub struct MkdirAt {
    path: Name,
    mode: u32,
}

impl MkdirAt {
    pub(crate) fn new(path: Name, mode: u32) -> MkdirAt {
        MkdirAt { path, mode }
    }
}

impl Sealed for MkdirAt {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved.
unsafe impl Op for MkdirAt {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let path = self.path.address()?;
        *sqe = Sqe::new(io_uring::opcode::MkDirAt::CODE).fd(self.path.raw()).addr(path).len(self.mode);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([&self.path], cqe)
    }
}

/// `IORING_OP_UNLINKAT`: `unlink(2)`, `rmdir(2)`.
#[doc(alias = "IORING_OP_UNLINKAT")]
#[derive(Debug)]
pub struct UnlinkAt {
    path: Name,
    flags: i32,
}

impl UnlinkAt {
    /// Of anything but a directory.
    pub(crate) fn file(path: Name) -> UnlinkAt {
        UnlinkAt { path, flags: 0 }
    }

    /// Of an empty directory.
    pub(crate) fn directory(path: Name) -> UnlinkAt {
        UnlinkAt { path, flags: libc::AT_REMOVEDIR }
    }
}

impl Sealed for UnlinkAt {}

// SAFETY: the path's bytes are on the heap and stay put while the value is moved.
unsafe impl Op for UnlinkAt {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let path = self.path.address()?;
        *sqe = Sqe::new(io_uring::opcode::UnlinkAt::CODE).fd(self.path.raw()).addr(path).op_flags(self.flags as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([&self.path], cqe)
    }
}

/// `IORING_OP_RENAMEAT`: `rename(2)`, `renameat2(2)`.
#[doc(alias = "IORING_OP_RENAMEAT")]
#[derive(Debug)]
pub struct RenameAt {
    from: Name,
    to: Name,
    flags: u32,
}

impl RenameAt {
    /// `flags` are `RENAME_*` of `renameat2(2)`.
    pub(crate) fn new(from: Name, to: Name, flags: u32) -> RenameAt {
        RenameAt { from, to, flags }
    }
}

impl Sealed for RenameAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for RenameAt {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (from, to) = (self.from.address()?, self.to.address()?);
        *sqe = Sqe::new(io_uring::opcode::RenameAt::CODE)
            .fd(self.from.raw())
            .addr(from)
            .len(self.to.raw() as u32)
            .offset(to)
            .op_flags(self.flags);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([&self.from, &self.to], cqe)
    }
}

/// `IORING_OP_LINKAT`: `link(2)`.
#[doc(alias = "IORING_OP_LINKAT")]
#[derive(Debug)]
pub struct LinkAt {
    original: Name,
    link: Name,
    flags: i32,
}

impl LinkAt {
    /// `flags` are `AT_*` of `linkat(2)`.
    pub(crate) fn new(original: Name, link: Name, flags: i32) -> LinkAt {
        LinkAt { original, link, flags }
    }
}

impl Sealed for LinkAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for LinkAt {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (original, link) = (self.original.address()?, self.link.address()?);
        *sqe = Sqe::new(io_uring::opcode::LinkAt::CODE)
            .fd(self.original.raw())
            .addr(original)
            .len(self.link.raw() as u32)
            .offset(link)
            .op_flags(self.flags as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([&self.original, &self.link], cqe)
    }
}

/// `IORING_OP_SYMLINKAT`: `symlink(2)`.
#[doc(alias = "IORING_OP_SYMLINKAT")]
#[derive(Debug)]
pub struct SymlinkAt {
    target: Name,
    link: Name,
}

impl SymlinkAt {
    pub(crate) fn new(target: Name, link: Name) -> SymlinkAt {
        SymlinkAt { target, link }
    }
}

impl Sealed for SymlinkAt {}

// SAFETY: the paths' bytes are on the heap and stay put while the value is moved.
unsafe impl Op for SymlinkAt {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        let (target, link) = (self.target.address()?, self.link.address()?);
        *sqe = Sqe::new(io_uring::opcode::SymlinkAt::CODE).fd(self.link.raw()).addr(target).offset(link);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        outcome([&self.target, &self.link], cqe)
    }
}

impl Link for MkdirAt {}

impl Link for UnlinkAt {}

impl Link for RenameAt {}

impl Link for LinkAt {}

impl Link for SymlinkAt {}
