//! A soak: everything at once on two loops, for as long as you like, with every byte checked, while memory, descriptors and
//! operations in flight are watched. It fails when one of them grows, or when something is left at the end.
//!
//! `cargo run --release --example soak -- --seconds 1800 --svg soak.svg --csv soak.csv`

mod files;
mod flatness;
mod picture;
mod streams;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use crate::flatness::Sample;

/// Mixes everything that a loop does, and watches whether memory, descriptors and operations in flight stay level.
#[derive(Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long to go on.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Where to write the samples, as comma-separated values.
    #[arg(long, value_name = "PATH")]
    csv: Option<PathBuf>,
    /// Where to draw the curves.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
}

/// What is done, and how often it was.
#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Select,
    Datagrams,
    Leases,
    ZeroCopy,
    Splice,
    UnixPairs,
    Files,
    Names,
    Registered,
    Timers,
    Aborts,
    Foreign,
    Blocking,
    Processes,
}

const NAMES: [&str; 15] = [
    "TCP messages echoed, with a connection for each 100",
    "reads raced against timers on a stream",
    "datagrams asked and answered",
    "leases received",
    "buffers sent without copying",
    "MiB spliced from a file to a socket",
    "messages between Unix streams",
    "blocks of files written, synced and read",
    "files made, renamed, read and removed",
    "transfers by registered buffers",
    "timers fired",
    "tasks aborted with operations in flight",
    "operations handed to the other loop, or dropped there",
    "calls on the blocking pool",
    "processes run to their end",
];

static DONE: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
static OVER: AtomicBool = AtomicBool::new(false);
/// The other loop is the last to go.
static ALL_OVER: AtomicBool = AtomicBool::new(false);

fn count(kind: Kind) {
    DONE[kind as usize].fetch_add(1, Ordering::Relaxed);
}

fn goes_on() -> bool {
    !OVER.load(Ordering::Relaxed)
}

/// The byte at a place of a stream, from which the place can be told.
fn byte_at(place: usize) -> u8 {
    ((place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8
}

fn pattern(place: usize, len: usize) -> Vec<u8> {
    (place..place + len).map(byte_at).collect()
}

#[track_caller]
fn check(bytes: &[u8], place: usize) {
    let right = bytes.iter().enumerate().all(|(index, &byte)| byte == byte_at(place + index));
    assert!(right, "wrong bytes at {place}");
}

fn main() -> ExitCode {
    // One task that fails is a failure of all.
    let inherited = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        inherited(panic);
        std::process::exit(101);
    }));
    match soak(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(arguments: &Arguments) -> Result<bool> {
    let duration = Duration::from_secs(arguments.seconds);
    let before = flatness::open_files()?;
    let (to_here, from_there) = std::sync::mpsc::channel();
    let there = std::thread::spawn(move || -> Result<u64> {
        let event_loop = ringtoss::EventLoop::new()?;
        to_here.send(event_loop.handle())?;
        event_loop.block_on(async {
            while !ALL_OVER.load(Ordering::Relaxed) {
                tasks::IN_FLIGHT_THERE.store(ringtoss::metrics().in_flight, Ordering::Relaxed);
                ringtoss::time::sleep(Duration::from_millis(20)).await;
            }
            quiet().await;
            Ok(ringtoss::metrics().stale_completions)
        })
    });
    let there_handle = from_there.recv()?;
    let event_loop = ringtoss::EventLoop::builder().lease_buffers(4096, 256).build()?;
    let (samples, stale) = event_loop.block_on(run(duration, there_handle))?;
    ALL_OVER.store(true, Ordering::Relaxed);
    let stale_there = there.join().expect("a panic ends the process")?;
    drop(event_loop);
    let after = flatness::open_files()?;
    report(arguments, &samples)?;
    let mut faults = flatness::faults(&samples);
    if stale + stale_there > 0 {
        faults.push(format!("{} completions of operations that no longer existed", stale + stale_there));
    }
    // The blocking pool's threads hold none.
    if after > before {
        faults.push(format!("{after} descriptors are open at the end, {before} were at the beginning"));
    }
    for (count, name) in DONE.iter().zip(NAMES) {
        if count.load(Ordering::Relaxed) == 0 {
            faults.push(format!("nothing of this was done: {name}"));
        }
    }
    for fault in &faults {
        eprintln!("soak: {fault}");
    }
    Ok(faults.is_empty())
}

async fn run(duration: Duration, there: ringtoss::Handle) -> Result<(Vec<Sample>, u64)> {
    let dir = tempfile::tempdir()?;
    let mut work = ringtoss::task::JoinSet::new();
    streams::start(&mut work).await?;
    files::start(&mut work, dir.path()).await?;
    tasks::start(&mut work, &there);
    let start = Instant::now();
    let step = (duration / 240).max(Duration::from_millis(100));
    let mut samples = Vec::new();
    while start.elapsed() < duration {
        ringtoss::time::sleep(step).await;
        let in_flight = ringtoss::metrics().in_flight + tasks::IN_FLIGHT_THERE.load(Ordering::Relaxed);
        let done = DONE.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        samples.push(Sample::take(start.elapsed(), in_flight, done)?);
    }
    OVER.store(true, Ordering::Relaxed);
    let ended = async {
        while work.join_next().await.transpose()?.is_some() {}
        Ok::<_, anyhow::Error>(())
    };
    ringtoss::time::timeout(Duration::from_secs(60), ended).await.context("something does not end")??;
    ringtoss::time::timeout(Duration::from_secs(60), quiet()).await.context("something stays in flight")?;
    Ok((samples, ringtoss::metrics().stale_completions))
}

/// Waits until nothing is in flight here.
async fn quiet() {
    while ringtoss::metrics().in_flight > 0 {
        ringtoss::yield_now().await;
    }
}

fn report(arguments: &Arguments, samples: &[Sample]) -> Result<()> {
    for (count, name) in DONE.iter().zip(NAMES) {
        println!("{:>12}  {name}", count.load(Ordering::Relaxed));
    }
    println!("\n{}", flatness::table(samples));
    if let Some(path) = &arguments.csv {
        std::fs::write(path, flatness::csv(samples)).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, picture::draw(samples)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
