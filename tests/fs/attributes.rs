//! Permissions, owners and times.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use ringtoss::fs::{self, File, FileTimes};

use crate::util::{poll_once, run, same_error, turn};

#[test]
fn permissions_are_set_and_errors_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    symlink("file", path("link")).unwrap();
    let mode = || std::fs::metadata(path("file")).unwrap().mode() & 0o7777;
    run(async {
        fs::set_permissions(path("file"), Permissions::from_mode(0o640)).await.unwrap();
        assert_eq!(mode(), 0o640);
        fs::set_permissions(path("link"), Permissions::from_mode(0o4700)).await.unwrap();
        assert_eq!(mode(), 0o4700, "the target's");
        let file = File::open(path("file")).await.unwrap();
        file.set_permissions(Permissions::from_mode(0o400)).await.unwrap();
        assert_eq!(mode(), 0o400);
        for name in ["missing", "file/x", "nul\0"] {
            let permissions = || Permissions::from_mode(0o600);
            same_error(
                fs::set_permissions(path(name), permissions()).await,
                std::fs::set_permissions(path(name), permissions()),
            );
        }
    });
}

#[test]
fn times_are_set_and_what_is_not_set_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    symlink("file", path("link")).unwrap();
    let times = |name: &str| {
        let metadata = std::fs::symlink_metadata(path(name)).unwrap();
        (metadata.accessed().unwrap(), metadata.modified().unwrap())
    };
    let (a, b) = (UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789), UNIX_EPOCH + Duration::from_secs(1));
    // Before the epoch, as far as every file system goes.
    let c = UNIX_EPOCH - Duration::new(1000, 1);
    run(async {
        fs::set_times(path("file"), FileTimes::new().set_accessed(a).set_modified(b)).await.unwrap();
        assert_eq!(times("file"), (a, b));
        fs::set_times(path("link"), FileTimes::new().set_modified(c)).await.unwrap();
        assert_eq!(times("file"), (a, c));
        let (_, modified_of_link) = times("link");
        fs::set_times_nofollow(path("link"), FileTimes::new().set_accessed(b)).await.unwrap();
        assert_eq!(times("link"), (b, modified_of_link));
        assert_eq!(times("file"), (a, c));
        // A file that is open for reading only will do.
        let file = File::open(path("file")).await.unwrap();
        file.set_times(FileTimes::new().set_accessed(b)).await.unwrap();
        file.set_modified(a).await.unwrap();
        assert_eq!(times("file"), (b, a));
        file.set_times(FileTimes::new()).await.unwrap();
        assert_eq!(times("file"), (b, a));
        // As std does it.
        let std = std::fs::File::options().write(true).open(path("file")).unwrap();
        std.set_times(std::fs::FileTimes::new().set_modified(c)).unwrap();
        assert_eq!(times("file"), (b, c));
        let missing = fs::set_times(path("missing"), FileTimes::new().set_modified(a)).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        let nul = fs::set_times(path("nul\0"), FileTimes::new()).await;
        assert_eq!(nul.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn owners_are_set_as_far_as_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    symlink("file", path("link")).unwrap();
    let before = std::fs::metadata(path("file")).unwrap();
    run(async {
        fs::chown(path("file"), None, None).await.unwrap();
        let file = File::open(path("file")).await.unwrap();
        file.chown(Some(before.uid()), Some(before.gid())).await.unwrap();
        let std = std::os::unix::fs::chown(path("file"), Some(1234), Some(5678));
        if std.is_err() {
            same_error(fs::chown(path("file"), Some(1234), Some(5678)).await, std);
            return;
        }
        fs::chown(path("link"), Some(1), Some(2)).await.unwrap();
        fs::lchown(path("link"), Some(3), None).await.unwrap();
        let (file, link) = (std::fs::metadata(path("file")).unwrap(), std::fs::symlink_metadata(path("link")).unwrap());
        assert_eq!((file.uid(), file.gid(), link.uid(), link.gid()), (1, 2, 3, before.gid()));
    });
}

/// What was dropped does not come after what is awaited next.
#[test]
fn a_dropped_change_comes_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        let file = File::create(&path).await.unwrap();
        for round in 0..200u32 {
            let mut dropped = Box::pin(file.set_permissions(Permissions::from_mode(0o644)));
            let _ = poll_once(&mut dropped).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(dropped);
            file.set_permissions(Permissions::from_mode(0o600)).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
            // A write that was dropped changes the time before that is set.
            let mut write = file.write_at(vec![7; 100_000], 0);
            let _ = poll_once(&mut write).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(write);
            let then = UNIX_EPOCH + Duration::from_secs(u64::from(round));
            file.set_modified(then).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), then);
        }
    });
}
