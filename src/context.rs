//! L2: the only thread-local: which loop this thread is in.
//!
//! It is a plain pointer, without a destructor to register and without a borrow flag: every operation looks here twice.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::clock::Clock;
use crate::driver::{Driver, Harvest};
use crate::guard::{guard, wake_all};
use crate::inbox::Inbox;
use crate::registry;
use crate::timer::Timers;

/// What is said where a loop is needed and none runs.
pub(crate) const NO_LOOP: &str =
    "ringtoss: no event loop runs on this thread; poll this inside `ringtoss::block_on` or a task";

thread_local! {
    static ID: Cell<u64> = const { Cell::new(0) };
    /// Null, or the loop whose `Entered` is the youngest on this thread, and keeps it.
    static CORE: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// The parts of a loop that operations and timers reach.
pub(crate) struct Core {
    pub id: u64,
    /// Itself.
    pub this: Weak<Core>,
    pub driver: RefCell<Driver>,
    pub timers: RefCell<Timers>,
    pub clock: Clock,
    pub inbox: Arc<Inbox>,
    /// The executor, which lies in a higher layer.
    pub executor: Rc<dyn Any>,
}

/// The id of the loop that is entered on this thread; 0 if there is none.
#[inline]
pub(crate) fn current_id() -> u64 {
    ID.get()
}

/// Runs `f` with the loop that is entered on this thread; `None` if there is none. `f` must run no code of the user's:
/// no wakers, no polls, no drops of the user's values.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    // SAFETY: the pointer is null or that of the `Entered` that was made last and not dropped yet, which holds a reference
    // to the loop. That one lives on the stack of `block_on`, `run` or `end`, below this call, so it outlives `f`.
    unsafe { CORE.get().as_ref() }.map(f)
}

/// The loop that is entered on this thread, to be used outside of [`with`].
pub(crate) fn current() -> Option<Rc<Core>> {
    with(|core| core.this.upgrade().expect("an entered loop is alive"))
}

/// Leaves the loop when dropped, for the one that was entered before, if any. It never leaves the stack frame that it was
/// made on.
pub(crate) struct Entered {
    /// Kept for as long as the thread-local points to it.
    _core: Rc<Core>,
    before: *const Core,
}

/// Makes this thread's loop known.
///
/// # Panics
/// If the thread is in a loop already.
pub(crate) fn enter(core: Rc<Core>) -> Entered {
    assert!(
        current_id() == 0,
        "ringtoss: this thread already runs an event loop; `block_on` cannot be nested: await the future instead, \
         or spawn it"
    );
    enter_nested(core)
}

/// The same for a loop that is ended while the thread is in another one.
pub(crate) fn enter_nested(core: Rc<Core>) -> Entered {
    ID.set(core.id);
    let before = CORE.replace(Rc::as_ptr(&core));
    Entered { _core: core, before }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CORE.set(self.before);
        ID.set(with(|core| core.id).unwrap_or(0));
    }
}

impl Core {
    /// Runs what completions have brought up: wakes futures, finishes orphans, leaves results elsewhere. `spare` is an
    /// empty harvest whose memory is used again.
    #[inline]
    pub(crate) fn run_harvest(&self, spare: &mut Harvest) {
        self.driver.borrow_mut().take_harvest(spare);
        wake_all(&mut spare.wakers);
        if !spare.orphans.is_empty() || !spare.watched.is_empty() {
            run_rare(spare);
        }
    }

    /// The same where no spare is at hand: off the turn's path.
    pub(crate) fn settle_harvest(&self) {
        while self.driver.borrow().has_harvest() {
            self.run_harvest(&mut Harvest::default());
        }
    }
}

#[cold]
fn run_rare(harvest: &mut Harvest) {
    for (orphan, earlier, cqe) in harvest.orphans.drain(..) {
        guard(|| orphan.finish(earlier, cqe));
    }
    for (cell, earlier, cqe) in harvest.watched.drain(..) {
        guard(|| registry::deliver(&cell, earlier, cqe));
    }
}
