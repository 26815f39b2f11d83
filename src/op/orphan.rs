//! An operation's value without its future: it waits for the kernel to let go, leaves to its object what it brought, and
//! is freed.

use std::sync::Arc;

use super::{Next, Op};
use crate::context;
use crate::mail::Mail;
use crate::registry;
use crate::ring::Cqe;
use crate::salvage::{Item, Lane, Salvage, Undo};
use crate::slot::{Earlier, Key, Orphan};

/// What an orphan leaves to its object.
pub enum Left {
    Nothing,
    /// What was received, in order.
    Received(Vec<Item>),
    /// A write: bytes taken in all, or an `errno`; if it went by the file's position, where its last step began and how far
    /// that went.
    Written {
        fate: Result<usize, i32>,
        last_step: Option<(u64, u64)>,
    },
    /// A read at the file's position: how that is put back, what it read, and what came after.
    Position {
        undo: Undo,
        items: Vec<Item>,
    },
}

/// An operation's value without its future.
pub(super) struct Orphaned<O: Op> {
    pub op: O,
    pub salvage: Option<Arc<Salvage>>,
    pub lane: Lane,
    pub loop_id: u64,
    pub key: Key,
}

impl<O: Op> Orphan for Orphaned<O> {
    fn finish(self: Box<Self>, earlier: Earlier, last: Cqe) {
        let Orphaned { mut op, salvage, loop_id, key, .. } = *self;
        let lost = salvage.as_deref().map(|salvage| Lost { salvage, loop_id, key });
        for cqe in earlier.into_iter().flat_map(|earlier| *earlier) {
            let _ = op.step(cqe);
        }
        let cqe = match op.step(last) {
            Next::Done(cqe) => cqe,
            // A short transfer that would have gone on: the step has counted it in.
            Next::More | Next::Again => Cqe::of(-libc::ECANCELED),
        };
        std::mem::forget(lost);
        match salvage {
            // First the object, then the value, whose drop is the user's code.
            Some(salvage) => leave(&mut op, &salvage, cqe, loop_id, key),
            None => op.discard(cqe),
        }
    }

    fn lose(self: Box<Self>) {
        let Orphaned { mut op, salvage, .. } = *self;
        op.lose();
        std::mem::forget(op);
        if let Some(salvage) = salvage {
            salvage.lose();
        }
    }

    fn is_promised(&self) -> bool {
        self.op.is_promised()
    }

    fn wants_cancel(&self) -> bool {
        if self.op.is_promised() || !self.op.can_be_cancelled() {
            return false;
        }
        // One that has received something must not keep it from whoever waits: nothing more may ever come.
        let waits = self.lane.receives() && self.op.progress() == 0 && !self.op.is_endless();
        !(waits && self.salvage.as_ref().is_some_and(|salvage| salvage.is_adopted()))
    }
}

/// A buffer may panic when it is asked where it is. What the operation brought is lost then, and nobody waits for it.
struct Lost<'a> {
    salvage: &'a Salvage,
    loop_id: u64,
    key: Key,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        self.salvage.lose();
        self.salvage.settle(self.loop_id, self.key, None);
    }
}

/// Hands over what a dropped operation brought.
pub(super) fn leave<O: Op>(op: &mut O, salvage: &Salvage, cqe: Cqe, loop_id: u64, key: Key) {
    let lost = Lost { salvage, loop_id, key };
    let left = op.leave(cqe);
    std::mem::forget(lost);
    if op.lane() == Lane::Accept && cqe.cancelled() {
        salvage.accept_cancelled();
    }
    match left {
        Left::Nothing => salvage.settle(loop_id, key, None),
        Left::Received(items) => {
            let brought = !items.is_empty();
            salvage.settle(loop_id, key, items);
            if brought && op.lane() == Lane::Datagram {
                call_back(salvage);
            }
        }
        Left::Written { fate, last_step } => salvage.settle_write(loop_id, key, fate, last_step),
        Left::Position { undo, items } => salvage.settle_position(loop_id, key, undo, items),
    }
}

/// Receives of datagrams run beside each other: those that wait in the kernel are cancelled, so that one of them takes what
/// lies here. The others go back to the kernel.
fn call_back(salvage: &Salvage) {
    for (loop_id, key) in salvage.take_receivers() {
        cancel(loop_id, key);
    }
}

/// Asks an operation's loop to cancel it.
pub(super) fn cancel(loop_id: u64, key: Key) {
    let here = context::with(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().cancel(key)));
    if here.flatten().is_none() {
        // A loop that takes no mail has ended and cancels everything anyway.
        let _ = registry::post(loop_id, Mail::Cancel(key));
    }
}

pub(super) fn cancel_later(unwanted: Vec<(u64, Key)>) {
    for (loop_id, key) in unwanted {
        let here = context::with(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().cancel_later(key)));
        if here.flatten().is_none() {
            let _ = registry::post(loop_id, Mail::Cancel(key));
        }
    }
}
