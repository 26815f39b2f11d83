//! Directories and what lies in them. All of these may block, so they are made on the blocking pool.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use super::{check, own};

/// Opens a directory, by a path or by a name in an open directory, and follows no link at its end: one that was put there
/// meanwhile is `ENOTDIR` or `ELOOP`.
pub(crate) fn open_directory(within: RawFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    loop {
        // SAFETY: a string that lives over the call is passed.
        match check(unsafe { libc::openat(within, name.as_ptr(), flags) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(own),
        }
    }
}

/// Creates a file for reading and writing that must not be there yet: `openat(2)`.
pub(crate) fn create_new_at(within: RawFd, name: &CStr, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_LARGEFILE;
    // SAFETY: a string that lives over the call is passed.
    check(unsafe { libc::openat(within, name.as_ptr(), flags, mode) }).map(own)
}

/// `rename(2)`.
pub(crate) fn rename(from: &CStr, to: &CStr) -> io::Result<()> {
    // SAFETY: strings that live over the call are passed.
    check(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) }).map(drop)
}

/// `unlinkat(2)`: `flags` are 0 or `AT_REMOVEDIR`.
pub(crate) fn unlink_at(within: RawFd, name: &CStr, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: a string that lives over the call is passed.
    check(unsafe { libc::unlinkat(within, name.as_ptr(), flags) }).map(drop)
}

/// Whether a path leads to a symbolic link: `fstatat(2)`.
pub(crate) fn is_link_at(within: RawFd, path: &CStr) -> io::Result<bool> {
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut status: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: a string and a structure that live over the call are passed.
    check(unsafe { libc::fstatat64(within, path.as_ptr(), &raw mut status, libc::AT_SYMLINK_NOFOLLOW) })?;
    Ok(status.st_mode & libc::S_IFMT == libc::S_IFLNK)
}

/// `readlinkat(2)`.
pub(crate) fn read_link_at(within: RawFd, path: &CStr) -> io::Result<OsString> {
    let mut target = Vec::<u8>::with_capacity(256);
    loop {
        // SAFETY: a string that lives over the call is passed, and the kernel writes at most as much as there is room.
        let len = unsafe { libc::readlinkat(within, path.as_ptr(), target.as_mut_ptr().cast(), target.capacity()) };
        if len < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has written that many bytes.
        unsafe { target.set_len(len as usize) };
        if target.len() < target.capacity() {
            return Ok(OsString::from_vec(target));
        }
        // It may have been cut off.
        target.reserve(target.capacity() + 1);
    }
}

/// `fchmodat(2)`, of the target of a link.
pub(crate) fn set_mode_at(within: RawFd, path: &CStr, mode: u32) -> io::Result<()> {
    // SAFETY: a string that lives over the call is passed.
    check(unsafe { libc::fchmodat(within, path.as_ptr(), mode as libc::mode_t, 0) }).map(drop)
}

/// `fchownat(2)`; `None` leaves what it is.
pub(crate) fn set_owner_at(
    within: RawFd,
    path: &CStr,
    uid: Option<u32>,
    gid: Option<u32>,
    flags: libc::c_int,
) -> io::Result<()> {
    let [uid, gid] = [uid, gid].map(|id| id.unwrap_or(u32::MAX));
    // SAFETY: a string that lives over the call is passed.
    check(unsafe { libc::fchownat(within, path.as_ptr(), uid, gid, flags) }).map(drop)
}

/// What is read of a directory at once: what glibc asks for.
const BATCH_BYTES: usize = 32 * 1024;

/// Some entries of a directory, as `getdents64(2)` gives them: see [`entry`].
#[derive(Debug, Default)]
pub(crate) struct Entries {
    bytes: Vec<u8>,
    at: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub ino: u64,
    /// What kind of file it is (`S_IFMT`); 0 where the file system does not tell.
    pub format: u32,
    pub name: &'a CStr,
}

