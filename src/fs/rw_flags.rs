//! Flags of single reads and writes.

use std::ops::{BitOr, BitOrAssign};

use super::File;
use crate::buf::{IoBuf, IoBufMut, IoVecBuf, IoVecBufMut};
use crate::op::{self, All, Operation, Read, Readv, Write, Writev};

/// How one read or write is done, `RWF_*` of `preadv2(2)` and `pwritev2(2)`: for [`File::read_at_with`],
/// [`File::write_at_with`] and their kin. They can be combined with `|`.
///
/// The kernel's `RWF_HIPRI` is not among them: it is for rings that poll their devices, to which a file's transfers go
/// by [`File::set_iopoll`]; those with flags go the ordinary way.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{File, RwFlags};
/// # let file = File::from_std(tempfile::tempfile()?);
/// // On the device when it is done, without a sync_data() behind it.
/// file.write_all_at_with("committed", 0, RwFlags::DSYNC).await.0?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RwFlags(u32);

impl RwFlags {
    /// A write is done when its content, and what is needed to read that, has reached the device, as by `O_DSYNC`.
    pub const DSYNC: RwFlags = RwFlags(op::DSYNC);
    /// The same with all metadata, as by `O_SYNC`.
    pub const SYNC: RwFlags = RwFlags(op::SYNC);
    /// Does not wait for a device or a lock: `WouldBlock` if nothing could be done without, and less than asked for if only a
    /// part could. `Unsupported` on files that cannot tell.
    pub const NOWAIT: RwFlags = RwFlags(op::NOWAIT);
    /// A write goes to the end, wherever that is, and whatever the offset, as by `O_APPEND`.
    pub const APPEND: RwFlags = RwFlags(op::APPEND);
    /// A write goes to the offset, although the file is open for appending (Linux 6.9).
    pub const NOAPPEND: RwFlags = RwFlags(op::NOAPPEND);
    /// A write is found whole or not at all, also after a loss of power (Linux 6.11). Only with `O_DIRECT`, and of lengths and
    /// at offsets that [`Stat::atomic_write`](super::Stat::atomic_write) allows: `InvalidInput` otherwise.
    pub const ATOMIC: RwFlags = RwFlags(op::ATOMIC);
    /// What is read or written does not stay in the cache (Linux 6.14).
    pub const DONTCACHE: RwFlags = RwFlags(op::DONTCACHE);

    /// Whether all of the other's are among these.
    pub const fn contains(self, other: RwFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for RwFlags {
    type Output = RwFlags;

    fn bitor(self, other: RwFlags) -> RwFlags {
        RwFlags(self.0 | other.0)
    }
}

impl BitOrAssign for RwFlags {
    fn bitor_assign(&mut self, other: RwFlags) {
        *self = *self | other;
    }
}

/// # Reading and writing at an offset, with flags
///
/// As the methods without `_with`, also for what a drop does. Flags that the kernel or the file system does not know are
/// `Unsupported`, with the release that has them.
impl File {
    /// As [`read_at`](File::read_at).
    ///
    /// # Errors
    /// As [`read_at`](File::read_at), and those of [`RwFlags`].
    pub fn read_at_with<B: IoBufMut>(&self, buf: B, offset: u64, flags: RwFlags) -> Operation<'_, Read<B>> {
        Operation::on(&self.fd, Read::at(self.fd.raw(), buf, self.offset(offset)).with_flags(flags.0))
    }

    /// As [`read_exact_at`](File::read_exact_at).
    ///
    /// # Errors
    /// As [`read_exact_at`](File::read_exact_at), and those of [`RwFlags`].
    pub fn read_exact_at_with<B: IoBufMut>(
        &self,
        buf: B,
        len: usize,
        offset: u64,
        flags: RwFlags,
    ) -> Operation<'_, Read<B>> {
        Operation::on(&self.fd, Read::exact_at(self.fd.raw(), buf, len, self.offset(offset)).with_flags(flags.0))
    }

    /// As [`read_vectored_at`](File::read_vectored_at).
    ///
    /// # Errors
    /// As [`read_vectored_at`](File::read_vectored_at), and those of [`RwFlags`].
    pub fn read_vectored_at_with<V: IoVecBufMut>(
        &self,
        bufs: V,
        offset: u64,
        flags: RwFlags,
    ) -> Operation<'_, Readv<V>> {
        let read = Readv::new(self.fd.raw(), bufs, op::Place::File(self.offset(offset)));
        Operation::on(&self.fd, read.with_flags(flags.0))
    }

    /// As [`write_at`](File::write_at).
    ///
    /// # Errors
    /// As [`write_at`](File::write_at), and those of [`RwFlags`].
    pub fn write_at_with<B: IoBuf>(&self, buf: B, offset: u64, flags: RwFlags) -> Operation<'_, Write<B>> {
        Operation::on(&self.fd, Write::at(self.fd.raw(), buf, self.offset(offset)).with_flags(flags.0))
    }

    /// As [`write_all_at`](File::write_all_at).
    ///
    /// # Errors
    /// As [`write_all_at`](File::write_all_at), and those of [`RwFlags`].
    pub fn write_all_at_with<B: IoBuf>(&self, buf: B, offset: u64, flags: RwFlags) -> Operation<'_, All<Write<B>>> {
        Operation::on(&self.fd, Write::all_at(self.fd.raw(), buf, self.offset(offset)).with_flags(flags.0))
    }

    /// As [`write_vectored_at`](File::write_vectored_at).
    ///
    /// # Errors
    /// As [`write_vectored_at`](File::write_vectored_at), and those of [`RwFlags`].
    pub fn write_vectored_at_with<V: IoVecBuf>(
        &self,
        bufs: V,
        offset: u64,
        flags: RwFlags,
    ) -> Operation<'_, Writev<V>> {
        let write = Writev::new(self.fd.raw(), bufs, op::Place::File(self.offset(offset)));
        Operation::on(&self.fd, write.with_flags(flags.0))
    }
}
