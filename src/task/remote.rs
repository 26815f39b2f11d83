//! The stack on which other threads leave tasks for a loop.
//!
//! It is linked through the tasks themselves, so that a wake allocates nothing, and that is sound
//! because `SCHEDULED` lets a task be on the stack once at a time. Pushing is Treiber's; the loop takes
//! everything at once, so the ABA problem does not arise.

use std::ptr::{self, NonNull};

use super::cell::Header;
use super::task_ref::TaskRef;
use crate::inbox::sync::{AtomicPtr, Ordering};

/// The head of a stack that takes no more. No header has this address, because headers are aligned.
fn closed() -> *mut Header {
    const { assert!(align_of::<Header>() > 1) };
    ptr::without_provenance_mut(1)
}

/// See the module's text.
pub(super) struct RemoteStack {
    head: AtomicPtr<Header>,
}

impl RemoteStack {
    pub(super) fn new() -> RemoteStack {
        RemoteStack { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Pushes a task, for whoever has just set its `SCHEDULED`. Gives it back if the stack is
    /// closed.
    pub(super) fn push(&self, task: TaskRef) -> Result<(), TaskRef> {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                return Err(task);
            }
            // SAFETY: the link belongs to whoever has set SCHEDULED until the push succeeds.
            task.header().next.with_mut(|next| unsafe { *next = head });
            // Release: the link, and for a new task all of the cell, happen before the take.
            match self.head.compare_exchange_weak(head, task.pointer().as_ptr(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => {
                    std::mem::forget(task);
                    return Ok(());
                }
                Err(now) => head = now,
            }
        }
    }

    /// Whether there is nothing to take.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::Acquire);
        head.is_null() || head == closed()
    }

    /// Takes all tasks, the oldest first. For the loop's thread, which must not have closed the
    /// stack.
    pub(super) fn take(&self) -> Chain {
        Chain::reversed(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// The same, and takes no more from here on.
    pub(super) fn close(&self) -> Chain {
        let head = self.head.swap(closed(), Ordering::Acquire);
        if head == closed() {
            return Chain(ptr::null_mut());
        }
        Chain::reversed(head)
    }
}

impl Drop for RemoteStack {
    fn drop(&mut self) {
        // Tasks hold their scheduler, so one that is dropped has none queued.
        debug_assert!(self.is_empty(), "a scheduler was freed with tasks queued");
    }
}

/// Tasks that were taken, linked. It owns a reference to each.
pub(super) struct Chain(*mut Header);

impl Chain {
    /// Turns the stack's order into the order of arrival.
    fn reversed(mut newest: *mut Header) -> Chain {
        let mut chain = ptr::null_mut();
        while let Some(task) = NonNull::new(newest) {
            // SAFETY: the stack had a reference to each task, so they live. Taking the stack apart
            // made the links ours.
            newest = unsafe { task.as_ref().next.with_mut(|next| std::mem::replace(&mut *next, chain)) };
            chain = task.as_ptr();
        }
        Chain(chain)
    }
}

impl Iterator for Chain {
    type Item = TaskRef;

    fn next(&mut self) -> Option<TaskRef> {
        let task = NonNull::new(self.0)?;
        // SAFETY: the task lives, and its link is ours until it leaves the chain, which it does
        // here. So is the reference that is passed on.
        unsafe {
            self.0 = task.as_ref().next.with(|next| *next);
            Some(TaskRef::from_raw(task))
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
