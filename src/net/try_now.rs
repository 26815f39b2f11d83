//! Calls that do not wait: what is there now, or `WouldBlock`. They are direct ones, and see what dropped operations have left.

use std::io::{self, IoSlice, IoSliceMut};

use crate::fd::Fd;
use crate::op;
use crate::salvage::{Gate, Lane};
use crate::sys::{self, Address, RawAddress};

fn would_block() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

/// Whether a call of this kind may go to the kernel now; `false` if there is something to take here.
fn may_go(fd: &Fd, lane: Lane) -> io::Result<bool> {
    let Some(salvage) = fd.salvage_if_made().filter(|salvage| salvage.is_active()) else { return Ok(true) };
    match salvage.look(lane) {
        Gate::Go | Gate::Hold => Ok(true),
        Gate::Take => Ok(false),
        // What was dropped is still with the kernel.
        Gate::Wait => Err(would_block()),
        Gate::Lost => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

/// Bytes of a stream into several buffers.
pub(super) fn read(fd: &Fd, bufs: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
    if may_go(fd, Lane::Receive)? {
        let flags = if peek { libc::MSG_PEEK } else { 0 };
        return sys::recv_vectored_now(fd.raw(), bufs, flags).map(|(count, _)| count);
    }
    let salvage = fd.salvage();
    let mut total = 0;
    for buf in bufs.iter_mut().filter(|buf| !buf.is_empty()) {
        let mut taken: &mut [u8] = buf;
        let cqe = salvage.take_bytes(taken.len(), peek, &mut |bytes| {
            let (head, _) = std::mem::take(&mut taken).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
        });
        match cqe {
            Some(cqe) if total == 0 && cqe.result <= 0 => return cqe.ok().map(|count| count as usize),
            Some(cqe) => total += cqe.result as usize,
            None => break,
        }
        // The next buffer is filled only when this one is full. A peek sees the first piece only.
        if peek || !salvage.has_bytes() {
            break;
        }
    }
    Ok(total)
}

/// A datagram, and where it came from.
pub(super) fn recv_from<A: Address>(fd: &Fd, buf: &mut [u8], peek: bool) -> io::Result<(usize, A)> {
    let (count, from) = recv(fd, buf, peek)?;
    Ok((count, op::source(fd.raw(), from)?))
}

/// The same without decoding the source.
pub(super) fn recv(fd: &Fd, buf: &mut [u8], peek: bool) -> io::Result<(usize, Option<RawAddress>)> {
    if may_go(fd, Lane::Datagram)? {
        let flags = if peek { libc::MSG_PEEK } else { 0 };
        let (count, from) = sys::recv_vectored_now(fd.raw(), &mut [IoSliceMut::new(buf)], flags)?;
        return Ok((count, Some(from)));
    }
    match fd.salvage().take_datagram(peek) {
        Some(Ok(datagram)) => {
            let count = datagram.bytes.len().min(buf.len());
            buf[..count].copy_from_slice(&datagram.bytes[..count]);
            Ok((count, datagram.from))
        }
        Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
        // Another was faster.
        None => Err(would_block()),
    }
}

/// Bytes, or a datagram, from several buffers.
pub(super) fn write(fd: &Fd, bufs: &[IoSlice<'_>], to: Option<RawAddress>) -> io::Result<usize> {
    may_go(fd, Lane::Send)?;
    sys::send_vectored_to_now(fd.raw(), bufs, to)
}
