//! Registered files: what entries may name by a place in the ring's table, and whether this kernel is fit for it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;

use io_uring::opcode;

use super::sqe::FIXED_FILE;
use super::{ASYNC, Config, HARDLINK, LINK, SKIP_SUCCESS, Sqe, Uring, Wait};
use crate::sys;

/// The operations that look their file up while the entry is taken. Those that a worker thread of the kernel's makes look
/// it up late, when the place may be another's; and some take no registered file.
const BY_PLACE: u64 = {
    let codes = [
        opcode::Read::CODE,
        opcode::ReadFixed::CODE,
        opcode::ReadMulti::CODE,
        opcode::Readv::CODE,
        opcode::ReadvFixed::CODE,
        opcode::Write::CODE,
        opcode::WriteFixed::CODE,
        opcode::Writev::CODE,
        opcode::WritevFixed::CODE,
        opcode::Recv::CODE,
        opcode::RecvMsg::CODE,
        opcode::Send::CODE,
        opcode::SendMsg::CODE,
        opcode::SendZc::CODE,
        opcode::SendMsgZc::CODE,
        opcode::PollAdd::CODE,
        opcode::Accept::CODE,
    ];
    let (mut set, mut index) = (0, 0);
    while index < codes.len() {
        set |= 1 << codes[index];
        index += 1;
    }
    set
};

impl Sqe {
    /// Has the kernel find the file that the entry names by this number at a place of the table, if it looks there while it
    /// takes the entry. Otherwise, and if it is about another file, the entry stays as it is.
    #[inline]
    pub(crate) fn name_place(&mut self, number: i32, place: u32) {
        let late = self.flags & (ASYNC | LINK | HARDLINK) != 0;
        // A shift that wraps would need no look at the size, and so be made by more than the opcode's own byte, which has just been
        // written by itself: the CPU would wait for that.
        let by_place = self.opcode < 64 && BY_PLACE & 1 << self.opcode != 0;
        if self.fd == number && !late && by_place {
            self.fd = place as i32;
            self.flags |= FIXED_FILE;
        }
    }
}

/// What an entry of a chain names instead of a file: the one that the chain opens for itself. There is no such number.
pub(crate) const OWN_FILE: RawFd = RawFd::MIN;

/// A chain's own file, at a place that is reserved for it. The kernel finds it when it gets to the entry, and nobody else has the
/// place until the chain is over.
impl Sqe {
    /// Has an entry mean the file at this place.
    pub(crate) fn name_own_place(&mut self, place: u32) {
        if self.opcode == opcode::Close::CODE {
            // The place plus one, and no number beside it.
            (self.fd, self.file_index) = (0, place + 1);
        } else {
            self.fd = place as i32;
            self.flags |= FIXED_FILE;
        }
    }

    /// Whether it opens a file into a place.
    pub(crate) fn fills_place(&self) -> bool {
        matches!(self.opcode, opcode::OpenAt::CODE | opcode::OpenAt2::CODE) && self.file_index != 0
    }

    /// Whether it empties one.
    pub(crate) fn empties_place(&self) -> bool {
        self.opcode == opcode::Close::CODE && self.file_index != 0
    }

    /// The number by which it names a file, if it names one.
    pub(crate) fn number(&self) -> Option<RawFd> {
        (self.flags & FIXED_FILE == 0 && !self.empties_place()).then_some(self.fd)
    }
}

/// Whether this kernel lets go of a file when it is taken off the table. Before 6.13 it waits for everything else that was
/// asked for by the table before, on whatever file: one connection that idles would keep all others from being closed. It is
/// found out by trying, once a process.
pub(crate) fn lets_go_of_files() -> bool {
    static LETS_GO: OnceLock<bool> = OnceLock::new();
    // No memory or descriptors for the attempt: then there is no use in a table either.
    *LETS_GO.get_or_init(|| attempt().unwrap_or(false))
}

fn attempt() -> std::io::Result<bool> {
    let mut ring = Uring::new(Config::of(4, 8))?;
    ring.make_file_table(2)?;
    let (reader, writer) = std::io::pipe()?;
    let numbers = [reader.as_raw_fd(), writer.as_raw_fd()];
    let fill = Sqe::new(opcode::FilesUpdate::CODE).addr(numbers.as_ptr() as u64).len(2);
    // POLLERR is always meant: it waits for the other end to go, and is about a file of its own.
    let idle = Sqe::new(opcode::PollAdd::CODE).fd(1).flags(FIXED_FILE);
    let close = Sqe::new(opcode::Close::CODE).fd(0).file_index(1).flags(SKIP_SUCCESS);
    for sqe in [fill, idle, close] {
        *ring.stage() = sqe;
        ring.commit();
    }
    ring.enter(Wait::No)?;
    drop(reader);
    // What was closed is let go of when a system call returns, and the operation on the other end sees it.
    Ok(sys::is_ready(writer.as_raw_fd(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_are_taken_at_once_name_a_place() {
        let named = |mut sqe: Sqe| {
            sqe.name_place(7, 3);
            (sqe.fd, sqe.flags)
        };
        assert_eq!(named(Sqe::new(opcode::Recv::CODE).fd(7)), (3, FIXED_FILE));
        assert_eq!(named(Sqe::new(opcode::Recv::CODE).fd(8)), (8, 0), "it is about another file");
        for flag in [ASYNC, LINK, HARDLINK] {
            assert_eq!(named(Sqe::new(opcode::Read::CODE).fd(7).flags(flag)), (7, flag), "it is looked up late");
        }
        for code in [opcode::Fsync::CODE, opcode::Statx::CODE, opcode::Close::CODE, opcode::Ftruncate::CODE] {
            assert_eq!(named(Sqe::new(code).fd(7)), (7, 0), "opcode {code}");
        }
    }
}
