//! Chains: several entries that go to the kernel together and that it takes one behind the other. What is known of one in
//! flight is in `slot::chained`.
//!
//! The kernel ends a chain where the entries of one enter end, so a chain never straddles two: there is room for all of it,
//! or it is not staged. It could still tear if the kernel ran out of memory for requests in the middle of one, which it
//! does only to a process that it is killing.

use std::os::fd::RawFd;
use std::task::Waker;

use super::files::Files;
use super::{Driver, Dropped};
use crate::mail::{Closing, Mail};
use crate::registry;
use crate::ring::{Arena, HARDLINK, LINK, LINKS_AT_MOST, Ring, SKIP_SUCCESS, Sqe, Wait};
use crate::slot::{Addressee, CANCEL, Chained, Key, Lent, Link, State};
use crate::sys::KernelTimespec;

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
    /// There is no place in the table for a file of its own.
    NoPlace,
    /// The link with this number cannot be prepared, for this reason.
    Refused(usize, i32),
}

/// Entries of a chain that is not staged as a whole yet. If it never is, because a link is refused or a buffer of the user's
/// panics when it is asked where it is, they are taken back: their operations are not with the loop then.
struct Staging<'a> {
    ring: &'a mut Ring,
    staged: u32,
    files: &'a mut Files,
    /// The place that it has borrowed.
    place: Option<u32>,
}

impl Staging<'_> {
    fn commit(&mut self) -> u32 {
        self.staged += 1;
        self.ring.commit_fitting()
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if self.staged > 0 {
            self.ring.take_back(self.staged);
        }
        if let Some(place) = self.place {
            self.files.free(place);
        }
    }
}

