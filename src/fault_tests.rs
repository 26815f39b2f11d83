//! The whole loop on a ring that misbehaves as the kernel may: late and reordered completions, short transfers, refused
//! entries, waits that end for no reason, generations that wrap. Every byte must come out right and in order, every buffer
//! be freed once, nothing be left in flight.

mod chaos;
mod moves;
mod objects;
mod points;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::buf::{IoBuf, IoBufMut};
use crate::driver::Driver;
use crate::event_loop::{EventLoop, Settings};
use crate::fs::File;
use crate::inbox::Inbox;
use crate::net::{TcpListener, TcpStream};
use crate::patience::patience;
use crate::registry;
use crate::ring::fault::{COUNTS, ERRNOS, Faults, Faulty, NAMES};
use crate::ring::{Config, Ring};
use crate::{op, time};

/// A buffer that counts how many of its kind are alive.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<AtomicUsize>,
}

impl Counted {
    fn new(bytes: Vec<u8>, alive: &Arc<AtomicUsize>) -> Counted {
        alive.fetch_add(1, Ordering::Relaxed);
        Counted { bytes, alive: alive.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is the vector's.
unsafe impl IoBuf for Counted {
    fn buf_ptr(&self) -> *const u8 {
        self.bytes.buf_ptr()
    }
    fn buf_len(&self) -> usize {
        self.bytes.buf_len()
    }
}

// SAFETY: everything is the vector's.
unsafe impl IoBufMut for Counted {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.buf_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.bytes.buf_capacity()
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: passed on.
        unsafe { self.bytes.set_buf_len(len) };
    }
}

/// What the programs of this process have submitted, and how many they were.
static ENTRIES: AtomicU64 = AtomicU64::new(0);
static PROGRAMS: AtomicU64 = AtomicU64::new(0);

/// To be called when a program is over, on its loop.
fn tally() {
    ENTRIES.fetch_add(crate::metrics().submissions, Ordering::Relaxed);
    if (PROGRAMS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(1000) {
        report();
    }
}

/// What a campaign has done so far.
fn report() {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!("{} programs, {} operations", count(&PROGRAMS), count(&ENTRIES));
    let kinds = COUNTS.iter().zip(NAMES).map(|(number, name)| format!("{name} {}", count(number)));
    let errnos = ERRNOS
        .iter()
        .enumerate()
        .filter(|(_, number)| count(number) > 0)
        .map(|(errno, number)| format!("{} {}", std::io::Error::from_raw_os_error(errno as i32), count(number)));
    println!("faults: {}", kinds.chain(errnos).collect::<Vec<_>>().join(", "));
}

fn faulty_loop(seed: u64, faults: Faults) -> EventLoop {
    let inbox = Inbox::new(registry::new_id()).unwrap();
    let config = Config::of(8, 16);
    let ring = Ring::Faulty(Box::new(Faulty::new(config, seed, faults).unwrap()));
    let mut driver = Driver::on(ring, inbox.eventfd());
    driver.files.wanted = seed.is_multiple_of(2);
    driver.start_generations_at(u32::MAX - (seed as u32 % 64));
    EventLoop::on(driver, inbox, &Settings::default())
}

fn pattern(position: usize) -> u8 {
    (position.wrapping_mul(31) >> 3) as u8
}

/// Polls a future so often, then drops it, unless it was done.
async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polls >= times => Poll::Ready(None),
        Poll::Pending => {
            polls += 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

async fn stream(seed: usize, alive: Arc<AtomicUsize>) {
    const TOTAL: usize = 20_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = alive.clone();
    let writer = crate::spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut at = 0;
        while at < TOTAL {
            let end = (at + 1 + (at * 7 + seed) % 900).min(TOTAL);
            let bytes = (at..end).map(pattern).collect();
            stream.write_all(Counted::new(bytes, &sent)).await.0.unwrap();
            at = end;
        }
    });
    // Accepts are dropped until one is done.
    let mut stream = loop {
        if let Some(Ok(accepted)) = poll_times(listener.accept(), 1).await {
            break accepted.0;
        }
    };
    let mut at = 0;
    let mut round = seed;
    while at < TOTAL {
        round += 1;
        let buf = Counted::new(Vec::with_capacity(1 + round * 13 % 700), &alive);
        let Some((result, buf)) = poll_times(stream.read(buf), round % 4).await else { continue };
        match result {
            Ok(count) => assert_ne!(count, 0, "the end came early, at {at}"),
            Err(error) => assert_injected(&error),
        }
        for &byte in &buf.bytes {
            assert_eq!(byte, pattern(at), "at {at}");
            at += 1;
        }
    }
    writer.await.unwrap();
    loop {
        match stream.read(Counted::new(Vec::with_capacity(8), &alive)).await.0 {
            Ok(count) => break assert_eq!(count, 0),
            Err(error) => assert_injected(&error),
        }
    }
}

/// What the ring makes operations fail with, all of which may be tried again.
fn assert_injected(error: &std::io::Error) {
    let injected =
        [libc::EIO, libc::ENOBUFS, libc::ECANCELED, libc::EAGAIN, libc::ENOSPC, libc::EMFILE, libc::ECONNABORTED];
    let cut_short = op::transferred(error).is_some();
    // Cancelled by the ring, of itself.
    let starved = error.kind() == std::io::ErrorKind::ResourceBusy;
    assert!(cut_short || starved || error.raw_os_error().is_some_and(|errno| injected.contains(&errno)), "{error:?}");
}

/// Tries again until it succeeds.
async fn insist<T, F: Future<Output = std::io::Result<T>>>(mut attempt: impl FnMut() -> F) -> T {
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert_injected(&error),
        }
    }
}

