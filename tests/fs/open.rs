//! Opening: std's options, rules and errors.

use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use ringtoss::fs::{File, OpenOptions};

use crate::util::{run, same_error, turn};

fn both(set: u32) -> (OpenOptions, std::fs::OpenOptions) {
    let (mut ours, mut std) = (File::options(), std::fs::OpenOptions::new());
    let bit = |n: u32| set & (1 << n) != 0;
    ours.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3)).create(bit(4)).create_new(bit(5));
    std.read(bit(0)).write(bit(1)).append(bit(2)).truncate(bit(3)).create(bit(4)).create_new(bit(5));
    (ours, std)
}

/// Every combination of the six options, on a file that is there and on one that is not: the same outcome as std's, and
/// the same file afterwards.
#[test]
fn every_combination_of_options_is_std_s() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for set in 0..64 {
            for exists in [false, true] {
                let paths =
                    [dir.path().join(format!("ours-{set}-{exists}")), dir.path().join(format!("std-{set}-{exists}"))];
                if exists {
                    paths.iter().for_each(|path| std::fs::write(path, "content").unwrap());
                }
                let (ours, std) = both(set);
                let (ours, std) = (ours.open(&paths[0]).await, std.open(&paths[1]));
                match (ours, std) {
                    (Ok(mut ours), Ok(mut std)) => {
                        use std::io::Write;
                        let (written, _) = ours.write_all("x").await;
                        let std_written = std.write_all(b"x");
                        assert_eq!(written.map_err(|e| e.kind()), std_written.map_err(|e| e.kind()), "{set:#b}");
                    }
                    (Err(ours), Err(std)) => assert_eq!(ours.kind(), std.kind(), "{set:#b} {exists}: {ours}, {std}"),
                    (ours, std) => panic!("{set:#b} {exists}: {ours:?} is not {std:?}"),
                }
                assert_eq!(std::fs::read(&paths[0]).ok(), std::fs::read(&paths[1]).ok(), "{set:#b} {exists}");
            }
        }
    });
}

#[test]
fn errors_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    symlink("loop", path("loop")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    let paths = [
        path("missing"),
        path("missing/deeper"),
        path("file/deeper"),
        path("file/"),
        path("loop"),
        path("dangling"),
        path(&"long".repeat(1000)),
        path("nul\0nul"),
        Path::new("").to_path_buf(),
        dir.path().to_path_buf(),
        std::env::current_exe().unwrap(),
    ];
    run(async {
        for path in &paths {
            for set in [0b1, 0b10, 0b1010, 0b11011 & !1, 0b100010] {
                let (ours, std) = both(set);
                match (ours.open(path).await, std.open(path)) {
                    (Ok(_), Ok(_)) => {}
                    (ours, std) => same_error_of_open(ours, std, path),
                }
                // What one of them has created is not there for the next.
                let _ = std::fs::remove_file(dir.path().join("missing"));
                let _ = std::fs::remove_file(dir.path().join("nowhere"));
            }
        }
    });
}

#[track_caller]
fn same_error_of_open(ours: std::io::Result<File>, std: std::io::Result<std::fs::File>, path: &Path) {
    match (&ours, &std) {
        (Err(_), Err(_)) => same_error(ours, std),
        // `O_EXCL` and the one before us: std found what we have created.
        (Ok(_), Err(error)) if error.kind() == ErrorKind::AlreadyExists => {}
        _ => panic!("{}: {ours:?} is not {std:?}", path.display()),
    }
}

#[test]
fn permission_is_denied_as_by_std() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    let std = std::fs::File::open(&path);
    if std.is_ok() {
        eprintln!("skipped: the superuser is denied nothing");
        return;
    }
    same_error(run(File::open(&path)), std);
}

#[test]
fn mode_and_custom_flags_reach_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let path = dir.path().join("private");
        let file = OpenOptions::new().write(true).create(true).mode(0o600).open(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().mode() & 0o777, 0o600);
        // The access mode among the custom flags is ignored.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_RDWR).open(&path).await.unwrap();
        assert_eq!(file.write_at("x", 0).await.0.unwrap_err().raw_os_error(), Some(libc::EBADF));
        let link = dir.path().join("link");
        symlink("private", &link).unwrap();
        let mut std = std::fs::OpenOptions::new();
        same_error(
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&link).await,
            std.read(true).custom_flags(libc::O_NOFOLLOW).open(&link),
        );
        let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(dir.path()).await.unwrap();
        assert!(directory.metadata().await.unwrap().is_dir());
    });
}

#[test]
fn appending_writes_at_the_end_wherever_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    run(async {
        let mut one = OpenOptions::new().append(true).create(true).open(&path).await.unwrap();
        let mut two = OpenOptions::new().append(true).open(&path).await.unwrap();
        for _ in 0..10 {
            one.write_all("one ").await.0.unwrap();
            two.write_all("two ").await.0.unwrap();
        }
        one.write_all_at("three", 0).await.0.unwrap();
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two ".repeat(10) + "three");
}

#[test]
fn create_cuts_off_and_create_new_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        let mut file = File::create_new(&path).await.unwrap();
        file.write_all("content").await.0.unwrap();
        assert_eq!(File::create_new(&path).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let mut file = File::create(&path).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 0);
        assert_eq!(file.read(Vec::with_capacity(1)).await.0.unwrap_err().raw_os_error(), Some(libc::EBADF));
    });
}

#[test]
fn an_open_that_is_not_polled_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        drop(File::create(&path));
        turn().await;
        assert!(!path.exists());
    });
}
