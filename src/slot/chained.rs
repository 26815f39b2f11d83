//! Several entries under one slot: a chain, whose entries the kernel takes one behind the other.
//!
//! ```text
//!   slot 7 ── chain ── link 0 ──► link 1 ──► link 2          one future, one waker, one wake
//!                       user_data: 7 and the link's number, each its own
//! ```
//!
//! A completion for a link finds its slot by a path of its own, off that of all other operations: an index with the
//! highest bit set is in no slab. The future is woken when the last completion of the chain is here. Which one that is
//! depends: a *silent* link gives none if it succeeds (`IOSQE_CQE_SKIP_SUCCESS`), and if it fails, what follows it is
//! cancelled without a word; a loud one that fails softly gives one, and so does everything behind it.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::task::Waker;

use super::{Delivered, Earlier, Key, Slots, State, Status};
use crate::ring::{Cqe, LINKS_AT_MOST, Sqe};

/// The bit that says that a name is a link's.
pub(super) const LINK_OF_CHAIN: u32 = 1 << 31;
const NUMBER_SHIFT: u32 = 26;
pub(super) const INDEX_MASK: u32 = (1 << NUMBER_SHIFT) - 1;

/// Numbers of what is no link: the cancellation of a chain or of an operation, the clock by which it is tried again, and the
/// cancellation of an operation that was not found before.
pub(crate) const CANCEL: u32 = 31;
pub(crate) const RETRY: u32 = 30;
pub(crate) const CANCEL_AGAIN: u32 = 29;
const _: () = assert!(LINKS_AT_MOST <= CANCEL_AGAIN as usize);

impl Key {
    /// Whether there are names for links of this one. The last names of all are the loop's own.
    pub(super) fn may_have_links(self) -> bool {
        self.index < INDEX_MASK - 15
    }

    /// The name of a link of the chain with this name.
    pub(crate) fn link(self, number: u32) -> Key {
        debug_assert!(self.index <= INDEX_MASK && number < 32);
        Key { index: LINK_OF_CHAIN | number << NUMBER_SHIFT | self.index, ..self }
    }

    /// The number, if it is a link's name.
    pub(crate) fn number(self) -> Option<u32> {
        (self.index & LINK_OF_CHAIN != 0).then_some(self.index >> NUMBER_SHIFT & 31)
    }

    /// The chain's name for a link's, and any other as it is.
    pub(crate) fn whole(self) -> Key {
        if self.index & LINK_OF_CHAIN == 0 { self } else { Key { index: self.index & INDEX_MASK, ..self } }
    }
}

/// How a link stands in its chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// What success gives, where that is known.
    pub exact: Option<i32>,
    /// Success gives no completion. Only where it is known what it would give, and what follows is tied softly.
    pub silent: bool,
    /// What follows goes on even if this fails.
    pub hard: bool,
}

impl Link {
    pub(crate) const LOUD: Link = Link { exact: None, silent: false, hard: false };

    /// Whether the kernel takes this for a failure, so that what follows softly is cancelled.
    fn is_failure(self, cqe: Cqe) -> bool {
        cqe.result < 0 || self.exact.is_some_and(|exact| exact != cqe.result)
    }
}

/// A place in the table of files that a chain has for a file of its own.
#[derive(Debug)]
pub(crate) struct Lent {
    pub place: u32,
    /// The link that fills it.
    pub opener: u8,
    /// The links that empty it: bits by number.
    pub closers: u8,
}

impl Lent {
    /// What the entry of the link with this number does to it.
    pub(crate) fn note(&mut self, number: usize, sqe: &Sqe) {
        if sqe.fills_place() {
            self.opener = number as u8;
        } else if sqe.empties_place() {
            self.closers |= 1 << number;
        }
    }
}

/// A chain in flight.
#[derive(Debug)]
pub(crate) struct Chained {
    links: [Link; LINKS_AT_MOST],
    count: usize,
    /// How many entries it has: links and their time limits.
    pub entries: u32,
    key: Key,
    /// The descriptors that its links name, which the kernel looks up late: when it gets to the link. -1 for the first.
    numbers: [RawFd; LINKS_AT_MOST],
    /// Bits by number.
    arrived: u32,
    results: [Cqe; LINKS_AT_MOST],
    /// How many results the future has taken.
    taken: usize,
    /// Somebody wants it to end.
    stopping: bool,
    /// Cancellations that the kernel has not answered.
    cancels: u32,
    /// Whether one of them has found something to cancel.
    found: bool,
    /// Whether a link has ended since they were asked for, so that another may have begun.
    moved: bool,
    lent: Option<Lent>,
}

