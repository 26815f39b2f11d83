//! One row over all candidates: their windows take turns (A B C A B C …), so that what happens to the machine meanwhile
//! happens to all of them.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::awake::Awake;
use crate::candidate::Candidate;
use crate::contestant::Contestant;
use crate::counts::Counters;
use crate::cpus::Cpus;
use crate::ending;
use crate::generator::{Driven, Generator};
use crate::places;
use crate::plan::{Drive, Pace, Rate, Row};
use crate::progress::Progress;
use crate::racer::Racer;
use crate::report::Entry;
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
    /// How many files may be open.
    file_limit: u64,
    /// Requests a second of the open loop that is being measured.
    pub rate: f64,
}

impl Session {
    pub fn new(cpus: Cpus, pace: Pace, file: PathBuf, file_limit: u64) -> Session {
        let (generator, generator_failure) = (None, String::new());
        let mut session = Session { cpus, pace, file, generator, generator_failure, file_limit, rate: 0.0 };
        session.renew_generator();
        session
    }

    fn renew_generator(&mut self) {
        match Generator::new() {
            Ok(generator) => self.generator = Some(generator),
            Err(error) => {
                self.generator_failure = format!("it is driven from a ring, and there is no io_uring: {error}");
                self.generator = Some(Generator::without_ring());
            }
        }
    }

    /// Why the row cannot be measured here, if it cannot.
    pub fn obstacle(&self, row: &Row) -> Option<String> {
        let connections = row.drive.connections() as u64;
        // Of both sides, for all else; the suite has pipes to every child.
        let files = connections + 256;
        if files > self.file_limit {
            let limit = self.file_limit;
            return Some(format!("the limit on open files (ulimit -Hn) is {limit}, and it takes {files}"));
        }
        // To one address, each connection has a port of its own.
        let ports = sys::local_ports().filter(|&ports| connections + 256 > ports);
        if let (Some(ports), Work::Echo { .. }) = (ports, row.work) {
            return Some(format!("there are {ports} local ports (net.ipv4.ip_local_port_range), and it takes {files}"));
        }
        match row.drive {
            Drive::Wrk { .. } if !wrk::is_installed() => Some("wrk is not installed".into()),
            Drive::Itself if matches!(row.work, Work::Blocks(work) if work.direct) => {
                places::direct_obstacle(&self.file)
            }
            Drive::Storm { .. } | Drive::Open { .. } if !self.generator.as_ref().is_some_and(Generator::has_ring) => {
                Some(self.generator_failure.clone())
            }
            _ => None,
        }
    }

    pub fn measure(&mut self, row: &Row, candidates: &[&Candidate], progress: &mut Progress) -> Vec<Entry> {
        let mut entries = self.measure_all(row, candidates, progress);
        if !self.generator.as_ref().is_some_and(Generator::has_ring) {
            // Said of the machine already, at length.
            let failures = entries.iter_mut().filter_map(|entry| entry.failure.as_mut());
            failures
                .filter(|failure| speaks_of_no_ring(failure))
                .for_each(|failure| *failure = "needs io_uring".into());
        }
        entries
    }

    fn measure_all(&mut self, row: &Row, candidates: &[&Candidate], progress: &mut Progress) -> Vec<Entry> {
        self.rate = 0.0;
        if matches!(row.drive, Drive::Idle { .. }) {
            return self.count_idle(row, candidates, progress);
        }
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
            racer.end();
        }
        for racer in restless.into_iter().take_while(|_| !ending::is_asked_for()) {
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
        let mut racer = Racer::of(candidate);
        let started = racer.start(row, &self.file, &self.cpus);
        if let Err(failure) = started.and_then(|()| if row.drive.is_crowd() { Ok(()) } else { racer.connect(row) }) {
            racer.fail(failure);
        }
        racer
    }

