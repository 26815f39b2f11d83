//! Open directories, and what is done to names in them.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, FileTimes, Metadata, OpenOptions, ReadDir, Resolve, read_dir, remove_all, whole};
use crate::blocking;
use crate::buf::IoBuf;
use crate::op::{
    At, Fsync, LinkAt, MkdirAt, Name, OpenAt, Opened, Operation, RenameAt, Statx, SymlinkAt, UnlinkAt, invalid,
    kernel_path,
};
use crate::sys;

/// An open directory, to work with the names in it: `openat(2)` and its kin. Whatever becomes of the path that it was opened
/// by, the names stay those in this directory.
///
/// The methods are those of std and of this module, with paths that start from the directory. Such a path may have several
/// parts, lead out of the directory by `..` and links, or be absolute: then it leads to where it says. To open what others
/// have named, use [`Resolve::BENEATH`].
///
/// What dropping a future means is as for the function of the same name in the [module](super); what takes effect late
/// keeps the directory open until then. A `Dir` is `Send` and `Sync`; clones share the descriptor.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{Dir, OpenOptions, Resolve};
/// # let temporary = tempfile::tempdir()?;
/// # let path = temporary.path();
/// let dir = Dir::open(path).await?;
/// dir.create_dir("inbox").await?;
/// let inbox = dir.open_dir("inbox").await?;
/// inbox.write("letter", "Dear Sir").await?;
/// inbox.rename("letter", &dir, "read").await?;
/// assert_eq!(dir.read_to_string("read").await?, "Dear Sir");
///
/// let careful = OpenOptions::new().read(true).resolve(Resolve::BENEATH).clone();
/// assert!(inbox.open_file_with("../read", &careful).await.is_err());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Dir {
    /// Shared with operations, which may look at the number late.
    fd: Arc<OwnedFd>,
}

impl Opened for Dir {
    fn opened(fd: OwnedFd) -> Dir {
        Dir { fd: Arc::new(fd) }
    }
}

/// How directories are opened.
const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY;

/// The permissions of a directory that is made, less the process's umask.
const MODE: u32 = 0o777;

/// # Opening
impl Dir {
    /// Opens a directory: `IORING_OP_OPENAT`, `openat(2)`. Dropped early, it is closed again.
    ///
    /// # Errors
    /// Those of std: `NotFound`, `NotADirectory`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
    pub fn open(path: impl AsRef<Path>) -> Operation<'static, OpenAt<Dir>> {
        Operation::<OpenAt<Dir>>::new(OpenAt::new(Name::new(path.as_ref()), DIRECTORY, 0))
    }

    /// Opens a directory in this one, as [`open`](Dir::open).
    ///
    /// # Errors
    /// As [`open`](Dir::open).
    pub fn open_dir(&self, path: impl AsRef<Path>) -> Operation<'static, OpenAt<Dir>> {
        self.open_dir_with(path, Resolve::default())
    }

    /// The same, with restrictions on the path: `IORING_OP_OPENAT2`, `openat2(2)`.
    ///
    /// # Errors
    /// As [`open`](Dir::open), and those of [`Resolve`].
    pub fn open_dir_with(&self, path: impl AsRef<Path>, resolve: Resolve) -> Operation<'static, OpenAt<Dir>> {
        Operation::<OpenAt<Dir>>::new(OpenAt::resolving(self.name(path.as_ref()), DIRECTORY, 0, resolve.bits()))
    }

    /// Opens a file for reading, as [`File::open`].
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn open_file(&self, path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        self.open_file_with(path, OpenOptions::new().read(true))
    }

    /// Opens a file as the options say, see [`OpenOptions::open`].
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open_file_with(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Operation<'static, OpenAt<File>> {
        options.open_name(self.name(path.as_ref()))
    }

    /// Opens a file for writing, creates it if there is none, and truncates it, as [`File::create`].
    ///
    /// # Errors
    /// As [`File::create`].
    pub fn create_file(&self, path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        self.open_file_with(path, OpenOptions::new().write(true).create(true).truncate(true))
    }
}

/// # The directory itself
impl Dir {
    /// What lies in it, as [`fs::read_dir`](read_dir()). Each call reads from the start, by a descriptor of its own.
    ///
    /// # Errors
    /// Those of opening it once more.
    pub async fn read_dir(&self) -> io::Result<ReadDir> {
        read_dir::open(Name::fixed(self.at(), c"."), PathBuf::new()).await
    }

