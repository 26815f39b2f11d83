//! Chains: several entries that go to the kernel together and that it takes one behind the other. What is known of one in
//! flight is in `slot::chained`.
//!
//! The kernel ends a chain where the entries of one enter end, so a chain never straddles two: there is room for all of it,
//! or it is not staged. It could still tear if the kernel ran out of memory for requests in the middle of one, which it
//! does only to a process that it is killing.

use std::task::Waker;

use super::{Driver, Dropped};
use crate::ring::{Arena, HARDLINK, LINK, LINKS_AT_MOST, SKIP_SUCCESS, Sqe};
use crate::slot::{Addressee, CANCEL, Chained, Key, Link, RETRY, State};
use crate::sys::KernelTimespec;

/// When it is tried again to cancel a chain of which a link is at work that cannot be interrupted.
const RETRY_NS: u64 = 10_000_000;

/// One link as it is submitted.
pub(crate) struct Entry {
    pub link: Link,
    /// What the kernel is to cancel it after.
    pub limit_ns: Option<u64>,
}

/// Why a chain was not staged.
pub(crate) enum Unstaged {
    /// It has more entries than the queue.
    TooLong,
    /// The link with this number cannot be prepared, for this reason.
    Refused(usize, i32),
}

impl Driver {
    /// Stages a chain. `prepare` makes the entry of the link with a number, and says how that stands.
    pub(crate) fn submit_chain(
        &mut self,
        waker: Waker,
        count: usize,
        entries: usize,
        mut prepare: impl FnMut(usize, &mut Sqe, &mut Arena) -> Result<Entry, i32>,
    ) -> Result<Key, (Unstaged, Waker)> {
        debug_assert!(!self.ending, "nothing is submitted on a loop that ends");
        if entries > self.ring.capacity() {
            return Err((Unstaged::TooLong, waker));
        }
        self.make_room(entries);
        let key = self.slots.next_key();
        let mut links = [Link::LOUD; LINKS_AT_MOST];
        let (mut position, mut staged) = (None, 0);
        for (number, link) in links.iter_mut().enumerate().take(count) {
            let sqe = self.ring.stage();
            let entry = match prepare(number, sqe, &mut self.arena) {
                Ok(entry) => entry,
                Err(errno) => {
                    self.ring.take_back(staged);
                    return Err((Unstaged::Refused(number, errno), waker));
                }
            };
            *link = entry.link;
            let last = number + 1 == count;
            let tie = if last {
                0
            } else if entry.link.hard {
                HARDLINK
            } else {
                LINK
            };
            sqe.flags |= tie | if entry.link.silent { SKIP_SUCCESS } else { 0 };
            sqe.user_data = Addressee::Slot(key.link(number as u32)).user_data();
            if entry.limit_ns.is_some() {
                sqe.flags |= if tie == 0 { LINK } else { 0 };
            }
            let at = self.ring.commit_fitting();
            position.get_or_insert(at);
            staged += 1;
            if let Some(ns) = entry.limit_ns {
                let timespec = self.arena.store(KernelTimespec::of_ns(ns));
                let limit = Sqe::new(io_uring::opcode::LinkTimeout::CODE).addr(timespec).len(1);
                *self.ring.stage() = limit.flags(tie | SKIP_SUCCESS);
                self.ring.stage().user_data = Addressee::Nobody.user_data();
                self.ring.commit_fitting();
                staged += 1;
            }
        }
        debug_assert_eq!(staged as usize, entries);
        let chained = Chained::new(&links[..count], staged);
        self.slots.insert_chain(key, position.expect("a chain has links"), waker, chained);
        Ok(key)
    }

    /// Enters until so many entries can be staged that go to the kernel together.
    fn make_room(&mut self, entries: usize) {
        while self.ring.room() < entries {
            self.flush();
            if self.ring.room() < entries {
                // As in `submit_all`.
                std::thread::yield_now();
            }
        }
    }

    /// The future of a chain is being dropped: its entries are made void, if they are the loop's still.
    pub(super) fn void_chain(&mut self, key: Key, position: u32) -> Dropped {
        let first = Addressee::Slot(key.link(0)).user_data();
        if self.ring.staged_mut(position, first).is_none() {
            return Dropped::InFlight;
        }
        let entries = self.slots.chain(key).expect("a chain").entries;
        let own = (0..LINKS_AT_MOST as u32).map(|number| Addressee::Slot(key.link(number)).user_data());
        let own: Vec<u64> = own.chain([Addressee::Nobody.user_data()]).collect();
        for position in (0..entries).map(|offset| position.wrapping_add(offset)) {
            let user_data = own.iter().find(|&&user_data| self.ring.staged_mut(position, user_data).is_some());
            let user_data = *user_data.expect("all entries of a chain are handed over together");
            let sqe = self.ring.staged_mut(position, user_data).expect("just found");
            sqe.void();
            sqe.user_data = Addressee::Nobody.user_data();
        }
        match self.slots.remove(key).0 {
            State::Waiting(waker) => Dropped::Voided(Some(waker)),
            _ => Dropped::Voided(None),
        }
    }

    /// Asks the kernel to cancel whichever link it is at. It finds none that has not begun, so this is done again as long as
    /// the chain goes on: see `slot::chained`.
    pub(super) fn cancel_chain(&mut self, key: Key) {
        for number in self.slots.stop_chain(key) {
            let link = Addressee::Slot(key.link(number)).user_data();
            let cancel = Sqe::new(io_uring::opcode::AsyncCancel::CODE).addr(link);
            self.push_internal(cancel, Addressee::Slot(key.link(CANCEL)));
        }
    }

    /// Has that done in a while.
    pub(super) fn cancel_chain_later(&mut self, key: Key) {
        // First, for it may end with the inputs of everything that is staged being forgotten.
        self.make_room(1);
        let timespec = self.arena.store(KernelTimespec::of_ns(RETRY_NS));
        let timeout = Sqe::new(io_uring::opcode::Timeout::CODE).addr(timespec).len(1);
        self.push_internal(timeout, Addressee::Slot(key.link(RETRY)));
    }
}
