//! Where a thread of the kernel's takes what is submitted (`Builder::kernel_thread`).

use super::Driver;
use crate::ring::{Entered, Sqe, Wait};
use crate::slot::Addressee;

impl Driver {
    /// Whether a thread of the kernel's makes what is submitted, while nobody has entered the kernel.
    pub(crate) fn has_thread(&self) -> bool {
        self.ring.is_polled()
    }

    /// Where the kernel's thread makes them, things have effects that come a little after their completions: a file that was
    /// closed is let go of at the end of the thread's round. Waits until it has come to the next one, which it begins with
    /// what was staged now.
    pub(crate) fn let_thread_settle(&mut self) {
        if !self.has_thread() {
            return;
        }
        self.counted_closes += 1;
        self.push_internal(Sqe::new(io_uring::opcode::Nop::CODE), Addressee::Counted);
        while self.closes_pending() {
            self.enter(Wait::Completion);
            self.reap();
        }
    }

    /// Waits until the kernel's thread has taken everything, so that the memory of inputs can be used again.
    #[cold]
    pub(super) fn wait_for_thread(&mut self) {
        loop {
            std::thread::yield_now();
            match self.ring.enter(Wait::No) {
                Ok(Entered::Left) => {}
                Ok(Entered::All) => return self.arena.reset(),
                // The next enter meets the same and says so.
                Ok(Entered::Pressed | Entered::Aside) | Err(_) => return,
            }
        }
    }
}
