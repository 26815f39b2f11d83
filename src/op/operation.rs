//! The future that drives any operation. The states of its slot are in `slot`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Op;
use crate::context::{self, NO_LOOP};
use crate::driver::{Dropped, Polled};
use crate::fd::Fd;
use crate::mail::{Handed, Mail};
use crate::registry::{self, Claim};
use crate::ring::Cqe;
use crate::salvage::{Gate, Item, Lane, Salvage, Ticket};
use crate::slot::{Earlier, Elsewhere, Key, Orphan};

/// What an operation says to a completion.
pub enum Next {
    /// This one ends it.
    Done(Cqe),
    /// The same submission gives further completions.
    More,
    /// There is more to do: prepare again.
    Again,
}

/// What an orphan leaves to its object.
pub enum Left {
    Nothing,
    /// Something received, and what came after it.
    Received(Option<Item>, Option<Item>),
    /// A write: bytes taken in all, or an `errno`.
    Fate(Result<usize, i32>),
    /// A read at the file's position: how far it moved, what it read, and what came after.
    Position { consumed: usize, bytes: Option<Item>, then: Option<Item> },
}

enum Phase {
    /// Not with the kernel.
    Start,
    InFlight { loop_id: u64, key: Key },
    /// The same, awaited on another loop or thread than the one it was submitted on.
    Elsewhere { loop_id: u64, key: Key, cell: Arc<Elsewhere> },
    Finished,
}

/// Why an operation is to end early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    No,
    Cancelled,
    TimedOut,
    /// Something was salvaged for it: it takes that instead.
    Salvaged,
}

impl Stop {
    fn errno(self) -> i32 {
        match self {
            Stop::TimedOut => libc::ETIMEDOUT,
            _ => libc::ECANCELED,
        }
    }
}

/// An operation of the kernel's: submitted when first polled, done when awaited.
///
/// It is `Send` if its contents are. See the [module](crate::op) for what happens when it is dropped, and for the ways
/// to bound and end it.
///
/// # Panics
/// When it is first polled where no loop runs, and when it is polled after its end.
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Operation<'a, O: Op> {
    op: Option<O>,
    phase: Phase,
    fd: Option<&'a Fd>,
    ticket: Option<Ticket>,
    stop: Stop,
}

// The value is never pinned: its addresses stay valid while it moves, which is what implementing `Op` promises.
impl<O: Op> Unpin for Operation<'_, O> {}

impl<O: Op + std::fmt::Debug> std::fmt::Debug for Operation<'_, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").field("op", &self.op).finish_non_exhaustive()
    }
}

/// What the loop says when an operation is polled.
enum Answer {
    Pending(Option<Waker>),
    StaleWaker,
    Earlier(Cqe),
    Last(Cqe),
    /// This is not the operation's loop.
    Away,
}

