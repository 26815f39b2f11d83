//! Crowds of connections on one loop, each with a task and an operation in flight: what they cost while they do nothing, and
//! that they answer. Server and clients are processes of their own, because it is the memory of a process that is measured
//! and the number of its open files that is limited.
#![allow(unsafe_code, reason = "the limit of open files")]

#[path = "patience/mod.rs"]
mod patience;

use std::io::{BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{metrics, op, spawn, time};

use patience::seconds;

const ROLE: &str = "RINGTOSS_TEST_ROLE";
const BYTES_AT_MOST: i64 = 1024;
/// A source address has 28,000 ports, and one is enough for so many connections to one target.
const PER_TARGET: usize = 10_000;

/// Raises the limit of open files, the hard one too if that is allowed; gives what it is then.
fn raise_open_files(to: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives over the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let wanted = libc::rlimit { rlim_cur: to.max(limit.rlim_cur), rlim_max: to.max(limit.rlim_max) };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const wanted) == 0 {
            return wanted.rlim_cur;
        }
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_cur
}

fn field_kib(file: &str, name: &str) -> i64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{file} has no {name}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What this process has of the machine's memory; what it shares counts in part.
fn proportional_kib() -> i64 {
    field_kib("/proc/self/smaps_rollup", "Pss:")
}

// ---- the clients ------------------------------------------------------------------------------------------------------

/// Opens so many connections and says so; when told to, asks on each and reads each answer.
fn clients(port: u16, count: usize) {
    raise_open_files(count as u64 + 100);
    let target = |index: usize| SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (index / PER_TARGET) as u8), port));
    let mut streams: Vec<StdStream> = (0..count).map(|index| StdStream::connect(target(index)).unwrap()).collect();
    println!("open");
    for line in std::io::stdin().lock().lines() {
        assert_eq!(line.unwrap(), "ask");
        for (index, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&question(index)).unwrap();
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            stream.set_read_timeout(Some(seconds(300))).unwrap();
            let mut answer = [0; 64];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, question(index));
        }
        println!("answered");
    }
}

fn question(index: usize) -> [u8; 64] {
    std::array::from_fn(|at| (index.wrapping_mul(31) + at) as u8)
}

/// The clients' process, as the server sees it.
struct Clients {
    child: Child,
    said: ringtoss::fs::File,
}

impl Clients {
    fn start(port: u16, count: usize) -> Clients {
        let mut child = this_as(&format!("clients {port} {count}"));
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = OwnedFd::from(child.stdout.take().unwrap()).into();
        Clients { child, said }
    }

    /// Waits until they say it; libtest says something, too.
    async fn said(&mut self, what: &str) {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(what) {
            let (result, bytes) = self.said.read(Vec::with_capacity(256)).await;
            assert_ne!(result.unwrap(), 0, "the clients are gone: {}", String::from_utf8_lossy(&all));
            all.extend(bytes);
        }
    }

    async fn ask(&mut self) {
        self.child.stdin.as_ref().unwrap().write_all(b"ask\n").unwrap();
        self.said("answered").await;
    }

    async fn leave(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// ---- the server -------------------------------------------------------------------------------------------------------

async fn answer(mut stream: TcpStream) {
    let mut buf = Vec::with_capacity(64);
    loop {
        let (result, bytes) = stream.read(buf).await;
        if result.unwrap() == 0 {
            return;
        }
        let (result, bytes) = stream.write_all(bytes).await;
        result.unwrap();
        buf = bytes;
    }
}

async fn wait_and_answer(mut stream: TcpStream) {
    loop {
        stream.readable().await.unwrap();
        let (result, bytes) = stream.read(Vec::with_capacity(64)).await;
        if result.unwrap() == 0 {
            return;
        }
        stream.write_all(bytes).await.0.unwrap();
    }
}

async fn accept<F: Future<Output = ()> + 'static>(listener: &TcpListener, count: usize, serve: fn(TcpStream) -> F) {
    for _ in 0..count {
        let (stream, _) = listener.accept().await.unwrap();
        drop(spawn(serve(stream)));
    }
    while metrics().in_flight < count as u64 {
        op::nop().await.unwrap();
    }
}

/// Serves so many connections of another process and prints what each takes.
async fn server<F: Future<Output = ()> + 'static>(wanted: usize, serve: fn(TcpStream) -> F) {
    let limit = raise_open_files(wanted as u64 + 100);
    let count = wanted.min(limit as usize - 100);
    if count < wanted {
        println!("FIGURE only {limit} files may be open here: {count} connections instead of {wanted}");
    }
    let listener = TcpListener::bind_with_backlog("0.0.0.0:0", 4096).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Some before, so that what is there anyway (code, the first pages of the heap) is there.
    let mut few = Clients::start(port, 100);
    accept(&listener, 100, serve).await;
    few.said("open").await;
    few.ask().await;
    few.leave().await;
    while metrics().in_flight > 0 {
        op::nop().await.unwrap();
    }
    let (before, kernel_before) = (proportional_kib(), field_kib("/proc/meminfo", "Slab:"));
    let mut many = Clients::start(port, count);
    accept(&listener, count, serve).await;
    many.said("open").await;
    let (after, kernel_after) = (proportional_kib(), field_kib("/proc/meminfo", "Slab:"));
    let each = (after - before) * 1024 / count as i64;
    let kernel_each = (kernel_after - kernel_before) * 1024 / count as i64;
    println!(
        "FIGURE {count} idle connections: {each} bytes of user memory each; the kernel's own: {kernel_each} bytes each \
         (slab of the whole machine, both ends)"
    );
    assert!(each <= BYTES_AT_MOST, "{each} bytes each: {before} KiB grew to {after} KiB");
    let start = std::time::Instant::now();
    many.ask().await;
    println!("FIGURE {count} of them asked and answered in {} ms", start.elapsed().as_millis());
    assert_eq!(metrics().stale_completions, 0);
    many.leave().await;
}

// ---- the tests --------------------------------------------------------------------------------------------------------

fn this_as(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// Not a test of its own: what the other processes run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let number = |index: usize| words[index].parse().unwrap();
    let served = async {
        match words[0] {
            "reads" => server(number(1), answer).await,
            "waits" => server(number(1), wait_and_answer).await,
            other => panic!("no such role: {other}"),
        }
    };
    if words[0] == "clients" {
        return clients(number(1) as u16, number(2));
    }
    ringtoss::block_on(async { time::timeout(seconds(300), served).await.expect("stuck") });
}

fn run(role: &str) {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let output = this_as(role).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for figure in text.lines().filter_map(|line| line.split_once("FIGURE ")) {
        println!("{role}: {}", figure.1);
    }
    assert!(output.status.success(), "{role}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ten_thousand_idle_connections_cost_less_than_a_kib_each() {
    run("reads 10000");
    run("waits 10000");
}

#[test]
fn fifty_thousand_connections_are_open_and_answer() {
    run("reads 50000");
}
