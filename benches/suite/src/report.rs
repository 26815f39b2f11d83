//! What a run leaves: machine, candidates, rows. This is the JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::candidate::{Candidate, Kind};
use crate::counts::Counts;
use crate::machine::busy::Disturbance;
use crate::machine::{self, Machine};
use crate::plan::{Drive, Figure, Row};
use crate::stats::{self, Sample, Summary};
use crate::table;

/// Raised when the meaning of a field changes.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub pace: String,
    pub machine: Machine,
    /// File systems, of what and where.
    #[serde(default)]
    pub places: Vec<String>,
    pub candidates: Vec<Contender>,
    pub rows: Vec<Measured>,
    /// What of ringtoss was measured, as git names it.
    #[serde(default)]
    pub revision: String,
    /// Options that chose what was measured.
    #[serde(default)]
    pub options: Vec<String>,
    /// Rows that could not be measured here.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What building with each runtime costs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<Size>,
}

/// A small program, built from nothing with one runtime.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Size {
    pub name: String,
    /// Beside the program itself.
    pub crates: usize,
    pub seconds: f64,
    /// Of the binary, stripped.
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    pub id: String,
    pub title: String,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contender {
    pub name: String,
    pub package: String,
    pub version: String,
    pub kind: Kind,
    pub setup: String,
}

impl From<&Candidate> for Contender {
    fn from(candidate: &Candidate) -> Contender {
        Contender {
            name: candidate.name.into(),
            package: candidate.package.into(),
            version: candidate.version(),
            kind: candidate.kind,
            setup: candidate.setup.into(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub id: String,
    pub group: String,
    pub title: String,
    pub unit: String,
    /// `cpu`, `time`, `p99` or `bytes`: what decides who is best.
    pub figure: String,
    /// In an open loop: requests a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Below this difference, as a part, two are the same.
    pub noise_floor: f64,
    /// What else used its CPUs meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbance: Option<Disturbance>,
    /// The run was interrupted in it, so it has fewer windows; resuming measures it anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// How long measuring it took, all in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub candidate: String,
    /// How it crashed or hung. What was measured before stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// It used CPU time while it had nothing to do, so it was measured after the others instead of among them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restless: bool,
    /// CPU nanoseconds per operation.
    pub cpu_ns: Option<Summary>,
    /// Nanoseconds per operation.
    pub time_ns: Option<Summary>,
    /// In an open loop: the 99th percentile of latency, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<Summary>,
    /// Where memory decides: bytes each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Summary>,
    /// The same of the kernel's memory, both ends of a connection included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_bytes: Option<u64>,
    /// In an open loop: the 99th percentile of how late the generator itself was, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_p99_ns: Option<u64>,
    /// Of mixed work: what was done beside what the row is about, a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The median over the windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_busy: Option<f64>,
    /// Memory that each connection took in the server's process, in bytes, buffers included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_bytes: Option<u64>,
    /// Memory that each task took, as the allocator was asked for it, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_bytes: Option<u64>,
    /// Per operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// How far apart the windows' counts were, of which those are the medians.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_range: Option<Counts>,
    pub samples: Vec<Sample>,
}

/// Of requests, in nanoseconds: in a closed loop from when they were sent, in an open one from when they were due.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// A generator that is busier than this may have been what limits the throughput.
pub const GENERATOR_LIMITS_AT: f64 = 0.97;

impl Measured {
    pub fn new(row: &Row, entries: Vec<Entry>) -> Measured {
        Measured {
            id: row.id.clone(),
            group: row.group.name().into(),
            title: row.title.clone(),
            unit: row.unit.into(),
            figure: match row.figure {
                Figure::Cpu => "cpu",
                Figure::Time => "time",
                Figure::P99 => "p99",
                Figure::Bytes => "bytes",
            }
            .into(),
            rate: None,
            noise_floor: match row.drive {
                Drive::Wrk { .. } | Drive::Open { .. } => 0.1,
                _ => 0.03,
            },
            disturbance: None,
            partial: false,
            seconds: None,
            entries,
        }
    }

    /// What others used of its CPUs. For as much as a few windows can tell, that is noise: differences have to be larger then.
    pub fn disturbed(&mut self, by: Disturbance) {
        const FLOOR_OF_OTHERS: f64 = 0.1;
        if by.note().is_some() {
            self.noise_floor += (by.others + by.stolen) * FLOOR_OF_OTHERS;
        }
        self.disturbance = Some(by);
    }

    /// In an open loop: so many requests a second.
    pub fn at_rate(&mut self, rate: f64) {
        self.rate = Some(rate);
        if !self.title.contains("a second") {
            self.title.push_str(&format!(" ({} a second)", table::thousands(rate)));
        }
    }

    /// Who took part, by name.
    pub fn entry(&self, candidate: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.candidate == candidate)
    }

    /// What decides.
    pub fn figure_of<'a>(&self, entry: &'a Entry) -> Option<&'a Summary> {
        match self.figure.as_str() {
            "cpu" => entry.cpu_ns.as_ref(),
            "p99" => entry.p99_ns.as_ref(),
            "bytes" => entry.bytes.as_ref(),
            _ => entry.time_ns.as_ref(),
        }
    }