impl<'a, O: Op> Operation<'a, O> {
    /// An operation on no particular object.
    pub(crate) fn new(op: O) -> Operation<'static, O> {
        Operation { op: Some(op), phase: Phase::Start, fd: None, ticket: None, stop: Stop::No }
    }

    /// An operation on an object's descriptor.
    #[inline]
    pub(crate) fn on(fd: &'a Fd, op: O) -> Operation<'a, O> {
        Operation { op: Some(op), phase: Phase::Start, fd: Some(fd), ticket: None, stop: Stop::No }
    }

    /// The value, if the kernel never had it.
    pub(crate) fn into_unsubmitted(mut self) -> Option<O> {
        matches!(self.phase, Phase::Start).then(|| self.op.take()).flatten()
    }

    fn op(&mut self) -> &mut O {
        self.op.as_mut().expect("an operation is not polled after its end")
    }

    // ---- polling ----------------------------------------------------------------------------------------------

    #[inline]
    pub(crate) fn poll_cqe(&mut self, cx: &mut Context<'_>) -> Poll<Cqe> {
        loop {
            let cqe = match &self.phase {
                Phase::Start => match self.start(cx.waker()) {
                    Some(cqe) => cqe,
                    None => {
                        if self.op().lane() == Lane::Accept {
                            self.look_for_salvaged(cx.waker());
                        }
                        return Poll::Pending;
                    }
                },
                &Phase::InFlight { loop_id, key } => match self.ask(loop_id, key, cx.waker()) {
                    Answer::Last(cqe) => {
                        self.phase = Phase::Start;
                        cqe
                    }
                    Answer::Earlier(cqe) => cqe,
                    Answer::Pending(old) => {
                        drop(old);
                        if self.op().lane() == Lane::Accept {
                            self.look_for_salvaged(cx.waker());
                        }
                        return Poll::Pending;
                    }
                    Answer::StaleWaker => unreachable!("replaced in `ask`"),
                    Answer::Away => match self.watch(loop_id, key, cx.waker()) {
                        Some(cqe) => cqe,
                        None => return Poll::Pending,
                    },
                },
                Phase::Elsewhere { .. } => match self.look_elsewhere(cx.waker()) {
                    Some(cqe) => cqe,
                    None => return Poll::Pending,
                },
                Phase::Finished => panic!("ringtoss: an operation was polled after its end"),
            };
            if let Some(cqe) = self.step(cqe) {
                self.phase = Phase::Finished;
                return Poll::Ready(cqe);
            }
        }
    }

    /// Hands a completion to the operation; gives the one that ends it.
    #[inline]
    fn step(&mut self, cqe: Cqe) -> Option<Cqe> {
        match self.op().step(cqe) {
            Next::Done(cqe) if self.stop == Stop::No => Some(self.ended(cqe)),
            Next::More => None,
            Next::Again if self.stop == Stop::No => {
                let lane = self.op().lane();
                self.release_position(lane);
                None
            }
            next => self.step_stopped(next),
        }
    }

    #[cold]
    fn step_stopped(&mut self, next: Next) -> Option<Cqe> {
        let cqe = match next {
            Next::Done(cqe) => cqe,
            _ => Cqe::of(-libc::ECANCELED),
        };
        if !cqe.cancelled() {
            return Some(self.ended(cqe));
        }
        if self.stop == Stop::Salvaged {
            // Back to the start, where it finds what was salvaged.
            self.stop = Stop::No;
            return None;
        }
        Some(self.ended(Cqe::of(-self.stop.errno())))
    }

    #[inline]
    fn ended(&mut self, cqe: Cqe) -> Cqe {
        let lane = self.op().lane();
        if lane != Lane::Free && (self.ticket.is_some() || matches!(lane, Lane::PositionRead | Lane::PositionWrite)) {
            self.leave_salvage(lane);
        }
        cqe
    }

    #[cold]
    fn leave_salvage(&mut self, lane: Lane) {
        let Some(salvage) = self.fd.and_then(Fd::salvage_if_made) else { return };
        let unwanted = salvage.leave(&mut self.ticket);
        if matches!(lane, Lane::PositionRead | Lane::PositionWrite) {
            salvage.free_position();
        }
        cancel_later(unwanted);
    }

    /// Submits it, or finds that there is nothing to submit and gives a result.
    #[inline]
    fn start(&mut self, waker: &Waker) -> Option<Cqe> {
        if self.stop != Stop::No {
            return Some(Cqe::of(-libc::ECANCELED));
        }
        let op = self.op.as_mut().expect("an operation is not polled after its end");
        if let Some(fd) = self.fd {
            let lane = op.lane();
            if lane == Lane::Accept {
                fd.salvage();
            }
            if lane != Lane::Free
                && let Some(salvage) = fd.salvage_if_made()
                && salvage.is_active()
            {
                match pass_gate(op, salvage, &mut self.ticket, waker) {
                    Passed::Go => {}
                    Passed::Wait => return None,
                    Passed::Took(cqe) => return Some(cqe),
                }
            }
        }
        // Cloned before the driver is borrowed: it may be anybody's waker.
        let waker = waker.clone();
        let fd = self.fd;
        let submitted = context::with(|core| {
            let mut driver = core.driver.borrow_mut();
            let driver = &mut *driver;
            if driver.is_ending() {
                return Err(libc::ECANCELED);
            }
            if let Some(fd) = fd {
                fd.visit(core.id);
            }
            let sqe = op.prepare(&mut driver.arena)?;
            Ok((core.id, driver.submit(sqe, waker)))
        });
        match submitted {
            Some(Ok((loop_id, key))) => {
                self.phase = Phase::InFlight { loop_id, key };
                None
            }
            Some(Err(errno)) => Some(Cqe::of(-errno)),
            None => panic!("{NO_LOOP}"),
        }
    }

    #[inline]
    fn ask(&mut self, loop_id: u64, key: Key, waker: &Waker) -> Answer {
        let answer = context::with(|core| {
            if core.id != loop_id {
                return Answer::Away;
            }
            match core.driver.borrow_mut().poll(key, waker) {
                Polled::Last(cqe) => Answer::Last(cqe),
                Polled::Earlier(cqe) => Answer::Earlier(cqe),
                Polled::Pending => Answer::Pending(None),
                Polled::StaleWaker => Answer::StaleWaker,
            }
        });
        match answer {
            Some(Answer::StaleWaker) => {
                let waker = waker.clone();
                let old = context::with(|core| core.driver.borrow_mut().replace_waker(key, waker));
                Answer::Pending(old)
            }
            Some(answer) => answer,
            None => Answer::Away,
        }
    }

    /// Accepts run beside each other on one listener: what an orphan of another leaves there must not lie while this one
    /// waits in the kernel. It is woken, cancels itself and takes it.
    fn look_for_salvaged(&mut self, waker: &Waker) {
        let Some(salvage) = self.fd.and_then(Fd::salvage_if_made) else { return };
        salvage.listen(&mut self.ticket, waker);
        if self.stop == Stop::No && salvage.has_items() {
            self.stop(Stop::Salvaged);
        }
    }

    /// Asks for the operation to end; its completion says whether it did.
    pub(crate) fn stop(&mut self, why: Stop) {
        if self.stop != Stop::No && self.stop != Stop::Salvaged {
            return;
        }
        self.stop = why;
        match self.phase {
            Phase::InFlight { loop_id, key } | Phase::Elsewhere { loop_id, key, .. } => cancel(loop_id, key),
            Phase::Start | Phase::Finished => {}
        }
    }

    // ---- away from its loop -----------------------------------------------------------------------------------

    #[cold]
    fn watch(&mut self, loop_id: u64, key: Key, waker: &Waker) -> Option<Cqe> {
        let cell = Arc::new(Elsewhere::default());
        cell.inner.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(waker.clone());
        if registry::post(loop_id, Mail::Watch(key, cell.clone())).is_ok() {
            self.phase = Phase::Elsewhere { loop_id, key, cell };
            return None;
        }
        match registry::claim(loop_id, key, waker) {
            Claim::Soon => None,
            Claim::Result(earlier, cqe) => Some(self.take_result(earlier, cqe)),
            Claim::Lost => self.lost(),
        }
    }

    #[cold]
    fn look_elsewhere(&mut self, waker: &Waker) -> Option<Cqe> {
        let waker = waker.clone();
        let _old;
        let Phase::Elsewhere { cell, .. } = &self.phase else { unreachable!("called in this phase") };
        let mut state = cell.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost {
            drop(state);
            self.lost()
        }
        match state.result.take() {
            Some((earlier, cqe)) => {
                drop(state);
                Some(self.take_result(earlier, cqe))
            }
            None => {
                _old = state.waker.replace(waker);
                drop(state);
                None
            }
        }
    }

    /// Hands in the completions before the last one.
    fn take_result(&mut self, earlier: Earlier, cqe: Cqe) -> Cqe {
        self.phase = Phase::Start;
        for cqe in earlier.into_iter().flat_map(|earlier| *earlier) {
            let _ = self.op().step(cqe);
        }
        cqe
    }

    fn lost(&mut self) -> ! {
        // The kernel may still be at it: the value is leaked, never freed.
        std::mem::forget(self.op.take());
        self.phase = Phase::Finished;
        panic!(
            "ringtoss: the loop that this operation was submitted to has ended without the kernel letting go of the \
             operation; its buffer is leaked"
        )
    }

    // ---- dropping ---------------------------------------------------------------------------------------------

    #[cold]
    fn drop_in_flight(&mut self, op: O) {
        let lane = op.lane();
        match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::Start | Phase::Finished => {}
            Phase::InFlight { loop_id, key } if context::current_id() == loop_id => self.drop_here(op, lane, loop_id, key),
            Phase::InFlight { loop_id, key } => {
                let handed = Handed::new(self.orphan(op, lane, loop_id, key));
                if let Err(Mail::Orphan(key, handed)) = registry::post(loop_id, Mail::Orphan(key, handed)) {
                    registry::abandon(loop_id, key, handed);
                }
            }
            Phase::Elsewhere { loop_id, key, cell } => {
                let orphan = self.orphan(op, lane, loop_id, key);
                let mut state = cell.inner.lock().unwrap_or_else(PoisonError::into_inner);
                let _waker = state.waker.take();
                if state.lost {
                    drop(state);
                    orphan.lose();
                } else if let Some((earlier, cqe)) = state.result.take() {
                    drop(state);
                    orphan.finish(earlier, cqe);
                } else {
                    state.orphan = Some(Handed::new(orphan));
                    drop(state);
                    // If the loop takes no mail any more, it finds the orphan when it leaves the result.
                    let _ = registry::post(loop_id, Mail::Unwatch(key, cell));
                }
            }
        }
    }

    fn drop_here(&mut self, mut op: O, lane: Lane, loop_id: u64, key: Key) {
        let dropped = context::with(|core| core.driver.borrow_mut().drop_future(key)).expect("its loop is entered");
        match dropped {
            Dropped::Voided(waker) => {
                drop(waker);
                if let Some(salvage) = self.fd.filter(|_| op.progress() > 0).map(Fd::salvage) {
                    leave(&mut op, salvage, Cqe::of(-libc::ECANCELED), loop_id, key);
                }
                self.release_position(lane);
            }
            Dropped::Done(earlier, cqe) => self.orphan(op, lane, loop_id, key).finish(earlier, cqe),
            Dropped::InFlight => {
                let orphan = self.orphan(op, lane, loop_id, key);
                let old = context::with(|core| core.driver.borrow_mut().adopt(key, orphan));
                drop(old);
            }
        }
    }

    fn release_position(&self, lane: Lane) {
        if matches!(lane, Lane::PositionRead | Lane::PositionWrite)
            && let Some(salvage) = self.fd.and_then(Fd::salvage_if_made)
        {
            salvage.free_position();
        }
    }

    fn orphan(&self, op: O, lane: Lane, loop_id: u64, key: Key) -> Box<dyn Orphan> {
        let salvage = self.fd.filter(|_| lane.leaves_traces()).map(|fd| fd.salvage().clone());
        if let Some(salvage) = &salvage {
            salvage.orphaned(loop_id, key, lane);
        }
        Box::new(Orphaned { op, salvage, lane, loop_id, key })
    }
}

