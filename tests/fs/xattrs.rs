//! Extended attributes.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringtoss::fs::{self, File, XattrMode};

use crate::util::{poll_once, run, turn};

/// Whether files here have them.
async fn supported(path: &Path) -> bool {
    match fs::set_xattr(path, "user.probe", "", XattrMode::Any).await {
        Ok(()) => fs::remove_xattr(path, "user.probe").await.map(|()| true).unwrap(),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            eprintln!("skipped: no extended attributes here");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn attributes_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    run(async {
        if !supported(&path).await {
            return;
        }
        assert_eq!(fs::get_xattr(&path, "user.a").await.unwrap(), None);
        fs::set_xattr(&path, "user.a", "one", XattrMode::Create).await.unwrap();
        fs::set_xattr(&path, "user.b", b"\0\xff", XattrMode::Any).await.unwrap();
        fs::set_xattr(&path, "user.empty", "", XattrMode::Any).await.unwrap();
        assert_eq!(fs::get_xattr(&path, "user.a").await.unwrap().unwrap(), b"one");
        assert_eq!(fs::get_xattr(&path, "user.b").await.unwrap().unwrap(), b"\0\xff");
        assert_eq!(fs::get_xattr(&path, "user.empty").await.unwrap().unwrap(), b"");
        let again = fs::set_xattr(&path, "user.a", "two", XattrMode::Create).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
        fs::set_xattr(&path, "user.a", "two", XattrMode::Replace).await.unwrap();
        let missing = fs::set_xattr(&path, "user.c", "", XattrMode::Replace).await;
        assert_eq!(missing.unwrap_err().raw_os_error(), Some(libc::ENODATA));

        let file = File::open(&path).await.unwrap();
        assert_eq!(file.get_xattr("user.a").await.unwrap().unwrap(), b"two");
        assert_eq!(file.get_xattr("user.c").await.unwrap(), None);
        file.set_xattr("user.c", "three", XattrMode::Create).await.unwrap();
        let again = file.set_xattr("user.c", "four", XattrMode::Create).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let named = |mut names: Vec<std::ffi::OsString>| {
            names.retain(|name| name.to_str().is_some_and(|name| name.starts_with("user.")));
            names.sort();
            names
        };
        let all = ["user.a", "user.b", "user.c", "user.empty"];
        assert_eq!(named(fs::list_xattrs(&path).await.unwrap()), all);
        assert_eq!(named(file.list_xattrs().await.unwrap()), all);
        file.remove_xattr("user.b").await.unwrap();
        fs::remove_xattr(&path, "user.a").await.unwrap();
        assert_eq!(file.remove_xattr("user.a").await.unwrap_err().raw_os_error(), Some(libc::ENODATA));
        assert_eq!(named(file.list_xattrs().await.unwrap()), all[2..]);
    });
}

/// Longer than what is asked for first, and growing while it is read.
#[test]
fn values_of_any_length_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    run(async {
        if !supported(&path).await {
            return;
        }
        let file = File::open(&path).await.unwrap();
        for len in [1, 255, 256, 257, 1000, 3000] {
            let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
            if let Err(error) = file.set_xattr("user.v", &value, XattrMode::Any).await {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                break;
            }
            assert_eq!(file.get_xattr("user.v").await.unwrap().unwrap(), value);
            assert_eq!(fs::get_xattr(&path, "user.v").await.unwrap().unwrap(), value);
            assert_eq!(fs::get_xattr_nofollow(&path, "user.v").await.unwrap().unwrap(), value);
        }
        fs::remove_xattr(&path, "user.v").await.unwrap();
        // Names of more than 256 bytes in all.
        for index in 0..20 {
            file.set_xattr(format!("user.a-rather-long-name-{index}"), "", XattrMode::Any).await.unwrap();
        }
        assert!(file.list_xattrs().await.unwrap().len() >= 20);
        assert!(fs::list_xattrs(&path).await.unwrap().len() >= 20);
    });
}

#[test]
fn links_have_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&path, "").unwrap();
    symlink("file", &link).unwrap();
    run(async {
        if !supported(&path).await {
            return;
        }
        fs::set_xattr(&link, "user.a", "target's", XattrMode::Any).await.unwrap();
        assert_eq!(fs::get_xattr(&path, "user.a").await.unwrap().unwrap(), b"target's");
        assert_eq!(fs::get_xattr(&link, "user.a").await.unwrap().unwrap(), b"target's");
        // `user` attributes are for files and directories only; links have some of the superuser's.
        match fs::set_xattr_nofollow(&link, "trusted.a", "link's", XattrMode::Any).await {
            Ok(()) => {
                assert_eq!(fs::get_xattr_nofollow(&link, "trusted.a").await.unwrap().unwrap(), b"link's");
                assert_eq!(fs::list_xattrs_nofollow(&link).await.unwrap(), ["trusted.a"]);
                assert_eq!(fs::get_xattr(&link, "trusted.a").await.unwrap(), None);
                fs::remove_xattr_nofollow(&link, "trusted.a").await.unwrap();
            }
            Err(error) => assert!(matches!(error.raw_os_error(), Some(libc::EPERM | libc::EOPNOTSUPP)), "{error}"),
        }
        assert_eq!(fs::list_xattrs_nofollow(&link).await.unwrap_or_default().len(), 0);
    });
}

#[test]
fn what_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    run(async {
        let missing = dir.path().join("missing");
        assert_eq!(fs::get_xattr(&missing, "user.a").await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::list_xattrs(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::remove_xattr(&missing, "user.a").await.unwrap_err().kind(), ErrorKind::NotFound);
        for (path, name) in [(&path, "user.\0"), (&dir.path().join("nul\0"), "user.a")] {
            assert_eq!(fs::get_xattr(path, name).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            let set = fs::set_xattr(path, name, "", XattrMode::Any).await;
            assert_eq!(set.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(fs::remove_xattr_nofollow(path, name).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        if !supported(&path).await {
            return;
        }
        let long = format!("user.{}", "n".repeat(251));
        assert_eq!(
            fs::set_xattr(&path, &long, "", XattrMode::Any).await.unwrap_err().raw_os_error(),
            Some(libc::ERANGE)
        );
        let error = fs::set_xattr(&path, "user.a", vec![0; 65537], XattrMode::Any).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        let error = fs::set_xattr(&path, "nonsense.a", "", XattrMode::Any).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

/// What is set next on a file waits for what was dropped.
#[test]
fn a_dropped_set_comes_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    run(async {
        if !supported(&path).await {
            return;
        }
        let file = File::open(&path).await.unwrap();
        for round in 0..200 {
            let mut dropped = Box::pin(file.set_xattr("user.a", "old", XattrMode::Any));
            let _ = poll_once(&mut dropped).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(dropped);
            file.set_xattr("user.a", "new", XattrMode::Any).await.unwrap();
            let mut reading = Box::pin(file.get_xattr("user.a"));
            let _ = poll_once(&mut reading).await;
            drop(reading);
            assert_eq!(fs::get_xattr(&path, "user.a").await.unwrap().unwrap(), b"new", "round {round}");
        }
    });
}
