//! What operations share that receive into buffers of the kernel's choice: each waits its turn where there is none left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Cqe;
use super::lease::{Picks, RecvLease};
use super::operation::{Operation, Shots};
use super::{Op, Sealed};
use crate::buf::{Lease, Place, Pool, Seen};
use crate::context::{self, NO_LOOP};
use crate::fd::Fd;

/// The buffers of the loop that is entered.
///
/// # Panics
/// Where no loop runs.
pub(super) fn pool() -> io::Result<Arc<Pool>> {
    context::with(|core| core.driver.borrow_mut().pool()).unwrap_or_else(|| panic!("{NO_LOOP}"))
}

/// A place among those who wait for a buffer.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub pool: Option<Arc<Pool>>,
    place: Option<Place>,
    /// How things stood when the kernel was last asked for a buffer.
    seen: Seen,
    /// It was refused and asks again before it waits, which it does once.
    again: bool,
}

impl Turn {
    /// Before a receive is submitted: `Pending` if others have waited for longer.
    pub fn come(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>) -> Poll<()> {
        if self.pool.as_ref().is_some_and(|before| !Arc::ptr_eq(before, pool)) {
            self.leave(false);
            self.pool = None;
        }
        if self.place.is_none() && !self.again && pool.is_hungry() {
            return self.wait(pool, cx, false);
        }
        self.seen = pool.seen();
        Poll::Ready(())
    }

    /// The kernel had no buffer. If enough are there it asks again, once, or as often as others were made since, and more of them are offered
    /// at a time. Else others are made, unless they would be too many for those that are back; else it waits.
    pub fn starved(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>) -> Poll<()> {
        let uncalled = pool.uncalled_since(self.seen);
        let again = std::mem::take(&mut self.again);
        let enough = pool.suffice(uncalled);
        // Who was refused at the same time as others does not have as many made as they.
        let made = pool.has_grown_since(self.seen);
        if enough && (made || !again) {
            self.again = true;
            context::with(|core| core.driver.borrow_mut().widen_pool());
            return Poll::Ready(());
        }
        let may_grow = !enough || !pool.is_large();
        if may_grow && context::with(|core| core.driver.borrow_mut().grow_pool()).unwrap_or(false) {
            return Poll::Ready(());
        }
        self.wait(pool, cx, uncalled > 0)
    }

    fn wait(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>, uncalled: bool) -> Poll<()> {
        self.pool.get_or_insert_with(|| pool.clone());
        context::with(|core| core.driver.borrow_mut().note_hungry());
        pool.wait(&mut self.place, cx.waker(), uncalled);
        Poll::Pending
    }

    /// It has got this.
    #[inline]
    pub fn got(&mut self, lease: impl FnOnce() -> bool) {
        self.again = false;
        if self.is_taken() {
            self.leave(lease());
        }
    }

    /// Whether it waits, and was not called yet as far as it knows.
    pub fn is_taken(&self) -> bool {
        self.place.is_some()
    }

    pub fn leave(&mut self, satisfied: bool) {
        if let Some(pool) = &self.pool {
            pool.leave(&mut self.place, satisfied);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave(false);
    }
}

/// A receive into a buffer that the kernel picks when something arrives: `IORING_OP_RECV`, `recv(2)`, or what else `O` says.
/// From a stream it gives `None` at the end.
///
/// Dropped, what arrives nevertheless is given to the next receive or read. While every buffer of the loop is held by a lease
/// it waits, in order, for one to come back.
///
/// # Panics
/// When it is first polled where no loop runs, and when it is polled after its end.
#[derive(Debug)]
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Receive<'a, O: Picks = RecvLease> {
    fd: &'a Fd,
    place: O::Place,
    operation: Option<Operation<'a, O>>,
    /// Whose buffers it picks from.
    picks_from: Option<Arc<Pool>>,
    turn: Turn,
}

impl<'a, O: Picks<Place = ()>> Receive<'a, O> {
    pub(crate) fn new(fd: &'a Fd) -> Receive<'a, O> {
        Receive::at(fd, ())
    }
}

impl<'a, O: Picks> Receive<'a, O> {
    pub(crate) fn at(fd: &'a Fd, place: O::Place) -> Receive<'a, O> {
        Receive { fd, place, operation: None, picks_from: None, turn: Turn::default() }
    }
}

impl<O: Picks> Future for Receive<'_, O> {
    type Output = io::Result<O::Item>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if let Some(operation) = &mut this.operation {
                let result = ready!(Pin::new(operation).poll(cx));
                this.operation = None;
                match result {
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        let pool = pool()?;
                        // It went on on another loop, whose buffers these are not: it begins again.
                        if this.picks_from.as_ref().is_some_and(|before| Arc::ptr_eq(before, &pool)) {
                            ready!(this.turn.starved(&pool, cx));
                        }
                    }
                    result => {
                        let item = result.as_ref().ok();
                        this.turn.got(|| item.and_then(O::lease).is_some_and(Lease::is_pooled));
                        return Poll::Ready(result);
                    }
                }
            }
            let pool = pool()?;
            ready!(this.turn.come(&pool, cx));
            this.picks_from = Some(pool.clone());
            this.operation = Some(Operation::on(this.fd, O::picking(this.fd, pool, this.place)));
        }
    }
}

