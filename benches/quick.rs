//! How fast the common ways are, in a minute: `cargo bench --bench quick`, or `cargo bench --bench quick -- nop` for one.
//! For other runtimes beside this one, and the figures of the documentation, there is the suite: docs/benchmarks.md.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{EventLoop, op, spawn, time, yield_now};

/// Measures what `run` takes for so many operations, on a loop of its own.
fn measure<F: Future<Output = ()>>(criterion: &mut Criterion, name: &str, run: impl Fn(u64) -> F) {
    let event_loop = EventLoop::new().expect("an io_uring");
    let mut group = criterion.benchmark_group("ringtoss");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            event_loop.block_on(async {
                let start = Instant::now();
                run(count).await;
                start.elapsed()
            })
        });
    });
    group.finish();
}

/// Runs `count` operations, spread over so many tasks.
async fn spread<F: Future<Output = ()> + 'static>(count: u64, tasks: u64, task: impl Fn(u64) -> F) {
    let each = |number| count / tasks + u64::from(number < count % tasks);
    let handles: Vec<_> = (0..tasks).map(|number| spawn(task(each(number)))).collect();
    for handle in handles {
        handle.await.expect("a task");
    }
}

fn nops(criterion: &mut Criterion) {
    for in_flight in [1, 128] {
        measure(criterion, &format!("nop, {in_flight} in flight"), move |count| {
            spread(count, in_flight, async |count| {
                for _ in 0..count {
                    op::nop().await.expect("a NOP");
                }
            })
        });
    }
}

fn reads(criterion: &mut Criterion) {
    const BYTES: usize = 4096;
    const BLOCKS: u64 = 4096;
    let file = tempfile::tempfile().expect("a file");
    file.set_len(BLOCKS * BYTES as u64).expect("a file of 16 MiB");
    let file = Arc::new(File::from_std(file));
    for in_flight in [1, 32] {
        measure(criterion, &format!("read_at 4 KiB, page cache, {in_flight} in flight"), |count| {
            let file = file.clone();
            async move {
                spread(count, in_flight, |count| {
                    let file = file.clone();
                    async move {
                        let (mut buf, mut block) = (vec![0; BYTES], 0);
                        for _ in 0..count {
                            // Steps that are prime to the number of blocks visit all of them.
                            block = (block + 1237) % BLOCKS;
                            let (result, read) = file.read_at(buf, block * BYTES as u64).await;
                            assert_eq!(result.expect("a read"), BYTES);
                            buf = read;
                        }
                    }
                })
                .await;
            }
        });
    }
}

fn tasks(criterion: &mut Criterion) {
    measure(criterion, "spawn and join", async |count| {
        for _ in 0..count {
            spawn(async {}).await.expect("a task");
        }
    });
    measure(criterion, "yield, 128 tasks", |count| {
        spread(count, 128, async |count| {
            for _ in 0..count {
                yield_now().await;
            }
        })
    });
    measure(criterion, "channel (async-channel, 64 places)", async |count| {
        let (sender, receiver) = async_channel::bounded(64);
        let consumer = spawn(async move { while receiver.recv().await.is_ok() {} });
        for number in 0..count {
            sender.send(number).await.expect("the consumer");
        }
        drop(sender);
        consumer.await.expect("a task");
    });
}

fn timers(criterion: &mut Criterion) {
    measure(criterion, "begin and drop a sleep", async |count| {
        for _ in 0..count {
            let mut sleep = pin!(time::sleep(Duration::from_secs(60)));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    });
}

fn echo(criterion: &mut Criterion) {
    measure(criterion, "TCP echo, 64 B, both ends on one loop", async |count| {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("a connection");
        let server = spawn(async move {
            let mut buf = Vec::with_capacity(64);
            loop {
                let (result, read) = server.read(buf).await;
                if result.expect("a read") == 0 {
                    break;
                }
                let (result, written) = server.write_all(read).await;
                result.expect("a write");
                buf = written;
            }
        });
        let mut buf = vec![0; 64];
        for _ in 0..count {
            let (result, written) = client.write_all(buf).await;
            result.expect("a write");
            let (result, read) = client.read_exact(written, 64).await;
            result.expect("a read");
            buf = read;
        }
        drop(client);
        server.await.expect("a task");
    });
}

criterion_group!(quick, nops, reads, tasks, timers, echo);
criterion_main!(quick);
