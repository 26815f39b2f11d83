//! Extended attributes.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{File, on_pool};
use crate::blocking;
use crate::op::{GetXattr, Operation, SetXattr, invalid, kernel_path};
use crate::sys::{self, Bearer};

/// Whether an extended attribute that is set may, must or must not be there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XattrMode {
    /// It may.
    #[default]
    Any,
    /// It must not: `AlreadyExists` otherwise (`XATTR_CREATE`).
    Create,
    /// It must: `ENODATA` otherwise (`XATTR_REPLACE`).
    Replace,
}

impl XattrMode {
    fn flags(self) -> i32 {
        match self {
            XattrMode::Any => 0,
            XattrMode::Create => libc::XATTR_CREATE,
            XattrMode::Replace => libc::XATTR_REPLACE,
        }
    }
}

/// What most values fit in, in bytes.
const FIRST_ROOM: usize = 256;

fn path_of(path: &Path) -> io::Result<CString> {
    kernel_path(path).map(|path| path.into_owned()).map_err(invalid)
}

fn name_of(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| invalid("the name of an extended attribute contained a NUL byte"))
}

/// `ENODATA` is no error here.
fn present(result: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        result => result.map(Some),
    }
}

fn is_too_small(error: &io::Error, room: usize) -> bool {
    room > 0 && error.raw_os_error() == Some(libc::ERANGE)
}