    /// A value of what decides, as a reader sees it.
    pub fn show(&self, value: f64) -> String {
        if self.figure == "bytes" { table::bytes(value) } else { table::nanoseconds(value) }
    }

    /// What it is, where it is not CPU time and the row does not say it.
    pub fn figure_note(&self) -> &'static str {
        match self.figure.as_str() {
            "time" => " (time)",
            "p99" => " (p99 latency)",
            _ => "",
        }
    }

    /// The same for round values, without the digits that say nothing.
    pub fn show_round(&self, value: f64) -> String {
        let text = self.show(value);
        match text.split_once(' ') {
            Some((number, unit)) if number.contains('.') => {
                format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        }
    }

    /// The best that is no limit.
    pub fn best(&self, report: &Report) -> Option<&Summary> {
        let runtimes = self.entries.iter().filter(|entry| report.kind(&entry.candidate) != Kind::Limit);
        runtimes.filter_map(|entry| self.figure_of(entry)).min_by(|a, b| a.best_quartile.total_cmp(&b.best_quartile))
    }

    pub fn is_best(&self, report: &Report, entry: &Entry) -> bool {
        match (self.figure_of(entry), self.best(report)) {
            (Some(own), Some(best)) => own.ties(best, self.noise_floor) || own.best_quartile <= best.best_quartile,
            _ => false,
        }
    }
}

impl Entry {
    pub fn new(candidate: &str, samples: Vec<Sample>, failure: Option<String>) -> Entry {
        let mut busy: Vec<f64> = samples.iter().filter_map(|sample| sample.generator_busy).collect();
        busy.sort_by(f64::total_cmp);
        Entry {
            candidate: candidate.into(),
            failure,
            restless: false,
            cpu_ns: stats::cpu_per_op(&samples),
            time_ns: stats::time_per_op(&samples),
            p99_ns: stats::p99(&samples),
            bytes: stats::bytes(&samples),
            kernel_bytes: None,
            lag_p99_ns: None,
            beside_per_s: None,
            latency: None,
            generator_busy: busy.get(busy.len() / 2).copied(),
            connection_bytes: None,
            task_bytes: None,
            counts: None,
            counts_range: None,
            samples,
        }
    }
}

impl Entry {
    /// What was measured beside the rest, in words.
    pub fn remarks(&self) -> Vec<String> {
        let kernel = |bytes: u64| format!("and {} in the kernel, for both ends", table::bytes(bytes as f64));
        let beside = |files: f64| format!("beside {} files a second", table::thousands(files));
        let late = || "the generator itself was late".to_owned();
        let remarks = [self.kernel_bytes.map(kernel), self.beside_per_s.map(beside), self.generator_lags().then(late)];
        remarks.into_iter().flatten().collect()
    }

