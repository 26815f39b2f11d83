//! Names: removing, renaming, linking, and where a path leads.

use std::io;
use std::path::{Path, PathBuf};

use super::metadata;
use crate::blocking;
use crate::op::{LinkAt, Name, Operation, RenameAt, SymlinkAt, UnlinkAt};

/// Removes a name of a file, and the file with its last name: `IORING_OP_UNLINKAT`, `unlink(2)`. Of a link, the link
/// itself. Dropped early, it may have happened, or happen still.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("note");
/// fs::write(&path, "read me").await?;
/// fs::remove_file(&path).await?;
/// assert!(!fs::exists(&path).await?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, `IsADirectory`, …; `InvalidInput` for a path that contains a NUL.
pub fn remove_file(path: impl AsRef<Path>) -> Operation<'static, UnlinkAt> {
    Operation::<UnlinkAt>::new(UnlinkAt::file(Name::new(path.as_ref())))
}

/// Removes an empty directory: `IORING_OP_UNLINKAT`, `rmdir(2)`. Dropped early, it may have happened, or happen still.
///
/// # Errors
/// Those of std: `NotFound`, `NotADirectory`, `DirectoryNotEmpty`, …; `InvalidInput` for a path that contains a NUL.
pub fn remove_dir(path: impl AsRef<Path>) -> Operation<'static, UnlinkAt> {
    Operation::<UnlinkAt>::new(UnlinkAt::directory(Name::new(path.as_ref())))
}

/// Gives a file or directory another name, in place of what has that name already: `IORING_OP_RENAMEAT`, `rename(2)`. Whoever
/// looks finds either the old or the new under it. Dropped early, it may have happened, or happen still.
///
/// # Errors
/// Those of std: `NotFound`, `CrossesDevices` from one file system to another, `IsADirectory`, `DirectoryNotEmpty`, …;
/// `InvalidInput` for a path that contains a NUL, and for a directory that would become a part of itself.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Operation<'static, RenameAt> {
    renaming(from.as_ref(), to.as_ref(), 0)
}

/// The same, but only if nothing has the new name: `IORING_OP_RENAMEAT`, `renameat2(2)` with `RENAME_NOREPLACE`.
///
/// # Errors
/// `AlreadyExists` if something has the name; `InvalidInput` also where the file system cannot do it; and as [`rename`].
pub fn rename_noreplace(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Operation<'static, RenameAt> {
    renaming(from.as_ref(), to.as_ref(), libc::RENAME_NOREPLACE)
}

/// Has two names change places, at once, of whatever kinds they are: `IORING_OP_RENAMEAT`, `renameat2(2)` with
/// `RENAME_EXCHANGE`. Dropped early, it may have happened, or happen still.
///
/// # Errors
/// `NotFound` if one of them is not there; `InvalidInput` also where the file system cannot do it; and as [`rename`].
pub fn exchange(one: impl AsRef<Path>, other: impl AsRef<Path>) -> Operation<'static, RenameAt> {
    renaming(one.as_ref(), other.as_ref(), libc::RENAME_EXCHANGE)
}

fn renaming(from: &Path, to: &Path, flags: libc::c_uint) -> Operation<'static, RenameAt> {
    Operation::<RenameAt>::new(RenameAt::new(Name::new(from), Name::new(to), flags))
}

/// Gives a file a further name: `IORING_OP_LINKAT`, `link(2)`. If `original` is a symbolic link, that gets it. Dropped
/// early, it may have happened, or happen still.
///
/// # Errors
/// Those of std: `NotFound`, `AlreadyExists`, `CrossesDevices`, `PermissionDenied` for a directory, …; `InvalidInput` for a
/// path that contains a NUL.
pub fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> Operation<'static, LinkAt> {
    Operation::<LinkAt>::new(LinkAt::new(Name::new(original.as_ref()), Name::new(link.as_ref()), 0))
}

/// Makes a symbolic link: `IORING_OP_SYMLINKAT`, `symlink(2)`. What it is to lead to need not be there. Dropped early, it
/// may have happened, or happen still.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let link = dir.path().join("link");
/// fs::symlink("elsewhere", &link).await?;
/// assert_eq!(fs::read_link(&link).await?, std::path::Path::new("elsewhere"));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `AlreadyExists`, `NotFound` for the directory or for an empty target, …; `InvalidInput` for a path that
/// contains a NUL.
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> Operation<'static, SymlinkAt> {
    Operation::<SymlinkAt>::new(SymlinkAt::new(Name::new(original.as_ref()), Name::new(link.as_ref())))
}

/// Where a symbolic link leads, as it says itself: `readlink(2)` on the blocking pool. Dropped early, nothing has happened.
///
/// # Errors
/// Those of std: `NotFound`; `InvalidInput` for what is no symbolic link and for a path that contains a NUL.
pub async fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::read_link(path)).await
}

/// The absolute path without links, `.` and `..`: `realpath(3)` on the blocking pool. Dropped early, nothing has happened.
///
/// ```
/// # ringtoss::block_on(async {
/// let path = ringtoss::fs::canonicalize("/usr/../etc/.").await?;
/// assert_eq!(path, std::fs::canonicalize("/etc")?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound` if a part of it is not there, `NotADirectory`, …; `InvalidInput` for a path that contains a NUL.
pub async fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::canonicalize(path)).await
}

/// Whether a path leads to something; a link that leads nowhere does not: `IORING_OP_STATX`, `statx(2)`. Std's name for
/// what tokio calls [`try_exists`]. Dropped early, nothing has happened.
///
/// # Errors
/// If it cannot be told: `PermissionDenied` on the way, a loop of links, ….
pub async fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    match metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Tokio's name for [`exists`].
///
/// # Errors
/// As [`exists`].
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    exists(path).await
}
