//! The waker of the future that `block_on` runs, which is no task.
//!
//! On the loop's own thread, where it is cloned, woken and dropped with almost every operation of that future, none of
//! this takes an atomic read-modify-write. It has two flags: one that only the loop's thread writes, and one for everybody
//! else. And of its references, those that are given up on the loop's thread are kept by the loop, uncounted in the
//! `Arc`'s eyes, and given out again: a clone that is kept costs an addition, not an atomic one.

use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::here::current_id;
use crate::inbox::Inbox;
use crate::inbox::sync::{AtomicBool, Ordering, UnsafeCell};

struct Shared {
    /// Woken on the loop's thread. Only that reads and writes it.
    here: AtomicBool,
    /// Woken elsewhere.
    elsewhere: AtomicBool,
    /// How many references the loop keeps; `None` once it has ended. Only the loop's thread touches it.
    kept: UnsafeCell<Option<usize>>,
    inbox: Arc<Inbox>,
}

// SAFETY: all but `kept` is Send and Sync, and that is only touched where `is_here` says so: on the loop's thread, since an
// id is current on that alone and no two loops have the same.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    #[inline]
    fn is_here(&self) -> bool {
        current_id() == self.inbox.id()
    }

    #[inline]
    fn wake(&self) {
        if self.is_here() {
            self.here.store(true, Ordering::Relaxed);
        } else {
            self.wake_elsewhere();
        }
    }

    #[cold]
    fn wake_elsewhere(&self) {
        // Not a store: that would cut off what another thread has released by its wake just before.
        self.elsewhere.swap(true, Ordering::Release);
        // `kick` looks at the sleep announcement after a fence; the loop announces, and looks at the flag after one.
        self.inbox.kick();
    }

    /// Changes the number of references kept, if this is the loop's thread and it has not ended.
    #[inline]
    fn change(&self, change: impl FnOnce(usize) -> Option<usize>) -> bool {
        self.is_here()
            && self.kept.with_mut(|kept| {
                // SAFETY: this is the loop's thread, and nothing is called meanwhile that gets here again.
                let kept = unsafe { &mut *kept };
                let changed = kept.and_then(change);
                if changed.is_some() {
                    *kept = changed;
                }
                changed.is_some()
            })
    }
}

/// The loop's side. One per loop, on its thread.
pub(crate) struct MainWaker(Arc<Shared>);

impl MainWaker {
    pub(crate) fn new(inbox: Arc<Inbox>) -> MainWaker {
        let (here, elsewhere) = (AtomicBool::new(false), AtomicBool::new(false));
        MainWaker(Arc::new(Shared { here, elsewhere, kept: UnsafeCell::new(Some(0)), inbox }))
    }

    pub(crate) fn waker(&self) -> Waker {
        // SAFETY: the data is a reference, as the functions of the table want it.
        unsafe { Waker::new(Arc::into_raw(self.0.clone()).cast(), &TABLE) }
    }

    /// As if it had been woken. On the loop's thread, as the rest.
    pub(crate) fn wake(&self) {
        self.0.here.store(true, Ordering::Relaxed);
    }

    /// Whether it was woken; this is one of the looks that must follow [`Inbox::announce_sleep`].
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        self.0.here.load(Ordering::Relaxed) || self.0.elsewhere.load(Ordering::Acquire)
    }

    /// The same, and what comes next is another wake. What was done before a wake is seen after this.
    #[inline]
    pub(crate) fn take_woken(&self) -> bool {
        self.is_woken() && self.take_flags()
    }

    /// Not inlined: a loop that runs tasks finds nothing, most of the time.
    #[inline(never)]
    fn take_flags(&self) -> bool {
        let here = self.0.here.load(Ordering::Relaxed);
        if here {
            self.0.here.store(false, Ordering::Relaxed);
        }
        // The swap reads what the last wake has left, and so sees what was written before all of them. The look spares a loop that
        // nobody else wakes the swap.
        let elsewhere = self.0.elsewhere.load(Ordering::Relaxed) && self.0.elsewhere.swap(false, Ordering::AcqRel);
        here | elsewhere
    }

    /// Whether this is its waker.
    #[inline]
    fn is_of(&self, waker: &Waker) -> bool {
        std::ptr::eq(waker.data().cast(), Arc::as_ptr(&self.0)) && std::ptr::eq(waker.vtable(), &TABLE)
    }

    /// Wakes, if it is this one's waker; gives it back if not. Runs no code of the user's.
    #[inline]
    pub(crate) fn take(&self, waker: Waker) -> Result<(), Waker> {
        if self.is_of(&waker) {
            waker.wake();
            return Ok(());
        }
        Err(waker)
    }

    /// The same, for a waker that stays where it is. Whether it is this one's.
    #[inline]
    pub(crate) fn wake_if(&self, waker: &Waker) -> bool {
        let is_own = self.is_of(waker);
        if is_own {
            self.wake();
        }
        is_own
    }

    /// How many references there are, and how many of them are kept.
    #[cfg(test)]
    pub(crate) fn references(&self) -> (usize, usize) {
        // SAFETY: as in `close`.
        (Arc::strong_count(&self.0), self.0.kept.with(|kept| unsafe { (*kept).unwrap_or(0) }))
    }

    /// Keeps no references any more.
    pub(crate) fn close(&self) {
        // SAFETY: we are on the loop's thread, and nothing is called meanwhile.
        let kept = self.0.kept.with_mut(|kept| unsafe { (*kept).take() });
        for _ in 0..kept.unwrap_or(0) {
            // SAFETY: each of those kept is a reference that was forgotten.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&self.0)) });
        }
    }
}

impl Drop for MainWaker {
    fn drop(&mut self) {
        self.close();
    }
}

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// # Safety
///
/// `data` is the data of a live waker. So it is for all four.
unsafe fn shared<'a>(data: *const ()) -> &'a Shared {
    // SAFETY: the data of a waker is a reference to it, which lives for as long as the waker, and that is longer than the
    // call.
    unsafe { &*data.cast() }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: passed on.
    if !unsafe { shared(data) }.change(|kept| kept.checked_sub(1)) {
        // SAFETY: the data came from `Arc::into_raw`, and the waker has a reference.
        unsafe { Arc::increment_strong_count(data.cast::<Shared>()) };
    }
    RawWaker::new(data, &TABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: passed on; the waker is being consumed.
    unsafe {
        shared(data).wake();
        release(data);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: passed on.
    unsafe { shared(data) }.wake();
}

unsafe fn release(data: *const ()) {
    // SAFETY: passed on.
    if !unsafe { shared(data) }.change(|kept| kept.checked_add(1)) {
        // SAFETY: the waker is being dropped, so its reference is ours.
        drop(unsafe { Arc::from_raw(data.cast::<Shared>()) });
    }
}
