//! Asking the kernel to end an operation, and asking again when it did not find what is there.
//!
//! An operation that the kernel is about to try again, because its file says that it is ready, is in no list in which a cancel
//! looks (`ENOENT`). At that attempt it may block, and then nobody would ever end it: Linux 6.1 gives each write to a pipe to
//! a worker thread in that way, and where somebody else takes what was there any kernel may. So it is asked again as long as
//! the operation is in flight: at once, for one enter takes it to where it is found, and then at growing intervals, for what
//! a disk has under way is not found before it is done.

use super::Driver;
use super::harvest::Chore;
use crate::ring::{SKIP_SUCCESS, Sqe};
use crate::slot::{Addressee, CANCEL, CANCEL_AGAIN, Key, RETRY};
use crate::sys::KernelTimespec;

/// When it is tried again to cancel what could not be cancelled.
const RETRY_NS: u64 = 10_000_000;
/// An operation that is found no more often than that is looked for after twice the time.
const DOUBLINGS: u32 = 6;

impl Driver {
    /// Asks the kernel to cancel an operation. Its completion tells what became of it.
    pub(crate) fn cancel(&mut self, key: Key) {
        let key = key.whole();
        let Some(slot) = self.slot(key).filter(|slot| !slot.is_done()) else { return };
        if slot.is_chain() {
            return self.cancel_chain(key);
        }
        let position = slot.position();
        if self.is_polled_for(key, position) {
            return;
        }
        self.push_cancel(key, CANCEL);
    }

    fn push_cancel(&mut self, key: Key, number: u32) {
        let user_data = Addressee::Slot(key).user_data();
        self.push_internal(Sqe::cancelling(user_data).flags(SKIP_SUCCESS), Addressee::answer(key, number));
    }

    /// A cancel has found nothing so often, and the operation is in flight.
    fn cancel_again(&mut self, key: Key, times: u32) {
        match pause_ns(times) {
            Some(pause) => self.remind(key, pause),
            None if self.is_in_flight(key) => self.push_cancel(key, CANCEL_AGAIN),
            None => {}
        }
    }

    /// Has a slot hear of it in a while.
    fn remind(&mut self, key: Key, after_ns: u64) {
        // First, for it may end with the inputs of everything that is staged being forgotten.
        self.make_room(1);
        let timespec = self.arena.store(KernelTimespec::of_ns(after_ns));
        let timeout = Sqe::new(io_uring::opcode::Timeout::CODE).addr(timespec).len(1);
        self.push_internal(timeout, Addressee::answer(key, RETRY));
    }

    /// Stops operations that bring more than anybody takes, whose streams begin again when all has been taken, and what has
    /// outlived a cancel; takes back what chains had.
    #[cold]
    pub(super) fn do_chores(&mut self) {
        while let Some(chore) = self.harvest.chores.pop() {
            match chore {
                Chore::Stop(key) => self.cancel(key),
                Chore::StopLater(key) => self.remind(key, RETRY_NS),
                Chore::StopAgain(key, times) => self.cancel_again(key, times),
                Chore::TakeBack(place, is_filled) => self.take_place_back(place, is_filled),
            }
        }
    }
}

/// How long nobody looks, when it was looked for in vain so often; not at all after the first time.
fn pause_ns(times: u32) -> Option<u64> {
    times.checked_sub(2).map(|before| RETRY_NS << before.min(DOUBLINGS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let pauses_ms = [1, 2, 3, 4, 8, 9, u32::MAX].map(|times| pause_ns(times).map(|ns| ns / 1_000_000));
        assert_eq!(pauses_ms, [None, Some(10), Some(20), Some(40), Some(640), Some(640), Some(640)]);
    }
}
