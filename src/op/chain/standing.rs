//! How each link of a chain stands.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::Waker;

use super::{Arena, Cqe, IN_STEPS, Member, Sqe};
use crate::fd::Fd;
use crate::salvage::{Gate, Lane, Salvage, Ticket};

/// What is known of one link besides its operation.
pub struct Standing {
    /// Its object: null if it has none, and as soon as the future is gone that borrows it.
    fd: *const Fd,
    /// The object's cell, after the future was dropped.
    pub(super) salvage: Option<Arc<Salvage>>,
    pub(super) hard: bool,
    pub(super) limit_ns: Option<u64>,
    /// What success gives, for the entry as it was submitted.
    pub(super) exact: Option<i32>,
    pub(super) silent: bool,
    pub(super) result: Option<Cqe>,
}

/// As many as there are links: a chain is moved when a link is added to it, and when it is given its place in a future.
pub struct Standings<const LINKS: usize>(pub(super) [Standing; LINKS]);

impl<const LINKS: usize> Deref for Standings<LINKS> {
    type Target = [Standing];

    #[inline]
    fn deref(&self) -> &[Standing] {
        &self.0
    }
}

impl<const LINKS: usize> DerefMut for Standings<LINKS> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Standing] {
        &mut self.0
    }
}

// SAFETY: the pointer stands for a reference, of which the value is sent and shared like one: `Fd` is `Sync`.
unsafe impl Send for Standing {}
// SAFETY: as above.
unsafe impl Sync for Standing {}

impl Standing {
    /// That of a link on this object, which the operation borrows that it is a part of.
    pub(super) fn of(fd: Option<&Fd>) -> Standing {
        Standing {
            fd: fd.map_or(std::ptr::null(), |fd| fd),
            salvage: None,
            hard: false,
            limit_ns: None,
            exact: None,
            silent: false,
            result: None,
        }
    }

    pub(super) fn fd(&self) -> Option<&Fd> {
        // SAFETY: null, or the object that the `Operation<'a, _>` around the chain borrowed for `'a` when it was made. It is
        // asked for by that operation's methods only, so `'a` has not ended; before the value outlives the operation, as an
        // orphan, `forget_fd` is called.
        unsafe { self.fd.as_ref() }
    }

    pub(super) fn forget_fd(&mut self) {
        self.fd = std::ptr::null();
    }

    /// Whether something that was dropped on its object must be looked after.
    pub(super) fn is_gated(&self) -> bool {
        self.fd().and_then(Fd::salvage_if_made).is_some_and(|salvage| salvage.is_active())
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.result.is_some_and(|cqe| cqe.cancelled())
    }

    /// Whether the kernel takes it for a failure, so that what follows softly does not run.
    pub(super) fn has_failed(&self) -> bool {
        self.result.is_some_and(|cqe| cqe.result < 0 || self.exact.is_some_and(|exact| exact != cqe.result))
    }

    /// Makes its entry.
    pub(super) fn prepare(
        &mut self,
        link: &mut dyn Member,
        sqe: &mut Sqe,
        arena: &mut Arena,
        alone: bool,
    ) -> Result<(), i32> {
        match link.prepare(sqe, arena) {
            Ok(()) => {}
            // There is nothing to do.
            Err(0) => *sqe = Sqe::new(io_uring::opcode::Nop::CODE),
            Err(errno) => return Err(errno),
        }
        self.exact = exact(sqe);
        if !alone && moves_bytes(sqe) && sqe.len as usize >= super::super::read::MAX_TRANSFER {
            return Err(IN_STEPS);
        }
        Ok(())
    }
}

#[inline]
fn moves_bytes(sqe: &Sqe) -> bool {
    use io_uring::opcode::{Read, ReadFixed, Recv, Send, Write, WriteFixed};
    matches!(sqe.opcode, Read::CODE | ReadFixed::CODE | Write::CODE | WriteFixed::CODE | Recv::CODE | Send::CODE)
}

/// What the kernel gives for this entry, if it takes it for a success: anything else is a failure, upon which it does not go on
/// with what is linked. `None` where any number may be one.
fn exact(sqe: &Sqe) -> Option<i32> {
    use io_uring::opcode::{OpenAt, OpenAt2, Readv, Recv, Send, Writev};
    match sqe.opcode {
        // All or nothing only if it was asked for.
        Send::CODE | Recv::CODE if sqe.op_flags & libc::MSG_WAITALL as u32 == 0 => None,
        _ if moves_bytes(sqe) => Some(sqe.len as i32),
        Readv::CODE | Writev::CODE => None,
        // A number of a descriptor.
        OpenAt::CODE | OpenAt2::CODE if !sqe.fills_place() => None,
        _ => Some(0),
    }
}

/// A place among those who wait at an object.
pub(super) struct Waiting {
    salvage: Arc<Salvage>,
    ticket: Option<Ticket>,
}

impl Waiting {
    pub(super) fn new(salvage: Arc<Salvage>) -> Waiting {
        Waiting { salvage, ticket: None }
    }

    pub(super) fn ask(&mut self, lane: Lane, waker: &Waker) -> Gate {
        self.salvage.ask(lane, &mut self.ticket, waker)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            super::super::orphan::cancel_later(self.salvage.leave(&mut self.ticket));
        }
    }
}
