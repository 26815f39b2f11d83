//! Files that are there for a while: without a name, or with one that goes with them.

use std::error::Error;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Dir, File, OpenOptions, on_pool};
use crate::blocking;
use crate::op::{At, LinkAt, Name, Operation, RenameAt, UnlinkAt, invalid, kernel_path};
use crate::sys;

/// How often another name is tried when somebody has that one already.
const TRIES: u32 = 100;

/// Names are looked for by their beginning when somebody cleans up after a crash.
const PREFIX: &str = ".tmp";

/// A name that nobody can guess.
fn random_name(prefix: &OsStr, suffix: &OsStr) -> CString {
    // Its keys are the system's random bytes, and differ each time.
    let mut bits = u128::from(RandomState::new().hash_one(0u8)) << 64 | u128::from(RandomState::new().hash_one(1u8));
    let mut name = prefix.as_bytes().to_vec();
    for _ in 0..12 {
        name.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(bits % 36) as usize]);
        bits /= 36;
    }
    name.extend_from_slice(suffix.as_bytes());
    CString::new(name).expect("prefix and suffix were looked at")
}

/// Makes a file without a name in the system's directory for temporary files: see [`tempfile_in`].
///
/// # Errors
/// As [`tempfile_in`].
pub async fn tempfile() -> io::Result<File> {
    tempfile_in(std::env::temp_dir()).await
}

/// Makes a file without a name, for reading and writing, on the file system of a directory: `IORING_OP_OPENAT`, `openat(2)`
/// with `O_TMPFILE`; where the file system cannot do that, its name is removed at once. It is gone when it is closed, also by a
/// crash, unless [`File::persist`] has given it a name. Dropped early, it is gone.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// // Whoever looks sees the old settings or the new ones, and never a part.
/// let settings = fs::tempfile_in(dir).await?;
/// settings.write_all_at("colour = blue", 0).await.0?;
/// settings.sync_all().await?;
/// settings.persist(dir.join("settings")).await?;
/// assert_eq!(fs::read_to_string(dir.join("settings")).await?, "colour = blue");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `NotADirectory`, `PermissionDenied`, `StorageFull`, …; `InvalidInput` for a path that contains a
/// NUL.
pub async fn tempfile_in(dir: impl AsRef<Path>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE);
    match options.open(dir.as_ref()).await {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            NamedTempFile::new_in(dir).await?.close_name().await
        }
        result => result,
    }
}

/// # Giving a name to a file that has none
impl File {
    /// Gives a file that was made by [`tempfile_in`] a name on the same file system, in place of what has that name already:
    /// `linkat(2)` and `renameat(2)` on the blocking pool. Whoever looks finds either the old file or this one. Dropped
    /// early, it may happen all the same.
    ///
    /// # Errors
    /// `NotFound` if the directory is not there, or if the file had a name and has lost it; `CrossesDevices`, `IsADirectory`,
    /// `PermissionDenied`, ….
    pub async fn persist(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        let target = kernel_path(path).map_err(invalid)?.into_owned();
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        on_pool::change(&self.fd, move |file| {
            for _ in 0..TRIES {
                let name = random_name(PREFIX.as_ref(), "".as_ref());
                let name = parent.join(OsStr::from_bytes(name.as_bytes()));
                let name = CString::new(name.into_os_string().into_vec())?;
                match sys::link_open_file(file.as_raw_fd(), libc::AT_FDCWD, &name) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                    result => result?,
                }
                let renamed = sys::rename(&name, &target);
                // Of two names of one file a rename leaves both.
                let _ = sys::unlink_at(libc::AT_FDCWD, &name, 0);
                return renamed;
            }
            Err(ErrorKind::AlreadyExists.into())
        })
        .await
    }

    /// The same, but only if nothing has that name: `IORING_OP_LINKAT`, `linkat(2)`. Writes that were dropped are waited for
    /// first. Dropped early, it may have happened, or happen still.
    ///
    /// # Errors
    /// `AlreadyExists` if something has the name, and as [`persist`](File::persist).
    pub async fn persist_noclobber(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.link_as(At::Cwd, path.as_ref()).await
    }

    /// The same as [`persist_noclobber`](File::persist_noclobber), in an open directory.
    ///
    /// # Errors
    /// As [`persist_noclobber`](File::persist_noclobber).
    pub async fn persist_noclobber_in(&self, dir: &Dir, path: impl AsRef<Path>) -> io::Result<()> {
        self.link_as(dir.at(), path.as_ref()).await
    }

    async fn link_as(&self, at: At, path: &Path) -> io::Result<()> {
        if let Some(salvage) = self.fd.salvage_if_made() {
            salvage.writes_settled().await;
        }
        // The operation owns it, so that the number below is this file's for as long as it is looked at.
        let file: Arc<OwnedFd> = Arc::new(sys::duplicate(self.fd.raw())?);
        let number = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let original = Name::of(At::Dir(file.clone()), Ok(number.into()));
        let link = LinkAt::new(original, Name::within(at.clone(), path), libc::AT_SYMLINK_FOLLOW);
        match Operation::<LinkAt>::new(link).await {
            // Perhaps there is no `/proc`. This way is not open to everybody before Linux 6.10.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let link = LinkAt::new(Name::itself(file), Name::within(at, path), libc::AT_EMPTY_PATH);
                Operation::<LinkAt>::new(link).await.map_err(|_| error)
            }
            result => result,
        }
    }
}