impl Chained {
    pub(crate) fn new(
        key: Key,
        links: &[Link],
        numbers: [RawFd; LINKS_AT_MOST],
        entries: u32,
        lent: Option<Lent>,
    ) -> Chained {
        let mut all = [Link::LOUD; LINKS_AT_MOST];
        all[..links.len()].copy_from_slice(links);
        debug_assert!(links.iter().all(|link| !link.silent || link.exact.is_some() && !link.hard));
        Chained {
            links: all,
            count: links.len(),
            entries,
            key,
            numbers,
            arrived: 0,
            results: [Cqe::of(0); LINKS_AT_MOST],
            taken: 0,
            stopping: false,
            cancels: 0,
            found: false,
            moved: false,
            lent,
        }
    }

    /// The place that it has borrowed, if it has not been taken back, and whether it has left a file there: it was opened, and
    /// closed by none of its links. To be asked when the chain is over.
    pub(crate) fn take_place(&mut self) -> Option<(u32, bool)> {
        let Lent { place, opener, closers } = self.lent.take()?;
        let has_closed = |number: &usize| closers & 1 << number != 0 && self.result(*number).result == 0;
        let is_filled = self.result(opener.into()).result >= 0 && !(0..self.count).any(|number| has_closed(&number));
        Some((place, is_filled))
    }

    fn has(&self, number: usize) -> bool {
        self.arrived & 1 << number != 0
    }

    /// Whether no completion comes any more.
    fn is_complete(&self) -> bool {
        // A loud link has failed softly: everything behind it says so.
        let mut all_tell = false;
        for number in 0..self.count {
            let link = self.links[number];
            if !self.has(number) {
                if all_tell || !link.silent {
                    return false;
                }
                continue;
            }
            if !all_tell && !link.hard && number + 1 < self.count && link.is_failure(self.results[number]) {
                if link.silent {
                    return true;
                }
                all_tell = true;
            }
        }
        true
    }

    /// The result of a link, once the chain is complete.
    fn result(&self, number: usize) -> Cqe {
        if self.has(number) {
            return self.results[number];
        }
        let fails = |before: usize| self.has(before) && !self.links[before].hard && self.links[before].silent;
        match self.links[number].exact {
            // What came softly before it would have been heard of.
            Some(exact) if self.links[number].silent && !(0..number).any(fails) => Cqe::of(exact),
            _ => Cqe::of(-libc::ECANCELED),
        }
    }

    /// What an owner is given that takes all at once.
    fn all(&self) -> (Earlier, Cqe) {
        let last = self.count - 1;
        let earlier: VecDeque<Cqe> = (self.taken..last).map(|number| self.result(number)).collect();
        ((!earlier.is_empty()).then(|| Box::new(earlier)), self.result(last))
    }

    /// The numbers of those that have not been heard of.
    fn outstanding(&self) -> impl Iterator<Item = u32> {
        let arrived = self.arrived;
        (0..self.count as u32).filter(move |number| arrived & 1 << number == 0)
    }
}

/// What a completion for a chain brings up.
pub(crate) enum Heard {
    /// There is no such chain any more, or more is to come.
    Nothing,
    Stale,
    Wake(Waker),
    Delivered(Delivered, Cqe),
    /// It is to be cancelled once more: another link has begun meanwhile.
    Cancel,
    /// The same, but not before some time has passed: a link is at work that cannot be interrupted.
    CancelLater,
    /// An operation that is no chain is to be cancelled once more. So often it was not found.
    CancelAgain(u32),
}

impl Slots {
    /// Whether there are names for the links of a chain in the slot that is filled next.
    pub(crate) fn next_may_have_links(&self) -> bool {
        self.next_key().may_have_links()
    }

    /// Fills the slot that `next_key` has just named with a chain, which it may have.
    pub(crate) fn insert_chain(&mut self, key: Key, position: u32, waker: Waker, chained: Chained) {
        debug_assert!(key.may_have_links());
        self.insert(key, position, waker);
        let id = self.chains.insert(chained);
        let slot = &mut self.slots[key.index as usize];
        slot.status = Status::Chained;
        slot.cqe = Cqe::of(id as i32);
    }

    /// The chain in a slot, if there is one.
    pub(crate) fn chain(&mut self, key: Key) -> Option<&mut Chained> {
        let id = self.get_mut(key)?.chain()?;
        self.chains.get_mut(id)
    }

    #[inline]
    pub(crate) fn has_chains(&self) -> bool {
        !self.chains.is_empty()
    }

    /// The chains in flight of which a link may yet look this descriptor up, and whether each is to end already.
    pub(crate) fn chains_naming(&self, number: RawFd) -> impl Iterator<Item = (Key, bool)> {
        // Without a chain in flight there is nothing to look through, however many there were once.
        let chains = self.has_chains().then(|| self.chains.iter()).into_iter().flatten();
        let chains = chains.map(|(_, chained)| chained);
        let naming = chains.filter(move |chained| chained.numbers.contains(&number) && !chained.is_complete());
        naming.map(|chained| (chained.key, chained.stopping))
    }

