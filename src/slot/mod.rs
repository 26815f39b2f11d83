//! L1: one operation in flight, as its loop sees it. No system calls, no tasks: a slot knows a waker.
//!
//! # An operation's life
//!
//! The operation's value (its buffer, its path) lives inside the future. The loop keeps only a slot for it: where its
//! entry was staged, who is to be woken, and what the kernel said. Nothing is allocated.
//!
//! ```text
//!            submit                  last CQE                  polled
//!  (future) ────────► Waiting(waker) ─────────► Done(cqe) ───────────────► freed
//!                        │    │                    │
//!    polled on another   │    │ future dropped     │ future dropped: its value completes with the CQE, freed
//!    loop or thread      │    ▼
//!                        │  entry still staged: made void, freed at once
//!                        │  entry with the kernel: Orphan(value) ── final CQE ──► the value completes, freed
//!                        ▼
//!                     Watched(shared cell) ── final CQE ──► the cell is filled, its waker woken, freed
//! ```
//!
//! * A slot is touched by its own loop only. A future that is polled or dropped elsewhere sends mail (`mail`), and the
//!   loop does to the slot what it would have done itself. A `Done` slot is freed only when its result is taken or by
//!   such mail, so mail always finds the slot it means.
//! * An operation may give several CQEs (`F_MORE`). They are kept in order, one in the slot itself (`Kept`), more of them
//!   in `earlier`, and the last one ends the slot's life in the kernel. Operations that receive again and again live on that,
//!   mostly with one that is taken before the next comes; `SEND_ZC` gives its result first, and the buffer is the kernel's
//!   until the notification.
//! * A slot's name is its index and a generation that the loop counts up with every submission; both make the entry's
//!   `user_data`. A CQE, a cancel or a piece of mail for an older generation is recognised and ignored.

mod chained;
mod elsewhere;

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::{Poll, Waker};

pub(crate) use chained::{CANCEL, CANCEL_AGAIN, Chained, Heard, Lent, Link, RETRY};
pub(crate) use elsewhere::{Elsewhere, Handed};

use crate::ring::Cqe;

/// The name of a slot, for as long as it is in use and ever after: generations are not reused within 2^32 submissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Indices from here on are no slots but the loop's own entries.
const FIRST_INTERNAL: u32 = u32::MAX - 15;

/// Who a completion is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Addressee {
    Slot(Key),
    /// The poll on the inbox's eventfd.
    Wakeup,
    /// Cancels and closes that nobody waits for.
    Nobody,
    /// Closes whose end the loop waits for before it goes on.
    Counted,
    /// A close that takes its time, by the number that it closes.
    Closing(RawFd),
    /// The timeout by which a guest is woken for its next timer.
    Deadline,
    /// A place in the table of files was filled.
    Filled(u32),
}

impl Addressee {
    #[inline]
    pub(crate) const fn user_data(self) -> u64 {
        match self {
            Addressee::Slot(key) => (key.generation as u64) << 32 | key.index as u64,
            Addressee::Wakeup => FIRST_INTERNAL as u64,
            Addressee::Nobody => FIRST_INTERNAL as u64 + 1,
            Addressee::Counted => FIRST_INTERNAL as u64 + 2,
            Addressee::Closing(fd) => (fd as u32 as u64) << 32 | (FIRST_INTERNAL as u64 + 3),
            Addressee::Deadline => FIRST_INTERNAL as u64 + 4,
            Addressee::Filled(place) => (place as u64) << 32 | (FIRST_INTERNAL as u64 + 5),
        }
    }

    /// Who hears what a cancel of an operation came to. With more slots than have names for that, nobody.
    pub(crate) fn answer(key: Key, number: u32) -> Addressee {
        if key.may_have_links() { Addressee::Slot(key.link(number)) } else { Addressee::Nobody }
    }

    #[inline]
    pub(crate) const fn of(user_data: u64) -> Addressee {
        let index = user_data as u32;
        if index < FIRST_INTERNAL {
            return Addressee::Slot(Key { index, generation: (user_data >> 32) as u32 });
        }
        match index - FIRST_INTERNAL {
            0 => Addressee::Wakeup,
            2 => Addressee::Counted,
            3 => Addressee::Closing((user_data >> 32) as RawFd),
            4 => Addressee::Deadline,
            5 => Addressee::Filled((user_data >> 32) as u32),
            _ => Addressee::Nobody,
        }
    }
}

