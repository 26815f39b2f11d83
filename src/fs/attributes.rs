//! Permissions, owners and times.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{File, on_pool};
use crate::blocking;
use crate::op::{At, invalid, kernel_path};
use crate::sys;

/// Sets the permissions of what a path names, of the target if that is a link: `chmod(2)` on the blocking pool. Dropped
/// early, it may happen all the same, also after what is called next.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs;
/// use std::os::unix::fs::PermissionsExt;
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("key");
/// fs::write(&path, "secret").await?;
/// let mut permissions = fs::metadata(&path).await?.permissions();
/// permissions.set_mode(0o600);
/// fs::set_permissions(&path, permissions).await?;
/// # assert_eq!(fs::metadata(&path).await?.mode() & 0o777, 0o600);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::fs::set_permissions(path, permissions)).await
}

/// Sets owner and group of what a path names, of the target if that is a link; `None` leaves them: `chown(2)` on the
/// blocking pool. Dropped early, it may happen all the same, also after what is called next.
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
pub async fn chown(path: impl AsRef<Path>, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::os::unix::fs::chown(path, uid, gid)).await
}

/// The same, but of a link itself: `lchown(2)`.
///
/// # Errors
/// As [`chown`].
pub async fn lchown(path: impl AsRef<Path>, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    blocking::run(move || std::os::unix::fs::lchown(path, uid, gid)).await
}

/// Sets the times of what a path names, of the target if that is a link: `utimensat(2)` on the blocking pool. Dropped early,
/// it may happen all the same, also after what is called next.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, …; `InvalidInput` for a path that contains a NUL.
pub async fn set_times(path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
    set_times_at(At::Cwd, path.as_ref(), times, 0).await
}

/// The same, but of a link itself.
///
/// # Errors
/// As [`set_times`].
pub async fn set_times_nofollow(path: impl AsRef<Path>, times: FileTimes) -> io::Result<()> {
    set_times_at(At::Cwd, path.as_ref(), times, libc::AT_SYMLINK_NOFOLLOW).await
}

pub(super) async fn set_times_at(at: At, path: &Path, times: FileTimes, flags: i32) -> io::Result<()> {
    let path = kernel_path(path).map_err(invalid)?;
    blocking::run(move || sys::set_times(at.raw(), Some(&path), times.split(), flags)).await
}

/// Times of a file to be set: those of std's type of the same name, which cannot be looked into.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{self, File, FileTimes};
/// use std::time::{Duration, SystemTime};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("old");
/// let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
/// let file = File::create(&path).await?;
/// file.set_times(FileTimes::new().set_modified(yesterday)).await?;
/// assert_eq!(fs::metadata(&path).await?.modified()?, yesterday);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FileTimes {
    accessed: Option<SystemTime>,
    modified: Option<SystemTime>,
}

impl FileTimes {
    /// Nothing is set, and what is not set is left as it is.
    pub fn new() -> FileTimes {
        FileTimes::default()
    }

    /// When it was last read.
    pub fn set_accessed(mut self, time: SystemTime) -> FileTimes {
        self.accessed = Some(time);
        self
    }

    /// When its content last changed.
    pub fn set_modified(mut self, time: SystemTime) -> FileTimes {
        self.modified = Some(time);
        self
    }

    /// Whole seconds since the epoch, rounded down, and the nanoseconds to these.
    fn split(self) -> [Option<(i64, u32)>; 2] {
        [self.accessed, self.modified].map(|time| {
            time.map(|time| match time.duration_since(UNIX_EPOCH) {
                Ok(after) => (after.as_secs() as i64, after.subsec_nanos()),
                Err(before) => {
                    let before = before.duration();
                    let seconds = 0i64.wrapping_sub_unsigned(before.as_secs());
                    match before.subsec_nanos() {
                        0 => (seconds, 0),
                        nanoseconds => (seconds.wrapping_sub(1), 1_000_000_000 - nanoseconds),
                    }
                }
            })
        })
    }
}

/// # Permissions, owners and times
///
/// These have no operation of the ring's and are made on the blocking pool. They wait for writes that were dropped. Dropped
/// themselves before they are done, they may happen all the same, and what changes the file next waits for that.
impl File {
    /// Sets the permissions: `fchmod(2)`.
    ///
    /// # Errors
    /// Those of std: `PermissionDenied`, ….
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        on_pool::change(&self.fd, move |file| file.set_permissions(permissions)).await
    }

    /// Sets the times: `futimens(2)`.
    ///
    /// # Errors
    /// Those of std: `PermissionDenied`, ….
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        on_pool::change(&self.fd, move |file| sys::set_times(file.as_raw_fd(), None, times.split(), 0)).await
    }

    /// Sets when its content last changed: `futimens(2)`.
    ///
    /// # Errors
    /// As [`set_times`](File::set_times).
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Sets owner and group; `None` leaves them: `fchown(2)`.
    ///
    /// # Errors
    /// Those of std: `PermissionDenied`, ….
    pub async fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        on_pool::change(&self.fd, move |file| std::os::unix::fs::fchown(file, uid, gid)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_split_at_whole_seconds_before_them() {
        let split = |time| FileTimes::new().set_modified(time).split()[1].unwrap();
        let (second, nanosecond) = (Duration::from_secs(1), Duration::from_nanos(1));
        assert_eq!(split(UNIX_EPOCH), (0, 0));
        assert_eq!(split(UNIX_EPOCH + second + nanosecond), (1, 1));
        assert_eq!(split(UNIX_EPOCH - nanosecond), (-1, 999_999_999));
        assert_eq!(split(UNIX_EPOCH - second), (-1, 0));
        assert_eq!(split(UNIX_EPOCH - second - nanosecond), (-2, 999_999_999));
        let earliest = UNIX_EPOCH - Duration::from_secs(1 << 63);
        assert_eq!(split(earliest), (i64::MIN, 0));
        assert_eq!(split(earliest + nanosecond), (i64::MIN, 1));
        assert_eq!(FileTimes::new().split(), [None, None]);
    }
}
