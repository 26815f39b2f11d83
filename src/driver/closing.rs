//! A descriptor that goes: from loop to loop, and then away.

use std::os::fd::RawFd;

use super::Driver;
use crate::mail::{Closing, Mail};
use crate::registry;
use crate::ring::{self, Cqe, SKIP_SUCCESS, Sqe};
use crate::slot::Addressee;
use crate::sys;

impl Closing {
    /// Sends it to the next loop that it must visit; gives it back if there is none left.
    pub(crate) fn post(mut self) -> Option<Closing> {
        while let Some(next) = self.visits.last().copied() {
            match registry::post(next, Mail::Close(self)) {
                Ok(()) => return None,
                Err(Mail::Close(back)) => {
                    self = back;
                    // That loop has ended, and with it everything that it had staged.
                    self.visits.pop();
                }
                Err(_) => unreachable!("the same mail comes back"),
            }
        }
        Some(self)
    }

    /// Closes it here and now, where no loop is left that may name it.
    pub(crate) fn close_now(self) {
        // An error here has nobody to go to: `close().await` is for those who want to know.
        let _ = sys::close(self.fd);
    }
}

impl Driver {
    /// Closes a descriptor behind everything that was submitted here, after cancelling what would hold it open. With
    /// `counted` the caller waits with [`Driver::closes_pending`].
    pub(crate) fn close(&mut self, closing: &Closing, loop_id: u64, counted: bool) {
        self.let_go(closing, loop_id);
        if self.ending {
            self.late_closes.push(closing.fd);
            return;
        }
        let flags = if closing.lingers { ring::ASYNC } else { 0 };
        let close = Sqe::new(io_uring::opcode::Close::CODE).fd(closing.fd);
        if counted {
            self.counted_closes += 1;
            self.push_internal(close.flags(flags), Addressee::Counted);
        } else if closing.lingers {
            self.slow_closes.push(closing.fd);
            self.push_internal(close.flags(flags), Addressee::Closing(closing.fd));
        } else {
            self.push_internal(close.flags(SKIP_SUCCESS), Addressee::Nobody);
        }
    }

    /// Cancels what a descriptor that goes still has in flight on this loop, and takes it off the table.
    pub(crate) fn let_go(&mut self, closing: &Closing, loop_id: u64) {
        for &(id, key) in &closing.cancels {
            if id == loop_id {
                self.cancel(key);
            }
        }
        if let Some((id, place)) = closing.place
            && id == loop_id
        {
            self.leave_place(place);
        }
    }

    pub(crate) fn closes_pending(&self) -> bool {
        self.counted_closes > 0
    }
}

/// A close that took its time is done, or was cancelled before it began.
#[cold]
pub(super) fn closed(slow: &mut Vec<RawFd>, late: &mut Vec<RawFd>, fd: RawFd, cqe: Cqe) {
    if let Some(index) = slow.iter().position(|&other| other == fd) {
        slow.swap_remove(index);
        if cqe.result == -libc::ECANCELED {
            // It has not begun, so the number is still ours.
            if let Ok(Some(1..)) = sys::linger(fd) {
                let _ = sys::set_linger(fd, None);
            }
            late.push(fd);
        }
    }
}