impl Driver {
    /// Stages a chain. `prepare` makes the entry of the link with a number, and says how that stands. If one of them opens a
    /// file for the chain, it is told the place for that.
    pub(crate) fn submit_chain(
        &mut self,
        waker: Waker,
        count: usize,
        entries: usize,
        opens: bool,
        mut prepare: impl FnMut(usize, Option<u32>, &mut Sqe, &mut Arena) -> Result<Entry, i32>,
    ) -> Result<Key, (Unstaged, Waker)> {
        debug_assert!(!self.ending, "nothing is submitted on a loop that ends");
        if entries > self.ring.capacity() {
            return Err((Unstaged::TooLong, waker));
        }
        self.make_room(entries);
        if !self.slots.next_may_have_links() {
            return Err((Unstaged::Refused(0, libc::ENOMEM), waker));
        }
        let mut lent = None;
        if opens {
            let Some(place) = self.lend_place() else { return Err((Unstaged::NoPlace, waker)) };
            lent = Some(Lent { place, opener: 0, closers: 0 });
        }
        let key = self.slots.next_key();
        let Driver { ring, arena, files, .. } = self;
        let place = lent.as_ref().map(|lent| lent.place);
        let mut staging = Staging { ring, staged: 0, files, place };
        let mut links = [Link::LOUD; LINKS_AT_MOST];
        let mut numbers = [-1; LINKS_AT_MOST];
        let mut position = None;
        for (number, link) in links.iter_mut().enumerate().take(count) {
            let sqe = staging.ring.stage();
            arena.by_call = 0;
            let entry = match prepare(number, place, sqe, arena) {
                Ok(entry) => entry,
                Err(errno) => return Err((Unstaged::Refused(number, errno), waker)),
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
            if number > 0 {
                numbers[number] = sqe.number().unwrap_or(-1);
            }
            if let Some(lent) = &mut lent {
                lent.note(number, sqe);
            }
            let at = staging.commit();
            position.get_or_insert(at);
            if let Some(ns) = entry.limit_ns {
                let timespec = arena.store(KernelTimespec::of_ns(ns));
                let limit = Sqe::new(io_uring::opcode::LinkTimeout::CODE).addr(timespec).len(1);
                *staging.ring.stage() = limit.flags(tie | SKIP_SUCCESS);
                staging.ring.stage().user_data = Addressee::Nobody.user_data();
                staging.commit();
            }
        }
        let staged = std::mem::take(&mut staging.staged);
        staging.place = None;
        drop(staging);
        debug_assert_eq!(staged as usize, entries);
        let chained = Chained::new(key, &links[..count], numbers, staged, lent);
        self.slots.insert_chain(key, position.expect("a chain has links"), waker, chained);
        Ok(key)
    }

    /// Enters until so many entries can be staged that go to the kernel together.
    pub(super) fn make_room(&mut self, entries: usize) {
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
        if let Some((place, _)) = self.slots.chain(key).and_then(Chained::take_place) {
            self.take_place_back(place, false);
        }
        let own = (0..LINKS_AT_MOST as u32).map(|number| Addressee::Slot(key.link(number)).user_data());
        let own: Vec<u64> = own.chain([Addressee::Nobody.user_data()]).collect();
        for position in (0..entries).map(|offset| position.wrapping_add(offset)) {
            let user_data = own.iter().find(|&&user_data| self.ring.staged_mut(position, user_data).is_some());
            let user_data = *user_data.expect("all entries of a chain are handed over together");
            let sqe = self.ring.staged_mut(position, user_data).expect("just found");
            sqe.void();
            sqe.user_data = Addressee::Nobody.user_data();
        }
        let state = self.slots.remove(key).0;
        self.pass_held_on();
        match state {
            State::Waiting(waker) => Dropped::Voided(Some(waker)),
            _ => Dropped::Voided(None),
        }
    }

    /// Asks the kernel to cancel whichever link it is at. It finds none that has not begun, so this is done again as long as
    /// the chain goes on: see `slot::chained`.
    pub(super) fn cancel_chain(&mut self, key: Key) {
        for number in self.slots.stop_chain(key) {
            let link = Addressee::Slot(key.link(number)).user_data();
            let cancel = Sqe::cancelling(link);
            self.push_internal(cancel, Addressee::Slot(key.link(CANCEL)));
        }
    }

    // ---- descriptors ------------------------------------------------------------------------------------------

    /// Ends the chains of which a link may yet look up this descriptor. Tells whether there are any: until there are none, its
    /// number must not be another's.
    pub(crate) fn end_chains_naming(&mut self, number: RawFd) -> bool {
        self.let_go_of_polled(number);
        if !self.slots.has_chains() {
            return false;
        }
        let keys: Vec<(Key, bool)> = self.slots.chains_naming(number).collect();
        keys.iter().filter(|(_, stopping)| !stopping).for_each(|&(key, _)| self.cancel(key));
        !keys.is_empty()
    }

    /// The same, and waits for that.
    pub(crate) fn await_chains_naming(&mut self, number: RawFd) {
        self.end_chains_naming(number);
        while self.slots.chains_naming(number).next().is_some() {
            self.enter(Wait::Completion);
            self.reap();
        }
    }

    /// Takes a descriptor that goes, if it must wait for chains here: it comes by mail again when they have ended.
    pub(crate) fn hold_for_chains(&mut self, mut closing: Closing, loop_id: u64) -> Option<Closing> {
        if !self.end_chains_naming(closing.fd) {
            return Some(closing);
        }
        self.let_go(&closing, loop_id);
        if closing.place.is_some_and(|(id, _)| id == loop_id) {
            closing.place = None;
        }
        self.held.push((loop_id, closing));
        None
    }

    /// Passes on those that no chain names any more.
    #[cold]
    pub(super) fn pass_held_on(&mut self) {
        let slots = &self.slots;
        let is_named = |held: &(u64, Closing)| slots.chains_naming(held.1.fd).next().is_some();
        let (held, free): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held).into_iter().partition(is_named);
        self.held = held;
        for (loop_id, closing) in free {
            let Err(Mail::Close(mut closing)) = registry::post(loop_id, Mail::Close(closing)) else { continue };
            // This loop ends. Nothing here names it.
            closing.visits.retain(|&id| id != loop_id);
            if let Some(closing) = closing.post() {
                self.late_closes.push(closing.fd);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context;
    use crate::op::nop;

    /// To find it out when it is staged would free what its entries point to.
    #[test]
    fn a_chain_for_whose_links_there_are_no_names_is_not_staged() {
        crate::block_on(async {
            let stage = |driver: &mut Driver| {
                let prepare = |_: usize, _: Option<u32>, sqe: &mut Sqe, _: &mut Arena| {
                    *sqe = Sqe::new(io_uring::opcode::Nop::CODE);
                    Ok(Entry { link: Link::LOUD, limit_ns: None })
                };
                driver.submit_chain(Waker::noop().clone(), 2, 2, false, prepare)
            };
            context::with(|core| {
                let driver = &mut *core.driver.borrow_mut();
                let before = (driver.ring.staged(), driver.slots.skip_to(u32::MAX >> 6));
                let refused = stage(driver);
                driver.slots.skip_to(before.1);
                assert!(matches!(refused, Err((Unstaged::Refused(0, libc::ENOMEM), _))));
                assert_eq!(driver.ring.staged(), before.0);
            });
            nop().await.unwrap();
        });
    }
}
