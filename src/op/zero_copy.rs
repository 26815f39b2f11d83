//! Sending without copying: `IORING_OP_SEND_ZC`, `IORING_OP_SENDMSG_ZC`, around the operations that copy.
//!
//! The kernel reads the buffer while it is on its way, so there are two completions: the result, with `F_MORE`, and the
//! notification that the kernel has let go, which may come only when the peer has acknowledged. The operation ends with the
//! second; without `F_MORE` (an error, mostly) there is none.
//!
//! Not copying costs pinning of pages and the second completion. Below [`LEAST`] bytes a copy is cheaper. Where the kernel
//! has to copy anyway (loopback, a device that cannot gather), the notification says so, and from then on the socket's
//! sends are plain ones: they would pay for both. That report is asked for with `IORING_SEND_ZC_REPORT_USAGE` (6.2); older
//! kernels refuse the flag and are not asked again. What cannot be sent by reference at all (no memory to lock, another
//! kind of socket) is copied, too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{All, Arena, Cqe, Left, Next, Op, Sealed, Send, SendMsg, Sqe, Writev, fixed};
use crate::buf::{IoBuf, IoVecBuf, Region};
use crate::fd::Fd;
use crate::salvage::{Lane, Salvage};

/// Fewer bytes are copied: pinning pages and a second completion cost more.
const LEAST: usize = 16 * 1024;

/// `IORING_SEND_ZC_REPORT_USAGE`, in `ioprio`.
const REPORT_USAGE: u16 = 1 << 3;
/// `IORING_NOTIF_USAGE_ZC_COPIED`, in the result of a notification.
const COPIED: u32 = 1 << 31;

/// The kernel is too old to report.
static SILENT_KERNEL: AtomicBool = AtomicBool::new(false);

/// How the next attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By reference, and the kernel is to tell whether it copied all the same.
    Reporting,
    /// By reference.
    Silent,
    Copying,
}

/// Whether a notification says that the kernel has copied, if it was to report that.
pub(super) fn has_copied(notification: Cqe) -> bool {
    notification.result as u32 & COPIED != 0
}

/// An operation that sends, and what it would copy.
pub trait Sends: Op<Output = (io::Result<<Self as Sends>::Count>, <Self as Sends>::Buf)> {
    /// What it tells of how much was sent.
    type Count;
    /// What it sends from.
    type Buf: 'static;
    #[doc(hidden)]
    fn count(sent: usize) -> Self::Count;
    /// The buffer, without asking it anything.
    #[doc(hidden)]
    fn into_buf(self) -> Self::Buf;
    /// How many bytes it has to send in all.
    #[doc(hidden)]
    fn bytes(&self) -> usize;
    /// The memory of its buffer, if that is registered.
    #[doc(hidden)]
    fn registered(&self) -> Option<&Region>;
    /// Whether it goes on until everything is sent.
    #[doc(hidden)]
    const ALL: bool = false;
}

impl<B: IoBuf> Sends for Send<B> {
    type Count = usize;
    type Buf = B;

    fn count(sent: usize) -> usize {
        sent
    }

    fn into_buf(self) -> B {
        self.into_buf()
    }

    fn bytes(&self) -> usize {
        self.len()
    }

    fn registered(&self) -> Option<&Region> {
        self.registered()
    }
}

impl<B: IoBuf, O: Sends<Count = usize, Buf = B>> Sends for All<O> {
    type Count = ();
    type Buf = B;
    const ALL: bool = true;

    fn count(_sent: usize) {}

    fn into_buf(self) -> B {
        self.0.into_buf()
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn registered(&self) -> Option<&Region> {
        self.0.registered()
    }
}

impl<V: IoVecBuf> Sends for Writev<V> {
    type Count = usize;
    type Buf = V;

    fn count(sent: usize) -> usize {
        sent
    }

    fn into_buf(self) -> V {
        self.into_bufs()
    }

    fn bytes(&self) -> usize {
        self.len()
    }

    /// Messages do not go by registered memory.
    fn registered(&self) -> Option<&Region> {
        None
    }
}

impl<B: IoBuf> Sends for SendMsg<B> {
    type Count = usize;
    type Buf = B;

    fn count(sent: usize) -> usize {
        sent
    }

    fn into_buf(self) -> B {
        self.into_buf()
    }

    fn bytes(&self) -> usize {
        self.len()
    }

