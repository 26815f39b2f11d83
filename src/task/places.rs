//! Who has something to tell: the numbers of their places, in order.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::inbox::sync::{Mutex, MutexGuard};

/// See the module's text. What waits for it is woken, one at a time.
#[derive(Default)]
pub(super) struct Places {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    places: VecDeque<usize>,
    waker: Option<Waker>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under the lock panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, place: usize) {
        let mut inner = self.lock();
        inner.places.push_back(place);
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The next place, if there is one now.
    pub(super) fn pop(&self) -> Option<usize> {
        self.lock().places.pop_front()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().places.len()
    }

    /// The next place, or the waker is left to be woken for it.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<usize> {
        let mut inner = self.lock();
        if let Some(place) = inner.places.pop_front() {
            return Poll::Ready(place);
        }
        if inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // Wakers are other people's code: none is cloned or dropped under the lock.
        drop(inner);
        let waker = cx.waker().clone();
        let mut inner = self.lock();
        if let Some(place) = inner.places.pop_front() {
            return Poll::Ready(place);
        }
        let old = inner.waker.replace(waker);
        drop(inner);
        drop(old);
        Poll::Pending
    }
}
