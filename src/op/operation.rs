//! The future that drives any operation. The states of its slot are in `slot`.

mod dropping;
mod lending;
mod shots;
mod starved;

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

pub(super) use shots::Shots;

use super::Op;
use super::orphan::{Orphaned, cancel, cancel_later, leave};
use crate::context::{self, NO_LOOP};
use crate::driver::{Dropped, Polled};
use crate::fd::Fd;
use crate::mail::Mail;
use crate::registry::{self, Claim};
use crate::ring::{Cqe, LATE};
use crate::salvage::{Gate, Lane, Salvage, Ticket};
use crate::slot::{Earlier, Elsewhere, Handed, Key, Orphan};

/// What an operation says to a completion.
pub enum Next {
    /// This one ends it.
    Done(Cqe),
    /// The same submission gives further completions.
    More,
    /// There is more to do: prepare again.
    Again,
}

impl Next {
    /// What almost every operation makes of its only completion: one that a signal interrupted is made again.
    #[inline]
    pub(super) fn unless_interrupted(cqe: Cqe) -> Next {
        if cqe.interrupted() { Next::Again } else { Next::Done(cqe) }
    }
}

/// Where an operation is. `key` and `loop_id` mean something in the two phases in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not with the kernel.
    Start,
    InFlight,
    /// The same, awaited on another loop or thread than the one it was submitted on.
    Elsewhere,
    Finished,
}

/// What few operations need.
#[derive(Default)]
struct Rare {
    /// A place among those who wait for what orphans bring.
    ticket: Option<Ticket>,
    /// Where the loop leaves the result of an operation that is awaited elsewhere.
    cell: Option<Arc<Elsewhere>>,
    /// It has the position of its file, and others wait for that.
    holds_position: bool,
    /// How many other accepts had been cancelled when this one was submitted: see [`Salvage::accept_cancelled`].
    accepts_cancelled: u64,
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
            Stop::TimedOut => LATE,
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
    /// None when it has ended. Not dropped by itself, so that nothing is to be looked at in one that has.
    op: ManuallyDrop<Option<O>>,
    fd: Option<&'a Fd>,
    loop_id: u64,
    key: Key,
    phase: Phase,
    stop: Stop,
    /// Whether it is stopped or has something rare: then it goes the long way.
    special: bool,
    /// The same.
    rare: ManuallyDrop<Option<Box<Rare>>>,
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
    Pending,
    Cqe(Cqe),
}

