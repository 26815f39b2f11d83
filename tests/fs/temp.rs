//! Temporary files, files in memory, and what makes them permanent.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use ringtoss::fs::{self, Dir, File, MemfdOptions, NamedTempFile, PersistError, Seals};

use crate::util::{poll_once, run, turn};

#[test]
fn a_file_without_a_name_is_linked_into_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("place");
    run(async {
        let file = fs::tempfile_in(dir.path()).await.unwrap();
        file.write_all_at("new", 0).await.0.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nobody sees it");
        let metadata = file.metadata().await.unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
        file.persist_noclobber(&path).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let other = fs::tempfile_in(dir.path()).await.unwrap();
        other.write_all_at("newer", 0).await.0.unwrap();
        assert_eq!(other.persist_noclobber(&path).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        // Whoever has the old one open keeps that.
        let old = std::fs::File::open(&path).unwrap();
        other.persist(&path).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
        assert_eq!(old.metadata().unwrap().len(), 3);
        // Under its own name again, and under another.
        other.persist(&path).await.unwrap();
        let open = Dir::open(dir.path()).await.unwrap();
        other.persist_noclobber_in(&open, "another").await.unwrap();
        assert_eq!(other.metadata().await.unwrap().nlink(), 2);
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["another", "place"], "and nothing is left behind");
    });
}

