//! What becomes of the figure when there are more connections, or more in flight.

use super::lines::{Lines, Series};
use super::{Chart, Width, bars};
use crate::candidate::Kind;
use crate::report::{Measured, Report};
use crate::verdict;

/// Rows that differ in one number only: that between these two parts of their names.
struct Family {
    name: &'static str,
    title: &'static str,
    across: &'static str,
    before: &'static str,
    after: &'static str,
}

const FAMILIES: &[Family] = &[
    family("echo-64", "TCP echo of 64 B, by connections", "connections", ("echo-", "x64")),
    family("echo-16k", "TCP echo of 16 KiB, by connections", "connections", ("echo-", "x16384")),
    family("idle", "Memory of an idle connection, by connections", "connections", ("idle-", "")),
    family("read-4k", "Random 4 KiB reads from the page cache, by depth", "reads in flight", ("read-4k-", "")),
    family("write-4k", "Random 4 KiB writes to the page cache, by depth", "writes in flight", ("write-4k-", "")),
    family(
        "direct-read-4k",
        "Random 4 KiB reads past the page cache, by depth",
        "reads in flight",
        ("direct-read-4k-", ""),
    ),
    family(
        "direct-write-4k",
        "Random 4 KiB writes past the page cache, by depth",
        "writes in flight",
        ("direct-write-4k-", ""),
    ),
    family("sync-4k", "Random 4 KiB writes, each with fdatasync, by depth", "writes in flight", ("sync-4k-", "")),
    family("nop", "NOPs, by depth", "NOPs in flight", ("nop-", "")),
    family("spawn", "Spawn and join, by tasks at once", "tasks at once", ("spawn-", "")),
];

const fn family(
    name: &'static str,
    title: &'static str,
    across: &'static str,
    (before, after): (&'static str, &'static str),
) -> Family {
    Family { name, title, across, before, after }
}

impl Family {
    /// The number of a row that belongs to it.
    fn step(&self, id: &str) -> Option<u64> {
        id.strip_prefix(self.before)?.strip_suffix(self.after)?.parse().ok()
    }
}

/// A chart for each family of which at least two rows were measured.
pub fn all(report: &Report, width: Width) -> Vec<Chart> {
    FAMILIES.iter().filter_map(|family| draw(report, family, width)).collect()
}

fn draw(report: &Report, family: &Family, width: Width) -> Option<Chart> {
    let mut rows: Vec<(u64, &Measured)> =
        report.rows.iter().filter_map(|row| Some((family.step(&row.id)?, row))).collect();
    rows.sort_by_key(|(step, _)| *step);
    rows.dedup_by_key(|(step, _)| *step);
    let (_, first) = *rows.first().filter(|_| rows.len() > 1)?;
    let measured: Vec<&Measured> = rows.iter().map(|(_, row)| *row).collect();
    let series: Vec<Series> =
        drawn(report, &measured).into_iter().map(|name| series(report, name, &measured)).collect();
    let (show, show_round) = (|figure| first.show(figure), |figure| first.show_round(figure));
    let steps: Vec<String> = rows.iter().map(|(step, _)| crate::table::thousands(*step as f64)).collect();
    let mut description =
        format!("{} on a log scale, at {} {}. ", bars::figure_per(first), steps.join(", "), family.across);
    for series in &series {
        let figures = series.figures.iter().map(|figure| figure.map_or("-".into(), show));
        description.push_str(&format!("{}: {}. ", series.name, figures.collect::<Vec<_>>().join(", ")));
    }
    let lines = Lines {
        name: format!("scaling-{}", family.name),
        title: family.title.into(),
        description: description.trim_end().into(),
        across: family.across,
        upwards: bars::figure_per(first),
        steps,
        series,
        show: &show,
        show_round: &show_round,
    };
    Some(lines.draw(width))
}

fn series(report: &Report, name: &str, rows: &[&Measured]) -> Series {
    let figure = |row: &&Measured| {
        let entry = row.entries.iter().find(|entry| entry.candidate == name)?;
        Some(row.figure_of(entry)?.best_quartile)
    };
    Series { name: name.into(), kind: report.kind(name), figures: rows.iter().map(figure).collect() }
}

/// Whose lines are drawn: ours, the limit that is best in most rows, and of each other package the set-up that does best.
pub fn drawn<'a>(report: &'a Report, rows: &[&Measured]) -> Vec<&'a str> {
    let figures = |name: &str| {
        let of_row = |row: &&Measured| {
            let entry = row.entries.iter().find(|entry| entry.candidate == name)?;
            Some(row.figure_of(entry)?.best_quartile / row.best(report)?.best_quartile)
        };
        let ratios: Vec<f64> = rows.iter().filter_map(of_row).collect();
        // Who was measured everywhere goes before who was not.
        (!ratios.is_empty()).then(|| {
            (rows.len() - ratios.len(), ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64)
        })
    };
    let limits: Vec<&str> = rows.iter().filter_map(|row| verdict::limit(report, row)).map(|(name, _)| name).collect();
    let usual = report
        .candidates
        .iter()
        .filter(|contender| limits.contains(&contender.name.as_str()))
        .max_by_key(|contender| limits.iter().filter(|name| **name == contender.name).count());
    let mut names: Vec<&str> = Vec::new();
    for contender in &report.candidates {
        let name = contender.name.as_str();
        let wanted = match contender.kind {
            Kind::Ours => figures(name).is_some(),
            Kind::Limit => usual.is_some_and(|usual| usual.name == name),
            Kind::Peer => {
                let family = report.candidates.iter().filter(|other| other.package == contender.package);
                let best = family.filter_map(|other| Some((figures(&other.name)?, other.name.as_str())));
                best.min_by(|a, b| a.0.0.cmp(&b.0.0).then(a.0.1.total_cmp(&b.0.1)))
                    .is_some_and(|(_, best)| best == name)
            }
        };
        if wanted {
            names.push(name);
        }
    }
    // Ours in the first colour.
    names.sort_by_key(|name| report.kind(name) != Kind::Ours);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, Pace};

    #[test]
    fn every_family_has_rows_in_the_plan() {
        let rows = plan::rows(Pace::Full);
        for family in FAMILIES {
            let rows = rows.iter().filter(|row| family.step(&row.id).is_some());
            assert!(rows.count() > 1, "{}", family.title);
        }
    }

    #[test]
    fn each_runtime_has_one_line_that_of_its_better_set_up() {
        let report = Report::example();
        let rows: Vec<&Measured> = report.rows.iter().filter(|row| row.id.starts_with("read-4k")).collect();
        let drawn = drawn(&report, &rows);
        assert_eq!(drawn[0], "ringtoss");
        assert!(drawn.contains(&"monoio+") && !drawn.contains(&"monoio"), "{drawn:?}");
        assert!(drawn.contains(&"raw ring") && !drawn.contains(&"syscalls"), "{drawn:?}");
        assert_eq!(all(&report, Width::Wide).len(), 3, "echo, reads, NOPs; spawn has one row only");
    }
}
