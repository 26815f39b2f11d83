//! A descriptor that goes: from loop to loop, and then away.

use std::os::fd::RawFd;

use crate::mail::{Closing, Mail};
use crate::registry;
use crate::ring::Cqe;
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
