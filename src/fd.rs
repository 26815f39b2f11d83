//! L2: the descriptor that I/O types own.
//!
//! An entry that was staged on a loop names its descriptor by number, so the number must not be closed, let alone given
//! to somebody else, before the kernel has taken the entry. Therefore an object has a *home*, the loop of its first
//! operation, and every release of the descriptor goes behind the home's submissions: dropped at home it is closed
//! through the ring; dropped elsewhere it is mailed home; one that several loops have used visits them all.

mod errands;
mod place;

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

pub(crate) use errands::take_in_mail;

use crate::context::{self, Core};
use crate::driver::Driver;
use crate::mail::Closing;
use crate::ring::Wait;
use crate::salvage::Salvage;
use crate::slot::{Addressee, Key};
use crate::sys;

/// No loop has used it yet.
const NOWHERE: u64 = 0;
/// Several loops have; the list is in the salvage cell.
const SHARED: u64 = u64::MAX;
/// It is never closed, so it does not matter who has.
const NEVER_CLOSED: u64 = u64::MAX - 1;

/// In the home's name: operations there go by way of its table, or soon will. See `place`.
const BY_TABLE: u64 = 1 << 62;

/// No operation's name.
const NO_RECEIVER: u64 = Addressee::Nobody.user_data();

// What `Fd::offsets` says.
const UNKNOWN: u8 = 0;
const REFUSED: u8 = 1;
/// From here on they are taken. Nothing else is known.
const TAKEN: u8 = 2;
/// The page cache is read, if there is one.
const CACHED: u8 = 3;
/// It is not (`O_DIRECT`), or nobody may know.
const DIRECT: u8 = 4;

/// What has a descriptor that operations go to. A reference to the same value gives the same descriptor, always.
pub trait HasFd: Send + Sync + 'static {
    #[doc(hidden)]
    fn ring_fd(&self) -> &Fd;
}

/// See the module.
#[derive(Debug)]
pub struct Fd {
    /// Never dropped: closing it is what this module is about.
    number: ManuallyDrop<OwnedFd>,
    home: AtomicU64,
    lingers: AtomicBool,
    /// What is known of offsets: see [`Fd::takes_offsets`].
    offsets: AtomicU8,
    /// Where it is in its home's table: see `place`.
    place: AtomicU32,
    /// The last receive of a datagram that was staged at home, if no other was in flight then.
    receiver: AtomicU64,
    salvage: OnceLock<Arc<Salvage>>,
}

impl Fd {
    pub(crate) fn new(fd: OwnedFd) -> Fd {
        Fd {
            number: ManuallyDrop::new(fd),
            home: AtomicU64::new(NOWHERE),
            lingers: AtomicBool::new(false),
            offsets: AtomicU8::new(UNKNOWN),
            place: AtomicU32::new(place::UNDECIDED),
            receiver: AtomicU64::new(NO_RECEIVER),
            salvage: OnceLock::new(),
        }
    }

    /// One of the descriptors 0 to 2, which belong to the process: it is not closed when this is dropped.
    pub(crate) fn of_the_process(number: RawFd, salvage: Arc<Salvage>) -> Fd {
        Fd {
            number: ManuallyDrop::new(sys::standard_stream(number)),
            home: AtomicU64::new(NEVER_CLOSED),
            lingers: AtomicBool::new(false),
            offsets: AtomicU8::new(UNKNOWN),
            place: AtomicU32::new(place::UNDECIDED),
            receiver: AtomicU64::new(NO_RECEIVER),
            salvage: OnceLock::from(salvage),
        }
    }

    /// Another descriptor of the same open file: it shares position and salvage.
    pub(crate) fn try_clone(&self) -> io::Result<Fd> {
        let copy = Fd::new(sys::duplicate(self.raw())?);
        let salvage = self.salvage().clone();
        salvage.add_descriptor(copy.raw());
        copy.lingers.store(self.lingers(), Ordering::Relaxed);
        copy.salvage.set(salvage).expect("just made");
        if self.is_polled() {
            copy.place.store(place::POLLED, Ordering::Relaxed);
        }
        Ok(copy)
    }

    /// A descriptor of the same open file for what owns it by itself: it is closed as this one would be, and shares nothing.
    pub(crate) fn duplicate(&self) -> io::Result<Fd> {
        let copy = Fd::new(sys::duplicate(self.raw())?);
        copy.set_lingers(self.lingers());
        Ok(copy)
    }

    #[inline]
    pub(crate) fn raw(&self) -> RawFd {
        self.number.as_raw_fd()
    }