impl Entries {
    /// Reads the next ones, in place of those that are here. At the end there are none.
    pub(crate) fn fetch(&mut self, directory: RawFd) -> io::Result<()> {
        self.at = 0;
        self.bytes.clear();
        self.bytes.reserve_exact(BATCH_BYTES);
        // SAFETY: the kernel writes at most so many bytes into the vector's spare room.
        let result = unsafe { libc::syscall(libc::SYS_getdents64, directory, self.bytes.as_mut_ptr(), BATCH_BYTES) };
        if result < 0 {
            let error = io::Error::last_os_error();
            // A directory that was removed has no more entries: for POSIX, and glibc, that is the end.
            return if error.raw_os_error() == Some(libc::ENOENT) { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel has written that many.
        unsafe { self.bytes.set_len(result as usize) };
        Ok(())
    }

    /// Those that are in these bytes.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn of(bytes: Vec<u8>) -> Entries {
        Entries { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next one of those that are here; the directory itself and the one above are passed over.
    pub(crate) fn next(&mut self) -> Option<Entry<'_>> {
        loop {
            let (start, end) = (self.at, self.at + record_len(self.bytes.get(self.at..)?)?);
            self.at = end;
            let Some(Entry { name, .. }) = entry(&self.bytes[start..end]) else {
                // What lies behind is no better known.
                self.at = self.bytes.len();
                return None;
            };
            if name != c"." && name != c".." {
                // Looked up once more: a loop cannot give a borrow away and keep it.
                return entry(&self.bytes[start..end]);
            }
        }
    }
}

// Where the parts of a `struct linux_dirent64` lie.
const RECORD_LEN: usize = 16;
const KIND: usize = 18;
const NAME: usize = 19;

fn record_len(bytes: &[u8]) -> Option<usize> {
    let len = usize::from(u16::from_ne_bytes(bytes.get(RECORD_LEN..RECORD_LEN + 2)?.try_into().ok()?));
    (NAME < len && len <= bytes.len()).then_some(len)
}

/// Reads one record.
fn entry(record: &[u8]) -> Option<Entry<'_>> {
    let ino = u64::from_ne_bytes(record.get(..8)?.try_into().ok()?);
    // `DT_*` is the kind of file without the shift that makes it `S_IF*`.
    let format = u32::from(*record.get(KIND)?) << 12;
    Some(Entry { ino, format, name: CStr::from_bytes_until_nul(record.get(NAME..)?).ok()? })
}

/// `ioctl(FICLONE)`: has a file share the content of another, on file systems that can.
pub(crate) fn clone_content(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::ioctl(to, libc::FICLONE as _, from) }).map(drop)
}

/// `utimensat(2)`, `futimens(3)`: times of what a path names, or of an open file; a time is seconds and nanoseconds since the epoch, and
/// none is left as it is.
pub(crate) fn set_times(fd: RawFd, path: Option<&CStr>, times: [Option<(i64, u32)>; 2], flags: i32) -> io::Result<()> {
    let times = times.map(|time| {
        let (seconds, nanoseconds) = time.map_or((0, libc::UTIME_OMIT), |(s, ns)| (s, ns.into()));
        // SAFETY: the structure is plain numbers, for which zero is valid.
        let mut spec: libc::timespec = unsafe { std::mem::zeroed() };
        spec.tv_sec = seconds as _;
        spec.tv_nsec = nanoseconds;
        spec
    });
    let result = match path {
        // SAFETY: a string and two structures that live over the call are passed.
        Some(path) => unsafe { libc::utimensat(fd, path.as_ptr(), times.as_ptr(), flags) },
        // SAFETY: two structures that live over the call are passed.
        None => unsafe { libc::futimens(fd, times.as_ptr()) },
    };
    check(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_and_broken_ones_end_the_batch() {
        let mut bytes = Vec::new();
        for (ino, kind, name) in
            [(7u64, 4u8, &b"."[..]), (1, 4, b".."), (9, 8, b"\xff\xfe"), (u64::MAX, 0, b"long name")]
        {
            let len = (NAME + name.len() + 1).next_multiple_of(8);
            let start = bytes.len();
            bytes.extend_from_slice(&ino.to_ne_bytes());
            bytes.extend_from_slice(&[0xff; 8]);
            bytes.extend_from_slice(&(len as u16).to_ne_bytes());
            bytes.push(kind);
            bytes.extend_from_slice(name);
            bytes.resize(start + len, 0);
        }
        let whole = bytes.len();
        let mut entries = Entries::of(bytes);
        assert_eq!(entries.next(), Some(Entry { ino: 9, format: libc::S_IFREG, name: c"\xff\xfe" }));
        assert_eq!(entries.next(), Some(Entry { ino: u64::MAX, format: 0, name: c"long name" }));
        assert_eq!(entries.next(), None);
        assert_eq!(entries.next(), None);
        for len in 0..whole {
            let mut entries = Entries::of(entries.bytes[..len].to_vec());
            while entries.next().is_some() {}
        }
    }
}
