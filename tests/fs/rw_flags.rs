//! Flags of single reads and writes, and chosen fields of statx.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};

use ringtoss::buf::AlignedBuf;
use ringtoss::fs::{Attribute, Dir, File, OpenOptions, RwFlags, StatFields, StatOptions, StatSync};

use crate::util::{disk_dir, holding, pattern, poll_once, run, turn};

/// Whether the kernel and the file system know a flag; if not, the error says since when there is one.
fn known(result: std::io::Result<usize>, release: &str) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(release), "{error}");
            eprintln!("skipped: {error}");
            false
        }
    }
}

#[test]
fn writes_do_as_their_flags_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    run(async {
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        for flags in [RwFlags::default(), RwFlags::DSYNC, RwFlags::SYNC, RwFlags::DSYNC | RwFlags::SYNC] {
            file.write_all_at_with("0123", 0, flags).await.0.unwrap();
            assert_eq!(file.write_at_with("ab", 1, flags).await.0.unwrap(), 2);
            let (result, _) = file.write_vectored_at_with(["x", "y"], 4, flags).await;
            assert_eq!(result.unwrap(), 2);
            assert_eq!(std::fs::read(&path).unwrap(), b"0ab3xy");
        }
        // At the end, whatever the offset, also what takes several steps or buffers.
        let mut flags = RwFlags::APPEND;
        flags |= RwFlags::DSYNC;
        assert!(flags.contains(RwFlags::APPEND) && !flags.contains(RwFlags::SYNC));
        file.write_all_at_with("-end", 0, flags).await.0.unwrap();
        file.write_vectored_at_with(["1", "2"], 0, RwFlags::APPEND).await.0.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"0ab3xy-end12");

        let appending = OpenOptions::new().append(true).open(&path).await.unwrap();
        if known(appending.write_at_with("ZZ", 0, RwFlags::NOAPPEND).await.0, "6.9") {
            assert_eq!(std::fs::read(&path).unwrap(), b"ZZb3xy-end12");
        }
        if known(file.write_at_with("QQ", 0, RwFlags::DONTCACHE).await.0, "6.14") {
            assert_eq!(file.read_at_with(Vec::with_capacity(2), 0, RwFlags::DONTCACHE).await.1, b"QQ");
        }
        // Without O_DIRECT there are none, on any kernel.
        let (result, _) = file.write_at_with(vec![0; 4096], 0, RwFlags::ATOMIC).await;
        let error = result.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput), "{error}");
    });
}

#[test]
fn reads_do_as_their_flags_say() {
    run(async {
        let file = holding(&pattern(10_000));
        let (result, bytes) =
            file.read_exact_at_with(Vec::with_capacity(9_000), 9_000, 1_000, RwFlags::default()).await;
        assert!(result.unwrap() == 9_000 && bytes == pattern(10_000)[1_000..]);
        // It is in the cache now.
        match file.read_at_with(Vec::with_capacity(10_000), 0, RwFlags::NOWAIT).await {
            (Ok(count), bytes) => assert!(bytes == pattern(10_000)[..count]),
            (Err(error), _) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Unsupported), "{error}")
            }
        }
        let bufs = [Vec::with_capacity(10), Vec::with_capacity(20)];
        match file.read_vectored_at_with(bufs, 0, RwFlags::NOWAIT).await {
            (Ok(30), bufs) => assert_eq!(bufs.concat(), &pattern(30)[..]),
            (Ok(count), _) => panic!("{count}"),
            (Err(error), _) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Unsupported), "{error}")
            }
        }
    });
}

/// An appending write that was dropped is waited for by every other.
#[test]
fn a_dropped_append_comes_before_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    run(async {
        let file = OpenOptions::new().read(true).write(true).create(true).open(&path).await.unwrap();
        let mut expected = Vec::new();
        for round in 0..200u32 {
            let mut append = file.write_all_at_with(vec![1; 5_000], 0, RwFlags::APPEND);
            let _ = poll_once(&mut append).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(append);
            file.write_all_at_with("2", 0, RwFlags::APPEND).await.0.unwrap();
            let fate = file.take_dropped_write().await.map_or(0, |fate| fate.unwrap_or(0));
            expected.extend(std::iter::repeat_n(1, fate));
            expected.push(b'2');
            assert!(std::fs::read(&path).unwrap() == expected, "round {round}");
        }
    });
}

#[test]
fn atomic_writes_are_what_the_file_system_allows() {
    let dir = disk_dir();
    run(async {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT);
        let Ok(file) = options.open(dir.path().join("file")).await else { return };
        let stat = StatOptions::new().fields(StatFields::WRITE_ATOMIC).of_file(&file).await.unwrap();
        let Some(allowed) = stat.atomic_write().filter(|allowed| allowed.max > 0) else {
            eprintln!("skipped: no atomic writes here");
            return;
        };
        let len = allowed.min as usize;
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&pattern(len));
        assert_eq!(file.write_at_with(buf, 0, RwFlags::ATOMIC).await.0.unwrap(), len);
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&pattern(len));
        let odd = file.write_at_with(buf, 512, RwFlags::ATOMIC).await.0;
        assert!(len == 512 || odd.unwrap_err().kind() == ErrorKind::InvalidInput);
    });
}

#[test]
fn chosen_fields_are_given() {
    let dir = disk_dir();
    let (path, link) = (dir.path().join("file"), dir.path().join("link"));
    std::fs::write(&path, pattern(100)).unwrap();
    symlink("file", &link).unwrap();
    let std = std::fs::metadata(&path).unwrap();
    run(async {
        let stat = StatOptions::new().of(&link).await.unwrap();
        assert!(stat.fields().contains(StatFields::BASIC));
        assert_eq!((stat.metadata().ino(), stat.metadata().len()), (std.ino(), 100));
        let mut options = StatOptions::new();
        let stat = options.follow(false).automount(false).sync(StatSync::Dont).of(&link).await.unwrap();
        assert!(stat.metadata().is_symlink());
        let mut fields = StatFields::MOUNT_ID | StatFields::DIO_ALIGN;
        fields |= StatFields::SIZE;
        options.follow(true).sync(StatSync::Force).fields(fields);
        let file = File::open(&path).await.unwrap();
        let open = Dir::open(dir.path()).await.unwrap();
        for stat in [
            options.of(&path).await.unwrap(),
            options.of_file(&file).await.unwrap(),
            options.of_name(&open, "link").await.unwrap(),
        ] {
            assert_eq!(stat.metadata().len(), 100);
            let mount = stat.mount_id().unwrap();
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(mounts.lines().any(|line| line.split(' ').next() == Some(&mount.to_string())), "{mount}");
            if let Some(align) = stat.dio_align() {
                assert!(align.offset == 0 || align.offset.is_power_of_two(), "{align:?}");
            }
        }
        let unique = StatOptions::new().fields(StatFields::MOUNT_ID_UNIQUE).of(&path).await.unwrap();
        // Beginning with 2^32 where the kernel has such.
        assert!(unique.unique_mount_id().is_none_or(|id| id >= 1 << 31), "{unique:?}");
        assert!(unique.unique_mount_id().is_none() || unique.mount_id().is_none(), "{unique:?}");
        let root = StatOptions::new().of("/proc").await.unwrap();
        assert_eq!(root.attribute(Attribute::MountRoot), Some(true));
        assert_eq!(StatOptions::new().of(&path).await.unwrap().attribute(Attribute::MountRoot), Some(false));
        let missing = options.of(dir.path().join("missing")).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    });
}
