//! The page's tables.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::chart::bars::ratio;
use crate::chart::escape;
use crate::compare::Comparison;
use crate::machine::date;
use crate::report::{Entry, GENERATOR_LIMITS_AT, Measured, Report};
use crate::table::{by_figure, bytes, nanoseconds, thousands};
use crate::verdict;

fn open(text: &mut String, caption: &str, heads: &[&str]) {
    let _ = write!(
        text,
        "<div class=\"scroll\" tabindex=\"0\">\n<table>\n<caption>{}</caption>\n<thead><tr>",
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

/// One row with all that was measured in it.
pub fn row(text: &mut String, report: &Report, row: &Measured) {
    let has = |what: fn(&Entry) -> bool| row.entries.iter().any(what);
    let served = has(|entry| entry.latency.is_some());
    let busy = has(|entry| entry.generator_busy.is_some());
    let memory = has(|entry| entry.connection_bytes.or(entry.task_bytes).is_some());
    let counted = has(|entry| entry.counts.is_some());
    let per_second = format!("{}s/s", row.unit);
    let mut heads = vec!["", "best quartile", "median", "worst quartile", "spread", "÷ limit", &per_second];
    if served {
        heads.extend(["p50", "p90", "p99", "p99.9", "max"]);
    }
    if busy {
        heads.push("generator busy");
    }
    if counted {
        heads.extend(["calls", "enters", "sqes", "to workers", "switches", "interrupts", "allocs"]);
    }
    if memory {
        heads.push("memory");
    }
    heads.push("");
    let caption = format!("{} per {}; counts are per {}", crate::chart::bars::figure_name(row), row.unit, row.unit);
    open(text, &caption, &heads);
    let limit = verdict::limit(report, row).map(|(_, limit)| limit.best_quartile);
    for entry in by_figure(report, row) {
        let _ = write!(
            text,
            "<tr class=\"{}\" data-candidate=\"{1}\"><th scope=\"row\">{1}</th>",
            class(report, &entry.candidate),
            escape(&entry.candidate)
        );
        let mut cells = figures(report, row, entry, limit);
        if served {
            let latency = entry.latency.map(|all| [all.p50, all.p90, all.p99, all.p999, all.max]);
            cells.extend((0..5).map(|at| latency.map_or("–".into(), |all| nanoseconds(all[at] as f64))));
        }
        if busy {
            let mark = |busy| if busy > GENERATOR_LIMITS_AT { " (limits)" } else { "" };
            cells.push(entry.generator_busy.map_or("–".into(), |busy| format!("{:.0} %{}", busy * 100.0, mark(busy))));
        }
        if counted {
            let counts = entry.counts.unwrap_or_default();
            cells.extend(counts.fields().map(|count| count.map_or("–".into(), |count| format!("{count:.2}"))));
        }
        if memory {
            cells.push(entry.connection_bytes.or(entry.task_bytes).map_or("–".into(), |each| bytes(each as f64)));
        }
        cells.push(note(entry));
        for cell in &cells {
            let _ = write!(text, "<td>{cell}</td>");
        }
        text.push_str("</tr>\n");
    }
    close(text);
}

fn figures(report: &Report, row: &Measured, entry: &Entry, limit: Option<f64>) -> Vec<String> {
    let Some(figure) = row.figure_of(entry) else { return vec!["–".into(); 6] };
    let per_second = entry.time_ns.as_ref().map_or("–".into(), |time| thousands(1e9 / time.best_quartile));
    vec![
        best(report, row, entry, &row.show(figure.best_quartile)),
        row.show(figure.median),
        row.show(figure.worst_quartile),
        format!("{:.1} %", figure.spread() * 100.0),
        limit.map_or("–".into(), |limit| ratio(figure.best_quartile / limit)),
        per_second,
    ]
}

fn note(entry: &Entry) -> String {
    let mut notes = Vec::new();
    if entry.restless {
        notes.push("busy while idle: measured alone".to_owned());
    }
    notes.extend(entry.failure.clone());
    escape(&notes.join("; "))
}

pub fn machine(text: &mut String, report: &Report) {
    let machine = &report.machine;
    open(text, "The machine", &["", ""]);
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
    line("compiler", &machine.rustc);
    line("begun", &date(machine.started_at));
    line("mitigations", &machine.mitigations.join("; "));
    close(text);
}

pub fn candidates(text: &mut String, report: &Report) {
    open(text, "Who was compared", &["", "version", "set-up"]);
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
        open(text, "Rows that could not be measured here", &["row", "why"]);
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