/// Reads what has a length that is not known, and may change between two calls.
fn read_all(mut read: impl FnMut(&mut Vec<u8>) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(FIRST_ROOM);
    loop {
        match read(&mut bytes) {
            Ok(_) => return Ok(bytes),
            Err(error) if is_too_small(&error, bytes.capacity()) => {
                let len = read(&mut Vec::new())?;
                bytes.reserve(len.max(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The same on the ring.
async fn read_on_ring(of: Result<CString, &File>, name: CString) -> io::Result<Vec<u8>> {
    let read = |room| match &of {
        Ok(path) => Operation::<GetXattr>::new(GetXattr::path(path.clone(), name.clone(), room)),
        Err(file) => Operation::on(&file.fd, GetXattr::file(file.fd.raw(), name.clone(), room)),
    };
    let mut room = FIRST_ROOM;
    loop {
        let (result, value) = read(Vec::with_capacity(room)).await;
        match result {
            Ok(_) => return Ok(value),
            Err(error) if is_too_small(&error, value.capacity()) => {
                // No room asks for the length.
                room = read(Vec::new()).await.0?.max(value.capacity() + 1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Splits names at the NULs behind them.
fn split(names: &[u8]) -> Vec<OsString> {
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| OsStr::from_bytes(name).to_owned()).collect()
}

/// An extended attribute of what a path names, of the target if that is a link; `None` if it has none of that name:
/// `IORING_OP_GETXATTR`, `getxattr(2)`. Dropped early, nothing has happened.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{self, XattrMode};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("photo");
/// # fs::write(&path, "").await?;
/// # if fs::set_xattr(&path, "user.place", "Turku", XattrMode::Any).await.is_err() { return Ok(()) }
/// fs::set_xattr(&path, "user.place", "Turku", XattrMode::Any).await?;
/// assert_eq!(fs::get_xattr(&path, "user.place").await?.as_deref(), Some(&b"Turku"[..]));
/// assert_eq!(fs::get_xattr(&path, "user.time").await?, None);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// `Unsupported` where the file system has none; `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path or name that
/// contains a NUL.
pub async fn get_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (path_of(path.as_ref())?, name_of(name.as_ref())?);
    present(read_on_ring(Ok(path), name).await)
}

/// The same, but of a link itself: `lgetxattr(2)` on the blocking pool.
///
/// # Errors
/// As [`get_xattr`].
pub async fn get_xattr_nofollow(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (path_of(path.as_ref())?, name_of(name.as_ref())?);
    let read = move |value: &mut Vec<u8>| sys::get_xattr(Bearer::Link(&path), &name, value);
    present(blocking::run(move || read_all(read)).await)
}

/// Sets an extended attribute of what a path names, of the target if that is a link: `IORING_OP_SETXATTR`, `setxattr(2)`.
/// Dropped early, it may happen all the same, also after what is called next.
///
/// # Errors
/// `Unsupported` where the file system has none; `AlreadyExists` and `ENODATA` as the mode says; `StorageFull`, `E2BIG`,
/// `ERANGE` for a name that is too long, `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path or name that contains a
/// NUL.
pub async fn set_xattr(
    path: impl AsRef<Path>,
    name: impl AsRef<OsStr>,
    value: impl AsRef<[u8]>,
    mode: XattrMode,
) -> io::Result<()> {
    let (path, name, value) = (path_of(path.as_ref())?, name_of(name.as_ref())?, value.as_ref().into());
    Operation::<SetXattr>::new(SetXattr::path(path, name, value, mode.flags() as u32)).await
}

/// The same, but of a link itself: `lsetxattr(2)` on the blocking pool.
///
/// # Errors
/// As [`set_xattr`].
pub async fn set_xattr_nofollow(
    path: impl AsRef<Path>,
    name: impl AsRef<OsStr>,
    value: impl AsRef<[u8]>,
    mode: XattrMode,
) -> io::Result<()> {
    let (path, name) = (path_of(path.as_ref())?, name_of(name.as_ref())?);
    let value = value.as_ref().to_vec();
    blocking::run(move || sys::set_xattr(Bearer::Link(&path), &name, &value, mode.flags())).await
}

/// Removes an extended attribute of what a path names, of the target if that is a link: `removexattr(2)` on the blocking
/// pool. Dropped early, it may happen all the same, also after what is called next.
///
/// # Errors
/// `ENODATA` if it has none of that name, and as [`set_xattr`].
pub async fn remove_xattr(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (path, name) = (path_of(path.as_ref())?, name_of(name.as_ref())?);
    blocking::run(move || sys::remove_xattr(Bearer::Path(&path), &name)).await
}

/// The same, but of a link itself: `lremovexattr(2)`.
///
/// # Errors
/// As [`remove_xattr`].
pub async fn remove_xattr_nofollow(path: impl AsRef<Path>, name: impl AsRef<OsStr>) -> io::Result<()> {
    let (path, name) = (path_of(path.as_ref())?, name_of(name.as_ref())?);
    blocking::run(move || sys::remove_xattr(Bearer::Link(&path), &name)).await
}

/// The names of the extended attributes of what a path names, of the target if that is a link, as far as the process may see
/// them: `listxattr(2)` on the blocking pool. Dropped early, nothing has happened.
///
/// # Errors
/// As [`get_xattr`].
pub async fn list_xattrs(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let path = path_of(path.as_ref())?;
    let names = blocking::run(move || read_all(|names| sys::list_xattrs(Bearer::Path(&path), names))).await?;
    Ok(split(&names))
}

/// The same, but of a link itself: `llistxattr(2)`.
///
/// # Errors
/// As [`list_xattrs`].
pub async fn list_xattrs_nofollow(path: impl AsRef<Path>) -> io::Result<Vec<OsString>> {
    let path = path_of(path.as_ref())?;
    let names = blocking::run(move || read_all(|names| sys::list_xattrs(Bearer::Link(&path), names))).await?;
    Ok(split(&names))
}

/// # Extended attributes
///
/// As those of paths: see [`get_xattr`]. Those that change something wait for writes that were dropped. Dropped themselves
/// before they are done, they may happen all the same, and what changes the file next waits for that.
impl File {
    /// An extended attribute; `None` if there is none of that name: `IORING_OP_FGETXATTR`, `fgetxattr(2)`.
    ///
    /// # Errors
    /// As [`get_xattr`].
    pub async fn get_xattr(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
        let name = name_of(name.as_ref())?;
        present(read_on_ring(Err(self), name).await)
    }

    /// Sets an extended attribute: `IORING_OP_FSETXATTR`, `fsetxattr(2)`.
    ///
    /// # Errors
    /// As [`set_xattr`].
    pub async fn set_xattr(&self, name: impl AsRef<OsStr>, value: impl AsRef<[u8]>, mode: XattrMode) -> io::Result<()> {
        let (name, value) = (name_of(name.as_ref())?, value.as_ref().into());
        Operation::on(&self.fd, SetXattr::file(self.fd.raw(), name, value, mode.flags() as u32)).await
    }

    /// Removes an extended attribute: `fremovexattr(2)` on the blocking pool.
    ///
    /// # Errors
    /// As [`remove_xattr`].
    pub async fn remove_xattr(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = name_of(name.as_ref())?;
        on_pool::change(&self.fd, move |file| sys::remove_xattr(Bearer::File(file.as_raw_fd()), &name)).await
    }

    /// The names of its extended attributes: `flistxattr(2)` on the blocking pool.
    ///
    /// # Errors
    /// As [`list_xattrs`].
    pub async fn list_xattrs(&self) -> io::Result<Vec<OsString>> {
        let file = sys::duplicate(self.fd.raw())?;
        let list = move |names: &mut Vec<u8>| sys::list_xattrs(Bearer::File(file.as_raw_fd()), names);
        Ok(split(&blocking::run(move || read_all(list)).await?))
    }
}
