//! What `statx(2)` knows beyond std's metadata.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};
use std::path::Path;

use super::{Dir, File, Metadata};
use crate::op::{FromStatx, Name, Operation, Statx};

/// `STATX_*` that are younger than the crate's oldest companions.
const MNT_ID_UNIQUE: u32 = 0x4000;
const SUBVOL: u32 = 0x8000;
const WRITE_ATOMIC: u32 = 0x1_0000;

/// Fields to be asked for, `STATX_*` of `statx(2)`: for [`StatOptions::fields`]. They can be combined with `|`. A file
/// system gives what it has, which may be more or less; [`Stat::fields`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatFields(u32);

impl StatFields {
    /// What kind of file it is.
    pub const TYPE: StatFields = StatFields(libc::STATX_TYPE);
    /// Its permissions.
    pub const MODE: StatFields = StatFields(libc::STATX_MODE);
    /// How many names it has.
    pub const NLINK: StatFields = StatFields(libc::STATX_NLINK);
    /// Its owner.
    pub const UID: StatFields = StatFields(libc::STATX_UID);
    /// Its group.
    pub const GID: StatFields = StatFields(libc::STATX_GID);
    /// When it was last read.
    pub const ATIME: StatFields = StatFields(libc::STATX_ATIME);
    /// When its content last changed.
    pub const MTIME: StatFields = StatFields(libc::STATX_MTIME);
    /// When content or metadata last changed.
    pub const CTIME: StatFields = StatFields(libc::STATX_CTIME);
    /// Its inode.
    pub const INO: StatFields = StatFields(libc::STATX_INO);
    /// Its length.
    pub const SIZE: StatFields = StatFields(libc::STATX_SIZE);
    /// The space that it takes.
    pub const BLOCKS: StatFields = StatFields(libc::STATX_BLOCKS);
    /// All of the above.
    pub const BASIC: StatFields = StatFields(libc::STATX_BASIC_STATS);
    /// When it was created.
    pub const BTIME: StatFields = StatFields(libc::STATX_BTIME);
    /// The mount that it was found on.
    pub const MOUNT_ID: StatFields = StatFields(libc::STATX_MNT_ID);
    /// The same, never given twice (Linux 6.8).
    pub const MOUNT_ID_UNIQUE: StatFields = StatFields(MNT_ID_UNIQUE);
    /// What `O_DIRECT` asks of buffers and offsets (Linux 6.1).
    pub const DIO_ALIGN: StatFields = StatFields(libc::STATX_DIOALIGN);
    /// The subvolume that it is on (Linux 6.10).
    pub const SUBVOLUME: StatFields = StatFields(SUBVOL);
    /// What can be written atomically (Linux 6.11).
    pub const WRITE_ATOMIC: StatFields = StatFields(WRITE_ATOMIC);

    /// Whether all of the other's are among these.
    pub const fn contains(self, other: StatFields) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for StatFields {
    type Output = StatFields;

    fn bitor(self, other: StatFields) -> StatFields {
        StatFields(self.0 | other.0)
    }
}

impl BitOrAssign for StatFields {
    fn bitor_assign(&mut self, other: StatFields) {
        *self = *self | other;
    }
}

/// How current the answer of a network file system has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatSync {
    /// As `stat(2)` would have it.
    #[default]
    AsStat,
    /// The server is asked (`AT_STATX_FORCE_SYNC`).
    Force,
    /// What is known here will do (`AT_STATX_DONT_SYNC`).
    Dont,
}

/// How a file is asked about: chosen fields, and what std does not have. `IORING_OP_STATX`, `statx(2)`.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{StatFields, StatOptions};
/// let stat = StatOptions::new().fields(StatFields::SIZE | StatFields::MOUNT_ID).of("/etc/passwd").await?;
/// assert!(stat.metadata().len() > 0);
/// println!("on mount {:?}", stat.mount_id());
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct StatOptions {
    fields: StatFields,
    follow: bool,
    automount: bool,
    sync: StatSync,
}

impl Default for StatOptions {
    fn default() -> StatOptions {
        StatOptions::new()
    }
}

impl StatOptions {
    /// All that std knows; of the target if the path is that of a link.
    pub fn new() -> StatOptions {
        let fields = StatFields::BASIC | StatFields::BTIME;
        StatOptions { fields, follow: true, automount: true, sync: StatSync::AsStat }
    }

    /// Which fields.
    pub fn fields(&mut self, fields: StatFields) -> &mut StatOptions {
        self.fields = fields;
        self
    }

    /// Whether a link at the path's end is followed.
    pub fn follow(&mut self, follow: bool) -> &mut StatOptions {
        self.follow = follow;
        self
    }

    /// Whether something is mounted for it if the path's end is a place where that happens by itself.
    pub fn automount(&mut self, automount: bool) -> &mut StatOptions {
        self.automount = automount;
        self
    }

    /// How current the answer has to be.
    pub fn sync(&mut self, sync: StatSync) -> &mut StatOptions {
        self.sync = sync;
        self
    }

