//! The work: the same code for every runtime. `net` has servers, `files` what is done with files, `tasks` the rest.

mod files;
mod net;
mod tasks;

use std::future::Future;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::http;
use crate::runtime::{Files, Runtime, Sends, Udp, Unix};
use crate::sys;

pub use files::{Blocks, Offsets, Small, SmallFiles, check_copy, copy_paths, files_to_stat};

/// What a child process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A TCP server that sends back what it receives, with buffers of so many bytes.
    Echo { bytes: usize },
    /// An HTTP/1.1 server with a fixed answer.
    Http,
    /// As `Echo`, over a Unix socket.
    Unix { bytes: usize },
    /// As `Echo`, with datagrams, all on one socket.
    Udp { bytes: usize },
    /// One echo, and the server closes the connection.
    Storm { bytes: usize },
    /// What comes, messages of so many bytes, goes to another server, at this port, and what that answers comes back.
    Proxy { bytes: usize, upstream: u16 },
    /// An HTTP/1.1 server whose answer is read from a file each time: its first so many bytes.
    FileServer { bytes: usize },
    /// `FileServer` and `Echo` in one, as the first byte of a connection says.
    Mixed { bytes: usize },
    /// Reads or writes of blocks of a big file.
    Blocks(Blocks),
    /// Small files, by so many tasks.
    Small { what: Small, in_flight: usize },
    /// The lengths of files, by their paths.
    Stat { in_flight: usize },
    /// A big file is copied.
    Copy,
    /// NOPs through the ring.
    Nop { in_flight: usize },
    /// So many tasks are spawned, then all are waited for.
    Spawn { tasks: usize },
    /// So many tasks that yield all the time.
    Yield { tasks: usize },
    /// One task sends to another over a channel of 64 places (async-channel).
    Channel,
    /// Another thread wakes a task of a loop that sleeps, and waits for its answer; on CPUs that do not sleep, or as they are.
    Wake { awake: bool },
    /// So many tasks that wait for somebody to wake them, are woken, and end.
    Wait { tasks: usize },
    /// So many tasks that sleep for a millisecond, again and again.
    SleepFire { tasks: usize },
    /// So many tasks that sleep for long enough that all of them do, and then all wake up.
    SleepAll { tasks: usize },
    /// A sleep of a minute is begun and dropped.
    SleepDrop,
    /// A loop is made, runs a future that is ready, and is dropped.
    Start,
}

impl Work {
    /// Whether it is a server, which somebody else drives.
    pub fn is_server(&self) -> bool {
        use Work::{Echo, FileServer, Http, Mixed, Proxy, Storm, Udp, Unix};
        matches!(
            self,
            Echo { .. }
                | Http
                | Unix { .. }
                | Udp { .. }
                | Storm { .. }
                | Proxy { .. }
                | FileServer { .. }
                | Mixed { .. }
        )
    }

    /// Whether it makes system calls between the batches that are measured.
    pub fn has_errands(&self) -> bool {
        matches!(self, Work::Small { .. } | Work::Copy)
    }

    /// Whether the big file is served, read, written or copied.
    pub fn has_file(&self) -> bool {
        use Work::{Blocks, Copy, FileServer, Mixed};
        matches!(self, FileServer { .. } | Mixed { .. } | Blocks(_) | Copy)
    }

    /// How much a server reads at once.
    pub fn buffer_bytes(&self) -> usize {
        match *self {
            Work::Echo { bytes } | Work::Unix { bytes } | Work::Udp { bytes } | Work::Storm { bytes } => bytes,
            Work::Proxy { .. } => net::PROXY_BYTES,
            _ => http::BUFFER_BYTES,
        }
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
    /// Memory that each task took, in bytes.
    #[serde(default)]
    pub task_bytes: Option<u64>,
}

/// A stretch of work: how long it takes, and how much CPU time of this process.
pub struct Clock {
    start: Instant,
    cpu_ns: u64,
}

impl Clock {
    pub fn start() -> Clock {
        Clock { start: Instant::now(), cpu_ns: sys::own_cpu_ns() }
    }

