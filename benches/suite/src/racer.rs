//! A candidate in a row: its process, what is connected to it, and what was measured.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::candidate::Candidate;
use crate::contestant::Contestant;
use crate::counts::Counts;
use crate::cpus::Cpus;
use crate::load::{Load, Target, exchange, histogram, pattern};
use crate::plan::{Drive, Row};
use crate::report::{Entry, Latency};
use crate::stats::Sample;
use crate::storm::Storm;
use crate::sys;
use crate::work::Work;

pub struct Racer<'a> {
    pub candidate: &'a Candidate,
    pub contestant: Option<Contestant>,
    target: Option<Target>,
    pub load: Option<Load>,
    /// Of mixed work: what goes on beside it.
    pub beside: Option<Load>,
    pub storm: Option<Storm>,
    pub samples: Vec<Sample>,
    pub failure: Option<String>,
    pub restless: bool,
    pub counts: Vec<Counts>,
    /// Everything done in the last window, also what does not count for the times.
    pub all_ops: u64,
    /// Memory that each connection took, in bytes.
    connection_bytes: Option<u64>,
    /// The same of tasks.
    pub task_bytes: Option<u64>,
    /// And of connections in the kernel.
    kernel_bytes: Vec<u64>,
    latency: Option<Latency>,
    /// How late an open loop was.
    pub lag: Histogram<u64>,
    /// What was done beside it, and in what time.
    pub beside_done: (u64, Duration),
    beside_per_s: Option<f64>,
}

impl<'a> Racer<'a> {
    pub fn of(candidate: &'a Candidate) -> Racer<'a> {
        Racer {
            candidate,
            contestant: None,
            target: None,
            load: None,
            beside: None,
            storm: None,
            samples: Vec::new(),
            failure: None,
            restless: false,
            counts: Vec::new(),
            all_ops: 0,
            connection_bytes: None,
            task_bytes: None,
            kernel_bytes: Vec::new(),
            latency: None,
            lag: histogram(),
            beside_done: Default::default(),
            beside_per_s: None,
        }
    }

    pub fn start(&mut self, row: &Row, file: &Path, cpus: &Cpus) -> Result<(), String> {
        let mut target = Target { work: row.work, port: 0, path: file.to_owned(), upstream: None };
        match &mut target.work {
            Work::Unix { .. } => target.path = socket_path(),
            Work::Proxy { upstream, .. } => {
                let listener = listener().map_err(|error| error.to_string())?;
                *upstream = listener.local_addr().map_err(|error| error.to_string())?.port();
                target.upstream = Some(listener);
            }
            _ => {}
        }
        let mut contestant = Contestant::start(self.candidate, target.work, &target.path, cpus)?;
        if row.work.is_server() {
            target.port = contestant.port()?;
        }
        self.target = Some(target);
        self.contestant = Some(contestant);
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.target.as_ref().map_or(0, |target| target.port)
    }

    /// Connects as the row wants it.
    pub fn connect(&mut self, row: &Row) -> Result<(), String> {
        let connected = self.try_connect(row);
        if let (Work::Unix { .. }, Some(target)) = (row.work, &self.target) {
            // Whoever is connected needs it no more, and whoever is not never will.
            let _ = std::fs::remove_file(&target.path);
        }
        connected.map_err(|error| self.explain(&error))
    }

    fn try_connect(&mut self, row: &Row) -> io::Result<()> {
        let (Some(target), Some(contestant)) = (&self.target, &self.contestant) else { return Ok(()) };
        let before = sys::resident_bytes(contestant.pid());
        match row.drive {
            Drive::Itself | Drive::Wrk { .. } => return Ok(()),
            Drive::Storm { at_once } => {
                self.storm = Some(Storm::prepare(target, at_once)?);
                return Ok(());
            }
            Drive::Generator { connections, depth } => connect(&mut self.load, target, connections, depth)?,
            Drive::Idle { connections } => connect(&mut self.load, target, connections, 1)?,
            Drive::Open { connections, files: 0, .. } => connect(&mut self.load, target, connections, 1)?,
            Drive::Open { connections, files, .. } => {
                let load = self.load.insert(Load::of(pattern(ECHO_BESIDE_FILES), 1));
                load.connect(target, connections)?;
                connect(&mut self.beside, target, files, 1)?;
            }
        }
        let grown = sys::resident_bytes(contestant.pid()).zip(before).map(|(after, before)| after - before.min(after));
        let connections = row.drive.connections();
        // Of fewer, pages and what is made once would be most of it. What is used again later takes nothing any more.
        let grown = grown.filter(|_| connections >= 500).map(|grown| grown / connections as u64);
        self.connection_bytes = self.connection_bytes.or(grown);
        Ok(())
    }

    /// For a turn of a crowd.
    pub fn gather(&mut self, row: &Row) {
        if self.contestant.is_some()
            && let Err(failure) = self.connect(row)
        {
            self.fail(failure);
        }
    }

    /// After it: others shall not be disturbed by what is still to be closed.
    pub fn scatter(&mut self) {
        if let Some(load) = &mut self.load {
            load.disconnect();
        }
        let Some(contestant) = &self.contestant else { return };
        let (until, used) = (Instant::now() + Duration::from_secs(2), || sys::cpu_ns_of(contestant.pid()).unwrap_or(0));
        let mut before = used();
        while Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            let now = used();
            if now - before < 1_000_000 {
                return;
            }
            before = now;
        }
    }

