//! What guest mode and host mode cost: `cargo bench -p ringtoss-ecosystem-tokio --bench guest`.
//!
//! Reads of 4 KiB from a file in the page cache, at random places, one in flight and 32, and replies of a peer on another thread over
//! a Unix socket. Rounds of the candidates follow each other, so that a slow second hits all of them; what is shown is the
//! median of each and the best quarter, in microseconds per read or reply: time that passed, and time of the CPUs, of all of the
//! program's threads, which others who use the machine do not spoil.

use std::cell::Cell;
use std::fs::File as StdFile;
use std::future::Future;
use std::hint::black_box;
use std::io::{self, Read, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringtoss::EventLoop;
use ringtoss::compat::tokio::{Guest, in_context};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

const FILE_BYTES: u64 = 16 << 20;
const BLOCK: usize = 4096;

/// xorshift64*: where the next block is.
struct Places(u64);

impl Places {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % (FILE_BYTES / BLOCK as u64) * BLOCK as u64
    }
}

fn tokio_block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What began when.
struct Start(Instant, f64);

fn cpu_us() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e6 + used.tv_nsec as f64 / 1e3
}

impl Start {
    fn now() -> Start {
        Start(Instant::now(), cpu_us())
    }

    /// Microseconds for each of so many: passed, and of the CPUs.
    fn each(self, count: usize) -> [f64; 2] {
        [self.0.elapsed().as_nanos() as f64 / 1e3, cpu_us() - self.1].map(|us| us / count as f64)
    }
}

// ---- reads ------------------------------------------------------------------------------------------------------------

/// So many reads, one after the other, through the loop of this thread.
async fn ring_reads(path: Arc<Path>, count: usize, seed: u64) {
    let file = ringtoss::fs::File::open(&path).await.unwrap();
    let mut places = Places(seed);
    let mut buf = Vec::with_capacity(BLOCK);
    for _ in 0..count {
        let (result, back) = file.read_at(buf, places.next()).await;
        assert_eq!(result.unwrap(), BLOCK);
        buf = black_box(back);
    }
}

/// The same by `tokio::fs`, whose files have a position only.
async fn tokio_reads(path: Arc<Path>, count: usize, seed: u64) {
    let mut file = tokio::fs::File::open(&path).await.unwrap();
    let mut buf = vec![0; BLOCK];
    let mut places = Places(seed);
    for step in 0..count {
        // A seek would double the price: read on, as most do, and seek now and then.
        if step % 1024 == 0 {
            file.seek(SeekFrom::Start(places.next() / 2)).await.unwrap();
        }
        file.read_exact(&mut buf).await.unwrap();
        black_box(&mut buf);
    }
}

/// What a tokio program may do instead: `pread(2)` on the pool.
async fn pool_reads(path: Arc<Path>, count: usize, seed: u64) {
    let file = Arc::new(StdFile::open(&path).unwrap());
    let mut places = Places(seed);
    let mut buf = vec![0; BLOCK];
    for _ in 0..count {
        let (file, offset) = (file.clone(), places.next());
        let read = move || file.read_exact_at(&mut buf, offset).map(|()| buf);
        buf = black_box(tokio::task::spawn_blocking(read).await.unwrap().unwrap());
    }
}

/// Time per read of `count` reads, of which so many are in flight.
async fn timed<F, J>(
    in_flight: usize,
    count: usize,
    reads: impl Fn(usize, u64) -> F,
    spawn: impl Fn(F) -> J,
) -> [f64; 2]
where
    J: Future,
{
    let start = Start::now();
    let tasks: Vec<J> =
        (0..in_flight).map(|index| spawn(reads(count / in_flight, 0x9e37_79b9 + index as u64))).collect();
    for task in tasks {
        task.await;
    }
    start.each(count)
}

fn on_ringtoss(path: &Arc<Path>, in_flight: usize, count: usize) -> [f64; 2] {
    ringtoss::block_on(timed(in_flight, count, |count, seed| ring_reads(path.clone(), count, seed), ringtoss::spawn))
}

fn as_guest(path: &Arc<Path>, in_flight: usize, count: usize) -> [f64; 2] {
    tokio_block_on(async {
        let _guest = Guest::start(&EventLoop::builder()).unwrap();
        timed(in_flight, count, |count, seed| ring_reads(path.clone(), count, seed), tokio::spawn).await
    })
}

fn by_tokio_fs(path: &Arc<Path>, in_flight: usize, count: usize) -> [f64; 2] {
    tokio_block_on(timed(in_flight, count, |count, seed| tokio_reads(path.clone(), count, seed), tokio::spawn))
}

fn by_tokio_pool(path: &Arc<Path>, in_flight: usize, count: usize) -> [f64; 2] {
    tokio_block_on(timed(in_flight, count, |count, seed| pool_reads(path.clone(), count, seed), tokio::spawn))
}

// ---- replies ----------------------------------------------------------------------------------------------------------

