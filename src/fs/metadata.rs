//! What the file system knows of a file.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::op::{FromStatx, Name, Operation, Statx};

/// What the file system knows of what a path names, of the target if that is a link: `IORING_OP_STATX`, `statx(2)`.
/// Dropped early, nothing has happened.
///
/// ```
/// # ringtoss::block_on(async {
/// let metadata = ringtoss::fs::metadata("/etc").await?;
/// assert!(metadata.is_dir());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
pub fn metadata(path: impl AsRef<Path>) -> Operation<'static, Statx<Metadata>> {
    Operation::<Statx<Metadata>>::new(Statx::path(Name::new(path.as_ref()), true))
}

/// The same, but of a link itself.
///
/// # Errors
/// As [`metadata`].
pub fn symlink_metadata(path: impl AsRef<Path>) -> Operation<'static, Statx<Metadata>> {
    Operation::<Statx<Metadata>>::new(Statx::path(Name::new(path.as_ref()), false))
}

/// What the file system knows of a file: given by [`metadata()`], [`symlink_metadata`] and
/// [`File::metadata`](super::File::metadata). The methods are those of std's `Metadata` and `MetadataExt`.
#[derive(Clone)]
pub struct Metadata {
    stat: Box<libc::statx>,
}

impl FromStatx for Metadata {
    fn from_statx(stat: Box<libc::statx>) -> Metadata {
        Metadata { stat }
    }
}

impl Metadata {
    pub(super) fn raw(&self) -> &libc::statx {
        &self.stat
    }

    /// What kind of file it is.
    pub fn file_type(&self) -> FileType {
        FileType { format: u32::from(self.stat.stx_mode) & libc::S_IFMT }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type().is_dir()
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type().is_file()
    }

    /// Whether it is a symbolic link, which only [`symlink_metadata`] shows.
    pub fn is_symlink(&self) -> bool {
        self.file_type().is_symlink()
    }

    /// Its length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "std's metadata has none either")]
    pub fn len(&self) -> u64 {
        self.stat.stx_size
    }

    /// Its permissions.
    pub fn permissions(&self) -> Permissions {
        Permissions::from_mode(self.mode())
    }

    /// When its content last changed.
    ///
    /// # Errors
    /// None on Linux; it is a result as in std.
    pub fn modified(&self) -> io::Result<SystemTime> {
        system_time(&self.stat.stx_mtime)
    }

    /// When it was last read, as far as the file system keeps that up.
    ///
    /// # Errors
    /// None on Linux; it is a result as in std.
    pub fn accessed(&self) -> io::Result<SystemTime> {
        system_time(&self.stat.stx_atime)
    }

    /// When it was created.
    ///
    /// # Errors
    /// `Unsupported` where the file system does not tell.
    pub fn created(&self) -> io::Result<SystemTime> {
        if self.stat.stx_mask & libc::STATX_BTIME == 0 {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "creation time is not available for the filesystem",
            ));
        }
        system_time(&self.stat.stx_btime)
    }

    /// The device that it is on.
    pub fn dev(&self) -> u64 {
        libc::makedev(self.stat.stx_dev_major, self.stat.stx_dev_minor)
    }

    /// Its inode.
    pub fn ino(&self) -> u64 {
        self.stat.stx_ino
    }

    /// Kind and permissions, `st_mode` of `stat(2)`.
    pub fn mode(&self) -> u32 {
        u32::from(self.stat.stx_mode)
    }

    /// How many names it has.
    pub fn nlink(&self) -> u64 {
        u64::from(self.stat.stx_nlink)
    }

    /// Its owner.
    pub fn uid(&self) -> u32 {
        self.stat.stx_uid
    }

    /// Its group.
    pub fn gid(&self) -> u32 {
        self.stat.stx_gid
    }

    /// The device that it is, if it is one.
    pub fn rdev(&self) -> u64 {
        libc::makedev(self.stat.stx_rdev_major, self.stat.stx_rdev_minor)
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.stat.stx_size
    }

    /// When it was last read: seconds since the epoch.
    pub fn atime(&self) -> i64 {
        self.stat.stx_atime.tv_sec
    }

    /// The nanoseconds to [`atime`](Metadata::atime).
    pub fn atime_nsec(&self) -> i64 {
        i64::from(self.stat.stx_atime.tv_nsec)
    }

    /// When its content last changed: seconds since the epoch.
    pub fn mtime(&self) -> i64 {
        self.stat.stx_mtime.tv_sec
    }

    /// The nanoseconds to [`mtime`](Metadata::mtime).
    pub fn mtime_nsec(&self) -> i64 {
        i64::from(self.stat.stx_mtime.tv_nsec)
    }

    /// When content or metadata last changed: seconds since the epoch.
    pub fn ctime(&self) -> i64 {
        self.stat.stx_ctime.tv_sec
    }

    /// The nanoseconds to [`ctime`](Metadata::ctime).
    pub fn ctime_nsec(&self) -> i64 {
        i64::from(self.stat.stx_ctime.tv_nsec)
    }

    /// The block size for efficient transfers, in bytes.
    pub fn blksize(&self) -> u64 {
        u64::from(self.stat.stx_blksize)
    }

    /// The space that it takes, in units of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.stat.stx_blocks
    }
}

fn system_time(time: &libc::statx_timestamp) -> io::Result<SystemTime> {
    let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
    let whole = if time.tv_sec < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole
        .and_then(|whole| whole.checked_add(Duration::from_nanos(u64::from(time.tv_nsec))))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file system gave a time that cannot be"))
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("file_type", &self.file_type())
            .field("permissions", &self.permissions())
            .field("len", &self.len())
            .field("modified", &self.modified())
            .field("accessed", &self.accessed())
            .finish_non_exhaustive()
    }
}

/// What kind of file something is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileType {
    format: u32,
}

impl FileType {
    /// From `S_IFMT` of a mode.
    pub(super) fn of(format: u32) -> FileType {
        FileType { format }
    }

    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.format == libc::S_IFDIR
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.format == libc::S_IFREG
    }

    /// A symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.format == libc::S_IFLNK
    }

    /// A block device.
    pub fn is_block_device(&self) -> bool {
        self.format == libc::S_IFBLK
    }

    /// A character device.
    pub fn is_char_device(&self) -> bool {
        self.format == libc::S_IFCHR
    }

    /// A pipe, with or without a name.
    pub fn is_fifo(&self) -> bool {
        self.format == libc::S_IFIFO
    }

    /// A socket.
    pub fn is_socket(&self) -> bool {
        self.format == libc::S_IFSOCK
    }
}

impl fmt::Debug for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileType")
            .field("is_file", &self.is_file())
            .field("is_dir", &self.is_dir())
            .field("is_symlink", &self.is_symlink())
            .finish_non_exhaustive()
    }
}
