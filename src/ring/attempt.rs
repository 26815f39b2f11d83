//! A datagram, or a read of a file, that would be handed over alone is made by the system call that its entry stands for.
//!
//! To enter the ring for one entry costs more than that call: a request is made, and completed by way of the queue. Where others
//! go with it, or something waits to be reaped, the ring is better. So it is an attempt for turns with nothing else to do, and
//! their one call of the kernel. What cannot be done without waiting goes to the ring as ever.
//!
//! No streams: of one the kernel may take a part, and goes on by itself in the ring. No reads past the page cache (`O_DIRECT`), which would
//! wait for the device though they say that they do not.

use std::os::fd::RawFd;

use super::sqe::FIXED_FILE;
use super::{Cqe, Sqe, Uring};
use crate::sys::{self, MessageCall};
use io_uring::opcode;

/// `IORING_RECVSEND_POLL_FIRST`: the kernel need not try, for that was in vain just now.
const POLL_FIRST: u16 = 1 << 0;

/// So many receives, or reads, in a row that are left to the ring after attempts in vain, at most.
const MOST_SKIPPED: u8 = 32;

/// So many bytes the kernel copies into a registered buffer so much faster than into other memory that the ring is the better way.
const LARGE_FIXED: u32 = 8 << 10;

/// Whether it is worth it to look for a message before waiting for one; with one peer that answers it never is. Or for what a file
/// holds, which may be in no cache.
#[derive(Default)]
pub(super) struct Luck {
    /// How many go to the ring before the next attempt.
    left: u8,
    /// And how many after that, if it is in vain, too.
    next: u8,
}

impl Luck {
    fn is_out(&mut self) -> bool {
        self.left = match self.left.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }

    fn note(&mut self, came: bool) {
        if came {
            self.next = 0;
        } else {
            self.next = (2 * self.next).clamp(1, MOST_SKIPPED);
            self.left = self.next;
        }
    }
}

impl Uring {
    /// Does what the one entry that is staged asks for, if it is the one at this place, and if nothing has to be waited for. A read
    /// is of this file.
    /// The entry is gone then: gives its `user_data` and what the kernel said.
    #[inline(never)]
    pub(crate) fn attempt(&mut self, place: usize, file: RawFd) -> Option<(u64, Cqe)> {
        let alone = self.tail.wrapping_sub(self.head) == 1 && self.published == self.head;
        if !alone || self.detours || self.has_completions() || self.last_staged().place() != place {
            return None;
        }
        let sqe = self.last_staged();
        let (user_data, flags) = (sqe.user_data, sqe.flags);
        let result = match sqe.opcode {
            _ if sqe.ioprio != 0 => return None,
            opcode::ReadFixed::CODE if sqe.len > LARGE_FIXED => return None,
            opcode::Read::CODE | opcode::ReadFixed::CODE if flags & !FIXED_FILE == 0 => self.attempt_read(file)?,
            // If it has a place in the table, its number is not here.
            _ if flags == 0 && sqe.buf_index == 0 => self.attempt_message()?,
            _ => return None,
        };
        self.take_back(1);
        Some((user_data, Cqe { result, flags: 0 }))
    }

    fn attempt_message(&mut self) -> Option<i32> {
        let sqe = self.last_staged();
        let (call, receives) = match sqe.opcode {
            opcode::Send::CODE => (MessageCall::Send { to: sqe.offset, to_len: sqe.address_len() }, false),
            opcode::SendMsg::CODE => (MessageCall::SendMsg, false),
            opcode::Recv::CODE => (MessageCall::Recv, true),
            opcode::RecvMsg::CODE => (MessageCall::RecvMsg, true),
            _ => return None,
        };
        let Sqe { fd, addr, len, op_flags, .. } = *sqe;
        if receives && self.luck.is_out() {
            return None;
        }
        // SAFETY: what a staged entry points to is valid until its completion: that is the promise of `Op`, and of the arena.
        // The kernel does no more with it than it would with the entry, and does not wait.
        let result = unsafe { sys::message_now(call, fd, addr, len, op_flags) };
        let waits = matches!(-result, libc::EAGAIN | libc::EINTR);
        if receives {
            self.luck.note(!waits);
        }
        if !waits {
            return Some(result);
        }
        if receives && result == -libc::EAGAIN {
            self.last_staged().ioprio |= POLL_FIRST;
        }
        None
    }

    /// Reads what is in the page cache. Less than was asked for may be the end or what is there without waiting; that is for the ring to
    /// find out, as is what went wrong. A file in memory has no device to wait for, and what is missing there is its end; but its
    /// file system does not say so, and the ring would have it read by a thread of the kernel's. (It may be swapped out, as the
    /// memory may be that it is read into.)
    fn attempt_read(&mut self, fd: RawFd) -> Option<i32> {
        let Sqe { addr, len, offset, op_flags, .. } = *self.last_staged();
        // Not at the file's position: a read that is made again by the ring must not have moved it. And none that is told how to read.
        let offset = i64::try_from(offset).ok().filter(|_| op_flags == 0)?;
        if self.luck_of_reads.is_out() {
            return None;
        }
        // SAFETY: as above: the entry is staged, so its buffer may be written to. A registered buffer is memory like any other.
        let read = |flags| unsafe { sys::read_to(fd, addr as *mut u8, len as usize, offset, flags) };
        let came = match read(libc::RWF_NOWAIT) {
            Ok(count) => Some(count).filter(|&count| count == len as usize),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && sys::seals(fd).is_ok() => read(0).ok(),
            Err(_) => None,
        };
        self.luck_of_reads.note(came.is_some());
        came.map(|count| count as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_in_vain_are_tried_ever_more_rarely() {
        let mut luck = Luck::default();
        let mut tried = Vec::new();
        for receive in 0..200 {
            if !luck.is_out() {
                tried.push(receive);
                luck.note(false);
            }
        }
        assert_eq!(tried, [0, 2, 5, 10, 19, 36, 69, 102, 135, 168]);
        while luck.is_out() {}
        luck.note(true);
        assert!(!luck.is_out() && !luck.is_out(), "as long as it lasts");
    }
}
