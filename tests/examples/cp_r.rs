//! `cp_r` copies trees as they are.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use ringtoss::fs::XattrMode;
use tempfile::tempdir;

use crate::util::{example, noise, run, text};

/// Whether the example says that it went well.
fn copies(mut cp_r: Command, source: &Path, destination: &Path) -> Result<(), String> {
    cp_r.arg(source).arg(destination);
    let output = run(cp_r, Vec::new());
    if output.status.success() { Ok(()) } else { Err(text(&output.stderr).to_owned()) }
}

#[test]
fn a_tree_arrives_as_it_is() {
    let Some(cp_r) = example("cp_r") else { return };
    let folder = tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    fs::create_dir_all(source.join("a/b/c")).unwrap();
    fs::create_dir(source.join("empty")).unwrap();
    for index in 0..100 {
        fs::write(source.join(format!("a/file-{index}")), noise(index * 997)).unwrap();
    }
    fs::hard_link(source.join("a/file-7"), source.join("a/b/again")).unwrap();
    fs::hard_link(source.join("a/file-7"), source.join("a/once more")).unwrap();
    symlink("../a/file-3", source.join("empty/link")).unwrap();
    symlink("nowhere", source.join("dangling")).unwrap();
    let sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.write_all_at(b"start", 0).unwrap();
    sparse.write_all_at(b"middle", 64 << 20).unwrap();
    sparse.set_len(128 << 20).unwrap();
    fs::set_permissions(source.join("a/file-1"), fs::Permissions::from_mode(0o641)).unwrap();
    let set = ringtoss::fs::set_xattr(source.join("a/file-2"), "user.origin", "here", XattrMode::Any);
    let has_attributes = ringtoss::block_on(set).is_ok();
    let old = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for name in ["a/file-5", "a/b/c", "a"] {
        fs::File::open(source.join(name)).unwrap().set_modified(old).unwrap();
    }
    fs::set_permissions(source.join("a/b/c"), fs::Permissions::from_mode(0o550)).unwrap();

    copies(cp_r, &source, &copy).unwrap();
    for index in 0..100 {
        let name = format!("a/file-{index}");
        assert!(fs::read(copy.join(&name)).unwrap() == noise(index * 997), "{name}");
    }
    let status = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!(status("a/file-7").nlink(), 3);
    assert_eq!(status("a/file-7").ino(), status("a/b/again").ino());
    assert_eq!(fs::read_link(copy.join("empty/link")).unwrap(), Path::new("../a/file-3"));
    assert_eq!(fs::read_link(copy.join("dangling")).unwrap(), Path::new("nowhere"));
    assert_eq!(status("sparse").len(), 128 << 20);
    assert!(status("sparse").blocks() * 512 < 1 << 20, "the holes are filled");
    assert!(fs::read(copy.join("sparse")).unwrap() == fs::read(source.join("sparse")).unwrap());
    assert_eq!((status("a/file-1").mode() & 0o777, status("a/b/c").mode() & 0o777), (0o641, 0o550));
    for name in ["a/file-5", "a/b/c", "a"] {
        assert_eq!(status(name).modified().unwrap(), old, "{name}");
    }
    if has_attributes {
        let value = ringtoss::block_on(ringtoss::fs::get_xattr(copy.join("a/file-2"), "user.origin"));
        assert_eq!(value.unwrap().as_deref(), Some(&b"here"[..]));
    }
}

#[test]
fn what_cannot_be_copied_is_named() {
    let Some(cp_r) = example("cp_r") else { return };
    let folder = tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    let error = copies(cp_r, &source, &copy).unwrap_err();
    assert!(error.contains("source"), "{error}");
    fs::create_dir(&source).unwrap();
    let error = copies(example("cp_r").unwrap(), &source, &source.join("copy")).unwrap_err();
    assert!(error.contains("lies in"), "{error}");
    let error = copies(example("cp_r").unwrap(), &source, &source).unwrap_err();
    assert!(error.contains("source"), "{error}");
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let error = copies(example("cp_r").unwrap(), &source, &copy).unwrap_err();
    assert!(error.contains("socket"), "{error}");
}
