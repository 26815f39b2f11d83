//! Making, removing, renaming and linking: the outcome and the errors of std for the same call.

use std::fs as std_fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ringtoss::fs;

use crate::util::{poll_once, run, same_error, turn};

/// The same call by us and by std, each in a tree of its own that `make` has made: the same outcome.
struct Sides {
    ours: tempfile::TempDir,
    std: tempfile::TempDir,
}

impl Sides {
    fn new(make: impl Fn(&Path)) -> Sides {
        let sides = Sides { ours: tempfile::tempdir().unwrap(), std: tempfile::tempdir().unwrap() };
        for side in [&sides.ours, &sides.std] {
            std_fs::create_dir(side.path().join("root")).unwrap();
            make(&side.path().join("root"));
        }
        sides
    }

    fn both(&self, name: impl AsRef<Path>) -> (PathBuf, PathBuf) {
        (self.ours.path().join("root").join(&name), self.std.path().join("root").join(name))
    }

    /// What lies where, of which kind.
    fn listing(dir: &Path) -> Vec<String> {
        fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
            for entry in std_fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let kind = std_fs::symlink_metadata(&path).unwrap().file_type();
                found.push(format!("{} {kind:?}", path.strip_prefix(root).unwrap().display()));
                if kind.is_dir() {
                    walk(root, &path, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(dir, dir, &mut found);
        found.sort();
        found
    }

    #[track_caller]
    fn check<T: std::fmt::Debug>(&self, what: &Path, ours: io::Result<T>, std: io::Result<T>) {
        let ours_done = ours.is_ok();
        match (&ours, &std) {
            (Ok(_), Ok(_)) => {}
            (Err(_), Err(_)) => same_error(ours, std),
            _ => panic!("{}: {ours:?} is not {std:?}", what.display()),
        }
        if ours_done {
            assert_eq!(Self::listing(self.ours.path()), Self::listing(self.std.path()), "after {}", what.display());
        }
    }
}

fn tree(dir: &Path) {
    std_fs::create_dir_all(dir.join("full/deeper")).unwrap();
    std_fs::create_dir_all(dir.join("full2/deeper")).unwrap();
    std_fs::create_dir(dir.join("empty")).unwrap();
    std_fs::write(dir.join("file"), "file").unwrap();
    std_fs::write(dir.join("other"), "other").unwrap();
    symlink("file", dir.join("link")).unwrap();
    symlink("empty", dir.join("link_to_dir")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
}

/// Names of all sorts, among them some that cannot be.
fn names() -> Vec<PathBuf> {
    let bytes = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
    let mut names: Vec<PathBuf> = [
        "full",
        "full/",
        "full/deeper",
        "full/deeper/..",
        "empty",
        "empty/",
        "empty/.",
        "file",
        "file/",
        "file/x",
        "link",
        "link_to_dir",
        "link_to_dir/",
        "dangling",
        "dangling/x",
        "loop",
        "loop/x",
        "missing",
        "missing/",
        "missing/x",
        "",
        ".",
        "nul\0nul",
    ]
    .iter()
    .map(PathBuf::from)
    .collect();
    names.push(bytes(b"not \xff\xfe UTF-8"));
    names.push(bytes(&[b'n'; 255]));
    names.push(bytes(&[b'n'; 256]));
    names.push(bytes(&[b'/', b'n'].repeat(2100)[1..]));
    names
}

macro_rules! side_by_side {
    ($name:ident, $ours:path, $std:path) => {
        #[test]
        fn $name() {
            run(async {
                for name in names() {
                    let sides = Sides::new(tree);
                    let (ours, std) = sides.both(&name);
                    sides.check(&name, $ours(&ours).await.map(drop), $std(&std).map(drop));
                }
            });
        }
    };
}

side_by_side!(create_dir_is_std_s, fs::create_dir, std_fs::create_dir);
side_by_side!(create_dir_all_is_std_s, fs::create_dir_all, std_fs::create_dir_all);
side_by_side!(remove_file_is_std_s, fs::remove_file, std_fs::remove_file);
side_by_side!(remove_dir_is_std_s, fs::remove_dir, std_fs::remove_dir);
side_by_side!(remove_dir_all_is_std_s, fs::remove_dir_all, std_fs::remove_dir_all);
side_by_side!(read_link_is_std_s, fs::read_link, std_fs::read_link);
side_by_side!(canonicalize_is_std_s, fs::canonicalize, std_fs::canonicalize);
side_by_side!(read_dir_is_std_s, fs::read_dir, std_fs::read_dir);

#[test]
fn exists_is_std_s() {
    run(async {
        let sides = Sides::new(tree);
        for name in names() {
            let (ours, std) = sides.both(&name);
            match (fs::exists(&ours).await, std_fs::exists(&std)) {
                (Ok(ours), Ok(std)) => assert_eq!(ours, std, "{}", name.display()),
                (ours, std) => same_error(ours, std),
            }
            assert_eq!(fs::try_exists(&ours).await.ok(), fs::exists(&ours).await.ok());
        }
    });
}

#[test]
fn what_takes_two_names_is_std_s() {
    // The ring looks at the length of both before anything else, and std's call does not.
    let names: Vec<_> = names().into_iter().filter(|name| name.as_os_str().len() < 4000).collect();
    run(async {
        let mut sides = Sides::new(tree);
        for from in &names {
            for to in &names {
                let what = from.join("->").join(to);
                for call in 0..3 {
                    let ((from_ours, from_std), (to_ours, to_std)) = (sides.both(from), sides.both(to));
                    let (ours, std) = match call {
                        0 => (fs::rename(&from_ours, &to_ours).await, std_fs::rename(&from_std, &to_std)),
                        1 => (fs::hard_link(&from_ours, &to_ours).await, std_fs::hard_link(&from_std, &to_std)),
                        // What a link says is any text.
                        _ => (fs::symlink(from, &to_ours).await, symlink(from, &to_std)),
                    };
                    let done = ours.is_ok() || std.is_ok();
                    sides.check(&what, ours, std);
                    if done {
                        sides = Sides::new(tree);
                    }
                }
            }
        }
    });
}

#[test]
fn other_file_systems_are_across_devices() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm"));
    let Ok(there) = there else {
        eprintln!("skipped: no second file system");
        return;
    };
    let (from, to) = (here.path().join("from"), there.path().join("to"));
    std_fs::write(&from, "content").unwrap();
    run(async {
        let error = fs::rename(&from, &to).await.unwrap_err();
        if error.raw_os_error() != Some(libc::EXDEV) {
            eprintln!("skipped: both are one file system: {error}");
            return;
        }
        assert_eq!(error.kind(), ErrorKind::CrossesDevices);
        same_error(fs::hard_link(&from, &to).await, std_fs::hard_link(&from, &to));
        assert_eq!(fs::copy(&from, &to).await.unwrap(), 7);
        assert_eq!(std_fs::read(&to).unwrap(), b"content");
    });
}

#[test]
fn renaming_without_replacing_and_exchanging() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let path = |name: &str| dir.path().join(name);
    run(async {
        let error = fs::rename_noreplace(path("file"), path("other")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        fs::rename_noreplace(path("file"), path("new")).await.unwrap();
        assert_eq!(std_fs::read(path("new")).unwrap(), b"file");
        fs::exchange(path("new"), path("full")).await.unwrap();
        assert!(path("new/deeper").is_dir() && path("full").is_file());
        assert_eq!(fs::exchange(path("new"), path("missing")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::exchange(path("new"), path("nul\0")).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn modes_of_directories_are_std_s() {
    let sides = Sides::new(|_| {});
    run(async {
        for mode in [0o777, 0o700, 0o1755, 0o2750] {
            for recursive in [false, true] {
                let name = format!("{mode:o}{}", if recursive { "/deeper" } else { "" });
                let (ours, std) = sides.both(&name);
                let mut builder = std_fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, mode).recursive(recursive);
                let ours_result = fs::DirBuilder::new().recursive(recursive).mode(mode).create(&ours).await;
                sides.check(&ours, ours_result, builder.create(&std));
                let mode_of = |path: &Path| std_fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(mode_of(&ours), mode_of(&std));
                assert_eq!(mode_of(ours.parent().unwrap()), mode_of(std.parent().unwrap()));
            }
        }
        let (ours, _) = sides.both("777");
        assert_eq!(fs::DirBuilder::new().create(&ours).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::DirBuilder::new().recursive(true).create(&ours).await.unwrap();
    });
}

#[test]
fn many_may_make_the_same_directories_at_once() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..20 {
            let deep = dir.path().join(format!("{round}/a/b/c/d/e"));
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let deep = deep.clone();
                    ringtoss::spawn(async move { fs::create_dir_all(deep).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            assert!(deep.is_dir());
        }
    });
}

/// Dropped at every stage, a call has happened or not, and the loop and whoever calls next are none the worse.
#[test]
fn a_dropped_call_has_happened_or_not() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..200 {
            let (turns, waits) = (round % 5, round % 2 == 0);
            // What is late does not matter to the next round.
            let dir = dir.path().join(round.to_string());
            std_fs::create_dir(&dir).unwrap();
            let path = |name: &str| dir.join(name);
            macro_rules! dropped {
                ($call:expr) => {
                    let mut call = $call;
                    let _ = poll_once(&mut call).await;
                    for _ in 0..turns {
                        turn().await;
                    }
                    drop(call);
                    if waits {
                        nothing_in_flight().await;
                    }
                };
            }
            dropped!(fs::create_dir(path("a")));
            until(fs::create_dir(path("a")).await, ErrorKind::AlreadyExists);
            dropped!(fs::rename(path("a"), path("b")));
            until(fs::rename(path("a"), path("b")).await, ErrorKind::NotFound);
            dropped!(fs::remove_dir(path("b")));
            until(fs::remove_dir(path("b")).await, ErrorKind::NotFound);
            dropped!(fs::symlink("target", path("link")));
            until(fs::symlink("target", path("link")).await, ErrorKind::AlreadyExists);
            dropped!(fs::hard_link(path("link"), path("second")));
            until(fs::hard_link(path("link"), path("second")).await, ErrorKind::AlreadyExists);
            for name in ["link", "second"] {
                dropped!(fs::remove_file(path(name)));
                until(fs::remove_file(path(name)).await, ErrorKind::NotFound);
            }
            dropped!(Box::pin(fs::create_dir_all(path("c/d/e"))));
            fs::create_dir_all(path("c/d/e")).await.unwrap();
            dropped!(Box::pin(fs::read_link(path("link"))));
            dropped!(Box::pin(fs::canonicalize(path("link"))));
            dropped!(Box::pin(fs::exists(path("link"))));
            dropped!(Box::pin(fs::remove_dir_all(path("c"))));
            // The other may still be at it.
            until(fs::remove_dir_all(path("c")).await, ErrorKind::NotFound);
            if waits {
                assert_eq!(std_fs::read_dir(&dir).unwrap().count(), 0, "round {round}");
            }
        }
    });
}

/// Waits until the kernel has let go of everything that was dropped.
async fn nothing_in_flight() {
    for _ in 0..10_000 {
        if ringtoss::metrics().in_flight == 0 {
            return;
        }
        ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("{} operations are in flight for ever", ringtoss::metrics().in_flight);
}

/// Either it had not happened before, or it had.
#[track_caller]
fn until(result: io::Result<()>, had: ErrorKind) {
    if let Err(error) = result {
        assert_eq!(error.kind(), had);
    }
}

#[test]
fn a_call_that_is_not_polled_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        drop(fs::create_dir(dir.path().join("a")));
        drop(fs::create_dir_all(dir.path().join("b")));
        // Made void before the kernel had it.
        let mut call = fs::create_dir(dir.path().join("c"));
        assert!(poll_once(&mut call).await.is_pending());
        drop(call);
        for _ in 0..10 {
            turn().await;
        }
        assert_eq!(std_fs::read_dir(dir.path()).unwrap().count(), 0);
    });
}