async fn file(seed: usize, alive: Arc<AtomicUsize>) {
    const LEN: usize = 60_000;
    let file = File::from(tempfile::tempfile().unwrap());
    let bytes = (0..LEN).map(pattern).collect();
    // Dropped in flight, and tried again: the retry waits and lands last.
    let zeros = Counted::new(vec![0; LEN], &alive);
    let _ = poll_times(file.write_all_at(zeros, 0), seed % 3).await;
    let bytes: Vec<u8> = bytes;
    insist(|| async { file.write_all_at(Counted::new(bytes.clone(), &alive), 0).await.0 }).await;
    insist(|| file.sync_all()).await;
    for round in 0..12 {
        // Chains, some of which are dropped: what comes back is what was written.
        let start = (round * 104_729 + seed * 31) % (LEN - 512);
        let buf = Counted::new(bytes[start..start + 512].to_vec(), &alive);
        let back = Counted::new(Vec::with_capacity(512), &alive);
        let chain = file
            .write_all_at(buf, start as u64)
            .link(file.sync_data())
            .link(file.read_exact_at(back, 512, start as u64))
            .hardlink(op::nop());
        let Some(((written, _), _, (read, back), _)) = poll_times(chain, round % 7).await else { continue };
        assert!(written.is_ok() || read.is_err(), "what follows a failure does not run");
        if read.is_ok() {
            assert!(back.bytes == bytes[start..start + 512]);
        }
    }
    let file = Arc::new(file);
    let readers: Vec<_> = (0..8)
        .map(|reader| {
            let (file, alive) = (file.clone(), alive.clone());
            crate::spawn(async move {
                for round in 0..12 {
                    let start = (reader * 7919 + round * 104_729 + seed * 31) % (LEN - 512);
                    let buf = Counted::new(Vec::with_capacity(512), &alive);
                    let Some((result, buf)) = poll_times(file.read_exact_at(buf, 512, start as u64), round % 5).await
                    else {
                        continue;
                    };
                    if let Err(error) = result {
                        // Of the bytes that came before it, the error tells the number only if it was cut short.
                        assert!(error.kind() != std::io::ErrorKind::UnexpectedEof, "{error:?}");
                        continue;
                    }
                    assert!(buf.bytes.iter().enumerate().all(|(index, &byte)| byte == pattern(start + index)));
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}

fn program(seed: u64, faults: Faults) {
    let alive = Arc::new(AtomicUsize::new(0));
    let event_loop = faulty_loop(seed, faults);
    event_loop.block_on(async {
        let seed = seed as usize;
        let work = crate::spawn(stream(seed, alive.clone()));
        let files = crate::spawn(file(seed, alive.clone()));
        let nops = crate::spawn(async move {
            for round in 0..200 {
                poll_times(op::nop(), round % 3).await;
            }
        });
        let kinds = crate::spawn(objects::some_of_each(seed, alive.clone()));
        let moves = crate::spawn(moves::all_kinds(seed, alive.clone()));
        let far = crate::spawn(time::sleep(Duration::from_secs(3600)));
        let all = async {
            work.await.unwrap();
            files.await.unwrap();
            nops.await.unwrap();
            kinds.await.unwrap();
            moves.await.unwrap();
        };
        time::timeout(patience(), all).await.expect("stuck");
        far.abort();
        // Forgotten operations are finished by the turns to come.
        for _ in 0..64 {
            op::nop().await.unwrap();
        }
        time::timeout(patience(), async {
            while crate::metrics().in_flight > 0 || crate::metrics().registered_files > 0 {
                crate::yield_now().await;
            }
        })
        .await
        .expect("something is left in flight, or a place in the table taken");
        assert_eq!(crate::metrics().stale_completions, 0);
        tally();
    });
    drop(event_loop);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "seed {seed}: buffers are freed exactly once");
}

#[test]
fn programs_come_out_right_on_a_ring_that_misbehaves() {
    for seed in seeds() {
        program(seed, Faults::ALL);
    }
    report();
}

/// A random program, which ends with its loop: whatever it has left in flight is reaped there.
fn random_program(seed: u64, faults: Faults) {
    let alive = Arc::new(AtomicUsize::new(0));
    let event_loop = faulty_loop(seed, faults);
    let forgotten = event_loop.block_on(async {
        let program = chaos::chaos(seed, alive.clone());
        let forgotten = time::timeout(patience(), program).await.unwrap_or_else(|_| panic!("seed {seed}: stuck"));
        assert_eq!(crate::metrics().stale_completions, 0, "seed {seed}");
        tally();
        forgotten
    });
    drop(event_loop);
    assert_eq!(alive.load(Ordering::Relaxed), forgotten, "seed {seed}: buffers are freed exactly once");
}

#[test]
fn random_programs_come_out_right() {
    for seed in seeds() {
        random_program(seed, Faults::ALL);
    }
    report();
}

#[test]
fn random_programs_come_out_right_without_faults() {
    for seed in seeds() {
        random_program(seed, Faults::NONE);
    }
}

/// As many as `RINGTOSS_SEEDS` says, from `RINGTOSS_FIRST_SEED` on, or the one that `RINGTOSS_SEED` names.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number: String| number.parse().ok());
    match number("RINGTOSS_SEED") {
        Some(seed) => seed..=seed,
        None => {
            let first = number("RINGTOSS_FIRST_SEED").unwrap_or(1);
            first..=first + number("RINGTOSS_SEEDS").unwrap_or(40) - 1
        }
    }
}

#[test]
fn each_fault_alone_is_absorbed() {
    let none = Faults::NONE;
    let alone = [
        none,
        Faults { late: 200, ..none },
        Faults { short: 200, ..none },
        Faults { refused: 128, ..none },
        Faults { spurious: 200, ..none },
        Faults { failed: 64, ..none },
        Faults { flooded: 224, ..none },
        Faults { cut: 128, ..none },
        Faults { raced: 128, ..none },
        Faults { lost: 128, ..none },
    ];
    for (seed, faults) in alone.into_iter().enumerate() {
        program(seed as u64 + 1000, faults);
    }
}