/// An operation's value after its future was dropped: it waits for the kernel to let go of it.
pub(crate) trait Orphan {
    /// The completions have come; what was received is salvaged or undone, and everything is freed.
    fn finish(self: Box<Self>, earlier: Earlier, last: Cqe);
    /// The loop ended while the kernel still had it: it is leaked, never freed, and its object is told.
    fn lose(self: Box<Self>);
    /// Whether somebody was told that it is done: then it is cancelled only when the loop can wait no longer.
    fn is_promised(&self) -> bool;
    /// Whether it should be cancelled at the end of the turn: not if somebody already waits for what it brings.
    fn wants_cancel(&self) -> bool;
}

/// CQEs before the last one, oldest first.
pub(crate) type Earlier = Option<Box<VecDeque<Cqe>>>;

/// What a slot is doing, taken out of it.
pub(crate) enum State {
    /// With the kernel (or staged); the future waits.
    Waiting(Waker),
    /// The last CQE is here, the future has not taken it yet.
    Done(Cqe),
    /// The future is gone.
    Orphan(Box<dyn Orphan>),
    /// The future waits on another loop or thread.
    Watched(Arc<Elsewhere>),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Waiting(_) => "Waiting",
            State::Done(_) => "Done",
            State::Orphan(_) => "Orphan",
            State::Watched(_) => "Watched",
        })
    }
}

/// The same, as it lies in the slot: what is on the path of every operation beside each other, the rest behind a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Status {
    Free,
    Waiting,
    /// The same, and a completion with more to come lies in `cqe`, the first of those that were not taken.
    Kept,
    Done,
    /// Orphan or watched: see `Rare`.
    Rare,
    /// A chain, and its future waits. See `chained`.
    Chained,
    /// A chain that is complete.
    ChainDone,
}

enum Owner {
    Future,
    Orphan(Box<dyn Orphan>),
    Watched(Arc<Elsewhere>),
}

struct Rare {
    owner: Owner,
    earlier: Earlier,
    /// Where the chain is, if it is one.
    chain: Option<usize>,
}

pub(crate) struct Slot {
    generation: u32,
    /// Where the entry was staged; it may still be there. In a free slot, the next free one.
    position: u32,
    status: Status,
    /// In a done slot, the last completion; in a kept one, the first; in one with a chain, where that is.
    cqe: Cqe,
    /// The future was woken for a completion with more to come, and has not looked since.
    told: bool,
    /// How often a cancel has not found the operation.
    not_found: u16,
    /// In a waiting slot, who is to be woken.
    waker: Option<Waker>,
    rare: Option<Box<Rare>>,
}

