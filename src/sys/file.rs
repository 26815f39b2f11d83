//! Calls on an open file. All of these may block, so they are made on the blocking pool.

use std::io;
use std::os::fd::RawFd;

use super::check;

/// `posix_fadvise(2)`.
pub(crate) fn advise(fd: RawFd, offset: u64, len: u64, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    match unsafe { libc::posix_fadvise64(fd, offset as i64, len as i64, advice) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// `sync_file_range(2)`.
pub(crate) fn sync_range(fd: RawFd, offset: u64, len: u64, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::sync_file_range(fd, offset as i64, len as i64, flags) }).map(drop)
}
