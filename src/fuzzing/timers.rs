//! The timer wheel beside a sorted map.

use std::collections::BTreeMap;
use std::task::Waker;

use super::{Input, Witnesses};
use crate::timer::{TimerKey, Timers};

struct Pair {
    timers: Timers,
    /// By deadline and insertion: the waker's name and the key.
    model: BTreeMap<(u64, usize), (usize, TimerKey)>,
    gone: Vec<TimerKey>,
    witnesses: Witnesses,
    now: u64,
    names: usize,
}

impl Pair {
    fn name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<(u64, usize)> {
        let at = input.pick(self.model.len())?;
        self.model.keys().nth(at).copied()
    }

    fn expire(&mut self, now: u64) {
        self.now = now;
        let mut due = Vec::new();
        self.timers.expire(now, &mut due);
        let mut expected = Vec::new();
        while let Some(first) = self.model.first_entry().filter(|first| first.key().0 <= now) {
            let (name, key) = first.remove();
            expected.push(name);
            self.gone.push(key);
        }
        let fired: Vec<usize> = due.into_iter().map(|waker| self.witnesses.name(waker)).collect();
        assert_eq!(fired, expected);
        assert!(self.timers.elapsed() <= now);
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 8 {
            0..3 => {
                let shift = input.u8() % 64;
                let after = input.u64() >> shift;
                // Relative to the clock, and now and then in the past.
                let deadline = if after.is_multiple_of(7) { after } else { self.now.saturating_add(after) };
                let name = self.name();
                let key = self.timers.insert(deadline, self.witnesses.waker(name));
                self.model.insert((deadline.max(self.timers.elapsed()), name), (name, key));
            }
            3 => {
                let Some(at) = self.pick(input) else { return };
                let (name, key) = self.model.remove(&at).expect("it was picked from there");
                let waker = self.timers.remove(key).expect("it is pending");
                assert_eq!(self.witnesses.name(waker), name);
                self.gone.push(key);
            }
            4 => {
                let shift = input.u8() % 64;
                self.expire(self.now.saturating_add(input.u64() >> shift));
            }
            5 => {
                let earliest = self.model.keys().next().map(|&(deadline, _)| deadline);
                let next = self.timers.next_deadline();
                assert_eq!(next.is_some(), earliest.is_some());
                assert!(next <= earliest);
                if let Some(next) = next {
                    self.expire(next.max(self.now));
                }
            }
            6 => {
                let Some(at) = self.pick(input) else { return };
                let name = self.name();
                let entry = self.model.get_mut(&at).expect("it was picked from there");
                let old = self.timers.update_waker(entry.1, self.witnesses.waker(name)).expect("it is pending");
                assert_eq!(self.witnesses.name(old), std::mem::replace(&mut entry.0, name));
            }
            _ => {
                if let Some(at) = input.pick(self.gone.len()) {
                    let key = self.gone[at];
                    assert!(self.timers.wakes(key, Waker::noop()).is_none());
                    assert!(self.timers.remove(key).is_none());
                    assert!(self.timers.update_waker(key, Waker::noop().clone()).is_err());
                }
            }
        }
        assert_eq!(self.timers.is_empty(), self.model.is_empty());
    }
}

/// Each timer fires once, in order, at its deadline, unless it was removed; each waker is given back once.
pub fn timers(data: &[u8]) {
    let witnesses = Witnesses::default();
    let mut pair = Pair {
        timers: Timers::new(),
        model: BTreeMap::new(),
        gone: Vec::new(),
        witnesses: witnesses.clone(),
        now: 0,
        names: 0,
    };
    let mut input = Input(data);
    while !input.is_empty() {
        pair.step(&mut input);
    }
    // An idle loop sees each deadline.
    let (mut looks, most) = (0, 12 * (pair.names + 1));
    while let Some(next) = pair.timers.next_deadline() {
        pair.expire(next.max(pair.now));
        looks += 1;
        assert!(looks <= most, "the wheel is looked at for nothing");
    }
    assert!(pair.model.is_empty() && pair.timers.is_empty());
    drop(pair);
    witnesses.assert_none_is_alive();
}
