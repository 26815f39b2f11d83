//! L2: ring and slots together: submit, cancel, close, harvest.
//!
//! The driver runs no code of the user's. What a harvest brings up (wakers to wake, orphans to finish) is collected and
//! handed out, to be run when the driver is not borrowed any more.

mod cancels;
mod chains;
mod closing;
mod ending;
mod files;
mod guest;
mod harvest;
mod leases;
mod memory;
mod metrics;
mod polled;
mod thread;

use std::io;
use std::os::fd::RawFd;
use std::task::{Poll, Waker};

pub(crate) use chains::{Entry as ChainEntry, Unstaged};
use closing::closed;
pub(crate) use files::{NoPlace, Place};
use harvest::deliver;
pub(crate) use harvest::{Harvest, Later, Wakes};
pub(crate) use leases::{GROUP, LeaseConfig};
pub use metrics::Metrics;

use crate::mail::Closing;
use crate::registry;
use crate::ring::{Arena, Config, Cqe, Entered, Ring, Sqe, Wait};
use crate::slot::{Addressee, Earlier, Elsewhere, Key, Orphan, Slot, Slots, State};
use std::sync::Arc;

/// How often the kernel may refuse entries in a row before the loop pauses for a millisecond: it is out of memory.
const REFUSALS_BEFORE_PAUSE: u32 = 16;

/// The poll on the inbox's eventfd is to be made.
const UNARMED: u8 = 1;
/// Something is polled for, or was.
const POLLS: u8 = 2;
/// Somebody waits for a buffer, or did.
const HUNGRY: u8 = 4;

/// What a poll of an operation gives.
pub(crate) enum Polled {
    Pending,
    /// Not yet, and another waker is to be woken: see [`Driver::replace_waker`].
    StaleWaker,
    /// A completion with more to come.
    Earlier(Cqe),
    Last(Cqe),
}

/// What became of an operation whose future was dropped on its loop.
pub(crate) enum Dropped {
    /// Its entry never reached the kernel.
    Voided(Option<Waker>),
    /// It had completed.
    Done(Earlier, Cqe),
    /// The kernel has it: give its value with [`Driver::adopt`].
    InFlight,
}

/// See the module.
pub struct Driver {
    /// Before the ring, so that it is dropped before.
    leases: Option<leases::Leases>,
    pub(crate) lease_config: LeaseConfig,
    ring: Ring,
    memory: memory::Table,
    pub(crate) files: files::Files,
    slots: Slots,
    polled: polled::Polled,
    /// Inputs of staged entries; reset whenever the kernel has taken all of them.
    pub(crate) arena: Arena,
    /// Orphans to cancel at the end of the turn, and whatever else is to be seen to then.
    cancels: Vec<Key>,
    harvest: Harvest,
    /// Closes that somebody waits for synchronously.
    counted_closes: usize,
    wakeup_fd: RawFd,
    /// What is to be looked at before it sleeps: `UNARMED`, `POLLS` and `HUNGRY`, none of them most of the time.
    sleepless: u8,
    /// Something was asked of files since the last sleep, which may be done by a device.
    pub(crate) asks_files: bool,
    /// What the timeout stands for by which a guest is woken; `u64::MAX` if there is none.
    deadline_ns: u64,
    refusals: u32,
    /// Set when the loop ends: nothing new is submitted, descriptors are closed when all is reaped.
    ending: bool,
    late_closes: Vec<RawFd>,
    /// Descriptors that wait for chains here to end, with the loop's name.
    held: Vec<(u64, Closing)>,
    /// Closes that take their time in a worker thread of the kernel's. A ring that goes cancels those that have not begun.
    slow_closes: Vec<RawFd>,
    pub(crate) metrics: Metrics,
}

impl Driver {
    pub(crate) fn new(config: Config, wakeup_fd: RawFd) -> io::Result<Driver> {
        Ok(Driver::on(Ring::new(config)?, wakeup_fd))
    }

