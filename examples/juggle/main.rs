//! The main job: on one thread and one ring, a TCP echo server, copies of a file that are checked, and 10,000 timers, all
//! at once, for about ten seconds. The clients have a loop on a second thread; the main thread draws the progress.
//!
//! `cargo run --release --example juggle -- --help` tells how to change the load.

mod clients;
mod copy;
mod limits;
mod progress;
mod report;
mod server;
mod timers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use futures::future::try_join_all;
use tokio::sync::oneshot;

use crate::clients::Driven;
use crate::progress::Progress;
use crate::server::Served;

/// Serves an echo server, copies a file and keeps 10,000 timers going on one thread and one ring, and tells how fast.
#[derive(Parser)]
#[command(name = "juggle")]
struct Arguments {
    /// Connections of the echo server.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// The file to copy; it is only read, the copies are unlinked temporary files. Without it, 256 MiB of noise.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// How long to go on; longer if the first copy is not done by then.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// What is to be done.
struct Load {
    connections: usize,
    duration: Duration,
    source: copy::Source,
}

fn main() -> ExitCode {
    match juggle(&Arguments::parse()) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("juggle: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn juggle(arguments: &Arguments) -> Result<String, Vec<anyhow::Error>> {
    let load = prepare(arguments).map_err(|error| vec![error])?;
    let (connections, size) = (load.connections, load.source.size);
    let progress = Arc::new(Progress::new(load.duration, size));
    let (to_clients, from_server) = oneshot::channel();
    let server = {
        let progress = progress.clone();
        thread::spawn(move || ringtoss::EventLoop::new()?.block_on(server::run(load, progress, to_clients)))
    };
    let clients = {
        let progress = progress.clone();
        thread::spawn(move || ringtoss::EventLoop::new()?.block_on(clients::run(connections, progress, from_server)))
    };
    progress.draw_until(|| server.is_finished() || clients.is_finished());
    let (served, driven) = both(server, clients)?;
    if served.echoed_bytes != driven.requests * clients::MESSAGE as u64 {
        let (bytes, requests) = (served.echoed_bytes, driven.requests);
        return Err(vec![anyhow!("the server has echoed {bytes} bytes, but {requests} requests were answered")]);
    }
    Ok(report::table(connections, size, &served, &driven))
}

fn prepare(arguments: &Arguments) -> Result<Load> {
    let connections = arguments.connections as usize;
    limits::allow_descriptors(2 * connections + 64)?;
    let source = match &arguments.file {
        Some(path) => copy::Source::open(path).with_context(|| path.display().to_string())?,
        None => {
            copy::Source::generate().with_context(|| format!("a file to copy in {}", std::env::temp_dir().display()))?
        }
    };
    Ok(Load { connections, duration: Duration::from_secs(arguments.seconds.into()), source })
}

/// What both threads have to say. When one fails, the other finds its connections closed and fails too.
fn both(
    server: JoinHandle<Result<Served>>,
    clients: JoinHandle<Result<Driven>>,
) -> Result<(Served, Driven), Vec<anyhow::Error>> {
    let patience = Instant::now() + Duration::from_secs(10);
    while !(server.is_finished() && clients.is_finished()) && Instant::now() < patience {
        thread::sleep(Duration::from_millis(1));
    }
    match (outcome("the server", server), outcome("the clients", clients)) {
        (Ok(served), Ok(driven)) => Ok((served, driven)),
        (served, driven) => Err(served.err().into_iter().chain(driven.err()).collect()),
    }
}

/// Spawns tasks, and gives what they give when all are done, or the first error as soon as there is one.
async fn all<T: 'static>(futures: impl Iterator<Item = impl Future<Output = Result<T>> + 'static>) -> Result<Vec<T>> {
    let tasks = futures.map(|future| {
        let task = ringtoss::spawn(future);
        async { task.await? }
    });
    try_join_all(tasks).await
}

fn outcome<T>(who: &'static str, thread: JoinHandle<Result<T>>) -> Result<T> {
    if !thread.is_finished() {
        return Err(anyhow!("{who} did not end"));
    }
    thread.join().unwrap_or_else(|_| Err(anyhow!("panicked"))).context(who)
}