impl Slot {
    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    /// It was staged once more.
    pub(crate) fn set_position(&mut self, position: u32) {
        self.position = position;
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.status, Status::Done | Status::ChainDone)
    }

    /// The last completion, if it has come.
    #[cfg(all(any(fuzzing, test), not(loom)))]
    pub(crate) fn done(&self) -> Option<Cqe> {
        (self.status == Status::Done).then_some(self.cqe)
    }

    /// The value whose future is gone.
    pub(crate) fn orphan(&self) -> Option<&dyn Orphan> {
        match self.rare.as_deref() {
            Some(Rare { owner: Owner::Orphan(orphan), .. }) => Some(&**orphan),
            _ => None,
        }
    }

    /// The waker of a waiting slot.
    pub(crate) fn waker(&mut self) -> Option<&mut Waker> {
        self.waker.as_mut()
    }

    /// Keeps a completion with more to come; how many are kept now.
    #[inline]
    pub(crate) fn push_earlier(&mut self, cqe: Cqe) -> usize {
        if self.status == Status::Waiting && self.has_no_others() {
            self.status = Status::Kept;
            self.cqe = cqe;
            return 1;
        }
        self.push_rare(cqe)
    }

    #[inline]
    fn has_no_others(&self) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.earlier.as_ref().is_none_or(|earlier| earlier.is_empty()))
    }

    #[cold]
    fn push_rare(&mut self, cqe: Cqe) -> usize {
        let kept = usize::from(self.status == Status::Kept);
        let earlier = self.earlier();
        earlier.push_back(cqe);
        kept + earlier.len()
    }

    fn earlier(&mut self) -> &mut VecDeque<Cqe> {
        let rare = self.rare.get_or_insert_with(|| Box::new(Rare { owner: Owner::Future, earlier: None, chain: None }));
        rare.earlier.get_or_insert_default()
    }

    /// Has what is kept in the slot lie before the others.
    fn spill(&mut self) {
        if self.status == Status::Kept {
            self.status = Status::Waiting;
            let kept = self.cqe;
            self.earlier().push_front(kept);
        }
    }

    /// The oldest completion with more to come. If there is none, the future waits from here on.
    #[inline]
    pub(crate) fn pop_earlier(&mut self) -> Option<Cqe> {
        if self.status == Status::Kept {
            self.status = Status::Waiting;
            return Some(self.cqe);
        }
        let cqe = self.rare.as_mut().and_then(|rare| rare.earlier.as_mut()?.pop_front());
        self.told &= cqe.is_some();
        cqe
    }

    /// The one that is kept in the slot, or none, and the future goes on waiting with this waker, if it is the one that is there.
    /// `None` if it is neither.
    #[inline]
    pub(crate) fn poll_earlier(&mut self, waker: &Waker) -> Option<Poll<Cqe>> {
        match self.status {
            Status::Kept => {
                self.status = Status::Waiting;
                Some(Poll::Ready(self.cqe))
            }
            Status::Waiting if self.has_no_others() && self.waker.as_ref().is_some_and(|own| own.will_wake(waker)) => {
                self.told = false;
                Some(Poll::Pending)
            }
            _ => None,
        }
    }

    /// Whom to wake for a completion that was kept with [`Slot::push_earlier`], if it was not woken for one before and has not
    /// looked since. The waker stays where it is.
    #[inline]
    pub(crate) fn tell(&mut self) -> Option<&mut Waker> {
        let told = std::mem::replace(&mut self.told, true);
        self.waker.as_mut().filter(|_| !told)
    }

    /// Whether something has come since the future looked in vain.
    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    /// Gives the slot another owner; gives what it held.
    pub(crate) fn replace(&mut self, state: State) -> State {
        self.spill();
        let chain = self.chain();
        let earlier = self.rare.as_mut().and_then(|rare| rare.earlier.take());
        let old = self.take_state();
        let owner = match state {
            State::Orphan(orphan) => Owner::Orphan(orphan),
            State::Watched(cell) => Owner::Watched(cell),
            state => unreachable!("nobody goes back to {state:?}"),
        };
        self.status = Status::Rare;
        self.rare = Some(Box::new(Rare { owner, earlier, chain }));
        old
    }

    fn take_state(&mut self) -> State {
        match self.status {
            Status::Waiting | Status::Kept | Status::Chained => {
                State::Waiting(self.waker.take().expect("a waiting slot has a waker"))
            }
            Status::Done | Status::ChainDone => State::Done(self.cqe),
            Status::Rare => match self.rare.take().map(|rare| rare.owner) {
                Some(Owner::Orphan(orphan)) => State::Orphan(orphan),
                Some(Owner::Watched(cell)) => State::Watched(cell),
                _ => unreachable!("a rare slot has a rare owner"),
            },
            Status::Free => unreachable!("a free slot holds nothing"),
        }
    }
}

/// What a last completion brings up.
pub(crate) enum Delivered {
    Orphan(Box<dyn Orphan>, Earlier),
    Watched(Arc<Elsewhere>, Earlier),
}

