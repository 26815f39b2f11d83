//! The work: the same code for every runtime.

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::http;
use crate::runtime::{Runtime, buffer};
use crate::sys;

/// What a child process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A TCP server that sends back what it receives, with buffers of so many bytes.
    Echo { bytes: usize },
    /// An HTTP/1.1 server with a fixed answer.
    Http,
    /// Random reads of 4 KiB from a file in the page cache.
    Read { in_flight: usize },
    /// NOPs through the ring.
    Nop { in_flight: usize },
    /// So many tasks are spawned, then all are waited for.
    Spawn { tasks: usize },
    /// So many tasks that yield all the time.
    Yield { tasks: usize },
    /// One task sends to another over a channel of 64 places (async-channel).
    Channel,
    /// Another thread wakes a task of a loop that sleeps, and waits for its answer.
    Wake,
    /// So many tasks that sleep for a millisecond, again and again.
    SleepFire { tasks: usize },
    /// A sleep of a minute is begun and dropped.
    SleepDrop,
    /// A loop is made, runs a future that is ready, and is dropped.
    Start,
}

impl Work {
    /// Whether it is a server, which somebody else drives.
    pub fn is_server(&self) -> bool {
        matches!(self, Work::Echo { .. } | Work::Http)
    }

    /// How much a server reads at once.
    pub fn buffer_bytes(&self) -> usize {
        if let Work::Echo { bytes } = self { *bytes } else { http::BUFFER_BYTES }
    }
}

/// What was done in a window.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    pub ops: u64,
    /// Time that they took, in nanoseconds.
    pub wall_ns: u64,
    /// CPU time that the process took, in nanoseconds.
    pub cpu_ns: u64,
    /// What was done before, to warm up.
    #[serde(default)]
    pub before: u64,
}

/// The size of a file read.
pub const READ_BYTES: usize = 4096;

/// Serves until the process is killed. `ready` is told the port.
pub fn serve<R: Runtime>(work: Work, ready: impl FnOnce(u16) + 'static) {
    R::block_on(false, async move {
        let (listener, port) = R::listen().await.expect("a port to listen on");
        ready(port);
        loop {
            let stream = R::accept(&listener).await.expect("a connection");
            match work {
                Work::Echo { bytes } => R::detach(echo::<R>(stream, bytes)),
                _ => R::detach(http_server::<R>(stream)),
            }
        }
    })
}

async fn echo<R: Runtime>(mut stream: R::Stream, bytes: usize) {
    let mut buf = buffer(bytes);
    loop {
        let (result, read) = R::read(&mut stream, buf).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let (result, written) = R::write_all(&mut stream, read).await;
        if result.is_err() {
            return;
        }
        buf = written;
    }
}

async fn http_server<R: Runtime>(mut stream: R::Stream) {
    let mut buf = buffer(http::BUFFER_BYTES);
    let mut answer = http::RESPONSE.to_vec();
    let mut requests = http::Requests::default();
    loop {
        let (result, read) = R::read(&mut stream, buf).await;
        buf = read;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let ended = requests.count(&buf);
        if ended == 0 {
            continue;
        }
        http::repeat(&mut answer, ended);
        let (result, written) = R::write_all(&mut stream, answer).await;
        if result.is_err() {
            return;
        }
        answer = written;
    }
}

/// Works for a while, in a new loop, and says how much was done. A tenth of the time goes before, unmeasured.
pub fn window<R: Runtime>(work: Work, duration: Duration, file: &Path) -> Window {
    if work == Work::Start {
        return starts::<R>(duration);
    }
    let file = file.to_owned();
    let timers = matches!(work, Work::SleepFire { .. } | Work::SleepDrop);
    R::block_on(timers, async move {
        let before = once::<R>(work, duration / 10, file.clone()).await.ops;
        Window { before, ..once::<R>(work, duration, file).await }
    })
}

fn starts<R: Runtime>(duration: Duration) -> Window {
    R::block_on(false, async {});
    let (start, cpu_ns, mut ops) = (Instant::now(), sys::own_cpu_ns(), 0);
    while start.elapsed() < duration {
        R::block_on(false, async {});
        ops += 1;
    }
    Window { ops, wall_ns: start.elapsed().as_nanos() as u64, cpu_ns: sys::own_cpu_ns() - cpu_ns, before: 1 }
}

async fn once<R: Runtime>(work: Work, duration: Duration, file: PathBuf) -> Window {
    match work {
        Work::Read { in_flight } => {
            let blocks = std::fs::metadata(&file).expect("the file").len() / READ_BYTES as u64;
            let file = Arc::new(R::open(&file).await.expect("the file"));
            timed::<R, _>(in_flight, duration, move |seed, until| reads::<R>(file.clone(), blocks, seed, until)).await
        }
        Work::Nop { in_flight } => timed::<R, _>(in_flight, duration, |_, until| nops::<R>(until)).await,
        Work::Spawn { tasks } => timed::<R, _>(1, duration, move |_, until| spawns::<R>(tasks, until)).await,
        Work::Yield { tasks } => timed::<R, _>(tasks, duration, |_, until| yields::<R>(until)).await,
        Work::Channel => timed::<R, _>(1, duration, |_, until| channel::<R>(until)).await,
        Work::SleepFire { tasks } => timed::<R, _>(tasks, duration, |_, until| sleeps::<R>(until)).await,
        Work::SleepDrop => timed::<R, _>(1, duration, |_, until| dropped_sleeps::<R>(until)).await,
        Work::Wake => wakes::<R>(duration).await,
        Work::Echo { .. } | Work::Http | Work::Start => unreachable!("not done in a loop"),
    }
}