/// What the gate of an object's salvage has let through.
enum Passed {
    Go,
    Wait,
    Took(Cqe),
}

#[cold]
fn pass_gate<O: Op>(op: &mut O, salvage: &Salvage, ticket: &mut Option<Ticket>, waker: &Waker) -> Passed {
    loop {
        match salvage.ask(op.lane(), ticket, waker) {
            Gate::Go => return Passed::Go,
            Gate::Wait => return Passed::Wait,
            Gate::Lost => return Passed::Took(Cqe::of(-libc::EIO)),
            Gate::Take => match op.take_salvaged(salvage) {
                Some(cqe) => return Passed::Took(cqe),
                // Another was faster.
                None if !salvage.has_items() => {}
                None => return Passed::Go,
            },
        }
    }
}

/// Asks an operation's loop to cancel it.
fn cancel(loop_id: u64, key: Key) {
    let here = context::with(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().cancel(key)));
    if here.flatten().is_none() {
        // A loop that takes no mail has ended and cancels everything anyway.
        let _ = registry::post(loop_id, Mail::Cancel(key));
    }
}

fn cancel_later(unwanted: Vec<(u64, Key)>) {
    for (loop_id, key) in unwanted {
        let here = context::with(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().cancel_later(key)));
        if here.flatten().is_none() {
            let _ = registry::post(loop_id, Mail::Cancel(key));
        }
    }
}

