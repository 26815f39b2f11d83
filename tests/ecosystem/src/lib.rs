//! What the tests of real software share: a bounded run, programs that are started and stopped, ports that are free.

pub mod postgres;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use ringtoss::net::TcpStream;
use ringtoss::time::{sleep, timeout};
use ringtoss::{CancellationToken, EventLoop, Handle};

/// Runs a test on a loop of its own, for a bounded time.
///
/// # Panics
/// If it takes longer than two minutes.
pub fn run<F: Future>(test: F) -> F::Output {
    ringtoss::block_on(async { timeout(Duration::from_secs(120), test).await.expect("the test hangs") })
}

/// Where a program is; if it is not installed, says which test is left out.
pub fn program(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps PostgreSQL's server elsewhere.
    let postgres = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = std::env::split_paths(&paths)
        .chain(postgres.map(|version| version.path().join("bin")))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

/// Runs a program to its end while the loop goes on, for at most 100 seconds.
///
/// # Panics
/// If it cannot be run, or does not succeed.
pub async fn output_of(mut command: Command) -> Output {
    let name = format!("{command:?}");
    let output = ringtoss::spawn_blocking(move || {
        let mut bounded = Command::new("timeout");
        bounded.arg("100").arg(command.get_program()).args(command.get_args());
        command = bounded;
        command.stdin(Stdio::null()).output()
    });
    let output = output.await.expect("not aborted").expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{out}\n{err}", output.status);
    output
}

/// A program that serves until this is dropped.
#[derive(Debug)]
pub struct Server(pub Child);

impl Server {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn start(command: &mut Command) -> Server {
        Server(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody uses now.
///
/// # Panics
/// If there is none.
pub fn free_address() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// Connects to a server that is starting.
///
/// # Panics
/// If it does not listen within half a minute.
pub async fn connect(address: SocketAddr) -> TcpStream {
    let attempts = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), attempts).await.expect("it does not listen")
}

/// A second loop, on a thread of its own, until this is dropped.
#[derive(Debug)]
pub struct OtherLoop {
    handle: Handle,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl OtherLoop {
    /// Starts it.
    ///
    /// # Panics
    /// If there is no ring to be had.
    pub fn start() -> OtherLoop {
        let (sender, receiver) = mpsc::channel();
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let event_loop = EventLoop::new().expect("a ring");
            sender.send(event_loop.handle()).expect("somebody waits for it");
            event_loop.block_on(token.cancelled());
        });
        let handle = receiver.recv().expect("it starts");
        OtherLoop { handle, stop, thread: Some(thread) }
    }

    /// How to reach it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for OtherLoop {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes that are not alike: what is lost, doubled or swapped shows.
pub fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|place| (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as u8).collect()
}

/// The guide's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/porting.md")]
mod porting {}