/// Runs so many tasks at once until the time is over, and adds up what they did.
async fn timed<R, F>(tasks: usize, duration: Duration, task: impl Fn(usize, Instant) -> F) -> Window
where
    R: Runtime,
    F: Future<Output = u64> + 'static,
{
    let (start, cpu_ns) = (Instant::now(), sys::own_cpu_ns());
    let until = start + duration;
    let handles: Vec<_> = (0..tasks).map(|number| R::spawn(task(number, until))).collect();
    let mut ops = 0;
    for handle in handles {
        ops += handle.await;
    }
    Window { ops, wall_ns: start.elapsed().as_nanos() as u64, cpu_ns: sys::own_cpu_ns() - cpu_ns, before: 0 }
}

async fn reads<R: Runtime>(file: Arc<R::File>, blocks: u64, seed: usize, until: Instant) -> u64 {
    let mut random = Random::new(seed as u64);
    let (mut buf, mut ops) = (buffer(READ_BYTES), 0);
    while Instant::now() < until {
        for _ in 0..16 {
            let offset = random.below(blocks) * READ_BYTES as u64;
            let (result, read) = R::read_at(&file, buf, offset).await;
            assert_eq!(result.expect("a read"), READ_BYTES, "a whole block");
            buf = read;
        }
        ops += 16;
    }
    ops
}

async fn nops<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..16 {
            R::nop().await;
        }
        ops += 16;
    }
    ops
}

async fn spawns<R: Runtime>(tasks: usize, until: Instant) -> u64 {
    let (mut ops, mut handles) = (0, Vec::with_capacity(tasks));
    while Instant::now() < until {
        for _ in 0..128 / tasks {
            handles.extend((0..tasks).map(|number| R::spawn(async move { number })));
            for handle in handles.drain(..) {
                std::hint::black_box(handle.await);
            }
            ops += tasks as u64;
        }
    }
    ops
}

async fn yields<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..64 {
            R::yield_now().await;
        }
        ops += 64;
    }
    ops
}

async fn channel<R: Runtime>(until: Instant) -> u64 {
    let (sender, receiver) = async_channel::bounded::<u64>(64);
    let consumer = R::spawn(async move {
        let mut ops = 0;
        while receiver.recv().await.is_ok() {
            ops += 1;
        }
        ops
    });
    while Instant::now() < until {
        for number in 0..256 {
            sender.send(number).await.expect("the consumer");
        }
    }
    drop(sender);
    consumer.await
}

async fn sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        R::sleep(Duration::from_millis(1)).await;
        ops += 1;
    }
    ops
}

async fn dropped_sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..64 {
            let mut sleep = pin!(R::sleep(Duration::from_secs(60)));
            let done = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
            assert!(!done, "a minute is not over");
        }
        R::yield_now().await;
        ops += 64;
    }
    ops
}

/// How long the other thread lets the loop fall asleep before it wakes it again.
const NAP: Duration = Duration::from_micros(50);

/// Time is what passes from the wake to the task's answer, on CPUs of their own; CPU is the loop's.
async fn wakes<R: Runtime>(duration: Duration) -> Window {
    let bell = Arc::new(Bell::default());
    let (ringer_bell, cpu_ns) = (bell.clone(), sys::own_cpu_ns());
    let ringer = std::thread::spawn(move || {
        let _ = crate::cpus::Cpus::find().pin_generator();
        ringer_bell.ring_for(duration)
    });
    let mut heard = 0;
    while !bell.over.load(Ordering::Acquire) {
        heard = bell.wait(heard).await;
        bell.heard.store(heard, Ordering::Release);
    }
    let (ops, wall_ns, ringer_cpu_ns) = ringer.join().expect("the thread that rings");
    Window { ops, wall_ns, cpu_ns: (sys::own_cpu_ns() - cpu_ns).saturating_sub(ringer_cpu_ns), before: 0 }
}

#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    heard: AtomicU64,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    async fn wait(&self, heard: u64) -> u64 {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            match self.rung.load(Ordering::SeqCst) {
                rung if rung > heard => Poll::Ready(rung),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn ring(&self, number: u64) {
        self.rung.store(number, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn ring_for(&self, duration: Duration) -> (u64, u64, u64) {
        let (until, mut wall_ns, mut number) = (Instant::now() + duration, 0, 0);
        while Instant::now() < until {
            spin(NAP);
            number += 1;
            let start = Instant::now();
            self.ring(number);
            while self.heard.load(Ordering::Acquire) < number {
                std::hint::spin_loop();
            }
            wall_ns += start.elapsed().as_nanos() as u64;
        }
        self.over.store(true, Ordering::Release);
        self.ring(number + 1);
        (number, wall_ns, sys::thread_cpu_ns())
    }
}

fn spin(duration: Duration) {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Numbers that look random, cheap, the same for every candidate: xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
