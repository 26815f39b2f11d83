//! Transfers that are so large that copying them on the loop's thread would hold everybody else up.

use super::Sqe;
use crate::ring::ASYNC;
use crate::sys;

/// So many bytes take some tenths of a millisecond to copy from or to the page cache; a worker thread is told in some microseconds.
pub(crate) const LARGE: usize = 1 << 20;

/// Whether a worker thread of the kernel's makes a transfer.
#[derive(Debug, Default)]
pub(super) struct Worker {
    asked: bool,
    refused: bool,
}

impl Worker {
    /// Has one make a large transfer of a file (`IOSQE_ASYNC`): where it need not wait for a device, the kernel would otherwise copy
    /// all of it while the loop submits. Not past the page cache, where nothing is copied, and the device has it before the
    /// submission returns.
    #[inline]
    pub(super) fn spare_loop(&mut self, sqe: &mut Sqe, bytes: usize) {
        if bytes > LARGE {
            self.ask(sqe);
        }
    }

    /// The same for a plain entry, whose length is that of the transfer.
    pub(super) fn sparing_loop(&mut self, mut sqe: Sqe) -> Sqe {
        let bytes = sqe.len as usize;
        self.spare_loop(&mut sqe, bytes);
        sqe
    }

    #[cold]
    #[inline(never)]
    fn ask(&mut self, sqe: &mut Sqe) {
        let cached =
            || sys::has_position(sqe.fd) && sys::status_flags(sqe.fd).is_ok_and(|flags| flags & libc::O_DIRECT == 0);
        // Whoever asked that it does not wait is told on the spot.
        self.asked = !self.refused && sqe.op_flags & libc::RWF_NOWAIT as u32 == 0 && cached();
        if self.asked {
            sqe.flags |= ASYNC;
        }
    }

    /// The kernel can start none. Whether the transfer is to be tried again, on the spot. Asked while nothing has been moved, for then it
    /// is the first step that was refused.
    pub(super) fn refuse(&mut self) -> bool {
        self.refused = true;
        std::mem::take(&mut self.asked)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;
    use crate::op::{Arena, Op, Read, ReadToEnd, Readv, Write, Writev};

    /// Whether a worker is to make it.
    fn is_given_away<O: Op>(op: &mut O) -> bool {
        let (mut sqe, mut arena) = (Sqe::new(0), Arena::default());
        op.prepare(&mut sqe, &mut arena).unwrap();
        sqe.flags & ASYNC != 0
    }

    #[test]
    fn what_is_large_and_cached_goes_to_a_worker() {
        use crate::op::vectored::Place;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let fd = file.as_raw_fd();
        let bytes = |more: usize| vec![7u8; LARGE + more];
        assert!(is_given_away(&mut Read::at(fd, bytes(1), 0)));
        assert!(is_given_away(&mut Write::at(fd, bytes(1), 0)));
        assert!(is_given_away(&mut Readv::new(fd, vec![bytes(0), bytes(0)], Place::File(0))));
        assert!(is_given_away(&mut Writev::new(fd, vec![bytes(0), bytes(0)], Place::File(0))));
        assert!(!is_given_away(&mut Readv::new(fd, vec![bytes(0)], Place::File(0))));
        assert!(!is_given_away(&mut Writev::new(fd, vec![bytes(0)], Place::File(0))));
        assert!(!is_given_away(&mut Read::at(fd, bytes(0), 0)));
        assert!(!is_given_away(&mut Write::at(fd, bytes(0), 0)));
        assert!(!is_given_away(&mut Read::at(fd, bytes(1), 0).with_flags(libc::RWF_NOWAIT as u32)));
        let whole = crate::fd::Fd::new(OwnedFd::from(file.try_clone().unwrap()));
        assert!(is_given_away(&mut ReadToEnd::of_own_file(&whole, Vec::with_capacity(2 * LARGE))));
        assert!(!is_given_away(&mut ReadToEnd::of_own_file(&whole, Vec::with_capacity(LARGE / 2))));
        let (pipe, _end) = std::io::pipe().unwrap();
        assert!(!is_given_away(&mut Read::at(pipe.as_raw_fd(), bytes(1), 0)));
        // Not every file system has it.
        if let Ok(direct) = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path) {
            assert!(!is_given_away(&mut Read::at(direct.as_raw_fd(), bytes(1), 0)));
        }
    }

    /// Where the kernel has no thread for it, it is made on the spot: once, for that may be refused for another reason.
    #[test]
    fn where_there_is_no_worker_it_is_made_on_the_spot() {
        let file = tempfile::tempfile().unwrap();
        let mut read = Read::at(file.as_raw_fd(), vec![7u8; LARGE + 1], 0);
        assert!(!read.without_worker(), "none was asked for");
        let mut read = Read::at(file.as_raw_fd(), vec![7u8; LARGE + 1], 0);
        assert!(is_given_away(&mut read));
        assert!(read.without_worker());
        assert!(!is_given_away(&mut read));
        assert!(!read.without_worker());
    }
}
