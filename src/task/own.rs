//! What a loop's thread keeps about a task of its own beside the state word, without an atomic operation: where the task
//! is, which of its references are left over, and who awaits it there.

use std::task::Waker;

use crate::inbox::sync::UnsafeCell;

/// Where a task is, for its loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Place {
    /// No loop has seen it yet: it is on the stack on which others leave tasks, or it is a blocking job.
    New,
    /// In no queue of the loop's.
    Waiting,
    /// In the loop's queue, once.
    Queued,
    /// It is being polled, or its future dropped.
    Polled,
    /// The same, and it was woken meanwhile on the loop's thread.
    Again,
    /// It is complete. If it is in the queue still, the entry there has a reference.
    Over,
}

/// See the module's text. It is touched by the task's runner, and by whoever finds the task's loop entered on its thread,
/// which is the same thread; never elsewhere, and nothing is called meanwhile.
pub(super) struct Own(UnsafeCell<Fields>);

struct Fields {
    place: Place,
    /// References that wakers have left on the loop's thread, for those that are made there. Counted in the state word,
    /// and given up with the task's end.
    kept: u16,
    /// Of the join handle, if it was last polled here.
    join_waker: Option<Waker>,
}

/// More references are not kept: wakers that are cloned elsewhere and consumed here would leave ever more of them.
const KEPT_AT_MOST: u16 = 64;

impl Own {
    pub(super) fn new(place: Place) -> Own {
        Own(UnsafeCell::new(Fields { place, kept: 0, join_waker: None }))
    }

    /// # Safety
    ///
    /// As the type says. So it is for all of them.
    #[inline(always)]
    unsafe fn with<R>(&self, access: impl FnOnce(&mut Fields) -> R) -> R {
        // SAFETY: one thread, says the contract, and on it one access at a time.
        self.0.with_mut(|fields| access(unsafe { &mut *fields }))
    }

    pub(super) unsafe fn place(&self) -> Place {
        // SAFETY: passed on, here and below.
        unsafe { self.with(|own| own.place) }
    }

