//! Datagrams from and into several buffers: `IORING_OP_SENDMSG`, `IORING_OP_RECVMSG`.

use std::io;
use std::marker::PhantomData;
use std::os::fd::RawFd;

use super::message::{Details, Lent, MAX_IOVECS, Receives, outgoing, send_message};
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::buf::{BufResult, IoVecBuf, IoVecBufMut};
use crate::salvage::{Datagram, Item, Lane, Salvage};
use crate::sys::{Control, RawAddress};

/// `IORING_OP_SENDMSG`: `sendmsg(2)` of one datagram that is made of several buffers.
#[doc(alias = "IORING_OP_SENDMSG")]
#[derive(Debug)]
pub struct SendMsgVectored<V> {
    fd: RawFd,
    bufs: V,
    to: Option<RawAddress>,
}

impl<V: IoVecBuf> SendMsgVectored<V> {
    pub(crate) fn new(fd: RawFd, bufs: V, to: Option<RawAddress>) -> SendMsgVectored<V> {
        SendMsgVectored { fd, bufs, to }
    }
}

impl<V> Sealed for SendMsgVectored<V> {}

// SAFETY: iovecs, address and message header are in the arena and read while the entry is taken; what the iovecs point to is
// inside the buffers, which `IoVecBuf` promises to stay put while it is moved.
unsafe impl<V: IoVecBuf> Op for SendMsgVectored<V> {
    type Output = BufResult<usize, V>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let count = self.bufs.buf_count();
        if count > MAX_IOVECS {
            // A part of it would be another datagram.
            return Err(libc::EMSGSIZE);
        }
        let iovecs = outgoing(&self.bufs, count, arena);
        *sqe = send_message(self.fd, iovecs, count, self.to, arena);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> Self::Output {
        (cqe.ok().map(|count| count as usize), self.bufs)
    }

    fn lane(&self) -> Lane {
        Lane::Send
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        let fate = match cqe.result {
            _ if cqe.cancelled() => Err(libc::ECANCELED),
            count if count >= 0 => Ok(count as usize),
            error => Err(-error),
        };
        Left::Written { fate, last_step: None }
    }
}

/// `IORING_OP_RECVMSG`: `recvmsg(2)` of one datagram into several buffers. One that arrives after the future was dropped is
/// given to the next receive.
#[doc(alias = "IORING_OP_RECVMSG")]
pub struct RecvMsgVectored<V, R> {
    fd: RawFd,
    bufs: V,
    done: usize,
    in_kernel: bool,
    cell: Lent,
    salvaged: Option<Box<Datagram>>,
    _gives: PhantomData<fn() -> R>,
}

impl<V: std::fmt::Debug, R> std::fmt::Debug for RecvMsgVectored<V, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvMsgVectored").field("fd", &self.fd).field("bufs", &self.bufs).finish_non_exhaustive()
    }
}

impl<V: IoVecBufMut, R: Receives> RecvMsgVectored<V, R> {
    pub(crate) fn new(fd: RawFd, bufs: V) -> RecvMsgVectored<V, R> {
        let cell = Lent::default();
        RecvMsgVectored { fd, bufs, done: 0, in_kernel: false, cell, salvaged: None, _gives: PhantomData }
    }

    fn count(&self) -> usize {
        self.bufs.buf_count().min(MAX_IOVECS)
    }

    fn details(&self) -> (Option<RawAddress>, i32, Control<&[u8]>) {
        match &self.cell.0 {
            Some(cell) => (Some(cell.name()), cell.flags(), Control::new(cell.control())),
            None => (None, 0, Control::new(&[][..])),
        }
    }
}

impl<V, R> Sealed for RecvMsgVectored<V, R> {}

// SAFETY: the entry points to the cell, which is on the heap. That points to itself, and to iovecs in the arena, which are
// read while the entry is taken; what those point to is inside the buffers, which `IoVecBufMut` promises to stay put while it
// is moved.
unsafe impl<V: IoVecBufMut, R: Receives> Op for RecvMsgVectored<V, R> {
    type Output = BufResult<R::Output, V>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        let (count, mut total) = (self.count(), 0usize);
        let parts = arena.array(count, |index| {
            let (base, len) = self.bufs.window_mut(index);
            total = total.saturating_add(len);
            libc::iovec { iov_base: base.cast(), iov_len: len }
        });
        if total == 0 {
            return Err(libc::EINVAL);
        }
        let header = self.cell.get(arena).arm_receive_vectored(parts, count, R::CONTROL_BYTES);
        *sqe = Sqe::new(io_uring::opcode::RecvMsg::CODE).fd(self.fd).addr(header).len(1);
        self.in_kernel = true;
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // Called back to see what another has left, perhaps: see `RecvMsg`.
        if std::mem::take(&mut self.in_kernel) && cqe.cancelled() || cqe.interrupted() {
            return Next::Again;
        }
        self.done = cqe.result.max(0) as usize;
        Next::Done(cqe)
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let refused = (0..self.count()).all(|index| self.bufs.window_mut(index).1 == 0);
        // SAFETY: the kernel (or salvage) has filled the buffers in order with so many bytes.
        unsafe { self.bufs.set_filled(self.done) };
        if let Err(error) = cqe.ok() {
            let reason = "a datagram into buffers without capacity: reserve some";
            let error = if refused { io::Error::new(io::ErrorKind::InvalidInput, reason) } else { error };
            return (Err(error), self.bufs);
        }
        let mut salvaged = self.salvaged.take();
        let (from, flags, control) = match &mut salvaged {
            Some(datagram) => (datagram.from, datagram.flags, datagram.control.hand_over()),
            None => self.details(),
        };
        let output = Details::new(self.fd, self.done, from, flags, control).give::<R>();
        (output, self.bufs)
    }

    fn lane(&self) -> Lane {
        Lane::Datagram
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        if cqe.cancelled() {
            return Left::Nothing;
        }
        if cqe.result < 0 {
            return Left::Received(vec![Item::Error(-cqe.result)]);
        }
        if let Some(datagram) = self.salvaged.take() {
            return Left::Received(vec![Item::Datagram(datagram)]);
        }
        let mut bytes = Vec::with_capacity(self.done);
        for index in 0..self.count() {
            let (base, len) = self.bufs.window_mut(index);
            let count = len.min(self.done - bytes.len());
            // SAFETY: the kernel has filled the buffers in order with `done` bytes in all.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(base, count) });
        }
        let (from, flags, control) = self.details();
        let control = control.into_boxed();
        Left::Received(vec![Item::Datagram(Box::new(Datagram { bytes, from, flags, control }))])
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        if (0..self.count()).all(|index| self.bufs.window_mut(index).1 == 0) {
            return Some(Cqe::of(-libc::EINVAL));
        }
        let mut datagram = match salvage.take_datagram(false)? {
            Ok(datagram) => datagram,
            Err(errno) => return Some(Cqe::of(-errno)),
        };
        let mut rest = &datagram.bytes[..];
        for index in 0..self.count() {
            let (base, len) = self.bufs.window_mut(index);
            let (head, tail) = rest.split_at(len.min(rest.len()));
            // SAFETY: the window is ours to write, `head` is at most as long and lies elsewhere.
            unsafe { std::ptr::copy_nonoverlapping(head.as_ptr(), base, head.len()) };
            rest = tail;
        }
        let count = datagram.bytes.len() - rest.len();
        if !rest.is_empty() {
            datagram.flags |= libc::MSG_TRUNC;
        }
        self.salvaged = Some(Box::new(datagram));
        Some(Cqe::of(count as i32))
    }
}