/// The slots of a loop. Like a slab, but names carry the generation.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    /// The chains among what is in flight.
    chains: slab::Slab<Chained>,
    /// The place in the table of files that a chain had which is over, and whether a file is there still.
    pub(crate) place_left: Option<(u32, bool)>,
    /// How many buffers of its choice the kernel has handed out with completions.
    pub(crate) picked: u64,
    /// The first free one; the length if there is none.
    free: u32,
    next_generation: u32,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots { slots: Vec::new(), chains: slab::Slab::new(), place_left: None, picked: 0, free: 0, next_generation: 0 }
    }

    /// Starts with generations just below their wrap.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn start_generations_at(&mut self, generation: u32) {
        self.next_generation = generation;
    }

    /// Has the slot with this index filled next; gives the one that would have been.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, index: u32) -> u32 {
        std::mem::replace(&mut self.free, index)
    }

    /// How many are in use. It counts them.
    pub(crate) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.status != Status::Free).count()
    }

    /// The name of the slot that is filled next.
    #[inline]
    pub(crate) fn next_key(&self) -> Key {
        Key { index: self.free, generation: self.next_generation }
    }

    /// Fills the slot that `next_key` has just named.
    #[inline]
    pub(crate) fn insert(&mut self, key: Key, position: u32, waker: Waker) {
        debug_assert_eq!(key, self.next_key());
        let Some(slot) = self.slots.get_mut(key.index as usize) else {
            return self.grow_and_insert(key, position, waker);
        };
        debug_assert!(slot.status == Status::Free && slot.waker.is_none() && slot.rare.is_none());
        slot.generation = key.generation;
        self.free = std::mem::replace(&mut slot.position, position);
        slot.status = Status::Waiting;
        slot.told = false;
        // Nothing is there to be dropped, and the compiler need not look.
        std::mem::forget(slot.waker.replace(waker));
        self.next_generation = key.generation.wrapping_add(1);
    }

    #[cold]
    #[inline(never)]
    fn grow_and_insert(&mut self, key: Key, position: u32, waker: Waker) {
        let index = self.slots.len() as u32;
        if index >= chained::LINK_OF_CHAIN {
            // Its entry is staged: to unwind would free what that points to.
            eprintln!("ringtoss: more operations in flight than there are names");
            std::process::abort();
        }
        let cqe = Cqe::of(0);
        self.slots.push(Slot {
            generation: 0,
            position: index + 1,
            status: Status::Free,
            cqe,
            told: false,
            not_found: 0,
            waker: None,
            rare: None,
        });
        self.insert(key, position, waker);
    }

    /// The slot that a key names, if it is still in use by that.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots
            .get_mut(key.index as usize)
            .filter(|slot| slot.generation == key.generation && slot.status != Status::Free)
    }

    /// Hands the last completion to the slot that it is for, and gives whom to wake. `None`: no future waits here, see
    /// [`Slots::deliver_rare`].
    #[inline(always)]
    pub(crate) fn deliver(&mut self, key: Key, cqe: Cqe) -> Option<Waker> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation || slot.status != Status::Waiting {
            return None;
        }
        slot.status = Status::Done;
        slot.cqe = cqe;
        slot.waker.take()
    }

    /// The same for a slot whose future has not taken yet what came before.
    pub(crate) fn deliver_behind(&mut self, key: Key, cqe: Cqe) -> Option<Waker> {
        self.get_mut(key)?.spill();
        self.deliver(key, cqe)
    }

    /// The same for a slot whose future is gone or looks elsewhere. `None`: there is no such slot any more.
    #[cold]
    #[inline(never)]
    pub(crate) fn deliver_rare(&mut self, key: Key) -> Option<Delivered> {
        self.get_mut(key)?;
        match self.remove(key) {
            (State::Orphan(orphan), earlier) => Some(Delivered::Orphan(orphan, earlier)),
            (State::Watched(cell), earlier) => Some(Delivered::Watched(cell, earlier)),
            (state, _) => unreachable!("an operation has one last completion, and this one is {state:?}"),
        }
    }

    /// Takes the result of an operation that is done and has no earlier completions left, and frees the slot.
    #[inline]
    pub(crate) fn take_done(&mut self, key: Key) -> Option<Cqe> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation || slot.status != Status::Done || slot.rare.is_some() {
            return None;
        }
        slot.status = Status::Free;
        slot.position = self.free;
        self.free = key.index;
        Some(slot.cqe)
    }

    /// Makes a slot free that holds nothing any more.
    #[inline]
    pub(super) fn make_free(&mut self, key: Key) {
        let slot = &mut self.slots[key.index as usize];
        debug_assert!(slot.waker.is_none() && slot.rare.is_none());
        slot.status = Status::Free;
        slot.position = self.free;
        self.free = key.index;
    }

    /// Frees a slot that is in use.
    pub(crate) fn remove(&mut self, key: Key) -> (State, Earlier) {
        let slot = self.get_mut(key).expect("a slot is freed once");
        slot.spill();
        let (chain, done) = (slot.chain(), slot.is_done());
        let earlier = slot.rare.as_mut().and_then(|rare| rare.earlier.take());
        let state = slot.take_state();
        slot.rare = None;
        self.make_free(key);
        match chain {
            Some(id) => self.take_chain(id, done, state),
            None => (state, earlier),
        }
    }

    /// Those in use that are not done.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = Key> {
        let busy = |slot: &Slot| matches!(slot.status, Status::Waiting | Status::Kept | Status::Rare | Status::Chained);
        let slots = self.slots.iter().enumerate().filter(move |(_, slot)| busy(slot));
        slots.map(|(index, slot)| Key { index: index as u32, generation: slot.generation })
    }

    /// Empties it.
    pub(crate) fn drain(&mut self) -> Vec<(Key, State, Earlier)> {
        let keys: Vec<Key> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.status != Status::Free)
            .map(|(index, slot)| Key { index: index as u32, generation: slot.generation })
            .collect();
        keys.into_iter()
            .map(|key| {
                let (state, earlier) = self.remove(key);
                (key, state, earlier)
            })
            .collect()
    }
}

