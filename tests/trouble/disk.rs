//! Disks that are full, and files that are removed while they are open.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ringtoss::fs::{self, File};
use ringtoss::io;
use ringtoss::op::transferred;

use crate::util::*;

const MIB: usize = 1 << 20;

fn assert_full(error: &std::io::Error) {
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::StorageFull, Some(libc::ENOSPC)), "{error:?}");
}

/// Checks that a file is the first bytes of the pattern, and gives how many.
fn prefix(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    check(&bytes, 0);
    bytes.len()
}

/// Removes a file, and waits until its room is free again: a journal keeps it for a while.
async fn remove(path: &Path) {
    fs::remove_file(path).await.unwrap();
    fs::Dir::open(path.parent().unwrap()).await.unwrap().sync_all().await.unwrap();
    let dir = std::fs::File::open(path.parent().unwrap()).unwrap();
    // SAFETY: no memory is passed.
    ringtoss::spawn_blocking(move || unsafe { libc::syncfs(dir.as_raw_fd()) }).await.unwrap();
}

/// What the kernel took is in the file, in order, and the rest can be written when there is room again: the loop that a
/// user writes by hand.
async fn single_writes(dir: &Path) {
    let (ballast, path) = (dir.join("ballast"), dir.join("single"));
    std::fs::write(&ballast, vec![1; MIB / 2]).unwrap();
    let file = File::create(&path).await.unwrap();
    let (bytes, mut at, mut refused) = (pattern(0, 5 * MIB / 8), 0, false);
    while at < bytes.len() {
        let end = (at + 48_000).min(bytes.len());
        match file.write_at(bytes[at..end].to_vec(), at as u64).await.0 {
            Ok(count) => at += count,
            Err(error) => {
                assert_full(&error);
                assert!(!refused, "there is room again");
                refused = true;
                assert_eq!(prefix(&path), at, "what was taken is there, and nothing else");
                fs::remove_file(&ballast).await.unwrap();
            }
        }
    }
    assert!(refused);
    file.sync_all().await.unwrap();
    file.close().await.unwrap();
    assert_eq!(prefix(&path), bytes.len());
    remove(&path).await;
}

async fn whole_writes(dir: &Path, exactly: bool) {
    let bytes = pattern(0, 4 * MIB);
    let path = dir.join("all");
    let mut file = File::create(&path).await.unwrap();
    let (result, back) = file.write_all(bytes).await;
    let error = result.unwrap_err();
    assert_full(&error);
    assert_eq!(back.len(), 4 * MIB, "the buffer comes back whole");
    let taken = prefix(&path);
    // An ext4 with large folios refuses at once what does not fit as a whole.
    assert!((taken > MIB / 4 || !exactly) && taken < 4 * MIB, "{taken}");
    if let Some(count) = transferred(&error) {
        assert_eq!(count, taken);
    }
    assert_eq!(file.stream_position().await.unwrap(), taken as u64);
    file.sync_all().await.unwrap();
    file.close().await.unwrap();
    remove(&path).await;
}

/// `fs::write` and `fs::copy` leave what std's leave.
async fn as_std_leaves_it(dir: &Path, exactly: bool) {
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), pattern(0, 4 * MIB)).unwrap();
    let path = dir.join("whole");
    let mut lengths = Vec::new();
    for round in 0..4 {
        let (from, to) = (source.path().to_path_buf(), path.clone());
        let error = match round {
            0 => fs::write(&path, pattern(0, 4 * MIB)).await.unwrap_err(),
            1 => std::fs::write(&path, pattern(0, 4 * MIB)).unwrap_err(),
            2 => fs::copy(from, to).await.unwrap_err(),
            _ => std::fs::copy(from, to).unwrap_err(),
        };
        assert_full(&error);
        lengths.push(prefix(&path));
        remove(&path).await;
    }
    if exactly {
        assert!(lengths[0] == lengths[1] && lengths[2] == lengths[3], "{lengths:?}");
    } else {
        let about = |one: usize, other: usize| one.abs_diff(other) <= MIB / 4;
        assert!(about(lengths[0], lengths[1]) && about(lengths[2], lengths[3]), "{lengths:?}");
    }
}

async fn streams(dir: &Path) {
    let path = dir.join("copied");
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), pattern(0, 4 * MIB)).unwrap();
    let mut from = File::open(source.path()).await.unwrap();
    let mut to = File::create(&path).await.unwrap();
    let error = io::copy(&mut from, &mut to).await.unwrap_err();
    assert_full(&error);
    let taken = prefix(&path);
    // Cut short or not, nothing was read that is nowhere: the rest comes out of the source.
    let read = from.stream_position().await.unwrap() as usize;
    assert!(taken > 0 && read >= taken, "{taken} of {read}");
    to.close().await.unwrap();
    remove(&path).await;
    // The same through a pipe in the kernel.
    let mut to = File::create(&path).await.unwrap();
    from.rewind().await.unwrap();
    let error = io::splice(&mut from, &mut to, 4 << 20).await.unwrap_err();
    assert_full(&error);
    let taken = prefix(&path);
    assert!(taken > 0);
    let (result, next) = from.read(Vec::with_capacity(1000)).await;
    assert!(result.unwrap() > 0);
    check(&next, taken);
    to.close().await.unwrap();
    remove(&path).await;
}

