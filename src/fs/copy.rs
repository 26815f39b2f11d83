//! Copying a file.

use std::fs::{File as StdFile, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::on_pool::{Awaited, run_while_awaited};
use super::{File, OpenOptions};
use crate::sys;

/// How much is copied between two looks at whether the copy is still awaited, in bytes.
const CHUNK: u64 = 16 << 20;

/// Copies the content and the permissions of a file, in place of what has the new name already, and gives the number of
/// bytes: `IORING_OP_OPENAT`, and on the blocking pool `ioctl(FICLONE)`, which copies nothing where the file system can have
/// the files share their content, or else `copy_file_range(2)`, `sendfile(2)` or plain reads and writes. Holes stay holes.
///
/// Dropped early, it stops soon; the new file may hold a part. Copied to itself, a file ends up empty, as with std.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let (from, to) = (dir.path().join("a"), dir.path().join("b"));
/// fs::write(&from, "content").await?;
/// assert_eq!(fs::copy(&from, &to).await?, 7);
/// assert_eq!(fs::read(&to).await?, b"content");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, `StorageFull`, …; `InvalidInput` for a source that is no file and for a path
/// that contains a NUL.
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
    let source = File::open(from).await?;
    let metadata = source.metadata().await?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the source path is neither a regular file nor a symlink to a regular file",
        ));
    }
    let permissions = metadata.permissions();
    let mode = permissions.mode() & 0o7777;
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(to).await?;
    let (source, target) = (source.into_std()?, target.into_std()?);
    run_while_awaited(move |awaited| copy_all(&source, &target, permissions, awaited)).await
}

fn copy_all(source: &StdFile, target: &StdFile, permissions: Permissions, awaited: &Awaited) -> io::Result<u64> {
    if !target.metadata()?.is_file() {
        return copy_bytes(source, target, u64::MAX, awaited);
    }
    target.set_permissions(permissions)?;
    let metadata = source.metadata()?;
    if metadata.len() > 0 && sys::clone_content(source.as_raw_fd(), target.as_raw_fd()).is_ok() {
        return target.metadata().map(|metadata| metadata.len());
    }
    let has_holes = metadata.blocks().saturating_mul(512) < metadata.len();
    match seek(source, 0, libc::SEEK_DATA) {
        // Files of `/proc` have no length and no blocks, and do have content.
        Ok(_) | Err(libc::ENXIO) if has_holes => copy_data(source, target, awaited),
        _ => {
            (&*source).rewind()?;
            copy_bytes(source, target, u64::MAX, awaited)
        }
    }
}

fn seek(file: &StdFile, offset: u64, whence: libc::c_int) -> Result<u64, i32> {
    sys::seek(file.as_raw_fd(), offset as i64, whence).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// Copies from where the files stand, up to so many bytes or the end.
fn copy_bytes(mut source: &StdFile, mut target: &StdFile, limit: u64, awaited: &Awaited) -> io::Result<u64> {
    let mut done = 0;
    loop {
        awaited.check()?;
        let wanted = CHUNK.min(limit - done);
        // Std finds the fastest way that these two files allow.
        let copied = io::copy(&mut Read::by_ref(&mut source).take(wanted), &mut target)?;
        done += copied;
        if copied < wanted || done == limit {
            return Ok(done);
        }
    }
}

/// Copies what is not a hole.
fn copy_data(mut source: &StdFile, mut target: &StdFile, awaited: &Awaited) -> io::Result<u64> {
    let mut at = 0;
    loop {
        awaited.check()?;
        let data = match seek(source, at, libc::SEEK_DATA) {
            Ok(data) => data,
            Err(libc::ENXIO) => {
                let end = source.seek(SeekFrom::End(0))?;
                // It may have grown between the two calls.
                if seek(source, at, libc::SEEK_DATA) != Err(libc::ENXIO) {
                    continue;
                }
                if end > at {
                    target.set_len(end)?;
                }
                return Ok(end.max(at));
            }
            Err(errno) => return Err(io::Error::from_raw_os_error(errno)),
        };
        let hole = seek(source, data, libc::SEEK_HOLE).map_err(io::Error::from_raw_os_error)?;
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        let copied = copy_bytes(source, target, hole - data, awaited)?;
        at = data + copied;
        if at < hole {
            // It was cut off meanwhile.
            return Ok(at);
        }
    }
}
