//! Other processes, as descriptors, and the words of memory by which they meet.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU32;

use super::{check, own};

/// `pidfd_open(2)`: a descriptor of a process, readable when that has ended. It is closed on exec.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::c_long, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(own(result as RawFd)) }
}

/// `kill(2)`. The caller has not waited for the process yet, so that the number is still its own.
pub(crate) fn kill(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) }).map(drop)
}

/// `poll(2)`: blocks until one of the descriptors is readable or the time has passed, if one is given.
pub(crate) fn wait_readable<'a>(fds: impl Iterator<Item = &'a OwnedFd>, timeout_ms: Option<u16>) {
    let mut polls: Vec<libc::pollfd> =
        fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let timeout_ms = timeout_ms.map_or(-1, libc::c_int::from);
    // SAFETY: so many structures that live over the call are passed.
    let result = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout_ms) };
    if result < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
        // Without memory for it, say. The caller looks again, but not at once.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// `futex(2)` with `FUTEX_WAKE`, which does not wait. How many were woken.
pub(crate) fn futex_wake(word: &AtomicU32, private: bool, most: u32) -> io::Result<usize> {
    let operation = if private { libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG } else { libc::FUTEX_WAKE };
    // SAFETY: the word lives over the call, and is not written to.
    let result = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, most) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}
