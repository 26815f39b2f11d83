//! Deadlines to wakers: a hierarchical timer wheel.
//!
//! Time is a `u64` of nanoseconds since the loop's base instant. Level 0 has one slot per nanosecond, and
//! each level above has slots 64 times as wide, so eleven levels cover every `u64`. An entry sits at the
//! level of the highest 6-bit digit in which its deadline differs from the wheel's own time (`elapsed`), in
//! the slot which that digit names. Three things follow, and the code leans on each of them:
//!
//! - No slot index wraps: within a level a higher slot is a later time, and everything at a level is later
//!   than everything at the levels below. The first occupied slot is found with two bit scans.
//! - An entry's place is a function of `elapsed` and its deadline, so it is not stored, and equal deadlines
//!   always share a slot, in the order in which they were inserted.
//! - `elapsed` moves only to the start of the *first* occupied slot, while that slot is emptied. This changes
//!   no digit that places any other entry.
//!
//! The wheel's time follows events, not the clock: a slot is opened only when its earliest deadline is due.
//! So the loop is never woken just to cascade, nothing is rounded (an entry is due exactly when the clock
//! reaches its deadline), and each entry moves down at most once per level in its life.
//!
//! With a million timers each look at one of them is a miss of the caches, so an operation looks at no other: a slot
//! is a vector to whose end deadlines with names of entries are added, and a removal leaves the name behind, which
//! then names nothing. Slots count the names that stand for something, are emptied with the last of those, and are
//! tidied when they are few.
//!
//! Most timers stand for a time limit that is not reached, and many are gone before the loop next looks at its timers. So
//! a new one is only *noted*, and gets its place when the wheel is asked for what is due or for the next deadline.
//!
//! No user code runs in here: wakers are handed in by value and handed back, never cloned, dropped or woken.

use std::task::Waker;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// The end of the free list. No entry has this index.
const NIL: u32 = u32::MAX;
/// What `next` says of a pending entry: it has its place in the wheel, or is only noted.
const PLACED: u32 = 0;
const NOTED: u32 = 1;
/// A slot that has this many names more than four times those that stand for something is tidied.
const LEFT_BEHIND: usize = 64;
/// An empty slot keeps memory for so many names.
const KEPT: usize = 32;

/// Names one registration. It is never reused, so a key that is no longer present means "fired or removed".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

struct Entry {
    deadline_ns: u64,
    /// `None` marks a free entry.
    waker: Option<Waker>,
    generation: u32,
    /// Of a free entry, the next in the free list; of others, [`PLACED`] or [`NOTED`].
    next: u32,
}

/// What a slot knows of an entry.
#[derive(Clone, Copy)]
struct Item {
    deadline_ns: u64,
    key: TimerKey,
}

struct Slot {
    /// In the order of insertion. Some may name entries that are gone.
    items: Vec<Item>,
    /// How many do not.
    live: usize,
    /// No deadline of a live one is earlier. Exact until the entry that set it is removed; exact again when the slot
    /// is next opened or tidied.
    min_ns: u64,
}

impl Slot {
    const EMPTY: Slot = Slot { items: Vec::new(), live: 0, min_ns: u64::MAX };
}

/// The timers of one loop.
pub(crate) struct Timers {
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
    /// Per level, one bit for each slot that has entries.
    occupied: [u64; LEVELS],
    /// One bit for each level that has entries.
    levels: u32,
    /// The wheel's own time; never ahead of the clock.
    elapsed: u64,
    entries: Vec<Entry>,
    free: u32,
    len: usize,
    /// Entries that have no place yet, in the order of insertion. Some may be gone.
    noted: Vec<TimerKey>,
    /// What one opened slot has due. Kept for its capacity.
    opened: Vec<Item>,
    #[cfg(test)]
    links: u64,
}

