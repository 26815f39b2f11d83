//! What the runner keeps about a task beside the state word, without an atomic operation.

use crate::inbox::sync::UnsafeCell;

/// See the module's text. It is touched by the task's runner, and by whoever finds the task's loop entered on its thread,
/// which is the same thread; never elsewhere, and nothing is called meanwhile.
pub(super) struct Own(UnsafeCell<Fields>);

struct Fields {
    /// Whether it is being polled, or its future dropped, and not only claimed.
    polling: bool,
    /// Whether it was woken on the loop's thread while it was polled.
    again: bool,
}

impl Own {
    pub(super) fn new() -> Own {
        Own(UnsafeCell::new(Fields { polling: false, again: false }))
    }

    /// # Safety
    ///
    /// As the type says. So it is for all of them.
    #[inline(always)]
    unsafe fn with<R>(&self, access: impl FnOnce(&mut Fields) -> R) -> R {
        // SAFETY: one thread, says the contract, and on it one access at a time.
        self.0.with_mut(|fields| access(unsafe { &mut *fields }))
    }

    /// A poll begins.
    #[inline(always)]
    pub(super) unsafe fn begin_poll(&self) {
        // SAFETY: passed on, here and below.
        unsafe { self.with(|own| *own = Fields { polling: true, again: false }) }
    }

    /// A poll has ended. Whether the task was woken meanwhile on this thread.
    #[inline(always)]
    pub(super) unsafe fn end_poll(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                own.polling = false;
                own.again
            })
        }
    }

    /// A task that is `RUNNING` is woken.
    #[inline(always)]
    pub(super) unsafe fn wake(&self) {
        // Of a task that was only claimed it means nothing: its poll is still to come.
        // SAFETY: see above.
        unsafe { self.with(|own| own.again = true) }
    }

    pub(super) unsafe fn is_polling(&self) -> bool {
        // SAFETY: see above.
        unsafe { self.with(|own| own.polling) }
    }
}
