//! Reading and writing at the position.

use std::io::{ErrorKind, SeekFrom};

use ringtoss::fs::File;

use crate::util::{holding, pattern, pipe, run, same_error, unnamed};

#[test]
fn the_position_moves_with_what_is_read_and_written() {
    run(async {
        let mut file = unnamed();
        assert_eq!(file.write("hello").await.0.unwrap(), 5);
        file.write_all(" world").await.0.unwrap();
        assert_eq!(file.stream_position().await.unwrap(), 11);
        assert_eq!(file.rewind().await.unwrap(), 0);
        let (result, buf) = file.read(Vec::with_capacity(3)).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"hel"[..]));
        let mut buf = Vec::with_capacity(5);
        buf.extend_from_slice(b"hel");
        let (result, buf) = file.read_append(buf).await;
        assert_eq!((result.unwrap(), &buf[..]), (2, &b"hello"[..]));
        let (result, buf) = file.read_append(buf).await;
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::InvalidInput, &b"hello"[..]), "it is full");
        let (result, buf) = file.read_exact(Vec::with_capacity(10), 2).await;
        assert_eq!((result.unwrap(), &buf[..]), (2, &b" w"[..]));
        let (result, buf) = file.read_exact(Vec::with_capacity(10), 10).await;
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::UnexpectedEof, &b"orld"[..]));
        let (result, buf) = file.read(vec![1; 3]).await;
        assert_eq!((result.unwrap(), buf.len()), (0, 0));
        let (result, buf) = file.read_exact(vec![1; 3], 0).await;
        assert_eq!((result.unwrap(), buf.len()), (0, 0));
        // Operations at an offset leave it alone.
        file.seek(SeekFrom::Start(2)).await.unwrap();
        file.write_all_at("HELLO", 0).await.0.unwrap();
        file.read_at(vec![0; 4], 7).await.0.unwrap();
        assert_eq!(file.stream_position().await.unwrap(), 2);
    });
}

#[test]
fn seeking_is_std_s() {
    use std::io::Seek;
    run(async {
        let mut file = holding(b"0123456789");
        let mut std = tempfile::tempfile().unwrap();
        std.set_len(10).unwrap();
        for to in [
            SeekFrom::Start(4),
            SeekFrom::Current(3),
            SeekFrom::End(-2),
            SeekFrom::Current(-8),
            SeekFrom::End(100),
            SeekFrom::Start(1 << 43),
        ] {
            assert_eq!(file.seek(to).await.unwrap(), std.seek(to).unwrap());
        }
        file.rewind().await.unwrap();
        std.rewind().unwrap();
        for to in [
            SeekFrom::Current(-1),
            SeekFrom::End(-11),
            SeekFrom::Start(u64::MAX),
            SeekFrom::Start(1 << 63),
            SeekFrom::Current(i64::MAX),
        ] {
            match (file.seek(to).await, std.seek(to)) {
                (Ok(ours), Ok(std)) => assert_eq!(ours, std),
                (ours, theirs) => same_error(ours, theirs),
            }
            file.rewind().await.unwrap();
            std.rewind().unwrap();
        }
        let (mut reader, _writer) = pipe();
        let mut std = reader.try_clone().unwrap().into_std().unwrap();
        same_error(reader.seek(SeekFrom::Start(0)).await, std.seek(SeekFrom::Start(0)));
        same_error(reader.stream_position().await, std.stream_position());
    });
}

#[test]
fn several_buffers() {
    run(async {
        let mut file = unnamed();
        assert_eq!(file.write_vectored(("one", "two", "three")).await.0.unwrap(), 11);
        assert_eq!(file.write_vectored(Vec::<Vec<u8>>::new()).await.0.unwrap(), 0);
        file.seek(SeekFrom::Start(1)).await.unwrap();
        let (result, bufs) = file.read_vectored((vec![0u8; 4], Vec::with_capacity(100))).await;
        assert_eq!((result.unwrap(), bufs), (10, (b"netw".to_vec(), b"othree".to_vec())));
        let (result, _) = file.read_vectored((vec![0u8; 4], vec![0u8; 4])).await;
        assert_eq!(result.unwrap(), 0);
        let (result, _) = file.read_vectored(Vec::<Vec<u8>>::new()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.stream_position().await.unwrap(), 11);
    });
}

