//! What the ways of waiting are worth here: `cargo bench --bench waiting`. For each, on a loop of its own on CPU 0,
//!
//! * `wake`: a thread on CPU 1 wakes a task and looks without a pause for its answer: microseconds for both ways;
//! * `echo`: so many connections of a client on CPU 1, each of which sends 64 B when the answer is there: microseconds of the
//!   server's CPU for a request, of which the kernel's own thread is no part, and the loop's kernel entries for it.
//!
//! Rounds take turns, and the best counts.
#![allow(unsafe_code, reason = "pinning, and the CPU time of a thread")]

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{EventLoop, spawn, time};

const ROUNDS: usize = 7;
/// Few enough that on a machine that has other things to do some slices are undisturbed.
const WAKES_A_SLICE: u64 = 100;
const CONNECTIONS: [usize; 3] = [1, 50, 500];
const WINDOW: Duration = Duration::from_millis(400);

fn pin(cpu: usize) {
    // SAFETY: a set of CPUs is plain bits, and lives over the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives over the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A way to wait, or why it cannot be had.
type Way = (&'static str, fn() -> std::io::Result<EventLoop>);

const WAYS: [Way; 6] = [
    ("as it comes", EventLoop::new),
    ("spin 50 µs", || EventLoop::builder().spin(Duration::from_micros(50)).build()),
    ("gather 20 µs", || EventLoop::builder().gather(Duration::from_micros(20)).build()),
    ("gather 100 µs", || EventLoop::builder().gather(Duration::from_micros(100)).build()),
    ("busy_poll 50 µs", || EventLoop::builder().busy_poll(Duration::from_micros(50), false).build()),
    ("kernel_thread", || EventLoop::builder().kernel_thread(Duration::from_millis(100), None).build()),
];

#[derive(Default)]
struct Bell {
    waker: AtomicWaker,
    asked: AtomicU64,
    answered: AtomicU64,
}

/// Microseconds for a wake and its answer.
fn wake(event_loop: &EventLoop) -> f64 {
    let bell = Arc::new(Bell::default());
    let peer = thread::spawn({
        let bell = bell.clone();
        move || {
            pin(1);
            let start = Instant::now();
            let mut number = 0;
            let mut best = f64::MAX;
            while start.elapsed() < WINDOW {
                let slice = Instant::now();
                for _ in 0..WAKES_A_SLICE {
                    number += 1;
                    bell.asked.store(number, Ordering::Release);
                    bell.waker.wake();
                    while bell.answered.load(Ordering::Acquire) < number {
                        std::hint::spin_loop();
                    }
                }
                best = best.min(slice.elapsed().as_secs_f64() * 1e6 / WAKES_A_SLICE as f64);
            }
            bell.asked.store(u64::MAX, Ordering::Release);
            bell.waker.wake();
            best
        }
    });
    event_loop.block_on(async {
        let task = spawn(async move {
            let mut seen = 0;
            while seen < u64::MAX {
                seen = poll_fn(|cx| {
                    bell.waker.register(cx.waker());
                    Some(bell.asked.load(Ordering::Acquire))
                        .filter(|&asked| asked > seen)
                        .map_or(Poll::Pending, Poll::Ready)
                })
                .await;
                bell.answered.store(seen, Ordering::Release);
            }
        });
        task.await.expect("a task");
    });
    peer.join().expect("a thread")
}

/// Clients on a loop of their own, until they are told to stop.
fn clients(port: u16, count: usize, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        pin(1);
        ringtoss::block_on(async move {
            let mut tasks = Vec::new();
            for _ in 0..count {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
                let stop = stop.clone();
                tasks.push(spawn(async move {
                    let mut buf = vec![0; 64];
                    while !stop.load(Ordering::Relaxed) {
                        let (result, written) = stream.write_all(buf).await;
                        result.expect("a write");
                        let (result, read) = stream.read_exact(written, 64).await;
                        result.expect("a read");
                        buf = read;
                    }
                }));
            }
            for task in tasks {
                task.await.expect("a task");
            }
        });
    })
}

/// Microseconds of CPU, and kernel entries, for a request.
fn echo(event_loop: &EventLoop, count: usize) -> (f64, f64) {
    event_loop.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stop = Arc::new(AtomicBool::new(false));
        let peer = clients(listener.local_addr().expect("an address").port(), count, stop.clone());
        let requests = std::rc::Rc::new(std::cell::Cell::new(0u64));
        let mut tasks = Vec::new();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let requests = requests.clone();
            tasks.push(spawn(async move {
                let mut buf = Vec::with_capacity(64);
                loop {
                    let (result, read) = stream.read(buf).await;
                    if result.expect("a read") == 0 {
                        break;
                    }
                    let (result, written) = stream.write_all(read).await;
                    if result.is_err() {
                        break;
                    }
                    requests.set(requests.get() + 1);
                    buf = written;
                }
            }));
        }
        time::sleep(WINDOW / 4).await;
        let before = (thread_cpu(), ringtoss::metrics().enters, requests.get());
        time::sleep(WINDOW).await;
        let after = (thread_cpu(), ringtoss::metrics().enters, requests.get());
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("a task");
        }
        peer.join().expect("a thread");
        let served = (after.2 - before.2) as f64;
        ((after.0 - before.0).as_secs_f64() * 1e6 / served, (after.1 - before.1) as f64 / served)
    })
}

fn main() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return println!("this wants two CPUs");
    }
    pin(0);
    let names: Vec<String> = CONNECTIONS.iter().map(|count| format!("echo, {count} conn.")).collect();
    println!("{:16} {:>10}  {}", "", "wake", names.iter().map(|name| format!("{name:>22}")).collect::<String>());
    let mut best = [(f64::MAX, [(f64::MAX, f64::MAX); CONNECTIONS.len()]); WAYS.len()];
    for _ in 0..ROUNDS {
        for ((_, make), best) in WAYS.iter().zip(&mut best) {
            let Ok(event_loop) = make() else { continue };
            best.0 = best.0.min(wake(&event_loop));
            for (count, best) in CONNECTIONS.iter().zip(&mut best.1) {
                let new = echo(&event_loop, *count);
                if new.0 < best.0 {
                    *best = new;
                }
            }
        }
    }
    for ((name, make), (wake, echoes)) in WAYS.iter().zip(best) {
        if let Err(error) = make() {
            println!("{name:16} {error}");
            continue;
        }
        let echoes: String =
            echoes.iter().map(|(cpu, enters)| format!("{:>22}", format!("{cpu:.2} µs, {enters:.3}"))).collect();
        println!("{name:16} {wake:>7.2} µs  {echoes}");
    }
}