    /// Whether an open loop was so late itself that its latencies say something about it.
    pub fn generator_lags(&self) -> bool {
        let p99 = self.latency.map(|latency| latency.p99);
        self.lag_p99_ns.zip(p99).is_some_and(|(lag, p99)| lag * 4 > p99)
    }
}

impl Report {
    pub fn kind(&self, candidate: &str) -> Kind {
        self.candidates.iter().find(|known| known.name == candidate).map_or(Kind::Peer, |known| known.kind)
    }

    /// A stored result, with figures of every kind.
    #[cfg(test)]
    pub fn example() -> Report {
        Report::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/example.json")).expect("it can be read")
    }

    /// What to type to have the same measured again.
    pub fn command(&self) -> String {
        let mut command = "cargo run --release -p ringtoss-bench --".to_owned();
        let pace = format!("--{}", self.pace);
        let pace = (self.options.is_empty() && self.pace != "normal").then_some(&pace);
        self.options.iter().chain(pace).for_each(|option| command.extend([" ", option]));
        command.trim_end_matches(" --").into()
    }

    /// The same, for one who adds an option.
    pub fn command_with_options(&self) -> String {
        let command = self.command();
        if command.contains(" -- ") { command } else { command + " --" }
    }

    /// Goes on from an earlier run on the same machine.
    pub fn take_over(&mut self, earlier: Report) -> Result<(), String> {
        let machines = [&self.machine, &earlier.machine].map(|machine| (&machine.cpu, &machine.kernel, machine.cpus));
        if machines[0] != machines[1] {
            return Err("the run to be resumed was on another machine or kernel: measure anew".into());
        }
        if self.pace != earlier.pace {
            return Err(format!("the run to be resumed was a {} run: resume it as one", earlier.pace));
        }
        let complete = earlier.rows.iter().filter(|row| !row.partial).count();
        if complete > 0 {
            let date = machine::date(earlier.machine.started_at);
            self.machine.warnings.push(format!("taken over from an earlier run ({date}): {complete} of the rows"));
        }
        if earlier.revision != self.revision && !earlier.revision.is_empty() {
            let revision = &earlier.revision;
            self.machine.warnings.push(format!("ringtoss was that of another revision then ({revision})"));
        }
        // Who is known now comes as it is now.
        let others =
            earlier.candidates.into_iter().filter(|other| self.candidates.iter().all(|own| own.name != other.name));
        let others: Vec<Contender> = others.collect();
        self.candidates.extend(others);
        self.candidates.sort_by_key(|contender| contender.kind as u8);
        self.rows = earlier.rows;
        self.sizes = earlier.sizes;
        Ok(())
    }

