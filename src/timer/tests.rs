use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// A waker that says which timer it belongs to when it is woken.
struct Note {
    id: usize,
    last: Arc<AtomicUsize>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.last.store(self.id, Ordering::Relaxed);
    }
}

struct Ids(Arc<AtomicUsize>);

impl Ids {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }

    fn waker(&self, id: usize) -> Waker {
        Waker::from(Arc::new(Note { id, last: self.0.clone() }))
    }

    fn of(&self, due: Vec<Waker>) -> Vec<usize> {
        let id = |waker: Waker| {
            waker.wake();
            self.0.load(Ordering::Relaxed)
        };
        due.into_iter().map(id).collect()
    }
}

fn expire(timers: &mut Timers, ids: &Ids, now_ns: u64) -> Vec<usize> {
    let mut due = Vec::new();
    timers.expire(now_ns, &mut due);
    ids.of(due)
}

#[test]
fn fires_at_its_deadline_and_not_a_nanosecond_before() {
    for deadline in [0, 1, 63, 64, 4095, 4096, 1 << 60, (1 << 60) - 1, u64::MAX - 1, u64::MAX] {
        let (mut timers, ids) = (Timers::new(), Ids::new());
        let key = timers.insert(deadline, ids.waker(1));
        assert_eq!(timers.next_deadline(), Some(deadline));
        if let Some(before) = deadline.checked_sub(1) {
            assert!(expire(&mut timers, &ids, before).is_empty());
            assert_eq!(timers.next_deadline(), Some(deadline));
            assert_eq!(timers.wakes(key, Waker::noop()), Some(false));
        }
        assert_eq!(expire(&mut timers, &ids, deadline), [1]);
        assert_eq!(timers.wakes(key, Waker::noop()), None);
        assert!(timers.is_empty() && timers.next_deadline().is_none());
    }
}

#[test]
fn a_past_deadline_is_due_at_once() {
    let (mut timers, ids) = (Timers::new(), Ids::new());
    timers.expire(1_000_000, &mut Vec::new());
    timers.insert(5, ids.waker(1));
    assert_eq!(expire(&mut timers, &ids, 1_000_000), [1]);
}

#[test]
fn equal_deadlines_fire_in_the_order_of_insertion() {
    let (mut timers, ids) = (Timers::new(), Ids::new());
    timers.insert(10_000, ids.waker(0));
    timers.insert(3_000_000, ids.waker(1));
    // Opens the slots on the way, so that the later insert starts lower down than the earlier one did.
    timers.insert(2_999_000, ids.waker(2));
    assert_eq!(expire(&mut timers, &ids, 2_999_500), [0, 2]);
    timers.insert(3_000_000, ids.waker(3));
    timers.insert(2_999_999, ids.waker(4));
    assert_eq!(expire(&mut timers, &ids, u64::MAX), [4, 1, 3]);
}

#[test]
fn a_key_is_never_reused() {
    let (mut timers, ids) = (Timers::new(), Ids::new());
    let first = timers.insert(10, ids.waker(1));
    assert!(timers.remove(first).is_some());
    let second = timers.insert(10, ids.waker(2));
    assert_eq!(first.index, second.index);
    assert!(timers.remove(first).is_none());
    assert!(timers.wakes(first, Waker::noop()).is_none());
    assert!(timers.update_waker(first, ids.waker(9)).is_err());
    assert_eq!(ids.of(vec![timers.update_waker(second, ids.waker(3)).unwrap()]), [2]);

    timers.remove(second);
    timers.entries[0].generation = u32::MAX;
    let last = timers.insert(10, ids.waker(4));
    assert_eq!((last.index, last.generation), (0, u32::MAX));
    timers.remove(last);
    assert_eq!(timers.insert(10, ids.waker(5)).index, 1, "a used-up entry must be retired");
    assert!(timers.remove(last).is_none());
}

