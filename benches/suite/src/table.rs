//! A result on the terminal.

use std::fmt::Write as _;
use std::io::IsTerminal;

use crate::candidate::Kind;
use crate::counts::Counts;
use crate::report::{Entry, GENERATOR_LIMITS_AT, Latency, Measured, Report};
use crate::stats::Summary;
use crate::verdict::{self, Standing};

/// How a table stands out: colours for a terminal, signs for everything.
#[derive(Clone, Copy)]
pub struct Style {
    pub colours: bool,
}

impl Style {
    pub fn of_stdout() -> Style {
        Style { colours: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() }
    }

    pub fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const DIM: &str = "2";
const RED: &str = "31";

pub fn head(report: &Report, style: Style) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "{} · {} CPUs · {} MiB · Linux {} · {}\n",
        machine.cpu, machine.cpus, machine.memory_mib, machine.kernel, machine.rustc
    );
    for place in &report.places {
        let _ = writeln!(text, "{place}");
    }
    for warning in &machine.warnings {
        let _ = writeln!(text, "{} {warning}", style.paint(RED, "!"));
    }
    text
}

/// One row: candidates by what decides, best first, limits above.
pub fn row(report: &Report, row: &Measured, style: Style) -> String {
    let cpu = if row.group == "net" { "server CPU" } else { "CPU" };
    let figure = match row.figure.as_str() {
        "time" => format!("time/{}", short(&row.unit)),
        "p99" => "p99".into(),
        "bytes" => format!("memory/{}", short(&row.unit)),
        _ => format!("{cpu}/{}", short(&row.unit)),
    };
    let mut text = format!("\n{}\n", style.paint(BOLD, &row.title));
    let heads = format!(
        "  {:<15} {:>11} {:>13} {:>13} {:>8} {:>7}",
        "",
        format!("{}s/s", row.unit),
        figure,
        "median",
        "spread",
        "× ours"
    );
    let latencies = row.entries.iter().any(|entry| entry.latency.is_some());
    let tail = row.figure == "p99";
    let more = match (latencies, tail) {
        (true, true) => format!(" {:>9} {:>9} {:>9} {:>9} {:>6}", "p50", "p90", "p99.9", "max", "gen."),
        (true, false) => format!(" {:>9} {:>9} {:>6}", "p50", "p99", "gen."),
        _ => String::new(),
    };
    let more = columns(row).iter().fold(more, |more, (head, _)| format!("{more} {head:>6}"));
    let _ = writeln!(text, "{}", style.paint(DIM, &format!("{heads}{more}")));
    let ours = row.entries.iter().find(|entry| report.kind(&entry.candidate) == Kind::Ours);
    let ours = ours.and_then(|entry| row.figure_of(entry));
    for entry in by_figure(report, row) {
        line(&mut text, report, row, entry, ours, style);
    }
    if row.partial {
        let _ = writeln!(text, "{} interrupted: fewer windows than planned", style.paint(RED, "!"));
    }
    if let Some(note) = row.disturbance.and_then(|disturbance| disturbance.note()) {
        let _ = writeln!(text, "{} {note}", style.paint(RED, "!"));
    }
    text
}

type Column = (&'static str, fn(&Counts) -> Option<f64>);

/// What was counted: the usual, and what happens now and then where it does.
fn columns(row: &Measured) -> Vec<Column> {
    let counts = || row.entries.iter().filter_map(|entry| entry.counts.as_ref());
    if counts().next().is_none() {
        return Vec::new();
    }
    let mut columns: Vec<Column> = vec![
        match counts().any(|counts| counts.system_calls.is_some()) {
            true => ("calls", |counts| counts.system_calls),
            false => ("enters", |counts| counts.enters),
        },
        ("sqes", |counts| counts.submissions),
        ("allocs", |counts| counts.allocations),
        ("switch", |counts| counts.context_switches),
    ];
    let rare: [Column; 2] = [("punts", |counts| counts.punts), ("irqs", |counts| counts.interrupts)];
    columns.extend(rare.iter().filter(|(_, count)| counts().any(|counts| count(counts) >= Some(0.005))));
    columns
}

/// The limits, then the others, each from best to worst.
pub fn by_figure<'a>(report: &Report, row: &'a Measured) -> Vec<&'a Entry> {
    let mut entries: Vec<&Entry> = row.entries.iter().collect();
    entries.sort_by(|a, b| rank(report, row, a).partial_cmp(&rank(report, row, b)).expect("no NaN"));
    entries
}

