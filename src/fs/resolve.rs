//! How far a path may lead.

use std::ops::{BitOr, BitOrAssign};

/// Restrictions on where a path may lead when it is opened, `RESOLVE_*` of `openat2(2)`: for
/// [`OpenOptions::resolve`](super::OpenOptions::resolve) and [`Dir::open_dir_with`](super::Dir::open_dir_with). They can
/// be combined with `|`. They hold for every part of the path, also while others rename and link in it.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{Dir, Resolve};
/// # let temporary = tempfile::tempdir()?;
/// # std::fs::create_dir(temporary.path().join("a"))?;
/// # std::os::unix::fs::symlink("a", temporary.path().join("link"))?;
/// # let dir = Dir::open(temporary.path()).await?;
/// dir.open_dir_with("a", Resolve::BENEATH | Resolve::NO_SYMLINKS).await?;
/// assert!(dir.open_dir_with("link", Resolve::BENEATH).await.is_ok());
/// assert!(dir.open_dir_with("link", Resolve::NO_SYMLINKS).await.is_err()); // ELOOP
/// assert!(dir.open_dir_with("..", Resolve::BENEATH).await.is_err()); // EXDEV
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resolve(u64);

impl Resolve {
    /// Not out of the directory that it starts from: neither by `..`, nor by a link, nor by being absolute. `CrossesDevices`
    /// (`EXDEV`) otherwise.
    pub const BENEATH: Resolve = Resolve(libc::RESOLVE_BENEATH);
    /// The directory that it starts from is the root: absolute paths and links start there, and `..` there leads there.
    pub const IN_ROOT: Resolve = Resolve(libc::RESOLVE_IN_ROOT);
    /// Over no symbolic link: `FilesystemLoop` (`ELOOP`) otherwise.
    pub const NO_SYMLINKS: Resolve = Resolve(libc::RESOLVE_NO_SYMLINKS);
    /// Over no link of `/proc` that leads to where its text does not say: `FilesystemLoop` (`ELOOP`) otherwise.
    pub const NO_MAGICLINKS: Resolve = Resolve(libc::RESOLVE_NO_MAGICLINKS);
    /// Not to another mount, not even of the same file system: `CrossesDevices` (`EXDEV`) otherwise.
    pub const NO_XDEV: Resolve = Resolve(libc::RESOLVE_NO_XDEV);
    /// Only by what is in the kernel's cache: `WouldBlock` otherwise, and for what creates or truncates.
    pub const CACHED: Resolve = Resolve(libc::RESOLVE_CACHED);

    /// Whether all of the other's are among these.
    pub const fn contains(self, other: Resolve) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }
}

impl BitOr for Resolve {
    type Output = Resolve;

    fn bitor(self, other: Resolve) -> Resolve {
        Resolve(self.0 | other.0)
    }
}

impl BitOrAssign for Resolve {
    fn bitor_assign(&mut self, other: Resolve) {
        *self = *self | other;
    }
}