impl Timers {
    pub fn new() -> Self {
        Self {
            slots: Box::new([const { [const { Slot::EMPTY }; SLOTS] }; LEVELS]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
            entries: Vec::new(),
            free: NIL,
            len: 0,
            noted: Vec::new(),
            opened: Vec::new(),
            #[cfg(test)]
            links: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many timers are pending.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The wheel's own time.
    #[cfg(any(fuzzing, all(test, not(loom))))]
    pub fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Registers `waker` for `deadline_ns`. A deadline in the past is due at the next [`Timers::expire`].
    #[inline]
    pub fn insert(&mut self, deadline_ns: u64, waker: Waker) -> TimerKey {
        if self.free == NIL {
            self.grow();
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.deadline_ns = deadline_ns;
        entry.next = NOTED;
        // Nothing is there to be dropped, and the compiler need not look.
        std::mem::forget(entry.waker.replace(waker));
        let key = TimerKey { index, generation: entry.generation };
        self.len += 1;
        self.noted.push(key);
        key
    }

    /// Whether the pending timer `key` would wake the same task as `waker`. `None`: it fired or was removed.
    pub fn wakes(&self, key: TimerKey, waker: &Waker) -> Option<bool> {
        let entry = self.get(key)?;
        Some(entry.waker.as_ref().is_some_and(|w| w.will_wake(waker)))
    }

    /// Replaces the waker of a pending timer and returns the old one, to be dropped where no part of the loop
    /// is borrowed. `Err` hands `waker` back: the timer fired or was removed.
    pub fn update_waker(&mut self, key: TimerKey, waker: Waker) -> Result<Waker, Waker> {
        if self.get(key).is_none() {
            return Err(waker);
        }
        let old = self.entries[key.index as usize].waker.replace(waker);
        Ok(old.expect("a pending timer has a waker"))
    }

    /// Takes a timer out. The waker is returned to be dropped where no part of the loop is borrowed. `None`:
    /// it fired or was removed before.
    #[inline]
    pub fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        let entry = self.entries.get_mut(key.index as usize).filter(|entry| entry.generation == key.generation)?;
        let waker = entry.waker.take()?;
        let (deadline_ns, state) = (entry.deadline_ns, entry.next);
        self.free(key.index);
        if state == PLACED {
            self.displace(deadline_ns);
        } else if self.noted.last() == Some(&key) {
            self.noted.pop();
        } else if self.noted.len() > 4 * self.len + LEFT_BEHIND {
            self.tidy_noted();
        }
        Some(waker)
    }

    /// A name in the slot of this deadline names nothing from here on.
    fn displace(&mut self, deadline_ns: u64) {
        let (level, index) = place(self.elapsed, deadline_ns);
        let slot = &mut self.slots[level][index];
        slot.live -= 1;
        if slot.live == 0 {
            self.clear(level, index);
        } else if slot.items.len() > 4 * slot.live + LEFT_BEHIND {
            self.tidy(level, index);
        }
    }

    /// Gives those that are only noted their places.
    #[inline]
    fn settle(&mut self) {
        if !self.noted.is_empty() {
            self.place_noted();
        }
    }

    fn place_noted(&mut self) {
        let mut noted = std::mem::take(&mut self.noted);
        for key in noted.drain(..) {
            let entry = &mut self.entries[key.index as usize];
            if entry.generation == key.generation && entry.waker.is_some() {
                // A past deadline takes the wheel's present, so that it has a place.
                entry.deadline_ns = entry.deadline_ns.max(self.elapsed);
                entry.next = PLACED;
                let deadline_ns = entry.deadline_ns;
                self.place_item(Item { deadline_ns, key });
            }
        }
        // What a crowd needed is not kept for ever.
        noted.shrink_to(4 * self.len + LEFT_BEHIND);
        self.noted = noted;
    }

    /// When to look again. Never later than the earliest deadline, and mostly equal to it: the removal of the
    /// earliest of several timers in a slot leaves a bound that is too early once, until `expire` has seen it.
    pub fn next_deadline(&mut self) -> Option<u64> {
        self.settle();
        let (level, slot) = self.first()?;
        Some(self.slots[level][slot].min_ns)
    }

    /// Takes out every timer whose deadline is `now_ns` or earlier and adds its waker to `due`, by deadline,
    /// equal ones in the order of insertion.
    pub fn expire(&mut self, now_ns: u64, due: &mut Vec<Waker>) {
        self.settle();
        while let Some((level, slot)) = self.first() {
            if self.slots[level][slot].min_ns > now_ns {
                return;
            }
            let opened = std::mem::replace(&mut self.slots[level][slot], Slot::EMPTY);
            self.clear(level, slot);
            self.elapsed = self.elapsed.max(slot_start(self.elapsed, level, slot));
            let all_live = opened.live == opened.items.len();
            for &item in &opened.items {
                if !all_live && self.get(item.key).is_none() {
                    continue;
                }
                if item.deadline_ns <= now_ns {
                    self.opened.push(item);
                } else {
                    // Differs from `elapsed` in lower digits only now, so this moves it down: the loop ends.
                    self.place_item(item);
                }
            }
            self.reuse(level, slot, opened.items);
            // Later slots are later in time, so ordering each slot orders all. Stable, to keep insertion order.
            let mut opened = std::mem::take(&mut self.opened);
            opened.sort_by_key(|item| item.deadline_ns);
            due.extend(opened.drain(..).map(|item| self.release(item.key.index)));
            self.opened = opened;
        }
        // With nothing to place, the wheel may catch up, and what comes next starts at the low levels.
        self.elapsed = self.elapsed.max(now_ns);
    }

    fn get(&self, key: TimerKey) -> Option<&Entry> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.waker.is_some()).then_some(entry)
    }

    /// Makes a free entry.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let index = u32::try_from(self.entries.len()).unwrap_or(NIL);
        assert!(index != NIL, "more than 2^32 - 1 timers on one loop");
        self.entries.push(Entry { deadline_ns: 0, waker: None, generation: 0, next: NIL });
        self.free = index;
    }

