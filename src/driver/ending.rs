//! What the driver does when its loop ends.

use std::os::fd::RawFd;

use super::Driver;
use crate::registry::Results;
use crate::ring::{SKIP_SUCCESS, Sqe};
use crate::slot::{Addressee, Key, State};

impl Driver {
    /// From here on nothing new is submitted but cancels.
    pub(crate) fn begin_ending(&mut self) {
        self.submit_all();
        self.ending = true;
    }

    /// Cancels everything that is in flight, but not what somebody was told is done.
    pub(crate) fn cancel_all(&mut self) {
        let (_, others) = self.by_promise();
        others.into_iter().for_each(|key| self.cancel(key));
    }

    /// Cancels that, too. Tells whether there was any.
    pub(crate) fn cancel_promised(&mut self) -> bool {
        let (promised, _) = self.by_promise();
        promised.iter().for_each(|&key| self.cancel(key));
        !promised.is_empty()
    }

    /// What is in flight: what somebody was told is done, and the rest.
    fn by_promise(&mut self) -> (Vec<Key>, Vec<Key>) {
        let keys: Vec<Key> = self.slots.in_flight().collect();
        let is_promised =
            |key: &Key| self.slot(*key).and_then(|slot| slot.orphan()).is_some_and(|orphan| orphan.is_promised());
        keys.into_iter().partition(is_promised)
    }

    /// Closes that take their time, still under way.
    pub(crate) fn closes_slowly(&self) -> bool {
        !self.slow_closes.is_empty()
    }

    /// Waits for them no longer: those that have not begun are closed at the end, without waiting for what is not sent yet.
    pub(crate) fn hurry_closes(&mut self) {
        for fd in self.slow_closes.clone() {
            let user_data = Addressee::Closing(fd).user_data();
            self.push_internal(Sqe::cancelling(user_data).flags(SKIP_SUCCESS), Addressee::Nobody);
        }
    }

    /// Whether the kernel has let go of everything.
    pub(crate) fn all_reaped(&self) -> bool {
        self.slots.in_flight().next().is_none()
    }

    /// The results that no future has taken, once all is reaped.
    pub(crate) fn take_results(&mut self) -> Results {
        let mut results = Results::new();
        for (key, state, earlier) in self.slots.drain() {
            let State::Done(cqe) = state else { unreachable!("all is reaped") };
            results.insert(key, (earlier, cqe));
        }
        results
    }

    /// Descriptors whose objects were dropped while the loop ended.
    pub(crate) fn take_late_closes(&mut self) -> Vec<RawFd> {
        std::mem::take(&mut self.late_closes)
    }

    /// The kernel has not let go of everything: gives up what it may touch, and tells how many operations that were.
    /// The caller leaks the driver itself.
    pub(crate) fn give_up(&mut self) -> (usize, Vec<State>) {
        let mut states = Vec::new();
        for (_, state, _) in self.slots.drain() {
            if !matches!(state, State::Done(_)) {
                states.push(state);
            }
        }
        (states.len(), states)
    }
}