    fn race(&mut self, row: &Row, racers: &mut [Racer], progress: &mut Progress) {
        let (windows, duration) = match row.drive {
            Drive::Wrk { .. } => (self.pace.wrk_windows(), Duration::from_secs(1)),
            _ => (row.windows(self.pace), row.window(self.pace)),
        };
        self.agree_on_rate(row, racers);
        // A crowd connects for its turn, so a turn is several windows.
        let turns = if row.drive.is_crowd() { self.pace.turns() } else { windows };
        for racer in racers.iter_mut().filter(|_| !row.drive.is_crowd()) {
            self.warm_up(row, racer);
        }
        for number in 0..turns {
            if ending::is_asked_for() {
                return;
            }
            for turn in 0..racers.len() {
                // Nobody is always behind the same one.
                let racer = &mut racers[(turn + number) % racers.len()];
                progress.show(&row.title, racer.candidate.name, number * windows / turns + 1, windows);
                if row.drive.is_crowd() {
                    racer.gather(row);
                    self.warm_up(row, racer);
                }
                for _ in 0..windows / turns {
                    if let Some(sample) = self.window(row, racer, duration) {
                        racer.samples.push(sample);
                    }
                    progress.done(duration);
                }
                if row.drive.is_crowd() {
                    if number + 1 == turns {
                        self.counts(row, racer);
                    }
                    racer.scatter();
                }
            }
        }
        for racer in racers.iter_mut().filter(|_| !row.drive.is_crowd()).take_while(|_| !ending::is_asked_for()) {
            progress.show(&row.title, racer.candidate.name, windows, windows);
            self.counts(row, racer);
        }
    }

    fn warm_up(&mut self, row: &Row, racer: &mut Racer) {
        if !matches!(row.drive, Drive::Wrk { .. }) {
            let _ = self.window(row, racer, self.pace.warm_up());
            racer.forget_latencies();
        }
    }

    fn counts(&mut self, row: &Row, racer: &mut Racer) {
        racer.take_latencies();
        let Some(contestant) = &racer.contestant else { return };
        let mut counters = Counters::on(contestant.pid(), self.cpus.server);
        for _ in 0..row.counted_windows(self.pace) {
            self.count(row, racer, &mut counters);
        }
    }

    /// How many requests a second an open loop sends. It is the same for those that are measured alone afterwards.
    fn agree_on_rate(&mut self, row: &Row, racers: &mut [Racer]) {
        let Drive::Open { rate, .. } = row.drive else { return };
        let percent = match rate {
            Rate::PerSecond(rate) => return self.rate = f64::from(rate),
            Rate::OfSlowest { .. } if self.rate > 0.0 => return,
            Rate::OfSlowest { percent } => percent,
        };
        let mut slowest = f64::INFINITY;
        for racer in racers {
            // The better of two: whoever was interrupted is not slow.
            let rates: Vec<f64> = (0..2).filter_map(|_| self.closed_rate(row, racer)).collect();
            slowest = rates.into_iter().reduce(f64::max).map_or(slowest, |rate| slowest.min(rate));
        }
        // If nobody answers there is none.
        self.rate = if slowest.is_finite() { slowest * f64::from(percent) / 100.0 } else { 0.0 };
    }

    fn closed_rate(&mut self, row: &Row, racer: &mut Racer) -> Option<f64> {
        let duration = row.window(self.pace) / 2;
        let driven = self.drive(racer, |generator, racer| {
            let load = racer.load.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            generator.drive(load, duration)
        });
        let sample = driven.map_err(|failure| racer.fail(failure)).ok()?;
        Some(sample.ops as f64 * 1e9 / sample.wall_ns.max(1) as f64)
    }

    /// One more window, which is counted instead of timed.
    fn count(&mut self, row: &Row, racer: &mut Racer, counters: &mut Counters) {
        let Some(contestant) = &mut racer.contestant else { return };
        counters.begin();
        if let Err(failure) = contestant.count_allocations() {
            return racer.fail(failure);
        }
        if self.window(row, racer, self.pace.counted()).is_none() {
            return;
        }
        let allocations = racer.contestant.as_mut().map(Contestant::counted_allocations);
        match allocations.transpose() {
            // Servers and others that take orders by a thread of their own: their own calls for it are a few of thousands.
            Ok(allocations) => {
                let mut counts = counters.per_op(racer.all_ops, allocations);
                if row.work.has_errands() {
                    counts.system_calls = None;
                }
                racer.counts.push(counts);
            }
            Err(failure) => racer.fail(failure),
        }
    }

