//! Whole trees, removed: also while somebody changes them.

use std::ffi::CString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringtoss::fs;

use crate::util::{poll_once, quick_dir, run, turn};

fn tree(root: &Path) {
    for folder in 0..5 {
        for deeper in 0..5 {
            let path = root.join(format!("{folder}/{deeper}"));
            std::fs::create_dir_all(&path).unwrap();
            for file in 0..5 {
                std::fs::write(path.join(format!("{file}")), "").unwrap();
            }
        }
    }
}

#[test]
fn everything_goes_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    run(async {
        tree(&path("kept"));
        tree(&path("tree"));
        symlink(path("kept"), path("tree/0/link")).unwrap();
        symlink(path("kept/0/0/0"), path("tree/0/link_to_file")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("tree/0/socket")).unwrap();
        fs::remove_dir_all(path("tree")).await.unwrap();
        assert!(!path("tree").exists());
        assert!((0..5).all(|n| path(&format!("kept/{n}/{n}/{n}")).exists()));
        // The link itself goes.
        symlink(path("kept"), path("link")).unwrap();
        fs::remove_dir_all(path("link")).await.unwrap();
        assert!(path("link").symlink_metadata().is_err() && path("kept/0/0/0").exists());
        // A file is none.
        let error = fs::remove_dir_all(path("kept/0/0/0")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotADirectory);
        assert!(path("kept/0/0/0").exists());
    });
}

/// Deeper than a process may have files open, and than a path may be long.
#[test]
fn deep_trees_and_large_folders_go() {
    use std::os::fd::AsRawFd;
    let dir = quick_dir();
    let top = dir.path().join("top");
    std::fs::create_dir(&top).unwrap();
    let mut here = std::fs::File::open(&top).unwrap();
    for depth in 0..3000 {
        let name = CString::new(format!("directory-{depth}")).unwrap();
        here = util::make_and_open(here.as_raw_fd(), &name);
        // Something on either side of the way down.
        if depth % 100 == 0 {
            util::make_and_open(here.as_raw_fd(), c"aside");
            util::make_and_open(here.as_raw_fd(), c"zaside");
        }
    }
    drop(here);
    for number in 0..5000 {
        std::fs::File::create(top.join(format!("file-{number}"))).unwrap();
    }
    run(async { fs::remove_dir_all(&top).await.unwrap() });
    assert!(!top.exists());
}

mod util {
    #![allow(unsafe_code)]
    use std::ffi::CStr;
    use std::fs::File;
    use std::os::fd::FromRawFd;

    pub fn make_and_open(within: i32, name: &CStr) -> File {
        // SAFETY: the string lives over the calls; the descriptor is new and ours.
        unsafe {
            assert_eq!(libc::mkdirat(within, name.as_ptr(), 0o777), 0);
            let fd = libc::openat(within, name.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC);
            assert!(fd >= 0);
            File::from_raw_fd(fd)
        }
    }

    /// Has two names change places.
    pub fn exchange(one: &CStr, other: &CStr) -> bool {
        // SAFETY: the strings live over the call. (Musl has no function for it.)
        let result = unsafe {
            let (one, other, here) = (one.as_ptr(), other.as_ptr(), libc::AT_FDCWD);
            libc::syscall(libc::SYS_renameat2, here, one, here, other, libc::RENAME_EXCHANGE)
        };
        result == 0
    }
}

/// A thread swaps a directory of the tree for a link to a directory outside, and back, as fast as it can, while the tree is
/// removed again and again. Nothing outside may be touched.
#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let dir = quick_dir();
    let path = |name: &str| dir.path().join(name);
    let c_path = |name: &str| CString::new(path(name).as_os_str().as_bytes()).unwrap();
    std::fs::create_dir(path("outside")).unwrap();
    for number in 0..20 {
        std::fs::write(path(&format!("outside/{number}")), "precious").unwrap();
    }
    let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Held while the tree is made.
    let peace = Arc::new(Mutex::new(()));
    let attacker = std::thread::spawn({
        let (stop, swaps, peace) = (stop.clone(), swaps.clone(), peace.clone());
        let (in_tree, link) = (c_path("tree/sub"), c_path("link"));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let guard = peace.lock().unwrap();
                let swapped = util::exchange(&in_tree, &link);
                drop(guard);
                if swapped {
                    swaps.fetch_add(1, Ordering::Relaxed);
                } else {
                    std::thread::yield_now();
                }
            }
        }
    });
    run(async {
        let started = Instant::now();
        for round in 0.. {
            {
                let _guard = peace.lock().unwrap();
                let _ = std::fs::remove_dir_all(path("tree"));
                let _ = std::fs::remove_dir_all(path("link"));
                symlink(path("outside"), path("link")).unwrap();
                for number in 0..20 {
                    std::fs::create_dir_all(path(&format!("tree/sub/{number}"))).unwrap();
                }
            }
            if let Err(error) = fs::remove_dir_all(path("tree")).await {
                // The other side has put something back, or taken it away, after it was looked at.
                let kinds = [ErrorKind::DirectoryNotEmpty, ErrorKind::NotFound, ErrorKind::NotADirectory];
                assert!(kinds.contains(&error.kind()), "{error}");
            }
            let here = std::fs::read_dir(path("outside")).unwrap().count();
            assert_eq!(here, 20, "something outside is gone in round {round}");
            let enough = round >= 300 && swaps.load(Ordering::Relaxed) > 1000;
            if enough || started.elapsed() > Duration::from_secs(10) {
                break;
            }
        }
    });
    stop.store(true, Ordering::Relaxed);
    attacker.join().unwrap();
    assert!(swaps.load(Ordering::Relaxed) > 0, "they never met");
}

/// Several at once, and somebody else who removes the same tree.
#[test]
fn who_is_faster_is_no_error() {
    let dir = quick_dir();
    run(async {
        for round in 0..30 {
            let root = dir.path().join(format!("{round}"));
            tree(&root);
            let tasks: Vec<_> = (0..3)
                .map(|_| {
                    let root = root.clone();
                    ringtoss::spawn(async move { fs::remove_dir_all(root).await })
                })
                .collect();
            for task in tasks {
                match task.await.unwrap() {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "only at the root"),
                }
            }
            assert!(!root.exists());
        }
    });
}

#[test]
fn dropped_it_stops() {
    let dir = quick_dir();
    run(async {
        // Not begun at all.
        let root = dir.path().join("unpolled");
        tree(&root);
        drop(Box::pin(fs::remove_dir_all(&root)));
        turn().await;
        assert!(root.join("4/4/4").exists());
        // Begun: at every stage the next one finishes the work.
        for turns in 0..20 {
            let root = dir.path().join(format!("{turns}"));
            tree(&root);
            let mut removing = Box::pin(fs::remove_dir_all(&root));
            let _ = poll_once(&mut removing).await;
            for _ in 0..turns {
                turn().await;
            }
            drop(removing);
            match fs::remove_dir_all(&root).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
            }
            assert!(!root.exists());
        }
    });
}