/// An operation that gives completions again and again, each with a buffer of the kernel's choice.
pub trait Shoots: Op + Sealed {
    /// What one of them brings.
    #[doc(hidden)]
    type Item;

    #[doc(hidden)]
    fn set_pool(&mut self, pool: Arc<Pool>);

    #[doc(hidden)]
    fn pool(&self) -> &Arc<Pool>;

    /// The next that has come and was not taken yet.
    #[doc(hidden)]
    fn take(&mut self) -> Option<Self::Item>;

    /// Takes in a completion that is not the last, while nothing waits to be taken, and gives what it brings, if it brings anything.
    #[doc(hidden)]
    #[inline]
    fn bring(&mut self, cqe: Cqe) -> Option<Self::Item> {
        let _ = self.step(cqe);
        self.take()
    }

    /// The bytes in that.
    #[doc(hidden)]
    fn lease(item: &Self::Item) -> Option<&Lease>;

    /// Whether there is any.
    #[doc(hidden)]
    fn has_none(&self) -> bool {
        self.progress() == 0
    }
}

/// The same, kept going: submitted when somebody asks, again when it has ended, and when there are buffers.
#[derive(Debug)]
pub(super) struct Shooting<'a, O: Shoots> {
    pub fd: &'a Fd,
    operation: Option<Operation<'a, O>>,
    pub turn: Turn,
}

impl<'a, O: Shoots> Shooting<'a, O> {
    pub fn new(fd: &'a Fd) -> Shooting<'a, O> {
        Shooting { fd, operation: None, turn: Turn::default() }
    }

    /// Whether nothing has come, and nothing is under way.
    pub fn is_idle(&mut self) -> bool {
        self.operation.as_mut().is_none_or(|operation| operation.is_idle() && operation.op().has_none())
    }

    /// What comes next. `make` makes the operation, once.
    #[inline]
    pub fn poll_item(&mut self, cx: &mut Context<'_>, make: impl Fn(&Fd, Arc<Pool>) -> O) -> Poll<io::Result<O::Item>> {
        loop {
            if let Some(operation) = &mut self.operation {
                let mut give = |item: O::Item| {
                    self.turn.got(|| O::lease(&item).is_some_and(Lease::is_pooled));
                    Poll::Ready(Ok(item))
                };
                if let Some(item) = operation.op().take() {
                    return give(item);
                }
                match operation.poll_shot(cx.waker()) {
                    Some(Poll::Ready(Some(item))) => return give(item),
                    Some(Poll::Ready(None)) => continue,
                    Some(Poll::Pending) => return Poll::Pending,
                    None => {}
                }
            }
            ready!(self.go_on(cx, &make))?;
        }
    }

    /// Submits it, if it is idle, and takes in what only the long way tells.
    #[inline(never)]
    fn go_on(&mut self, cx: &mut Context<'_>, make: &impl Fn(&Fd, Arc<Pool>) -> O) -> Poll<io::Result<()>> {
        if self.operation.as_ref().is_none_or(Operation::is_idle) {
            let pool = pool()?;
            ready!(self.turn.come(&pool, cx));
            let fd = self.fd;
            match &mut self.operation {
                Some(operation) => operation.op().set_pool(pool),
                none => *none = Some(Operation::on(fd, make(fd, pool))),
            }
        }
        let operation = self.operation.as_mut().expect("made above");
        match ready!(operation.poll_shots(cx)) {
            Shots::Some => {}
            // It went on on another loop: its buffers are set when it begins again.
            Shots::Refused(libc::ENOBUFS) => {}
            Shots::Refused(errno) => return Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            Shots::Last(cqe) if cqe.result == -libc::ENOBUFS && operation.op().has_none() => {
                // That of another loop says nothing about this one's.
                let here = pool()?;
                if Arc::ptr_eq(operation.op().pool(), &here) {
                    ready!(self.turn.starved(&here, cx));
                }
            }
            // Cancelled because nobody asked for long, or ended for a reason of the kernel's: it begins again.
            Shots::Last(_) => {}
        }
        Poll::Ready(Ok(()))
    }
}
