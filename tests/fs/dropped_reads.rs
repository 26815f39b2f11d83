//! Nothing that a dropped read has read is lost.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use ringtoss::fs::File;
use ringtoss::time::timeout;

use crate::util::{holding, patience, pattern, pipe, poll_once, run, turn};

/// On a file with a position the read is undone.
#[test]
fn on_a_file_no_byte_is_skipped() {
    let content = pattern(200_000);
    run(async {
        let mut file = holding(&content);
        let mut seen = Vec::new();
        for round in 0.. {
            // As in a `select!` that is won by something else, at one point or another.
            let mut read = file.read(Vec::with_capacity(777));
            let _ = poll_once(&mut read).await;
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            let mut exact = file.read_exact(Vec::with_capacity(5000), 5000);
            let _ = poll_once(&mut exact).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(exact);
            let (result, buf) = file.read(Vec::with_capacity(1000)).await;
            if result.unwrap() == 0 {
                break;
            }
            seen.extend_from_slice(&buf);
        }
        assert!(seen == content);
    });
}

/// Where there is no position the bytes come out of the next read.
#[test]
fn on_a_pipe_bytes_come_in_order() {
    const LEN: usize = 300_000;
    run(async {
        let (mut reader, mut writer) = pipe();
        let sender = ringtoss::spawn(async move {
            for (index, chunk) in pattern(LEN).chunks(100).enumerate() {
                writer.write_all(chunk.to_vec()).await.0.unwrap();
                if index % 3 == 0 {
                    ringtoss::yield_now().await;
                }
            }
        });
        let (mut seen, mut round) = (Vec::new(), 0);
        loop {
            round += 1;
            let mut read = reader.read(Vec::with_capacity(250));
            let polled = poll_once(&mut read).await;
            for _ in 0..round % 5 {
                turn().await;
            }
            drop(read);
            if let std::task::Poll::Ready((result, buf)) = polled {
                // It came out of what was salvaged.
                if result.unwrap() == 0 {
                    break;
                }
                seen.extend_from_slice(&buf);
            }
            let result;
            let buf;
            match round % 4 {
                0 => (result, buf) = reader.read(Vec::with_capacity(50)).await,
                1 => {
                    let bufs;
                    (result, bufs) = reader.read_vectored((Vec::with_capacity(7), Vec::with_capacity(64))).await;
                    buf = [bufs.0, bufs.1].concat();
                }
                2 => (result, buf) = reader.read_append(Vec::with_capacity(300)).await,
                _ => match timeout(Duration::from_micros(30), reader.read(Vec::with_capacity(100))).await {
                    Ok(done) => (result, buf) = done,
                    Err(_) => continue,
                },
            }
            if result.unwrap() == 0 {
                break;
            }
            seen.extend_from_slice(&buf);
        }
        sender.await.unwrap();
        assert_eq!(seen.len(), LEN);
        assert!(seen == pattern(LEN));
    });
}

#[test]
fn exact_reads_that_were_cut_short_on_a_pipe() {
    run(async {
        let (mut reader, mut writer) = pipe();
        for round in 0..200 {
            writer.write_all("0123456").await.0.unwrap();
            // Wants more than there is, so it has taken the bytes when it is dropped.
            let mut read = reader.read_exact(Vec::with_capacity(100), 100);
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            let mut read = reader.read_to_end(b"ab".to_vec());
            let _ = poll_once(&mut read).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(read);
            let (result, buf) = reader.read_exact(Vec::with_capacity(10), 7).await;
            assert_eq!((result.unwrap(), &buf[..]), (7, &b"0123456"[..]), "round {round}");
        }
        let mut read = reader.read_exact(Vec::with_capacity(100), 100);
        let _ = poll_once(&mut read).await;
        turn().await;
        drop(read);
        writer.write_all("end").await.0.unwrap();
        drop(writer);
        let (result, buf) = reader.read_to_end(Vec::new()).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"end"[..]));
    });
}

/// `lseek` on such descriptors succeeds and does nothing: their bytes must be salvaged.
#[test]
fn what_takes_a_seek_and_has_no_position() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let mut inotify = watch(dir.path());
        for round in 0..50 {
            let mut read = inotify.read(Vec::with_capacity(4096));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            std::fs::write(dir.path().join(format!("file {round}")), "").unwrap();
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(read);
            let mut names = String::new();
            while !names.contains(&format!("file {round}\0")) {
                let (result, buf) = inotify.read(Vec::with_capacity(4096)).timeout(patience()).await;
                result.expect("the event was lost");
                names += &String::from_utf8_lossy(&buf);
            }
        }
    });
}

fn watch(path: &std::path::Path) -> File {
    #![allow(unsafe_code)]
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the descriptor is new, the path lives over the call.
    let inotify = unsafe {
        let fd = libc::inotify_init1(libc::IN_CLOEXEC);
        assert!(fd >= 0);
        let fd = OwnedFd::from_raw_fd(fd);
        assert!(libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) >= 0);
        fd
    };
    File::from(inotify)
}

/// A file that goes away with a read in flight is closed: its peer sees that.
#[test]
fn dropping_the_file_ends_its_reads() {
    run(async {
        for _ in 0..50 {
            let (mut reader, writer) = pipe();
            let mut read = reader.read(Vec::with_capacity(100));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(read);
            drop(reader);
            let mut std = std::fs::File::from(writer.as_fd().try_clone_to_owned().unwrap());
            let mut broken = false;
            for _ in 0..1000 {
                turn().await;
                if let Err(error) = std.write(b"x") {
                    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
                    broken = true;
                    break;
                }
            }
            assert!(broken, "the reading end is still open");
        }
    });
}

/// The next reader may be on another thread's loop.
#[test]
fn salvage_goes_with_the_file_to_another_loop() {
    for round in 0..20 {
        let (mut reader, mut writer) = pipe();
        let reader = run(async {
            let mut read = reader.read(Vec::with_capacity(100));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            writer.write_all("salvaged ").await.0.unwrap();
            for _ in 0..round % 5 {
                turn().await;
            }
            drop(read);
            reader
        });
        std::thread::spawn(move || {
            let mut reader = reader;
            run(async {
                writer.write_all("and more").await.0.unwrap();
                drop(writer);
                let (result, buf) = reader.read_to_end(Vec::new()).await;
                result.unwrap();
                assert_eq!(String::from_utf8(buf).unwrap(), "salvaged and more");
            });
        })
        .join()
        .unwrap();
    }
}
