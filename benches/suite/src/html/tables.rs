//! The page's tables.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::chart::bars::{figure_per, ratio};
use crate::chart::escape;
use crate::compare::Comparison;
use crate::machine::date;
use crate::report::{Entry, GENERATOR_LIMITS_AT, Latency, Measured, Report, Size};
use crate::stats::Summary;
use crate::table::{by_figure, bytes, nanoseconds, thousands};
use crate::verdict;

/// Of figures.
fn open(text: &mut String, caption: &str, heads: &[&str]) {
    open_as(text, "figures", caption, heads);
}

fn open_as(text: &mut String, class: &str, caption: &str, heads: &[&str]) {
    let _ = write!(
        text,
        "<div class=\"scroll\" tabindex=\"0\">\n<table class=\"{class}\">\n<caption>{}</caption>\n<thead><tr>",
        escape(caption)
    );
    for head in heads {
        let _ = write!(text, "<th scope=\"col\">{}</th>", escape(head));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
}

fn close(text: &mut String) {
    text.push_str("</tbody>\n</table>\n</div>\n");
}

fn class(report: &Report, candidate: &str) -> &'static str {
    match report.kind(candidate) {
        Kind::Limit => "limit",
        Kind::Ours => "ours",
        Kind::Peer => "peer",
    }
}

/// Everything at a glance.
pub fn overview(text: &mut String, report: &Report) {
    let names: Vec<&str> = report.candidates.iter().map(|contender| contender.name.as_str()).collect();
    let heads: Vec<&str> = std::iter::once("row").chain(names.iter().copied()).collect();
    open(text, "CPU (or time) per operation, best quartile; bold: best, or tied with it", &heads);
    for row in &report.rows {
        let note = row.figure_note();
        let _ = write!(text, "<tr><th scope=\"row\"><a href=\"#{}\">{}</a>{note}</th>", row.id, escape(&row.title));
        for name in &names {
            let entry = row.entries.iter().find(|entry| entry.candidate == *name);
            let figure = entry.and_then(|entry| row.figure_of(entry));
            let cell = match (entry, figure) {
                (None, _) => "–".into(),
                (Some(_), None) => "failed".into(),
                (Some(entry), Some(figure)) => best(report, row, entry, &row.show(figure.best_quartile)),
            };
            let _ = write!(text, "<td class=\"{}\">{cell}</td>", class(report, name));
        }
        text.push_str("</tr>\n");
    }
    close(text);
}

fn best(report: &Report, row: &Measured, entry: &Entry, cell: &str) -> String {
    let limit = report.kind(&entry.candidate) == Kind::Limit;
    if !limit && row.is_best(report, entry) { format!("<strong>{cell}</strong>") } else { cell.to_owned() }
}

/// A column of a row's table, and what is in it for a candidate.
type Column<'a> = (&'a str, Cell<'a>);
type Cell<'a> = Box<dyn Fn(&Entry) -> Option<String> + 'a>;

/// One row with all that was measured in it.
pub fn row(text: &mut String, report: &Report, row: &Measured) {
    let per_second = format!("{}s/s", row.unit);
    let mut columns = figures(report, row, &per_second);
    columns.extend(others());
    // What nobody has is not there.
    columns.retain(|(_, cell)| row.entries.iter().any(|entry| cell(entry).is_some()));
    let heads: Vec<&str> =
        std::iter::once("").chain(columns.iter().map(|(head, _)| *head)).chain(std::iter::once("")).collect();
    let caption = format!("{}; counts are per {}", figure_per(row), row.unit);
    open(text, &caption, &heads);
    for entry in by_figure(report, row) {
        let _ = write!(
            text,
            "<tr class=\"{}\" data-candidate=\"{1}\"><th scope=\"row\">{1}</th>",
            class(report, &entry.candidate),
            escape(&entry.candidate)
        );
        for (_, cell) in &columns {
            let _ = write!(text, "<td>{}</td>", cell(entry).unwrap_or("–".into()));
        }
        let _ = writeln!(text, "<td class=\"left\">{}</td></tr>", note(entry));
    }
    close(text);
}

fn figures<'a>(report: &'a Report, row: &'a Measured, per_second: &'a str) -> Vec<Column<'a>> {
    let limit = verdict::limit(report, row).map(|(_, limit)| limit.best_quartile);
    let of = move |show: fn(&Measured, &Summary) -> String| -> Cell<'a> {
        Box::new(move |entry| row.figure_of(entry).map(|figure| show(row, figure)))
    };
    vec![
        (
            "best quartile",
            Box::new(|entry| Some(best(report, row, entry, &row.show(row.figure_of(entry)?.best_quartile)))),
        ),
        ("median", of(|row, figure| row.show(figure.median))),
        ("worst quartile", of(|row, figure| row.show(figure.worst_quartile))),
        ("spread", of(|_, figure| format!("{:.1} %", figure.spread() * 100.0))),
        ("÷ limit", Box::new(move |entry| Some(ratio(row.figure_of(entry)?.best_quartile / limit?)))),
        (per_second, Box::new(|entry| Some(thousands(1e9 / entry.time_ns.as_ref()?.best_quartile)))),
    ]
}

