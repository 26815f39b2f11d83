//! What completions bring up, and how each finds the slot that it is for.

use std::sync::Arc;
use std::task::Waker;

use super::Metrics;
use crate::ring::Cqe;
use crate::slot::{Delivered, Earlier, Elsewhere, Heard, Key, Orphan, Slots};

/// So many completions of one operation that nobody takes, and it is told to stop.
const FLOOD: usize = 16;

/// What a completion brings up, to be run outside the driver.
#[derive(Default)]
pub(crate) struct Harvest {
    pub wakers: Vec<Waker>,
    pub orphans: Vec<(Box<dyn Orphan>, Earlier, Cqe)>,
    pub watched: Vec<(Arc<Elsewhere>, Earlier, Cqe)>,
    /// The driver's own, which it does at once.
    pub(super) chores: Vec<Chore>,
}

/// What the driver is to do about what has come.
pub(super) enum Chore {
    /// An operation of several completions of which too many lie in its slot, or a chain that goes on though it is to end.
    Stop(Key),
    /// A chain that is to be stopped in a while.
    StopLater(Key),
    /// An operation that a cancel has not found so often.
    StopAgain(Key, u32),
    /// A place that a chain had, and whether there is a file still.
    TakeBack(u32, bool),
}

/// Whom completions wake while the driver is borrowed: whoever can be woken without running any code of the user's.
pub(crate) trait Wakes {
    /// Wakes, or gives back a waker that it does not know.
    fn wake(&mut self, waker: Waker) -> Result<(), Waker>;

    /// Wakes, if it knows the waker. Whether it does.
    fn wake_by_ref(&mut self, waker: &Waker) -> bool;
}

/// Nobody: all are woken later.
pub(crate) struct Later;

impl Wakes for Later {
    fn wake(&mut self, waker: Waker) -> Result<(), Waker> {
        Err(waker)
    }

    fn wake_by_ref(&mut self, _: &Waker) -> bool {
        false
    }
}

impl Harvest {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // One branch.
        self.wakers.len() | self.orphans.len() | self.watched.len() == 0
    }
}

/// Hands a completion to its slot, and whom it wakes to `wakes`.
#[inline(always)]
pub(super) fn deliver(
    slots: &mut Slots,
    harvest: &mut Harvest,
    metrics: &mut Metrics,
    wakes: &mut impl Wakes,
    key: Key,
    cqe: Cqe,
) {
    if cqe.says_more() {
        return deliver_with_more(slots, harvest, metrics, wakes, key, cqe);
    }
    deliver_last(slots, harvest, metrics, wakes, key, cqe);
}

#[inline(always)]
fn deliver_last(
    slots: &mut Slots,
    harvest: &mut Harvest,
    metrics: &mut Metrics,
    wakes: &mut impl Wakes,
    key: Key,
    cqe: Cqe,
) {
    match slots.deliver(key, cqe) {
        Some(waker) => wake_now_or_later(harvest, wakes, waker),
        None => deliver_rare(slots, harvest, metrics, wakes, key, cqe),
    }
}

#[inline(always)]
fn wake_now_or_later(harvest: &mut Harvest, wakes: &mut impl Wakes, waker: Waker) {
    if let Err(waker) = wakes.wake(waker) {
        push_waker(harvest, waker);
    }
}

/// Whom the loop does not know. Not inlined: the loop over completions is short, and stays so.
#[inline(never)]
fn push_waker(harvest: &mut Harvest, waker: Waker) {
    harvest.wakers.push(waker);
}

/// A completion whose future is gone or looks elsewhere, or has something else to take first.
#[cold]
#[inline(never)]
fn deliver_rare(
    slots: &mut Slots,
    harvest: &mut Harvest,
    metrics: &mut Metrics,
    wakes: &mut impl Wakes,
    key: Key,
    cqe: Cqe,
) {
    if key.number().is_some() {
        return deliver_link(slots, harvest, metrics, wakes, key, cqe);
    }
    if let Some(waker) = slots.deliver_behind(key, cqe) {
        return wake_now_or_later(harvest, wakes, waker);
    }
    match slots.deliver_rare(key) {
        Some(Delivered::Orphan(orphan, earlier)) => harvest.orphans.push((orphan, earlier, cqe)),
        Some(Delivered::Watched(cell, earlier)) => harvest.watched.push((cell, earlier, cqe)),
        None => metrics.stale_completions += 1,
    }
}

/// A completion with more to come, or with a buffer. Not cold: where messages are received into the loop's buffers, this is the way of
/// each.
#[inline(never)]
fn deliver_with_more(
    slots: &mut Slots,
    harvest: &mut Harvest,
    metrics: &mut Metrics,
    wakes: &mut impl Wakes,
    key: Key,
    cqe: Cqe,
) {
    slots.picked += u64::from(cqe.buffer().is_some());
    if !cqe.more() {
        return deliver_last(slots, harvest, metrics, wakes, key, cqe);
    }
    let Some(slot) = slots.get_mut(key) else {
        metrics.stale_completions += 1;
        return;
    };
    if slot.push_earlier(cqe) == FLOOD {
        harvest.chores.push(Chore::Stop(key));
    }
    if let Some(waker) = slot.tell()
        && !wakes.wake_by_ref(waker)
    {
        // Taken, not cloned: a clone may run anything. The future leaves its waker again when it is polled.
        harvest.wakers.push(std::mem::replace(waker, Waker::noop().clone()));
    }
}

/// A completion of one link of a chain.
fn deliver_link(
    slots: &mut Slots,
    harvest: &mut Harvest,
    metrics: &mut Metrics,
    wakes: &mut impl Wakes,
    link: Key,
    cqe: Cqe,
) {
    let heard = slots.hear(link, cqe);
    if let Some((place, is_filled)) = slots.place_left.take() {
        harvest.chores.push(Chore::TakeBack(place, is_filled));
    }
    match heard {
        Heard::Nothing => {}
        Heard::Stale => metrics.stale_completions += 1,
        Heard::Wake(waker) => wake_now_or_later(harvest, wakes, waker),
        Heard::Delivered(Delivered::Orphan(orphan, earlier), last) => harvest.orphans.push((orphan, earlier, last)),
        Heard::Delivered(Delivered::Watched(cell, earlier), last) => harvest.watched.push((cell, earlier, last)),
        Heard::Cancel => harvest.chores.push(Chore::Stop(link.whole())),
        Heard::CancelLater => harvest.chores.push(Chore::StopLater(link.whole())),
        Heard::CancelAgain(times) => harvest.chores.push(Chore::StopAgain(link.whole(), times)),
    }
}
