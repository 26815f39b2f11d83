//! A descriptor that goes: from loop to loop, and then away.

use crate::mail::{Closing, Mail};
use crate::registry;
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
