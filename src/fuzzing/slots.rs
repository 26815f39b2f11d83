//! The life of slots beside a model: whoever submits, drops, watches or completes in whatever order, each waker, orphan and
//! completion comes out once and where it belongs, and a stale name finds nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::{Input, Witnesses};
use crate::ring::Cqe;
use crate::slot::{Addressee, Delivered, Earlier, Elsewhere, Key, Orphan, Slots, State};

/// An operation's value that tells how it ended.
struct Value {
    name: usize,
    finished: Rc<Cell<Option<usize>>>,
    alive: Rc<Cell<usize>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

impl Orphan for Value {
    fn finish(self: Box<Self>, _earlier: Earlier, _last: Cqe) {
        self.finished.set(Some(self.name));
    }

    fn lose(self: Box<Self>) {}

    fn is_promised(&self) -> bool {
        self.name.is_multiple_of(2)
    }

    fn wants_cancel(&self) -> bool {
        !self.is_promised()
    }
}

enum Owner {
    Future(Left),
    Orphan(usize),
    Watched(Arc<Elsewhere>),
}

/// What a future has left in its slot.
#[derive(Clone, Copy)]
struct Left {
    /// The name of its waker, until that is taken.
    waker: Option<usize>,
    /// It was woken since it looked in vain.
    told: bool,
}

impl Left {
    fn by(name: usize) -> Left {
        Left { waker: Some(name), told: false }
    }
}

struct Model {
    position: u32,
    owner: Owner,
    earlier: VecDeque<i32>,
    /// Whether it has ever given a completion with more to come.
    gave_more: bool,
    done: Option<i32>,
}

struct Pair {
    slots: Slots,
    model: BTreeMap<Key, Model>,
    gone: Vec<Key>,
    witnesses: Witnesses,
    finished: Rc<Cell<Option<usize>>>,
    alive: Rc<Cell<usize>>,
    names: usize,
}

fn results(earlier: Earlier) -> VecDeque<i32> {
    earlier.map(|earlier| earlier.iter().map(Cqe::result).collect()).unwrap_or_default()
}

impl Pair {
    fn name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    fn pick(&self, input: &mut Input<'_>, which: impl Fn(&Model) -> bool) -> Option<Key> {
        let keys: Vec<Key> = self.model.iter().filter(|(_, model)| which(model)).map(|(key, _)| *key).collect();
        input.pick(keys.len()).map(|at| keys[at])
    }

    fn insert(&mut self, position: u32) {
        let (name, key) = (self.name(), self.slots.next_key());
        assert!(!self.model.keys().any(|other| other.index == key.index), "a slot is given away twice");
        self.slots.insert(key, position, self.witnesses.waker(name));
        let owner = Owner::Future(Left::by(name));
        let model = Model { position, owner, earlier: VecDeque::new(), gave_more: false, done: None };
        assert!(self.model.insert(key, model).is_none());
    }

    /// The kernel's last word.
    fn complete(&mut self, key: Key, result: i32) {
        let model = self.model.get_mut(&key).expect("it was picked from there");
        let at_once = self.slots.deliver(key, Cqe::of(result));
        if matches!(model.owner, Owner::Future(_)) && model.earlier.is_empty() {
            assert!(at_once.is_some(), "the short way is open to whoever has nothing to take");
        }
        let waker = at_once.or_else(|| self.slots.deliver_behind(key, Cqe::of(result)));
        match &mut model.owner {
            Owner::Future(left) => {
                // Taken by an earlier completion, and nobody has looked since: the driver leaves one that does nothing.
                let woken = waker.map(|waker| self.witnesses.name(waker)).filter(|&woken| woken != usize::MAX);
                assert_eq!(woken, left.waker.take());
                model.done = Some(result);
                let slot = self.slots.get_mut(key).expect("it is done");
                assert_eq!(slot.done().map(|cqe| cqe.result()), Some(result));
                return;
            }
            _ => assert!(waker.is_none()),
        }
        let model = self.model.remove(&key).expect("it was there above");
        match (self.slots.deliver_rare(key), model.owner) {
            (Some(Delivered::Orphan(orphan, earlier)), Owner::Orphan(name)) => {
                assert_eq!(results(earlier), model.earlier);
                self.finished.set(None);
                orphan.finish(None, Cqe::of(result));
                assert_eq!(self.finished.get(), Some(name));
            }
            (Some(Delivered::Watched(cell, earlier)), Owner::Watched(expected)) => {
                assert!(Arc::ptr_eq(&cell, &expected));
                assert_eq!(results(earlier), model.earlier);
            }
            _ => panic!("a completion that came to another than it was for"),
        }
        self.gone.push(key);
    }