    /// The stretch is over: so much was done in it.
    pub fn stop(self, ops: u64) -> Window {
        let cpu_ns = sys::own_cpu_ns() - self.cpu_ns;
        Window { ops, wall_ns: self.start.elapsed().as_nanos() as u64, cpu_ns, ..Window::default() }
    }
}

impl AddAssign for Window {
    fn add_assign(&mut self, other: Window) {
        self.ops += other.ops;
        self.wall_ns += other.wall_ns;
        self.cpu_ns += other.cpu_ns;
    }
}

/// Serves until the process is killed. `path` is the file to serve, or where a Unix socket goes; `ready` is told the port.
pub fn serve<R: Sends + Unix + Udp>(work: Work, path: &Path, ready: impl FnOnce(u16) + 'static) {
    let path = path.to_owned();
    R::block_on(false, async move { net::serve::<R>(work, &path, ready).await })
}

/// Works for a while, in a new loop, and says how much was done. A tenth of the time goes before, unmeasured.
pub fn window<R: Files>(work: Work, duration: Duration, file: &Path) -> Window {
    if work == Work::Start {
        return tasks::starts::<R>(duration);
    }
    if let Work::SleepAll { tasks } = work {
        return R::block_on(true, tasks::sleep_all::<R>(tasks));
    }
    let file = file.to_owned();
    let timers = matches!(work, Work::SleepFire { .. } | Work::SleepDrop);
    R::block_on(timers, async move {
        let before = once::<R>(work, duration / 10, file.clone()).await.ops;
        Window { before, ..once::<R>(work, duration, file).await }
    })
}

/// `Work::Wake` alone, for one that offers nothing else.
pub fn woken<R: Runtime>(duration: Duration) -> Window {
    R::block_on(false, async move {
        let before = tasks::wakes::<R>(duration / 10).await.ops;
        Window { before, ..tasks::wakes::<R>(duration).await }
    })
}

async fn once<R: Files>(work: Work, duration: Duration, file: PathBuf) -> Window {
    match work {
        Work::Blocks(work) => files::blocks::<R>(work, duration, &file).await,
        Work::Small { what, in_flight } => files::small_files::<R>(what, in_flight, duration, &file).await,
        Work::Stat { in_flight } => files::stats::<R>(in_flight, duration, &file).await,
        Work::Copy => files::copies::<R>(duration, &file).await,
        Work::Nop { in_flight } => timed::<R, _>(in_flight, duration, |_, until| tasks::nops::<R>(until)).await,
        Work::Spawn { tasks } => timed::<R, _>(1, duration, move |_, until| tasks::spawns::<R>(tasks, until)).await,
        Work::Yield { tasks } => tasks::yielding::<R>(tasks, duration).await,
        Work::Channel => timed::<R, _>(1, duration, |_, until| tasks::channel::<R>(until)).await,
        Work::SleepFire { tasks } => timed::<R, _>(tasks, duration, |_, until| tasks::sleeps::<R>(until)).await,
        Work::SleepDrop => timed::<R, _>(1, duration, |_, until| tasks::dropped_sleeps::<R>(until)).await,
        Work::Wake { .. } => tasks::wakes::<R>(duration).await,
        Work::Wait { tasks } => tasks::waiting::<R>(tasks, duration).await,
        _ => unreachable!("not done in a loop"),
    }
}

/// Runs so many tasks at once until the time is over, and adds up what they did.
async fn timed<R, F>(tasks: usize, duration: Duration, mut task: impl FnMut(usize, Instant) -> F) -> Window
where
    R: Runtime,
    F: Future<Output = u64> + 'static,
{
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    let handles: Vec<_> = (0..tasks).map(|number| R::spawn(task(number, until))).collect();
    let mut ops = 0;
    for handle in handles {
        ops += handle.await;
    }
    clock.stop(ops)
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