fn rank(report: &Report, row: &Measured, entry: &Entry) -> (bool, f64) {
    let figure = row.figure_of(entry).map_or(f64::INFINITY, |figure| figure.best_quartile);
    (report.kind(&entry.candidate) != Kind::Limit, figure)
}

fn line(text: &mut String, report: &Report, row: &Measured, entry: &Entry, ours: Option<&Summary>, style: Style) {
    let limit = report.kind(&entry.candidate) == Kind::Limit;
    let best = !limit && row.is_best(report, entry);
    let sign = if limit {
        "·"
    } else if best {
        "*"
    } else {
        " "
    };
    let mut line = format!("{sign} {:<15}", entry.candidate);
    if let (Some(figure), Some(time)) = (row.figure_of(entry), &entry.time_ns) {
        let _ = write!(
            line,
            " {:>11} {:>13} {:>13} {:>7.1}% {:>7}",
            thousands(1e9 / time.best_quartile),
            row.show(figure.best_quartile),
            row.show(figure.median),
            figure.spread() * 100.0,
            ours.map_or(String::new(), |ours| format!("{:.2}", figure.best_quartile / ours.best_quartile)),
        );
        if let Some(Latency { p50, p90, p99, p999, max }) = entry.latency {
            // The 99th is the figure there.
            let shown = if row.figure == "p99" { &[p50, p90, p999, max][..] } else { &[p50, p99] };
            for &ns in shown {
                let _ = write!(line, " {:>9}", nanoseconds(ns as f64));
            }
        }
        if let Some(busy) = entry.generator_busy {
            let mark = if busy > GENERATOR_LIMITS_AT || entry.generator_lags() { "!" } else { "" };
            let _ = write!(line, " {:>6}", format!("{:.0}%{mark}", busy * 100.0));
        }
    }
    if let Some(counts) = entry.counts {
        if entry.latency.is_none() && row.entries.iter().any(|entry| entry.latency.is_some()) {
            let _ = write!(line, "{:>27}", "");
        }
        for (_, count) in columns(row) {
            let _ = write!(line, " {:>6}", count(&counts).map_or("-".into(), |count| format!("{count:.2}")));
        }
    }
    let mut line = match (limit, best) {
        (true, _) => style.paint(DIM, &line),
        (_, true) => style.paint(GREEN, &line),
        _ => line,
    };
    if let Some(bytes) = entry.connection_bytes {
        let _ = write!(line, "  {bytes} B a connection");
    }
    if let Some(bytes) = entry.task_bytes {
        let _ = write!(line, "  {bytes} B a task");
    }
    for remark in entry.remarks() {
        let _ = write!(line, "  {remark}");
    }
    if entry.restless {
        line.push_str("  (busy while idle: measured alone)");
    }
    if let Some(failure) = &entry.failure {
        let _ = write!(line, "  {}", style.paint(RED, failure));
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// Where ringtoss is behind, and how often it is not.
pub fn standing(report: &Report, style: Style) -> String {
    let verdicts = verdict::all(report);
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", style.paint(BOLD, &format!("ringtoss is {}.", verdict::tally(&verdicts))));
    if let Some(doubt) = report.doubt() {
        let _ = writeln!(text, "{doubt}");
    }
    for verdict in verdicts.iter().filter(|verdict| matches!(verdict.standing, Standing::Behind | Standing::Failed)) {
        let _ = writeln!(text, "  {}: {}", verdict.row.title, verdict.sentence());
    }
    text
}

pub fn legend() -> &'static str {
    "\n* best, or tied with it within the noise   · a limit: no runtime, no futures   ! the generator may be what limits\n\
     Figures are the best quartile of the windows; less CPU is better. × ours: the figure ÷ that of ringtoss.\n\
     Per operation: calls (or enters), sqes, allocs, switch: system calls (or only those of the ring), ring entries,\n\
     allocations, context switches;\n\
     punts: what the kernel gave to its worker threads; irqs: interrupts by other CPUs.\n"
}

fn short(unit: &str) -> &str {
    match unit {
        "request" => "req",
        "message" => "msg",
        "connection" => "conn.",
        other => other,
    }
}

/// 1234567.8 as 1,234,568.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 10_000.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1e7 => format!("{:.1} KiB", bytes / 1024.0),
        bytes => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
    }
}

/// A part of something.
pub fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

pub fn nanoseconds(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e5 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.0} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}
