//! Reading and writing at offsets.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::rc::Rc;

use ringtoss::buf::IoBufExt;
use ringtoss::fs::File;
use ringtoss::op::transferred;

use crate::util::{holding, pattern, pipe, run, same_error, starting_a_child, unnamed};

const GIB: u64 = 1 << 30;

#[test]
fn what_is_written_is_read() {
    run(async {
        let file = unnamed();
        assert_eq!(file.write_at("hello world", 3).await.0.unwrap(), 11);
        let (result, buf) = file.read_at(Vec::with_capacity(100), 0).await;
        assert_eq!((result.unwrap(), &buf[..]), (14, &b"\0\0\0hello world"[..]));
        // A buffer of a fixed length keeps it; a slice limits.
        let (result, buf) = file.read_at(Box::new([7u8; 20]), 9).await;
        assert_eq!((result.unwrap(), &buf[..6]), (5, &b"world\x07"[..]));
        let (result, slice) = file.read_at(b"abcdef".to_vec().slice(2..5), 3).await;
        assert_eq!((result.unwrap(), slice.into_inner()), (3, b"abhel".to_vec()));
        file.write_all_at("HELLO", 3).await.0.unwrap();
        let (result, buf) = file.read_exact_at(Vec::with_capacity(8), 5, 3).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"HELLO"[..]));
    });
}

#[test]
fn a_read_past_the_end_gives_nothing_and_an_exact_one_an_error() {
    run(async {
        let file = holding(b"12345");
        for offset in [5, 6, 1 << 40, i64::MAX as u64 - 4096] {
            let (result, buf) = file.read_at(vec![1; 9], offset).await;
            assert_eq!((result.unwrap(), buf.len()), (0, 0), "{offset}");
        }
        let (result, buf) = file.read_exact_at(Vec::with_capacity(9), 9, 2).await;
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::UnexpectedEof, &b"345"[..]));
        let (result, buf) = file.read_exact_at(Vec::with_capacity(9), 0, 5).await;
        assert_eq!((result.unwrap(), buf.len()), (0, 0));
    });
}

#[test]
fn invalid_arguments_are_refused_and_the_buffer_comes_back() {
    run(async {
        let file = holding(b"12345");
        let (result, _) = file.read_at(Vec::new(), 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, _) = file.read_exact_at(Vec::with_capacity(3), 1000, 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, _) = file.read_vectored_at((Vec::new(), Vec::new()), 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
            let (result, buf) = file.read_at(vec![1; 9], offset).await;
            assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::InvalidInput, vec![1; 9]), "{offset}");
            let (result, buf) = file.write_at(vec![1; 9], offset).await;
            assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::InvalidInput, vec![1; 9]), "{offset}");
            let (result, buf) = file.write_all_at(vec![1; 9], offset).await;
            assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::InvalidInput, vec![1; 9]), "{offset}");
            let (result, _) = file.read_vectored_at((vec![1; 9], vec![1; 9]), offset).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput, "{offset}");
            let (result, bufs) = file.write_vectored_at((vec![1; 9], vec![1; 9]), offset).await;
            assert_eq!((result.unwrap_err().kind(), bufs.1), (ErrorKind::InvalidInput, vec![1; 9]), "{offset}");
        }
        let (result, buf) = file.read_at(vec![0; 9], 0).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"12345"[..]), "nothing was written");
    });
}

#[test]
fn errors_are_std_s() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "12345").unwrap();
    run(async {
        let std = std::fs::File::open(&path).unwrap();
        let file = File::open(&path).await.unwrap();
        same_error(file.write_at("x", 0).await.0, std.write_at(b"x", 0));
        same_error(file.write_all_at("x", 0).await.0, std.write_all_at(b"x", 0));
        same_error(file.set_len(3).await, std.set_len(3));
        let std = std::fs::File::create(&path).unwrap();
        let file = File::create(&path).await.unwrap();
        same_error(file.read_at(vec![0; 3], 0).await.0, std.read_at(&mut [0; 3], 0));
        same_error(file.set_len(u64::MAX).await, std.set_len(u64::MAX));
        same_error(file.set_len(i64::MAX as u64).await, std.set_len(i64::MAX as u64));
        let end = i64::MAX as u64 - 1;
        same_error(file.write_at("x", end).await.0, std.write_at(b"x", end));
        let std = std::fs::File::open(dir.path()).unwrap();
        let file = File::open(dir.path()).await.unwrap();
        same_error(file.read_at(vec![0; 3], 0).await.0, std.read_at(&mut [0; 3], 0));
        let (reader, writer) = pipe();
        let (std_reader, std_writer) = (reader.try_clone().unwrap().into_std(), writer.try_clone().unwrap().into_std());
        let (std_reader, std_writer) = (std_reader.unwrap(), std_writer.unwrap());
        same_error(reader.read_at(vec![0; 3], 0).await.0, std_reader.read_at(&mut [0; 3], 0));
        same_error(writer.write_at("x", 0).await.0, std_writer.write_at(b"x", 0));
        same_error(writer.sync_all().await, std_writer.sync_all());
        same_error(writer.sync_data().await, std_writer.sync_data());
        same_error(writer.set_len(0).await, std_writer.set_len(0));
    });
}

