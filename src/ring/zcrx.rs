//! A ring beside the loop's, for receives by a network card into memory of ours: their completions are of 32 bytes, for they tell
//! where the bytes are.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Cqe, Sqe, Uring};
use crate::sys;
use crate::sys::ring::{self as abi, Params, RawCqe, Shared};
use crate::sys::zcrx::{Area, Card};

/// `IORING_RECV_MULTISHOT`.
const MULTISHOT: u16 = 1 << 1;
/// `IORING_ASYNC_CANCEL_ALL` and `IORING_ASYNC_CANCEL_ANY`.
const EVERYTHING: u32 = 1 << 0 | 1 << 2;
/// The name of what nobody waits for.
const NOBODY: u64 = u64::MAX;
const ENTRIES: u32 = 64;
const COMPLETIONS: u32 = 4096;

/// `struct io_uring_cqe` of a ring with `IORING_SETUP_CQE32`, with `struct io_uring_zcrx_cqe` in its second half.
#[repr(C)]
#[derive(Clone, Copy)]
struct WideCqe {
    cqe: RawCqe,
    offset: u64,
    _pad: u64,
}

const _: () = assert!(size_of::<WideCqe>() == 32);

/// A completion of a receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub name: u64,
    pub cqe: Cqe,
    /// Where the bytes are.
    pub offset: u64,
}

/// The ring. Whoever makes it is the only one to use it: it goes on no other thread.
pub(crate) struct CardRing {
    shared: Shared<Sqe, WideCqe>,
    tail: u32,
    id: u32,
    fd: OwnedFd,
    pub area: Arc<Area>,
}

impl CardRing {
    /// Makes a ring with memory of so many bytes. The eventfd is signalled when there may be completions.
    pub(crate) fn new(card: Card, memory: usize, eventfd: RawFd) -> io::Result<CardRing> {
        let mut params = Params::default();
        params.cq_entries = COMPLETIONS;
        params.flags = abi::SETUP_CQE32
            | abi::SETUP_SINGLE_ISSUER
            | abi::SETUP_DEFER_TASKRUN
            | abi::SETUP_TASKRUN_FLAG
            | abi::SETUP_SUBMIT_ALL
            | abi::SETUP_CLAMP
            | abi::SETUP_CQSIZE;
        let fd = abi::setup(ENTRIES, &mut params).map_err(super::diagnose::explain)?;
        let shared = Shared::map(&fd, &params).map_err(super::diagnose::explain)?;
        let (area, id) = Area::register(fd.as_raw_fd(), card, memory).map_err(|error| explain(error, card))?;
        sys::register_eventfd(fd.as_raw_fd(), eventfd)?;
        Ok(CardRing { shared, tail: 0, id, fd, area })
    }

    /// Whether one more entry can be staged.
    pub(crate) fn has_room(&self) -> bool {
        self.staged() <= self.shared.sq_mask
    }

    /// Receives from a TCP socket, at most so many bytes by one submission.
    pub(crate) fn receive(&mut self, fd: RawFd, name: u64, at_most: u32) {
        debug_assert_ne!(name, NOBODY);
        let receive =
            Sqe::new(io_uring::opcode::RecvZc::CODE).fd(fd).len(at_most).ioprio(MULTISHOT).file_index(self.id);
        self.push(Sqe { user_data: name, ..receive });
    }

    pub(crate) fn cancel(&mut self, name: u64) {
        let cancel = Sqe::cancelling(name);
        self.push(Sqe { user_data: NOBODY, ..cancel });
    }

    pub(crate) fn cancel_everything(&mut self) {
        let cancel = Sqe::new(io_uring::opcode::AsyncCancel::CODE).op_flags(EVERYTHING);
        self.push(Sqe { user_data: NOBODY, ..cancel });
    }

    /// Has the kernel look at what was given back.
    pub(crate) fn flush_returns(&self) {
        sys::zcrx::flush(self.fd.as_raw_fd(), self.id);
    }

    fn staged(&self) -> u32 {
        self.tail.wrapping_sub(Uring::load(&self.shared.sq_head, Ordering::Acquire))
    }

