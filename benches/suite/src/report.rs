//! What a run leaves: machine, candidates, rows. This is the JSON.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::candidate::{Candidate, Kind};
use crate::counts::Counts;
use crate::machine::Machine;
use crate::plan::{Drive, Figure, Row};
use crate::stats::{self, Sample, Summary};

/// Raised when the meaning of a field changes.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub pace: String,
    pub machine: Machine,
    pub candidates: Vec<Contender>,
    pub rows: Vec<Measured>,
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
    /// `cpu` or `time`: what decides who is best.
    pub figure: String,
    /// Below this difference, as a part, two are the same.
    pub noise_floor: f64,
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

/// Of requests in a closed loop, in nanoseconds.
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
            figure: if row.figure == Figure::Cpu { "cpu" } else { "time" }.into(),
            noise_floor: if matches!(row.drive, Drive::Wrk { .. }) { 0.1 } else { 0.03 },
            entries,
        }
    }

    /// What decides.
    pub fn figure_of<'a>(&self, entry: &'a Entry) -> Option<&'a Summary> {
        if self.figure == "cpu" { entry.cpu_ns.as_ref() } else { entry.time_ns.as_ref() }
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

impl Report {
    pub fn kind(&self, candidate: &str) -> Kind {
        self.candidates.iter().find(|known| known.name == candidate).map_or(Kind::Peer, |known| known.kind)
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