#[test]
#[cfg_attr(
    miri,
    ignore = "Miri gives the one table of a waker's functions several addresses, so that no waker is alike"
)]
fn the_waker_is_replaced_in_place() {
    let (mut timers, ids) = (Timers::new(), Ids::new());
    let waker = ids.waker(1);
    let key = timers.insert(10, waker.clone());
    assert_eq!(timers.wakes(key, &waker), Some(true));
    drop(timers.update_waker(key, ids.waker(2)).unwrap());
    assert_eq!(timers.wakes(key, &waker), Some(false));
    assert_eq!(expire(&mut timers, &ids, 10), [2]);
}

#[test]
fn removing_the_earliest_costs_at_most_one_early_look() {
    let (mut timers, ids) = (Timers::new(), Ids::new());
    let early = timers.insert(5_000_000_000, ids.waker(1));
    timers.insert(5_000_000_900, ids.waker(2));
    assert_eq!(timers.next_deadline(), Some(5_000_000_000));
    timers.remove(early);
    let look = timers.next_deadline().unwrap();
    assert!(look <= 5_000_000_900);
    assert!(expire(&mut timers, &ids, look).is_empty());
    assert_eq!(timers.next_deadline(), Some(5_000_000_900));
}

/// A time limit that is not reached costs the wheel nothing, in whatever order they go, and their number leaves nothing behind.
#[test]
fn what_is_gone_before_the_loop_looks_gets_no_place() {
    let mut timers = Timers::new();
    for round in 0..3 {
        let mut keys: Vec<_> = (0..1000).map(|at| timers.insert(1_000_000 + at, Waker::noop().clone())).collect();
        if round == 1 {
            keys.reverse();
        }
        keys.into_iter().for_each(|key| assert!(timers.remove(key).is_some()));
        assert!(timers.noted.len() <= 4 * timers.len() + LEFT_BEHIND, "{} are noted", timers.noted.len());
        assert_eq!((timers.next_deadline(), timers.links, timers.entries.len()), (None, 0, 1000));
    }
}

/// Counts list insertions instead of measuring time: the work per timer must not grow with their number.
#[test]
fn a_million_timers_cost_a_bounded_number_of_moves_each() {
    const COUNT: usize = if cfg!(miri) { 1000 } else { 1_000_000 };
    let mut timers = Timers::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut keys = Vec::new();
    for _ in 0..COUNT {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Up to 17 s, unevenly: many share their upper digits.
        let deadline = (random >> 30) >> (random % 12);
        keys.push(timers.insert(deadline, Waker::noop().clone()));
    }
    assert_eq!((timers.next_deadline().is_some(), timers.len(), timers.links), (true, COUNT, COUNT as u64));
    for key in keys.iter().step_by(2) {
        assert!(timers.remove(*key).is_some());
    }
    assert_eq!((timers.len(), timers.links), (COUNT / 2, COUNT as u64), "removal moves no other entry");

    let mut due = Vec::new();
    let (mut fired, mut now) = (0, 0);
    while let Some(next) = timers.next_deadline() {
        now = next.max(now + 50_000);
        timers.expire(now, &mut due);
        fired += due.len();
        due.clear();
    }
    assert_eq!(fired, COUNT / 2);
    let moves = timers.links - COUNT as u64;
    assert!(moves <= (COUNT / 2 * (LEVELS - 1)) as u64, "{moves} moves");
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Advance(u64),
    /// To the wheel's own next deadline, as an idle loop does.
    Jump,
    Rewake(usize),
}

/// Spans of all magnitudes alike: a uniform `u64` would hardly ever meet the low levels.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => (0u32..64, any::<u64>()).prop_map(|(shift, bits)| bits >> shift),
        3 => 0u64..200,
        1 => Just(u64::MAX),
        1 => Just(0),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        2 => (span(), 0u32..32).prop_map(|(by, shift)| Step::Advance(by >> shift)),
        2 => Just(Step::Jump),
        1 => any::<usize>().prop_map(Step::Rewake),
    ]
}

