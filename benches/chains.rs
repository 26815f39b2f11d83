//! What chains and whole files cost: `cargo bench --bench chains`, some minutes; `cargo bench --bench chains -- write` for the rows
//! whose name contains that. The figures are in docs/performance.md.
//!
//! A row's candidates take turns in short windows, for a machine of others' is slow for seconds at a time. Printed is the best
//! quartile's bound: µs of wall clock, and of CPU (all threads, the kernel's workers among them), for one piece of work.

use std::future::Future;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringtoss::fs::{self, ChainedFile, File, OpenOptions};
use ringtoss::net::TcpStream;
use ringtoss::{EventLoop, op, spawn};
use rustix::time::{ClockId, clock_gettime};

const WINDOW: Duration = Duration::from_millis(60);
const WINDOWS: usize = 24;
const BYTES: usize = 4096;

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// One way to do a piece of work: what a task does, by its number.
#[derive(Clone)]
struct Way {
    name: &'static str,
    run: Rc<dyn Fn(u64) -> Work>,
}

fn way<F: Future<Output = ()> + 'static>(name: &'static str, run: impl Fn(u64) -> F + 'static) -> Way {
    Way { name, run: Rc::new(move |task| Box::pin(run(task))) }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// µs of wall clock and of CPU a piece.
async fn window(way: &Way, tasks: u64) -> [f64; 2] {
    let (start, cpu) = (Instant::now(), cpu_us());
    let work = |task| {
        let run = way.run.clone();
        async move {
            let mut done = 0u64;
            while start.elapsed() < WINDOW {
                run(task).await;
                done += 1;
            }
            done
        }
    };
    let handles: Vec<_> = (0..tasks).map(|task| spawn(work(task))).collect();
    let mut done = 0;
    for handle in handles {
        done += handle.await.expect("a task");
    }
    [start.elapsed().as_secs_f64() * 1e6 / done as f64, (cpu_us() - cpu) / done as f64]
}

fn best_quartile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 4]
}

fn row(name: &str, tasks: u64, ways: &[Way]) {
    let title = format!("{name}, {tasks} in flight");
    if std::env::args().skip(1).any(|wanted| !wanted.starts_with('-') && !title.contains(&wanted)) {
        return;
    }
    let event_loop = EventLoop::new().expect("an io_uring");
    let mut seen = vec![[Vec::new(), Vec::new()]; ways.len()];
    event_loop.block_on(async {
        for _ in 0..WINDOWS {
            for (way, seen) in ways.iter().zip(&mut seen) {
                let figures = window(way, tasks).await;
                seen.iter_mut().zip(figures).for_each(|(seen, figure)| seen.push(figure));
            }
        }
    });
    println!("{title}");
    let mut first = None;
    for (way, [wall, cpu]) in ways.iter().zip(seen) {
        let (wall, cpu) = (best_quartile(wall), best_quartile(cpu));
        let base = *first.get_or_insert(wall);
        println!("  {:<44} wall {wall:8.2} ({:4.2})   CPU {cpu:8.2}", way.name, wall / base);
    }
}

fn nops() {
    for tasks in [1, 32] {
        row(
            "three NOPs",
            tasks,
            &[
                way("one after the other", async |_| {
                    for _ in 0..3 {
                        op::nop().await.expect("a NOP");
                    }
                }),
                way("a chain", async |_| drop(op::nop().link(op::nop()).link(op::nop()).await)),
                way("a chain, hard", async |_| drop(op::nop().hardlink(op::nop()).hardlink(op::nop()).await)),
            ],
        );
    }
    row(
        "a NOP with a limit",
        32,
        &[
            way("timeout", async |_| op::nop().timeout(Duration::from_secs(9)).await.expect("a NOP")),
            way("link_timeout", async |_| op::nop().link_timeout(Duration::from_secs(9)).await.expect("a NOP")),
            way("none", async |_| op::nop().await.expect("a NOP")),
        ],
    );
}

fn synced(dir: &Path, kind: &str) {
    let files: Rc<Vec<File>> = Rc::new(
        (0..32)
            .map(|number| {
                let path = dir.join(format!("synced{number}"));
                File::from_std(std::fs::File::create(path).expect("a file"))
            })
            .collect(),
    );
    let of = |files: &Rc<Vec<File>>| files.clone();
    for tasks in [1, 32] {
        let (one, other) = (of(&files), of(&files));
        row(
            &format!("write 4 KiB + fdatasync, {kind}"),
            tasks,
            &[
                way("one after the other", move |task| {
                    let files = one.clone();
                    async move {
                        let file = &files[task as usize];
                        file.write_all_at(vec![7; BYTES], 0).await.0.expect("a write");
                        file.sync_data().await.expect("a sync");
                    }
                }),
                way("a chain", move |task| {
                    let files = other.clone();
                    async move {
                        let file = &files[task as usize];
                        let (written, synced) = file.write_all_at(vec![7; BYTES], 0).link(file.sync_data()).await;
                        written.0.expect("a write");
                        synced.expect("a sync");
                    }
                }),
            ],
        );
    }
}

