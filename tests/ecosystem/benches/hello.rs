//! hyper HTTP/1.1 "hello" over `PollIo` against hyper on tokio's current-thread runtime: CPU time of the server's thread per
//! request, and requests per second, at 1, 50 and 500 connections. `cargo bench -p ringtoss-ecosystem --bench hello`; it
//! wants wrk. Rounds of the candidates follow each other, so that a slow second hits all of them; what is shown is the
//! best quarter of each and the median. With `ONLY=name` that one runs alone, and how many requests there were is told: for
//! `strace -c -f`, and for callgrind, which count.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use ringtoss::compat::PollIo;
use ringtoss::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
}

async fn connection(io: impl Read + Write + Unpin + 'static) {
    let _ = http1::Builder::new().serve_connection(io, service_fn(hello)).await;
}

/// What hyper-util's `TokioIo` does, whose feature would hide whether the tests need it.
struct TokioIo(tokio::net::TcpStream);

impl Read for TokioIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // SAFETY: tokio's buffer writes initialised bytes only, and takes none back.
        let mut read = ReadBuf::uninit(unsafe { buf.as_mut() });
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        let count = read.filled().len();
        // SAFETY: so many bytes have just been written at the start.
        unsafe { buf.advance(count) };
        Poll::Ready(Ok(()))
    }
}

impl Write for TokioIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

async fn serve_ring<I: Read + Write + Unpin + 'static>(started: mpsc::Sender<SocketAddr>, wrap: fn(TcpStream) -> I) {
    let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    started.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        ringtoss::spawn(connection(wrap(stream)));
    }
}

async fn serve_tokio(started: mpsc::Sender<SocketAddr>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    started.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::task::spawn_local(connection(TokioIo(stream)));
    }
}

/// A server on a thread of its own.
struct Candidate {
    name: &'static str,
    address: SocketAddr,
    schedstat: String,
    /// Microseconds of its CPU per request, and requests per second, of each round.
    rounds: Vec<(f64, f64)>,
    requests: f64,
}

fn pin(cpu: usize) {
    // SAFETY: the set is plain bytes, for which zero is valid, and lives over the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

fn candidate(name: &'static str, serve: fn(mpsc::Sender<SocketAddr>)) -> Candidate {
    let (started, address) = mpsc::channel();
    let (named, id) = mpsc::channel();
    thread::spawn(move || {
        pin(0);
        // SAFETY: no memory is passed.
        named.send(unsafe { libc::gettid() }).unwrap();
        serve(started);
    });
    let schedstat = format!("/proc/self/task/{}/schedstat", id.recv().unwrap());
    Candidate { name, address: address.recv().unwrap(), schedstat, rounds: Vec::new(), requests: 0.0 }
}

impl Candidate {
    fn cpu_ns(&self) -> f64 {
        std::fs::read_to_string(&self.schedstat).unwrap().split(' ').next().unwrap().parse().unwrap()
    }

    fn round(&mut self, connections: usize) {
        let before = self.cpu_ns();
        let output = Command::new("taskset")
            .args(["-c", "1", "wrk", "-t1", "-d1s", &format!("-c{connections}"), &format!("http://{}/", self.address)])
            .output()
            .expect("taskset and wrk are installed");
        let cpu_ns = self.cpu_ns() - before;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
        let field = |label: &str, index: usize| -> f64 {
            let line = text.lines().find(|line| line.contains(label)).unwrap_or_else(|| panic!("{text}"));
            line.split_whitespace().nth(index).unwrap().parse().unwrap()
        };
        let requests = field("requests in", 0);
        self.requests += requests;
        self.rounds.push((cpu_ns / 1000.0 / requests, field("Requests/sec", 1)));
    }

    /// Best quarter and median, of CPU per request and of requests per second.
    fn summary(&mut self) -> [f64; 4] {
        let mut cpu: Vec<f64> = self.rounds.iter().map(|round| round.0).collect();
        let mut rate: Vec<f64> = self.rounds.iter().map(|round| round.1).collect();
        cpu.sort_by(f64::total_cmp);
        rate.sort_by(|a, b| b.total_cmp(a));
        self.rounds.clear();
        [cpu[cpu.len() / 4], cpu[cpu.len() / 2], rate[rate.len() / 4], rate[rate.len() / 2]]
    }
}

/// Tells its address and serves for ever.
type Serve = fn(mpsc::Sender<SocketAddr>);

fn main() {
    // `cargo test` builds and runs it, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    let only = std::env::var("ONLY").ok();
    let servers: [(&str, Serve); 3] = [
        ("tokio", |started| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, serve_tokio(started));
        }),
        ("PollIo::new", |started| ringtoss::block_on(serve_ring(started, PollIo::new))),
        ("PollIo::direct", |started| ringtoss::block_on(serve_ring(started, PollIo::direct))),
    ];
    let chosen = servers.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name));
    let mut candidates: Vec<Candidate> = chosen.map(|(name, serve)| candidate(name, serve)).collect();
    println!(
        "connections | candidate           | CPU us/request (best quarter, median) | requests/s | tokio / it (CPU) | it / tokio (rate)"
    );
    for connections in [1, 50, 500] {
        for _ in 0..rounds {
            candidates.iter_mut().for_each(|candidate| candidate.round(connections));
        }
        let mut tokio = None;
        for candidate in &mut candidates {
            let [cpu, cpu_median, rate, rate_median] = candidate.summary();
            if only.is_some() {
                println!("{connections} connections: {} requests", std::mem::take(&mut candidate.requests));
            }
            let base = *tokio.get_or_insert([cpu, cpu_median, rate, rate_median]);
            println!(
                "{connections:11} | {:19} | {cpu:6.2} {cpu_median:6.2} | {rate:8.0} {rate_median:8.0} | {:.2} {:.2} | {:.2} {:.2}",
                candidate.name,
                base[0] / cpu,
                base[1] / cpu_median,
                rate / base[2],
                rate_median / base[3],
            );
        }
    }
}