    /// A row that was measured whole, for all of these.
    pub fn complete_row<'a>(&self, id: &str, mut candidates: impl Iterator<Item = &'a str>) -> Option<&Measured> {
        let row = self.row(id).filter(|row| !row.partial)?;
        let measured = |name: &str| row.entries.iter().any(|entry| entry.candidate == name);
        candidates.all(measured).then_some(row)
    }

    /// Adds a row, or puts it in the place of one that was there; in the order of the plan.
    pub fn put(&mut self, measured: Measured, plan: &[Row]) {
        self.rows.retain(|row| row.id != measured.id);
        self.rows.push(measured);
        self.rows.sort_by_key(|row| plan.iter().position(|planned| planned.id == row.id));
    }

    pub fn leave_out(&mut self, row: &Row, reason: String) {
        self.left_out.push(LeftOut { id: row.id.clone(), title: row.title.clone(), reason });
    }

    /// What to know before believing the order in the rows; empty for a quiet run.
    pub fn doubt(&self) -> Option<String> {
        let disturbed = |row: &&Measured| row.disturbance.is_some_and(|disturbance| disturbance.note().is_some());
        let count = self.rows.iter().filter(disturbed).count();
        (count > 0).then(|| {
            format!(
                "In {count} of {} rows other processes or the host used the CPUs meanwhile: there more counts as a tie, and the \
                 order may change from run to run.",
                self.rows.len()
            )
        })
    }

    pub fn row(&self, id: &str) -> Option<&Measured> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// Writes it whole or not at all, so that an interrupted run leaves what it had.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("partial");
        fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&draft, path)
    }

    pub fn load(path: &Path) -> Result<Report, String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report: Report = serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        if report.format != FORMAT {
            return Err(format!("{} is of another version of the suite", path.display()));
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, Pace};

    fn anew() -> Report {
        Report { rows: Vec::new(), ..Report::example() }
    }

    #[test]
    fn an_interrupted_run_is_resumed_where_it_was_left() {
        let mut earlier = Report::example();
        earlier.rows.last_mut().unwrap().partial = true;
        let (whole, partial) = (earlier.rows[0].id.clone(), earlier.rows.last().unwrap().id.clone());
        let mut report = anew();
        report.candidates.retain(|contender| contender.name != "smol");
        report.take_over(earlier).unwrap();
        assert!(report.complete_row(&whole, ["ringtoss", "tokio"].into_iter()).is_some());
        assert!(report.complete_row(&whole, ["ringtoss", "newcomer"].into_iter()).is_none(), "one was not there");
        assert!(report.complete_row(&partial, ["ringtoss"].into_iter()).is_none(), "it was interrupted in it");
        assert_eq!(report.kind("smol"), Kind::Peer);
        assert!(report.candidates.iter().any(|contender| contender.name == "smol"), "who was in it stays in it");
        let mut again = report.rows.remove(3);
        again.title = "anew".into();
        report.put(again, &plan::rows(Pace::Full));
        assert_eq!(report.rows[3].title, "anew", "in the plan's order");
    }

    #[test]
    fn another_machine_or_pace_is_not_mixed_in() {
        let mut other = Report::example();
        other.machine.kernel = "5.10".into();
        assert!(anew().take_over(other).unwrap_err().contains("another machine"));
        let quick = Report { pace: "quick".into(), ..Report::example() };
        assert!(anew().take_over(quick).unwrap_err().contains("a quick run"));
    }

    #[test]
    fn in_a_row_that_others_disturbed_more_is_a_tie() {
        let mut report = Report::example();
        let row = &mut report.rows[0];
        let floor = row.noise_floor;
        row.disturbed(Disturbance { others: 0.05, stolen: 0.0 });
        assert_eq!(row.noise_floor, floor);
        row.disturbed(Disturbance { others: 1.5, stolen: 0.0 });
        assert!((row.noise_floor - floor - 0.15).abs() < 1e-9);
        // The example has another one.
        assert!(report.doubt().unwrap().starts_with("In 2 of "));
        report.rows.iter_mut().for_each(|row| row.disturbance = None);
        assert_eq!(report.doubt(), None);
    }

    #[test]
    fn it_says_what_to_type_to_have_it_again() {
        let command = |pace: &str, options: &[&str]| {
            let options = options.iter().map(|option| (*option).into()).collect();
            Report { pace: pace.into(), options, ..anew() }.command()
        };
        assert_eq!(command("normal", &[]), "cargo run --release -p ringtoss-bench");
        assert_eq!(command("full", &[]), "cargo run --release -p ringtoss-bench -- --full", "before options were kept");
        let options = ["--quick", "--only", "net"];
        assert_eq!(command("quick", &options), "cargo run --release -p ringtoss-bench -- --quick --only net");
        assert!(anew().command_with_options().ends_with(" --"));
    }

    #[test]
    fn an_older_result_can_still_be_read_and_a_newer_one_is_the_same_again() {
        let old = Report::example();
        assert!(old.machine.facts.is_empty() && old.rows[0].disturbance.is_none());
        let path = std::env::temp_dir().join(format!("ringtoss-bench-report-{}.json", std::process::id()));
        let mut new = old;
        new.rows[0].disturbance = Some(Disturbance { others: 0.5, stolen: 0.0 });
        new.save(&path).unwrap();
        let read = Report::load(&path).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&new).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
