//! Waiting for a descriptor, and what it is ready for: `IORING_OP_POLL_ADD`.

use std::io;
use std::os::fd::RawFd;

use super::{Arena, Cqe, Op, Sealed, Sqe};
use crate::driver::poll_mask;

/// `IORING_OP_POLL_ADD`: waits until a descriptor is ready and tells for what, `poll(2)`.
#[doc(alias = "IORING_OP_POLL_ADD")]
#[derive(Debug)]
pub struct PollReady {
    fd: RawFd,
    events: i16,
}

impl PollReady {
    pub(crate) fn new(fd: RawFd, events: i16) -> PollReady {
        PollReady { fd, events }
    }
}

impl Sealed for PollReady {}

// SAFETY: the entry holds no address.
unsafe impl Op for PollReady {
    /// `POLL*` events.
    type Output = io::Result<i16>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::PollAdd::CODE).fd(self.fd).op_flags(poll_mask(self.events));
        Ok(())
    }

    fn complete(self, cqe: Cqe) -> io::Result<i16> {
        cqe.ok().map(|events| events as i16)
    }
}
