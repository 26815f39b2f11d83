//! Locks on files. None of these waits for whoever holds one, but a network file system may ask its server: they are made on
//! the blocking pool.

use std::io;
use std::os::fd::RawFd;

use super::check;

/// What of a file a lock is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it, `flock(2)`.
    Whole,
    /// Some bytes, `fcntl(2)` with `F_OFD_SETLK`; a length of 0 reaches to the end, wherever that is.
    Bytes { start: i64, len: i64 },
}

/// What is asked of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Shared,
    Exclusive,
    Release,
}

/// A lock that keeps another from being had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub exclusive: bool,
    pub start: i64,
    pub len: i64,
    /// -1 where an open file holds it, and not a process.
    pub pid: i32,
}

/// Takes, changes or releases a lock. Tells whether it did; if not, somebody else holds one.
pub(crate) fn lock(fd: RawFd, extent: Extent, ask: Ask) -> io::Result<bool> {
    loop {
        let result = match extent {
            Extent::Whole => {
                let operation = match ask {
                    Ask::Shared => libc::LOCK_SH,
                    Ask::Exclusive => libc::LOCK_EX,
                    Ask::Release => libc::LOCK_UN,
                };
                // SAFETY: no memory is passed; a bad number gives EBADF.
                check(unsafe { libc::flock(fd, operation | libc::LOCK_NB) })
            }
            Extent::Bytes { start, len } => {
                let request = request(ask, start, len);
                // SAFETY: a structure that lives over the call is passed.
                check(unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &raw const request) })
            }
        };
        return match result {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => continue,
                Some(libc::EAGAIN) => Ok(false),
                // Also what POSIX allows for a lock that is held.
                Some(libc::EACCES) if extent != Extent::Whole => Ok(false),
                _ => Err(error),
            },
        };
    }
}

/// The first lock that is in the way of this one; `fcntl(2)` with `F_OFD_GETLK`.
pub(crate) fn holder(fd: RawFd, ask: Ask, start: i64, len: i64) -> io::Result<Option<Holder>> {
    let mut request = request(ask, start, len);
    // SAFETY: a structure that lives over the call is passed, and the kernel writes no more than that.
    check(unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &raw mut request) })?;
    if request.l_type == libc::F_UNLCK as libc::c_short {
        return Ok(None);
    }
    let exclusive = request.l_type == libc::F_WRLCK as libc::c_short;
    Ok(Some(Holder { exclusive, start: request.l_start, len: request.l_len, pid: request.l_pid }))
}

fn request(ask: Ask, start: i64, len: i64) -> libc::flock {
    // SAFETY: the structure is plain numbers, for which zero is valid; open file locks want the process to be 0.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = match ask {
        Ask::Shared => libc::F_RDLCK,
        Ask::Exclusive => libc::F_WRLCK,
        Ask::Release => libc::F_UNLCK,
    } as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = start;
    request.l_len = len;
    request
}