impl<'a, O: Op> Operation<'a, O> {
    /// An operation on no particular object.
    #[inline]
    pub(crate) fn new(op: O) -> Operation<'static, O> {
        Operation::made(op, None)
    }

    /// An operation on an object's descriptor.
    #[inline]
    pub(crate) fn on(fd: &'a Fd, op: O) -> Operation<'a, O> {
        Operation::made(op, Some(fd))
    }

    /// What it is made of, to be made a part of another one.
    ///
    /// # Panics
    /// If it was polled.
    pub(super) fn into_parts(mut self) -> (O, Option<&'a Fd>) {
        let fresh = self.phase == Phase::Start && self.stop == Stop::No && self.rare.is_none();
        assert!(fresh, "ringtoss: an operation can be made part of another only before it is polled");
        self.phase = Phase::Finished;
        (self.op.take().expect("it has not ended"), self.fd)
    }

    #[inline]
    pub(super) fn made(op: O, fd: Option<&'a Fd>) -> Operation<'a, O> {
        let key = Key { index: 0, generation: 0 };
        let (op, rare) = (ManuallyDrop::new(Some(op)), ManuallyDrop::new(None));
        Operation { op, fd, loop_id: 0, key, phase: Phase::Start, stop: Stop::No, special: false, rare }
    }

    #[inline]
    pub(super) fn op(&mut self) -> &mut O {
        self.op.as_mut().expect("an operation is not polled after its end")
    }

    #[inline]
    fn salvage(&self) -> Option<&'a Arc<Salvage>> {
        self.fd.and_then(Fd::salvage_if_made)
    }

    // ---- polling ----------------------------------------------------------------------------------------------

    /// The rare things, made if need be.
    fn rare(&mut self) -> &mut Rare {
        self.special = true;
        self.rare.get_or_insert_default()
    }

    /// The long way of a poll. `first` is what the short one has found. When it is ready, nothing rare is left.
    #[cold]
    #[inline(never)]
    fn poll_long(&mut self, cx: &mut Context<'_>, mut first: Option<Answer>) -> Poll<Cqe> {
        loop {
            let answer = match self.phase {
                _ if first.is_some() => first.take().expect("just seen"),
                Phase::Start => self.start(cx.waker()),
                Phase::InFlight => self.ask(cx.waker()),
                Phase::Elsewhere => self.look_elsewhere(cx.waker()),
                Phase::Finished => panic!("ringtoss: an operation was polled after its end"),
            };
            match answer {
                Answer::Pending => {
                    if self.receives_beside_others() {
                        self.look_for_salvaged(cx.waker());
                    }
                    return Poll::Pending;
                }
                Answer::Cqe(cqe) => {
                    if let Some(cqe) = self.step(cqe) {
                        return Poll::Ready(cqe);
                    }
                }
            }
        }
    }

    /// Whether no submission of it is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Start
    }

    /// Hands a completion to the operation; gives the one that ends it.
    fn step(&mut self, cqe: Cqe) -> Option<Cqe> {
        match self.op().step(cqe) {
            Next::Done(cqe) if self.stop == Stop::No && O::WANTS_WORKER && cqe.result == -libc::ECANCELED => {
                self.cancelled_by_kernel(cqe)
            }
            Next::Done(cqe) if self.stop == Stop::No => Some(self.ended(cqe)),
            Next::More if O::LENDS => self.lend(),
            Next::More => None,
            next => self.step_rare(next),
        }
    }

    fn step_rare(&mut self, next: Next) -> Option<Cqe> {
        let cqe = match next {
            Next::Done(cqe) => cqe,
            _ if self.stop == Stop::No => {
                self.release_position();
                return None;
            }
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
        self.tell_other_accepts();
        Some(self.ended(Cqe::of(-self.stop.errno())))
    }

    /// It was cancelled: if it is an accept, those beside it may have to ask again.
    fn tell_other_accepts(&mut self) {
        if self.op().lane() == Lane::Accept
            && let Some(salvage) = self.salvage()
        {
            salvage.accept_cancelled();
        }
    }

    #[inline]
    fn ended(&mut self, cqe: Cqe) -> Cqe {
        if self.rare.is_some() {
            self.give_way();
        }
        cqe
    }

    #[cold]
    fn leave_salvage(&mut self) {
        let Some(salvage) = self.salvage() else { return };
        if let Some(rare) = &mut *self.rare
            && rare.ticket.is_some()
        {
            cancel_later(salvage.leave(&mut rare.ticket));
        }
    }

    /// Whether another operation's traces on the same object must be looked at before this one goes.
    #[inline]
    fn must_ask(&self) -> bool {
        let (Some(fd), Some(op)) = (self.fd, &*self.op) else { return self.op.as_ref().is_some_and(O::has_gates) };
        match op.lane() {
            Lane::Free => false,
            Lane::Accept => true,
            _ => fd.salvage_if_made().is_some_and(|salvage| salvage.is_active()),
        }
    }

    /// Submits it, or finds that there is nothing to submit and gives a result.
    fn start(&mut self, waker: &Waker) -> Answer {
        if self.stop != Stop::No {
            return Answer::Cqe(Cqe::of(-libc::ECANCELED));
        }
        // Held if an earlier attempt panicked, in a method of the buffer's say.
        self.release_position();
        let op = self.op.as_mut().expect("an operation is not polled after its end");
        if let Some(fd) = self.fd
            && op.lane() != Lane::Free
        {
            let salvage = if op.lane() == Lane::Accept { Some(fd.salvage()) } else { fd.salvage_if_made() };
            if let Some(salvage) = salvage
                && salvage.is_active()
            {
                self.special = true;
                match pass_gate(op, salvage, &mut self.rare, waker) {
                    Passed::Go => {}
                    Passed::Wait => return Answer::Pending,
                    Passed::Took(cqe) => return Answer::Cqe(cqe),
                }
            }
        }
        if self.op().has_gates() {
            self.special = true;
            match self.op().pass(waker) {
                Passed::Go => {}
                Passed::Wait => return Answer::Pending,
                Passed::Took(cqe) => return Answer::Cqe(cqe),
            }
        }
        if self.op().lane() == Lane::Accept
            && let Some(salvage) = self.salvage()
        {
            self.rare().accepts_cancelled = salvage.accepts_cancelled();
        }
        match self.submit(waker) {
            None => Answer::Pending,
            Some(errno) => Answer::Cqe(Cqe::of(-errno)),
        }
    }

    /// Hands it to the ring, or gives the `errno` with which it has ended without that.
    #[inline]
    fn submit(&mut self, waker: &Waker) -> Option<i32> {
        let op = self.op.as_mut().expect("an operation is not polled after its end");
        let fd = self.fd;
        // Cloned before the driver is borrowed: it may be anybody's waker.
        let waker = waker.clone();
        let beside_others = op.lane() == Lane::Datagram;
        let submitted = context::with(|core| {
            let mut driver = core.driver.borrow_mut();
            let driver = &mut *driver;
            if driver.is_ending() {
                return refused(waker);
            }
            let place = match fd {
                Some(fd) if !fd.is_home(core.id) => fd.visit(core.id, driver).map(|place| (fd, place)),
                _ => None,
            };
            self.key = op.stage(core.id, driver, waker, place)?;
            if O::WANTS_WORKER {
                driver.asks_files = true;
            }
            self.loop_id = core.id;
            self.phase = Phase::InFlight;
            if beside_others && let Some(fd) = fd {
                fd.note_receiver(core.id, self.key, driver);
            }
            Ok(())
        });
        match submitted {
            Some(Ok(())) => None,
            // The waker that was not kept is dropped here, where nothing is borrowed.
            Some(Err((errno, _waker))) => Some(errno),
            None => {
                self.release_position();
                panic!("{NO_LOOP}")
            }
        }
    }

    /// Whether the kernel has not been asked for anything: it waits for others on its object.
    #[inline]
    pub(super) fn is_unasked(&self) -> bool {
        self.phase == Phase::Start && self.op.as_ref().is_some_and(|op| op.progress() == 0)
    }

    /// Changes the operation, if the kernel has not been told of it yet and this is its loop. Tells whether that was so.
    /// The change runs no code of the user's and leaves something to submit.
    #[inline]
    pub(super) fn amend(&mut self, change: impl FnOnce(&mut O)) -> bool {
        let (loop_id, key) = (self.loop_id, self.key);
        if self.phase != Phase::InFlight || self.special {
            return false;
        }
        let op = self.op.as_mut().expect("in flight");
        let amended = context::with(|core| {
            core.id == loop_id
                && core.driver.borrow_mut().restage(key, |sqe, arena| {
                    change(op);
                    let prepared = op.prepare(sqe, arena);
                    debug_assert!(prepared.is_ok(), "there is something to submit still");
                })
        });
        amended == Some(true)
    }

    /// The result, if it is here and this is its loop.
    #[inline]
    fn take_done(&mut self) -> Option<Cqe> {
        let (loop_id, key) = (self.loop_id, self.key);
        context::look(|core| if core.id == loop_id { core.driver.borrow_mut().take_done(key) } else { None }).flatten()
    }

    fn ask(&mut self, waker: &Waker) -> Answer {
        let (loop_id, key) = (self.loop_id, self.key);
        let polled = context::look(|core| (core.id == loop_id).then(|| core.driver.borrow_mut().poll(key, waker)));
        match polled.flatten() {
            Some(Polled::Last(cqe)) => {
                self.phase = Phase::Start;
                Answer::Cqe(cqe)
            }
            Some(Polled::Pending) => Answer::Pending,
            Some(Polled::Earlier(cqe)) => Answer::Cqe(cqe),
            Some(Polled::StaleWaker) => {
                let mut waker = waker.clone();
                // The clone may have ended a loop that was a guest, and made another.
                let replaced = context::look(|core| {
                    if core.id == loop_id { core.driver.borrow_mut().replace_waker(key, &mut waker) } else { false }
                });
                if replaced == Some(true) { Answer::Pending } else { self.ask(&waker) }
            }
            None => self.watch(waker),
        }
    }

    /// Whether it is with the kernel and others may be beside it on the same object: accepts, and reads of clones of a pipe.
    fn receives_beside_others(&mut self) -> bool {
        if self.phase == Phase::Start {
            return false;
        }
        match self.op().lane() {
            Lane::Accept => true,
            Lane::PositionRead => self.special && self.salvage().is_some_and(|salvage| salvage.is_shared_stream()),
            _ => false,
        }
    }

    /// What an orphan of another leaves must not lie while this one waits in the kernel. It is woken, cancels itself and
    /// takes it.
    fn look_for_salvaged(&mut self, waker: &Waker) {
        let Some(salvage) = self.salvage() else { return };
        salvage.listen(&mut self.rare().ticket, waker);
        let seen = self.rare().accepts_cancelled;
        let retries = self.op().lane() == Lane::Accept && salvage.accepts_cancelled() != seen;
        if self.stop == Stop::No && (retries || salvage.has_items()) {
            self.stop(Stop::Salvaged);
        }
    }

    /// Asks for the operation to end; its completion says whether it did.
    pub(crate) fn stop(&mut self, why: Stop) {
        if self.stop != Stop::No && self.stop != Stop::Salvaged {
            return;
        }
        self.stop = why;
        self.special = true;
        match self.phase {
            Phase::InFlight | Phase::Elsewhere => cancel(self.loop_id, self.key),
            Phase::Start | Phase::Finished => {}
        }
    }

    // ---- away from its loop -----------------------------------------------------------------------------------

    #[cold]
    fn watch(&mut self, waker: &Waker) -> Answer {
        let cell = Arc::new(Elsewhere::default());
        cell.inner.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(waker.clone());
        if registry::post(self.loop_id, Mail::Watch(self.key, cell.clone())).is_ok() {
            self.phase = Phase::Elsewhere;
            self.rare().cell = Some(cell);
            if self.op().is_endless() {
                // Results are left here with the last one, so it has to end there; it begins again here.
                cancel(self.loop_id, self.key);
            }
            return Answer::Pending;
        }
        match registry::claim(self.loop_id, self.key, waker) {
            Claim::Soon => Answer::Pending,
            Claim::Result(earlier, cqe) => self.take_result(earlier, cqe),
            Claim::Lost => self.lost(),
        }
    }

    fn cell(&self) -> &Arc<Elsewhere> {
        self.rare.as_ref().and_then(|rare| rare.cell.as_ref()).expect("made when it was first polled elsewhere")
    }

    #[cold]
    fn look_elsewhere(&mut self, waker: &Waker) -> Answer {
        let waker = waker.clone();
        let _old;
        let mut state = self.cell().inner.lock().unwrap_or_else(PoisonError::into_inner);
        if state.lost {
            drop(state);
            self.lost()
        }
        match state.result.take() {
            Some((earlier, cqe)) => {
                drop(state);
                self.take_result(earlier, cqe)
            }
            None => {
                _old = state.waker.replace(waker);
                drop(state);
                Answer::Pending
            }
        }
    }

    /// Hands in the completions before the last one.
    fn take_result(&mut self, earlier: Earlier, cqe: Cqe) -> Answer {
        self.phase = Phase::Start;
        for cqe in earlier.into_iter().flat_map(|earlier| *earlier) {
            let _ = self.op().step(cqe);
        }
        Answer::Cqe(cqe)
    }
}

