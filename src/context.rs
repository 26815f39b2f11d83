//! L2: the only thread-local: which loop this thread is in.
//!
//! It is a plain pointer, without a destructor to register and without a borrow flag: every operation looks here twice.
//!
//! Besides the loop that is *entered* there may be one that is *resident*: a guest, whose thread belongs to a host. It is
//! found where none is entered, so that futures which the host polls work; and whoever finds it may leave it something to
//! do, so it is called then, unless that is all the same ([`look`]).
#![allow(unsafe_code)]

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use crate::clock::Clock;
use crate::driver::{Driver, Harvest, refuse_forked};
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
    /// Null, or the loop of the one `Resident` on this thread, which keeps it.
    static RESIDENT: Cell<*const Core> = const { Cell::new(ptr::null()) };
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
    pub executor: Hidden,
    pub host: Host,
}

/// The executor, whose type is of a higher layer. As `Rc<dyn Any>`, but that its type is told without a call.
pub(crate) struct Hidden {
    value: Rc<dyn Any>,
    of: TypeId,
}

impl Hidden {
    pub(crate) fn new<T: 'static>(value: Rc<T>) -> Hidden {
        Hidden { value, of: TypeId::of::<T>() }
    }

    /// # Panics
    /// If it is of another type.
    #[inline]
    pub(crate) fn get<T: 'static>(&self) -> &T {
        assert!(self.of == TypeId::of::<T>(), "the loop's own executor");
        let value: *const dyn Any = &raw const *self.value;
        // SAFETY: it was made of a `T`, says the type's name; `self` keeps it, and gives it shared only.
        unsafe { &*value.cast() }
    }
}

/// How a guest that waits for its host's next call is told that there is something to do.
#[derive(Default)]
pub(crate) struct Host {
    /// It has announced sleep, and nobody on this thread has called it since.
    pub dozing: Cell<bool>,
    /// Woken for what comes from this thread, where the host has something that costs less than the eventfd. It is the
    /// waker of a task of the host's that runs later and not at once, and it calls nothing of this crate.
    pub waker: RefCell<Option<Waker>>,
}

/// The id of the loop that is entered on this thread, or of the one that is resident; 0 if there is none.
#[inline]
pub(crate) fn current_id() -> u64 {
    match ID.get() {
        0 => resident_id(),
        id => id,
    }
}

/// The id of the loop that is entered on this thread; 0 if there is none, even if one is resident.
#[inline]
pub(crate) fn entered_id() -> u64 {
    ID.get()
}

/// Runs `f` with the loop that is entered on this thread, or with the one that is resident; `None` if there is none. `f`
/// must run no code of the user's: no wakers, no polls, no drops of the user's values.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    if CORE.get().is_null() {
        call_resident();
    }
    look(f)
}

/// The same where `f` leaves the loop nothing to do, so that a guest need not be called for it.
#[inline]
pub(crate) fn look<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    let mut core = CORE.get();
    if core.is_null() {
        core = RESIDENT.get();
    }
    // SAFETY: the pointer is null, or that of the `Entered` that was made last and not dropped yet, which holds a reference
    // to the loop. That one lives on the stack of `block_on`, `run`, `turn` or `end`, below this call, so it outlives `f`.
    // Or it is that of the thread's `Resident`, which holds one, too, and is not dropped by `f`, which runs no code of the
    // user's.
    unsafe { core.as_ref() }.map(f)
}

/// Calls the loop that is resident on this thread, if there is one: it will have something to do.
#[cold]
#[inline(never)]
fn call_resident() {
    // SAFETY: null, or that of the `Resident` of this thread, which keeps it; calling it runs no code of the user's.
    if let Some(core) = unsafe { RESIDENT.get().as_ref() } {
        core.call();
    }
}

#[cold]
#[inline(never)]
fn resident_id() -> u64 {
    // SAFETY: as in `call_resident`.
    unsafe { RESIDENT.get().as_ref() }.map_or(0, |core| core.id)
}

/// The loop that is entered on this thread, or the one that is resident, to be used outside of [`with`].
pub(crate) fn current() -> Option<Rc<Core>> {
    with(|core| core.this.upgrade().expect("an entered loop is alive"))
}

/// Leaves the loop when dropped, for the one that was entered before, if any. It never leaves the stack frame that it was
/// made on.
pub(crate) struct Entered {
    /// Kept for as long as the thread-local points to it.
    _core: Rc<Core>,
    before: *const Core,
    before_id: u64,
}

/// Makes this thread's loop known.
///
/// # Panics
/// If the thread is in a loop already, or another loop is a guest on it; if the loop is that of this process's parent.
pub(crate) fn enter(core: Rc<Core>) -> Entered {
    let guest = RESIDENT.get();
    if entered_id() != 0 || !(guest.is_null() || ptr::eq(guest, Rc::as_ptr(&core))) {
        refuse_nested();
    }
    if core.driver.borrow().is_forked() {
        refuse_forked();
    }
    enter_nested(core)
}

/// What is said where a loop is to run on a thread that has one.
#[cold]
pub(crate) fn refuse_nested() -> ! {
    let forked = look(|core| core.driver.try_borrow().is_ok_and(|driver| driver.is_forked()));
    if forked == Some(true) {
        refuse_forked();
    }
    if entered_id() == 0 {
        panic!(
            "ringtoss: an event loop is a guest on this thread; `block_on` would stop it and its host: await the future \
             instead, or spawn it"
        );
    }
    panic!(
        "ringtoss: this thread already runs an event loop; `block_on` cannot be nested: await the future instead, or \
         spawn it"
    );
}

/// The same for a loop that is ended while the thread is in another one.
pub(crate) fn enter_nested(core: Rc<Core>) -> Entered {
    let before_id = ID.replace(core.id);
    let before = CORE.replace(Rc::as_ptr(&core));
    Entered { _core: core, before, before_id }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The resident loop is never among those that are entered because it is resident, so this is null or the loop of an
        // `Entered` further down the stack.
        CORE.set(self.before);
        ID.set(self.before_id);
    }
}

impl std::fmt::Debug for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resident")
    }
}

/// Makes a loop known to everything that runs on this thread, for as long as it lives. It never leaves the thread.
pub(crate) struct Resident {
    /// Kept for as long as the thread-local points to it.
    _core: Rc<Core>,
}

impl Resident {
    /// `None` if a loop is resident on this thread already, or entered.
    pub(crate) fn new(core: Rc<Core>) -> Option<Resident> {
        if entered_id() != 0 || !RESIDENT.get().is_null() {
            return None;
        }
        RESIDENT.set(Rc::as_ptr(&core));
        Some(Resident { _core: core })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        RESIDENT.set(ptr::null());
    }
}

impl Core {
    /// Sees to it that the host calls this guest, if it is not known yet that it has to. Runs no code of the user's.
    #[cold]
    pub(crate) fn call(&self) {
        if !self.host.dozing.replace(false) {
            return;
        }
        match &*self.host.waker.borrow() {
            Some(waker) => {
                // Nobody need call it by the eventfd any more.
                self.inbox.announce_awake();
                waker.wake_by_ref();
            }
            None => self.inbox.kick(),
        }
    }

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