    /// The kernel has more to say. The waker stays where it is if it is the `loops`.
    fn complete_one_of_many(&mut self, key: Key, result: i32, loops: bool) {
        let slot = self.slots.get_mut(key).expect("it is in use");
        let model = self.model.get_mut(&key).expect("it was picked from there");
        model.earlier.push_back(result);
        model.gave_more = true;
        assert_eq!(slot.push_earlier(Cqe::of(result)), model.earlier.len());
        match (slot.tell(), &mut model.owner) {
            (Some(waker), Owner::Future(left @ Left { told: false, .. })) => {
                let waker =
                    if loops { waker.clone() } else { std::mem::replace(waker, std::task::Waker::noop().clone()) };
                assert_eq!(Some(self.witnesses.name(waker)), left.waker);
                *left = Left { waker: left.waker.filter(|_| loops), told: true };
            }
            // It was woken for one before.
            (None, Owner::Future(Left { told: true, .. }) | Owner::Orphan(_) | Owner::Watched(_)) => {}
            _ => panic!("a slot that waits without a waker, or has one that nobody left"),
        }
    }

    /// The future is polled: it takes one completion, or leaves its waker.
    fn poll(&mut self, key: Key) {
        let name = self.name();
        let slot = self.slots.get_mut(key).expect("it is in use");
        let model = self.model.get_mut(&key).expect("it was picked from there");
        assert_eq!(slot.position(), model.position);
        let earlier = slot.pop_earlier().map(|cqe| cqe.result());
        assert_eq!(earlier, model.earlier.pop_front());
        if earlier.is_some() {
            return;
        }
        let Some(result) = model.done else {
            assert!(slot.done().is_none());
            let Owner::Future(left) = &mut model.owner else { panic!("only futures poll") };
            assert!(!slot.is_told());
            // Mostly it is there still.
            if left.waker.is_none() || name.is_multiple_of(3) {
                let waker = slot.waker().expect("it waits");
                drop(std::mem::replace(waker, self.witnesses.waker(name)));
                left.waker = Some(name);
            }
            left.told = false;
            assert!(self.slots.take_done(key).is_none());
            return;
        };
        let gave_more = model.gave_more;
        let cqe = match self.slots.take_done(key) {
            Some(cqe) => cqe,
            None => {
                assert!(gave_more, "the short way is open to what has given one completion");
                let (State::Done(cqe), earlier) = self.slots.remove(key) else { panic!("it is done") };
                assert!(results(earlier).is_empty());
                cqe
            }
        };
        assert_eq!(cqe.result(), result);
        self.forget(key);
    }

    fn forget(&mut self, key: Key) {
        self.model.remove(&key);
        self.gone.push(key);
    }

    /// The future is dropped.
    fn abandon(&mut self, key: Key) {
        let name = self.name();
        let model = self.model.get_mut(&key).expect("it was picked from there");
        if model.done.is_some() {
            let (state, earlier) = self.slots.remove(key);
            assert!(matches!(state, State::Done(cqe) if Some(cqe.result()) == model.done));
            assert_eq!(results(earlier), model.earlier);
            return self.forget(key);
        }
        self.alive.set(self.alive.get() + 1);
        let value = Value { name, finished: self.finished.clone(), alive: self.alive.clone() };
        let slot = self.slots.get_mut(key).expect("it is in use");
        let old = slot.replace(State::Orphan(Box::new(value)));
        assert_eq!(slot.orphan().map(Orphan::is_promised), Some(name.is_multiple_of(2)));
        self.was(key, old);
        self.model.get_mut(&key).expect("as above").owner = Owner::Orphan(name);
    }

    /// The future is polled on another loop.
    fn watch(&mut self, key: Key) {
        let cell = Arc::new(Elsewhere::default());
        let slot = self.slots.get_mut(key).expect("it is in use");
        let old = slot.replace(State::Watched(cell.clone()));
        assert!(slot.orphan().is_none());
        self.was(key, old);
        self.model.get_mut(&key).expect("as above").owner = Owner::Watched(cell);
    }

