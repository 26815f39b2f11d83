//! L5: files.
//!
//! Names, options and errors are std's and tokio's. What differs is that the kernel fills and empties the buffers itself,
//! so an operation takes its buffer by value and gives it back with the result (see [`buf`](crate::buf)).
//!
//! * [`File`] reads and writes at offsets through `&self`, many operations at once, and at its position through
//!   `&mut self`, one after the other, for pipes and devices too.
//! * [`OpenOptions`] opens, with std's options and rules.
//! * [`read`], [`read_to_string`], [`write`](write()) and [`copy`](copy()) do a whole file; [`metadata`](metadata()),
//!   [`symlink_metadata`] and [`exists`] describe one, and [`set_permissions`], [`set_times`] and [`chown`] change that.
//! * [`create_dir`], [`create_dir_all`], [`DirBuilder`], [`read_dir`], [`remove_dir`] and [`remove_dir_all`] are for
//!   directories; [`Dir`] is an open one, to work with the names in it; [`rename`], [`remove_file`], [`hard_link`],
//!   [`symlink`], [`read_link`] and [`canonicalize`] are for names.
//! * [`File::lock`] and [`File::lock_range`] keep others out; [`File::allocate`], [`File::advise`] and [`File::sync_range`] are
//!   for space and caches; [`get_xattr`] and its kin for extended attributes; [`RwFlags`] for single reads and writes.
//! * [`tempfile()`] and [`NamedTempFile`] are there for a while, [`MemfdOptions`] makes files in memory.
//!
//! ```
//! # ringtoss::block_on(async {
//! use ringtoss::fs::{self, File};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes");
//!
//! let file = File::create(&path).await?;
//! let (result, _buf) = file.write_all_at("catch", 0).await;
//! result?;
//! file.sync_all().await?;
//! file.close().await?;
//!
//! assert_eq!(fs::read_to_string(&path).await?, "catch");
//! assert_eq!(fs::metadata(&path).await?.len(), 5);
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
//!
//! # What happens when an operation is dropped
//!
//! It is cancelled, and what it did nevertheless is not lost:
//!
//! * A read at an offset is forgotten; its buffer is freed when the kernel has let go of it.
//! * A read at the file's position is undone: the position goes back to where it was. Where that cannot be (pipes,
//!   terminals), the bytes come out of the next read.
//! * A write may have been taken in part. The next write to the same bytes waits until that is decided, as do
//!   [`File::sync_all`], [`File::set_len`] and [`File::close`]: an old write never lands after a newer one.
//!   [`File::take_dropped_write`] tells what became of it.
//! * An open is undone: the file is closed. One that creates a file may leave it behind.
//! * What changes names (making, removing, renaming, linking) is not undone: if it was not cancelled in time, it has
//!   happened, or will, also after what is called next. Await it, or bound it by `timeout`, to know.
//!
//! Operations that were bounded or ended ([`timeout`](crate::op::Operation::timeout),
//! [`cancel_on`](crate::op::Operation::cancel_on), [`cancel`](crate::op::Operation::cancel)) give the buffer back, and
//! [`transferred`](crate::op::transferred) tells how far one of several steps got.

mod attributes;
mod chained;
mod copy;
mod dir;
mod dir_builder;
mod file;
mod lock;
mod memfd;
mod metadata;
mod names;
mod on_pool;
mod options;
mod polled;
mod range;
mod read_dir;
mod remove_all;
mod resolve;
mod rw_flags;
mod stat;
mod temp;
mod transfer;
mod truncate;
mod whole;
mod xattr;

pub use attributes::{FileTimes, chown, lchown, set_permissions, set_times, set_times_nofollow};
pub use chained::ChainedFile;
pub use copy::copy;
pub use dir::Dir;
pub use dir_builder::{DirBuilder, create_dir, create_dir_all};
pub use file::File;
pub use lock::{RangeLock, TryLockError};
pub use memfd::{MemfdOptions, Seals};
pub use metadata::{FileType, Metadata, metadata, symlink_metadata};
pub use names::{
    canonicalize, exchange, exists, hard_link, read_link, remove_dir, remove_file, rename, rename_noreplace, symlink,
    try_exists,
};
pub use options::OpenOptions;
pub use range::{Advice, Allocate, SyncRange};
pub use read_dir::{DirEntry, ReadDir, read_dir};
pub use remove_all::remove_dir_all;
pub use resolve::Resolve;
pub use rw_flags::RwFlags;
pub use stat::{AtomicWrite, Attribute, DioAlign, Stat, StatFields, StatOptions, StatSync};
pub use temp::{NamedTempFile, PersistError, tempfile, tempfile_in};
pub use whole::{read, read_to_string, write};
pub use xattr::{
    XattrMode, get_xattr, get_xattr_nofollow, list_xattrs, list_xattrs_nofollow, remove_xattr, remove_xattr_nofollow,
    set_xattr, set_xattr_nofollow,
};