    /// # Panics
    /// If there is no room.
    fn push(&mut self, sqe: Sqe) {
        assert!(self.has_room(), "who stages an entry has asked whether there is room");
        let index = self.tail & self.shared.sq_mask;
        // SAFETY: the index is masked, so the entry lies within the queue, and it is ours: the kernel has taken what was there, and
        // reads none behind the tail. Its entries hold no address.
        unsafe { self.shared.sqes.add(index as usize).write(sqe) };
        self.tail = self.tail.wrapping_add(1);
        Uring::store(&self.shared.sq_tail, self.tail);
    }

    fn call(&self, min_complete: u32, timeout_ns: Option<u64>) -> io::Result<()> {
        match sys::enter(self.fd.as_raw_fd(), self.staged(), min_complete, sys::ENTER_GETEVENTS, timeout_ns, 0) {
            Ok(_) => Ok(()),
            Err(error) => Uring::judge(error),
        }
    }

    /// Has the kernel signal the eventfd as if it never had.
    pub(crate) fn signal_anew(&self, eventfd: RawFd) -> io::Result<()> {
        sys::unregister_eventfd(self.fd.as_raw_fd())?;
        sys::register_eventfd(self.fd.as_raw_fd(), eventfd)
    }

    /// Submits what is staged and has the kernel deliver what it can. Tells whether there is more to be done at once.
    pub(crate) fn enter(&mut self) -> io::Result<bool> {
        self.call(0, None)?;
        let flags = Uring::load(&self.shared.sq_flags, Ordering::Relaxed);
        Ok(self.staged() > 0 || flags & (abi::SQ_TASKRUN | abi::SQ_CQ_OVERFLOW) != 0)
    }

    /// The same, and waits so long for a completion.
    pub(crate) fn wait(&mut self, at_most_ns: u64) -> io::Result<()> {
        self.call(1, Some(at_most_ns))
    }

    pub(crate) fn harvest(&mut self, mut each: impl FnMut(Arrival)) {
        let head = Uring::load(&self.shared.cq_head, Ordering::Relaxed);
        let tail = Uring::load(&self.shared.cq_tail, Ordering::Acquire);
        for position in 0..tail.wrapping_sub(head) {
            let index = head.wrapping_add(position) & self.shared.cq_mask;
            // SAFETY: the index is masked, so the entry lies within the queue; the kernel has published it (the acquire load) and
            // does not write it again before the head moves past it.
            let WideCqe { cqe, offset, .. } = unsafe { self.shared.cqes.add(index as usize).read() };
            if cqe.user_data != NOBODY {
                each(Arrival { name: cqe.user_data, cqe: Cqe { result: cqe.result, flags: cqe.flags }, offset });
            }
        }
        Uring::store(&self.shared.cq_head, tail);
    }
}

/// What a refusal of the card's memory means.
fn explain(error: io::Error, card: Card) -> io::Error {
    use io::ErrorKind::{AddrInUse, NotFound, OutOfMemory, PermissionDenied, Unsupported};
    let (kind, text) = match (error.raw_os_error(), card) {
        (Some(libc::EINVAL), None) => {
            (Unsupported, "zero-copy receive without a network card needs a Linux with ZCRX_REG_NODEV (7.3 has it)")
        }
        (Some(libc::EINVAL), Some(_)) => (
            Unsupported,
            "zero-copy receive (zcrx) needs Linux 6.15 or newer, built with CONFIG_IO_URING_ZCRX, and a receive queue with \
             this number that can be set up for it (header split on, see ethtool(8))",
        ),
        (Some(libc::EOPNOTSUPP), _) => (
            Unsupported,
            "the driver of this network interface cannot hand a receive queue over to a program (zero-copy receive, zcrx): \
             cards that can are those of bnxt, mlx5, gve and fbnic",
        ),
        (Some(libc::EPERM | libc::EACCES), _) => (PermissionDenied, "zero-copy receive (zcrx) needs CAP_NET_ADMIN"),
        (Some(libc::ENODEV | libc::ENXIO), _) => (NotFound, "there is no such network interface or receive queue"),
        (Some(libc::EEXIST | libc::EBUSY), _) => {
            (AddrInUse, "this receive queue belongs to another ring or program already")
        }
        (Some(libc::ENOMEM), _) => (
            OutOfMemory,
            "there is not so much memory for zero-copy receive, or the limit of locked memory (RLIMIT_MEMLOCK) is lower: ask \
             for less, or raise the limit",
        ),
        _ => return error,
    };
    io::Error::new(kind, format!("{text}: {error}"))
}