/// The wheel beside a sorted map, driven by the same steps.
struct Pair {
    timers: Timers,
    /// By deadline and insertion: the waker's id and the key.
    model: BTreeMap<(u64, usize), (usize, TimerKey)>,
    gone: Vec<TimerKey>,
    ids: Ids,
    now: u64,
    next_id: usize,
}

impl Pair {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert(after) => {
                // Relative to the clock, and now and then in the past.
                let deadline = if after % 7 == 0 { after } else { self.now.saturating_add(after) };
                let id = self.id();
                let key = self.timers.insert(deadline, self.ids.waker(id));
                self.model.insert((deadline.max(self.timers.elapsed), id), (id, key));
            }
            Step::Remove(pick) => {
                if let Some(at) = self.pick(pick) {
                    let (id, key) = self.model.remove(&at).unwrap();
                    let waker = self.timers.remove(key).unwrap();
                    assert_eq!(self.ids.of(vec![waker]), [id]);
                    self.gone.push(key);
                }
            }
            Step::Advance(by) => self.expire(self.now.saturating_add(by)),
            Step::Jump => {
                if let Some(next) = self.timers.next_deadline() {
                    self.expire(next.max(self.now));
                    // The bound was exact, or is now.
                    let earliest = self.model.keys().next().map(|&(deadline, _)| deadline);
                    assert!(self.timers.next_deadline() <= earliest);
                }
            }
            Step::Rewake(pick) => {
                if let Some(at) = self.pick(pick) {
                    let id = self.id();
                    let entry = self.model.get_mut(&at).unwrap();
                    let old = self.timers.update_waker(entry.1, self.ids.waker(id)).unwrap();
                    assert_eq!(self.ids.of(vec![old]), [std::mem::replace(&mut entry.0, id)]);
                }
            }
        }
    }

    fn id(&mut self) -> usize {
        self.next_id += 1;
        self.next_id
    }

    fn pick(&self, pick: usize) -> Option<(u64, usize)> {
        let count = self.model.len().max(1);
        self.model.keys().nth(pick % count).copied()
    }

    fn expire(&mut self, now: u64) {
        self.now = now;
        let fired = expire(&mut self.timers, &self.ids, now);
        let mut expected = Vec::new();
        while let Some(first) = self.model.first_entry() {
            if first.key().0 > now {
                break;
            }
            let (id, key) = first.remove();
            expected.push(id);
            self.gone.push(key);
        }
        assert_eq!(fired, expected);
    }

    /// With a `look`, those that are noted get their places.
    fn check(&mut self, look: bool) {
        assert_eq!(self.timers.len(), self.model.len());
        assert_eq!(self.timers.is_empty(), self.model.is_empty());
        if look {
            let earliest = self.model.keys().next().map(|&(deadline, _)| deadline);
            assert_eq!(self.timers.next_deadline().is_some(), earliest.is_some());
            assert!(self.timers.next_deadline() <= earliest);
        }
        assert!(self.timers.elapsed <= self.now);
        for &(_, key) in self.model.values() {
            assert!(self.timers.wakes(key, Waker::noop()).is_some());
        }
        for &key in &self.gone {
            assert!(self.timers.wakes(key, Waker::noop()).is_none());
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_a_sorted_map(steps in prop::collection::vec(step(), 1..200), look_every in 1..9_usize) {
        let mut pair = Pair {
            timers: Timers::new(),
            model: BTreeMap::new(),
            gone: Vec::new(),
            ids: Ids::new(),
            now: 0,
            next_id: 0,
        };
        for (number, step) in steps.iter().enumerate() {
            pair.apply(step);
            pair.check(number % look_every == 0);
        }
        // Nothing that was removed lets the bound stay wrong: an idle loop sees each deadline exactly.
        let mut looks = 0;
        while let Some(next) = pair.timers.next_deadline() {
            pair.expire(next.max(pair.now));
            looks += 1;
        }
        prop_assert!(pair.model.is_empty());
        prop_assert!(looks <= steps.len() * (LEVELS + 1));
    }
}
