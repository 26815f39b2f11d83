//! A queue aside of the ring's own, for transfers whose device is asked whether it is done instead of interrupting
//! (`IORING_SETUP_IOPOLL`). A ring of that kind takes nothing else, so it is a second one.
//!
//! What is staged aside is handed over before what is staged in the ring, with the same enter: what names a descriptor is with
//! the kernel before the close of that is. The device is asked by entering, so while something is under way aside every
//! enter does so, and none waits.
//!
//! A ring that nothing is aside of pays for none of it: it looks at one mark, which it looks at anyway because of the kernel's
//! thread (`Uring::detours`).

use std::io;
use std::time::Duration;

use super::{Config, Cqe, Entered, Sqe, Uring, Wait};

/// Entries of its queue. Devices have queues of about that length.
const ENTRIES: u32 = 128;

/// How often the kernel may refuse entries in a row before there is a pause of a millisecond: it is out of memory.
const REFUSALS_BEFORE_PAUSE: u64 = 16;

/// Names an entry that was made void. No operation's name.
const VOID: u64 = u64::MAX;

/// See the module.
#[derive(Default)]
pub(super) enum Aside {
    /// Nobody has asked for it.
    #[default]
    Unmade,
    Made(Box<Uring>),
    /// There is none, and there will be none.
    Refused,
}

impl Uring {
    /// Whether there is a queue aside; makes it the first time.
    pub(crate) fn make_aside(&mut self) -> bool {
        if let Aside::Unmade = self.aside {
            let config = Config { iopoll: true, ..Config::of(ENTRIES, 2 * ENTRIES) };
            self.aside = match Uring::new(config) {
                Ok(ring) => Aside::Made(Box::new(ring)),
                Err(_) => Aside::Refused,
            };
        }
        matches!(self.aside, Aside::Made(_))
    }

    /// There is to be none.
    pub(crate) fn refuse_aside(&mut self) {
        debug_assert_eq!(self.in_flight_aside, 0);
        self.aside = Aside::Refused;
    }

    /// Whether something is under way there, or staged.
    #[inline]
    pub(crate) fn has_aside(&self) -> bool {
        self.in_flight_aside > 0
    }

    /// An entry that was made void, because it goes aside, is not handed over at all if none is staged behind it.
    pub(crate) fn forget_void(&mut self, position: u32) {
        if self.room() > 0 && position.wrapping_add(1) == self.tail {
            self.take_back(1);
        }
    }

    /// Stages a transfer there; gives its position.
    pub(crate) fn stage_aside(&mut self, sqe: Sqe) -> u32 {
        let Aside::Made(ring) = &mut self.aside else { unreachable!("it was asked whether there is one") };
        if ring.is_full() {
            self.calls += hand_over(ring);
        }
        *ring.stage() = sqe;
        let position = ring.commit_fitting();
        self.in_flight_aside += 1;
        self.detours = true;
        position
    }

    /// Makes a transfer void that was not handed over yet. Tells whether that was so: it gives no completion then.
    pub(crate) fn void_aside(&mut self, position: u32, user_data: u64) -> bool {
        let Aside::Made(ring) = &mut self.aside else { return false };
        let Some(sqe) = ring.staged_mut(position, user_data) else { return false };
        sqe.void();
        sqe.user_data = VOID;
        self.landed_aside(1);
        true
    }

    /// Hands each completion that is there, with its `user_data`, to `each`. How many.
    pub(crate) fn harvest_aside(&mut self, mut each: impl FnMut(u64, Cqe)) -> usize {
        let Aside::Made(ring) = &mut self.aside else { return 0 };
        let mut count = 0;
        ring.harvest(|user_data, cqe| {
            if user_data != VOID {
                count += 1;
                each(user_data, cqe);
            }
        });
        self.landed_aside(count);
        count as usize
    }

    fn landed_aside(&mut self, count: u32) {
        self.in_flight_aside -= count;
        if self.in_flight_aside == 0 {
            self.detours = self.polled;
        }
    }

    /// How many entries there have not been taken by the kernel.
    pub(super) fn unsubmitted_aside(&mut self) -> usize {
        match &mut self.aside {
            Aside::Made(ring) if self.in_flight_aside > 0 => ring.unsubmitted(),
            _ => 0,
        }
    }

    /// [`Uring::needs_enter`] where something is aside, or a thread of the kernel's takes the entries.
    #[cold]
    pub(super) fn needs_detour(&mut self, flags: u32) -> bool {
        self.has_aside() || self.needs_enter_polled(flags)
    }

    /// [`Uring::enter`], the same.
    #[cold]
    pub(super) fn detour(&mut self, wait: Wait) -> io::Result<Entered> {
        if !self.has_aside() {
            return self.enter_polled(wait);
        }
        let Aside::Made(ring) = &mut self.aside else { unreachable!("something is under way there") };
        self.calls += hand_over(ring);
        self.entered_itself = if self.polled {
            self.enter_polled(Wait::No)?
        } else if self.needs_enter_itself(self.flags()) {
            self.enter_slowly()?
        } else {
            Entered::All
        };
        Ok(Entered::Aside)
    }

    pub(crate) fn entered_itself(&self) -> Entered {
        self.entered_itself
    }
}

/// Asks the device, and enters until all that is staged has been taken, which is at once but where the kernel has no memory.
/// How often that was.
fn hand_over(ring: &mut Uring) -> u64 {
    let mut calls = 0;
    loop {
        calls += 1;
        match ring.enter(Wait::No) {
            Ok(Entered::All) => return calls,
            Ok(_) if calls.is_multiple_of(REFUSALS_BEFORE_PAUSE) => std::thread::sleep(Duration::from_millis(1)),
            Ok(_) => {}
            // As for the ring itself: no transfer is to blame.
            Err(error) => panic!("io_uring_enter failed in a way that it never should: {error}"),
        }
    }
}
