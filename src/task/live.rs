//! The set of a loop's live tasks: a list that is linked through the tasks themselves, so that it needs no memory and a
//! task is put in and taken out with a few stores.

use std::ptr::{self, NonNull};

use super::cell::Header;
use super::task_ref::TaskRef;

/// A task's place in the list. The loop's thread only.
pub(super) struct Links {
    before: *mut Header,
    after: *mut Header,
}

impl Links {
    /// Those of a task that is in no list.
    pub(super) fn none() -> Links {
        Links { before: nowhere(), after: ptr::null_mut() }
    }
}

/// What is before a task that is in no list. No header has this address, because headers are aligned.
fn nowhere() -> *mut Header {
    const { assert!(align_of::<Header>() > 1) };
    ptr::without_provenance_mut(1)
}

/// See the module's text. To have it by `&mut` is the proof of being on the loop's thread, to which the links of its
/// tasks belong. It owns a reference to each task in it.
pub(super) struct LiveTasks {
    newest: *mut Header,
    len: usize,
}

impl LiveTasks {
    pub(super) fn new() -> LiveTasks {
        LiveTasks { newest: ptr::null_mut(), len: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn insert(&mut self, task: TaskRef) {
        // SAFETY: the links are the loop's thread's, where we are.
        debug_assert!(task.header().links.with(|links| unsafe { (*links).before }) == nowhere());
        let task = task.into_raw();
        let links = Links { before: ptr::null_mut(), after: self.newest };
        // SAFETY: the reference, which is the list's now, keeps the task alive; and the links are ours.
        unsafe { task.as_ref() }.links.with_mut(|place| unsafe { *place = links });
        if let Some(after) = NonNull::new(self.newest) {
            // SAFETY: it is in the list, which has a reference to it.
            unsafe { after.as_ref() }.links.with_mut(|links| unsafe { (*links).before = task.as_ptr() });
        }
        self.newest = task.as_ptr();
        self.len += 1;
    }

    /// Takes out a task that is in the list, and gives the list's reference to it.
    #[inline]
    pub(super) fn remove(&mut self, task: NonNull<Header>) -> TaskRef {
        // SAFETY: it is in the list, which has a reference to it; the links are ours.
        let links = unsafe { task.as_ref() }.links.with_mut(|links| unsafe { ptr::replace(links, Links::none()) });
        debug_assert_ne!(links.before, nowhere(), "the task is in the list");
        match NonNull::new(links.before) {
            // SAFETY: as above: what is before or after it in the list is in the list.
            Some(before) => unsafe { before.as_ref() }.links.with_mut(|other| unsafe { (*other).after = links.after }),
            None => self.newest = links.after,
        }
        if let Some(after) = NonNull::new(links.after) {
            // SAFETY: as above.
            unsafe { after.as_ref() }.links.with_mut(|other| unsafe { (*other).before = links.before });
        }
        self.len -= 1;
        // SAFETY: the list's reference, which it has just forgotten.
        unsafe { TaskRef::from_raw(task) }
    }

    /// Takes out the task that came last.
    pub(super) fn pop(&mut self) -> Option<TaskRef> {
        NonNull::new(self.newest).map(|task| self.remove(task))
    }
}

impl Drop for LiveTasks {
    fn drop(&mut self) {
        // Tasks hold their scheduler, so one that is dropped has none.
        debug_assert_eq!(self.len, 0, "a scheduler was freed with live tasks");
    }
}