/// A peer on a thread of its own, which sends back each byte.
fn peer() -> StdStream {
    let (one, mut other) = StdStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut byte = [0];
        while other.read(&mut byte).is_ok_and(|count| count > 0) && other.write_all(&byte).is_ok() {}
    });
    one
}

async fn tokio_replies(count: usize) -> [f64; 2] {
    let stream = peer();
    stream.set_nonblocking(true).unwrap();
    let mut stream = tokio::net::UnixStream::from_std(stream).unwrap();
    let start = Start::now();
    for _ in 0..count {
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    }
    start.each(count)
}

async fn ring_replies(count: usize) -> [f64; 2] {
    let mut stream = ringtoss::net::UnixStream::from_std(peer());
    let mut buf = vec![b'x'];
    let start = Start::now();
    for _ in 0..count {
        stream.write_all("x").await.0.unwrap();
        let (result, back) = stream.read_exact(buf, 1).await;
        result.unwrap();
        buf = back;
    }
    start.each(count)
}

fn replies_on_tokio(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    tokio_block_on(async { tokio::spawn(tokio_replies(count)).await.unwrap() })
}

fn replies_in_context(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    ringtoss::block_on(async { ringtoss::spawn(in_context(tokio_replies(count))).await.unwrap() })
}

fn replies_of_the_ring(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    ringtoss::block_on(async { ringtoss::spawn(ring_replies(count)).await.unwrap() })
}

fn replies_of_a_guest(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    tokio_block_on(async {
        let _guest = Guest::start(&EventLoop::builder()).unwrap();
        tokio::spawn(ring_replies(count)).await.unwrap()
    })
}

// ---- what a poll costs -------------------------------------------------------------------------------------------------

/// Ready at the `count`th poll.
async fn polls(count: usize) -> [f64; 2] {
    let left = Cell::new(count);
    let start = Start::now();
    std::future::poll_fn(|cx| {
        left.set(left.get() - 1);
        if left.get() == 0 {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
    start.each(count)
}

fn polls_bare(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    ringtoss::block_on(async { ringtoss::spawn(polls(count)).await.unwrap() })
}

fn polls_in_context(_: &Arc<Path>, _: usize, count: usize) -> [f64; 2] {
    ringtoss::block_on(async { ringtoss::spawn(in_context(polls(count))).await.unwrap() })
}

type Candidate = (&'static str, fn(&Arc<Path>, usize, usize) -> [f64; 2]);

fn table(title: &str, path: &Arc<Path>, in_flight: usize, count: usize, candidates: &[Candidate]) {
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(25);
    let mut figures = vec![Vec::new(); candidates.len()];
    for _ in 0..rounds {
        for ((_, run), figures) in candidates.iter().zip(&mut figures) {
            figures.push(run(path, in_flight, count));
        }
    }
    println!("\n{title}");
    println!("{:28} | passed: median, best quarter, to the first | CPU: median, best quarter, to the first", "");
    let mut firsts = [None; 2];
    for ((name, _), figures) in candidates.iter().zip(&figures) {
        print!("{name:28}");
        for (kind, first) in firsts.iter_mut().enumerate() {
            let mut sorted: Vec<f64> = figures.iter().map(|figure| figure[kind]).collect();
            sorted.sort_by(f64::total_cmp);
            let (median, quarter) = (sorted[sorted.len() / 2], sorted[sorted.len() / 4]);
            let base = *first.get_or_insert(median);
            print!(" | {median:7.2} {quarter:7.2} {:+7.2} us {:5.2}x", median - base, median / base);
        }
        println!();
    }
}

fn main() -> io::Result<()> {
    // `cargo test` builds and runs it, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(&vec![7; FILE_BYTES as usize])?;
    let path: Arc<Path> = file.path().into();
    // So that the pool's threads and the side thread are there, and the file is in the cache.
    by_tokio_pool(&path, 32, 1024);
    replies_in_context(&path, 1, 10);
    std::fs::read(&path)?;
    std::thread::sleep(Duration::from_millis(50));
    let reads: [Candidate; 4] = [
        ("ringtoss", on_ringtoss),
        ("ringtoss as tokio's guest", as_guest),
        ("tokio::fs", by_tokio_fs),
        ("pread by spawn_blocking", by_tokio_pool),
    ];
    table("4 KiB reads, one in flight", &path, 1, 8192, &reads);
    table("4 KiB reads, 32 in flight", &path, 32, 16_384, &reads);
    let replies: [Candidate; 4] = [
        ("tokio", replies_on_tokio),
        ("tokio's socket, in_context", replies_in_context),
        ("ringtoss", replies_of_the_ring),
        ("ringtoss as tokio's guest", replies_of_a_guest),
    ];
    table("replies of another thread over a Unix socket", &path, 1, 4096, &replies);
    let polls: [Candidate; 2] = [("a poll", polls_bare), ("a poll in_context", polls_in_context)];
    table("polls of a task that is ready", &path, 1, 200_000, &polls);
    Ok(())
}
