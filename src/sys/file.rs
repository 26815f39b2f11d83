//! Calls on an open file. Those that say nothing else may block, so they are made on the blocking pool.

use std::ffi::CStr;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use super::{check, own};

/// Bytes of a page of memory. Does not block.
pub(crate) fn page_size() -> usize {
    // SAFETY: no memory is passed.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("every system has pages")
}

/// `memfd_create(2)`, closed on exec. Does not block.
pub(crate) fn memfd(name: &CStr, flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: a string that lives over the call is passed.
    check(unsafe { libc::memfd_create(name.as_ptr(), flags | libc::MFD_CLOEXEC) }).map(own)
}

/// `fcntl(F_ADD_SEALS)`. Does not block.
pub(crate) fn add_seals(fd: RawFd, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, seals) }).map(drop)
}

/// `fcntl(F_GET_SEALS)`. Does not block.
pub(crate) fn seals(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_GET_SEALS) })
}

/// Gives an open file a name: `linkat(2)`, by way of `/proc`, or without that where it is not mounted.
pub(crate) fn link_open_file(file: RawFd, within: RawFd, path: &CStr) -> io::Result<()> {
    let number = std::ffi::CString::new(format!("/proc/self/fd/{file}"))?;
    let link = |from: RawFd, name: &CStr, flags| {
        // SAFETY: strings that live over the call are passed.
        check(unsafe { libc::linkat(from, name.as_ptr(), within, path.as_ptr(), flags) }).map(drop)
    };
    match link(libc::AT_FDCWD, &number, libc::AT_SYMLINK_FOLLOW) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            link(file, c"", libc::AT_EMPTY_PATH).map_err(|_| error)
        }
        result => result,
    }
}

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

/// What is known of a regular file.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) len: u64,
    /// It is on a tmpfs or a memfd: to read it is to copy memory.
    pub(crate) in_memory: bool,
}

/// How long a regular file is, as far as this system knows without asking another one: `statx(2)` with `AT_STATX_DONT_SYNC`,
/// which waits for no network and no server. `None` if it is no regular file, or not known.
pub(crate) fn known(fd: RawFd) -> Option<Known> {
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut answer: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let wanted = libc::STATX_TYPE | libc::STATX_SIZE;
    // SAFETY: an empty path that is static, and a structure that lives over the call and is of the size that the call writes.
    let result = unsafe { libc::syscall(libc::SYS_statx, fd, c"".as_ptr(), flags, wanted, &raw mut answer) };
    let known = result == 0 && answer.stx_mask & wanted == wanted;
    let is_regular = u32::from(answer.stx_mode) & libc::S_IFMT == libc::S_IFREG;
    // Files in memory have seals. Those that a device has, or that could be compressed, are none, which spares most others the call.
    let maybe = answer.stx_dev_major == 0 && answer.stx_attributes_mask & libc::STATX_ATTR_COMPRESSED as u64 == 0;
    (known && is_regular).then(|| Known { len: answer.stx_size, in_memory: maybe && seals(fd).is_ok() })
}
