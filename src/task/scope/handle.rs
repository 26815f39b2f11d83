//! How the value of a scope's child gets to whoever awaits it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::Wakes;
use crate::task::error::JoinError;
use crate::task::id::Id;

/// Where a child's value waits for the handle.
pub(super) struct Output<T> {
    state: RefCell<OutputState<T>>,
}

enum OutputState<T> {
    Awaited(Option<Waker>),
    Ended(Result<T, JoinError>),
    Taken,
}

impl<T> Default for Output<T> {
    fn default() -> Self {
        Output { state: RefCell::new(OutputState::Awaited(None)) }
    }
}

impl<T> Output<T> {
    fn id(self: &Rc<Self>) -> Id {
        Id::of(NonNull::from(&**self))
    }

    fn fill(&self, result: Result<T, JoinError>) {
        let mut state = self.state.borrow_mut();
        if let OutputState::Awaited(waker) = &mut *state {
            let waker = waker.take();
            *state = OutputState::Ended(result);
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// Tells of the end of a child that gave no value.
pub(super) struct Fills<T>(Rc<Output<T>>);

impl<T> Fills<T> {
    pub(super) fn new(output: &Rc<Output<T>>) -> Fills<T> {
        Fills(output.clone())
    }

    pub(super) fn fill(&self, value: T) {
        self.0.fill(Ok(value));
    }
}

impl<T> Drop for Fills<T> {
    fn drop(&mut self) {
        self.0.fill(Err(JoinError::cancelled(self.0.id())));
    }
}

/// The right to wait for the value of a scope's child, and to cancel it. Dropping it does neither.
///
/// It gives an error for which [`is_cancelled`](JoinError::is_cancelled) holds if the child was aborted, or gave an error or
/// panicked, which ends the scope.
///
/// # Panics
/// When it is polled again after it has given the value.
pub struct ScopedJoinHandle<T> {
    output: Rc<Output<T>>,
    aborted: Rc<Cell<bool>>,
    /// `None` if it was refused.
    wake: Option<Arc<Wakes>>,
}

impl<T> ScopedJoinHandle<T> {
    pub(super) fn new(output: Rc<Output<T>>, aborted: Rc<Cell<bool>>, wake: Option<Arc<Wakes>>) -> ScopedJoinHandle<T> {
        ScopedJoinHandle { output, aborted, wake }
    }

    /// Has the child dropped when the scope's future is next polled, unless it has ended by then.
    pub fn abort(&self) {
        self.aborted.set(true);
        if let Some(wake) = &self.wake
            && !self.is_finished()
        {
            wake.wake_by_ref();
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.output.state.borrow(), OutputState::Awaited(_))
    }
}

impl<T> Future for ScopedJoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() {
            // Wakers are other people's code: none is cloned or dropped while the state is borrowed.
            let waker = cx.waker().clone();
            let old = match &mut *self.output.state.borrow_mut() {
                OutputState::Awaited(old) => old.replace(waker),
                _ => None,
            };
            drop(old);
            return Poll::Pending;
        }
        match mem::replace(&mut *self.output.state.borrow_mut(), OutputState::Taken) {
            OutputState::Ended(result) => Poll::Ready(result),
            _ => panic!("`ScopedJoinHandle` polled after completion"),
        }
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}
