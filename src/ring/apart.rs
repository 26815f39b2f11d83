//! Entries that are handed over by themselves, so that less comes back at once.
//!
//! Under `DEFER_TASKRUN` an enter brings up about twenty deferred completions, and one that also submits twice as many: those that are due when
//! it submits, and those that are due when it waits. Each receive among them copies its bytes where it was told to. What
//! twenty of them have brought is still in the CPU's caches when somebody looks at it, or sends it on; what forty of them have brought is not,
//! if they are large.

use super::uring::Uring;
use crate::sys::{self, ring as abi};

/// So many completions are as many as an enter brings up of those that were deferred, or more.
const BATCH: u32 = 16;
/// A transfer of so many bytes is a large one. (So is a descriptor of that number, or `POLLRDHUP`, which costs a system call.)
const LARGE: i32 = 8 << 10;

/// Whether the caches of a CPU hardly hold what so many completions have brought, of which the last has this result, and stands for the
/// others.
#[inline(always)]
pub(super) fn is_heavy(count: u32, last: i32) -> bool {
    count >= BATCH && last >= LARGE
}

impl Uring {
    #[inline]
    pub(crate) fn is_heavy(&self) -> bool {
        self.is_heavy
    }

    /// Hands the staged entries over by an enter of their own, if completions are due that the enter which follows will bring up: else
    /// that would bring up those that are due now and those that are due then. What goes wrong, that one tells.
    #[inline(never)]
    pub(crate) fn submit_apart(&mut self) {
        let due = self.defers && self.flags() & abi::SQ_TASKRUN != 0;
        // Where the queue is full of what the kernel refuses, the enter that follows moves it.
        if !due || self.detours || self.tail == self.head || !self.backlog.is_empty() {
            return;
        }
        self.calls += 1;
        let to_submit = self.publish();
        let _ = sys::enter(self.enter_fd, to_submit, 0, self.enter_flags & !sys::ENTER_GETEVENTS, None, 0);
        self.update_head();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::ring::{Config, Entered, Sqe, Wait};

    #[test]
    fn many_of_which_the_last_is_large_are_heavy() {
        assert!(is_heavy(16, 8192) && is_heavy(40, 1 << 30));
        assert!(!is_heavy(15, 16384), "few");
        assert!(!is_heavy(40, 8191) && !is_heavy(40, -5), "small");
    }

    #[test]
    fn submitted_apart_the_deferred_completions_stay_until_they_are_asked_for() {
        let mut ring = Uring::new(Config::of(4, 8)).unwrap();
        assert!(ring.defers);
        let eventfd = sys::eventfd().unwrap();
        let poll = Sqe::new(io_uring::opcode::PollAdd::CODE).fd(eventfd.as_raw_fd()).op_flags(libc::POLLIN as u32);
        *ring.stage() = Sqe { user_data: 1, ..poll };
        ring.commit();
        ring.enter(Wait::No).unwrap();
        *ring.stage() = Sqe { user_data: 2, ..Sqe::new(io_uring::opcode::Nop::CODE) };
        ring.commit();
        ring.submit_apart();
        assert_eq!((ring.unsubmitted(), ring.calls()), (1, 1), "nothing is due: the next enter does it all");
        sys::eventfd_signal(&eventfd);
        ring.submit_apart();
        assert_eq!((ring.unsubmitted(), ring.calls()), (0, 2));
        let mut seen = Vec::new();
        ring.harvest(|user_data, _| seen.push(user_data));
        assert_eq!(seen, [2]);
        ring.submit_apart();
        assert_eq!(ring.calls(), 2, "nothing is staged");
        assert_eq!(ring.enter(Wait::Completion).unwrap(), Entered::All);
        ring.harvest(|user_data, _| seen.push(user_data));
        assert_eq!(seen, [2, 1]);
    }
}
