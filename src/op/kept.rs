//! Operations on an object that they share, so that they can be kept beside it: what the poll-based traits are made of.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::operation::{Next, Operation};
use super::orphan::Left;
use super::{Arena, Cqe, Op, Sealed, Sqe};
use crate::fd::{Fd, HasFd};
use crate::salvage::{Lane, Salvage};

/// At most one operation on a shared object.
pub(crate) struct Kept<S, O: Op> {
    // Never handed out: it borrows from `source`. Declared first, so dropped first.
    operation: Option<Operation<'static, O>>,
    source: Arc<S>,
}

impl<S: HasFd, O: Op> Kept<S, O> {
    pub(crate) fn new(source: Arc<S>) -> Kept<S, O> {
        Kept { operation: None, source }
    }

    #[inline]
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Arc<S> {
        &self.source
    }

    /// Whether there is one.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.operation.is_some()
    }

    /// Begins one, in place of what there is.
    #[inline]
    pub(crate) fn start(&mut self, op: O) {
        let fd: *const Fd = self.source.ring_fd();
        // SAFETY: the descriptor is part of what the `Arc` keeps, so it stays where it is, and it is not changed, however this
        // value is moved; `source` is dropped after `operation`, and if this is leaked, so is that.
        self.operation = Some(Operation::on(unsafe { &*fd }, op));
    }

    /// Its output; there has to be one.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O::Output> {
        let operation = self.operation.as_mut().expect("one was begun");
        let polled = Pin::new(operation).poll(cx);
        if polled.is_ready() {
            self.operation = None;
        }
        polled
    }

    /// Drops it.
    pub(crate) fn cancel(&mut self) {
        self.operation = None;
    }

    /// Changes what it asks for, if the kernel has not been asked yet. Tells whether that was so.
    #[inline]
    pub(crate) fn amend(&mut self, change: impl FnOnce(&mut O)) -> bool {
        self.operation.as_mut().is_some_and(|operation| operation.amend(change))
    }
}

/// What became of a promise.
pub(crate) enum Promise<T> {
    /// It is with the loop, and goes to the kernel without being asked for again.
    Made,
    /// It is over already.
    Over(T),
    /// Others on the object come first; the task is woken. Nothing was promised.
    NotYet,
}

impl<S: HasFd, O: Op> Kept<S, Promised<S, O>> {
    /// Begins an operation that nobody waits for: whoever does polls.
    #[inline]
    pub(crate) fn promise(&mut self, cx: &mut Context<'_>, op: O) -> Promise<O::Output> {
        self.start(Promised { inner: op, source: Some(self.source.clone()), kept: false });
        let mut polled = self.poll(&mut Context::from_waker(Waker::noop()));
        if polled.is_pending() && self.operation.as_ref().is_some_and(Operation::is_unasked) {
            polled = self.poll(cx);
        }
        match polled {
            Poll::Ready(output) => Promise::Over(output),
            Poll::Pending if self.operation.as_ref().is_some_and(Operation::is_unasked) => Promise::NotYet,
            Poll::Pending => Promise::Made,
        }
    }

    /// Lets a promise be kept by other means, as long as the kernel was not asked: `keep` does it, or leaves what is to be asked
    /// for, and tells which.
    pub(crate) fn keep_now(&mut self, keep: impl FnOnce(&mut O) -> bool) {
        self.amend(|promised| promised.kept = keep(&mut promised.inner));
        if let Some(operation) = &mut self.operation
            && operation.op().kept
        {
            self.cancel();
        }
    }

    /// Forgets one that was not promised after all.
    #[inline]
    pub(crate) fn withdraw(&mut self) {
        if self.operation.as_ref().is_some_and(Operation::is_unasked) {
            self.cancel();
        }
    }

    /// Drops it, too: it goes on, but does not keep the object any more.
    pub(crate) fn let_go(&mut self) {
        if let Some(operation) = &mut self.operation {
            operation.op().source = None;
        }
        self.cancel();
    }
}

/// A write whose bytes somebody was told are taken. So it is not cancelled when its future is dropped, nor when the object is:
/// it keeps that.
pub(crate) struct Promised<S, O> {
    inner: O,
    source: Option<Arc<S>>,
    /// The promise was kept by other means.
    kept: bool,
}

impl<S, O> Promised<S, O> {
    pub(crate) fn inner(&mut self) -> &mut O {
        &mut self.inner
    }
}

/// One on an object, that has been promised or is about to be.
pub(crate) type Promising<S, O> = Kept<S, Promised<S, O>>;

impl<S, O> Sealed for Promised<S, O> {}

// SAFETY: everything is the inner operation's.
unsafe impl<S: HasFd, O: Op> Op for Promised<S, O> {
    type Output = O::Output;

    const WANTS_WORKER: bool = O::WANTS_WORKER;

    fn without_worker(&mut self) -> bool {
        self.inner.without_worker()
    }

    #[inline]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.inner.prepare(sqe, arena)
    }

    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        self.inner.step(cqe)
    }

    #[inline]
    fn complete(self, cqe: Cqe) -> O::Output {
        self.inner.complete(cqe)
    }

    #[inline]
    fn lane(&self) -> Lane {
        self.inner.lane()
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        self.inner.leave(cqe)
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }

    fn progress(&self) -> usize {
        self.inner.progress()
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        self.inner.take_salvaged(salvage)
    }

    fn is_promised(&self) -> bool {
        !self.kept
    }
}