    fn was(&self, key: Key, old: State) {
        match (old, &self.model[&key].owner) {
            (State::Waiting(waker), Owner::Future(left)) => {
                let held = Some(self.witnesses.name(waker)).filter(|&held| held != usize::MAX);
                assert_eq!(held, left.waker);
            }
            (State::Watched(cell), Owner::Watched(expected)) => assert!(Arc::ptr_eq(&cell, expected)),
            (old, _) => panic!("{old:?} is not what it was"),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let future = |model: &Model| matches!(model.owner, Owner::Future(_));
        match input.u8() % 10 {
            0..3 => {
                let position = input.u32();
                self.insert(position);
            }
            3 | 4 => {
                if let Some(key) = self.pick(input, |model| model.done.is_none()) {
                    self.complete(key, i32::from(input.u8()));
                }
            }
            5 => {
                if let Some(key) = self.pick(input, |model| model.done.is_none()) {
                    let result = input.u8();
                    self.complete_one_of_many(key, result.into(), result.is_multiple_of(2));
                }
            }
            6 => {
                if let Some(key) = self.pick(input, future) {
                    self.poll(key);
                }
            }
            7 => {
                if let Some(key) = self.pick(input, |model| !matches!(model.owner, Owner::Orphan(_))) {
                    self.abandon(key);
                }
            }
            8 => {
                if let Some(key) = self.pick(input, |model| future(model) && model.done.is_none()) {
                    self.watch(key);
                }
            }
            _ => {
                let some_key = Key { index: input.u32() >> 16, generation: input.u32() };
                let key = input.pick(self.gone.len()).map_or(some_key, |at| self.gone[at]);
                if !self.model.contains_key(&key) {
                    assert!(self.slots.get_mut(key).is_none());
                    assert!(self.slots.deliver(key, Cqe::of(0)).is_none());
                    assert!(self.slots.deliver_behind(key, Cqe::of(0)).is_none());
                    assert!(self.slots.deliver_rare(key).is_none());
                    assert!(self.slots.take_done(key).is_none());
                }
                let user_data = input.u64();
                let addressee = Addressee::of(user_data);
                assert_eq!(Addressee::of(addressee.user_data()), addressee);
                if let Addressee::Slot(_) = addressee {
                    assert_eq!(addressee.user_data(), user_data);
                }
            }
        }
    }

    fn check(&mut self) {
        assert_eq!(self.slots.len(), self.model.len());
        let mut in_flight: Vec<Key> = self.slots.in_flight().collect();
        in_flight.sort();
        let expected = self.model.iter().filter(|(_, model)| model.done.is_none()).map(|(key, _)| *key);
        assert!(in_flight.into_iter().eq(expected));
        let orphans = self.model.values().filter(|model| matches!(model.owner, Owner::Orphan(_))).count();
        assert_eq!(self.alive.get(), orphans);
    }

    /// The loop ends.
    fn drain(&mut self) {
        let drained = self.slots.drain();
        assert_eq!(drained.len(), self.model.len());
        for (key, state, earlier) in drained {
            let model = self.model.remove(&key).expect("it was in use");
            assert_eq!(results(earlier), model.earlier);
            match (state, model.owner) {
                (State::Done(cqe), Owner::Future(_)) => assert_eq!(Some(cqe.result()), model.done),
                (State::Waiting(_), Owner::Future(_)) | (State::Orphan(_), Owner::Orphan(_)) => {}
                (State::Watched(cell), Owner::Watched(expected)) => assert!(Arc::ptr_eq(&cell, &expected)),
                (state, _) => panic!("{state:?} is not what it was"),
            }
        }
        assert_eq!((self.slots.len(), self.alive.get()), (0, 0));
    }
}

/// See the module.
pub fn slots(data: &[u8]) {
    let mut input = Input(data);
    let witnesses = Witnesses::default();
    let mut pair = Pair {
        slots: Slots::new(),
        model: BTreeMap::new(),
        gone: Vec::new(),
        witnesses: witnesses.clone(),
        finished: Rc::default(),
        alive: Rc::default(),
        names: 0,
    };
    // Some begin just before generations wrap.
    pair.slots.start_generations_at(u32::from(input.u8() & 15).wrapping_sub(8));
    while !input.is_empty() {
        pair.step(&mut input);
        pair.check();
    }
    pair.drain();
    drop(pair);
    witnesses.assert_none_is_alive();
}
