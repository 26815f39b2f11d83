//! How a file is opened.

use std::path::Path;

use super::{File, Resolve};
use crate::op::{Name, OpenAt, Operation};

/// How a file is opened: std's options, with std's meaning and rules.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::OpenOptions;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("log");
/// let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).await?;
/// log.write_all("a line\n").await.0?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    custom_flags: i32,
    mode: u32,
    resolve: Resolve,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing is set; files that are created are readable and writable for everybody, less the process's umask.
    pub fn new() -> OpenOptions {
        OpenOptions {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            custom_flags: 0,
            mode: 0o666,
            resolve: Resolve::default(),
        }
    }

    /// For reading.
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.read = read;
        self
    }

    /// For writing.
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.write = write;
        self
    }

    /// For writing at the end, wherever that is at the time (`O_APPEND`): of writes at an offset too.
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.append = append;
        self
    }

    /// Cut off at 0 bytes (`O_TRUNC`); needs `write`.
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.truncate = truncate;
        self
    }

    /// Created if there is none (`O_CREAT`); needs `write` or `append`.
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    /// Created, and an error if there is one (`O_CREAT | O_EXCL`); needs `write` or `append`. `create` and `truncate` do
    /// not matter then.
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.create_new = create_new;
        self
    }

    /// The permissions of a file that is created, less the process's umask; 0o666 unless set.
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.mode = mode;
        self
    }

    /// Further flags of `open(2)`, for instance `libc::O_DIRECT` (see [`AlignedBuf`](crate::buf::AlignedBuf)). The access
    /// mode among them is ignored.
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.custom_flags = flags;
        self
    }

    /// How far the path may lead: with that it is opened by `IORING_OP_OPENAT2`, `openat2(2)`, which knows better than `open(2)`
    /// what it is asked, and refuses custom flags that do not fit together.
    pub fn resolve(&mut self, resolve: Resolve) -> &mut OpenOptions {
        self.resolve = resolve;
        self
    }

    /// Opens a file: `IORING_OP_OPENAT`, `openat(2)`. Dropped early, the file is closed again, but may have been created
    /// or truncated.
    ///
    /// # Errors
    /// Those of std: `NotFound`, `PermissionDenied`, `AlreadyExists`, `IsADirectory`, …; `InvalidInput` for options that do
    /// not fit together and for a path that contains a NUL; those of [`Resolve`].
    pub fn open(&self, path: impl AsRef<Path>) -> Operation<'static, OpenAt<File>> {
        self.open_name(Name::new(path.as_ref()))
    }

    pub(super) fn open_name(&self, name: Name) -> Operation<'static, OpenAt<File>> {
        Operation::<OpenAt<File>>::new(self.opening(name))
    }

    pub(super) fn opening<F>(&self, name: Name) -> OpenAt<F> {
        match self.flags() {
            Ok(flags) => OpenAt::resolving(name, flags, self.mode, self.resolve.bits()),
            Err(reason) => OpenAt::refused(reason),
        }
    }

    fn flags(&self) -> Result<i32, &'static str> {
        Ok(self.access_mode()? | self.creation_flags()? | (self.custom_flags & !libc::O_ACCMODE))
    }

    fn access_mode(&self) -> Result<i32, &'static str> {
        match (self.read, self.write, self.append) {
            (true, false, false) => Ok(libc::O_RDONLY),
            (false, true, false) => Ok(libc::O_WRONLY),
            (true, true, false) => Ok(libc::O_RDWR),
            (false, _, true) => Ok(libc::O_WRONLY | libc::O_APPEND),
            (true, _, true) => Ok(libc::O_RDWR | libc::O_APPEND),
            (false, false, false) if self.create || self.create_new || self.truncate => {
                Err("creating or truncating a file requires write or append access")
            }
            (false, false, false) => Err("must specify at least one of read, write, or append access"),
        }
    }

    fn creation_flags(&self) -> Result<i32, &'static str> {
        match (self.write, self.append) {
            (true, false) => {}
            (false, false) if self.truncate || self.create || self.create_new => {
                return Err("creating or truncating a file requires write or append access");
            }
            (_, true) if self.truncate && !self.create_new => {
                return Err("creating or truncating a file requires write or append access");
            }
            _ => {}
        }
        Ok(match (self.create, self.truncate, self.create_new) {
            (false, false, false) => 0,
            (true, false, false) => libc::O_CREAT,
            (false, true, false) => libc::O_TRUNC,
            (true, true, false) => libc::O_CREAT | libc::O_TRUNC,
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
        })
    }
}
