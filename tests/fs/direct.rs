//! `O_DIRECT`.

use std::io::ErrorKind;

use ringtoss::buf::AlignedBuf;
use ringtoss::fs::{File, OpenOptions};

use crate::util::{disk_dir, pattern, run};

/// A file on a real disk; tmpfs may refuse.
pub async fn direct(dir: &std::path::Path) -> Option<File> {
    let mut options = OpenOptions::new();
    match options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT).open(dir.join("direct")).await {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            eprintln!("skipped: this file system has no O_DIRECT");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn aligned_buffers_go_to_the_disk_and_back() {
    let dir = disk_dir();
    run(async {
        let Some(file) = direct(dir.path()).await else { return };
        const LEN: usize = 1 << 20;
        let mut buf = AlignedBuf::with_capacity(LEN);
        buf.extend_from_slice(&pattern(LEN));
        let (result, buf) = file.write_all_at(buf, 4096).await;
        result.unwrap();
        let (result, buf) = file.read_exact_at(buf, LEN, 4096).await;
        assert!(result.unwrap() == LEN && buf[..] == pattern(LEN));
        // The end comes in the middle of a block.
        file.set_len(4096 + 1000).await.unwrap();
        let (result, buf) = file.read_at(buf, 4096).await;
        assert_eq!((result.unwrap(), &buf[..]), (1000, &pattern(1000)[..]));
        // What is not aligned is refused, as by std.
        let (result, _) = file.write_at(vec![0; 4096 + 1], 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, buf) = file.read_at(buf, 7).await;
        assert_eq!((result.unwrap_err().kind(), buf.len()), (ErrorKind::InvalidInput, 0));
        file.sync_all().await.unwrap();
        file.close().await.unwrap();
    });
}

/// Such writes are with the disk when they are dropped.
#[test]
fn a_dropped_direct_write_never_lands_after_the_next() {
    let dir = disk_dir();
    run(async {
        let Some(file) = direct(dir.path()).await else { return };
        const LEN: usize = 1 << 16;
        for round in 0..200u32 {
            let mut old = AlignedBuf::with_capacity(LEN);
            old.resize(LEN, 1);
            let mut write = file.write_at(old, 0);
            let _ = crate::util::poll_once(&mut write).await;
            crate::util::turn().await;
            drop(write);
            let mut new = AlignedBuf::with_capacity(LEN);
            new.resize(LEN, (round % 200) as u8 + 2);
            file.write_all_at(new, 0).await.0.unwrap();
            let (result, buf) = file.read_exact_at(AlignedBuf::with_capacity(LEN), LEN, 0).await;
            result.unwrap();
            assert!(buf.iter().all(|&byte| byte == (round % 200) as u8 + 2), "round {round}");
        }
    });
}
