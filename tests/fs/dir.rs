//! Open directories: names in them, and how far paths lead.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use ringtoss::fs::{Dir, DirBuilder, FileTimes, OpenOptions, Resolve};

use crate::util::{poll_once, quick_dir, run, same_error, turn};

#[test]
fn names_are_those_in_the_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("root");
    std::fs::create_dir(&root).unwrap();
    run(async {
        let dir = Dir::open(&root).await.unwrap();
        // Wherever it is by now.
        std::fs::rename(&root, temporary.path().join("moved")).unwrap();
        let root = temporary.path().join("moved");
        dir.create_dir("sub").await.unwrap();
        dir.create_dir_all("a/b/c").await.unwrap();
        dir.create_dir_all("a/b/c").await.unwrap();
        DirBuilder::new().recursive(true).mode(0o700).create_in(&dir, "private/deeper").await.unwrap();
        assert_eq!(std::fs::metadata(root.join("private/deeper")).unwrap().mode() & 0o777, 0o700);
        let sub = dir.open_dir("sub").await.unwrap();
        sub.write("file", "content").await.unwrap();
        assert_eq!(std::fs::read(root.join("sub/file")).unwrap(), b"content");
        assert_eq!(dir.read("sub/file").await.unwrap(), b"content");
        assert_eq!(dir.read_to_string("sub/../sub/file").await.unwrap(), "content");
        sub.symlink("file", "link").await.unwrap();
        assert_eq!(sub.read_link("link").await.unwrap(), Path::new("file"));
        let long = "x/".repeat(400);
        sub.symlink(&long, "long").await.unwrap();
        assert_eq!(sub.read_link("long").await.unwrap(), Path::new(&long));
        assert!(sub.symlink_metadata("link").await.unwrap().is_symlink());
        assert_eq!(sub.metadata("link").await.unwrap().len(), 7);
        assert_eq!(sub.dir_metadata().await.unwrap().ino(), std::fs::metadata(root.join("sub")).unwrap().ino());
        assert!(sub.exists("link").await.unwrap() && !sub.exists("long").await.unwrap());
        sub.hard_link("file", &dir, "name").await.unwrap();
        assert_eq!(dir.metadata("name").await.unwrap().nlink(), 2);
        sub.rename("file", &dir, "file").await.unwrap();
        let taken = sub.rename_noreplace("link", &dir, "file").await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
        sub.exchange("link", &dir, "file").await.unwrap();
        assert_eq!(sub.read("link").await.unwrap(), b"content");
        sub.set_permissions("link", Permissions::from_mode(0o640)).await.unwrap();
        sub.set_times("link", FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(5))).await.unwrap();
        let metadata = std::fs::metadata(root.join("sub/link")).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.mtime()), (0o640, 5));
        dir.set_times_nofollow("file", FileTimes::new().set_modified(UNIX_EPOCH)).await.unwrap();
        assert_eq!(std::fs::symlink_metadata(root.join("file")).unwrap().mtime(), 0);
        dir.lchown("file", None, None).await.unwrap();
        dir.sync_all().await.unwrap();
        // Every reader begins at the start, and a clone is a directory of its own.
        for dir in [&dir, &dir.clone(), &dir.try_clone().unwrap()] {
            let mut names = Vec::new();
            let mut entries = dir.read_dir().await.unwrap();
            while let Some(entry) = entries.next().await {
                let entry = entry.unwrap();
                assert_eq!(entry.path(), PathBuf::from(entry.file_name()));
                assert_eq!(entry.metadata().await.unwrap().ino(), entry.ino());
                names.push(entry.file_name());
            }
            names.sort();
            assert_eq!(names, ["a", "file", "name", "private", "sub"]);
        }
        dir.remove_file("name").await.unwrap();
        dir.remove_dir("private/deeper").await.unwrap();
        assert_eq!(dir.remove_dir("a").await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        dir.remove_dir_all("a").await.unwrap();
        // A link goes, not what it leads to.
        std::fs::create_dir(temporary.path().join("outside")).unwrap();
        std::fs::write(temporary.path().join("outside/kept"), "").unwrap();
        dir.symlink("../outside", "way_out").await.unwrap();
        dir.remove_dir_all("way_out").await.unwrap();
        assert!(temporary.path().join("outside/kept").exists() && !root.join("way_out").exists());
    });
}

