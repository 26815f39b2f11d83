//! A whole file in one go.

use std::io;
use std::path::Path;

use super::File;
use crate::buf::IoBuf;
use crate::op::{LARGE, OpenAt, Operation, Read, ReadToEnd};
use crate::sys::{self, Known};

/// A file that is about to be opened.
type Opening = Operation<'static, OpenAt<File>>;

/// Room for a file whose length nobody knows before it is read. From so many bytes on the length is not taken for the end: a FUSE
/// server may tell one that means nothing, and answer a read with as much.
const FIRST_BYTES: usize = 16 * 1024;

/// Reads a whole file. Its length is only a hint: files that grow or shrink meanwhile, and those of `/proc`, which have a
/// length of 0, are read to their end. `IORING_OP_OPENAT`, `statx(2)` for what is known of the length without waiting, and
/// `preadv2(2)` for less than 1 MiB that the page cache has (`RWF_NOWAIT`), or that is memory itself (tmpfs, memfd: `fcntl(2)` with
/// `F_GET_SEALS`). `IORING_OP_READ` for all else; where nothing is known and more than 16 KiB come, `IORING_OP_STATX`.
/// Dropped early, nothing has happened.
///
/// ```
/// # ringtoss::block_on(async {
/// let bytes = ringtoss::fs::read("/proc/self/stat").await?;
/// assert_eq!(bytes.last(), Some(&b'\n'));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `NotFound`, `PermissionDenied`, `IsADirectory`, `OutOfMemory`, ….
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_all(File::open(path)).await
}

pub(super) async fn read_all(opening: Opening) -> io::Result<Vec<u8>> {
    let mut file = opening.await?;
    // `IORING_OP_STATX` goes to a thread of the kernel's own, which takes longer than all the rest.
    let known = sys::known(file.fd.raw()).filter(|known| known.len > 0);
    let room = known.as_ref().map_or(FIRST_BYTES, |known| with_room_for_the_end(known.len, 0));
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
    if let Some(known) = &known {
        file.fd.found_regular();
        if room <= LARGE && read_now(&file, known, &mut bytes) {
            return Ok(bytes);
        }
    } else if !file.fd.takes_offsets() {
        let (result, bytes) = file.read_to_end(bytes).await;
        return result.map(|_| bytes);
    }
    if bytes.is_empty() {
        let result;
        (result, bytes) = Operation::on(&file.fd, Read::at(file.fd.raw(), bytes, 0)).await;
        result?;
        if known.as_ref().is_some_and(|known| is_all(known, bytes.len())) {
            return Ok(bytes);
        }
    }
    if known.is_none() && bytes.len() == FIRST_BYTES {
        let len = file.metadata().await.map_or(0, |metadata| metadata.len());
        bytes.try_reserve_exact(with_room_for_the_end(len, bytes.len())).map_err(|_| io::ErrorKind::OutOfMemory)?;
    }
    let (result, mut bytes) = Operation::on(&file.fd, ReadToEnd::of_own_file(&file.fd, bytes)).await;
    result?;
    if bytes.len() < bytes.capacity() / 2 {
        bytes.shrink_to_fit();
    }
    Ok(bytes)
}

/// Reads what can be had on the spot, and tells whether that is all. The kernel would copy what it has in its page cache while the
/// loop submits, too, so it need not be asked by the ring; but what is in memory itself it gives to a thread of its own, for
/// such file systems do not say that they have no device to wait for: 20 to 80 µs, if nothing else goes on. (It may be swapped out, as
/// the memory may be that it is copied to.)
fn read_now(file: &File, known: &Known, bytes: &mut Vec<u8>) -> bool {
    let read = if known.in_memory { sys::append_from_memory } else { sys::append_now };
    // What goes wrong is left to the ring, which can wait; so is a part, with its beginning: that is one read more, not two.
    let read = read(file.fd.raw(), bytes).unwrap_or(0);
    if read as u64 != known.len {
        bytes.clear();
    }
    is_all(known, read)
}

/// Whether a read that had room for more has brought the whole file: less than was asked for, and as long as it is. The read
/// that would find the end is spared.
fn is_all(known: &Known, count: usize) -> bool {
    known.len == count as u64 && (known.in_memory || count < FIRST_BYTES)
}

/// What is missing of a file of this length, and one byte more, so that the read that finds the end needs no more room.
fn with_room_for_the_end(len: u64, read: usize) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX).saturating_add(1).saturating_sub(read)
}

/// Reads a whole file as text, as [`read`] does.
///
/// ```
/// # ringtoss::block_on(async {
/// let status = ringtoss::fs::read_to_string("/proc/self/status").await?;
/// assert!(status.starts_with("Name:"));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// `InvalidData` if it is not UTF-8, and as [`read`].
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    read_text(File::open(path)).await
}

pub(super) async fn read_text(opening: Opening) -> io::Result<String> {
    let bytes = read_all(opening).await?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8"))
}

/// Writes a whole file: creates it or cuts it off, writes, and closes it, so that the file is at nobody's hand any more
/// when this is done (but, seldom and for a moment, at that of a thread of the kernel's which has written it: who runs a
/// program at once may find it busy then). `IORING_OP_OPENAT`, `IORING_OP_WRITE`, `IORING_OP_CLOSE`. The content is dropped with the operation;
/// who wants it back gives a shared one, for instance an `Arc<[u8]>`. Dropped early, the file may have been written in
/// part.
///
/// ```
/// # ringtoss::block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("greeting");
/// ringtoss::fs::write(&path, "hello").await?;
/// assert_eq!(ringtoss::fs::read(&path).await?, b"hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of std: `PermissionDenied`, `StorageFull`, …, and that of closing the file; if it is awaited on another loop than the one
/// that wrote, the file is closed there soon after, and that error is lost.
pub async fn write(path: impl AsRef<Path>, contents: impl IoBuf) -> io::Result<()> {
    write_all(File::create(path), contents).await
}

pub(super) async fn write_all(creating: Opening, contents: impl IoBuf) -> io::Result<()> {
    let mut file = creating.await?;
    // At an offset no position has to be asked for, before it and after it.
    let offsets = file.fd.takes_offsets();
    let written = if offsets { file.write_all_at(contents, 0).await.0 } else { file.write_all(contents).await.0 };
    written?;
    file.close().await
}
