//! A result as Markdown, for documentation and issues.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::machine;
use crate::report::{Entry, GENERATOR_LIMITS_AT, Measured, Report};
use crate::sizes;
use crate::table::{by_figure, nanoseconds, thousands};
use crate::verdict::{self, Standing, Verdict};

/// For an issue: what matters at the top, the rest folded.
pub fn whole(report: &Report) -> String {
    let mut text = format!("{}\n{}", machine(report), standing(report));
    let folded = |text: &mut String, what: &str, inside: &str| {
        let _ = write!(text, "\n<details>\n<summary>{what}</summary>\n\n{}\n\n</details>\n", inside.trim_matches('\n'));
    };
    text.push_str(&overview(report));
    folded(&mut text, "Who was compared", &candidates(report));
    let rows: String = report.rows.iter().map(|row| self::row(report, row)).collect();
    folded(&mut text, "Every row", &rows);
    if !report.sizes.is_empty() {
        folded(&mut text, "What building with each costs", &sizes::table(report));
    }
    let _ = write!(text, "\nAgain: `{}`\n", report.command());
    text
}

/// What was measured on, when, and what spoilt it.
pub fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let revision =
        if report.revision.is_empty() { String::new() } else { format!(" · ringtoss at {}", report.revision) };
    let mut text = format!(
        "{} · {} CPUs · {} MiB · Linux {} · governor: {} · {}{revision} · run: {}; {}\n\n",
        machine.cpu,
        machine.cpus,
        machine.memory_mib,
        machine.kernel,
        machine.governor,
        machine.rustc,
        report.pace,
        machine::date(machine.started_at)
    );
    for place in &report.places {
        let _ = writeln!(text, "* {place}");
    }
    for warning in &machine.warnings {
        let _ = writeln!(text, "* {warning}");
    }
    for row in &report.left_out {
        let _ = writeln!(text, "* left out: {} ({})", row.title, row.reason);
    }
    text
}

/// Where ringtoss is first, tied, behind.
pub fn standing(report: &Report) -> String {
    let verdicts = verdict::all(report);
    if verdicts.is_empty() {
        return "No other runtime was measured.\n".into();
    }
    let mut text = format!("ringtoss, as it comes, is **{}**.\n", verdict::tally(&verdicts));
    if let Some(doubt) = report.doubt() {
        let _ = writeln!(text, "{doubt}");
    }
    for standing in Standing::ALL {
        let mut those: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.standing == standing).collect();
        those.sort_by(|a, b| b.factor.ln().abs().total_cmp(&a.factor.ln().abs()));
        if !those.is_empty() {
            let mut name = standing.name().to_owned();
            name[..1].make_ascii_uppercase();
            let _ = writeln!(text, "\n**{name}**\n");
        }
        for verdict in those {
            let _ = writeln!(text, "* {}: {}", verdict.row.title, verdict.sentence());
        }
    }
    text
}

/// Who was compared.
pub fn candidates(report: &Report) -> String {
    let mut text = "| candidate | version | set-up |\n|---|---|---|\n".to_owned();
    for contender in &report.candidates {
        let _ = writeln!(text, "| {} | {} | {} |", contender.name, contender.version, contender.setup);
    }
    text
}

/// Everything at a glance: what decides, for each row and candidate.
pub fn overview(report: &Report) -> String {
    let mut text =
        "\nPer operation, best quartile. Bold: the best runtime, and those tied with it within the noise.\n\n| "
            .to_owned();
    let names = || report.candidates.iter().map(|contender| contender.name.as_str());
    for name in names() {
        let _ = write!(text, " | {name}");
    }
    let _ = writeln!(text, " |\n|---|{}", "--:|".repeat(report.candidates.len()));
    for row in &report.rows {
        let _ = write!(text, "| {}{} |", row.title, row.figure_note());
        for name in names() {
            let entry = row.entries.iter().find(|entry| entry.candidate == name);
            let figure = entry.and_then(|entry| row.figure_of(entry)).map(|figure| row.show(figure.best_quartile));
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
    text
}

/// One row with its figures.
pub fn row(report: &Report, row: &Measured) -> String {
    let mut text = format!("\n### {}\n\n", row.title);
    if let Some(verdict) = verdict::of(report, row) {
        let _ = write!(text, "ringtoss is {}.\n\n", verdict.sentence());
    }
    let served = row.entries.iter().any(|entry| entry.latency.is_some());
    let figure = match row.figure.as_str() {
        "cpu" => "CPU",
        "p99" => "p99 latency",
        "bytes" => "memory",
        _ => "time",
    };
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
    text
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
        row.show(figure.best_quartile),
        row.show(figure.median),
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
    for remark in entry.remarks() {
        let _ = write!(text, " {remark}");
    }
    if let Some(failure) = &entry.failure {
        let _ = write!(text, " {failure}");
    }
    text
}