    /// Frees an entry that is due. What names it in a slot names nothing from here on.
    fn release(&mut self, index: u32) -> Waker {
        let waker = self.entries[index as usize].waker.take().expect("a pending timer has a waker");
        self.free(index);
        waker
    }

    /// The same for one whose waker was taken.
    #[inline]
    fn free(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        self.len -= 1;
        // An entry that has used up its generations is retired: 40 bytes per 2^32 timers buy keys that never
        // come again.
        if let Some(generation) = entry.generation.checked_add(1) {
            entry.generation = generation;
            entry.next = self.free;
            self.free = index;
        }
    }

    fn first(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// Empties a slot that has no live names.
    fn clear(&mut self, level: usize, slot: usize) {
        let items = std::mem::replace(&mut self.slots[level][slot], Slot::EMPTY).items;
        self.reuse(level, slot, items);
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Gives an empty slot memory that was its own. What a crowd needed is given back.
    fn reuse(&mut self, level: usize, slot: usize, mut items: Vec<Item>) {
        let slot = &mut self.slots[level][slot];
        if items.capacity() <= KEPT && slot.items.capacity() == 0 {
            items.clear();
            slot.items = items;
        }
    }

    fn place_item(&mut self, item: Item) {
        #[cfg(test)]
        {
            self.links += 1;
        }
        let (level, index) = place(self.elapsed, item.deadline_ns);
        let slot = &mut self.slots[level][index];
        slot.min_ns = slot.min_ns.min(item.deadline_ns);
        slot.items.push(item);
        slot.live += 1;
        if slot.live == 1 {
            self.occupied[level] |= 1 << index;
            self.levels |= 1 << level;
        }
    }

    /// Takes out the names that name nothing.
    #[cold]
    fn tidy_noted(&mut self) {
        let mut noted = std::mem::take(&mut self.noted);
        noted.retain(|&key| self.get(key).is_some_and(|entry| entry.next == NOTED));
        self.noted = noted;
    }

    /// The same for a slot.
    #[cold]
    fn tidy(&mut self, level: usize, slot: usize) {
        let mut items = std::mem::take(&mut self.slots[level][slot].items);
        items.retain(|item| self.get(item.key).is_some());
        items.shrink_to(2 * items.len());
        let slot = &mut self.slots[level][slot];
        debug_assert_eq!(items.len(), slot.live);
        slot.min_ns = items.iter().map(|item| item.deadline_ns).min().expect("it is not empty");
        slot.items = items;
    }
}

/// The level and slot of a deadline that is not before `elapsed`.
fn place(elapsed: u64, deadline_ns: u64) -> (usize, usize) {
    debug_assert!(elapsed <= deadline_ns, "the wheel passed a pending deadline");
    // `| 1`: equal values belong to level 0, as those do that differ in the lowest digit.
    let level = ((elapsed ^ deadline_ns) | 1).ilog2() / DIGIT_BITS;
    let slot = (deadline_ns >> (level * DIGIT_BITS)) as usize % SLOTS;
    (level as usize, slot)
}

/// The first nanosecond of a slot, for the wheel's time `elapsed`.
fn slot_start(elapsed: u64, level: usize, slot: usize) -> u64 {
    let shift = level as u32 * DIGIT_BITS;
    let above = u64::MAX.checked_shl(shift + DIGIT_BITS).unwrap_or(0);
    (elapsed & above) | ((slot as u64) << shift)
}

#[cfg(test)]
mod tests;
