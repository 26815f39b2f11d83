//! Removing a directory with all that is in it.
//!
//! It is done on the blocking pool, in one call: the ring would hand every single name to a worker thread of the kernel. And
//! it is done by names in open directories that no link was followed to, so that whoever changes the tree meanwhile (puts a
//! link to elsewhere in the place of a directory) gets nothing removed that is not in it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::on_pool::{Awaited, run_while_awaited};
use crate::op::{At, invalid, kernel_path};
use crate::sys::{self, Entries};

/// How many directories, one in the other, are kept open. Those above are found again through `..`.
const OPEN_AT_MOST: usize = 32;
/// How often a directory is looked through that something was removed from and that is not empty. A file system may pass
/// entries over while others are removed; but whoever keeps adding some is not to keep us for ever.
const PASSES_AT_MOST: u32 = 16;

/// Removes a directory with all that is in it: `openat(2)`, `getdents(2)`, `unlinkat(2)` on the blocking pool. Links in it
/// are removed, not followed, also if they take the place of a directory meanwhile; if the path itself is a link, that is
/// removed. Dropped early, it stops soon; what is removed is removed.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// fs::create_dir_all(dir.join("build/debug")).await?;
/// fs::write(dir.join("build/debug/program"), "").await?;
/// fs::remove_dir_all(dir.join("build")).await?;
/// assert!(!fs::exists(dir.join("build")).await?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `NotADirectory`, `PermissionDenied`, `DirectoryNotEmpty` if something keeps being added, …;
/// `InvalidInput` for a path that contains a NUL. A part of it may be gone then. What somebody else removes meanwhile is no
/// error.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    remove_within(At::Cwd, path.as_ref()).await
}

/// The same for a path that starts from an open directory.
pub(super) async fn remove_within(at: At, path: &Path) -> io::Result<()> {
    let path = kernel_path(path).map_err(invalid)?.into_owned();
    run_while_awaited(move |awaited| {
        if sys::is_link_at(at.raw(), &path)? {
            return sys::unlink_at(at.raw(), &path, 0);
        }
        remove_tree(at.raw(), path, awaited)
    })
    .await
}

/// A directory that is being emptied.
struct Level {
    /// Its name in the one above; of the first, the path.
    name: CString,
    /// Device and inode.
    identity: (u64, u64),
    /// `None` while it is too far above.
    open: Option<(File, Entries)>,
    /// Whether something was removed since it was last looked through from the start.
    changed: bool,
    passes: u32,
}

impl Level {
    fn open(within: RawFd, name: CString) -> io::Result<Level> {
        let file = File::from(sys::open_directory(within, &name)?);
        let identity = identity(&file)?;
        Ok(Level { name, identity, open: Some((file, Entries::default())), changed: false, passes: 0 })
    }

    fn raw(&self) -> RawFd {
        self.file().as_raw_fd()
    }

    fn file(&self) -> &File {
        &self.open.as_ref().expect("a level that is worked on is open").0
    }

    /// Removes one entry. Gives a directory that must be emptied first, and `None` also at the end.
    fn remove_next(&mut self) -> io::Result<Step> {
        let (file, entries) = self.open.as_mut().expect("a level that is worked on is open");
        let directory = file.as_raw_fd();
        let mut next = entries.next();
        if next.is_none() {
            entries.fetch(directory)?;
            next = entries.next();
        }
        let Some(entry) = next else { return Ok(Step::Empty) };
        let may_be_directory = matches!(entry.format, 0 | libc::S_IFDIR);
        match remove_entry(directory, entry.name, may_be_directory) {
            Ok(None) => {
                self.changed = true;
                Ok(Step::Removed)
            }
            Ok(Some(level)) => Ok(Step::Into(level)),
            // Somebody else has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Step::Removed),
            Err(error) => Err(error),
        }
    }
}

enum Step {
    Removed,
    Into(Level),
    Empty,
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes a name, unless it is that of a directory, which is opened instead. What kind of file it is may have changed since
/// that was told, and may change again.
fn remove_entry(within: RawFd, name: &CStr, may_be_directory: bool) -> io::Result<Option<Level>> {
    let mut may_be_directory = may_be_directory;
    for _ in 0..PASSES_AT_MOST {
        if may_be_directory {
            match Level::open(within, name.to_owned()) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {}
                result => return result.map(Some),
            }
        }
        match sys::unlink_at(within, name, 0) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => may_be_directory = true,
            result => return result.map(|()| None),
        }
    }
    Err(ErrorKind::DirectoryNotEmpty.into())
}

fn remove_tree(start: RawFd, path: CString, awaited: &Awaited) -> io::Result<()> {
    let mut levels = vec![Level::open(start, path)?];
    while let Some(level) = levels.last_mut() {
        awaited.check()?;
        match level.remove_next()? {
            Step::Removed => {}
            Step::Into(below) => {
                levels.push(below);
                if let Some(far) = levels.len().checked_sub(OPEN_AT_MOST + 1) {
                    levels[far].open = None;
                }
            }
            Step::Empty => remove_emptied(start, &mut levels)?,
        }
    }
    Ok(())
}

/// Removes the last level itself.
fn remove_emptied(start: RawFd, levels: &mut Vec<Level>) -> io::Result<()> {
    let (level, above) = levels.split_last_mut().expect("there is one");
    let within = match above.last_mut() {
        None => start,
        Some(parent) => {
            if parent.open.is_none() {
                parent.open = Some((find_again(level.raw(), parent.identity)?, Entries::default()));
            }
            parent.changed = true;
            parent.raw()
        }
    };
    match sys::unlink_at(within, &level.name, libc::AT_REMOVEDIR) {
        Err(error)
            if error.kind() == ErrorKind::DirectoryNotEmpty && level.changed && level.passes < PASSES_AT_MOST =>
        {
            level.passes += 1;
            level.changed = false;
            level.file().rewind()
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => {
            levels.pop();
            Ok(())
        }
    }
}

/// The directory above, if it is still the one that we came from.
fn find_again(below: RawFd, expected: (u64, u64)) -> io::Result<File> {
    let file = File::from(sys::open_directory(below, c"..")?);
    if identity(&file)? != expected {
        return Err(io::Error::other("a directory was moved out of the tree while that was being removed"));
    }
    Ok(file)
}
