//! For `.ci/measure`: so many operations of one kind and nothing else, to be run under `valgrind --tool=callgrind` or
//! `strace -c` with two counts, whose difference is the cost of one without start-up and end. With `--counts` it does that
//! itself, for what it can count: enters, ring entries and allocations of one operation, as numbers on a line.
//!
//!     instructions KIND COUNT IN_FLIGHT [--counts]

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use counting::allocations;
use ringtoss::buf::{IoBufMut, RegisteredPool};
use ringtoss::fs::{self, ChainedFile, File};
use ringtoss::net::{TcpListener, TcpStream, UdpSocket};
use ringtoss::{JoinHandle, metrics, op, spawn, time, yield_now};

#[path = "../tests/counting/mod.rs"]
mod counting;

/// Longer than anything here takes.
const NEVER: Duration = Duration::from_secs(600);
const ECHO_BYTES: usize = 64;
const BLOCK_BYTES: usize = 4096;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let counts = arguments.iter().position(|argument| argument == "--counts").map(|place| arguments.remove(place));
    let [kind, count, in_flight] = arguments.as_slice() else {
        // `cargo bench` runs this without arguments.
        return println!("usage: instructions KIND COUNT IN_FLIGHT [--counts]; see .ci/bounds for the kinds");
    };
    let number = |text: &str| -> usize { text.parse().expect("a number") };
    let (kind, count, in_flight) = (kind.clone(), number(count), number(in_flight));
    // Such go by their places in the table of files.
    let (kind, registered) = match kind.strip_prefix("registered-") {
        Some(kind) => (kind.to_owned(), true),
        None => (kind, false),
    };
    ringtoss::EventLoop::builder().registered_files(registered).build().expect("a loop").block_on(async move {
        let bench = Bench::new(&kind).await;
        if counts.is_none() {
            return bench.run(count, in_flight).await;
        }
        // What grows by use has grown.
        bench.run(2 * count, in_flight).await;
        let once = bench.counted(count, in_flight).await;
        let twice = bench.counted(2 * count, in_flight).await;
        let each = |one: u64, two: u64| two.saturating_sub(one) as f64 / count as f64;
        println!("{:.3} {:.3} {:.3}", each(once.0, twice.0), each(once.1, twice.1), each(once.2, twice.2));
    });
}

/// What is to be done, and what it needs.
struct Bench {
    kind: String,
    folder: tempfile::TempDir,
    file: Rc<File>,
}

impl Bench {
    async fn new(kind: &str) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("block");
        std::fs::write(&path, [7; BLOCK_BYTES]).expect("a file");
        let file = Rc::new(File::open(&path).await.expect("the file"));
        if kind == "fire" {
            // The loop moves the clock when nothing else is left to do, so how long that takes changes nothing.
            time::pause();
        }
        Bench { kind: kind.to_owned(), folder, file }
    }

    async fn run(&self, count: usize, in_flight: usize) {
        let (file, path) = (self.file.clone(), self.folder.path().join("block"));
        match self.kind.as_str() {
            "nop" => spread(count, in_flight, nops).await,
            "chain" => spread(count, in_flight, chains).await,
            "yield" => spread(count, in_flight, yields).await,
            "timeout" => spread(count, in_flight, timeouts).await,
            "fire" => spread(count, in_flight, fires).await,
            "read" => {
                spread(count, in_flight, |count| reads(count, file.clone(), Vec::with_capacity(BLOCK_BYTES))).await
            }
            "pooled-read" => {
                let pool = RegisteredPool::new(BLOCK_BYTES, in_flight).unwrap();
                spread(count, in_flight, |count| reads(count, file.clone(), pool.try_take().unwrap())).await;
            }
            "fs-read" => spread(count, in_flight, |count| whole_files(count, path.clone())).await,
            "fs-write" => spread(count, in_flight, |count| whole_files_anew(count, path.clone())).await,
            "small-file" => spread(count, in_flight, |count| small_files(count, path.clone())).await,
            "chained-file" => spread(count, in_flight, |count| chained_files(count, path.clone())).await,
            "echo" => echoes(count, in_flight, server_of).await,
            "lease-echo" => echoes(count, in_flight, lease_server_of).await,
            "datagram" => spread(count, in_flight, datagrams).await,
            "spawn" => spawns(count).await,
            "burst" => bursts(count, in_flight).await,
            "sleep" => sleeps(count).await,
            other => panic!("no such kind: {other}"),
        }
    }

    /// Enters, entries and allocations of a run.
    async fn counted(&self, count: usize, in_flight: usize) -> (u64, u64, u64) {
        let (before, allocated) = (metrics(), allocations());
        self.run(count, in_flight).await;
        let after = metrics();
        (after.enters - before.enters, after.submissions - before.submissions, allocations() - allocated)
    }
}

