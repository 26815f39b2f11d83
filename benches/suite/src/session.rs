//! One row over all candidates: their windows take turns (A B C A B C …), so that what happens to the machine meanwhile
//! happens to all of them.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::awake::Awake;
use crate::candidate::Candidate;
use crate::contestant::Contestant;
use crate::counts::{Counters, Counts};
use crate::cpus::Cpus;
use crate::generator::Generator;
use crate::load::{Load, Target};
use crate::plan::{Drive, Pace, Row};
use crate::progress::Progress;
use crate::report::{Entry, Latency};
use crate::stats::Sample;
use crate::sys;
use crate::work::Work;
use crate::wrk;

/// A candidate that uses more of its CPU than this while it has nothing to do would disturb the others.
const RESTLESS_FROM: f64 = 0.05;

pub struct Session {
    pub cpus: Cpus,
    pub pace: Pace,
    /// What rows of files read.
    pub file: PathBuf,
    generator: Option<Generator>,
    generator_failure: String,
}

struct Racer<'a> {
    candidate: &'a Candidate,
    contestant: Option<Contestant>,
    port: u16,
    load: Option<Load>,
    samples: Vec<Sample>,
    failure: Option<String>,
    restless: bool,
    counts: Vec<Counts>,
    /// Everything done in the last window, also what does not count for the times.
    all_ops: u64,
    /// Memory that each connection took, in bytes.
    connection_bytes: Option<u64>,
    /// The same of tasks.
    task_bytes: Option<u64>,
}

impl Session {
    pub fn new(cpus: Cpus, pace: Pace, file: PathBuf) -> Session {
        let mut session = Session { cpus, pace, file, generator: None, generator_failure: String::new() };
        session.renew_generator();
        session
    }

    fn renew_generator(&mut self) {
        match Generator::new() {
            Ok(generator) => self.generator = Some(generator),
            Err(error) => self.generator_failure = format!("the generator got no io_uring: {error}"),
        }
    }

    /// Why the row cannot be measured here, if it cannot.
    pub fn obstacle(&self, row: &Row) -> Option<String> {
        match row.drive {
            Drive::Wrk { .. } if !wrk::is_installed() => Some("wrk is not installed".into()),
            Drive::Generator { .. } if self.generator.is_none() => Some(self.generator_failure.clone()),
            _ => None,
        }
    }

