//! Moving bytes between two sockets, and from a file to a socket: by splice, and by reads and writes. CPU time of the process
//! that moves them (threads of the kernel's that work for it included) per KiB, and the rate, while another process sends and
//! receives. `cargo bench --bench splice`.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringtoss::fs::File;
use ringtoss::io;

/// How long each measurement takes, and how many there are of each, interleaved.
const WINDOW: Duration = Duration::from_millis(400);
const ROUNDS: usize = 9;

fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec as u64, usage.tv_nsec as u32)
}

/// The other process: connects twice, and sends messages on the first connection that it takes off the second, one at a time
/// or, with 0, without end.
fn peer(address: &str, message: usize) {
    let mut front = TcpStream::connect(address).unwrap();
    let mut back = TcpStream::connect(address).unwrap();
    front.set_nodelay(true).unwrap();
    let mut sent = vec![7; message.max(1 << 20)];
    let begun = Instant::now();
    if message > 0 {
        let mut received = vec![0; message];
        while begun.elapsed() < WINDOW {
            front.write_all(&sent[..message]).unwrap();
            back.read_exact(&mut received).unwrap();
        }
    } else {
        let mut sender = front.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            while begun.elapsed() < WINDOW {
                sender.write_all(&sent).unwrap();
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = vec![0; 1 << 20];
        while back.read(&mut received).unwrap() > 0 {}
        sending.join().unwrap();
        sent = Vec::new();
    }
    drop((front, sent));
}

/// The other process for files: takes what comes.
fn sink(address: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut received = vec![0; 1 << 20];
    while stream.read(&mut received).unwrap() > 0 {}
}

fn start(role: &str, address: &str, message: usize) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args([role, address, &message.to_string()]).stdin(Stdio::null()).spawn().unwrap()
}

#[derive(Clone, Copy)]
struct Cost {
    nanoseconds_a_kib: f64,
    mib_a_second: f64,
}

fn proxy(message: usize, splices: bool) -> Cost {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = start("peer", &listener.local_addr().unwrap().to_string(), message);
    let (front, back) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
    back.set_nodelay(true).unwrap();
    let (begun, cpu) = (Instant::now(), cpu_time());
    let moved = ringtoss::block_on(async {
        let mut front = ringtoss::net::TcpStream::from_std(front);
        let mut back = ringtoss::net::TcpStream::from_std(back);
        let ended = if splices {
            io::splice(&mut front, &mut back, u64::MAX).await
        } else {
            io::copy(&mut front, &mut back).await
        };
        ended.unwrap()
    });
    let cost = cost(moved, begun, cpu);
    child.wait().unwrap();
    cost
}

fn serve(chunk: usize, splices: bool) -> Cost {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![7; chunk]).unwrap();
    let mut child = start("sink", &listener.local_addr().unwrap().to_string(), 0);
    let back = listener.accept().unwrap().0;
    let (begun, cpu) = (Instant::now(), cpu_time());
    let moved = ringtoss::block_on(async {
        let mut back = ringtoss::net::TcpStream::from_std(back);
        let mut file = File::from_std(file);
        let mut moved = 0;
        while begun.elapsed() < WINDOW {
            file.rewind().await.unwrap();
            moved += if splices {
                io::splice(&mut file, &mut back, u64::MAX).await.unwrap()
            } else {
                io::copy(&mut file, &mut back).await.unwrap()
            };
        }
        moved
    });
    let cost = cost(moved, begun, cpu);
    child.wait().unwrap();
    cost
}

fn cost(moved: u64, begun: Instant, cpu: Duration) -> Cost {
    let (elapsed, cpu) = (begun.elapsed(), cpu_time() - cpu);
    let kib = moved as f64 / 1024.0;
    Cost { nanoseconds_a_kib: cpu.as_nanos() as f64 / kib, mib_a_second: kib / 1024.0 / elapsed.as_secs_f64() }
}

/// The best quartile.
fn best(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|one, other| one.nanoseconds_a_kib.total_cmp(&other.nanoseconds_a_kib));
    costs[costs.len() / 4]
}

fn compare(name: &str, measure: impl Fn(bool) -> Cost) {
    let (mut copies, mut splices) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(measure(false));
        splices.push(measure(true));
    }
    let (copy, splice) = (best(copies), best(splices));
    println!(
        "{name:<28} copy {:>7.1} ns/KiB {:>6.0} MiB/s   splice {:>7.1} ns/KiB {:>6.0} MiB/s   splice/copy {:.2}",
        copy.nanoseconds_a_kib,
        copy.mib_a_second,
        splice.nanoseconds_a_kib,
        splice.mib_a_second,
        splice.nanoseconds_a_kib / copy.nanoseconds_a_kib,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("peer") => return peer(&arguments[2], arguments[3].parse().unwrap()),
        Some("sink") => return sink(&arguments[2]),
        _ => {}
    }
    for (name, message) in [("4 KiB", 4096), ("16 KiB", 16 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20)] {
        compare(&format!("socket, messages of {name}"), |splices| proxy(message, splices));
    }
    compare("socket, a stream", |splices| proxy(0, splices));
    for (name, chunk) in [("16 KiB", 16 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("64 MiB", 64 << 20)] {
        compare(&format!("file of {name} to socket"), |splices| serve(chunk, splices));
    }
}
