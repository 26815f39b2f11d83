//! What a loop does with its mail.

use std::sync::PoisonError;
use std::task::Waker;

use super::route;
use crate::context::Core;
use crate::guard::guard;
use crate::mail::Mail;

/// Takes in what other threads and loops have asked of this one. The driver must not be borrowed.
#[inline]
pub(crate) fn take_in_mail(core: &Core) {
    // The look is two loads; to find an empty queue by popping costs a full fence, every turn.
    while !core.inbox.is_empty() {
        let Some(mail) = core.inbox.pop() else { return };
        handle(core, mail);
    }
}

#[cold]
fn handle(core: &Core, mail: Mail) {
    // What was reaped and not handed on yet may be the result of the very operation that the mail is about.
    core.settle_harvest();
    let finished = match mail {
        Mail::Orphan(key, handed) => core.driver.borrow_mut().adopt_from_elsewhere(key, handed.into_inner()),
        Mail::Unwatch(key, cell) => {
            let orphan = cell.inner.lock().unwrap_or_else(PoisonError::into_inner).orphan.take();
            orphan.and_then(|handed| core.driver.borrow_mut().adopt_from_elsewhere(key, handed.into_inner()))
        }
        Mail::Watch(key, cell) => {
            core.driver.borrow_mut().watch(key, cell);
            None
        }
        Mail::Cancel(key) => {
            core.driver.borrow_mut().cancel(key);
            None
        }
        Mail::Close(closing) => {
            route(closing);
            None
        }
        Mail::LeavePlace(place) => {
            core.driver.borrow_mut().leave_place(place);
            None
        }
        Mail::UnregisterMemory(index) => {
            core.driver.borrow_mut().unregister_memory(index);
            None
        }
        Mail::DropTimer(key) => {
            let waker = core.timers.borrow_mut().remove(key);
            // Whoever moved or reset the timer may have done so for a task of this loop.
            guard(|| waker.into_iter().for_each(Waker::wake));
            None
        }
    };
    if let Some((orphan, earlier, cqe)) = finished {
        guard(|| orphan.finish(earlier, cqe));
    }
    core.settle_harvest();
}