#[test]
fn reading_to_the_end_appends() {
    run(async {
        for len in [0, 1, 8191, 8192, 8193, 1_000_000] {
            let mut file = holding(&pattern(len));
            let (result, buf) = file.read_to_end(b"before".to_vec()).await;
            assert_eq!(result.unwrap(), len);
            assert!(buf[..6] == *b"before" && buf[6..] == pattern(len));
            let (result, buf) = file.read_to_end(buf).await;
            assert_eq!((result.unwrap(), buf.len()), (0, len + 6));
            file.seek(SeekFrom::Start(len as u64 / 2)).await.unwrap();
            let (result, buf) = file.read_to_end(Vec::new()).await;
            assert!(result.unwrap() == len - len / 2 && buf == pattern(len)[len / 2..]);
        }
        let mut directory = File::open("/").await.unwrap();
        let (result, buf) = directory.read_to_end(b"kept".to_vec()).await;
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::IsADirectory, &b"kept"[..]));
    });
}

#[test]
fn devices_and_proc() {
    run(async {
        let mut zero = File::open("/dev/zero").await.unwrap();
        let (result, buf) = zero.read_exact(vec![1; 100_000], 100_000).await;
        assert!(result.unwrap() == 100_000 && buf.iter().all(|&byte| byte == 0));
        let mut null = File::options().read(true).write(true).open("/dev/null").await.unwrap();
        null.write_all(vec![0; 100_000]).await.0.unwrap();
        assert_eq!(null.read(vec![1; 10]).await.0.unwrap(), 0);
        let mut full = File::options().write(true).open("/dev/full").await.unwrap();
        assert_eq!(full.write_all("x").await.0.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut status = File::open("/proc/self/status").await.unwrap();
        assert_eq!(status.metadata().await.unwrap().len(), 0);
        let mut all = Vec::new();
        loop {
            let (result, buf) = status.read(Vec::with_capacity(7)).await;
            if result.unwrap() == 0 {
                break;
            }
            all.extend_from_slice(&buf);
        }
        let text = String::from_utf8(all).unwrap();
        assert!(text.starts_with("Name:") && text.contains("nonvoluntary_ctxt_switches:"));
        status.rewind().await.unwrap();
        let (result, buf) = status.read_exact(Vec::with_capacity(5), 5).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"Name:"[..]));
    });
}

#[test]
fn errors_are_std_s() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "12345").unwrap();
    run(async {
        let mut std = std::fs::File::open(&path).unwrap();
        let mut file = File::open(&path).await.unwrap();
        same_error(file.write("x").await.0, std.write(b"x"));
        same_error(file.write_all("x").await.0, std.write_all(b"x"));
        same_error(file.write_vectored(("x", "y")).await.0, std.write(b"x"));
        same_error(
            file.read_exact(vec![0; 9], 9).await.0.map_err(|e| e.kind().into()),
            std.read_exact(&mut [0; 9]).map_err(|e| e.kind().into()),
        );
        let mut std = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut file = File::options().write(true).open(&path).await.unwrap();
        same_error(file.read(vec![0; 3]).await.0, std.read(&mut [0; 3]));
        same_error(file.read_vectored((vec![0; 3], vec![0; 3])).await.0, std.read(&mut [0; 3]));
        same_error(file.read_to_end(vec![]).await.0, std.read_to_end(&mut vec![]));
        let mut std = std::fs::File::open(dir.path()).unwrap();
        let mut file = File::open(dir.path()).await.unwrap();
        same_error(file.read(vec![0; 3]).await.0, std.read(&mut [0; 3]));
    });
}