/// A file with a name that is removed when this is dropped: a [`File`], which it dereferences to.
///
/// The drop makes one direct call that removes the name, `unlinkat(2)`; [`close`](NamedTempFile::close) does the same
/// without keeping the loop from its work, and tells the error. If the process is killed, the file stays: where a file without
/// a name will do, [`tempfile()`] is safer. Only the owner may read and write it.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::NamedTempFile;
/// let mut file = NamedTempFile::new().await?;
/// file.write_all("for another program").await.0?;
/// let path = file.path().to_owned();
/// assert!(path.exists());
/// drop(file);
/// assert!(!path.exists());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct NamedTempFile {
    /// Goes first, so that the name is not the last that holds the content.
    name: TempName,
    file: File,
}

/// The name alone.
struct TempName {
    dir: Arc<OwnedFd>,
    name: CString,
    path: PathBuf,
    /// It is another's by now, or nobody's.
    given_away: bool,
}

impl TempName {
    fn entry(&self) -> Name {
        Name::of(At::Dir(self.dir.clone()), Ok(self.name.clone().into()))
    }
}

impl Drop for TempName {
    fn drop(&mut self) {
        if !self.given_away {
            let _ = sys::unlink_at(self.dir.as_raw_fd(), &self.name, 0);
        }
    }
}

