//! Where a path starts, and descriptors that an operation owns: what a worker thread of the kernel's looks up when it gets
//! to it must still be there then, and must not be another's.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use super::{KernelPath, kernel_path};
use crate::sys;

/// The directory that a relative path starts from. Operations share it with its owner, so that its number stays valid for as
/// long as one of them may be looked at.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// The process's current one.
    Cwd,
    Dir(Arc<OwnedFd>),
}

impl At {
    pub(crate) fn raw(&self) -> RawFd {
        match self {
            At::Cwd => libc::AT_FDCWD,
            At::Dir(dir) => dir.as_raw_fd(),
        }
    }
}

/// A path, and where it starts.
#[derive(Debug)]
pub(crate) struct Name {
    at: At,
    path: KernelPath,
}

impl Name {
    /// From the current directory.
    pub(crate) fn new(path: &Path) -> Name {
        Name::within(At::Cwd, path)
    }

    pub(crate) fn within(at: At, path: &Path) -> Name {
        Name { at, path: kernel_path(path) }
    }

    /// The directory itself, for calls that take `AT_EMPTY_PATH`.
    pub(crate) fn itself(dir: Arc<OwnedFd>) -> Name {
        Name::fixed(At::Dir(dir), c"")
    }

    pub(crate) fn fixed(at: At, path: &'static CStr) -> Name {
        Name { at, path: Ok(Cow::Borrowed(path)) }
    }

    pub(crate) fn of(at: At, path: KernelPath) -> Name {
        Name { at, path }
    }

    /// The directory's number for the entry.
    pub(super) fn raw(&self) -> RawFd {
        self.at.raw()
    }

    /// The address of the path for the entry: it is on the heap and stays put while the value is moved. `Err` as in
    /// [`Op::prepare`](super::Op::prepare).
    pub(super) fn address(&self) -> Result<u64, i32> {
        self.path.as_ref().map(|path| path.as_ptr() as u64).map_err(|_| libc::EINVAL)
    }

    /// Why it cannot be a path.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.path.as_ref().err().copied()
    }
}

/// A descriptor of an operation's own, of the same open file as another: made when the operation is submitted, which the
/// other must outlive.
#[derive(Debug)]
pub(super) struct Duplicate {
    of: RawFd,
    own: Option<OwnedFd>,
}

impl Duplicate {
    pub(super) fn of(number: RawFd) -> Duplicate {
        Duplicate { of: number, own: None }
    }

    /// Its number for the entry. `Err` as in [`Op::prepare`](super::Op::prepare).
    pub(super) fn number(&mut self) -> Result<RawFd, i32> {
        if self.own.is_none() {
            self.own = Some(sys::duplicate(self.of).map_err(|error| error.raw_os_error().unwrap_or(libc::EBADF))?);
        }
        Ok(self.own.as_ref().expect("just made").as_raw_fd())
    }
}