    /// The task is woken. Whether it has to be put into the queue.
    #[inline(always)]
    pub(super) unsafe fn wake(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                // The likeliest first.
                if own.place == Place::Waiting {
                    own.place = Place::Queued;
                    return true;
                }
                if own.place == Place::Polled {
                    own.place = Place::Again;
                }
                false
            })
        }
    }

    /// A task that others have left has arrived. As [`Own::wake`], but that one which is new has to be put into the queue, too.
    pub(super) unsafe fn arrive(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                if own.place == Place::New {
                    own.place = Place::Waiting;
                }
            });
            self.wake()
        }
    }

    /// The task is taken from the queue, to be polled. Not if it is over.
    #[inline(always)]
    pub(super) unsafe fn begin(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                if own.place == Place::Over {
                    return false;
                }
                debug_assert!(matches!(own.place, Place::Queued | Place::New), "polled where it is {:?}", own.place);
                own.place = Place::Polled;
                true
            })
        }
    }

    /// A poll has ended, and the task has not. Whether it has to be put into the queue.
    #[inline(always)]
    pub(super) unsafe fn end(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                let again = own.place == Place::Again;
                own.place = if again { Place::Queued } else { Place::Waiting };
                again
            })
        }
    }

    /// The future is to be dropped, wherever the task is.
    pub(super) unsafe fn begin_end(&self) {
        // SAFETY: see above.
        unsafe { self.with(|own| own.place = Place::Polled) }
    }

    /// The task is complete. Gives how many references were left over, and who awaits it; from here on none are kept, and nobody's
    /// waker.
    #[inline(always)]
    pub(super) unsafe fn finish(&self) -> (usize, Option<Waker>) {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                own.place = Place::Over;
                (usize::from(std::mem::take(&mut own.kept)), own.join_waker.take())
            })
        }
    }

    /// Leaves the waker of the join handle, or takes it back; gives the one that was there, to be dropped outside.
    #[inline(always)]
    pub(super) unsafe fn replace_join_waker(&self, waker: Option<Waker>) -> Option<Waker> {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                debug_assert!(waker.is_none() || own.place != Place::Over);
                std::mem::replace(&mut own.join_waker, waker)
            })
        }
    }

    /// Whether it is this waker that the join handle has left.
    #[inline(always)]
    pub(super) unsafe fn has_join_waker(&self, waker: &Waker) -> bool {
        // SAFETY: see above.
        unsafe { self.with(|own| own.join_waker.as_ref().is_some_and(|own| own.will_wake(waker))) }
    }

    /// Keeps a reference, if it can be kept: there are not too many, and the task's end is still to come, which gives them up. Of a task
    /// that `lives` that is known.
    #[inline(always)]
    pub(super) unsafe fn keep(&self, lives: bool) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                debug_assert!(!lives || own.place != Place::Over);
                let has_room = own.kept < KEPT_AT_MOST;
                let lives = lives || own.place != Place::Over;
                let keeps = has_room && lives;
                if keeps {
                    own.kept += 1;
                }
                keeps
            })
        }
    }

    /// Gives a reference that was kept, if there is one.
    #[inline(always)]
    pub(super) unsafe fn take_kept(&self) -> bool {
        // SAFETY: see above.
        unsafe {
            self.with(|own| {
                if own.kept == 0 {
                    return false;
                }
                own.kept -= 1;
                true
            })
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Place::{Again, New, Over, Polled, Queued, Waiting};
    use super::*;

    /// Takes a step from one place to another, and gives what the step has said.
    #[track_caller]
    fn step<R>(from: Place, take: impl FnOnce(&Own) -> R, to: Place) -> R {
        let own = Own::new(from);
        let said = take(&own);
        // SAFETY: one thread, one access at a time.
        assert_eq!(unsafe { own.place() }, to, "from {from:?}");
        said
    }

    #[test]
    fn places() {
        // SAFETY: one thread, one access at a time.
        let wake = |own: &Own| unsafe { own.wake() };
        // SAFETY: as above.
        let arrive = |own: &Own| unsafe { own.arrive() };
        // SAFETY: as above.
        let begin = |own: &Own| unsafe { own.begin() };
        // SAFETY: as above.
        let end = |own: &Own| unsafe { own.end() };
        // SAFETY: as above.
        let begin_end = |own: &Own| unsafe { own.begin_end() };
        // SAFETY: as above.
        let finish = |own: &Own| unsafe { own.finish().0 };
        assert!(step(Waiting, wake, Queued));
        assert!(!step(Polled, wake, Again));
        assert!(step(New, arrive, Queued));
        assert!(step(Waiting, arrive, Queued));
        assert!(!step(Polled, arrive, Again));
        for place in [Queued, Again, Over] {
            assert!(!step(place, wake, place));
            assert!(!step(place, arrive, place));
        }
        assert!(!step(New, wake, New));
        assert!(step(Queued, begin, Polled));
        assert!(step(New, begin, Polled));
        assert!(!step(Over, begin, Over));
        assert!(!step(Polled, end, Waiting));
        assert!(step(Again, end, Queued));
        for place in [New, Waiting, Queued, Polled, Again] {
            step(place, begin_end, Polled);
            assert_eq!(step(place, finish, Over), 0);
        }
    }

    #[test]
    fn references_that_are_left_over() {
        let own = Own::new(Waiting);
        // SAFETY: one thread, one access at a time.
        unsafe {
            assert!(!own.take_kept());
            assert!((0..3).all(|_| own.keep(false)));
            assert!(own.take_kept());
            assert_eq!(own.finish().0, 2);
            assert!(!own.keep(false) && !own.take_kept());
            assert_eq!(own.finish().0, 0);
            let own = Own::new(Queued);
            assert!((0..KEPT_AT_MOST).all(|_| own.keep(true)));
            assert!(!own.keep(false));
            assert_eq!(own.finish().0, usize::from(KEPT_AT_MOST));
        }
    }
}
