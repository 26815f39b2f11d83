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
//!   always share a list, in the order in which they were inserted.
//! - `elapsed` moves only to the start of the *first* occupied slot, while that slot is emptied. This changes
//!   no digit that places any other entry.
//!
//! The wheel's time follows events, not the clock: a slot is opened only when its earliest deadline is due.
//! So the loop is never woken just to cascade, nothing is rounded (an entry is due exactly when the clock
//! reaches its deadline), and each entry moves down at most once per level in its life.
//!
//! No user code runs in here: wakers are handed in by value and handed back, never cloned, dropped or woken.

use std::task::Waker;

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// The end of a list. No entry has this index.
const NIL: u32 = u32::MAX;

/// Names one registration. It is never reused, so a key that is no longer present means "fired or removed".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

struct Entry {
    deadline_ns: u64,
    /// `None` marks a free entry; `next` then links the free list.
    waker: Option<Waker>,
    generation: u32,
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    head: u32,
    tail: u32,
    /// No deadline in the list is earlier. Exact until the entry that set it is removed; exact again when
    /// the slot is next opened.
    min_ns: u64,
}

const EMPTY: Slot = Slot { head: NIL, tail: NIL, min_ns: u64::MAX };

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
    /// What one opened slot has due: deadline and index. Kept for its capacity.
    opened: Vec<(u64, u32)>,
    #[cfg(test)]
    links: u64,
}

impl Timers {
    pub fn new() -> Self {
        Self {
            slots: Box::new([[EMPTY; SLOTS]; LEVELS]),
            occupied: [0; LEVELS],
            levels: 0,
            elapsed: 0,
            entries: Vec::new(),
            free: NIL,
            len: 0,
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

    /// Registers `waker` for `deadline_ns`. A deadline in the past is due at the next [`Timers::expire`].
    pub fn insert(&mut self, deadline_ns: u64, waker: Waker) -> TimerKey {
        // A past deadline takes the wheel's present, so that it has a place.
        let deadline_ns = deadline_ns.max(self.elapsed);
        let index = self.allocate();
        let entry = &mut self.entries[index as usize];
        entry.deadline_ns = deadline_ns;
        entry.waker = Some(waker);
        let generation = entry.generation;
        self.len += 1;
        self.link(index);
        TimerKey { index, generation }
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
    pub fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        self.get(key)?;
        self.unlink(key.index);
        Some(self.release(key.index))
    }

    /// When to look again. Never later than the earliest deadline, and mostly equal to it: the removal of the
    /// earliest of several timers in a slot leaves a bound that is too early once, until `expire` has seen it.
    pub fn next_deadline(&self) -> Option<u64> {
        let (level, slot) = self.first()?;
        Some(self.slots[level][slot].min_ns)
    }

    /// Takes out every timer whose deadline is `now_ns` or earlier and adds its waker to `due`, by deadline,
    /// equal ones in the order of insertion.
    pub fn expire(&mut self, now_ns: u64, due: &mut Vec<Waker>) {
        while let Some((level, slot)) = self.first() {
            if self.slots[level][slot].min_ns > now_ns {
                return;
            }
            let mut index = self.slots[level][slot].head;
            self.clear(level, slot);
            self.elapsed = self.elapsed.max(slot_start(self.elapsed, level, slot));
            while index != NIL {
                let entry = &self.entries[index as usize];
                let next = entry.next;
                if entry.deadline_ns <= now_ns {
                    self.opened.push((entry.deadline_ns, index));
                } else {
                    // Differs from `elapsed` in lower digits only now, so this moves it down: the loop ends.
                    self.link(index);
                }
                index = next;
            }
            // Later slots are later in time, so ordering each slot orders all. Stable, to keep insertion order.
            let mut opened = std::mem::take(&mut self.opened);
            opened.sort_by_key(|&(deadline_ns, _)| deadline_ns);
            due.extend(opened.drain(..).map(|(_, index)| self.release(index)));
            self.opened = opened;
        }
        // With nothing to place, the wheel may catch up, and what comes next starts at the low levels.
        self.elapsed = self.elapsed.max(now_ns);
    }

    fn get(&self, key: TimerKey) -> Option<&Entry> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.waker.is_some()).then_some(entry)
    }

    fn allocate(&mut self) -> u32 {
        if self.free != NIL {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            return index;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NIL);
        assert!(index != NIL, "more than 2^32 - 1 timers on one loop");
        self.entries.push(Entry { deadline_ns: 0, waker: None, generation: 0, prev: NIL, next: NIL });
        index
    }

    /// Frees an entry that is in no list.
    fn release(&mut self, index: u32) -> Waker {
        let entry = &mut self.entries[index as usize];
        let waker = entry.waker.take().expect("a pending timer has a waker");
        self.len -= 1;
        // An entry that has used up its generations is retired: 40 bytes per 2^32 timers buy keys that never
        // come again.
        if let Some(generation) = entry.generation.checked_add(1) {
            entry.generation = generation;
            entry.next = self.free;
            self.free = index;
        }
        waker
    }

    fn first(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    fn clear(&mut self, level: usize, slot: usize) {
        self.slots[level][slot] = EMPTY;
        self.occupied[level] &= !(1 << slot);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    fn link(&mut self, index: u32) {
        #[cfg(test)]
        {
            self.links += 1;
        }
        let entry = &mut self.entries[index as usize];
        let (level, slot) = place(self.elapsed, entry.deadline_ns);
        let list = &mut self.slots[level][slot];
        entry.prev = list.tail;
        entry.next = NIL;
        list.min_ns = list.min_ns.min(entry.deadline_ns);
        let tail = std::mem::replace(&mut list.tail, index);
        if tail == NIL {
            list.head = index;
            self.occupied[level] |= 1 << slot;
            self.levels |= 1 << level;
        } else {
            self.entries[tail as usize].next = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Entry { deadline_ns, prev, next, .. } = self.entries[index as usize];
        let (level, slot) = place(self.elapsed, deadline_ns);
        if prev == NIL && next == NIL {
            return self.clear(level, slot);
        }
        match prev {
            NIL => self.slots[level][slot].head = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.slots[level][slot].tail = prev,
            next => self.entries[next as usize].prev = prev,
        }
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