#[test]
fn errors_are_std_s() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("file"), "").unwrap();
    run(async {
        same_error(
            Dir::open(temporary.path().join("missing")).await,
            std::fs::read_dir(temporary.path().join("missing")),
        );
        same_error(Dir::open(temporary.path().join("file")).await, std::fs::read_dir(temporary.path().join("file")));
        let dir = Dir::open(temporary.path()).await.unwrap();
        for name in ["missing", "file/x", "nul\0", "", &"n".repeat(256)] {
            same_error(dir.read(name).await, std::fs::read(std_path(temporary.path(), name)));
            same_error(dir.read_link(name).await, std::fs::read_link(std_path(temporary.path(), name)));
            same_error(dir.remove_dir_all(name).await, std::fs::remove_dir_all(std_path(temporary.path(), name)));
        }
        let not_a_directory = Dir::from(std::os::fd::OwnedFd::from(tempfile::tempfile().unwrap()));
        assert_eq!(not_a_directory.create_dir("x").await.unwrap_err().kind(), ErrorKind::NotADirectory);
        // A directory that was removed takes no new names.
        dir.create_dir("gone").await.unwrap();
        let gone = dir.open_dir("gone").await.unwrap();
        dir.remove_dir("gone").await.unwrap();
        assert_eq!(gone.create_file("x").await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(gone.read_dir().await.is_err() || gone.read_dir().await.unwrap().next_entry().await.unwrap().is_none());
    });
}

/// `join` would make a name of its own of an empty one.
fn std_path(root: &Path, name: &str) -> PathBuf {
    if name.is_empty() { PathBuf::new() } else { root.join(name) }
}