    fn registered(&self) -> Option<&Region> {
        self.registered()
    }
}

/// `IORING_OP_SEND_ZC`, `IORING_OP_SENDMSG_ZC`: sends from the buffer itself, and gives it back when the kernel is done with
/// it.
#[doc(alias = "IORING_OP_SEND_ZC")]
#[doc(alias = "IORING_OP_SENDMSG_ZC")]
#[derive(Debug)]
pub struct ZeroCopy<O> {
    inner: O,
    /// The socket's memory of what became of earlier ones.
    memory: Arc<Salvage>,
    way: Way,
    /// Refused with `EINVAL` when it asked for a report, which may have been why.
    doubts: bool,
    /// The result, while the kernel still has the buffer.
    sent: Option<Cqe>,
}

impl<O: Sends> ZeroCopy<O> {
    pub(crate) fn new(fd: &Fd, inner: O) -> ZeroCopy<O> {
        let memory = fd.salvage().clone();
        let way = match () {
            () if inner.bytes() < LEAST || memory.copies() => Way::Copying,
            () if SILENT_KERNEL.load(Ordering::Relaxed) => Way::Silent,
            () => Way::Reporting,
        };
        ZeroCopy { inner, memory, way, doubts: false, sent: None }
    }

    /// It went without a report, after it had been refused with one.
    fn settle_doubts(&mut self) {
        if std::mem::take(&mut self.doubts) {
            SILENT_KERNEL.store(true, Ordering::Relaxed);
        }
    }

    /// How many bytes were sent, and whether that is all that it is to send, while the kernel still has the buffer. `None`
    /// before that is known, and of a failure, which has the notification close behind it.
    pub(super) fn sent_so_far(&mut self) -> Option<(usize, bool)> {
        let sent = self.sent.filter(|sent| sent.result >= 0)?;
        let all = self.inner.progress() + sent.result as usize;
        let is_all = !O::ALL || all == self.inner.bytes();
        self.settle_doubts();
        Some((all, is_all))
    }

    /// The buffer, and who is to be told if the notification says that it was copied.
    pub(super) fn into_loan(self) -> (O::Buf, Option<Arc<Salvage>>) {
        let memory = (self.way == Way::Reporting).then_some(self.memory);
        (self.inner.into_buf(), memory)
    }

    /// What else there is to try after a refusal.
    #[cold]
    fn refused(&mut self, cqe: Cqe) -> bool {
        self.way = match (self.way, -cqe.result) {
            (Way::Reporting, libc::EINVAL) => {
                self.doubts = true;
                Way::Silent
            }
            (Way::Reporting | Way::Silent, libc::EINVAL | libc::EOPNOTSUPP | libc::ENOMEM | libc::ENOBUFS) => {
                self.doubts = false;
                Way::Copying
            }
            _ => return false,
        };
        true
    }
}

impl<O> Sealed for ZeroCopy<O> {}

// SAFETY: the addresses are the inner operation's. It is not completed, nor prepared again, before the notification, which
// is the last completion of a submission: so what it owns stays until the kernel has let go.
unsafe impl<O: Sends> Op for ZeroCopy<O> {
    type Output = O::Output;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        debug_assert!(self.sent.is_none(), "the kernel has let go of what was sent before");
        self.inner.prepare(sqe, arena)?;
        if self.way == Way::Copying {
            return Ok(());
        }
        let opcode = match sqe.opcode {
            io_uring::opcode::Send::CODE => io_uring::opcode::SendZc::CODE,
            io_uring::opcode::SendMsg::CODE => io_uring::opcode::SendMsgZc::CODE,
            other => unreachable!("opcode {other} sends nothing"),
        };
        // Otherwise each piece that fits into the socket's buffer would wait for the notification of the one before.
        let whole = if O::ALL { libc::MSG_WAITALL as u32 } else { 0 };
        *sqe = Sqe {
            opcode,
            ioprio: if self.way == Way::Reporting { REPORT_USAGE } else { 0 },
            op_flags: sqe.op_flags | whole,
            ..*sqe
        };
        fixed::use_registered(sqe, self.inner.registered(), arena);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.more() {
            debug_assert!(self.sent.is_none(), "one result a submission");
            self.sent = Some(Cqe::of(cqe.result));
            return Next::More;
        }
        let result = match self.sent.take() {
            Some(sent) => {
                // One that failed has copied nothing, and says that it did.
                if sent.result >= 0 && self.way == Way::Reporting && has_copied(cqe) {
                    self.memory.note_copies();
                    self.way = Way::Copying;
                }
                sent
            }
            None => cqe,
        };
        if result.result < 0 && self.refused(result) {
            return Next::Again;
        }
        self.settle_doubts();
        self.inner.step(result)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        self.inner.complete(cqe)
    }

    fn lane(&self) -> Lane {
        self.inner.lane()
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        self.inner.leave(cqe)
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }

    fn progress(&self) -> usize {
        self.inner.progress()
    }
}