fn others() -> Vec<Column<'static>> {
    let mut columns: Vec<Column> = Vec::new();
    for (at, name) in ["p50", "p90", "p99", "p99.9", "max"].into_iter().enumerate() {
        let of = |all: Latency| [all.p50, all.p90, all.p99, all.p999, all.max];
        columns.push((name, Box::new(move |entry| Some(nanoseconds(of(entry.latency?)[at] as f64)))));
    }
    columns.push(("generator busy", Box::new(|entry| Some(busy(entry.generator_busy?)))));
    columns.push(("generator late, p99", Box::new(|entry| Some(nanoseconds(entry.lag_p99_ns? as f64)))));
    columns.push(("files/s beside", Box::new(|entry| Some(thousands(entry.beside_per_s?)))));
    for (at, name) in
        ["calls", "enters", "sqes", "to workers", "switches", "interrupts", "allocs"].into_iter().enumerate()
    {
        columns.push((name, Box::new(move |entry| Some(format!("{:.2}", entry.counts?.fields()[at]?)))));
    }
    let memory = |entry: &Entry| Some(bytes(entry.connection_bytes.or(entry.task_bytes)? as f64));
    columns.push(("memory", Box::new(memory)));
    columns.push(("kernel's memory", Box::new(|entry| Some(bytes(entry.kernel_bytes? as f64)))));
    columns
}

fn busy(busy: f64) -> String {
    format!("{:.0} %{}", busy * 100.0, if busy > GENERATOR_LIMITS_AT { " (limits)" } else { "" })
}

fn note(entry: &Entry) -> String {
    let mut notes = Vec::new();
    if entry.restless {
        notes.push("busy while idle: measured alone".to_owned());
    }
    notes.extend(entry.remarks());
    notes.extend(entry.failure.clone());
    escape(&notes.join("; "))
}

pub fn machine(text: &mut String, report: &Report) {
    let machine = &report.machine;
    open_as(text, "words", "The machine", &["", ""]);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "<tr><th scope=\"row\">{name}</th><td class=\"left\">{}</td></tr>", escape(value));
        }
    };
    line("CPU", &format!("{}, {} usable", machine.cpu, machine.cpus));
    line("memory", &format!("{} MiB", thousands(machine.memory_mib as f64)));
    line("kernel", &format!("Linux {}", machine.kernel));
    line("frequency governor", &machine.governor);
    line("virtual machine", if machine.virtual_machine { "yes" } else { "no" });
    machine.facts.iter().for_each(|(name, value)| line(name, value));
    line("files", &report.places.join("; "));
    line("compiler", &machine.rustc);
    line("begun", &date(machine.started_at));
    line("mitigations", &machine.mitigations.join("; "));
    close(text);
}

pub fn candidates(text: &mut String, report: &Report) {
    open_as(text, "words", "Who was compared", &["", "version", "set-up"]);
    for contender in &report.candidates {
        let _ = writeln!(
            text,
            "<tr class=\"{}\"><th scope=\"row\">{}</th><td>{}</td><td class=\"left\">{}{}</td></tr>",
            class(report, &contender.name),
            escape(&contender.name),
            escape(&contender.version),
            if contender.kind == Kind::Limit { "limit: " } else { "" },
            escape(&contender.setup)
        );
    }
    close(text);
    if !report.left_out.is_empty() {
        open_as(text, "words", "Rows that could not be measured here", &["row", "why"]);
        for row in &report.left_out {
            let _ = writeln!(
                text,
                "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td></tr>",
                escape(&row.title),
                escape(&row.reason)
            );
        }
        close(text);
    }
}

/// What building with each costs, if it is known.
pub fn sizes(text: &mut String, report: &Report) {
    if report.sizes.is_empty() {
        return;
    }
    open(text, "A small echo server, built from nothing", &["", "crates compiled", "seconds", "binary, stripped"]);
    for Size { name, crates, seconds, bytes: size, failure } in &report.sizes {
        let _ = write!(text, "<tr><th scope=\"row\">{}</th>", escape(name));
        let _ = match failure {
            Some(failure) => writeln!(text, "<td class=\"left\" colspan=\"3\">failed: {}</td></tr>", escape(failure)),
            None => writeln!(text, "<td>{crates}</td><td>{seconds:.1}</td><td>{}</td></tr>", bytes(*size as f64)),
        };
    }
    close(text);
}

/// What is different from an older run.
pub fn changes(text: &mut String, comparison: &Comparison) {
    text.push_str("<ul>\n");
    for remark in &comparison.remarks() {
        let _ = writeln!(text, "<li>{}</li>", escape(remark));
    }
    text.push_str("</ul>\n");
    if !comparison.changes.is_empty() {
        open(text, "Changed beyond noise", &["row", "who", "was", "is", "change", "beside the limit"]);
        for change in &comparison.changes {
            let _ = writeln!(
                text,
                "<tr><th scope=\"row\"><a href=\"#{}\">{}</a></th><td class=\"left\">{}</td><td>{}</td><td>{}</td>\
                 <td><strong>{}</strong></td><td>{}</td></tr>",
                change.row.id,
                escape(&change.row.title),
                escape(change.candidate),
                change.was,
                change.is,
                change.verdict(),
                change.beside.map_or("–".into(), |beside| format!("{:+.1} %", beside * 100.0))
            );
        }
        close(text);
    }
    if !comparison.others.is_empty() {
        text.push_str("<p>Also different:</p>\n<ul>\n");
        for other in &comparison.others {
            let _ = writeln!(text, "<li>{}</li>", escape(other));
        }
        text.push_str("</ul>\n");
    }
}
