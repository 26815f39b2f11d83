//! A server on all CPUs: `many_loops ADDRESS [--loops N] [--pin] [--connections N] [--idle MS] [--grace MS]`.
//!
//! Each loop is a thread with a listener of its own for the same port (`SO_REUSEPORT`): the kernel shares the connections out, and no
//! loop waits for another. What they have in common is a bound on all connections, and a token that stops them. SIGTERM or
//! ctrl-c, and nobody accepts any more; connections that are idle end, those in the middle of a request have the grace period for
//! it. A second one ends at once. Then it says what was served.
//!
//! What it speaks is a little HTTP/1.1 by hand (`curl http://ADDRESS/`), for the loops are what is to be copied: hyper and axum on
//! such a loop are in `tests/ecosystem/examples`.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::signal::unix::{SignalKind, signal};
use ringtoss::task::JoinSet;
use ringtoss::time::{sleep, timeout};
use ringtoss::{CancellationToken, EventLoop};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::{Semaphore, mpsc};

const HEAD_AT_MOST: usize = 16 * 1024;
/// How long a client may take to close after its last answer.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Options {
    /// Where to listen; with port 0 the kernel chooses
    address: String,
    /// Loops, each a thread: one for each CPU unless told otherwise
    #[arg(long)]
    loops: Option<usize>,
    /// Keeps each loop on a CPU of its own
    #[arg(long)]
    pin: bool,
    /// Connections that are served at once, by all loops together
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Milliseconds within which a request has to come, and an answer to be taken
    #[arg(long, default_value_t = 30_000)]
    idle: u64,
    /// Milliseconds that requests have to end when all is to stop
    #[arg(long, default_value_t = 5_000)]
    grace: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match EventLoop::new().and_then(|event_loop| event_loop.block_on(run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("many_loops: {error}");
            ExitCode::FAILURE
        }
    }
}

// ---- the process: its loops, and when they end -----------------------------------------------------------------

/// What the loops have in common. It goes to all threads, so it is what one may share between threads.
#[derive(Clone)]
struct Shared {
    /// One for each connection.
    places: Arc<Semaphore>,
    stop: CancellationToken,
    idle: Duration,
    grace: Duration,
}

async fn run(options: Options) -> io::Result<()> {
    // Before there is anything that a signal could meet.
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let allowed = sched_getaffinity(None)?;
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
    let listeners = listen(&options.address, options.loops.unwrap_or(cpus.len()).max(1)).await?;
    println!("listening on {}", listeners[0].local_addr()?);
    let shared = Shared {
        places: Arc::new(Semaphore::new(options.connections)),
        stop: CancellationToken::new(),
        idle: Duration::from_millis(options.idle),
        grace: Duration::from_millis(options.grace),
    };
    // Nothing is sent: it is closed when the last thread is done.
    let (alive, mut all_ended) = mpsc::channel::<Infallible>(1);
    let mut threads = Vec::new();
    for (number, listener) in listeners.into_iter().enumerate() {
        let (shared, alive) = (shared.clone(), alive.clone());
        let cpu = options.pin.then(|| cpus[number % cpus.len()]);
        threads.push(thread::Builder::new().name(format!("loop {number}")).spawn(move || {
            let _alive = alive;
            // If one fails, or panics, all end: better than a port of which a part is dead.
            let _stops_all = shared.stop.clone().drop_guard();
            if let Some(cpu) = cpu {
                pin(cpu)?;
            }
            EventLoop::new()?.block_on(serve(number, listener, shared))
        })?);
    }
    drop(alive);
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
        () = shared.stop.cancelled() => {}
    }
    println!("stopping");
    shared.stop.cancel();
    tokio::select! {
        _ = all_ended.recv() => {}
        _ = interrupts.recv() => return Err(ErrorKind::Interrupted.into()),
        _ = terminations.recv() => return Err(ErrorKind::Interrupted.into()),
    }
    let (all, mut failed) = (Served::default(), Ok(()));
    for (number, thread) in threads.into_iter().enumerate() {
        match thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked"))) {
            Ok(served) => {
                println!("loop {number}: {served}");
                all.add(&served);
            }
            Err(error) => failed = Err(io::Error::new(error.kind(), format!("loop {number}: {error}"))),
        }
    }
    println!("served {all}");
    failed
}

/// So many listeners for one port. Whoever is of the same user may listen there, too: a new version of a server starts so before
/// the old one is told to stop.
async fn listen(address: &str, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::builder().reuseport(true).bind(address).await?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(TcpListener::builder().reuseport(true).bind(address).await?);
    }
    Ok(listeners)
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    Ok(sched_setaffinity(None, &only)?)
}

// ---- one loop --------------------------------------------------------------------------------------------------

/// What a loop has served. Counted without atomics: nobody else sees it before the end.
#[derive(Default)]
struct Served {
    connections: Cell<u64>,
    requests: Cell<u64>,
    idle: Cell<u64>,
    failed: Cell<u64>,
    cut_off: Cell<u64>,
}

fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get() + more);
}