async fn many_at_once(dir: &Path) {
    let path = dir.join("many");
    let file = std::sync::Arc::new(File::create(&path).await.unwrap());
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let file = file.clone();
            ringtoss::spawn(async move {
                let at = writer * 128 * 1024;
                let (result, _) = file.write_at(pattern(at, 128 * 1024), at as u64).await;
                (at, result)
            })
        })
        .collect();
    let (mut taken, mut full) = (Vec::new(), 0);
    for writer in writers {
        match writer.await.unwrap() {
            (at, Ok(count)) => taken.push((at, count)),
            (_, Err(error)) => {
                assert_full(&error);
                full += 1;
            }
        }
    }
    assert!(full > 0 && !taken.is_empty());
    let std = std::fs::File::open(&path).unwrap();
    for (at, count) in taken {
        let mut bytes = vec![0; count];
        std.read_exact_at(&mut bytes, at as u64).unwrap();
        check(&bytes, at);
    }
    drop(file);
    remove(&path).await;
}

async fn everything(dir: &Path, exactly: bool) {
    single_writes(dir).await;
    whole_writes(dir, exactly).await;
    as_std_leaves_it(dir, exactly).await;
    streams(dir).await;
    many_at_once(dir).await;
    quiet().await;
}

#[test]
fn a_full_file_system_in_memory() {
    let Some(disk) = Mounted::tmpfs(MIB) else { return };
    run(everything(disk.path(), true));
}

#[test]
fn a_full_disk() {
    let Some(disk) = Mounted::ext4(3 << 20) else { return };
    // The journal and the tables take their part: what is left is made the same as above.
    let free = free_bytes(disk.path());
    if free > MIB as u64 + 65536 {
        let ballast = std::fs::File::create(disk.path().join("ballast0")).unwrap();
        // SAFETY: no memory is passed.
        let taken = unsafe { libc::posix_fallocate(ballast.as_raw_fd(), 0, (free - MIB as u64) as i64) };
        assert_eq!(taken, 0);
    }
    run(everything(disk.path(), false));
}

fn free_bytes(path: &Path) -> u64 {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: plain bytes, for which zero is valid.
    let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: path and structure live over the call.
    assert_eq!(unsafe { libc::statvfs(path.as_ptr(), &raw mut about) }, 0);
    about.f_bavail * about.f_frsize
}

#[test]
fn a_file_that_is_removed_while_it_is_open_goes_on() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone");
        let mut file = File::options().read(true).write(true).create(true).open(&path).await.unwrap();
        file.write_all(pattern(0, 100_000)).await.0.unwrap();
        let write = file.write_at(pattern(100_000, 100_000), 100_000);
        let (removed, written) = futures::join!(fs::remove_file(&path), write);
        removed.unwrap();
        assert_eq!(written.0.unwrap(), 100_000);
        assert!(!fs::exists(&path).await.unwrap());
        assert_eq!(file.metadata().await.unwrap().nlink(), 0);
        // A new one of that name is another.
        fs::write(&path, "new").await.unwrap();
        file.sync_all().await.unwrap();
        file.set_len(150_000).await.unwrap();
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(150_000), 150_000, 0).await;
        result.unwrap();
        check(&bytes, 0);
        file.close().await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"new");
        // A directory that is open, and gone.
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).await.unwrap();
        let open = fs::Dir::open(&inner).await.unwrap();
        fs::remove_dir(&inner).await.unwrap();
        assert_eq!(open.open_file("x").await.unwrap_err().kind(), ErrorKind::NotFound);
        quiet().await;
    });
}

/// What is read while another cuts the file off ends early, as with std, and is never something else.
#[test]
fn a_file_that_is_cut_off_while_it_is_read_ends_early() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut");
        fs::write(&path, pattern(0, 400_000)).await.unwrap();
        let file = File::open(&path).await.unwrap();
        let other = File::options().write(true).open(&path).await.unwrap();
        let read = file.read_exact_at(Vec::with_capacity(400_000), 400_000, 0);
        let (cut, (result, bytes)) = futures::join!(other.set_len(1000), read);
        cut.unwrap();
        match result {
            Ok(_) => assert_eq!(bytes.len(), 400_000),
            Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
        }
        // A page that goes is emptied before, and may be read meanwhile.
        let (kept, cut) = bytes.split_at(bytes.len().min(1000));
        check(kept, 0);
        assert!(cut.iter().zip(pattern(1000, cut.len())).all(|(&byte, was)| byte == was || byte == 0));
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(2000), 2000, 0).await;
        assert_eq!((result.unwrap_err().kind(), bytes.len()), (ErrorKind::UnexpectedEof, 1000));
    });
}
