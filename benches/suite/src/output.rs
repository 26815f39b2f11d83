//! What a run leaves beside its JSON: the end of the terminal's text, Markdown, the page, charts as files, documentation.

use std::fs;
use std::path::Path;

use crate::args::Arguments;
use crate::chart::{Chart, Width, bars, latency, memory, overview, scaling};
use crate::compare::Comparison;
use crate::report::Report;
use crate::table::{self, Style};
use crate::{docs, html, markdown};

/// What comes after the tables.
pub fn finish(arguments: &Arguments, report: &Report, old: Option<&Report>, style: Style) -> Result<(), String> {
    print!("{}", table::legend());
    print!("{}", table::standing(report, style));
    let comparison = old.map(|old| Comparison::new(old, report));
    if let Some(comparison) = &comparison {
        print!("{}", comparison.terminal(style));
    }
    if let Some(path) = &arguments.markdown {
        let changes = comparison.as_ref().map(Comparison::markdown).unwrap_or_default();
        write(path, &format!("{}{changes}", markdown::whole(report)))?;
    }
    if let Some(path) = &arguments.html {
        write(path, &html::page(report, comparison.as_ref()))?;
    }
    if let Some(folder) = &arguments.svg {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for chart in charts(report) {
            write(&folder.join(format!("{}.svg", chart.name)), &chart.file())?;
        }
    }
    if let Some(path) = &arguments.docs {
        docs::renew(path, report)?;
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
    eprintln!("Written: {}", path.display());
    Ok(())
}