/// So many operations, spread over so many tasks.
async fn spread<F>(count: usize, in_flight: usize, task: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + 'static,
{
    join((0..in_flight).map(|_| spawn(task(count / in_flight))).collect()).await;
}

async fn join(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

async fn nops(count: usize) {
    for _ in 0..count {
        op::nop().await.unwrap();
    }
}

/// Three operations each, as a chain.
async fn chains(count: usize) {
    for _ in 0..count {
        let (first, second, third) = op::nop().link(op::nop()).link(op::nop()).await;
        first.and(second).and(third).unwrap();
    }
}

async fn yields(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

/// Operations with a time limit around them that does not happen.
async fn timeouts(count: usize) {
    for _ in 0..count {
        time::timeout(NEVER, op::nop()).await.unwrap().unwrap();
    }
}

async fn fires(count: usize) {
    for _ in 0..count {
        time::sleep(Duration::from_millis(1)).await;
    }
}

async fn reads(count: usize, file: Rc<File>, mut buf: impl IoBufMut) {
    for _ in 0..count {
        let (result, read) = file.read_at(buf, 0).await;
        assert_eq!(result.unwrap(), BLOCK_BYTES);
        buf = read;
    }
}

async fn whole_files(count: usize, path: PathBuf) {
    for _ in 0..count {
        assert_eq!(fs::read(&path).await.unwrap().len(), BLOCK_BYTES);
    }
}

async fn whole_files_anew(count: usize, path: PathBuf) {
    let block: Arc<[u8]> = Arc::from([7; BLOCK_BYTES]);
    for _ in 0..count {
        fs::write(&path, block.clone()).await.unwrap();
    }
}

/// Open, read, close.
async fn small_files(count: usize, path: PathBuf) {
    let mut buf = Vec::with_capacity(BLOCK_BYTES);
    for _ in 0..count {
        let file = File::open(&path).await.unwrap();
        let (read, back) = file.read_at(buf, 0).await;
        assert_eq!(read.unwrap(), BLOCK_BYTES);
        file.close().await.unwrap();
        buf = back;
    }
}

/// The same as a chain.
async fn chained_files(count: usize, path: PathBuf) {
    let mut buf = Vec::with_capacity(BLOCK_BYTES);
    for _ in 0..count {
        let chain = File::options().read(true).open_chained(&path);
        let chain = chain.link(ChainedFile.read_at(buf, 0)).hardlink(ChainedFile.close());
        let (opened, (read, back), closed) = chain.await;
        opened.unwrap();
        assert_eq!(read.unwrap(), BLOCK_BYTES);
        closed.unwrap();
        buf = back;
    }
}

/// So many connections, both ends of them on this loop: an operation is one message there and back.
async fn echoes<F>(count: usize, connections: usize, server_of: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let address = listener.local_addr().unwrap();
        let (client, server) = (TcpStream::connect(address).await.unwrap(), listener.accept().await.unwrap().0);
        tasks.push(spawn(client_of(client, count / connections)));
        tasks.push(spawn(server_of(server)));
    }
    join(tasks).await;
}

async fn client_of(mut stream: TcpStream, count: usize) {
    let mut buf = vec![7; ECHO_BYTES];
    for _ in 0..count {
        let (result, sent) = stream.write_all(buf).await;
        result.unwrap();
        let (result, read) = stream.read(sent).await;
        assert_eq!(result.unwrap(), ECHO_BYTES);
        buf = read;
    }
}

async fn server_of(mut stream: TcpStream) {
    let mut buf = Vec::with_capacity(ECHO_BYTES);
    loop {
        let (result, read) = stream.read(buf).await;
        if result.unwrap() == 0 {
            return;
        }
        let (result, sent) = stream.write_all(read).await;
        result.unwrap();
        buf = sent;
    }
}

/// The same by one submission for all receives, into buffers of the loop's.
async fn lease_server_of(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    let mut received = reader.recv_stream();
    while let Some(lease) = received.next().await {
        writer.write_all(lease.unwrap()).await.0.unwrap();
    }
}

/// Datagrams that a socket sends to itself: an operation is one, sent and received.
async fn datagrams(count: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(socket.local_addr().unwrap()).await.unwrap();
    let mut buf = vec![7; ECHO_BYTES];
    for _ in 0..count {
        let (result, sent) = socket.send(buf).await;
        assert_eq!(result.unwrap(), ECHO_BYTES);
        let (result, received) = socket.recv(sent).await;
        assert_eq!(result.unwrap(), ECHO_BYTES);
        buf = received;
    }
}

async fn spawns(count: usize) {
    for _ in 0..count {
        spawn(async {}).await.unwrap();
    }
}

/// Tasks that are spawned so many at once, and joined.
async fn bursts(count: usize, at_once: usize) {
    let mut tasks = Vec::with_capacity(at_once);
    for _ in 0..count / at_once {
        tasks.extend((0..at_once).map(|_| spawn(async {})));
        for task in tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

/// Sleeps that begin and are dropped: what a timeout that does not happen costs.
async fn sleeps(count: usize) {
    std::future::poll_fn(|cx| {
        for _ in 0..count {
            let mut sleep = pin!(time::sleep(NEVER));
            assert!(sleep.as_mut().poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}