impl<O: Op> Future for Operation<'_, O> {
    type Output = O::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        match this.poll_cqe(cx) {
            Poll::Ready(cqe) => {
                let op = this.op.take().expect("it has just ended");
                Poll::Ready(op.complete(cqe))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<O: Op> Drop for Operation<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if let Some(op) = self.op.take() {
            match self.phase {
                Phase::Start | Phase::Finished => self.drop_unsubmitted(op),
                _ => self.drop_in_flight(op),
            }
        }
        if self.ticket.is_some() {
            self.leave_salvage(Lane::Free);
        }
    }
}

impl<O: Op> Operation<'_, O> {
    #[inline]
    fn drop_unsubmitted(&mut self, mut op: O) {
        // Between two submissions it is only while it is stopped; what it had moved until then is not lost either.
        if op.progress() > 0
            && let Some(salvage) = self.fd.map(Fd::salvage)
        {
            leave(&mut op, salvage, Cqe::of(-libc::ECANCELED), 0, Key { index: 0, generation: 0 });
        }
    }
}

/// An operation's value without its future.
struct Orphaned<O: Op> {
    op: O,
    salvage: Option<Arc<Salvage>>,
    lane: Lane,
    loop_id: u64,
    key: Key,
}

impl<O: Op> Orphan for Orphaned<O> {
    fn finish(mut self: Box<Self>, earlier: Earlier, last: Cqe) {
        for cqe in earlier.into_iter().flat_map(|earlier| *earlier) {
            let _ = self.op.step(cqe);
        }
        let cqe = match self.op.step(last) {
            Next::Done(cqe) => cqe,
            // A short transfer that would have gone on: the step has counted it in.
            Next::More | Next::Again => Cqe::of(-libc::ECANCELED),
        };
        let Orphaned { mut op, salvage, loop_id, key, .. } = *self;
        match salvage {
            // First the object, then the value, whose drop is the user's code.
            Some(salvage) => leave(&mut op, &salvage, cqe, loop_id, key),
            None => drop(op.complete(cqe)),
        }
    }

    fn lose(self: Box<Self>) {
        let Orphaned { op, salvage, .. } = *self;
        std::mem::forget(op);
        if let Some(salvage) = salvage {
            salvage.lose();
        }
    }

    fn wants_cancel(&self) -> bool {
        !(self.lane.receives() && self.salvage.as_ref().is_some_and(|salvage| salvage.is_adopted()))
    }
}

fn leave<O: Op>(op: &mut O, salvage: &Salvage, cqe: Cqe, loop_id: u64, key: Key) {
    match op.leave(cqe) {
        Left::Nothing => salvage.settle(loop_id, key, [None, None]),
        Left::Received(item, then) => salvage.settle(loop_id, key, [item, then]),
        Left::Fate(fate) => salvage.settle_write(loop_id, key, fate),
        Left::Position { consumed, bytes, then } => salvage.settle_position(loop_id, key, consumed, [bytes, then]),
    }
}
