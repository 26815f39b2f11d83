//! Pipes and terminals: what has no position.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use ringtoss::fs::File;

use crate::util::{patience, pattern, pipe, run};

#[test]
fn a_pipe_carries_bytes_and_ends() {
    run(async {
        let (mut reader, mut writer) = pipe();
        let sender = ringtoss::spawn(async move {
            // More than a pipe holds, so the write waits for the reader.
            writer.write_all(pattern(1 << 20)).await.0.unwrap();
            writer.close().await.unwrap();
        });
        let (result, buf) = reader.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), 1 << 20);
        assert!(buf == pattern(1 << 20));
        sender.await.unwrap();
        assert_eq!(reader.read(vec![0; 9]).await.0.unwrap(), 0);
        assert_eq!(reader.read_exact(vec![0; 9], 9).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_pipe_without_reader_breaks() {
    run(async {
        let (reader, mut writer) = pipe();
        drop(reader);
        ringtoss::op::nop().await.unwrap();
        assert_eq!(writer.write("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.write_all("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(writer.write_vectored(("x", "y")).await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        // One that waits for room finds out, too.
        let (reader, mut writer) = pipe();
        let write = ringtoss::spawn(async move { writer.write_all(vec![0; 1 << 20]).await.0 });
        let mut buf = vec![0; 1000];
        let mut std = std::fs::File::from(std::os::fd::AsFd::as_fd(&reader).try_clone_to_owned().unwrap());
        ringtoss::spawn_blocking(move || std.read_exact(&mut buf)).await.unwrap().unwrap();
        drop(reader);
        assert_eq!(write.await.unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_time_limit_tells_how_far_it_got() {
    run(async {
        let (mut reader, mut writer) = pipe();
        writer.write_all("some").await.0.unwrap();
        let (result, buf) = reader.read_exact(Vec::with_capacity(9), 9).timeout(Duration::from_millis(20)).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind(), ringtoss::op::transferred(&error), &buf[..]),
            (ErrorKind::TimedOut, Some(4), &b"some"[..])
        );
        let (result, _) = writer.write_all(vec![7; 1 << 20]).timeout(Duration::from_millis(20)).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let written = ringtoss::op::transferred(&error).unwrap();
        writer.close().await.unwrap();
        assert_eq!(reader.read_to_end(Vec::new()).await.0.unwrap(), written);
    });
}

/// A pseudo-terminal's two ends.
fn terminal() -> (File, std::fs::File) {
    // Not that of a test that is the first of its session, which would end with it.
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let master = options.open("/dev/ptmx").unwrap();
    let name = util::unlock_terminal(master.as_raw_fd());
    (File::from_std(master), options.open(name).unwrap())
}

mod util {
    #![allow(unsafe_code)]

    pub fn unlock_terminal(master: i32) -> String {
        let (unlock, mut number) = (0i32, 0i32);
        // SAFETY: both calls get the address of a live number.
        let results = unsafe {
            (libc::ioctl(master, libc::TIOCSPTLCK, &unlock), libc::ioctl(master, libc::TIOCGPTN, &mut number))
        };
        assert_eq!(results, (0, 0));
        format!("/dev/pts/{number}")
    }
}

/// A reader that waits must not keep a writer from writing: the answer comes only to what is written.
#[test]
fn both_directions_of_a_terminal_at_once() {
    run(async {
        let (mut master, mut slave) = terminal();
        let mut reading = master.try_clone().unwrap();
        let reader = ringtoss::spawn(async move {
            let (result, buf) = reading.read_exact(Vec::with_capacity(64), 6).await;
            result.map(|_| buf)
        });
        // The reader waits in the kernel.
        for _ in 0..3 {
            ringtoss::op::nop().await.unwrap();
        }
        let (result, _) = master.write_all("hello\n").timeout(patience()).await;
        result.expect("the writer does not wait for the reader");
        assert_eq!(reader.await.unwrap().unwrap(), b"hello\r", "the terminal's echo");
        let mut line = [0; 6];
        slave.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"hello\n");
        slave.write_all(b"back").unwrap();
        let (result, buf) = master.read_exact(Vec::with_capacity(64), 5).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"\nback"[..]));
    });
}

/// A terminal's end comes once: a dropped read that met it leaves it to the next.
#[test]
fn the_end_that_a_dropped_read_met_is_met_by_the_next() {
    run(async {
        let (master, slave) = terminal();
        let mut slave = File::from_std(slave);
        let mut read = slave.read(Vec::with_capacity(64));
        assert!(crate::util::poll_once(&mut read).await.is_pending());
        crate::util::turn().await;
        let mut keyboard = master;
        // Control-D ends the input for one read.
        keyboard.write_all("\x04").await.0.unwrap();
        ringtoss::time::sleep(Duration::from_millis(20)).await;
        drop(read);
        keyboard.write_all("next\n").await.0.unwrap();
        let (result, _) = slave.read(Vec::with_capacity(64)).timeout(patience()).await;
        assert_eq!(result.unwrap(), 0, "the end");
        let (result, buf) = slave.read(Vec::with_capacity(64)).timeout(patience()).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"next\n"[..]));
    });
}