#[test]
fn several_buffers_are_filled_and_written_in_order() {
    run(async {
        let file = unnamed();
        let (result, bufs) = file.write_vectored_at(vec!["one".to_string(), String::new(), "two".to_string()], 4).await;
        assert_eq!((result.unwrap(), bufs.len()), (6, 3));
        let bufs = (Vec::with_capacity(5), vec![9u8; 0], Box::new([1u8; 2]), vec![7u8; 10]);
        let (result, bufs) = file.read_vectored_at(bufs, 0).await;
        assert_eq!(result.unwrap(), 10);
        assert_eq!(
            (&bufs.0[..], &bufs.1[..], &bufs.2[..], &bufs.3[..]),
            (&b"\0\0\0\0o"[..], &[][..], &b"ne"[..], &b"two"[..])
        );
        // More than one call takes: the rest is for the next.
        let (result, bufs) = file.write_vectored_at(vec![vec![3u8; 2]; 1500], 0).await;
        assert_eq!((result.unwrap(), bufs.len()), (2048, 1500));
        let (result, bufs) = file.read_vectored_at(vec![vec![0u8; 1]; 1500], 0).await;
        assert_eq!(result.unwrap(), 1024);
        assert!(bufs[..1024].iter().all(|buf| buf == &[3]) && bufs[1024..].iter().all(Vec::is_empty));
        let (result, bufs) = file.read_vectored_at((vec![1u8; 4], vec![1u8; 4]), 1 << 20).await;
        assert_eq!((result.unwrap(), bufs), (0, (vec![], vec![])));
    });
}

#[test]
fn sparse_files_beyond_4_gib() {
    run(async {
        let file = unnamed();
        for (index, offset) in [0, 2 * GIB - 3, 4 * GIB - 3, 4 * GIB + 5, 100 * GIB].into_iter().enumerate() {
            let content = format!("at {index} there");
            file.write_all_at(content.clone(), offset).await.0.unwrap();
            let (result, buf) = file.read_exact_at(Vec::with_capacity(64), content.len(), offset).await;
            result.unwrap();
            assert_eq!(buf, content.as_bytes());
        }
        let metadata = file.metadata().await.unwrap();
        assert_eq!(metadata.len(), 100 * GIB + 10);
        assert!(metadata.blocks() < 1000, "it is sparse");
        let (result, buf) = file.read_exact_at(vec![1; 1 << 20], 1 << 20, 50 * GIB).await;
        result.unwrap();
        assert!(buf.iter().all(|&byte| byte == 0));
        file.set_len(5 * GIB).await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 5 * GIB);
        file.set_len(0).await.unwrap();
        file.set_len(7).await.unwrap();
        assert_eq!(file.read_at(vec![1; 9], 0).await.1, [0; 7]);
    });
}

/// One call of the kernel moves at most 2,147,479,552 bytes.
#[test]
fn more_than_2_gib_in_one_operation() {
    const LEN: usize = (2 << 30) + 12345;
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let available_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap();
    if available_kib < 6 << 20 {
        eprintln!("skipped: it takes 6 GiB of memory, of which {available_kib} KiB are available");
        return;
    }
    run(async {
        let file = unnamed();
        file.set_len(LEN as u64).await.unwrap();
        file.write_all_at("the end", LEN as u64 - 7).await.0.unwrap();
        let (result, buf) = file.read_at(Vec::with_capacity(LEN), 0).await;
        assert_eq!(result.unwrap(), 0x7fff_f000);
        let (result, buf) = file.read_exact_at(buf, LEN, 0).await;
        assert_eq!((result.unwrap(), &buf[LEN - 7..]), (LEN, &b"the end"[..]));
        // Into nothing: it is the count that matters.
        let null = File::options().write(true).open("/dev/null").await.unwrap();
        let (result, buf) = null.write_at(buf, 0).await;
        assert!(matches!(result.unwrap(), 0x7fff_f000 | LEN));
        null.write_all_at(buf, 0).await.0.unwrap();
    });
}

