//! The file that a chain opens for itself: nobody else ever has it, so it needs no number. It lies at a place of the ring's table
//! that is the chain's until that is over.
//!
//! Where there is no table (Linux before 6.13), no free place in it, or the chain cannot go to the kernel as a whole, the file has a
//! number after all, and the links are submitted one by one.

use std::io;
use std::os::fd::RawFd;

use super::super::{Arena, Cqe, Next, Op, OpenAt, Sealed, Sqe};
use super::{Link, Links};
use crate::fd::Fd;
use crate::ring::OWN_FILE;
use crate::sys;

/// Where a chain's own file is.
#[derive(Debug, Default)]
pub struct OwnFile {
    /// Where it is opened to by the submission that is under way.
    pub(super) place: Option<u32>,
    /// Otherwise, when it is open. The link that closes it takes it from the one that has opened it.
    pub(super) fd: Option<Fd>,
}

impl OwnFile {
    /// Its number. If it could not be opened, or is closed again, one of which the kernel says that it is no file, as it does of
    /// an empty place.
    fn number(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, Fd::raw)
    }
}

/// Has the entry of a link that names it mean the chain's own file, where another link has opened it.
pub(super) fn name(links: &mut impl Links, opener: usize, number: usize, sqe: &mut Sqe) {
    let Some(own) = links.link(opener).own_file() else { return };
    if let Some(place) = own.place {
        return sqe.name_own_place(place);
    }
    sqe.fd = own.number();
    if sqe.opcode == io_uring::opcode::Close::CODE {
        // From here on the number is that link's to close, and nobody else closes it.
        let fd = own.fd.take();
        if let Some(closing) = links.link(number).own_file() {
            closing.fd = fd.or(closing.fd.take());
            sqe.fd = closing.number();
        }
    }
}

/// Opens a file for the chain that it is in: `IORING_OP_OPENAT`, `openat(2)`. Made by
/// [`OpenOptions::open_chained`](crate::fs::OpenOptions::open_chained).
#[doc(alias = "IORING_OP_OPENAT")]
#[derive(Debug)]
pub struct OpenChained {
    open: OpenAt<Fd>,
    own: OwnFile,
}

impl OpenChained {
    pub(crate) fn new(open: OpenAt<Fd>) -> OpenChained {
        OpenChained { open, own: OwnFile::default() }
    }
}

impl Sealed for OpenChained {}

// SAFETY: everything is the inner operation's.
unsafe impl Op for OpenChained {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.open.prepare_into(self.own.place, sqe, arena)
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        match self.open.step(cqe) {
            Next::Done(cqe) if cqe.result >= 0 && self.own.place.is_none() => {
                self.own.fd = Some(Fd::new(sys::own(cqe.result as RawFd)));
                Next::Done(Cqe::of(0))
            }
            next => next,
        }
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        self.open.result(cqe).map(drop)
    }
}

impl Link for OpenChained {
    const OPENS: bool = true;

    fn own_file(&mut self) -> Option<&mut OwnFile> {
        Some(&mut self.own)
    }
}

/// An operation on the file that its chain has opened: made by the methods of [`ChainedFile`](crate::fs::ChainedFile). Awaited by
/// itself it is an error, `EBADF`.
#[derive(Debug)]
pub struct OnChained<O>(O);

impl<O> OnChained<O> {
    pub(crate) fn new(op: O) -> OnChained<O> {
        OnChained(op)
    }
}

impl<O> Sealed for OnChained<O> {}

// SAFETY: everything is the inner operation's. Nobody else has its file, so it is in nobody's way.
unsafe impl<O: Link> Op for OnChained<O> {
    type Output = O::Output;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.0.prepare(sqe, arena)?;
        debug_assert_eq!(sqe.fd, OWN_FILE);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        self.0.step(cqe)
    }

    fn complete(self, cqe: Cqe) -> O::Output {
        self.0.complete(cqe)
    }
}

impl<O: Link> Link for OnChained<O> {
    const NEEDS_OPEN: bool = true;

    fn join(&mut self) {
        self.0.join();
    }
}

/// Closes the file that its chain has opened: `IORING_OP_CLOSE`, `close(2)`.
#[doc(alias = "IORING_OP_CLOSE")]
#[derive(Debug)]
pub struct CloseChained {
    /// The file, if it has a number and this is to close it.
    own: OwnFile,
}

impl CloseChained {
    pub(crate) fn new() -> CloseChained {
        CloseChained { own: OwnFile::default() }
    }
}

impl Sealed for CloseChained {}

// SAFETY: the entry holds no address.
unsafe impl Op for CloseChained {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::Close::CODE).fd(OWN_FILE);
        Ok(())
    }

    fn complete(mut self, cqe: Cqe) -> io::Result<()> {
        if !cqe.was_not_made()
            && let Some(fd) = self.own.fd.take()
        {
            // The number is free already, even after an error.
            fd.forget();
        }
        // If it did not get to it, dropping the descriptor closes it.
        cqe.ok().map(drop)
    }
}

impl Link for CloseChained {
    const NEEDS_OPEN: bool = true;

    fn own_file(&mut self) -> Option<&mut OwnFile> {
        Some(&mut self.own)
    }
}
