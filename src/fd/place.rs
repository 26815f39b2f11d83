//! A descriptor's place in the table of its home.
//!
//! An object keeps its number, and besides may have a place, by which the kernel finds the file at less cost. A plain object
//! pays nothing for that: its home's name is compared as ever, and only that of an object which has to do with the table
//! bears a mark and is found different.
//!
//! The place keeps the file open, as the number does, so it is left in every way in which the number is closed or given away,
//! and before that.

use std::sync::atomic::Ordering;

use super::{BY_TABLE, Fd, NEVER_CLOSED, NOWHERE, SHARED};
use crate::context;
use crate::driver::{Driver, NoPlace, Place};
use crate::mail::Mail;
use crate::registry;

// What `Fd::place` says: below `ASKED` the place, from there to `COUNTING` the same, not confirmed yet, from there to
// `POLLED` how many operations are still to come before it asks for one.
const ASKED: u32 = 1 << 30;
const COUNTING: u32 = 1 << 31;
/// It gets none, because its transfers are polled for: that ring has no table.
pub(super) const POLLED: u32 = u32::MAX - 3;
const REFUSED: u32 = u32::MAX - 2;
/// It asks with the next operation.
const WANTED: u32 = u32::MAX - 1;
/// It goes by the loop's settings.
pub(super) const UNDECIDED: u32 = u32::MAX;

/// To fill and to leave a place costs about as much as five operations gain.
const OPERATIONS_BEFORE: u32 = 8;
/// And if the table was full, it asks again after so many.
const OPERATIONS_UNTIL_RETRY: u32 = 4096;

impl Fd {
    /// Has it get a place with its next operation.
    pub(crate) fn want_place(&self) {
        let wants = |place| (place >= COUNTING && place != WANTED && place != POLLED).then_some(WANTED);
        if self.place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, wants).is_ok() {
            self.be_special();
        }
    }

    /// Its operations at home are looked at more closely from here on.
    fn be_special(&self) {
        let home = self.home.load(Ordering::Acquire);
        if !matches!(home, NOWHERE | SHARED | NEVER_CLOSED) {
            // If it becomes shared meanwhile, it goes by its number.
            let _ = self.home.compare_exchange(home, home | BY_TABLE, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    pub(super) fn wants_place(&self, driver: &Driver) -> bool {
        match self.place.load(Ordering::Relaxed) {
            UNDECIDED => driver.files.wanted,
            place => matches!(place, WANTED | POLLED),
        }
    }

    /// The place, for an operation that is about to be staged at home.
    #[inline]
    pub(super) fn place(&self, loop_id: u64, driver: &mut Driver) -> Option<u32> {
        let place = self.place.load(Ordering::Relaxed);
        if place < ASKED { Some(place) } else { self.approach_place(place, loop_id, driver) }
    }

    #[inline(never)]
    fn approach_place(&self, place: u32, loop_id: u64, driver: &mut Driver) -> Option<u32> {
        match place {
            UNDECIDED => self.change(place, COUNTING + OPERATIONS_BEFORE - 1),
            ..COUNTING => match driver.files.place(place - ASKED) {
                Place::Filled if self.change(place, place - ASKED) => return Some(place - ASKED),
                Place::Failed if self.change(place, REFUSED) => {
                    driver.leave_place(place - ASKED);
                    self.be_plain(loop_id)
                }
                _ => true,
            },
            POLLED => self.divert(driver),
            COUNTING | WANTED => self.ask(place, loop_id, driver),
            REFUSED => self.be_plain(loop_id),
            counting => self.change(counting, counting - 1),
        };
        None
    }

    #[cold]
    fn ask(&self, before: u32, loop_id: u64, driver: &mut Driver) -> bool {
        match driver.ask_for_place(self.raw()) {
            Ok(place) if self.change(before, place + ASKED) => true,
            Ok(place) => {
                driver.leave_place(place);
                false
            }
            Err(NoPlace::Full) => self.change(before, COUNTING + OPERATIONS_UNTIL_RETRY),
            Err(NoPlace::Never) => self.change(before, REFUSED) && self.be_plain(loop_id),
        }
    }

    /// Others change it only by wanting one; whoever fails finds that the next time.
    fn change(&self, from: u32, to: u32) -> bool {
        self.place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Has the device be asked whether transfers are done, or not any more.
    pub(crate) fn set_polled(&self, polled: bool) {
        if !polled {
            self.change(POLLED, REFUSED);
            return;
        }
        self.salvage().allow_polling();
        loop {
            let place = self.place.load(Ordering::Relaxed);
            if place < COUNTING {
                self.leave_place();
            } else if place == POLLED || self.change(place, POLLED) {
                return self.be_special();
            }
        }
    }

    /// Whether that is wanted.
    pub(crate) fn is_polled(&self) -> bool {
        self.place.load(Ordering::Relaxed) == POLLED
    }

    /// Has what is about to be staged on this loop polled for, if it is a transfer and the device can be asked.
    #[cold]
    pub(super) fn divert(&self, driver: &mut Driver) -> bool {
        let salvage = self.salvage();
        if salvage.is_polling_refused() {
            return self.change(POLLED, REFUSED);
        }
        driver.divert_next(self.raw(), salvage);
        true
    }

    /// It has no more to do with the table.
    fn be_plain(&self, loop_id: u64) -> bool {
        self.home.compare_exchange(loop_id | BY_TABLE, loop_id, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The loop and the place there, if it has one. From here on it has none: whoever takes it sees to it that it is left.
    pub(super) fn take_place(&self) -> Option<(u64, u32)> {
        if self.place.load(Ordering::Relaxed) >= COUNTING {
            return None;
        }
        let place = self.place.swap(REFUSED, Ordering::Relaxed) & !ASKED;
        let home = match self.home.load(Ordering::Acquire) {
            // The first of them was the home.
            SHARED => self.salvage().visits().first().copied()?,
            home => home & !BY_TABLE,
        };
        Some((home, place))
    }

    /// Leaves the place, behind everything that was staged there. A loop that has ended has left them all.
    pub(super) fn leave_place(&self) {
        let Some((home, place)) = self.take_place() else { return };
        let here =
            context::with(|core| (core.id == home).then(|| core.driver.borrow_mut().leave_place(place)).is_some());
        if here != Some(true) {
            let _ = registry::post(home, Mail::LeavePlace(place));
        }
    }
}