#[test]
fn many_operations_in_flight_on_one_file() {
    const BLOCK: usize = 1 << 14;
    run(async {
        let content = pattern(BLOCK * 256);
        let file = Rc::new(unnamed());
        let writes: Vec<_> = (0..256)
            .map(|index| {
                let (file, block) = (file.clone(), content[index * BLOCK..][..BLOCK].to_vec());
                ringtoss::spawn(async move { file.write_all_at(block, (index * BLOCK) as u64).await.0 })
            })
            .collect();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        let reads: Vec<_> = (0..256)
            .map(|index| {
                let file = file.clone();
                let buf = Vec::with_capacity(BLOCK);
                ringtoss::spawn(async move { file.read_exact_at(buf, BLOCK, (index * BLOCK) as u64).await })
            })
            .collect();
        for (index, read) in reads.into_iter().enumerate() {
            let (result, buf) = read.await.unwrap();
            result.unwrap();
            assert!(buf == content[index * BLOCK..][..BLOCK], "block {index}");
        }
    });
}

#[test]
fn what_was_bounded_or_ended_gives_its_buffer_back() {
    run(async {
        let file = holding(&pattern(1 << 20));
        let token = ringtoss::CancellationToken::new();
        token.cancel();
        for _ in 0..100 {
            let (result, buf) = file.read_at(Vec::with_capacity(1 << 20), 0).cancel().await;
            assert!(result.is_err_and(|error| error.raw_os_error() == Some(libc::ECANCELED)));
            assert_eq!(buf.capacity(), 1 << 20);
            let (result, buf) = file.read_at(buf, 0).cancel_on(&token).await;
            assert!(result.is_ok_and(|count| count == buf.len()) || buf.is_empty());
            let (result, buf) = file.write_all_at(buf, 0).timeout(std::time::Duration::ZERO).await;
            if let Err(error) = result {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                assert!(transferred(&error).is_none_or(|count| count <= buf.len()));
            }
            file.write_all_at(pattern(1 << 20), 0).await.0.unwrap();
        }
        let (result, buf) = file.read_exact_at(Vec::with_capacity(1 << 20), 1 << 20, 0).await;
        result.unwrap();
        assert!(buf == pattern(1 << 20));
    });
}

/// A file system that is full: a `tmpfs` of one mebibyte.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Small> {
        let dir = tempfile::tempdir().unwrap();
        let _starting = starting_a_child();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "ringtoss-test"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Small(dir)),
            other => {
                eprintln!("skipped: mounting a tmpfs is not permitted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _starting = starting_a_child();
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_short_writes_are_counted() {
    let Some(small) = Small::mount() else { return };
    run(async {
        let mut file = File::create(small.0.path().join("file")).await.unwrap();
        let (result, buf) = file.write_all_at(vec![1u8; 2 << 20], 0).await;
        assert_eq!((result.unwrap_err().kind(), buf.len()), (ErrorKind::StorageFull, 2 << 20));
        assert_eq!(file.metadata().await.unwrap().len(), 1 << 20, "as much as there was room for");
        let (result, _) = file.write_at("x", 1 << 20).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
        file.set_len(4096).await.unwrap();
        let (result, _) = file.write_at(vec![1u8; 2 << 20], 4096).await;
        assert_eq!(result.unwrap(), (1 << 20) - 4096, "a short write");
        let (result, _) = file.write(vec![2u8; (1 << 20) + 1]).await;
        eprintln!("{result:?} {:?} {:?}", file.stream_position().await, file.metadata().await.unwrap());
        file.rewind().await.unwrap();
        let (result, _) = file.write_all(vec![2u8; (1 << 20) + 1]).await;
        eprintln!("{result:?} {:?} {:?}", file.stream_position().await, file.metadata().await.unwrap());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::StorageFull);
        let error = ringtoss::fs::write(small.0.path().join("another"), vec![1u8; 10]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        // There is room again as soon as something goes.
        file.set_len(0).await.unwrap();
        file.write_all_at("fine", 0).await.0.unwrap();
        file.close().await.unwrap();
    });
}

#[test]
fn syncing() {
    run(async {
        let file = unnamed();
        file.write_all_at("durable", 0).await.0.unwrap();
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
        // Dropped at any point they leave nothing behind that anybody waits for.
        for _ in 0..20 {
            let mut sync = file.sync_all();
            let _ = crate::util::poll_once(&mut sync).await;
            drop(sync);
            let mut sync = file.sync_data();
            let _ = crate::util::poll_once(&mut sync).await;
            crate::util::turn().await;
            drop(sync);
            file.write_all_at("durable", 0).await.0.unwrap();
        }
        file.sync_all().await.unwrap();
    });
}
