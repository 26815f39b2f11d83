//! What a connection or a task costs in memory, where it was measured: drawn as other rows are.

use super::{Chart, Width, bars};
use crate::report::{Entry, Measured, Report};
use crate::stats::Summary;

/// Of an entry, what it measured.
type Each = fn(&Entry) -> Option<u64>;

/// What memory is measured of.
const KINDS: [(&str, Each); 2] = [("connection", |entry| entry.connection_bytes), ("task", |entry| entry.task_bytes)];

/// Rows of which the figure is memory, from rows that measured it beside their own.
pub fn rows(report: &Report) -> Vec<Measured> {
    KINDS.iter().flat_map(|(unit, each)| report.rows.iter().filter_map(|row| of(row, unit, *each))).collect()
}

fn of(row: &Measured, unit: &str, each: Each) -> Option<Measured> {
    let mut memory = row.clone();
    memory.entries.retain(|entry| each(entry).is_some());
    for entry in &mut memory.entries {
        let bytes = each(entry).unwrap_or_default() as f64;
        entry.bytes = Some(Summary { best_quartile: bytes, median: bytes, worst_quartile: bytes });
        entry.failure = None;
    }
    memory.id = format!("memory-{}", row.id);
    memory.title = format!("Memory of a {unit}: {}", row.title);
    memory.unit = unit.into();
    memory.figure = "bytes".into();
    // Pages are whole, and what was made before may be used again.
    memory.noise_floor = 0.05;
    (memory.entries.len() > 1).then_some(memory)
}

pub fn all(report: &Report, width: Width) -> Vec<Chart> {
    let chart = |row: &Measured| Chart { name: row.id.clone(), ..bars::row(report, row, width) };
    rows(report).iter().map(chart).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_measured_memory_give_one_of_it() {
        let report = Report::example();
        let rows = rows(&report);
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["memory-echo-500x64", "memory-echo-5000x64", "memory-wait-10000"]);
        let entry = &rows[0].entries[0];
        assert_eq!(rows[0].figure_of(entry).unwrap().median, entry.connection_bytes.unwrap() as f64);
        assert_eq!(rows[0].show(2300.0), "2300 B");
    }
}
