//! The calls around a socket that do not block.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::{check, own};

/// `socketpair(2)` of the Unix family, closed on exec.
pub(crate) fn socket_pair(kind: libc::c_int) -> io::Result<(OwnedFd, OwnedFd)> {
    socket_pair_of(libc::AF_UNIX, kind, 0)
}

/// `socketpair(2)`, closed on exec.
pub(crate) fn socket_pair_of(
    domain: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [-1; 2];
    // SAFETY: two numbers that live over the call are passed, and that is how many it writes.
    check(unsafe { libc::socketpair(domain, kind | libc::SOCK_CLOEXEC, protocol, pair.as_mut_ptr()) })?;
    Ok((own(pair[0]), own(pair[1])))
}

/// Whether the receiving direction of a socket has been shut down, so that a receive that gave 0 met the end.
pub(crate) fn is_shut_for_receiving(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one structure that lives over the call is passed; with the timeout 0 it does not block.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLRDHUP != 0
}
