//! Making directories.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::{Dir, Metadata};
use crate::op::{At, MkdirAt, Name, Operation, Statx};

/// The permissions of a directory, less the process's umask, unless told otherwise.
const MODE: u32 = 0o777;

/// Makes a directory: `IORING_OP_MKDIRAT`, `mkdir(2)`. Dropped early, it may have happened, or happen still.
///
/// # Errors
/// Those of std: `AlreadyExists`, `NotFound` if the one above is not there, …; `InvalidInput` for a path that contains a NUL.
pub fn create_dir(path: impl AsRef<Path>) -> Operation<'static, MkdirAt> {
    make(&At::Cwd, path.as_ref(), MODE)
}

/// Makes a directory, and those above it that are missing: `IORING_OP_MKDIRAT`, `mkdir(2)`, as often as needed. If all are
/// there, nothing happens; several may do it at once. Dropped early, some of them may have been made, or one be made still.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// fs::create_dir_all(dir.join("a/b/c")).await?;
/// assert!(fs::metadata(dir.join("a/b/c")).await?.is_dir());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `AlreadyExists` if something else has the name, `NotADirectory` if something on the way is none, …;
/// `InvalidInput` for a path that contains a NUL.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    make_all(&At::Cwd, path.as_ref(), MODE).await
}

/// How a directory is made: std's options.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::DirBuilder;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("state/private");
/// DirBuilder::new().recursive(true).mode(0o700).create(&path).await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct DirBuilder {
    recursive: bool,
    mode: u32,
}

impl Default for DirBuilder {
    fn default() -> DirBuilder {
        DirBuilder::new()
    }
}

impl DirBuilder {
    /// One directory, accessible to everybody, less the process's umask.
    pub fn new() -> DirBuilder {
        DirBuilder { recursive: false, mode: MODE }
    }

    /// Those above it, too, if they are missing; and no error if it is there.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// The permissions of what is made, less the process's umask; 0o777 unless set.
    pub fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = mode;
        self
    }

    /// Makes it: see [`create_dir`] and [`create_dir_all`], also for what a drop does.
    ///
    /// # Errors
    /// As [`create_dir`], or as [`create_dir_all`] if it is recursive.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.create_at(At::Cwd, path.as_ref()).await
    }

    /// The same for a path that starts from an open directory.
    ///
    /// # Errors
    /// As [`create`](DirBuilder::create).
    pub async fn create_in(&self, dir: &Dir, path: impl AsRef<Path>) -> io::Result<()> {
        self.create_at(dir.at(), path.as_ref()).await
    }

    async fn create_at(&self, at: At, path: &Path) -> io::Result<()> {
        let (recursive, mode) = (self.recursive, self.mode);
        if recursive { make_all(&at, path, mode).await } else { make(&at, path, mode).await }
    }
}

fn make(at: &At, path: &Path, mode: u32) -> Operation<'static, MkdirAt> {
    Operation::<MkdirAt>::new(MkdirAt::new(Name::within(at.clone(), path), mode))
}

async fn is_dir(at: &At, path: &Path) -> bool {
    let metadata = Operation::<Statx<Metadata>>::new(Statx::path(Name::within(at.clone(), path), true));
    metadata.await.is_ok_and(|metadata| metadata.is_dir())
}

/// From the deepest up until one can be made or is there, then down again.
pub(super) async fn make_all(at: &At, path: &Path, mode: u32) -> io::Result<()> {
    let mut missing = Vec::new();
    for ancestor in path.ancestors() {
        // The root is there, and so is what a relative path starts from.
        if ancestor.as_os_str().is_empty() || ancestor.parent().is_none() {
            break;
        }
        match make(at, ancestor, mode).await {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => missing.push(ancestor),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_dir(at, ancestor).await => break,
            Err(error) => return Err(error),
        }
    }
    for ancestor in missing.into_iter().rev() {
        match make(at, ancestor, mode).await {
            Ok(()) => {}
            // Another was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_dir(at, ancestor).await => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