    /// A window of one; `None` if it failed, now or before.
    fn window(&mut self, row: &Row, racer: &mut Racer, duration: Duration) -> Option<Sample> {
        let port = racer.port();
        let contestant = racer.contestant.as_mut()?;
        let not_connected = || io::Error::from(io::ErrorKind::NotConnected);
        let result = match row.drive {
            Drive::Itself => contestant.window(duration).map(|window| {
                racer.all_ops = window.ops + window.before;
                racer.task_bytes = window.task_bytes;
                let (ops, wall_ns, cpu_ns) = (window.ops, window.wall_ns, window.cpu_ns);
                Sample { ops, wall_ns, cpu_ns, ..Sample::default() }
            }),
            Drive::Wrk { connections } => wrk::second(port, connections, contestant.pid()).inspect(|sample| {
                racer.all_ops = sample.ops;
            }),
            Drive::Generator { .. } => self.drive(racer, |generator, racer| {
                generator.drive(racer.load.as_mut().ok_or_else(not_connected)?, duration)
            }),
            Drive::Storm { .. } => self.drive(racer, |generator, racer| {
                generator.storm(racer.storm.as_mut().ok_or_else(not_connected)?, duration)
            }),
            Drive::Open { .. } => self.window_open(racer, duration),
            Drive::Idle { .. } => unreachable!("there are no windows"),
        };
        result.map_err(|failure| racer.fail(failure)).ok()
    }

    fn window_open(&mut self, racer: &mut Racer, duration: Duration) -> Result<Sample, String> {
        let (rate, mut p99_ns) = (self.rate, None);
        if rate <= 0.0 {
            return Err("there is no rate to send at".into());
        }
        let sample = self.drive(racer, |generator, racer| {
            let load = racer.load.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let mut opened = generator.drive_open(load, racer.beside.as_mut(), rate, duration)?;
            p99_ns = Some(opened.latency.value_at_quantile(0.99));
            load.latency.add(&opened.latency).expect("the same bounds");
            racer.lag.add(&opened.lag).expect("the same bounds");
            racer.beside_done.0 += opened.beside;
            racer.beside_done.1 += duration;
            opened.driven.ops += opened.beside;
            Ok(opened.driven)
        })?;
        Ok(Sample { p99_ns, ..sample })
    }

    /// Has the generator do something with a server, and looks at what it costs.
    fn drive(
        &mut self,
        racer: &mut Racer,
        with: impl FnOnce(&mut Generator, &mut Racer) -> io::Result<Driven>,
    ) -> Result<Sample, String> {
        let Some(generator) = &mut self.generator else { return Err(self.generator_failure.clone()) };
        let pid = racer.contestant.as_ref().ok_or("not there")?.pid();
        let crashed = |_| "crashed".to_owned();
        let before = sys::cpu_ns_of(pid).map_err(crashed)?;
        let start = Instant::now();
        match with(generator, racer) {
            Ok(driven) => {
                // Both sides over the whole of it, also the last answers, which are not counted as operations.
                let cpu_ns = sys::cpu_ns_of(pid).map_err(crashed)? - before;
                let whole_ns = start.elapsed().as_nanos() as f64;
                let answered = driven.ops + driven.late_ops;
                racer.all_ops = answered;
                Ok(Sample {
                    ops: driven.ops,
                    wall_ns: driven.wall_ns,
                    cpu_ns: (cpu_ns as f64 * driven.ops as f64 / answered.max(1) as f64) as u64,
                    generator_busy: Some(driven.own_cpu_ns as f64 / whole_ns),
                    ..Sample::default()
                })
            }
            Err(error) => {
                let failure = racer.explain(&error);
                // The kernel may still write for them.
                racer.leak();
                std::mem::forget(self.generator.take());
                self.renew_generator();
                Err(failure)
            }
        }
    }

    /// Memory: who has so many connections has them for itself, and is then gone.
    fn count_idle(&mut self, row: &Row, candidates: &[&Candidate], progress: &mut Progress) -> Vec<Entry> {
        let rounds = self.pace.idle_rounds();
        let able = candidates.iter().filter(|candidate| (candidate.can)(&row.work));
        let mut racers: Vec<Racer> = able.map(|&candidate| Racer::of(candidate)).collect();
        for round in 0..rounds {
            for racer in
                racers.iter_mut().filter(|racer| racer.failure.is_none()).take_while(|_| !ending::is_asked_for())
            {
                progress.show(&row.title, racer.candidate.name, round + 1, rounds);
                let started = racer.start(row, &self.file, &self.cpus);
                match started.and_then(|()| racer.weigh(row)) {
                    Ok(sample) => racer.samples.push(sample),
                    Err(failure) => racer.fail(failure),
                }
                racer.end();
            }
        }
        racers.into_iter().map(Racer::finish).collect()
    }
}

/// Whether a crash is that of one who got no ring: by name, or by what the kernel said.
fn speaks_of_no_ring(failure: &str) -> bool {
    let errors = ["io_uring", "Operation not permitted", "Function not implemented", "os error 1)", "os error 38)"];
    errors.iter().any(|error| failure.contains(error))
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