    pub(crate) fn set_lingers(&self, lingers: bool) {
        self.lingers.store(lingers, Ordering::Relaxed);
    }

    pub(crate) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }

    /// Whether it can be read and written at an offset; pipes, sockets and terminals cannot. Found out when first asked.
    #[inline]
    pub(crate) fn takes_offsets(&self) -> bool {
        match self.offsets.load(Ordering::Relaxed) {
            UNKNOWN => self.look_for_offsets(),
            known => known >= TAKEN,
        }
    }

    /// Whether a read at an offset may find its bytes in the page cache. Found out when it is asked for the second time, for many a file
    /// is read only once.
    #[inline]
    pub(crate) fn may_be_cached(&self) -> bool {
        match self.offsets.load(Ordering::Relaxed) {
            TAKEN => self.look_for_cache(),
            known => known == CACHED,
        }
    }

    #[cold]
    fn look_for_cache(&self) -> bool {
        let cached = sys::status_flags(self.raw()).is_ok_and(|flags| flags & libc::O_DIRECT == 0);
        self.offsets.store(if cached { CACHED } else { DIRECT }, Ordering::Relaxed);
        cached
    }

    /// It was found to be a regular file, and so takes them.
    pub(crate) fn found_regular(&self) {
        self.offsets.store(TAKEN, Ordering::Relaxed);
    }

    #[cold]
    fn look_for_offsets(&self) -> bool {
        let refused = sys::seek(self.raw(), 0, libc::SEEK_CUR).is_err_and(|e| e.raw_os_error() == Some(libc::ESPIPE));
        self.offsets.store(if refused { REFUSED } else { TAKEN }, Ordering::Relaxed);
        !refused
    }

    /// The cell, if one of its operations has been dropped early.
    #[inline]
    pub(crate) fn salvage_if_made(&self) -> Option<&Arc<Salvage>> {
        self.salvage.get()
    }

    /// The cell, made if need be.
    pub(crate) fn salvage(&self) -> &Arc<Salvage> {
        self.salvage.get_or_init(|| {
            let salvage = Arc::new(Salvage::default());
            salvage.add_descriptor(self.raw());
            salvage
        })
    }

    /// Whether this loop is its home, and it has nothing to do with the table there.
    #[inline]
    pub(crate) fn is_home(&self, loop_id: u64) -> bool {
        self.home.load(Ordering::Relaxed) == loop_id
    }

    /// Notes that an operation on this descriptor is about to be staged on the loop of this thread.
    pub(crate) fn visit_here(&self) {
        context::with(|core| self.visit(core.id, &mut core.driver.borrow_mut()));
    }

    /// Notes that an operation on this descriptor is about to be staged on a loop, which is not [its plain
    /// home](Fd::is_home). Gives the place in the loop's table by which the operation may name it.
    #[inline]
    pub(crate) fn visit(&self, loop_id: u64, driver: &mut Driver) -> Option<u32> {
        if self.home.load(Ordering::Relaxed) == loop_id | BY_TABLE {
            return self.place(loop_id, driver);
        }
        self.visit_first_or_shared(loop_id, driver)
    }

    #[cold]
    #[inline(never)]
    fn visit_first_or_shared(&self, loop_id: u64, driver: &mut Driver) -> Option<u32> {
        let mut home = self.home.load(Ordering::Acquire);
        if home == NOWHERE {
            let by_table = if self.wants_place(driver) { BY_TABLE } else { 0 };
            match self.home.compare_exchange(NOWHERE, loop_id | by_table, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if by_table != 0 => return self.place(loop_id, driver),
                Ok(_) => return None,
                Err(other) => home = other,
            }
        }
        if home != NEVER_CLOSED && home != loop_id {
            self.visit_as_another(loop_id, home);
        }
        if self.is_polled() {
            self.divert(driver);
        }
        None
    }

    #[cold]
    fn visit_as_another(&self, loop_id: u64, home: u64) {
        let salvage = self.salvage();
        if home != SHARED {
            salvage.visit(home & !BY_TABLE);
        }
        salvage.visit(loop_id);
        // Later than the list, which whoever reads SHARED goes by.
        self.home.store(SHARED, Ordering::Release);
    }

    /// Notes that a receive of a datagram has been staged here. Others may run beside it, and one that is dropped may leave
    /// what this one waits for: then it is called back. The last one is noted here, which costs little; that is enough
    /// while there is one at a time, on one loop.
    #[inline]
    pub(crate) fn note_receiver(&self, loop_id: u64, key: Key, driver: &mut Driver) {
        if self.home.load(Ordering::Relaxed) & !BY_TABLE != loop_id {
            return self.note_slowly(loop_id, key, driver);
        }
        // Whoever drops one first enters it in the salvage cell and then swaps, too: one of the two sees the other.
        let before = self.receiver.swap(Addressee::Slot(key).user_data(), Ordering::AcqRel);
        if let Addressee::Slot(before) = Addressee::of(before)
            && driver.is_in_flight(before)
        {
            self.note_slowly(loop_id, before, driver);
        }
        if self.salvage_if_made().is_some_and(|salvage| salvage.is_active()) {
            self.note_slowly(loop_id, key, driver);
        }
    }

    #[cold]
    fn note_slowly(&self, loop_id: u64, key: Key, driver: &mut Driver) {
        if self.salvage().note_receiver(loop_id, key, |key| driver.is_in_flight(key)) {
            driver.cancel(key);
        }
    }

    /// A receive of a datagram was dropped, so the one that is noted here, if it is another, may have to be called back.
    pub(crate) fn hand_receiver_over(&self, dropped: Key) {
        let noted = Addressee::of(self.receiver.swap(NO_RECEIVER, Ordering::AcqRel));
        let Addressee::Slot(key) = noted else { return };
        let salvage = self.salvage();
        let home = match self.home.load(Ordering::Acquire) {
            // The first of them was the home.
            SHARED => salvage.visits().first().copied().unwrap_or(NOWHERE),
            home => home & !BY_TABLE,
        };
        if key != dropped {
            let known = |key| context::look(|core| core.id != home || core.driver.borrow_mut().is_in_flight(key));
            salvage.note_receiver(home, key, |key| known(key).unwrap_or(true));
        }
    }

    /// The loops that may have entries that name it, and what is in flight without a future.
    fn closing(&self) -> Closing {
        let visits = match self.home.load(Ordering::Acquire) {
            NOWHERE => Vec::new(),
            SHARED => self.salvage().visits(),
            home => vec![home & !BY_TABLE],
        };
        let cancels = match self.salvage.get() {
            Some(salvage) => {
                let last = salvage.remove_descriptor(self.raw());
                if last { salvage.orphans() } else { Vec::new() }
            }
            None => Vec::new(),
        };
        Closing { fd: self.raw(), place: self.take_place(), lingers: self.lingers(), cancels, visits }
    }

    /// Closes and waits until the kernel has done it: a listener's port is free when this returns, also if operations
    /// on it were in flight. Elsewhere than at home it is closed soon.
    pub(crate) fn close_and_wait(self) {
        let here = context::current();
        if let Some(core) = &here {
            // A future that was dropped on another thread is here by now, but perhaps not in its slot.
            take_in_mail(core);
        }
        let closing = self.closing();
        self.forget();
        match here {
            Some(core) if closing.visits == [core.id] && !core.driver.borrow().is_ending() => {
                let mut driver = core.driver.borrow_mut();
                driver.await_chains_naming(closing.fd);
                driver.close(&closing, core.id, true);
                let cancels: Vec<Key> = closing.cancels.iter().map(|&(_, key)| key).collect();
                while driver.closes_pending() || cancels.iter().any(|&key| driver.is_in_flight(key)) {
                    driver.enter(Wait::Completion);
                    driver.reap();
                }
                driver.let_thread_settle();
                drop(driver);
                core.settle_harvest();
            }
            _ => route(closing),
        }
    }

    /// The number has been closed, or given away, by other means.
    pub(crate) fn forget(self) {
        self.retire();
        let mut this = ManuallyDrop::new(self);
        // What it owns besides the number goes as usual.
        drop(this.salvage.take());
    }

    /// The number is about to be closed: from here on nothing is done through it on behalf of a clone.
    pub(crate) fn retire(&self) {
        self.leave_place();
        if let Some(salvage) = self.salvage_if_made() {
            salvage.remove_descriptor(self.raw());
        }
    }

    /// Cancels what was dropped and is still in flight on this loop, because it would hold the file open.
    pub(crate) fn cancel_orphans(&self) {
        let Some(salvage) = self.salvage_if_made() else { return };
        let orphans = salvage.orphans();
        context::with(|core| {
            let mut driver = core.driver.borrow_mut();
            orphans.iter().filter(|&&(id, _)| id == core.id).for_each(|&(_, key)| driver.cancel(key));
        });
    }

    /// Ends the chains on this loop that may yet look its number up. Tells whether there are any.
    pub(crate) fn end_chains(&self) -> bool {
        context::with(|core| core.driver.borrow_mut().end_chains_naming(self.raw())) == Some(true)
    }

    /// The fate of the last dropped write, when it is known.
    pub(crate) async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        let salvage = self.salvage_if_made()?;
        salvage.writes_settled().await;
        salvage.take_fate().map(|fate| fate.map_err(io::Error::from_raw_os_error))
    }

    /// Whether only this loop may have entries that name it.
    pub(crate) fn is_at_home(&self) -> bool {
        let home = self.home.load(Ordering::Acquire);
        home == NOWHERE || home & !BY_TABLE == context::current_id()
    }

    /// Ends every orphan of this object: cancels it and waits until the kernel has let go, which for cancelled
    /// operations is soon. Only at home; elsewhere tells that it cannot.
    pub(crate) fn settle_now(&self) -> io::Result<()> {
        let Some(salvage) = self.salvage_if_made() else { return Ok(()) };
        let mut cancelled = Vec::new();
        while salvage.has_orphans() {
            let here = context::current();
            if let Some(core) = &here {
                // The operation of a future that was dropped on another thread comes by mail.
                take_in_mail(core);
            }
            if salvage.has_promised() {
                if let Some(core) = here {
                    core.driver.borrow_mut().submit_all();
                    core.settle_harvest();
                }
                if salvage.has_promised() {
                    return Err(io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        "bytes that were written through an adapter are still on their way: flush first",
                    ));
                }
                continue;
            }
            let orphans = salvage.orphans();
            let Some(core) =
                here.filter(|core| !core.driver.borrow().is_ending() && orphans.iter().all(|&(id, _)| id == core.id))
            else {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "dropped operations on this object are still in flight on another loop",
                ));
            };
            let mut driver = core.driver.borrow_mut();
            for &(_, key) in &orphans {
                if !cancelled.contains(&key) {
                    cancelled.push(key);
                    driver.cancel(key);
                }
            }
            while !orphans.is_empty() && orphans.iter().all(|&(_, key)| driver.is_in_flight(key)) {
                driver.enter(Wait::Completion);
                driver.reap();
            }
            drop(driver);
            core.settle_harvest();
            // One that is done and still listed belongs to a clone whose thread is about to post it.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Gives the descriptor away. At home everything that was staged is submitted first; elsewhere the caller gets a
    /// duplicate, and the number goes home to be closed. [`Fd::settle_now`] comes before.
    pub(crate) fn into_owned(self) -> Result<OwnedFd, (io::Error, Fd)> {
        if self.is_at_home() {
            self.leave_place();
            context::with(|core| {
                let mut driver = core.driver.borrow_mut();
                driver.await_chains_naming(self.raw());
                driver.submit_all();
            });
            if let Some(core) = context::current() {
                core.settle_harvest();
            }
            let fd = sys::own(self.raw());
            self.forget();
            return Ok(fd);
        }
        sys::duplicate(self.raw()).map_err(|error| (error, self))
    }

    /// The descriptor, for as long as the object lives.
    pub(crate) fn borrow(&self) -> BorrowedFd<'_> {
        self.number.as_fd()
    }

    /// Ends the writing direction of a socket whose writer is gone, and with it everything of the writer's that was staged.
    pub(crate) fn shutdown_write(&self) {
        // Not connected any more, most likely: then there is nothing to end.
        let _ = sys::shutdown(self.raw(), libc::SHUT_WR);
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        if *self.home.get_mut() == NEVER_CLOSED {
            return;
        }
        route(self.closing());
    }
}

/// Sends a descriptor on its way to be closed: here if this loop must see it, then to the next loop, and the last one
/// closes it.
pub(crate) fn route(mut closing: Closing) {
    let here = context::current_id();
    if let Some(index) = closing.visits.iter().position(|&id| id == here) {
        let core = context::current().expect("its id is current");
        let Some(back) = core.driver.borrow_mut().hold_for_chains(closing, here) else { return };
        closing = back;
        closing.visits.swap_remove(index);
        pass(&core, &closing);
        if closing.visits.is_empty() {
            return;
        }
    }
    let Some(closing) = closing.post() else { return };
    if closing.lingers && context::with(|core| core.driver.borrow_mut().close(&closing, core.id, false)).is_some() {
        // The close may take its time, and a loop runs on this thread: that one's ring does it.
        return;
    }
    closing.close_now();
}

/// What a loop does for a descriptor that is being closed: close it, if it is the last, or see to it that nothing staged
/// names it.
fn pass(core: &Core, closing: &Closing) {
    let mut driver = core.driver.borrow_mut();
    if closing.visits.is_empty() {
        driver.close(closing, core.id, false);
    } else {
        driver.let_go(closing, core.id);
        driver.submit_all();
    }
}
