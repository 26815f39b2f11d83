//! Bytes of a Unix stream together with descriptors: `IORING_OP_RECVMSG` with `SCM_RIGHTS`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::message::{Details, Lent, Receives};
use super::read::Fill;
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{BufResult, IoBufMut};
use crate::salvage::{Item, Lane, Salvage};
use crate::sys::Control;
use crate::sys::ancillary::space;

/// `SCM_MAX_FD`: a message has no more. Beside them there may be credentials.
const CONTROL_BYTES: usize = space(253 * 4) + space(12);

/// How many bytes there were, and the descriptors that came with them. What is not taken is closed.
#[derive(Debug)]
pub struct WithRights(());

impl Receives for WithRights {
    type Output = (usize, Vec<OwnedFd>);
    const HEADER: bool = true;
    const CONTROL_BYTES: usize = CONTROL_BYTES;

    fn received(mut details: Details<'_>) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((details.len, details.control.take_rights()))
    }
}

/// `IORING_OP_RECVMSG`: `recvmsg(2)` on a stream, for descriptors, too. What arrives after the future was dropped is given to
/// the next receive.
#[doc(alias = "IORING_OP_RECVMSG")]
#[derive(Debug)]
pub struct RecvRights<B> {
    fd: RawFd,
    fill: Fill<B>,
    cell: Lent,
    salvaged: Vec<OwnedFd>,
}

impl<B: IoBufMut> RecvRights<B> {
    pub(crate) fn new(fd: RawFd, buf: B) -> RecvRights<B> {
        RecvRights { fd, fill: Fill::some(buf), cell: Lent::default(), salvaged: Vec::new() }
    }

    /// The descriptors, once the operation has given bytes.
    fn rights(&mut self) -> Vec<OwnedFd> {
        match &self.cell.0 {
            Some(cell) if self.fill.done() > 0 => Control::new(cell.control()).take_rights(),
            _ => Vec::new(),
        }
    }
}

impl<B> Sealed for RecvRights<B> {}

// SAFETY: the entry points to the cell, which is on the heap, as is what that points to, and that into the buffer, which
// `IoBufMut` promises to stay put while it is moved.
unsafe impl<B: IoBufMut> Op for RecvRights<B> {
    type Output = BufResult<(usize, Vec<OwnedFd>), B>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (address, len) = self.fill.window()?;
        let header = self.cell.get(arena).arm_receive(address, len, CONTROL_BYTES);
        *sqe = Sqe::new(io_uring::opcode::RecvMsg::CODE)
            .fd(self.fd)
            .addr(header)
            .len(1)
            .op_flags(libc::MSG_CMSG_CLOEXEC as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        self.fill.step(cqe)
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let mut rights = std::mem::take(&mut self.salvaged);
        rights.append(&mut self.rights());
        let (result, buf) = self.fill.complete(cqe);
        (result.map(|count| (count, rights)), buf)
    }

    fn lane(&self) -> Lane {
        Lane::Receive
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let rights = self.rights();
        match self.fill.leave(cqe) {
            (bytes, None) if !rights.is_empty() => {
                Left::Received([Item::Rights(rights)].into_iter().chain(bytes).collect())
            }
            (bytes, then) => Left::Received(bytes.into_iter().chain(then).collect()),
        }
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        self.salvaged = salvage.take_rights();
        // From here on nothing in the cell is this operation's.
        self.cell = Lent::default();
        self.fill.take_salvaged(salvage, false)
    }
}