    pub fn measure(&mut self, row: &Row, candidates: &[&Candidate], progress: &mut Progress) -> Vec<Entry> {
        let _awake = matches!(row.work, Work::Wake { awake: true }).then(|| Awake::keep(&self.cpus));
        let mut racers: Vec<Racer> = candidates
            .iter()
            .filter(|candidate| (candidate.can)(&row.work))
            .map(|&candidate| self.start(row, candidate))
            .collect();
        if self.pace != Pace::Smoke {
            find_restless(&mut racers);
        }
        let (mut calm, mut restless): (Vec<_>, Vec<_>) = racers.drain(..).partition(|racer| !racer.restless);
        self.race(row, &mut calm, progress);
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        let place = |racer: &Racer| candidates.iter().position(|other| other.name == racer.candidate.name).unwrap();
        entries.extend(calm.into_iter().map(|racer| (place(&racer), racer.finish())));
        for racer in &mut restless {
            // Started again when it is its turn, alone.
            racer.contestant = None;
            racer.load = None;
        }
        for racer in restless.into_iter().take_while(|_| !sys::interrupted()) {
            let mut alone = [self.start(row, racer.candidate)];
            alone[0].restless = true;
            self.race(row, &mut alone, progress);
            let [racer] = alone;
            entries.push((place(&racer), racer.finish()));
        }
        entries.sort_by_key(|(place, _)| *place);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn start<'a>(&self, row: &Row, candidate: &'a Candidate) -> Racer<'a> {
        let mut racer = Racer {
            candidate,
            contestant: None,
            port: 0,
            load: None,
            samples: Vec::new(),
            failure: None,
            restless: false,
            counts: Vec::new(),
            all_ops: 0,
            connection_bytes: None,
            task_bytes: None,
        };
        if let Err(failure) = racer.start(row, &self.file, &self.cpus) {
            racer.fail(failure);
        }
        racer
    }

    fn race(&mut self, row: &Row, racers: &mut [Racer], progress: &mut Progress) {
        let (windows, duration) = match row.drive {
            Drive::Wrk { .. } => (self.pace.wrk_windows(), Duration::from_secs(1)),
            _ => (self.pace.windows(), self.pace.window()),
        };
        for racer in racers.iter_mut() {
            if !matches!(row.drive, Drive::Wrk { .. }) {
                let _ = self.window(row, racer, self.pace.warm_up());
            }
        }
        for number in 0..windows {
            if sys::interrupted() {
                return;
            }
            for turn in 0..racers.len() {
                // Nobody is always behind the same one.
                let racer = &mut racers[(turn + number) % racers.len()];
                progress.show(&row.title, racer.candidate.name, number + 1, windows);
                if let Some(sample) = self.window(row, racer, duration) {
                    racer.samples.push(sample);
                }
                progress.done(duration);
            }
        }
        for racer in racers.iter_mut().take_while(|_| !sys::interrupted()) {
            progress.show(&row.title, racer.candidate.name, windows, windows);
            for _ in 0..self.pace.counted_windows() {
                self.count(row, racer);
            }
        }
    }

    /// One more window, which is counted instead of timed.
    fn count(&mut self, row: &Row, racer: &mut Racer) {
        let Some(contestant) = &mut racer.contestant else { return };
        let counters = Counters::on(contestant.pid(), self.cpus.server);
        if let Err(failure) = contestant.count_allocations() {
            return racer.fail(failure);
        }
        if self.window(row, racer, self.pace.counted()).is_none() {
            return;
        }
        let allocations = racer.contestant.as_mut().map(Contestant::counted_allocations);
        match allocations.transpose() {
            // Servers and others that take orders by a thread of their own: their own calls for it are a few of thousands.
            Ok(allocations) => racer.counts.push(counters.per_op(racer.all_ops, allocations)),
            Err(failure) => racer.fail(failure),
        }
    }

    /// A window of one; `None` if it failed, now or before.
    fn window(&mut self, row: &Row, racer: &mut Racer, duration: Duration) -> Option<Sample> {
        let contestant = racer.contestant.as_mut()?;
        let result = match row.drive {
            Drive::Itself => contestant.window(duration).map(|window| {
                racer.all_ops = window.ops + window.before;
                racer.task_bytes = window.task_bytes;
                let (ops, wall_ns, cpu_ns) = (window.ops, window.wall_ns, window.cpu_ns);
                Sample { ops, wall_ns, cpu_ns, generator_busy: None }
            }),
            Drive::Wrk { connections } => wrk::second(racer.port, connections, contestant.pid()).inspect(|sample| {
                racer.all_ops = sample.ops;
            }),
            Drive::Generator { .. } => self.drive(racer, duration),
        };
        result.map_err(|failure| racer.fail(failure)).ok()
    }

    fn drive(&mut self, racer: &mut Racer, duration: Duration) -> Result<Sample, String> {
        let (Some(generator), Some(contestant)) = (&mut self.generator, &mut racer.contestant) else {
            return Err(self.generator_failure.clone());
        };
        let load = racer.load.as_mut().expect("connected when it was started");
        let crashed = |_| "crashed".to_owned();
        let before = sys::cpu_ns_of(contestant.pid()).map_err(crashed)?;
        let start = Instant::now();
        match generator.drive(load, duration) {
            Ok(driven) => {
                // Both sides over the whole of it, also the last answers, which are not counted as operations.
                let cpu_ns = sys::cpu_ns_of(contestant.pid()).map_err(crashed)? - before;
                let whole_ns = start.elapsed().as_nanos() as f64;
                let answered = driven.ops + driven.late_ops;
                racer.all_ops = answered;
                Ok(Sample {
                    ops: driven.ops,
                    wall_ns: driven.wall_ns,
                    cpu_ns: (cpu_ns as f64 * driven.ops as f64 / answered.max(1) as f64) as u64,
                    generator_busy: Some(driven.own_cpu_ns as f64 / whole_ns),
                })
            }
            Err(error) => {
                let failure = contestant.explain(&error);
                // The kernel may still write for it.
                std::mem::forget(racer.load.take());
                std::mem::forget(self.generator.take());
                self.renew_generator();
                Err(failure)
            }
        }
    }
}

impl Racer<'_> {
    fn start(&mut self, row: &Row, file: &Path, cpus: &Cpus) -> Result<(), String> {
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
            self.port = target.port;
        }
        if let Drive::Generator { connections, depth } = row.drive {
            let before = sys::resident_bytes(contestant.pid());
            let load = Load::connect(&target, connections, depth);
            if matches!(row.work, Work::Unix { .. }) {
                let _ = std::fs::remove_file(&target.path);
            }
            self.load = Some(load.map_err(|error| contestant.explain(&error))?);
            let grown =
                sys::resident_bytes(contestant.pid()).zip(before).map(|(after, before)| after - before.min(after));
            // Of fewer, pages and what is made once would be most of it.
            self.connection_bytes = grown.filter(|_| connections >= 500).map(|grown| grown / connections as u64);
        }
        self.contestant = Some(contestant);
        Ok(())
    }

    fn fail(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
        self.contestant = None;
    }

    fn finish(self) -> Entry {
        let mut entry = Entry::new(self.candidate.name, self.samples, self.failure);
        entry.restless = self.restless;
        (entry.counts, entry.counts_range) = Counts::summary(&self.counts).unzip();
        entry.connection_bytes = self.connection_bytes;
        entry.task_bytes = self.task_bytes;
        entry.latency = self.load.filter(|load| !load.latency.is_empty()).map(|load| Latency {
            p50: load.latency.value_at_quantile(0.5),
            p90: load.latency.value_at_quantile(0.9),
            p99: load.latency.value_at_quantile(0.99),
            p999: load.latency.value_at_quantile(0.999),
            max: load.latency.max(),
        });
        entry
    }
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

/// Marks those that work without having anything to do.
fn find_restless(racers: &mut [Racer]) {
    let used = |racer: &Racer| racer.contestant.as_ref().and_then(|contestant| sys::cpu_ns_of(contestant.pid()).ok());
    std::thread::sleep(Duration::from_millis(50));
    let before: Vec<_> = racers.iter().map(used).collect();
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(100));
    for (racer, before) in racers.iter_mut().zip(before) {
        if let (Some(before), Some(after)) = (before, used(racer)) {
            racer.restless = (after - before) as f64 > start.elapsed().as_nanos() as f64 * RESTLESS_FROM;
        }
    }
}