    /// What the file system knows of the directory: `IORING_OP_STATX`, `statx(2)`. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// Those of the call.
    pub fn dir_metadata(&self) -> Operation<'static, Statx<Metadata>> {
        Operation::<Statx<Metadata>>::new(Statx::directory(self.fd.clone()))
    }

    /// Waits until the names in it have reached the device: `IORING_OP_FSYNC`, `fsync(2)`. A file that was made, renamed or
    /// removed is so for good only after that.
    ///
    /// # Errors
    /// Those of the call.
    pub fn sync_all(&self) -> Operation<'static, Fsync> {
        Operation::<Fsync>::new(Fsync::of_directory(self.fd.clone()))
    }

    /// Another descriptor of the same directory, that is closed by itself: `fcntl(2)` with `F_DUPFD_CLOEXEC`.
    ///
    /// # Errors
    /// Those of the call: too many open files.
    pub fn try_clone(&self) -> io::Result<Dir> {
        sys::duplicate(self.fd.as_raw_fd()).map(Dir::opened)
    }
}

/// # Names in it
impl Dir {
    /// Makes a directory, as [`fs::create_dir`](super::create_dir).
    ///
    /// # Errors
    /// As [`fs::create_dir`](super::create_dir).
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Operation<'static, MkdirAt> {
        Operation::<MkdirAt>::new(MkdirAt::new(self.name(path.as_ref()), MODE))
    }

    /// Makes a directory, and those above it that are missing, as [`fs::create_dir_all`](super::create_dir_all).
    ///
    /// # Errors
    /// As [`fs::create_dir_all`](super::create_dir_all).
    pub async fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        super::dir_builder::make_all(&self.at(), path.as_ref(), MODE).await
    }

    /// Removes a name of a file, as [`fs::remove_file`](super::remove_file).
    ///
    /// # Errors
    /// As [`fs::remove_file`](super::remove_file).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Operation<'static, UnlinkAt> {
        Operation::<UnlinkAt>::new(UnlinkAt::file(self.name(path.as_ref())))
    }

    /// Removes an empty directory, as [`fs::remove_dir`](super::remove_dir).
    ///
    /// # Errors
    /// As [`fs::remove_dir`](super::remove_dir).
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Operation<'static, UnlinkAt> {
        Operation::<UnlinkAt>::new(UnlinkAt::directory(self.name(path.as_ref())))
    }

    /// Removes a directory with all that is in it, as [`fs::remove_dir_all`](super::remove_dir_all).
    ///
    /// # Errors
    /// As [`fs::remove_dir_all`](super::remove_dir_all).
    pub async fn remove_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        remove_all::remove_within(self.at(), path.as_ref()).await
    }

    /// Gives a file or directory another name, here or in another directory, in place of what has that name already, as
    /// [`fs::rename`](super::rename).
    ///
    /// # Errors
    /// As [`fs::rename`](super::rename).
    pub fn rename(&self, from: impl AsRef<Path>, to_dir: &Dir, to: impl AsRef<Path>) -> Operation<'static, RenameAt> {
        self.renaming(from.as_ref(), to_dir, to.as_ref(), 0)
    }

    /// The same, but only if nothing has the new name, as [`fs::rename_noreplace`](super::rename_noreplace).
    ///
    /// # Errors
    /// As [`fs::rename_noreplace`](super::rename_noreplace).
    pub fn rename_noreplace(
        &self,
        from: impl AsRef<Path>,
        to_dir: &Dir,
        to: impl AsRef<Path>,
    ) -> Operation<'static, RenameAt> {
        self.renaming(from.as_ref(), to_dir, to.as_ref(), libc::RENAME_NOREPLACE)
    }

    /// Has two names change places, at once, as [`fs::exchange`](super::exchange).
    ///
    /// # Errors
    /// As [`fs::exchange`](super::exchange).
    pub fn exchange(
        &self,
        one: impl AsRef<Path>,
        other_dir: &Dir,
        other: impl AsRef<Path>,
    ) -> Operation<'static, RenameAt> {
        self.renaming(one.as_ref(), other_dir, other.as_ref(), libc::RENAME_EXCHANGE)
    }

    /// Gives a file a further name, here or in another directory, as [`fs::hard_link`](super::hard_link).
    ///
    /// # Errors
    /// As [`fs::hard_link`](super::hard_link).
    pub fn hard_link(
        &self,
        original: impl AsRef<Path>,
        link_dir: &Dir,
        link: impl AsRef<Path>,
    ) -> Operation<'static, LinkAt> {
        let (original, link) = (self.name(original.as_ref()), link_dir.name(link.as_ref()));
        Operation::<LinkAt>::new(LinkAt::new(original, link, 0))
    }

    /// Makes a symbolic link here, as [`fs::symlink`](super::symlink). What it leads to is told as it is; a relative path
    /// starts from where the link lies.
    ///
    /// # Errors
    /// As [`fs::symlink`](super::symlink).
    pub fn symlink(&self, original: impl AsRef<Path>, link: impl AsRef<Path>) -> Operation<'static, SymlinkAt> {
        let (original, link) = (Name::new(original.as_ref()), self.name(link.as_ref()));
        Operation::<SymlinkAt>::new(SymlinkAt::new(original, link))
    }

    /// Where a symbolic link leads, as [`fs::read_link`](super::read_link).
    ///
    /// # Errors
    /// As [`fs::read_link`](super::read_link).
    pub async fn read_link(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let (fd, path) = (self.fd.clone(), kernel_path(path.as_ref()).map_err(invalid)?);
        blocking::run(move || sys::read_link_at(fd.as_raw_fd(), &path).map(PathBuf::from)).await
    }

    /// What the file system knows of what a path names, of the target if that is a link, as
    /// [`fs::metadata`](super::metadata()).
    ///
    /// # Errors
    /// As [`fs::metadata`](super::metadata()).
    pub fn metadata(&self, path: impl AsRef<Path>) -> Operation<'static, Statx<Metadata>> {
        Operation::<Statx<Metadata>>::new(Statx::path(self.name(path.as_ref()), true))
    }

    /// The same, but of a link itself.
    ///
    /// # Errors
    /// As [`fs::metadata`](super::metadata()).
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Operation<'static, Statx<Metadata>> {
        Operation::<Statx<Metadata>>::new(Statx::path(self.name(path.as_ref()), false))
    }

    /// Whether a path leads to something, as [`fs::exists`](super::exists).
    ///
    /// # Errors
    /// As [`fs::exists`](super::exists).
    pub async fn exists(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets the permissions of what a path names, of the target if that is a link: `fchmodat(2)` on the blocking pool.
    ///
    /// # Errors
    /// As [`fs::set_permissions`](super::set_permissions).
    pub async fn set_permissions(&self, path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let (fd, path) = (self.fd.clone(), kernel_path(path.as_ref()).map_err(invalid)?);
        blocking::run(move || sys::set_mode_at(fd.as_raw_fd(), &path, permissions.mode())).await
    }

    /// Sets owner and group of what a path names, of a link itself; `None` leaves them: `fchownat(2)` on the blocking pool.
    ///
    /// # Errors
    /// As [`fs::lchown`](super::lchown).
    pub async fn lchown(&self, path: impl AsRef<Path>, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let (fd, path) = (self.fd.clone(), kernel_path(path.as_ref()).map_err(invalid)?);
        blocking::run(move || sys::set_owner_at(fd.as_raw_fd(), &path, uid, gid, libc::AT_SYMLINK_NOFOLLOW)).await
    }

    /// Sets the times of what a path names, of the target if that is a link: `utimensat(2)` on the blocking pool.
    ///
    /// # Errors
    /// As [`fs::set_times`](super::set_times).
    pub async fn set_times(&self, path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
        super::attributes::set_times_at(self.at(), path.as_ref(), times, 0).await
    }

    /// The same, but of a link itself.
    ///
    /// # Errors
    /// As [`fs::set_times`](super::set_times).
    pub async fn set_times_nofollow(&self, path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
        super::attributes::set_times_at(self.at(), path.as_ref(), times, libc::AT_SYMLINK_NOFOLLOW).await
    }

    /// Reads a whole file, as [`fs::read`](super::read).
    ///
    /// # Errors
    /// As [`fs::read`](super::read).
    pub async fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        whole::read_all(self.open_file(path)).await
    }

    /// Reads a whole file as text, as [`fs::read_to_string`](super::read_to_string).
    ///
    /// # Errors
    /// As [`fs::read_to_string`](super::read_to_string).
    pub async fn read_to_string(&self, path: impl AsRef<Path>) -> io::Result<String> {
        whole::read_text(self.open_file(path)).await
    }

    /// Writes a whole file, as [`fs::write`](super::write()).
    ///
    /// # Errors
    /// As [`fs::write`](super::write()).
    pub async fn write(&self, path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
        whole::write_all(self.create_file(path), contents).await
    }

    fn renaming(&self, from: &Path, to_dir: &Dir, to: &Path, flags: libc::c_uint) -> Operation<'static, RenameAt> {
        Operation::<RenameAt>::new(RenameAt::new(self.name(from), to_dir.name(to), flags))
    }

    pub(super) fn at(&self) -> At {
        At::Dir(self.fd.clone())
    }

    pub(super) fn name(&self, path: &Path) -> Name {
        Name::within(self.at(), path)
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("fd", &self.fd.as_raw_fd()).finish()
    }
}

/// What it is of is not looked at: what is no directory gives `NotADirectory` later.
impl From<OwnedFd> for Dir {
    fn from(fd: OwnedFd) -> Dir {
        Dir::opened(fd)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Dir>();
};
