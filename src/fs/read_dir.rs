//! What lies in a directory.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{FileType, Metadata};
use crate::blocking;
use crate::fd::Fd;
use crate::op::{Name, OpenAt, Operation, Statx};
use crate::sys::Entries;
use crate::task::JoinHandle;

/// Opens a directory, to see what lies in it: `IORING_OP_OPENAT`, `openat(2)`. Dropped early, it is closed again.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// fs::write(dir.join("ball"), "").await?;
///
/// let mut entries = fs::read_dir(dir).await?;
/// while let Some(entry) = entries.next_entry().await? {
///     println!("{}", entry.path().display());
/// #   assert_eq!(entry.file_name(), "ball");
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `NotADirectory`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    open(Name::new(&path), path).await
}

/// Opens a directory by one name, of which its entries' paths shall begin with another.
pub(super) async fn open(name: Name, path: PathBuf) -> io::Result<ReadDir> {
    let opening = OpenAt::new(name, libc::O_RDONLY | libc::O_DIRECTORY, 0);
    let fd = Operation::<OpenAt<Fd>>::new(opening).await?;
    Ok(ReadDir { directory: Arc::new(Directory { fd, path }), state: State::Batch(Entries::default()) })
}

/// The entries of a directory, in the order of the file system, without `.` and `..`: made by [`read_dir`].
///
/// They are read in batches of 32 KiB, on the blocking pool, because the ring has no such operation. Entries that come or
/// go meanwhile may or may not be among them, as ever.
pub struct ReadDir {
    directory: Arc<Directory>,
    state: State,
}

/// The open directory: of the reader, of its entries, and of the call under way.
struct Directory {
    fd: Fd,
    path: PathBuf,
}

enum State {
    /// Entries to be given, and then more to be fetched.
    Batch(Entries),
    /// A call is under way. It stays here when nobody waits for it any more, so that nothing is lost.
    Fetching(JoinHandle<io::Result<Entries>>),
    Ended,
}

impl ReadDir {
    /// The next entry; `None` at the end. Dropped early, nothing is lost: the next call gives it.
    ///
    /// # Errors
    /// Those of `getdents(2)`; there are no more entries then.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// The same as an iterator's item.
    pub async fn next(&mut self) -> Option<io::Result<DirEntry>> {
        self.next_entry().await.transpose()
    }

    /// [`next`](ReadDir::next) for whoever implements `Stream`: this is its `poll_next`.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        self.poll_next_entry(cx).map(Result::transpose)
    }

    /// [`next_entry`](ReadDir::next_entry), polled.
    ///
    /// # Errors
    /// As [`next_entry`](ReadDir::next_entry).
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            match &mut self.state {
                State::Batch(entries) => {
                    if let Some(entry) = entries.next() {
                        let (name, ino, format) = (entry.name.to_owned(), entry.ino, entry.format);
                        let directory = self.directory.clone();
                        return Poll::Ready(Ok(Some(DirEntry { directory, name, ino, format })));
                    }
                    let entries = std::mem::take(entries);
                    self.state = State::Fetching(self.fetch(entries)?);
                }
                State::Fetching(call) => {
                    let fetched = ready!(Pin::new(call).poll(cx)).map_err(io::Error::other).and_then(|fetched| fetched);
                    self.state = match &fetched {
                        Ok(entries) if !entries.is_empty() => State::Batch(fetched?),
                        _ => {
                            self.state = State::Ended;
                            return Poll::Ready(fetched.map(|_| None));
                        }
                    };
                }
                State::Ended => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Has the next batch fetched, into the memory of the one before.
    fn fetch(&self, mut entries: Entries) -> io::Result<JoinHandle<io::Result<Entries>>> {
        let directory = self.directory.clone();
        blocking::start(move || entries.fetch(directory.fd.raw()).map(|()| entries))
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadDir").field(&self.directory.path).finish()
    }
}

/// Something that lies in a directory: given by [`ReadDir::next_entry`]. It keeps the directory open, so that
/// [`metadata`](DirEntry::metadata) looks there, whatever the path leads to by then.
pub struct DirEntry {
    directory: Arc<Directory>,
    name: CString,
    ino: u64,
    format: u32,
}

impl DirEntry {
    /// The path: that given to [`read_dir`] and the name; in a [`Dir`](super::Dir) the name alone.
    pub fn path(&self) -> PathBuf {
        self.directory.path.join(self.name())
    }

    /// The name, without the path.
    pub fn file_name(&self) -> OsString {
        self.name().to_owned()
    }

    fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.name.as_bytes())
    }

    /// Its inode.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// What the file system knows of it, of a link itself: `IORING_OP_STATX`, `statx(2)`. Dropped early, nothing has
    /// happened.
    ///
    /// # Errors
    /// Those of the call: `NotFound` if it is gone.
    pub fn metadata(&self) -> Operation<'_, Statx<Metadata>> {
        Operation::on(&self.directory.fd, Statx::name(self.directory.fd.raw(), self.name.clone()))
    }

    /// What kind of file it is, of a link itself. Most file systems have told with the name; the others are asked, as by
    /// [`metadata`](DirEntry::metadata).
    ///
    /// # Errors
    /// As [`metadata`](DirEntry::metadata), if it has to be asked.
    pub async fn file_type(&self) -> io::Result<FileType> {
        if self.format != 0 {
            return Ok(FileType::of(self.format));
        }
        self.metadata().await.map(|metadata| metadata.file_type())
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<ReadDir>();
    send_and_sync::<DirEntry>();
};