    /// What its idle connections weigh. Each has been used once.
    pub fn weigh(&mut self, row: &Row) -> Result<Sample, String> {
        let pid = self.contestant.as_ref().ok_or("not there")?.pid();
        let (kernel, start) = (sys::kernel_bytes(), Instant::now());
        let cpu_ns = sys::cpu_ns_of(pid).unwrap_or(0);
        self.connection_bytes = None;
        self.connect(row)?;
        let (wall_ns, ops) = (start.elapsed().as_nanos() as u64, row.drive.connections() as u64);
        // The rest of the machine may have given back more than that.
        let grown = sys::kernel_bytes().zip(kernel).and_then(|(after, before)| Some(after.checked_sub(before)? / ops));
        self.kernel_bytes.extend(grown);
        let cpu_ns = sys::cpu_ns_of(pid).map_err(|_| "crashed")? - cpu_ns;
        Ok(Sample { ops, wall_ns, cpu_ns, bytes: self.connection_bytes, ..Sample::default() })
    }

    pub fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
        self.contestant = None;
    }

    pub fn explain(&mut self, error: &io::Error) -> String {
        self.contestant.as_mut().map_or_else(|| error.to_string(), |contestant| contestant.explain(error))
    }

    /// Until it is started again.
    pub fn end(&mut self) {
        self.contestant = None;
        (self.load, self.beside, self.storm, self.target) = (None, None, None, None);
    }

    /// What the kernel may still write for stays.
    pub fn leak(&mut self) {
        std::mem::forget((self.load.take(), self.beside.take(), self.storm.take()));
    }

    fn latencies(&mut self) -> Option<&mut Histogram<u64>> {
        let storm = self.storm.as_mut().map(|storm| &mut storm.latency);
        self.load.as_mut().map(|load| &mut load.latency).or(storm)
    }

    /// Those of the warm-up.
    pub fn forget_latencies(&mut self) {
        if self.samples.is_empty()
            && let Some(latency) = self.latencies()
        {
            latency.reset();
            self.lag.reset();
            self.beside_done = Default::default();
        }
    }

    /// Those of all windows so far; what comes after is not timed.
    pub fn take_latencies(&mut self) {
        let (beside, time) = self.beside_done;
        self.beside_per_s = self.beside.is_some().then(|| beside as f64 / time.as_secs_f64().max(1e-9));
        let latency = self.latencies().filter(|latency| !latency.is_empty());
        self.latency = latency.map(|latency| Latency {
            p50: latency.value_at_quantile(0.5),
            p90: latency.value_at_quantile(0.9),
            p99: latency.value_at_quantile(0.99),
            p999: latency.value_at_quantile(0.999),
            max: latency.max(),
        });
    }

    pub fn finish(mut self) -> Entry {
        if self.latency.is_none() {
            self.take_latencies();
        }
        let mut entry = Entry::new(self.candidate.name, self.samples, self.failure);
        entry.restless = self.restless;
        (entry.counts, entry.counts_range) = Counts::summary(&self.counts).unzip();
        // Where it is what the row is about it does not stand beside it.
        entry.connection_bytes = self.connection_bytes.filter(|_| entry.bytes.is_none());
        entry.task_bytes = self.task_bytes;
        self.kernel_bytes.sort_unstable();
        entry.kernel_bytes = self.kernel_bytes.get(self.kernel_bytes.len() / 2).copied();
        entry.latency = self.latency;
        entry.lag_p99_ns = (!self.lag.is_empty()).then(|| self.lag.value_at_quantile(0.99));
        entry.beside_per_s = self.beside_per_s;
        entry
    }
}

/// What goes back and forth beside files.
const ECHO_BESIDE_FILES: usize = 64;

/// Adds connections; keeps the latencies of earlier ones.
fn connect(load: &mut Option<Load>, target: &Target, connections: usize, depth: usize) -> io::Result<()> {
    if load.is_none() {
        *load = Some(Load::of(exchange(target, depth)?, depth));
    }
    load.as_mut().expect("just made").connect(target, connections)
}

/// What a proxy connects to. Its backlog is 4,096 (std's own, since 1.65, or more).
fn listener() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// Where nothing is yet.
fn socket_path() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("ringtoss-bench-{}-{number}.sock", std::process::id()))
}