/// What a loop that ends says to a submission.
#[cold]
#[inline(never)]
fn refused(waker: Waker) -> Result<(), (i32, Waker)> {
    Err((libc::ECANCELED, waker))
}

/// What the gate of an object's salvage has let through.
pub enum Passed {
    Go,
    Wait,
    Took(Cqe),
}

#[cold]
fn pass_gate<O: Op>(op: &mut O, salvage: &Salvage, rare: &mut Option<Box<Rare>>, waker: &Waker) -> Passed {
    let rare = rare.get_or_insert_default();
    loop {
        match salvage.ask(op.lane(), &mut rare.ticket, waker) {
            Gate::Go => return Passed::Go,
            Gate::Hold => {
                rare.holds_position = true;
                return Passed::Go;
            }
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

impl<O: Op> Future for Operation<'_, O> {
    type Output = O::Output;

    /// The short way is that of almost all polls: submit and wait, or take the result of a single completion. Everything
    /// else goes the long way. Where it is a call, saving registers and handing the output over cost as much as taking the
    /// result.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        let polled = match this.phase {
            _ if this.special => this.poll_long(cx, None),
            Phase::InFlight => match this.take_done() {
                Some(cqe) => {
                    // Before anything may panic: the slot is gone.
                    this.phase = Phase::Start;
                    match this.op().step(cqe) {
                        Next::Done(cqe) => {
                            if O::WANTS_WORKER && cqe.result == -libc::ECANCELED {
                                this.poll_cancelled(cx, cqe)
                            } else {
                                Poll::Ready(cqe)
                            }
                        }
                        Next::Again => this.poll_long(cx, None),
                        Next::More => unreachable!("the last completion"),
                    }
                }
                None => this.poll_long(cx, None),
            },
            Phase::Start if !this.must_ask() => match this.submit(cx.waker()) {
                None => return Poll::Pending,
                Some(errno) => this.poll_long(cx, Some(Answer::Cqe(Cqe::of(-errno)))),
            },
            _ => this.poll_long(cx, None),
        };
        let Poll::Ready(cqe) = polled else { return Poll::Pending };
        // Here, where both ways meet, so that a drop that follows is known to do nothing.
        this.phase = Phase::Finished;
        Poll::Ready(this.op.take().expect("it has just ended").complete(cqe))
    }
}

impl<O: Op> Drop for Operation<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if self.phase != Phase::Finished {
            self.drop_unfinished();
        }
    }
}
