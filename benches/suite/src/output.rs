//! What a run leaves beside its JSON: the end of the terminal's text, Markdown, the page, charts as files, documentation.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::args::Arguments;
use crate::chart::{Chart, Width, bars, latency, memory, overview, scaling};
use crate::compare::Comparison;
use crate::report::Report;
use crate::table::{self, Style};
use crate::{docs, html, losses, markdown};

/// What comes after the tables.
pub fn finish(arguments: &Arguments, report: &Report, old: Option<&Report>, style: Style) -> Result<(), String> {
    say(table::legend());
    say(&table::standing(report, style));
    let comparison = old.map(|old| Comparison::new(old, report));
    if let Some(comparison) = &comparison {
        say(&comparison.terminal(style));
    }
    files(arguments, report, comparison.as_ref())
}

/// Those that were asked for.
pub fn files(arguments: &Arguments, report: &Report, comparison: Option<&Comparison>) -> Result<(), String> {
    if let Some(path) = &arguments.markdown {
        let changes = comparison.map(Comparison::markdown).unwrap_or_default();
        write(path, &format!("{}{changes}", markdown::whole(report)))?;
    }
    if let Some(path) = &arguments.html {
        write(path, &html::page(report, comparison))?;
    }
    if let Some(folder) = &arguments.svg {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for chart in charts(report) {
            write(&folder.join(format!("{}.svg", chart.name)), &chart.file())?;
        }
    }
    if let Some(path) = &arguments.docs {
        docs::renew(path, report)?;
        let unexplained = losses::unexplained(report);
        if !unexplained.is_empty() {
            note(&format!("Lost, and benches/suite/why.md says nothing about it: {}", unexplained.join(", ")));
        }
    }
    Ok(())
}

/// All of a report.
pub fn charts(report: &Report) -> Vec<Chart> {
    let mut charts: Vec<Chart> = overview::draw(report, Width::Wide).into_iter().collect();
    charts.extend(scaling::all(report, Width::Wide));
    charts.extend(memory::all(report, Width::Wide));
    for row in &report.rows {
        charts.push(bars::row(report, row, Width::Wide));
        charts.extend(latency::row(report, row, Width::Wide));
    }
    charts
}

/// Writes a file whole or not at all, and says so.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let draft = path.with_extension("partial");
    fs::write(&draft, text).and_then(|()| fs::rename(&draft, path)).map_err(failed)?;
    note(&format!("Written: {}", path.display()));
    Ok(())
}

/// On the terminal, if it is still there: a run whose terminal was closed keeps what it has measured.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same of what is no result.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
