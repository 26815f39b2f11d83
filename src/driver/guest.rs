//! What the driver of a guest does otherwise: nobody waits in the kernel, so the kernel tells the host by an eventfd.

use std::io;

use super::Driver;
use crate::ring::{SKIP_SUCCESS, Sqe};
use crate::slot::Addressee;
use crate::sys::KernelTimespec;

/// `IORING_TIMEOUT_UPDATE`.
const TIMEOUT_UPDATE: u32 = 1 << 1;

impl Driver {
    /// Has the kernel signal the inbox's eventfd for completions, too. It is not polled by the ring any more: that would be
    /// a completion a signal, and so a signal a completion.
    pub(crate) fn become_guest(&mut self) -> io::Result<()> {
        // The host waits for a descriptor, and what is polled for signals none.
        self.ring.refuse_aside();
        self.ring.register_eventfd(self.wakeup_fd)?;
        self.ring.set_quiet(true);
        self.sleepless = 0;
        Ok(())
    }

    /// How many completions the queue holds.
    pub(crate) fn room_for_completions(&self) -> usize {
        self.ring.room_for_completions()
    }

    /// See [`Ring::set_quiet`](crate::ring::Ring::set_quiet).
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.ring.set_quiet(quiet);
    }

    /// Whether there is something to reap, to hand over or to enter for.
    pub(crate) fn has_events(&mut self) -> bool {
        !self.cancels.is_empty() || !self.is_idle()
    }

    /// The clock does not agree with the timeout that was made.
    pub(crate) fn doubt_deadline(&mut self) {
        if self.deadline_ns != u64::MAX {
            self.deadline_ns = u64::MAX - 1;
        }
    }

    /// Sees to it that a completion comes when this deadline has, which is in so many nanoseconds. One timeout is enough: if
    /// it comes too early, the next one is made then.
    pub(crate) fn arm_deadline(&mut self, deadline_ns: u64, in_ns: u64) {
        if self.deadline_ns <= deadline_ns {
            return;
        }
        if self.ring.is_full() {
            self.flush();
        }
        let timespec = self.arena.store(KernelTimespec::of_ns(in_ns));
        let user_data = Addressee::Deadline.user_data();
        let mut sqe = if self.deadline_ns == u64::MAX {
            Sqe { user_data, ..Sqe::new(io_uring::opcode::Timeout::CODE).addr(timespec).len(1) }
        } else {
            // It fails if that one is over already: then its completion is on the way, and the next look finds none.
            let update = Sqe::new(io_uring::opcode::TimeoutUpdate::CODE).addr(user_data).offset(timespec);
            update.op_flags(TIMEOUT_UPDATE).flags(SKIP_SUCCESS)
        };
        if sqe.user_data != user_data {
            sqe.user_data = Addressee::Nobody.user_data();
        }
        *self.ring.stage() = sqe;
        self.ring.commit();
        self.deadline_ns = deadline_ns;
    }
}
