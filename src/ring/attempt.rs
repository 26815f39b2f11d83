//! A datagram that would be handed over alone is moved by the system call that its entry stands for.
//!
//! To enter the ring for one entry costs more than that call: a request is made, and completed by way of the queue. Where others
//! go with it, or something waits to be reaped, the ring is better. So it is an attempt for turns with nothing else to do, and
//! their one call of the kernel. What cannot be done without waiting goes to the ring as ever.
//!
//! Datagrams only: of a stream the kernel may take a part, and goes on by itself in the ring.

use super::{Cqe, Uring};
use crate::sys::{self, MessageCall};
use io_uring::opcode;

/// `IORING_RECVSEND_POLL_FIRST`: the kernel need not try, for that was in vain just now.
const POLL_FIRST: u16 = 1 << 0;

/// So many receives in a row that are left to the ring after attempts in vain, at most.
const MOST_SKIPPED: u8 = 32;

/// Whether it is worth it to look for a message before waiting for one. With one peer that answers it never is.
#[derive(Default)]
pub(super) struct Luck {
    /// How many receives go to the ring before the next attempt.
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
    /// Does what the one entry that is staged asks for, if it is the datagram at this place, and if nothing has to be waited for.
    /// The entry is gone then: gives its `user_data` and what the kernel said.
    #[inline(never)]
    pub(crate) fn attempt(&mut self, place: usize) -> Option<(u64, Cqe)> {
        let alone = self.tail.wrapping_sub(self.head) == 1 && self.published == self.head;
        if !alone || self.detours || self.has_completions() || self.last_staged().place() != place {
            return None;
        }
        let sqe = self.last_staged();
        // It has a place in the table, say.
        let plain = sqe.flags == 0 && sqe.ioprio == 0 && sqe.buf_index == 0;
        let (call, receives) = match sqe.opcode {
            _ if !plain => return None,
            opcode::Send::CODE => (MessageCall::Send { to: sqe.offset, to_len: sqe.address_len() }, false),
            opcode::SendMsg::CODE => (MessageCall::SendMsg, false),
            opcode::Recv::CODE => (MessageCall::Recv, true),
            opcode::RecvMsg::CODE => (MessageCall::RecvMsg, true),
            _ => return None,
        };
        let (fd, addr, len, flags, user_data) = (sqe.fd, sqe.addr, sqe.len, sqe.op_flags, sqe.user_data);
        if receives && self.luck.is_out() {
            return None;
        }
        // SAFETY: what a staged entry points to is valid until its completion: that is the promise of `Op`, and of the arena.
        // The kernel does no more with it than it would with the entry, and does not wait.
        let result = unsafe { sys::message_now(call, fd, addr, len, flags) };
        let waits = matches!(-result, libc::EAGAIN | libc::EINTR);
        if receives {
            self.luck.note(!waits);
        }
        if waits {
            if receives && result == -libc::EAGAIN {
                self.last_staged().ioprio |= POLL_FIRST;
            }
            return None;
        }
        self.take_back(1);
        Some((user_data, Cqe { result, flags: 0 }))
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