#[test]
fn what_cannot_be_linked_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let file = fs::tempfile_in(dir.path()).await.unwrap();
        let missing = dir.path().join("missing/place");
        assert_eq!(file.persist(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(file.persist_noclobber(&missing).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(file.persist("nul\0").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.persist_noclobber("nul\0").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        assert_eq!(file.persist(dir.path().join("dir")).await.unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
        // One that had a name and has lost it.
        let path = dir.path().join("lost");
        let lost = File::create(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(lost.persist_noclobber(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::tempfile_in(dir.path().join("missing")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::tempfile_in("/proc/self/stat").await.unwrap_err().kind(), ErrorKind::NotADirectory);
        fs::tempfile().await.unwrap().write_all_at("x", 0).await.0.unwrap();
    });
}

/// Dropped at any time, a link is there or not, and is that of the file that was meant.
#[test]
fn a_dropped_link_is_the_file_s_or_none() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..200 {
            let file = fs::tempfile_in(dir.path()).await.unwrap();
            file.write_all_at("meant", 0).await.0.unwrap();
            let path = dir.path().join(format!("{round}"));
            let mut linking = Box::pin(file.persist_noclobber(&path));
            let _ = poll_once(&mut linking).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(linking);
            drop(file);
            let mut strangers = Vec::new();
            for _ in 0..4 {
                strangers.push(fs::tempfile_in(dir.path()).await.unwrap());
            }
            turn().await;
            if let Ok(content) = std::fs::read(&path) {
                assert_eq!(content, b"meant", "round {round}");
            }
        }
    });
}

#[test]
fn a_name_goes_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let count = || std::fs::read_dir(dir.path()).unwrap().count();
    run(async {
        let mut file = NamedTempFile::new_in(dir.path()).await.unwrap();
        file.write_all("content").await.0.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"content");
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        drop(file);
        assert_eq!(count(), 0);
        let file = NamedTempFile::with_affixes(dir.path(), "before-", ".after").await.unwrap();
        let name = file.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with("before-") && name.ends_with(".after") && name.len() > 20, "{name}");
        file.close().await.unwrap();
        assert_eq!(count(), 0);
        // Away from any loop, too.
        let file = NamedTempFile::new_in(dir.path()).await.unwrap();
        std::thread::spawn(move || drop(file)).join().unwrap();
        assert_eq!(count(), 0);
        let (file, path) = NamedTempFile::new_in(dir.path()).await.unwrap().keep();
        file.close().await.unwrap();
        assert!(path.is_absolute() && path.exists());
        std::fs::remove_file(path).unwrap();

        let place = dir.path().join("place");
        let file = NamedTempFile::new_in(dir.path()).await.unwrap().persist(&place).await.unwrap();
        file.write_all_at("x", 0).await.0.unwrap();
        assert_eq!((count(), std::fs::read(&place).unwrap()), (1, b"x".to_vec()));
        let other = NamedTempFile::new_in(dir.path()).await.unwrap();
        let PersistError { error, file } = other.persist_noclobber(&place).await.unwrap_err();
        assert_eq!((error.kind(), count()), (ErrorKind::AlreadyExists, 2));
        let file = file.persist_noclobber(dir.path().join("other")).await.unwrap();
        drop(file);
        assert_eq!(count(), 2);
        // A path that says nothing of where it starts stays right.
        let here = NamedTempFile::new_in(".").await.unwrap();
        assert!(here.path().is_absolute() && here.path().exists());

        let gone = NamedTempFile::new_in(dir.path()).await.unwrap();
        std::fs::remove_file(gone.path()).unwrap();
        assert_eq!(gone.close().await.unwrap_err().kind(), ErrorKind::NotFound);
        let missing = NamedTempFile::new_in(dir.path().join("missing")).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
        let slash = NamedTempFile::with_affixes(dir.path(), "a/b", "").await;
        assert_eq!(slash.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// Dropped while it is made, while it is removed and while it is renamed: no name stays that nobody knows of.
#[test]
fn a_dropped_call_leaves_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("place");
    run(async {
        for round in 0..200 {
            let mut making = Box::pin(NamedTempFile::new_in(dir.path()));
            let _ = poll_once(&mut making).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(making);
            let file = NamedTempFile::new_in(dir.path()).await.unwrap();
            let mut closing = Box::pin(file.close());
            let _ = poll_once(&mut closing).await;
            if round % 3 == 0 {
                turn().await;
            }
            drop(closing);
            let file = NamedTempFile::new_in(dir.path()).await.unwrap();
            let mut renaming = Box::pin(file.persist(&place));
            let _ = poll_once(&mut renaming).await;
            if round % 3 == 0 {
                turn().await;
            }
            drop(renaming);
        }
        // What a thread has begun may take a while.
        for attempt in 0.. {
            let names: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            if names.iter().all(|name| name == "place") {
                break;
            }
            assert!(attempt < 5000, "{names:?}");
            ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn files_in_memory_can_be_sealed() {
    run(async {
        let plain = MemfdOptions::new().create("plain").unwrap();
        assert_eq!(plain.add_seals(Seals::GROW).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(plain.seals().unwrap(), Seals::SEAL);
        let file = MemfdOptions::new().allow_sealing(true).create("sealed").unwrap();
        file.write_all_at("content", 0).await.0.unwrap();
        file.add_seals(Seals::GROW).unwrap();
        assert_eq!(file.write_at("more", 7).await.0.unwrap_err().kind(), ErrorKind::PermissionDenied);
        file.set_len(5).await.unwrap();
        file.add_seals(Seals::SHRINK | Seals::WRITE).unwrap();
        assert_eq!(file.set_len(3).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(file.write_at("x", 0).await.0.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(file.read_at(Vec::with_capacity(9), 0).await.1, b"conte");
        let mut all = Seals::GROW;
        all |= Seals::SHRINK | Seals::WRITE;
        assert_eq!(file.seals().unwrap(), all);
        assert!(all.contains(Seals::WRITE) && !all.contains(Seals::SEAL));
        assert_eq!(MemfdOptions::new().create("nul\0").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(MemfdOptions::new().create("n".repeat(250)).unwrap_err().kind(), ErrorKind::InvalidInput);
        match MemfdOptions::new().no_exec(true).create("data") {
            Ok(file) => assert!(file.seals().unwrap().contains(Seals::EXEC)),
            Err(error) => assert!(error.to_string().contains("6.3"), "{error}"),
        }
        let not_in_memory = File::open("/proc/self/stat").await.unwrap();
        assert_eq!(not_in_memory.seals().unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}
