//! What the file system knows.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::time::UNIX_EPOCH;

use ringtoss::fs::{self, File};

use crate::util::{run, same_error, turn};

#[test]
fn everything_is_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), vec![1; 5000]).unwrap();
    std::fs::hard_link(path("file"), path("another name")).unwrap();
    symlink("file", path("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    let paths = [
        path("file"),
        path("link"),
        path("socket"),
        dir.path().to_path_buf(),
        Path::new("/dev/null").to_path_buf(),
        Path::new("/proc/self/status").to_path_buf(),
    ];
    run(async {
        for path in &paths {
            let ours = [fs::metadata(path).await.unwrap(), fs::symlink_metadata(path).await.unwrap()];
            let std = [std::fs::metadata(path).unwrap(), std::fs::symlink_metadata(path).unwrap()];
            for (ours, std) in ours.iter().zip(&std) {
                let numbers =
                    [ours.dev(), ours.ino(), ours.nlink(), ours.rdev(), ours.size(), ours.blksize(), ours.blocks()];
                let expected = [std.dev(), std.ino(), std.nlink(), std.rdev(), std.size(), std.blksize(), std.blocks()];
                assert_eq!(numbers, expected, "{}", path.display());
                assert_eq!((ours.uid(), ours.gid(), ours.mode()), (std.uid(), std.gid(), std.mode()));
                assert_eq!(ours.permissions(), std.permissions());
                assert_eq!(
                    (ours.len(), ours.is_dir(), ours.is_file(), ours.is_symlink()),
                    (std.len(), std.is_dir(), std.is_file(), std.is_symlink())
                );
                let (kind, expected) = (ours.file_type(), std.file_type());
                assert_eq!(
                    [kind.is_fifo(), kind.is_socket(), kind.is_char_device(), kind.is_block_device()],
                    [expected.is_fifo(), expected.is_socket(), expected.is_char_device(), expected.is_block_device()]
                );
                // Others use devices meanwhile, and following a link moves its time of access.
                if path.starts_with(dir.path()) && !std.is_symlink() {
                    assert_eq!(ours.modified().unwrap(), std.modified().unwrap(), "{}", path.display());
                    assert_eq!(ours.accessed().unwrap(), std.accessed().unwrap());
                    let times = [
                        ours.atime(),
                        ours.atime_nsec(),
                        ours.mtime(),
                        ours.mtime_nsec(),
                        ours.ctime(),
                        ours.ctime_nsec(),
                    ];
                    assert_eq!(
                        times,
                        [std.atime(), std.atime_nsec(), std.mtime(), std.mtime_nsec(), std.ctime(), std.ctime_nsec()]
                    );
                    // std asks for it with glibc alone.
                    if cfg!(target_env = "gnu") {
                        assert_eq!(ours.created().map_err(|e| e.kind()), std.created().map_err(|e| e.kind()));
                    }
                }
                assert!(format!("{ours:?}").starts_with("Metadata { file_type: FileType {"));
            }
        }
        let file = File::open(path("file")).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().ino(), std::fs::metadata(path("link")).unwrap().ino());
    });
}

#[test]
fn times_before_1970() {
    let file = tempfile::tempfile().unwrap();
    let time = UNIX_EPOCH - std::time::Duration::from_millis(1_234_567);
    file.set_modified(time).unwrap();
    run(async {
        assert_eq!(File::from_std(file).metadata().await.unwrap().modified().unwrap(), time);
    });
}

#[test]
fn errors_are_std_s_and_dropping_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    run(async {
        for name in ["missing", "dangling", "nul\0", "missing/deeper"] {
            let path = dir.path().join(name);
            same_error(fs::metadata(&path).await, std::fs::metadata(&path));
        }
        assert!(fs::symlink_metadata(dir.path().join("dangling")).await.unwrap().is_symlink());
        same_error(fs::metadata("").await, std::fs::metadata(""));
        for round in 0..100 {
            let mut asking = fs::metadata(dir.path());
            let _ = crate::util::poll_once(&mut asking).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(asking);
        }
    });
}
