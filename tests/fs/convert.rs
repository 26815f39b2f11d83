//! To std and back.

use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ringtoss::fs::File;

use crate::util::{holding, pipe, poll_once, poll_until_woken, run, turn};

#[test]
fn there_and_back() {
    run(async {
        let mut std = tempfile::tempfile().unwrap();
        std.write_all(b"from std").unwrap();
        let number = std.as_raw_fd();
        let mut file = File::from(std);
        assert_eq!((file.as_raw_fd(), file.as_fd().as_raw_fd()), (number, number));
        assert!(format!("{file:?}").contains("File"));
        file.write_all(" and ours").await.0.unwrap();
        let mut std = file.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number);
        std.rewind().unwrap();
        let mut text = String::new();
        std.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from std and ours");
        let mut file = File::from(OwnedFd::from(std));
        assert_eq!(file.stream_position().await.unwrap(), 17);
    });
    // Also where no loop runs.
    let file = File::from_std(tempfile::tempfile().unwrap());
    file.into_std().unwrap();
}

/// What a dropped read took from a pipe is not lost to a conversion: it is refused, or hands the bytes over.
#[test]
fn salvaged_bytes_are_handed_over_or_the_file_comes_back() {
    run(async {
        let mut salvaged = 0;
        for turns in 0..=4 {
            let (mut reader, mut writer) = pipe();
            let mut read = reader.read(Vec::with_capacity(100));
            if turns < 4 {
                assert!(poll_once(&mut read).await.is_pending());
                turn().await;
                writer.write_all("hello").await.0.unwrap();
                for _ in 0..turns {
                    turn().await;
                }
            } else {
                // As many as it takes: Linux 6.1 leaves the read to a thread, after many attempts.
                futures::join!(poll_until_woken(&mut read), writer.write_all("hello")).1.0.unwrap();
            }
            drop(read);
            let (mut std, expected) = match reader.into_std() {
                // Linux 6.1 lets the cancel win, though there was something to read: all of it is in the pipe.
                Ok(std) => (std, "hello!"),
                Err(failure) => {
                    salvaged += 1;
                    assert_eq!(failure.error().kind(), std::io::ErrorKind::ResourceBusy);
                    let mut reader = failure.into_inner();
                    let (result, buf) = reader.read(Vec::with_capacity(2)).await;
                    assert_eq!((result.unwrap(), &buf[..]), (2, &b"he"[..]));
                    let (std, unread) = reader.into_parts().unwrap();
                    assert_eq!(unread, b"llo");
                    (std, "!")
                }
            };
            writer.write_all("!").await.0.unwrap();
            drop(writer);
            turn().await;
            let mut rest = String::new();
            std.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, expected, "after {turns} turns");
        }
        assert!(salvaged > 0, "the read that was over before it was dropped is salvaged");
    });
}

/// The position is where it would be if the dropped read had never been.
#[test]
fn a_dropped_read_is_undone_before_the_file_is_given_away() {
    run(async {
        for turns in 0..4 {
            let mut file = holding(b"0123456789");
            file.read(Vec::with_capacity(3)).await.0.unwrap();
            let mut read = file.read(Vec::with_capacity(5));
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            drop(read);
            let mut std = file.into_std().unwrap();
            assert_eq!(std.stream_position().unwrap(), 3);
        }
    });
}

#[test]
fn dropped_writes_are_decided_before_the_file_is_given_away() {
    run(async {
        for turns in 0..4 {
            let file = crate::util::unnamed();
            let mut write = file.write_at(vec![1; 100_000], 0);
            assert!(poll_once(&mut write).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            drop(write);
            let mut std = file.into_std().unwrap();
            std.set_len(0).unwrap();
            std.write_all(b"new").unwrap();
            for _ in 0..3 {
                turn().await;
            }
            assert_eq!(std.metadata().unwrap().len(), 3);
        }
    });
}

/// Away from its loop the number goes home to be closed, and the caller gets a duplicate.
#[test]
fn away_from_its_loop() {
    let event_loop = ringtoss::EventLoop::new().unwrap();
    let mut file = holding(b"0123456789");
    event_loop.block_on(async {
        file.read(Vec::with_capacity(3)).await.0.unwrap();
    });
    let number = file.as_raw_fd();
    let mut std = std::thread::spawn(move || file.into_std().unwrap()).join().unwrap();
    assert_ne!(std.as_raw_fd(), number);
    event_loop.block_on(turn());
    assert_eq!(std.stream_position().unwrap(), 3);
    let mut file = File::from_std(std);
    let rest = event_loop.block_on(async { file.read(Vec::with_capacity(30)).await.1 });
    assert_eq!(rest, b"3456789");
}

#[test]
fn closing_tells_errors_and_closes() {
    run(async {
        let (reader, mut writer) = pipe();
        reader.close().await.unwrap();
        assert_eq!(writer.write("x").await.0.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        writer.close().await.unwrap();
        // One that was never used, and one of which a clone stays.
        crate::util::unnamed().close().await.unwrap();
        let file = holding(b"stays");
        let mut clone = file.try_clone().unwrap();
        file.close().await.unwrap();
        assert_eq!(clone.read(Vec::with_capacity(9)).await.1, b"stays");
    });
}

/// A file may be used on one loop and closed on another, which leaves the closing to the first.
#[test]
fn closing_away_from_home() {
    let (reader, mut writer) = pipe();
    run(async {
        writer.write_all("x").await.0.unwrap();
        let closer = std::thread::spawn(move || run(writer.close()));
        closer.join().unwrap().unwrap();
        let mut reader = reader;
        let (result, buf) = reader.read_to_end(Vec::new()).await;
        assert_eq!((result.unwrap(), &buf[..]), (1, &b"x"[..]), "it was closed, or this would not end");
    });
}