    /// Asks about what a path names. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// As [`fs::metadata`](super::metadata()).
    pub fn of(&self, path: impl AsRef<Path>) -> Operation<'static, Statx<Stat>> {
        Operation::<Statx<Stat>>::new(self.asking(Statx::path(Name::new(path.as_ref()), self.follow)))
    }

    /// The same for a path that starts from an open directory.
    ///
    /// # Errors
    /// As [`fs::metadata`](super::metadata()).
    pub fn of_name(&self, dir: &Dir, path: impl AsRef<Path>) -> Operation<'static, Statx<Stat>> {
        Operation::<Statx<Stat>>::new(self.asking(Statx::path(dir.name(path.as_ref()), self.follow)))
    }

    /// The same for an open file.
    ///
    /// # Errors
    /// Those of the call.
    pub fn of_file<'a>(&self, file: &'a File) -> Operation<'a, Statx<Stat>> {
        Operation::on(&file.fd, self.asking(Statx::open_file(file.fd.raw())))
    }

    fn asking(&self, statx: Statx<Stat>) -> Statx<Stat> {
        let sync = match self.sync {
            StatSync::AsStat => libc::AT_STATX_SYNC_AS_STAT,
            StatSync::Force => libc::AT_STATX_FORCE_SYNC,
            StatSync::Dont => libc::AT_STATX_DONT_SYNC,
        };
        let automount = if self.automount { 0 } else { libc::AT_NO_AUTOMOUNT };
        statx.asking(self.fields.0, sync | automount)
    }
}

/// What `O_DIRECT` asks for, in bytes: given by [`Stat::dio_align`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DioAlign {
    /// Buffers begin at multiples of this.
    pub memory: u32,
    /// Offsets and lengths are multiples of this.
    pub offset: u32,
}

/// What can be written with [`RwFlags::ATOMIC`](super::RwFlags::ATOMIC): given by [`Stat::atomic_write`]. Lengths are powers of
/// two, and offsets multiples of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AtomicWrite {
    /// At least so many bytes.
    pub min: u32,
    /// At most so many bytes.
    pub max: u32,
    /// From at most so many buffers.
    pub segments: u32,
}

/// What a file is marked as, `STATX_ATTR_*` of `statx(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attribute {
    /// The file system keeps it compressed.
    Compressed,
    /// It cannot be changed, renamed or removed.
    Immutable,
    /// It can only be appended to.
    AppendOnly,
    /// Backups leave it out.
    NoDump,
    /// It is encrypted.
    Encrypted,
    /// Something is mounted there when it is looked at.
    Automount,
    /// It is the root of a mount.
    MountRoot,
    /// Its content is checked against a signature and cannot change.
    Verity,
    /// It is in memory that keeps its content, and is used there.
    Dax,
    /// It takes atomic writes (Linux 6.11).
    WriteAtomic,
}

impl Attribute {
    fn bit(self) -> u64 {
        match self {
            Attribute::Compressed => 0x4,
            Attribute::Immutable => 0x10,
            Attribute::AppendOnly => 0x20,
            Attribute::NoDump => 0x40,
            Attribute::Encrypted => 0x800,
            Attribute::Automount => 0x1000,
            Attribute::MountRoot => 0x2000,
            Attribute::Verity => 0x10_0000,
            Attribute::Dax => 0x20_0000,
            Attribute::WriteAtomic => 0x40_0000,
        }
    }
}

/// What was found out about a file: given by [`StatOptions`].
#[derive(Clone)]
pub struct Stat {
    metadata: Metadata,
}

impl FromStatx for Stat {
    fn from_statx(answer: Box<libc::statx>) -> Stat {
        Stat { metadata: Metadata::from_statx(answer) }
    }
}

impl Stat {
    fn raw(&self) -> &libc::statx {
        self.metadata.raw()
    }

    fn given<T>(&self, fields: u32, value: T) -> Option<T> {
        (self.raw().stx_mask & fields != 0).then_some(value)
    }

    /// Which fields the file system gave.
    pub fn fields(&self) -> StatFields {
        StatFields(self.raw().stx_mask)
    }

    /// Std's view of it. What was not asked for, or not given, is 0 there.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether it is marked so; `None` where the file system does not tell.
    pub fn attribute(&self, attribute: Attribute) -> Option<bool> {
        let (bits, known) = (self.raw().stx_attributes, self.raw().stx_attributes_mask);
        (known & attribute.bit() != 0).then_some(bits & attribute.bit() != 0)
    }

    /// The mount that it is on, by its number in `/proc/self/mountinfo`: of [`StatFields::MOUNT_ID`].
    pub fn mount_id(&self) -> Option<u64> {
        self.given(libc::STATX_MNT_ID, self.raw().stx_mnt_id)
    }

    /// The mount that it is on, by a number that is never given twice: of [`StatFields::MOUNT_ID_UNIQUE`], which takes the
    /// place of the other; `None` before Linux 6.8.
    pub fn unique_mount_id(&self) -> Option<u64> {
        self.given(MNT_ID_UNIQUE, self.raw().stx_mnt_id)
    }

    /// What `O_DIRECT` asks for, if [`StatFields::DIO_ALIGN`] was asked for and the file system tells; 0 if it has no
    /// `O_DIRECT`.
    pub fn dio_align(&self) -> Option<DioAlign> {
        let align = DioAlign { memory: self.raw().stx_dio_mem_align, offset: self.raw().stx_dio_offset_align };
        self.given(libc::STATX_DIOALIGN, align)
    }

    /// The subvolume that it is on, if [`StatFields::SUBVOLUME`] was asked for and there are such.
    pub fn subvolume(&self) -> Option<u64> {
        self.given(SUBVOL, self.raw().stx_subvol)
    }

    /// What can be written atomically, if [`StatFields::WRITE_ATOMIC`] was asked for and the file system tells; 0 if nothing
    /// can.
    pub fn atomic_write(&self) -> Option<AtomicWrite> {
        let raw = self.raw();
        let (min, max) = (raw.stx_atomic_write_unit_min, raw.stx_atomic_write_unit_max);
        self.given(WRITE_ATOMIC, AtomicWrite { min, max, segments: raw.stx_atomic_write_segments_max })
    }
}

impl fmt::Debug for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stat")
            .field("fields", &self.fields())
            .field("metadata", &self.metadata)
            .field("mount_id", &self.mount_id())
            .field("dio_align", &self.dio_align())
            .finish_non_exhaustive()
    }
}