#[cfg(test)]
mod chained_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_names_slot_and_generation() {
        for (index, generation) in [(0, 0), (1, u32::MAX), (FIRST_INTERNAL - 1, 7), (77, 1 << 31)] {
            let key = Key { index, generation };
            assert_eq!(Addressee::of(Addressee::Slot(key).user_data()), Addressee::Slot(key));
        }
        use Addressee::{Closing, Counted, Deadline, Filled, Nobody, Wakeup};
        for own in [Wakeup, Nobody, Counted, Deadline, Closing(0), Closing(i32::MAX), Filled(7)] {
            assert_eq!(Addressee::of(own.user_data()), own);
            assert!(own.user_data() as u32 >= u32::MAX - 15);
        }
    }

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut slots = Slots::new();
        slots.start_generations_at(u32::MAX);
        let first = slots.next_key();
        slots.insert(first, 0, Waker::noop().clone());
        let second = slots.next_key();
        slots.insert(second, 1, Waker::noop().clone());
        assert_eq!((first.generation, second.generation), (u32::MAX, 0));
        assert!(slots.get_mut(first).is_some_and(|slot| !slot.is_done() && slot.position() == 0));
        assert_eq!(slots.get_mut(second).unwrap().position(), 1);
        slots.get_mut(second).unwrap().set_position(7);
        assert_eq!(slots.get_mut(second).unwrap().position(), 7);
        slots.remove(first);
        assert!(slots.get_mut(first).is_none());
        let third = slots.next_key();
        slots.insert(third, 2, Waker::noop().clone());
        assert_eq!(third.index, first.index);
        assert!(slots.get_mut(first).is_none());
        assert!(slots.get_mut(third).is_some());
        assert_eq!((slots.len(), slots.in_flight().count(), slots.drain().len(), slots.len()), (2, 2, 2, 0));
    }

    #[test]
    fn a_result_waits_until_it_is_taken() {
        let mut slots = Slots::new();
        let key = slots.next_key();
        slots.insert(key, 0, Waker::noop().clone());
        assert!(slots.take_done(key).is_none());
        assert!(slots.deliver(key, Cqe::of(5)).is_some());
        assert!(slots.get_mut(key).is_some_and(|slot| slot.is_done() && slot.orphan().is_none() && !slot.is_chain()));
        assert!(slots.deliver(key, Cqe::of(6)).is_none(), "there is one last completion");
        assert_eq!(slots.in_flight().count(), 0);
        assert_eq!(slots.take_done(key).map(|cqe| cqe.result), Some(5));
        assert_eq!((slots.take_done(key), slots.len()), (None, 0));
    }

    #[test]
    fn the_short_way_to_what_comes_again_and_again() {
        let mut slots = Slots::new();
        let key = slots.next_key();
        let another = std::sync::Arc::new(Nobody).into();
        slots.insert(key, 0, Waker::noop().clone());
        let own = slots.get_mut(key).unwrap().waker().unwrap().clone();
        let of = |slots: &mut Slots, waker: &Waker| slots.get_mut(key).unwrap().poll_earlier(waker);
        for round in 0..3 {
            assert_eq!(of(&mut slots, &own), Some(Poll::Pending));
            assert_eq!(of(&mut slots, &another), None, "that one is to be left first");
            let slot = slots.get_mut(key).unwrap();
            assert_eq!(slot.push_earlier(Cqe::of(round)), 1);
            assert!(!slot.is_told() && slot.tell().is_some() && slot.is_told() && slot.tell().is_none());
            assert_eq!(of(&mut slots, &another), Some(Poll::Ready(Cqe::of(round))));
            assert!(slots.get_mut(key).unwrap().is_told(), "it goes on looking");
            assert_eq!(of(&mut slots, &own), Some(Poll::Pending));
            assert!(!slots.get_mut(key).unwrap().is_told());
        }
        // Others behind the first are for the long way, and leave the short one open.
        for _ in 0..2 {
            let slot = slots.get_mut(key).unwrap();
            assert_eq!([1, 2, 3].map(|result| slot.push_earlier(Cqe::of(result))), [1, 2, 3]);
            assert_eq!(of(&mut slots, &own), Some(Poll::Ready(Cqe::of(1))));
            assert_eq!(of(&mut slots, &own), None);
            let slot = slots.get_mut(key).unwrap();
            assert_eq!([2, 3].map(|_| slot.pop_earlier()), [2, 3].map(|result| Some(Cqe::of(result))));
            assert_eq!(slot.pop_earlier(), None);
        }
        assert!(slots.deliver(key, Cqe::of(9)).is_some());
        assert_eq!(of(&mut slots, &own), None, "the last one");
    }

    struct Nobody;

    impl std::task::Wake for Nobody {
        fn wake(self: Arc<Nobody>) {}
    }

    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 48, "{}", size_of::<Slot>());
    }
}
