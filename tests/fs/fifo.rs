//! Pipes with a name, whose other side comes when it comes.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringtoss::fs::{self, File, OpenOptions};

use crate::util::{run, starting_a_child};

fn fifo(dir: &Path) -> PathBuf {
    let path = dir.join("fifo");
    let _starting = starting_a_child();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Nobody has opened it for writing yet: that is not the end.
#[test]
fn a_reader_waits_for_the_first_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    run(async {
        for round in 0..20 {
            let reader = ringtoss::spawn({
                let path = path.clone();
                async move { fs::read_to_string(path).await }
            });
            for _ in 0..round {
                ringtoss::op::nop().await.unwrap();
            }
            let path = path.clone();
            let writer = ringtoss::spawn_blocking(move || {
                let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
                file.write_all(b"first ").unwrap();
                file.write_all(b"second").unwrap();
            });
            assert_eq!(reader.await.unwrap().unwrap(), "first second");
            writer.await.unwrap();
        }
    });
}

#[test]
fn every_way_to_read_waits_for_the_first_writer_and_can_be_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    run(async {
        let limit = Duration::from_millis(10);
        let mut reader = File::open(&path).await.unwrap();
        assert_eq!(reader.read(vec![0; 9]).timeout(limit).await.0.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(reader.read_exact(vec![0; 9], 9).timeout(limit).await.0.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(reader.read_exact(vec![0; 9], 0).timeout(limit).await.0.unwrap(), 0);
        assert_eq!(
            reader.read_vectored((vec![0; 9], vec![0; 9])).timeout(limit).await.0.unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        assert_eq!(reader.read_to_end(vec![]).timeout(limit).await.0.unwrap_err().kind(), ErrorKind::TimedOut);
        let _ = ringtoss::time::timeout(limit, reader.read(vec![0; 9])).await.unwrap_err();
        let mut writer = OpenOptions::new().write(true).open(&path).await.unwrap();
        writer.write_all("hello").await.0.unwrap();
        let (result, buf) = reader.read(vec![0; 9]).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"hello"[..]));
        writer.close().await.unwrap();
        assert_eq!(reader.read(vec![0; 9]).await.0.unwrap(), 0, "the last writer has gone");
        assert_eq!(reader.read_vectored((vec![0; 9], vec![0; 9])).await.0.unwrap(), 0);
        // Who asks not to wait does not wait.
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).await.unwrap();
        assert_eq!(reader.read(vec![0; 9]).await.0.unwrap(), 0);
    });
}

#[test]
fn a_writer_waits_for_a_reader_and_can_be_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path());
    run(async {
        let mut write = OpenOptions::new();
        write.write(true);
        let error = write.open(&path).timeout(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = write.custom_flags(libc::O_NONBLOCK).open(&path).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        write.custom_flags(0);
        let opening = ringtoss::spawn({
            let path = path.clone();
            async move { write.open(path).await }
        });
        for _ in 0..5 {
            ringtoss::op::nop().await.unwrap();
        }
        let mut reader = File::open(&path).await.unwrap();
        let mut writer = opening.await.unwrap().unwrap();
        writer.write_all("hello").await.0.unwrap();
        drop(writer);
        assert_eq!(reader.read_to_end(vec![]).await.1, b"hello");
    });
}
