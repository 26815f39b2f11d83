//! A result as Markdown, for documentation and issues.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::report::{Entry, GENERATOR_LIMITS_AT, Measured, Report};
use crate::table::{by_figure, nanoseconds, thousands};

pub fn whole(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{} · {} CPUs · {} MiB · Linux {} · governor: {} · {} · run: {}\n\n",
        machine.cpu, machine.cpus, machine.memory_mib, machine.kernel, machine.governor, machine.rustc, report.pace
    );
    for warning in &machine.warnings {
        let _ = writeln!(text, "* {warning}");
    }
    text.push_str("\n| candidate | version | set-up |\n|---|---|---|\n");
    for contender in &report.candidates {
        let _ = writeln!(text, "| {} | {} | {} |", contender.name, contender.version, contender.setup);
    }
    overview(&mut text, report);
    for row in &report.rows {
        self::row(&mut text, report, row);
    }
    text
}

/// Everything at a glance: what decides, for each row and candidate.
fn overview(text: &mut String, report: &Report) {
    text.push_str(
        "\nPer operation, best quartile. Bold: the best runtime, and those tied with it within the noise.\n\n| ",
    );
    let names = || report.candidates.iter().map(|contender| contender.name.as_str());
    for name in names() {
        let _ = write!(text, " | {name}");
    }
    let _ = writeln!(text, " |\n|---|{}", "--:|".repeat(report.candidates.len()));
    for row in &report.rows {
        let _ = write!(text, "| {}{} |", row.title, if row.figure == "time" { " (time)" } else { "" });
        for name in names() {
            let entry = row.entries.iter().find(|entry| entry.candidate == name);
            let figure = entry.and_then(|entry| row.figure_of(entry)).map(|figure| nanoseconds(figure.best_quartile));
            let cell = match (entry, figure) {
                (None, _) => "-".to_owned(),
                (Some(entry), Some(figure)) if report.kind(name) != Kind::Limit && row.is_best(report, entry) => {
                    format!("**{figure}**")
                }
                (_, Some(figure)) => figure,
                (_, None) => "failed".to_owned(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
}

fn row(text: &mut String, report: &Report, row: &Measured) {
    let _ = write!(text, "\n### {}\n\n", row.title);
    let served = row.entries.iter().any(|entry| entry.latency.is_some());
    let figure = if row.figure == "cpu" { "CPU" } else { "time" };
    let unit = &row.unit;
    let latency = if served { " p50 | p99 | generator |" } else { "" };
    let lines = if served { "--:|--:|--:|" } else { "" };
    let _ = writeln!(
        text,
        "| | {figure} per {unit} | median | spread | × ours | {unit}s per second |{latency} calls | allocations |\n\
         |---|--:|--:|--:|--:|--:|{lines}--:|--:|"
    );
    let ours = row.entries.iter().find(|entry| report.kind(&entry.candidate) == Kind::Ours);
    let ours = ours.and_then(|entry| row.figure_of(entry)).map(|figure| figure.best_quartile);
    for entry in by_figure(report, row) {
        let _ = writeln!(text, "| {} |{}", name(report, row, entry), cells(row, entry, ours, served));
    }
}

fn name(report: &Report, row: &Measured, entry: &Entry) -> String {
    match report.kind(&entry.candidate) {
        Kind::Limit => format!("*{}*", entry.candidate),
        _ if row.is_best(report, entry) => format!("**{}**", entry.candidate),
        _ => entry.candidate.clone(),
    }
}

fn cells(row: &Measured, entry: &Entry, ours: Option<f64>, served: bool) -> String {
    let (Some(figure), Some(time)) = (row.figure_of(entry), &entry.time_ns) else {
        return format!(" {} |", entry.failure.as_deref().unwrap_or("nothing was done"));
    };
    let mut text = format!(
        " {} | {} | {:.1}% | {} | {} |",
        nanoseconds(figure.best_quartile),
        nanoseconds(figure.median),
        figure.spread() * 100.0,
        ours.map_or(String::new(), |ours| format!("{:.2}", figure.best_quartile / ours)),
        thousands(1e9 / time.best_quartile)
    );
    if served {
        let latency = entry.latency.map(|latency| (latency.p50 as f64, latency.p99 as f64));
        let (p50, p99) = latency.map_or_else(Default::default, |(p50, p99)| (nanoseconds(p50), nanoseconds(p99)));
        let busy = entry.generator_busy.map_or(String::new(), |busy| {
            format!("{:.0}%{}", busy * 100.0, if busy > GENERATOR_LIMITS_AT { " (limits)" } else { "" })
        });
        let _ = write!(text, " {p50} | {p99} | {busy} |");
    }
    let count = |count: Option<f64>| count.map_or("-".to_owned(), |count| format!("{count:.2}"));
    let counts = entry.counts.unwrap_or_default();
    let _ = write!(text, " {} | {} |", count(counts.system_calls), count(counts.allocations));
    if let Some(bytes) = entry.connection_bytes {
        let _ = write!(text, " {bytes} B a connection");
    }
    if let Some(bytes) = entry.task_bytes {
        let _ = write!(text, " {bytes} B a task");
    }
    if let Some(failure) = &entry.failure {
        let _ = write!(text, " {failure}");
    }
    text
}