impl Served {
    fn add(&self, other: &Served) {
        count(&self.connections, other.connections.get());
        count(&self.requests, other.requests.get());
        count(&self.idle, other.idle.get());
        count(&self.failed, other.failed.get());
        count(&self.cut_off, other.cut_off.get());
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Served { connections, requests, idle, failed, cut_off } = self;
        write!(f, "{} connections, {} requests; ", connections.get(), requests.get())?;
        write!(f, "{} were idle for too long, {} failed, {} were cut off", idle.get(), failed.get(), cut_off.get())
    }
}

async fn serve(number: usize, listener: TcpListener, shared: Shared) -> io::Result<Served> {
    let served = Rc::new(Served::default());
    let mut connections = JoinSet::new();
    // `accept`, not `incoming`, which accepts whoever comes before there is a place for them.
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                // Too many open files, say: those who are connected will leave.
                eprintln!("many_loops: loop {number}: accepting: {error}");
                shared.stop.run_until_cancelled(sleep(Duration::from_millis(100))).await;
                continue;
            }
        };
        // First a connection and then its place: a loop that took a place and waited for somebody to come would keep it
        // from those who have come to other loops. So each loop may have one more open, which waits.
        let place = shared.places.clone().acquire_owned();
        let Some(place) = shared.stop.run_until_cancelled(place).await else { break };
        count(&served.connections, 1);
        let connection =
            Connection { stream, unread: Vec::new(), number, shared: shared.clone(), served: served.clone() };
        connections.spawn(async move {
            let _place = place;
            connection.serve().await;
        });
        // The set keeps those who have ended until they are asked for.
        while connections.try_join_next().is_some() {}
    }
    listener.close().await?;
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if timeout(shared.grace, all_ended).await.is_err() {
        count(&served.cut_off, connections.len() as u64);
        connections.shutdown().await;
    }
    Ok(Rc::into_inner(served).expect("the connections have ended"))
}

// ---- one connection --------------------------------------------------------------------------------------------

struct Connection {
    stream: TcpStream,
    /// What has come of the next request, or requests.
    unread: Vec<u8>,
    number: usize,
    shared: Shared,
    served: Rc<Served>,
}

impl Connection {
    async fn serve(mut self) {
        match self.answer_all().await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => count(&self.served.idle, 1),
            Err(_) => count(&self.served.failed, 1),
        }
    }

    async fn answer_all(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        // The limit is for the whole head: a byte now and then is not enough.
        while let Some(head) = timeout(self.shared.idle, self.head()).await?? {
            let request = Request::of(&head);
            let goes_on = request.may_go_on && !self.shared.stop.is_cancelled();
            let answer = request.answer(self.number, goes_on);
            self.stream.write_all(answer).timeout(self.shared.idle).await.0?;
            count(&self.served.requests, 1);
            if !goes_on {
                return self.farewell().await;
            }
        }
        Ok(())
    }

    /// The next request. `None` if none comes: the client has left, or all are to stop and it has not begun one.
    async fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.unread.drain(..at + 4).collect::<Vec<u8>>();
                return Ok(Some(String::from_utf8_lossy(&head).into_owned()));
            }
            if self.unread.len() > HEAD_AT_MOST {
                return Err(ErrorKind::InvalidData.into());
            }
            // In a buffer of the loop's: who is idle ties up none.
            let received = self.stream.recv();
            let received = if self.unread.is_empty() {
                self.shared.stop.run_until_cancelled(received).await.unwrap_or(Ok(None))?
            } else {
                received.await?
            };
            match received {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None if self.unread.is_empty() => return Ok(None),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Closes so that the last answer arrives: closed with bytes that nobody has read, a connection is reset.
    async fn farewell(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write).await?;
        let rest = async { while let Ok(Some(_)) = self.stream.recv().await {} };
        let _ = timeout(FAREWELL, rest).await;
        Ok(())
    }
}

struct Request<'a> {
    status: &'static str,
    path: &'a str,
    /// Whether the next one may come on the same connection.
    may_go_on: bool,
}

impl Request<'_> {
    fn of(head: &str) -> Request<'_> {
        let (line, fields) = head.split_once("\r\n").unwrap_or_default();
        let mut words = line.split(' ');
        let (method, path, version) = (words.next(), words.next(), words.next());
        let fields = fields.to_ascii_lowercase();
        let field = |name: &str| fields.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // A body is not read, so nothing can follow it.
        let has_body = field("content-length:").is_some_and(|len| len != "0") || field("transfer-encoding:").is_some();
        let (status, is_good) = match (method, version) {
            (Some("GET"), Some("HTTP/1.0" | "HTTP/1.1")) if !has_body => ("200 OK", true),
            (Some(_), Some("HTTP/1.0" | "HTTP/1.1")) => ("405 Method Not Allowed", false),
            _ => ("400 Bad Request", false),
        };
        let may_go_on = is_good && version == Some("HTTP/1.1") && field("connection:") != Some("close");
        Request { status, path: path.unwrap_or_default(), may_go_on }
    }

    fn answer(&self, number: usize, goes_on: bool) -> String {
        let Request { status, path, .. } = self;
        let body = format!("loop {number}: {path}: {status}\n");
        let connection = if goes_on { "keep-alive" } else { "close" };
        let len = body.len();
        let fields = format!("Content-Type: text/plain\r\nContent-Length: {len}\r\nConnection: {connection}");
        format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}")
    }
}
