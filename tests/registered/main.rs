//! Files in the ring's table: all goes on as ever, and no place is lost, kept, or taken for another's. The tests take turns,
//! because they look at what the kernel says of the one ring that there is.

mod chains;
mod files;
mod full;
mod loops;
#[path = "../patience/mod.rs"]
mod patience;
mod sockets;

use std::fs;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Poll;

use patience::{bounded, patience};
use ringtoss::net::UnixStream;
use ringtoss::{EventLoop, metrics, op};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test on a loop of its own that registers what is used often, while no other test runs.
fn run<F: Future>(test: impl FnOnce() -> F) -> F::Output {
    let _alone = alone();
    event_loop().block_on(bounded(test()))
}

fn alone() -> MutexGuard<'static, ()> {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    works();
    alone
}

fn event_loop() -> EventLoop {
    EventLoop::builder().registered_files(true).build().unwrap()
}

/// Whether this kernel is one on which files are registered. Which do is known, so that no test passes for doing nothing.
fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let registered = ringtoss::block_on(async {
            let (stream, mut peer) = UnixStream::pair().unwrap();
            stream.register();
            peer.register();
            peer.write_all("x").await.0.unwrap();
            metrics().registered_files == 1
        });
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
        let release = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!(registered, release >= (6, 13), "on Linux {release:?}");
        registered
    })
}

/// How many places this loop says are taken, and that the kernel agrees; for an expectation of so many where it works.
#[track_caller]
fn assert_places(expected: u64) {
    let expected = if works() { expected } else { 0 };
    assert_eq!((metrics().registered_files, in_the_table()), (expected, expected), "as the loop and the kernel say");
}

/// What the kernel says of the one ring of this process.
fn in_the_table() -> u64 {
    let rings = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let target = fs::read_link(entry.path()).ok()?;
        (target.to_str() == Some("anon_inode:[io_uring]")).then(|| entry.file_name())
    });
    let count = |ring: std::ffi::OsString| {
        let Ok(text) = fs::read_to_string(std::path::Path::new("/proc/self/fdinfo").join(ring)) else { return 0 };
        let lines = text.lines().skip_while(|line| !line.starts_with("UserFiles:")).skip(1);
        lines.take_while(|line| line.starts_with(' ')).count() as u64
    };
    rings.map(count).sum()
}

/// Lets the loop go round, so that what was staged is with the kernel.
async fn turn() {
    op::nop().await.unwrap();
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Sends so many bytes there and back.
async fn ping_pong(a: &mut UnixStream, b: &mut UnixStream, times: usize) {
    for time in 0..times {
        for byte in [time as u8, !time as u8] {
            a.write_all(vec![byte]).await.0.unwrap();
            let (result, got) = b.read(Vec::with_capacity(8)).await;
            assert_eq!((result.unwrap(), got), (1, vec![byte]));
            std::mem::swap(a, b);
        }
    }
}

/// A stream with a place, and its peer, which is none of this crate's: it sees the end when everything has let go.
async fn with_place() -> (UnixStream, StdStream) {
    let (stream, peer) = StdStream::pair().unwrap();
    peer.set_read_timeout(Some(patience())).unwrap();
    let mut stream = UnixStream::from_std(stream);
    stream.register();
    for byte in 0..3 {
        stream.write_all(vec![byte]).await.0.unwrap();
    }
    let mut read = [9; 3];
    (&peer).read_exact(&mut read).unwrap();
    assert_eq!(read, [0, 1, 2]);
    (stream, peer)
}

/// It has ended by now.
#[track_caller]
fn assert_ended(mut peer: &StdStream) {
    peer.set_nonblocking(true).unwrap();
    assert_eq!(peer.read(&mut [0; 8]).expect("the end, now"), 0);
}

/// Waits for the end; panics if it does not come.
#[track_caller]
fn assert_end(mut peer: &StdStream) {
    // What the kernel does for the loop's ring may interrupt a read.
    assert_eq!(peer.read_to_end(&mut Vec::new()).expect("the end"), 0);
}