impl NamedTempFile {
    /// Makes one in the system's directory for temporary files: `openat(2)` on the blocking pool. Dropped early, it is removed
    /// again.
    ///
    /// # Errors
    /// Those of std: `NotFound`, `PermissionDenied`, `StorageFull`, ….
    pub async fn new() -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(std::env::temp_dir()).await
    }

    /// Makes one in a directory.
    ///
    /// # Errors
    /// As [`new`](NamedTempFile::new); `InvalidInput` for a path that contains a NUL.
    pub async fn new_in(dir: impl AsRef<Path>) -> io::Result<NamedTempFile> {
        NamedTempFile::with_affixes(dir, PREFIX, "").await
    }

    /// Makes one in a directory, with a name that begins and ends like this.
    ///
    /// # Errors
    /// As [`new_in`](NamedTempFile::new_in); `InvalidInput` for affixes that contain a NUL or a slash.
    pub async fn with_affixes(
        dir: impl AsRef<Path>,
        prefix: impl AsRef<OsStr>,
        suffix: impl AsRef<OsStr>,
    ) -> io::Result<NamedTempFile> {
        let (prefix, suffix): (OsString, OsString) = (prefix.as_ref().into(), suffix.as_ref().into());
        if [&prefix, &suffix].iter().any(|affix| affix.as_bytes().iter().any(|byte| matches!(byte, 0 | b'/'))) {
            return Err(invalid("the name of a temporary file contained a NUL or a slash"));
        }
        let path = dir.as_ref().to_owned();
        blocking::run(move || {
            let path = std::path::absolute(path)?;
            let dir = Arc::new(OwnedFd::from(std::fs::File::open(&path)?));
            for _ in 0..TRIES {
                let name = random_name(&prefix, &suffix);
                let file = match sys::create_new_at(dir.as_raw_fd(), &name, 0o600) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                    result => File::from(result?),
                };
                let path = path.join(OsStr::from_bytes(name.as_bytes()));
                // Should nobody await it any more, this is dropped, and the file removed.
                return Ok(NamedTempFile { name: TempName { dir, name, path, given_away: false }, file });
            }
            Err(ErrorKind::AlreadyExists.into())
        })
        .await
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// Gives it another name on the same file system, in place of what has that name already, and keeps it:
    /// `IORING_OP_RENAMEAT`, `renameat(2)`. Dropped early, it has the new name, or is gone.
    ///
    /// # Errors
    /// As [`fs::rename`](super::rename), with the file.
    pub async fn persist(self, path: impl AsRef<Path>) -> Result<File, PersistError> {
        self.rename(path.as_ref(), 0).await
    }

    /// The same, but only if nothing has that name.
    ///
    /// # Errors
    /// As [`fs::rename_noreplace`](super::rename_noreplace), with the file.
    pub async fn persist_noclobber(self, path: impl AsRef<Path>) -> Result<File, PersistError> {
        self.rename(path.as_ref(), libc::RENAME_NOREPLACE).await
    }

    /// Keeps it where it is.
    pub fn keep(mut self) -> (File, PathBuf) {
        self.name.given_away = true;
        (self.file, std::mem::take(&mut self.name.path))
    }

    /// Removes and closes it: `IORING_OP_UNLINKAT`, `unlinkat(2)`; `IORING_OP_CLOSE`, `close(2)`. Dropped early, it is
    /// removed and closed all the same.
    ///
    /// # Errors
    /// Those of removing it (`NotFound` if somebody else has) and of closing it.
    pub async fn close(self) -> io::Result<()> {
        self.close_name().await?.close().await
    }

    /// Removes the name; the file stays open.
    async fn close_name(mut self) -> io::Result<File> {
        // Should this be dropped meanwhile, the name's drop removes it.
        let removed = Operation::<UnlinkAt>::new(UnlinkAt::file(self.name.entry())).await;
        self.name.given_away = true;
        removed.map(|()| self.file)
    }

    async fn rename(mut self, to: &Path, flags: libc::c_uint) -> Result<File, PersistError> {
        match Operation::<RenameAt>::new(RenameAt::new(self.name.entry(), Name::new(to), flags)).await {
            Ok(()) => {
                self.name.given_away = true;
                Ok(self.file)
            }
            Err(error) => Err(PersistError { error, file: self }),
        }
    }
}

impl Deref for NamedTempFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl DerefMut for NamedTempFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

impl fmt::Debug for NamedTempFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedTempFile").field("path", &self.name.path).field("file", &self.file).finish()
    }
}

/// Why a [`NamedTempFile`] could not be given another name, and the file. It turns into its [`io::Error`] with `?`; the file
/// is removed then.
#[derive(Debug)]
pub struct PersistError {
    /// What the call said.
    pub error: io::Error,
    /// The file, as it was.
    pub file: NamedTempFile,
}

impl fmt::Display for PersistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the temporary file got no other name: {}", self.error)
    }
}

impl Error for PersistError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl From<PersistError> for io::Error {
    fn from(error: PersistError) -> io::Error {
        error.error
    }
}
