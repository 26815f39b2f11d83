//! One descriptor that becomes readable when anything happens to one of many (`epoll(7)`), each event once.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::{check, own};

/// How many events are taken at once.
const EVENTS: usize = 64;

pub(crate) fn epoll() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(own)
}

/// Adds a descriptor, whose events (bytes to read, or the end of them) are told with this number. It goes when its file is closed.
pub(crate) fn watch(epoll: RawFd, fd: RawFd, number: u64) -> io::Result<()> {
    let mut event =
        libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32, u64: number };
    // SAFETY: the event lives over the call.
    match check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done.map(drop),
    }
}

/// Takes all events, so that it is not readable any more before the next. Does not block.
pub(crate) fn take_events(epoll: RawFd, mut each: impl FnMut(u64)) {
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        // SAFETY: the kernel writes so many entries at most, and they live over the call.
        let taken = check(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as i32, 0) });
        let taken = taken.map_or(0, |taken| taken as usize);
        events[..taken].iter().for_each(|event| each(event.u64));
        if taken < EVENTS {
            return;
        }
    }
}