    /// A driver on any ring.
    pub(crate) fn on(ring: Ring, wakeup_fd: RawFd) -> Driver {
        Driver {
            leases: None,
            lease_config: LeaseConfig::default(),
            ring,
            memory: memory::Table::default(),
            files: files::Files::default(),
            slots: Slots::new(),
            polled: polled::Polled::default(),
            arena: Arena::default(),
            cancels: Vec::new(),
            harvest: Harvest::default(),
            counted_closes: 0,
            wakeup_fd,
            sleepless: UNARMED,
            asks_files: false,
            deadline_ns: u64::MAX,
            refusals: 0,
            ending: false,
            late_closes: Vec::new(),
            held: Vec::new(),
            slow_closes: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Starts with generations just below their wrap.
    #[cfg(test)]
    pub(crate) fn start_generations_at(&mut self, generation: u32) {
        self.slots.start_generations_at(generation);
    }

    // ---- submitting -------------------------------------------------------------------------------------------

    /// Stages the entry that `prepare` makes, in place, and gives it a slot. `Err` is `prepare`'s, with the waker, to be
    /// dropped outside: nothing is staged then.
    #[inline]
    pub(crate) fn submit(
        &mut self,
        waker: Waker,
        prepare: impl FnOnce(&mut Sqe, &mut Arena) -> Result<(), i32>,
    ) -> Result<Key, (i32, Waker)> {
        debug_assert!(!self.ending, "nothing is submitted on a loop that ends");
        if self.ring.is_full() {
            return self.submit_to_full(waker, prepare);
        }
        let key = self.slots.next_key();
        let sqe = self.ring.stage();
        // Of the one before, which may have been where this one is, and taken back.
        self.arena.by_call = 0;
        if let Err(errno) = prepare(sqe, &mut self.arena) {
            return Err((errno, waker));
        }
        sqe.user_data = Addressee::Slot(key).user_data();
        let position = self.ring.commit_fitting();
        self.slots.insert(key, position, waker);
        Ok(key)
    }

    /// The same where the queue is full: it is handed over now. Not when it gets full: an entry that was just staged can
    /// still be made void, by whoever drops its future.
    #[cold]
    #[inline(never)]
    fn submit_to_full(
        &mut self,
        waker: Waker,
        prepare: impl FnOnce(&mut Sqe, &mut Arena) -> Result<(), i32>,
    ) -> Result<Key, (i32, Waker)> {
        self.flush();
        let key = self.slots.next_key();
        let sqe = self.ring.stage();
        self.arena.by_call = 0;
        if let Err(errno) = prepare(sqe, &mut self.arena) {
            return Err((errno, waker));
        }
        sqe.user_data = Addressee::Slot(key).user_data();
        let position = self.ring.commit();
        self.slots.insert(key, position, waker);
        Ok(key)
    }

    /// Stages an entry of the loop's own.
    fn push_internal(&mut self, mut sqe: Sqe, to: Addressee) {
        if self.ring.is_full() {
            self.flush();
        }
        sqe.user_data = to.user_data();
        *self.ring.stage() = sqe;
        self.ring.commit();
    }

    /// Hands everything staged to the kernel in the middle of a turn. What it refuses stays staged, in order, and goes
    /// with the end of the turn.
    #[cold]
    fn flush(&mut self) {
        if !self.polled.wanted.is_empty() {
            self.divert();
        }
        self.enter(Wait::No);
        self.reap();
    }

    /// Whether a loop that is ending takes no submission.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    // ---- one operation ----------------------------------------------------------------------------------------

    #[inline]
    fn slot(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key)
    }

    /// Takes the result of an operation, if it is here and needs no more looking after.
    #[inline]
    pub(crate) fn take_done(&mut self, key: Key) -> Option<Cqe> {
        self.slots.take_done(key)
    }

    /// What there is for the future that owns this slot.
    pub(crate) fn poll(&mut self, key: Key, waker: &Waker) -> Polled {
        let slot = self.slot(key).expect("a future's slot lives until its result is taken");
        if let Some(cqe) = slot.pop_earlier() {
            return Polled::Earlier(cqe);
        }
        if slot.is_done() {
            return match self.slots.take_link(key) {
                Some((cqe, false)) => Polled::Earlier(cqe),
                Some((cqe, true)) => Polled::Last(cqe),
                None => Polled::Last(self.take_last(key).1),
            };
        }
        match slot.waker() {
            Some(current) if current.will_wake(waker) => Polled::Pending,
            Some(_) => Polled::StaleWaker,
            None => unreachable!("the future of this operation is gone or looks elsewhere"),
        }
    }

    /// [`Driver::poll`] by the short way: the one completion that has come, or none and the waker as it was. `None`: something else.
    #[inline]
    pub(crate) fn poll_earlier(&mut self, key: Key, waker: &Waker) -> Option<Poll<Cqe>> {
        self.slot(key)?.poll_earlier(waker)
    }

    /// Frees the slot of an operation that is done.
    fn take_last(&mut self, key: Key) -> (Earlier, Cqe) {
        match self.slots.remove(key) {
            (State::Done(cqe), earlier) => (earlier, cqe),
            (state, _) => unreachable!("a done slot is {state:?}"),
        }
    }

    /// Has another waker woken; leaves the old one in its place, to be dropped outside. `false`: something has come, for nobody
    /// knows what happened while the waker was cloned.
    #[cold]
    pub(crate) fn replace_waker(&mut self, key: Key, waker: &mut Waker) -> bool {
        let slot = self.slot(key).filter(|slot| !slot.is_told());
        slot.and_then(Slot::waker).map(|current| std::mem::swap(current, waker)).is_some()
    }

    /// Has nobody woken, until another waker is left. Gives the one that was there, to be dropped outside.
    pub(crate) fn take_waker(&mut self, key: Key) -> Option<Waker> {
        self.slot(key).and_then(Slot::waker).map(|current| std::mem::replace(current, Waker::noop().clone()))
    }

    /// Lets the entry of an operation be made anew, if it is still the loop's. Tells whether it is.
    #[inline]
    pub(crate) fn restage(&mut self, key: Key, prepare: impl FnOnce(&mut Sqe, &mut Arena)) -> bool {
        let Some(position) = self.slots.get_mut(key).filter(|slot| !slot.is_done()).map(|slot| slot.position()) else {
            return false;
        };
        let user_data = Addressee::Slot(key).user_data();
        if self.is_forked() {
            // Whoever amends it goes on to send it by himself.
            return false;
        }
        let Some(sqe) = self.ring.staged_mut(position, user_data) else { return false };
        prepare(sqe, &mut self.arena);
        sqe.user_data = user_data;
        true
    }

    /// The future of this operation is being dropped, on this loop. One that was `promised` goes to the kernel all the same.
    pub(crate) fn drop_future(&mut self, key: Key, promised: bool) -> Dropped {
        let slot = self.slot(key).expect("a future's slot lives until its result is taken");
        if slot.is_done() {
            let (earlier, cqe) = self.take_last(key);
            return Dropped::Done(earlier, cqe);
        }
        if promised {
            return Dropped::InFlight;
        }
        let position = slot.position();
        if slot.is_chain() {
            return self.void_chain(key, position);
        }
        let Some(sqe) = self.ring.staged_mut(position, Addressee::Slot(key).user_data()) else {
            return self.drop_polled(key, position);
        };
        sqe.void();
        sqe.user_data = Addressee::Nobody.user_data();
        match self.slots.remove(key).0 {
            State::Waiting(waker) => Dropped::Voided(Some(waker)),
            _ => Dropped::Voided(None),
        }
    }

    /// Takes the value of an operation whose future is gone, until the kernel lets go of it. Gives back what is to be
    /// dropped outside.
    pub(crate) fn adopt(&mut self, key: Key, orphan: Box<dyn Orphan>) -> State {
        let slot = self.slot(key).expect("still in flight");
        debug_assert!(!slot.is_done(), "a finished operation needs no adoption");
        let old = slot.replace(State::Orphan(orphan));
        self.cancels.push(key);
        old
    }

    /// Handles mail about a future that was dropped elsewhere. Gives the orphan back with its result if it had that.
    pub(crate) fn adopt_from_elsewhere(
        &mut self,
        key: Key,
        orphan: Box<dyn Orphan>,
    ) -> Option<(Box<dyn Orphan>, Earlier, Cqe)> {
        match self.drop_future(key, orphan.is_promised()) {
            Dropped::Done(earlier, cqe) => Some((orphan, earlier, cqe)),
            Dropped::Voided(waker) => {
                self.harvest.wakers.extend(waker);
                Some((orphan, None, Cqe::of(-libc::ECANCELED)))
            }
            Dropped::InFlight => {
                if let State::Waiting(waker) = self.adopt(key, orphan) {
                    // Only so that it is dropped outside; a spurious wake harms nobody.
                    self.harvest.wakers.push(waker);
                }
                None
            }
        }
    }

    /// A future is awaited elsewhere from now on. Gives the cell back with the result if that is here.
    pub(crate) fn watch(&mut self, key: Key, cell: Arc<Elsewhere>) {
        let Some(slot) = self.slot(key) else { return };
        if slot.is_done() {
            let (earlier, cqe) = self.take_last(key);
            return self.harvest.watched.push((cell, earlier, cqe));
        }
        if let State::Waiting(waker) = slot.replace(State::Watched(cell)) {
            self.harvest.wakers.push(waker);
        }
    }

    /// Whether the kernel has not let go of what the key names.
    pub(crate) fn is_in_flight(&mut self, key: Key) -> bool {
        self.slot(key.whole()).is_some_and(|slot| !slot.is_done())
    }

    /// Has an orphan cancelled at the end of the turn, unless somebody adopts it until then.
    pub(crate) fn cancel_later(&mut self, key: Key) {
        self.cancels.push(key.whole());
    }

    /// Enters until the kernel has taken every staged entry, so that no entry names a descriptor that is given away.
    pub(crate) fn submit_all(&mut self) {
        while self.ring.unsubmitted() > 0 {
            self.enter(Wait::No);
            self.reap();
            if self.ring.unsubmitted() > 0 {
                // The kernel's thread wants a CPU to take them, or the kernel wants memory.
                std::thread::yield_now();
            }
        }
    }

    // ---- the turn ---------------------------------------------------------------------------------------------

    /// Stages the cancels of orphans that nobody adopted, and moves what is to be polled for aside.
    #[inline(always)]
    pub(crate) fn stage_cancels(&mut self) {
        if !self.cancels.is_empty() {
            self.stage_all_cancels();
        }
    }

    #[cold]
    fn stage_all_cancels(&mut self) {
        if !self.polled.wanted.is_empty() {
            self.divert();
        }
        for key in std::mem::take(&mut self.cancels) {
            if self.slot(key).and_then(|slot| slot.orphan()).is_some_and(|orphan| orphan.wants_cancel()) {
                self.cancel(key);
            }
        }
    }

    /// Whether the loop, which has nothing to hand out, may sleep, because the kernel will tell it of everything. Has it tell of what comes
    /// to the inbox; if that brings up something to hand out, it may not.
    #[inline]
    pub(crate) fn may_sleep(&mut self) -> bool {
        self.sleepless == 0 || self.see_to_sleep()
    }

    #[cold]
    fn see_to_sleep(&mut self) -> bool {
        if self.polls() {
            return false;
        }
        if self.sleepless & HUNGRY != 0 && !self.passes_calls_on() {
            return false;
        }
        if self.sleepless & UNARMED != 0 {
            self.arm_wakeup();
        }
        self.sleepless &= HUNGRY;
        // Calls were passed on; or arming has found the queue full, flushed it and so brought completions up.
        !self.has_harvest()
    }

    /// Arms the poll on the inbox's eventfd.
    fn arm_wakeup(&mut self) {
        // Multishot: IORING_POLL_ADD_MULTI in `len`.
        let poll =
            Sqe::new(io_uring::opcode::PollAdd::CODE).fd(self.wakeup_fd).len(1).op_flags(poll_mask(libc::POLLIN));
        self.push_internal(poll, Addressee::Wakeup);
    }

    #[inline]
    pub(crate) fn needs_enter(&mut self) -> bool {
        self.ring.needs_enter()
    }

    /// Whether a turn has nothing to do here: nothing to submit, no completion to take, nothing to hand out.
    #[inline]
    pub(crate) fn is_idle(&mut self) -> bool {
        self.ring.is_idle() && !self.has_harvest()
    }

    /// Enters the kernel once more or less: submits everything, and waits as told if nothing is left behind.
    #[inline]
    pub(crate) fn enter(&mut self, wait: Wait) {
        if let Some(leases) = &mut self.leases {
            leases.refill(self.slots.picked);
        }
        self.metrics.submissions += self.ring.staged() as u64;
        // What devices have done is taken as a whole after a sleep: there would be nothing left to keep apart.
        if self.ring.is_heavy() && !self.asks_files {
            self.ring.submit_apart();
        }
        match self.ring.enter(wait) {
            Ok(Entered::All) => {
                self.refusals = 0;
                self.arena.reset();
            }
            other => self.entered(other),
        }
    }

    /// What follows of an enter that did not just hand everything over.
    #[cold]
    #[inline(never)]
    fn entered(&mut self, entered: io::Result<Entered>) {
        match entered {
            Ok(Entered::All) => {
                self.refusals = 0;
                self.arena.reset();
            }
            Ok(Entered::Left) if self.arena.is_large() => self.wait_for_thread(),
            Ok(Entered::Left) => {}
            Ok(Entered::Pressed) => self.pressed(),
            Ok(Entered::Aside) => {
                self.entered(Ok(self.ring.entered_itself()));
                self.reap_polled();
            }
            Err(_) if self.is_forked() => refuse_forked(),
            // EBADF, EFAULT, EINVAL and the like: the loop itself is broken, no operation is to blame.
            Err(error) => panic!("io_uring_enter failed in a way that it never should: {error}"),
        }
    }

    fn pressed(&mut self) {
        self.refusals += 1;
        if self.refusals.is_multiple_of(REFUSALS_BEFORE_PAUSE) {
            // The kernel has no memory for requests. There is nothing to wait for but time.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Hands every completion that is there to its slot, and keeps whom to wake for the harvest.
    #[inline(never)]
    pub(crate) fn reap(&mut self) -> usize {
        self.reap_waking(Later)
    }

    /// The same, but of those to wake `wakes` wakes at once whom it knows.
    #[inline(always)]
    pub(crate) fn reap_waking(&mut self, mut wakes: impl Wakes) -> usize {
        let Driver {
            ring,
            slots,
            harvest,
            metrics,
            sleepless,
            counted_closes,
            slow_closes,
            late_closes,
            deadline_ns,
            files,
            ..
        } = self;
        let count = ring.harvest(|user_data, cqe| match Addressee::of(user_data) {
            Addressee::Slot(key) => deliver(slots, harvest, metrics, &mut wakes, key, cqe),
            Addressee::Wakeup => *sleepless |= if cqe.more() { 0 } else { UNARMED },
            Addressee::Counted => *counted_closes -= 1,
            Addressee::Closing(fd) => closed(slow_closes, late_closes, fd, cqe),
            Addressee::Deadline => *deadline_ns = u64::MAX,
            Addressee::Filled(place) => files.filled(place, cqe),
            Addressee::Nobody => {}
        });
        self.metrics.completions += count as u64;
        if !self.harvest.chores.is_empty() {
            self.do_chores();
        }
        if !self.held.is_empty() {
            self.pass_held_on();
        }
        count
    }

    /// Whether something is staged for which [`Driver::attempt`] may be worth it.
    #[inline]
    pub(crate) fn may_go_by_call(&self) -> bool {
        self.arena.by_call != 0
    }

    /// Has the one datagram moved or the one read made that is staged, without an enter, if it is alone and has not to wait. Whether it
    /// was; for `wakes` see [`Driver::reap_waking`].
    pub(crate) fn attempt(&mut self, mut wakes: impl Wakes) -> bool {
        if self.is_forked() {
            refuse_forked();
        }
        let Some((user_data, cqe)) = self.ring.attempt(self.arena.by_call, self.arena.file) else { return false };
        let Addressee::Slot(key) = Addressee::of(user_data) else {
            unreachable!("the loop's own entries are neither messages nor reads")
        };
        self.arena.reset();
        self.metrics.submissions += 1;
        self.metrics.completions += 1;
        let Driver { slots, harvest, metrics, .. } = self;
        deliver(slots, harvest, metrics, &mut wakes, key, cqe);
        true
    }

    /// Swaps what was brought up for an empty harvest.
    #[inline]
    pub(crate) fn take_harvest(&mut self, into: &mut Harvest) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.harvest, into);
    }

    #[inline]
    pub(crate) fn has_harvest(&self) -> bool {
        !self.harvest.is_empty()
    }

    pub(crate) fn enters(&self) -> u64 {
        self.ring.calls()
    }

    /// Whether this process is a child of the one that made the loop.
    pub(crate) fn is_forked(&self) -> bool {
        self.ring.is_forked()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slots.len()
    }
}

/// What is said where a child goes on with its parent's loop.
#[cold]
pub(crate) fn refuse_forked() -> ! {
    panic!(
        "ringtoss: this event loop was made before a fork(2) and is the parent's; the child makes its own, after the fork: \
         call `daemonize` and the like before `EventLoop::new` or `block_on`"
    )
}

/// Tells everybody who waits for an operation that went down with its loop, and leaks what the kernel may touch.
pub(crate) fn lose(state: State) {
    match state {
        State::Orphan(orphan) => orphan.lose(),
        State::Watched(cell) => registry::lose(&cell),
        State::Waiting(waker) => waker.wake(),
        State::Done(_) => {}
    }
}

/// `poll(2)` events as `poll32_events` wants them.
pub(crate) const fn poll_mask(events: i16) -> u32 {
    let mask = events as u16 as u32;
    // The kernel swaps the halves on big-endian machines.
    if cfg!(target_endian = "big") { mask.rotate_left(16) } else { mask }
}

#[cfg(test)]
mod tests;
