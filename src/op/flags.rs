//! Flags of single reads and writes: `RWF_*` of `preadv2(2)` and `pwritev2(2)`.

use std::io;
use std::mem::ManuallyDrop;

use super::Cqe;
use crate::buf::BufResult;

pub(crate) const DSYNC: u32 = 0x02;
pub(crate) const SYNC: u32 = 0x04;
pub(crate) const NOWAIT: u32 = 0x08;
pub(crate) const APPEND: u32 = 0x10;
/// Linux 6.9.
pub(crate) const NOAPPEND: u32 = 0x20;
/// Linux 6.11.
pub(crate) const ATOMIC: u32 = 0x40;
/// Linux 6.14.
pub(crate) const DONTCACHE: u32 = 0x80;

/// Whether a write goes to the end of the file, wherever that is.
pub(super) fn appends(flags: u32) -> bool {
    flags & APPEND != 0
}

/// What to say if the kernel does not know a flag, or the file system cannot do it: it does not tell which.
#[inline]
pub(super) fn unknown_flags(flags: u32, cqe: Cqe) -> Option<io::Error> {
    if flags == 0 || cqe.result != -libc::EOPNOTSUPP { None } else { explain(flags) }
}

/// The output of a transfer, with that for its error if there is something to say.
#[inline(always)]
pub(super) fn told_of_flags<B>(flags: u32, cqe: Cqe, output: BufResult<usize, B>) -> BufResult<usize, B> {
    let (result, buf) = output;
    let buf = ManuallyDrop::new(buf);
    let result = unknown_flags(flags, cqe).map_or(result, Err);
    (result, ManuallyDrop::into_inner(buf))
}

#[cold]
fn explain(flags: u32) -> Option<io::Error> {
    let reason = if flags & DONTCACHE != 0 {
        "transfers that leave nothing in the cache take Linux 6.14 and a file system that can do them"
    } else if flags & ATOMIC != 0 {
        "atomic writes take Linux 6.11, a file system and a device that can do them, and O_DIRECT"
    } else if flags & NOAPPEND != 0 {
        "writes that do not append to a file that is open for appending take Linux 6.9"
    } else {
        // What every kernel knows; the file cannot.
        return None;
    };
    Some(io::Error::new(io::ErrorKind::Unsupported, reason))
}
