//! Extended attributes, as far as the ring does not have them. All of these may block, so they are made on the blocking pool.

use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use super::check;

/// What has the attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bearer<'a> {
    /// What a path names; the target if that is a link.
    Path(&'a CStr),
    /// What a path names; a link itself.
    Link(&'a CStr),
    File(RawFd),
}

fn count(result: isize) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// The names, each with a NUL behind it, as many as there is room for; without room, how long they are.
pub(crate) fn list_xattrs(of: Bearer<'_>, names: &mut Vec<u8>) -> io::Result<usize> {
    names.clear();
    let (start, room) = (names.as_mut_ptr().cast(), names.capacity());
    // SAFETY: a string that lives over the call is passed, and the kernel writes at most as many bytes as there is room.
    let result = unsafe {
        match of {
            Bearer::Path(path) => libc::listxattr(path.as_ptr(), start, room),
            Bearer::Link(path) => libc::llistxattr(path.as_ptr(), start, room),
            Bearer::File(fd) => libc::flistxattr(fd, start, room),
        }
    };
    let len = count(result)?;
    if len <= room {
        // SAFETY: the kernel has written that many.
        unsafe { names.set_len(len) };
    }
    Ok(len)
}

/// A value, as [`list_xattrs`].
pub(crate) fn get_xattr(of: Bearer<'_>, name: &CStr, value: &mut Vec<u8>) -> io::Result<usize> {
    value.clear();
    let (name, start, room) = (name.as_ptr(), value.as_mut_ptr().cast(), value.capacity());
    // SAFETY: strings that live over the call are passed, and the kernel writes at most as many bytes as there is room.
    let result = unsafe {
        match of {
            Bearer::Path(path) => libc::getxattr(path.as_ptr(), name, start, room),
            Bearer::Link(path) => libc::lgetxattr(path.as_ptr(), name, start, room),
            Bearer::File(fd) => libc::fgetxattr(fd, name, start, room),
        }
    };
    let len = count(result)?;
    if len <= room {
        // SAFETY: the kernel has written that many.
        unsafe { value.set_len(len) };
    }
    Ok(len)
}

/// `flags` are 0, `XATTR_CREATE` or `XATTR_REPLACE`.
pub(crate) fn set_xattr(of: Bearer<'_>, name: &CStr, value: &[u8], flags: libc::c_int) -> io::Result<()> {
    let (name, start, len) = (name.as_ptr(), value.as_ptr().cast(), value.len());
    // SAFETY: strings and bytes that live over the call are passed, with the length of these.
    check(unsafe {
        match of {
            Bearer::Path(path) => libc::setxattr(path.as_ptr(), name, start, len, flags),
            Bearer::Link(path) => libc::lsetxattr(path.as_ptr(), name, start, len, flags),
            Bearer::File(fd) => libc::fsetxattr(fd, name, start, len, flags),
        }
    })
    .map(drop)
}

pub(crate) fn remove_xattr(of: Bearer<'_>, name: &CStr) -> io::Result<()> {
    let name = name.as_ptr();
    // SAFETY: strings that live over the call are passed.
    check(unsafe {
        match of {
            Bearer::Path(path) => libc::removexattr(path.as_ptr(), name),
            Bearer::Link(path) => libc::lremovexattr(path.as_ptr(), name),
            Bearer::File(fd) => libc::fremovexattr(fd, name),
        }
    })
    .map(drop)
}