/// Requests of 64 bytes to a server on a thread, which echoes.
fn requests() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut buf = [0; 64];
                while stream.read_exact(&mut buf).is_ok() && stream.write_all(&buf).is_ok() {}
            });
        }
    });
    let connect = || {
        let stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream
    };
    for tasks in [1, 32] {
        let pool = |chained: bool| {
            let streams: Rc<Vec<_>> = Rc::new(
                (0..tasks)
                    .map(|_| std::cell::RefCell::new(Some((TcpStream::from_std(connect()), vec![1; 64], vec![0; 64]))))
                    .collect(),
            );
            move |task: u64| {
                let streams = streams.clone();
                async move {
                    let (mut stream, out, buf) = streams[task as usize].take().expect("one piece at a time");
                    let (out, buf) = if chained {
                        let ((sent, out), (read, buf)) = stream.write_then_read(out, buf).await;
                        sent.expect("a request");
                        assert_eq!(read.expect("an answer"), 64);
                        (out, buf)
                    } else {
                        let (sent, out) = stream.write_all(out).await;
                        sent.expect("a request");
                        let (read, buf) = stream.read(buf).await;
                        assert_eq!(read.expect("an answer"), 64);
                        (out, buf)
                    };
                    *streams[task as usize].borrow_mut() = Some((stream, out, buf));
                }
            }
        };
        row(
            "request and answer, 64 B over TCP",
            tasks,
            &[way("write_all, read", pool(false)), way("write_then_read", pool(true))],
        );
    }
}

/// Small files, each task its own.
fn whole_files(dir: &Path, kind: &str) {
    let path = |dir: &Path, task: u64| dir.join(format!("whole{task}"));
    (0..32).for_each(|task| std::fs::write(path(dir, task), [7; BYTES]).expect("a file"));
    for tasks in [1, 32] {
        let dirs: Vec<PathBuf> = vec![dir.to_owned(); 10];
        let [a, b, c, d, e, f, g, h, i, j]: [PathBuf; 10] = dirs.try_into().expect("ten");
        let contents: &'static [u8] = &[7; BYTES];
        row(
            &format!("create + write 4 KiB + close, {kind}"),
            tasks,
            &[
                way("system calls", move |task| {
                    std::fs::write(path(&a, task), contents).expect("a file");
                    std::future::ready(())
                }),
                way("fs::write", move |task| {
                    let path = path(&b, task);
                    async move { fs::write(path, contents).await.expect("a file") }
                }),
                way("open, write_all, close, each awaited", move |task| {
                    let path = path(&c, task);
                    async move {
                        let mut file = File::create(path).await.expect("a file");
                        file.write_all(contents).await.0.expect("a write");
                        file.close().await.expect("a close");
                    }
                }),
                way("one chain, without a number", move |task| own_written(path(&h, task), contents)),
            ],
        );
        row(
            &format!("open + read 4 KiB + close, {kind}"),
            tasks,
            &[
                way("system calls", move |task| {
                    assert_eq!(std::fs::read(path(&d, task)).expect("a file").len(), BYTES);
                    std::future::ready(())
                }),
                way("fs::read", move |task| {
                    let path = path(&e, task);
                    async move { assert_eq!(fs::read(path).await.expect("a file").len(), BYTES) }
                }),
                way("open, metadata, read_to_end, each awaited", move |task| {
                    let path = path(&f, task);
                    async move {
                        let mut file = File::open(path).await.expect("a file");
                        let len = file.metadata().await.expect("metadata").len() as usize;
                        let (result, bytes) = file.read_to_end(Vec::with_capacity(len + 1)).await;
                        result.expect("a read");
                        assert_eq!(bytes.len(), BYTES);
                    }
                }),
                way("one chain, without a number", move |task| own_read(path(&i, task))),
            ],
        );
        row(
            &format!("write, read and unlink 4 KiB, {kind}"),
            tasks,
            &[
                way("system calls", {
                    let dir = g.clone();
                    move |task| {
                        let path = dir.join(format!("gone{task}"));
                        std::fs::write(&path, contents).expect("a file");
                        assert_eq!(std::fs::read(&path).expect("a file").len(), BYTES);
                        std::fs::remove_file(&path).expect("it is there");
                        std::future::ready(())
                    }
                }),
                way("fs::write, fs::read, fs::remove_file", move |task| {
                    let path = g.join(format!("gone{task}"));
                    async move {
                        fs::write(&path, contents).await.expect("a file");
                        assert_eq!(fs::read(&path).await.expect("a file").len(), BYTES);
                        fs::remove_file(&path).await.expect("it is there");
                    }
                }),
                way("two chains without numbers, fs::remove_file", move |task| {
                    let path = j.join(format!("gone{task}"));
                    async move {
                        own_written(path.clone(), contents).await;
                        own_read(path.clone()).await;
                        fs::remove_file(&path).await.expect("it is there");
                    }
                }),
            ],
        );
    }
}

async fn own_written(path: PathBuf, contents: &'static [u8]) {
    let mut create = OpenOptions::new();
    create.write(true).create(true).truncate(true);
    let write = create.open_chained(path).link(ChainedFile.write_all_at(contents, 0));
    let (opened, (written, _), _) = write.hardlink(ChainedFile.close()).await;
    opened.and(written).expect("a file written");
}

async fn own_read(path: PathBuf) {
    let open = OpenOptions::new().read(true).open_chained(path);
    let read = open.link(ChainedFile.read_at(Vec::with_capacity(BYTES + 1), 0));
    let (opened, (read, bytes), _) = read.hardlink(ChainedFile.close()).await;
    opened.and(read).expect("a file read");
    assert_eq!(bytes.len(), BYTES);
}

fn main() {
    let memory = tempfile::tempdir_in("/dev/shm").expect("a file system in memory");
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).or_else(|_| tempfile::tempdir()).expect("a directory");
    nops();
    requests();
    synced(memory.path(), "tmpfs");
    synced(disk.path(), "disk");
    whole_files(memory.path(), "tmpfs");
    whole_files(disk.path(), "disk");
}
