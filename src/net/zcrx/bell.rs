//! How a loop that sleeps learns that the ring of a receive queue has something to do.
//!
//! That ring has to defer its completions (`IORING_SETUP_DEFER_TASKRUN`), so that of data that come it tells by its eventfd only; and
//! kernels tell by that late, or once and never again (`docs/kernels.md`). The sockets themselves are prompt. So the loop waits for an epoll
//! of all of them, and of the eventfd, which stays for what they cannot tell: that data came a moment before the ring knew of them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::fd::Fd;
use crate::op::{Operation, PollAdd};
use crate::ring::CardRing;
use crate::sys;

/// What events of the eventfd are told with.
const EVENTFD: u64 = 0;
const SOCKET: u64 = 1;

pub(super) struct Bell {
    epoll: Fd,
    eventfd: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let (epoll, eventfd) = (sys::epoll::epoll()?, sys::eventfd()?);
        sys::epoll::watch(epoll.as_raw_fd(), eventfd.as_raw_fd(), EVENTFD)?;
        Ok(Bell { epoll: Fd::new(epoll), eventfd })
    }

    /// The eventfd that the ring has to signal.
    pub(super) fn eventfd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Rings for what comes to this socket, too.
    pub(super) fn watch(&self, socket: RawFd) {
        // If there is no memory for that, the eventfd tells of it, later.
        let _ = sys::epoll::watch(self.epoll.raw(), socket, SOCKET);
    }

    /// Ready when it rings.
    pub(super) fn rings(&self) -> Operation<'_, PollAdd> {
        Operation::on(&self.epoll, PollAdd::new(self.epoll.raw(), libc::POLLIN))
    }

    /// Stops ringing, before the ring is looked at: what comes afterwards rings again.
    pub(super) fn quiet(&self, ring: &CardRing) -> io::Result<()> {
        let mut of_eventfd = false;
        sys::epoll::take_events(self.epoll.raw(), |number| of_eventfd |= number == EVENTFD);
        // It may not be told of anything by this registration any more.
        if of_eventfd { ring.signal_anew(self.eventfd()) } else { Ok(()) }
    }
}
