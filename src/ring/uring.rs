//! The real ring, on the `io-uring` crate's mappings.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use io_uring::{IoUring, squeue};

use super::{Config, Cqe, Entered, Sqe, Wait, diagnose};
use crate::sys;

/// What was found out about this kernel by trying, once a process.
static NO_SQARRAY_REFUSED: AtomicBool = AtomicBool::new(false);

// `Sqe` is handed to the kernel through the crate's entry type: same size, same alignment, both the kernel's layout.
const _: () = assert!(size_of::<Sqe>() == size_of::<squeue::Entry>());
const _: () = assert!(align_of::<Sqe>() == align_of::<squeue::Entry>());
const _: () = assert!(size_of::<Sqe>() == 64);

pub(crate) struct Uring {
    ring: IoUring,
    /// Entries that were not handed to the kernel yet, oldest first.
    staged: Vec<Sqe>,
    /// The position of `staged[0]`; wraps.
    first: u32,
    /// Entries handed over that the kernel has not taken, after an enter that it refused.
    refused: bool,
    capacity: usize,
    /// What to pass to enter: the registered index, or the descriptor itself.
    enter_fd: RawFd,
    registered: bool,
    wait_flags: u32,
    enter_flags: u32,
}

impl Uring {
    pub(crate) fn new(config: Config) -> io::Result<Uring> {
        let ring = build(config).map_err(diagnose::explain)?;
        let params = ring.params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() || !params.is_feature_submit_stable() {
            return Err(diagnose::explain(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let no_iowait = if params.is_feature_no_iowait() { sys::ENTER_NO_IOWAIT } else { 0 };
        let capacity = params.sq_entries() as usize;
        let fd = ring.as_raw_fd();
        // Sixteen rings a thread can be registered; one more works without.
        let (enter_fd, registered) = match sys::register_ring_fd(fd) {
            Ok(index) => (index, true),
            Err(_) => (fd, false),
        };
        let enter_flags = sys::ENTER_GETEVENTS | if registered { sys::ENTER_REGISTERED_RING } else { 0 };
        Ok(Uring {
            ring,
            staged: Vec::with_capacity(capacity),
            first: 0,
            refused: false,
            capacity,
            enter_fd,
            registered,
            wait_flags: enter_flags | no_iowait,
            enter_flags,
        })
    }

    #[inline]
    pub(crate) fn push(&mut self, sqe: Sqe) -> u32 {
        let position = self.first.wrapping_add(self.staged.len() as u32);
        self.staged.push(sqe);
        position
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.staged.len() >= self.capacity
    }

    pub(crate) fn staged_mut(&mut self, position: u32, user_data: u64) -> Option<&mut Sqe> {
        let index = position.wrapping_sub(self.first) as usize;
        // A position of long ago may look like one of now after 2^32 entries; the user_data tells them apart.
        self.staged.get_mut(index).filter(|sqe| sqe.user_data == user_data)
    }

    #[inline]
    pub(crate) fn needs_enter(&mut self) -> bool {
        if !self.staged.is_empty() || self.refused {
            return true;
        }
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    pub(crate) fn unsubmitted(&mut self) -> usize {
        self.staged.len() + self.ring.submission().len()
    }

    /// Copies staged entries into the shared queue, as many as fit, and publishes them. Gives how many are there.
    #[inline]
    fn publish(&mut self) -> u32 {
        let mut queue = self.ring.submission();
        let room = queue.capacity() - queue.len();
        let count = room.min(self.staged.len());
        let entries = &self.staged[..count];
        // SAFETY: the two types have the same size and alignment (asserted above), both are the kernel's
        // io_uring_sqe, and any bytes are valid for it.
        let entries = unsafe { std::slice::from_raw_parts(entries.as_ptr().cast::<squeue::Entry>(), count) };
        // SAFETY: what an entry points to stays valid until its completion: that is the promise of `Op` for the
        // entries of operations, and of the arena (not reset before the queue is empty) for inputs that the kernel
        // reads while it submits.
        unsafe { queue.push_multiple(entries) }.expect("there was room");
        let published = queue.len() as u32;
        drop(queue);
        self.first = self.first.wrapping_add(count as u32);
        if count == self.staged.len() {
            self.staged.clear();
        } else {
            self.staged.drain(..count);
        }
        published
    }

    #[inline]
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        let to_submit = self.publish();
        // With entries left behind there is more to submit: waiting now would hold them back.
        let wait = if self.staged.is_empty() { wait } else { Wait::No };
        let (min_complete, flags, timeout_ns) = match wait {
            Wait::No => (0, self.enter_flags, None),
            Wait::Completion => (1, self.wait_flags, None),
            Wait::AtMostNs(ns) => (1, self.wait_flags, Some(ns)),
        };
        match sys::enter(self.enter_fd, to_submit, min_complete, flags, timeout_ns) {
            Ok(taken) => {
                self.refused = taken < to_submit;
                Ok(if self.refused || !self.staged.is_empty() { Entered::Pressed } else { Entered::All })
            }
            Err(error) => match error.raw_os_error() {
                // With nothing submitted the wait's own outcome is reported.
                Some(libc::EINTR | libc::ETIME) if to_submit == 0 => Ok(Entered::All),
                Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => {
                    self.refused = self.ring.submission().len() > 0;
                    Ok(if self.refused || !self.staged.is_empty() { Entered::Pressed } else { Entered::All })
                }
                _ => Err(error),
            },
        }
    }

    #[inline]
    pub(crate) fn harvest(&mut self, mut each: impl FnMut(Cqe)) -> usize {
        let queue = self.ring.completion();
        let count = queue.len();
        for entry in queue {
            each(Cqe { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() });
        }
        count
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.registered {
            sys::unregister_ring_fd(self.ring.as_raw_fd(), self.enter_fd);
        }
    }
}

fn build(config: Config) -> io::Result<IoUring> {
    let attempt = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(config.cq_entries);
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(config.sq_entries)
    };
    if !NO_SQARRAY_REFUSED.load(Ordering::Relaxed) {
        match attempt(true) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            outcome => return outcome,
        }
    }
    let ring = attempt(false)?;
    NO_SQARRAY_REFUSED.store(true, Ordering::Relaxed);
    Ok(ring)
}
