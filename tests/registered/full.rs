//! A table that is full, or cannot be made; and that it is the table by which the kernel finds a file.
#![allow(unsafe_code, reason = "the limit of open files, and a number that is another file's")]

use std::fs::File as StdFile;
use std::os::fd::AsRawFd;

use ringtoss::fs::File;
use ringtoss::metrics;
use ringtoss::net::UnixStream;

use super::{assert_places, run, turn, with_place, works};

/// Holds the soft limit of open files down.
struct Limit(libc::rlimit);

impl Limit {
    fn of(files: u64) -> Limit {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is ours, and lives over the calls.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut before), 0);
            let low = libc::rlimit { rlim_cur: files, ..before };
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low), 0);
        }
        Limit(before)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const self.0) };
    }
}

/// Makes the table of this loop with so many places.
async fn table_of(places: u64) {
    let (a, mut b) = UnixStream::pair().unwrap();
    b.register();
    let limit = Limit::of(places);
    b.write_all("x").await.0.unwrap();
    drop(limit);
    turn().await;
    assert_places(1);
    drop((a, b));
    turn().await;
    turn().await;
    assert_places(0);
}

#[test]
fn what_finds_the_table_full_goes_by_its_number() {
    run(|| async {
        table_of(16).await;
        let mut streams = Vec::new();
        for _ in 0..40 {
            streams.push(with_place().await);
        }
        assert_places(16);
        drop(streams.drain(..10));
        turn().await;
        turn().await;
        assert_places(6);
        for _ in 0..10 {
            streams.push(with_place().await);
        }
        assert_places(16);
        // One of those that got none asks again when it has been used for long.
        drop(streams.drain(..6));
        let (stream, peer) = &mut streams[0];
        for _ in 0..5000 {
            stream.write_all("x").await.0.unwrap();
            std::io::Read::read_exact(peer, &mut [0]).unwrap();
        }
        assert_places(11);
    });
}

#[test]
fn a_small_table_serves_any_number_one_after_the_other() {
    run(|| async {
        table_of(16).await;
        for round in 0..2000 {
            let (stream, _peer) = with_place().await;
            assert_eq!(metrics().registered_files >= 1, works(), "round {round}");
            drop(stream);
        }
        turn().await;
        turn().await;
        assert_places(0);
    });
}

#[test]
fn where_there_can_be_no_table_all_goes_on() {
    run(|| async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        a.register();
        let limit = Limit::of(0);
        a.write_all("x").await.0.unwrap();
        drop(limit);
        assert_eq!(b.read(Vec::with_capacity(8)).await.0.unwrap(), 1);
        super::ping_pong(&mut b, &mut a, 20).await;
        assert_places(0);
    });
}

#[test]
fn the_kernel_finds_it_by_its_place() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        std::fs::write(path("mine"), "mine").unwrap();
        std::fs::write(path("other"), "other").unwrap();
        let (mine, other) = (StdFile::open(path("mine")).unwrap(), StdFile::open(path("other")).unwrap());
        let file = File::from_std(mine.try_clone().unwrap());
        file.register();
        for _ in 0..3 {
            assert_eq!(file.read_at(Vec::with_capacity(8), 0).await.1, b"mine");
        }
        // SAFETY: the number is that of `file`, which stands for another open file for a while; all three are open.
        unsafe { libc::dup2(other.as_raw_fd(), file.as_raw_fd()) };
        let read = file.read_at(Vec::with_capacity(8), 0).await.1;
        // SAFETY: as above.
        unsafe { libc::dup2(mine.as_raw_fd(), file.as_raw_fd()) };
        assert_eq!(read, if works() { &b"mine"[..] } else { b"other" });
    });
}
