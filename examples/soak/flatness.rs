//! What is sampled, and whether it stays level.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Duration,
    pub resident_kib: u64,
    pub open_files: u64,
    pub in_flight: u64,
    /// What was done until then.
    pub done: u64,
}

impl Sample {
    pub fn take(at: Duration, in_flight: u64, done: u64) -> Result<Sample> {
        Ok(Sample { at, resident_kib: resident_kib()?, open_files: open_files()?, in_flight, done })
    }
}

fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

pub fn open_files() -> Result<u64> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count() as u64)
}

/// The columns that must stay level: a name, the figure, and by how much it may differ for no reason.
type Column = (&'static str, fn(&Sample) -> u64, u64);

const COLUMNS: [Column; 3] = [
    ("resident memory (KiB)", |sample| sample.resident_kib, 2048),
    ("open files", |sample| sample.open_files, 32),
    ("operations in flight", |sample| sample.in_flight, 64),
];

fn median(samples: &[Sample], figure: fn(&Sample) -> u64) -> u64 {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    figures.get(figures.len() / 2).copied().unwrap_or(0)
}

/// The second quarter of the time, in which everything has begun, and the last.
fn quarters(samples: &[Sample]) -> (&[Sample], &[Sample]) {
    let quarter = samples.len() / 4;
    (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..])
}

/// What has grown by more than a twentieth.
pub fn faults(samples: &[Sample]) -> Vec<String> {
    let (early, late) = quarters(samples);
    let mut faults = Vec::new();
    for (name, figure, slack) in COLUMNS {
        let (before, after) = (median(early, figure), median(late, figure));
        if after > before + before / 20 + slack {
            faults.push(format!("{name}: the median has grown from {before} to {after}"));
        }
    }
    faults
}

pub fn table(samples: &[Sample]) -> String {
    let (early, late) = quarters(samples);
    let mut text = String::from("                          2nd quarter  last quarter      least       most\n");
    for (name, figure, _) in COLUMNS {
        let all = || samples.iter().map(figure);
        let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
        let (before, after) = (median(early, figure), median(late, figure));
        let _ = writeln!(text, "{name:<24} {before:>12}  {after:>12} {least:>10} {most:>10}");
    }
    if let Some(last) = samples.last() {
        let _ = writeln!(text, "{} things done in {} s", last.done, last.at.as_secs());
    }
    text
}

pub fn csv(samples: &[Sample]) -> String {
    let mut text = String::from("seconds,resident_kib,open_files,in_flight,done\n");
    for Sample { at, resident_kib, open_files, in_flight, done } in samples {
        let _ = writeln!(text, "{:.1},{resident_kib},{open_files},{in_flight},{done}", at.as_secs_f64());
    }
    text
}