    /// The next result of a chain that is complete, and whether it is the last: that one frees the slot.
    #[inline(always)]
    pub(crate) fn take_link(&mut self, key: Key) -> Option<(Cqe, bool)> {
        let slot = self.get_mut(key)?;
        if slot.status != Status::ChainDone {
            return None;
        }
        let id = slot.cqe.result as usize;
        let chained = &mut self.chains[id];
        let cqe = chained.result(chained.taken);
        chained.taken += 1;
        let last = chained.taken == chained.count;
        if last {
            self.chains.remove(id);
            self.make_free(key);
        }
        Some((cqe, last))
    }

    /// Hands a completion to the chain that it is for.
    #[cold]
    #[inline(never)]
    pub(crate) fn hear(&mut self, link: Key, cqe: Cqe) -> Heard {
        let (key, number) = (link.whole(), link.number().expect("a link's name"));
        let Some(chained) = self.chain(key).filter(|chained| !chained.is_complete()) else {
            // An answer to a cancellation may come behind everything.
            return if number >= CANCEL_AGAIN { self.hear_answer(key, number, cqe) } else { Heard::Stale };
        };
        match number {
            RETRY => return Heard::Cancel,
            CANCEL => {
                chained.cancels -= 1;
                chained.found |= cqe.result == 0;
                return match chained.cancels {
                    0 if chained.moved => Heard::Cancel,
                    // It is between two links, or at work where it cannot be interrupted.
                    0 if !chained.found => Heard::CancelLater,
                    _ => Heard::Nothing,
                };
            }
            _ => {}
        }
        chained.arrived |= 1 << number;
        chained.results[number as usize] = cqe;
        if !chained.is_complete() {
            chained.moved = true;
            return if chained.stopping && chained.cancels == 0 { Heard::Cancel } else { Heard::Nothing };
        }
        if chained.lent.is_some() {
            self.place_left = chained.take_place();
        }
        let slot = &mut self.slots[key.index as usize];
        if slot.status == Status::Chained {
            slot.status = Status::ChainDone;
            return Heard::Wake(slot.waker.take().expect("somebody waits for a chain in flight"));
        }
        let id = slot.chain().expect("just found");
        let (earlier, last) = self.chains[id].all();
        let delivered = match self.remove(key).0 {
            State::Orphan(orphan) => Delivered::Orphan(orphan, earlier),
            State::Watched(cell) => Delivered::Watched(cell, earlier),
            state => unreachable!("a chain that nobody waits for is {state:?}"),
        };
        Heard::Delivered(delivered, last)
    }

    /// What the cancel of an operation that is no chain came to. While that is in flight, its slot counts how often it was
    /// not found.
    fn hear_answer(&mut self, key: Key, number: u32, cqe: Cqe) -> Heard {
        let Some(slot) = self.get_mut(key).filter(|slot| !slot.is_done() && !slot.is_chain()) else {
            return Heard::Nothing;
        };
        match number {
            RETRY => Heard::CancelAgain(0),
            // It is at work, and was told to stop.
            _ if cqe.result != -libc::ENOENT => Heard::Nothing,
            CANCEL => {
                slot.not_found = 1;
                Heard::CancelAgain(1)
            }
            _ => {
                slot.not_found = slot.not_found.saturating_add(1);
                Heard::CancelAgain(slot.not_found.into())
            }
        }
    }

    /// The links that are to be cancelled for a chain to end. Their answers are counted.
    pub(crate) fn stop_chain(&mut self, key: Key) -> Vec<u32> {
        let Some(chained) = self.chain(key).filter(|chained| !chained.is_complete()) else { return Vec::new() };
        chained.stopping = true;
        if chained.cancels > 0 {
            return Vec::new();
        }
        let numbers: Vec<u32> = chained.outstanding().collect();
        (chained.cancels, chained.found, chained.moved) = (numbers.len() as u32, false, false);
        numbers
    }

    /// What a slot held that is freed: its state and what came before the last completion.
    pub(super) fn take_chain(&mut self, id: usize, done: bool, state: State) -> (State, Earlier) {
        let chained = self.chains.remove(id);
        if !done {
            return (state, None);
        }
        let (earlier, last) = if chained.taken < chained.count { chained.all() } else { (None, Cqe::of(0)) };
        (State::Done(last), earlier)
    }
}

impl super::Slot {
    /// Where the chain is that lies in this slot.
    pub(super) fn chain(&self) -> Option<usize> {
        match self.status {
            Status::Chained | Status::ChainDone => Some(self.cqe.result as usize),
            Status::Rare => self.rare.as_ref().and_then(|rare| rare.chain),
            _ => None,
        }
    }

    pub(crate) fn is_chain(&self) -> bool {
        self.chain().is_some()
    }
}
