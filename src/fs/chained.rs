//! Files that are opened, used and closed by one chain.

use std::path::Path;

use super::{Dir, OpenOptions};
use crate::buf::{IoBuf, IoBufMut};
use crate::op::chain::{CloseChained, OnChained, OpenChained};
use crate::op::{All, CHAINS_OWN, Fsync, Name, OpenAt, Operation, Read, Write};

/// The file that a chain has opened for itself by [`OpenOptions::open_chained`]: what is linked behind that uses and closes it,
/// and all of it goes to the kernel together, for one submission and one wake.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::fs::{ChainedFile, OpenOptions};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("note");
///
/// let mut create = OpenOptions::new();
/// create.write(true).create(true).truncate(true);
/// let chain = create
///     .open_chained(&path)
///     .link(ChainedFile.write_all_at("toss", 0))
///     .link(ChainedFile.sync_data())
///     .link(ChainedFile.close());
/// let (opened, (written, _text), synced, _closed) = chain.await;
/// opened?;
/// written?;
/// synced?;
///
/// // A hard link: a read that meets the end is a failure to the kernel, and the file is closed all the same.
/// let chain = OpenOptions::new()
///     .read(true)
///     .open_chained(&path)
///     .link(ChainedFile.read_at(Vec::with_capacity(100), 0))
///     .hardlink(ChainedFile.close());
/// let (opened, (read, text), _closed) = chain.await;
/// opened?;
/// assert_eq!((read?, &text[..]), (4, &b"toss"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Where the file is
/// At a place of the ring's table of files, which is the chain's until its last completion has come; it has no number. If no link closes
/// it, or the one that would does not run, it is closed when the chain is over. Whatever becomes of the chain (it fails, is
/// dropped or forgotten, its loop ends), neither the file nor the place stays behind.
///
/// Before Linux 6.13, if the table is full (it has as many places as there may be open files), if a link has a time limit, and if the
/// chain has to be submitted in parts for a reason of its other links, the file gets a number, and the links are submitted one
/// by one, with the same outcome.
///
/// # What is different from a `File`
/// * A transfer is one call: `write_all_at` and `read_exact_at` that move less are errors, for what follows may have closed the
///   file.
/// * Closing by a place tells no error: the kernel does not ask the file system for one, as `close(2)` does. Where that says that
///   what was written is lost (NFS, FUSE), only [`sync_data`](ChainedFile::sync_data) tells, and only that has it written by then.
/// * Awaited by themselves, outside of a chain, its operations are errors, `EBADF`; in a chain that has opened no file they do not
///   compile.
#[derive(Clone, Copy, Debug)]
pub struct ChainedFile;

impl ChainedFile {
    /// Reads at an offset, up to the buffer's capacity, as [`File::read_at`](super::File::read_at).
    ///
    /// # Errors
    /// As `File::read_at`.
    pub fn read_at<B: IoBufMut>(self, buf: B, offset: u64) -> Operation<'static, OnChained<Read<B>>> {
        on_chained(Read::at(CHAINS_OWN, buf, offset))
    }

    /// Reads exactly so many bytes at an offset, as [`File::read_exact_at`](super::File::read_exact_at), by one call.
    ///
    /// # Errors
    /// `UnexpectedEof` if it reads less, and as `File::read_exact_at`.
    pub fn read_exact_at<B: IoBufMut>(self, buf: B, len: usize, offset: u64) -> Operation<'static, OnChained<Read<B>>> {
        on_chained(Read::exact_at(CHAINS_OWN, buf, len, offset))
    }

    /// Writes at an offset, as much as the kernel takes, as [`File::write_at`](super::File::write_at).
    ///
    /// # Errors
    /// As `File::write_at`.
    pub fn write_at<B: IoBuf>(self, buf: B, offset: u64) -> Operation<'static, OnChained<Write<B>>> {
        on_chained(Write::at(CHAINS_OWN, buf, offset))
    }

    /// Writes all of a buffer at an offset, as [`File::write_all_at`](super::File::write_all_at), by one call.
    ///
    /// # Errors
    /// `WriteZero` if it writes less, and as `File::write_all_at`.
    pub fn write_all_at<B: IoBuf>(self, buf: B, offset: u64) -> Operation<'static, OnChained<All<Write<B>>>> {
        on_chained(Write::all_at(CHAINS_OWN, buf, offset))
    }

    /// Waits until content and metadata have reached the device, as [`File::sync_all`](super::File::sync_all).
    ///
    /// # Errors
    /// As `File::sync_all`.
    pub fn sync_all(self) -> Operation<'static, OnChained<Fsync>> {
        on_chained(Fsync::new(CHAINS_OWN, false))
    }

    /// The same without metadata that is not needed to read the content, as [`File::sync_data`](super::File::sync_data).
    ///
    /// # Errors
    /// As `File::sync_data`.
    pub fn sync_data(self) -> Operation<'static, OnChained<Fsync>> {
        on_chained(Fsync::new(CHAINS_OWN, true))
    }

    /// Closes it: `IORING_OP_CLOSE`. What is linked behind this runs when it is closed.
    ///
    /// # Errors
    /// None but those of a link that has not run: see above.
    pub fn close(self) -> Operation<'static, CloseChained> {
        Operation::<CloseChained>::new(CloseChained::new())
    }
}

fn on_chained<O: crate::op::chain::Link>(op: O) -> Operation<'static, OnChained<O>> {
    Operation::<OnChained<O>>::new(OnChained::new(op))
}

/// # For a chain
impl OpenOptions {
    /// Opens a file for the chain that this is put into, and for nobody else: `IORING_OP_OPENAT`, `openat(2)`. What is linked behind
    /// it names the file as [`ChainedFile`]; see there. Awaited by itself, it opens the file and closes it.
    ///
    /// Dropped early, the file is closed again, but may have been created or truncated, and written by a link that was at work:
    /// perhaps only after what is called next, for what the next one opens is another open file.
    ///
    /// # Errors
    /// As [`open`](OpenOptions::open).
    pub fn open_chained(&self, path: impl AsRef<Path>) -> Operation<'static, OpenChained> {
        self.chained(Name::new(path.as_ref()))
    }

    fn chained(&self, name: Name) -> Operation<'static, OpenChained> {
        let open: OpenAt<crate::fd::Fd> = self.opening(name);
        Operation::<OpenChained>::new(OpenChained::new(open))
    }
}

/// # For a chain
impl Dir {
    /// Opens a file for the chain that this is put into, as [`OpenOptions::open_chained`].
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open_chained(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Operation<'static, OpenChained> {
        options.chained(self.name(path.as_ref()))
    }
}
