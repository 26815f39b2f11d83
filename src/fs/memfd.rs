//! Files in memory.

use std::ffi::{CString, OsStr};
use std::io;
use std::ops::{BitOr, BitOrAssign};
use std::os::unix::ffi::OsStrExt;

use super::File;
use crate::op::invalid;
use crate::sys;

/// How a file in memory is made: `memfd_create(2)`.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{MemfdOptions, Seals};
/// let file = MemfdOptions::new().allow_sealing(true).create("frames")?;
/// file.write_all_at("content", 0).await.0?;
/// file.add_seals(Seals::WRITE | Seals::SHRINK | Seals::GROW)?;
/// // Whoever gets the descriptor may rely on it now.
/// assert!(file.write_at("other", 0).await.0.is_err());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemfdOptions {
    flags: u32,
}

impl MemfdOptions {
    /// One that cannot be sealed.
    pub fn new() -> MemfdOptions {
        MemfdOptions::default()
    }

    fn set(&mut self, flag: u32, on: bool) -> &mut MemfdOptions {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
        self
    }

    /// Whether [`File::add_seals`] may be called (`MFD_ALLOW_SEALING`).
    pub fn allow_sealing(&mut self, allow: bool) -> &mut MemfdOptions {
        self.set(libc::MFD_ALLOW_SEALING, allow)
    }

    /// Of huge pages of the system's usual size, which must have been reserved (`MFD_HUGETLB`).
    pub fn huge_pages(&mut self, huge: bool) -> &mut MemfdOptions {
        self.set(libc::MFD_HUGETLB, huge)
    }

    /// Not to be executed, ever, and sealed so; it can be sealed otherwise, too (`MFD_NOEXEC_SEAL`, Linux 6.3).
    pub fn no_exec(&mut self, no_exec: bool) -> &mut MemfdOptions {
        self.set(libc::MFD_NOEXEC_SEAL, no_exec)
    }

    /// Makes an empty file that is only in memory, for reading and writing: `memfd_create(2)`, a direct call, which does not
    /// block. The name is for those who look into `/proc`; any number of files may have the same.
    ///
    /// # Errors
    /// `InvalidInput` for a name of more than 249 bytes or with a NUL; `Unsupported` for what the kernel is too old for; too many
    /// open files.
    pub fn create(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref().as_bytes();
        let name = CString::new(name).map_err(|_| invalid("the name of a file in memory contained a NUL byte"))?;
        match sys::memfd(&name, self.flags) {
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL)
                    && self.flags & libc::MFD_NOEXEC_SEAL != 0
                    && name.as_bytes().len() <= 249 =>
            {
                Err(io::Error::new(io::ErrorKind::Unsupported, "files that are never executed take Linux 6.3"))
            }
            result => result.map(File::from),
        }
    }
}

/// What must not be done to a file in memory any more, not even by those who have it already: `F_SEAL_*` of `fcntl(2)`. They
/// can be combined with `|`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seals(i32);

impl Seals {
    /// No further seals.
    pub const SEAL: Seals = Seals(libc::F_SEAL_SEAL);
    /// It gets no shorter.
    pub const SHRINK: Seals = Seals(libc::F_SEAL_SHRINK);
    /// It gets no longer.
    pub const GROW: Seals = Seals(libc::F_SEAL_GROW);
    /// Its content does not change. Not while it is mapped for writing.
    pub const WRITE: Seals = Seals(libc::F_SEAL_WRITE);
    /// Its content does not change but through mappings that are there.
    pub const FUTURE_WRITE: Seals = Seals(libc::F_SEAL_FUTURE_WRITE);
    /// Whether it may be executed does not change (Linux 6.3).
    pub const EXEC: Seals = Seals(libc::F_SEAL_EXEC);

    /// Whether all of the other's are among these.
    pub const fn contains(self, other: Seals) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Seals {
    type Output = Seals;

    fn bitor(self, other: Seals) -> Seals {
        Seals(self.0 | other.0)
    }
}

impl BitOrAssign for Seals {
    fn bitor_assign(&mut self, other: Seals) {
        *self = *self | other;
    }
}

/// # Seals of files in memory
impl File {
    /// Adds seals, for ever: `fcntl(2)` with `F_ADD_SEALS`, a direct call, which does not block.
    ///
    /// # Errors
    /// `PermissionDenied` if it was not made with [`MemfdOptions::allow_sealing`] or has [`Seals::SEAL`]; `ResourceBusy` for
    /// [`Seals::WRITE`] while it is mapped for writing or a write is under way; `InvalidInput` for other files.
    pub fn add_seals(&self, seals: Seals) -> io::Result<()> {
        sys::add_seals(self.fd.raw(), seals.0)
    }

    /// The seals that it has: `fcntl(2)` with `F_GET_SEALS`, a direct call, which does not block.
    ///
    /// # Errors
    /// `InvalidInput` for files that are not in memory.
    pub fn seals(&self) -> io::Result<Seals> {
        sys::seals(self.fd.raw()).map(Seals)
    }
}