#[test]
fn paths_lead_no_further_than_they_may() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(temporary.path().join("secret"), "").unwrap();
    std::fs::write(root.join("etc"), "inside").unwrap();
    std::fs::write(root.join("a/file"), "file").unwrap();
    symlink("../../secret", root.join("a/out")).unwrap();
    symlink("b/../file", root.join("a/in")).unwrap();
    symlink("/etc", root.join("absolute")).unwrap();
    let absolute = root.join("a/file");
    run(async {
        let dir = Dir::open(&root).await.unwrap();
        let open = async |path: &Path, resolve| {
            let mut options = OpenOptions::new();
            options.read(true).resolve(resolve);
            dir.open_file_with(path, &options).await.map(drop).map_err(|error| error.raw_os_error().unwrap())
        };
        let beneath = Resolve::BENEATH;
        assert_eq!(open(Path::new("a/file"), beneath).await, Ok(()));
        assert_eq!(open(Path::new("a/../a/in"), beneath).await, Ok(()));
        for path in [Path::new("a/out"), Path::new("../secret"), Path::new("absolute"), &absolute, Path::new("/")] {
            assert_eq!(open(path, beneath).await, Err(libc::EXDEV), "{}", path.display());
        }
        assert_eq!(open(&absolute, Resolve::default()).await, Ok(()));
        assert_eq!(open(Path::new("absolute"), Resolve::IN_ROOT).await, Ok(()));
        assert_eq!(open(Path::new("../../../etc"), Resolve::IN_ROOT).await, Ok(()));
        assert_eq!(open(Path::new("a/out"), Resolve::IN_ROOT).await, Err(libc::ENOENT));
        assert_eq!(open(Path::new("a/in"), Resolve::NO_SYMLINKS).await, Err(libc::ELOOP));
        assert_eq!(open(Path::new("a/file"), Resolve::NO_SYMLINKS | beneath).await, Ok(()));
        assert_eq!(open(Path::new("/proc/self/exe"), Resolve::NO_MAGICLINKS).await, Err(libc::ELOOP));
        assert_eq!(open(Path::new("/proc/self/stat"), Resolve::NO_XDEV).await, Err(libc::EXDEV));
        assert_eq!(open(Path::new("a/file"), Resolve::CACHED).await, Ok(()));
        // Both at once mean nothing.
        assert_eq!(open(Path::new("a/file"), beneath | Resolve::IN_ROOT).await, Err(libc::EINVAL));
        let error = dir.open_dir_with("..", beneath).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CrossesDevices);
        dir.open_dir_with("a/b", beneath | Resolve::NO_SYMLINKS).await.unwrap();
        assert_eq!(dir.open_dir_with("nul\0", beneath).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        // What is created has its mode, and what is not needs none.
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).resolve(beneath);
        dir.open_file_with("a/new", &options).await.unwrap();
        assert_eq!(std::fs::metadata(root.join("a/new")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(dir.open_file_with("a/new", &options).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(dir.open_file_with("../new", &options).await.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        assert!(!temporary.path().join("new").exists());
        options.create_new(false).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
        dir.open_file_with("a/new", &options).await.unwrap();
        assert!((beneath | Resolve::NO_XDEV).contains(beneath) && !beneath.contains(Resolve::NO_XDEV));
        // Without a directory they hold from the current one.
        let mut options = OpenOptions::new();
        options.read(true).resolve(beneath);
        assert_eq!(options.open("/etc/passwd").await.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        // Not there on a machine that the test was carried to.
        assert_eq!(options.open("Cargo.toml").await.is_ok(), Path::new("Cargo.toml").exists());
    });
}

/// A path that changes under the look-up is looked up again.
#[test]
fn a_path_is_found_while_others_rename() {
    let temporary = quick_dir();
    let root = temporary.path().to_path_buf();
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::create_dir(root.join("x")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, renaming) = (stop.clone(), root.clone());
    let renamer = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            std::fs::rename(renaming.join("x"), renaming.join("y")).unwrap();
            std::fs::rename(renaming.join("y"), renaming.join("x")).unwrap();
        }
    });
    run(async {
        let dir = Dir::open(&root).await.unwrap();
        let mut options = OpenOptions::new();
        options.read(true).resolve(Resolve::BENEATH);
        for _ in 0..300 {
            dir.open_file_with("a/b/../../a/b/../../file", &options).await.unwrap();
        }
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    renamer.join().unwrap();
}

/// Dropped at any time, with the directory.
#[test]
fn dropped_calls_happen_or_not() {
    let temporary = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..200 {
            let dir = Dir::open(temporary.path()).await.unwrap();
            let name = format!("dir-{round}");
            let mut making = dir.create_dir(&name);
            if round % 5 > 0 {
                let _ = poll_once(&mut making).await;
            }
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(dir);
            drop(making);
            if round % 5 == 0 || round % 3 == 0 {
                turn().await;
                assert!(!temporary.path().join(name).exists(), "{round}: it was not submitted");
            }
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    CreateDir(usize),
    Write(usize),
    Append(usize),
    RemoveFile(usize),
    RemoveDir(usize),
    Rename(usize, usize),
    HardLink(usize, usize),
    Symlink(usize, usize),
    Read(usize),
    ReadLink(usize),
    Metadata(usize),
}

const NAMES: [&str; 7] = ["a", "b", "a/x", "a/y", "b/x", "a/../b", "b/."];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES.len();
    let step = prop_oneof![
        name().prop_map(Step::CreateDir),
        name().prop_map(Step::Write),
        name().prop_map(Step::Append),
        name().prop_map(Step::RemoveFile),
        name().prop_map(Step::RemoveDir),
        (name(), name()).prop_map(|(a, b)| Step::Rename(a, b)),
        (name(), name()).prop_map(|(a, b)| Step::HardLink(a, b)),
        (name(), name()).prop_map(|(a, b)| Step::Symlink(a, b)),
        name().prop_map(Step::Read),
        name().prop_map(Step::ReadLink),
        name().prop_map(Step::Metadata),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What a step gives, so far as both sides have it in common.
type Outcome = Result<Vec<u8>, (ErrorKind, Option<i32>)>;

fn outcome<T: Into<Vec<u8>>>(result: io::Result<T>) -> Outcome {
    result.map(Into::into).map_err(|error| (error.kind(), error.raw_os_error()))
}

async fn by_us(dir: &Dir, step: &Step) -> Outcome {
    let nothing = |()| Vec::new();
    match *step {
        Step::CreateDir(name) => outcome(dir.create_dir(NAMES[name]).await.map(nothing)),
        Step::Write(name) => outcome(dir.write(NAMES[name], "written").await.map(nothing)),
        Step::Append(name) => outcome(
            async {
                let mut file = dir.open_file_with(NAMES[name], OpenOptions::new().append(true).create(true)).await?;
                file.write_all("more").await.0
            }
            .await
            .map(nothing),
        ),
        Step::RemoveFile(name) => outcome(dir.remove_file(NAMES[name]).await.map(nothing)),
        Step::RemoveDir(name) => outcome(dir.remove_dir(NAMES[name]).await.map(nothing)),
        Step::Rename(from, to) => outcome(dir.rename(NAMES[from], dir, NAMES[to]).await.map(nothing)),
        Step::HardLink(from, to) => outcome(dir.hard_link(NAMES[from], dir, NAMES[to]).await.map(nothing)),
        Step::Symlink(to, link) => outcome(dir.symlink(NAMES[to], NAMES[link]).await.map(nothing)),
        Step::Read(name) => outcome(dir.read(NAMES[name]).await),
        Step::ReadLink(name) => {
            outcome(dir.read_link(NAMES[name]).await.map(|path| path.into_os_string().into_encoded_bytes()))
        }
        Step::Metadata(name) => outcome(
            dir.symlink_metadata(NAMES[name])
                .await
                .map(|metadata| format!("{} {:o}", metadata.nlink(), metadata.mode())),
        ),
    }
}

fn by_std(root: &Path, step: &Step) -> Outcome {
    let path = |name: usize| root.join(NAMES[name]);
    let nothing = |()| Vec::new();
    match *step {
        Step::CreateDir(name) => outcome(std::fs::create_dir(path(name)).map(nothing)),
        Step::Write(name) => outcome(std::fs::write(path(name), "written").map(nothing)),
        Step::Append(name) => outcome(
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path(name))
                .and_then(|mut file| io::Write::write_all(&mut file, b"more"))
                .map(nothing),
        ),
        Step::RemoveFile(name) => outcome(std::fs::remove_file(path(name)).map(nothing)),
        Step::RemoveDir(name) => outcome(std::fs::remove_dir(path(name)).map(nothing)),
        Step::Rename(from, to) => outcome(std::fs::rename(path(from), path(to)).map(nothing)),
        Step::HardLink(from, to) => outcome(std::fs::hard_link(path(from), path(to)).map(nothing)),
        Step::Symlink(to, link) => outcome(symlink(NAMES[to], path(link)).map(nothing)),
        Step::Read(name) => outcome(std::fs::read(path(name))),
        Step::ReadLink(name) => {
            outcome(std::fs::read_link(path(name)).map(|path| path.into_os_string().into_encoded_bytes()))
        }
        Step::Metadata(name) => outcome(
            std::fs::symlink_metadata(path(name)).map(|metadata| format!("{} {:o}", metadata.nlink(), metadata.mode())),
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random work with names, by us in an open directory and by std on paths: the same outcomes all the way.
    #[test]
    fn random_work_is_std_s(steps in steps()) {
        let (ours, std) = (quick_dir(), quick_dir());
        run(async {
            let dir = Dir::open(ours.path()).await.unwrap();
            for (index, step) in steps.iter().enumerate() {
                assert_eq!(by_us(&dir, step).await, by_std(std.path(), step), "step {index} of {steps:?}");
            }
        });
    }
}
