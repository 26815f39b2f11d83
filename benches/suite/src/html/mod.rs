//! The report as one page that needs nothing from outside: charts, tables, what spoilt the run, how it was measured.

mod rows_mean;
mod tables;

use std::fmt::Write as _;

use crate::chart::{self, Chart, Width, bars, escape, latency, memory, overview, scaling};
use crate::compare::Comparison;
use crate::machine::date;
use crate::report::{Measured, Report};
use crate::table::thousands;
use crate::verdict::{self, Standing, Verdict};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const METHOD: &str = include_str!("method.html");

const GROUPS: [(&str, &str); 3] = [("net", "Network"), ("files", "Files"), ("tasks", "Tasks, timers, the loop itself")];

pub fn page(report: &Report, comparison: Option<&Comparison>) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>ringtoss-bench: {}, {}</title>\n\
         <style>\n{}{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escape(&report.machine.cpu),
        date(report.machine.started_at),
        chart::STYLE
    );
    let groups: Vec<(&str, &str, Vec<&Measured>)> = groups(report);
    header(&mut text, report, &groups, comparison.is_some());
    summary(&mut text, report);
    if let Some(comparison) = comparison {
        text.push_str("<section id=\"changes\">\n<h2>What has changed</h2>\n");
        tables::changes(&mut text, comparison);
        text.push_str("</section>\n");
    }
    for (id, title, rows) in &groups {
        let _ = write!(text, "<section id=\"{id}\">\n<h2>{title}</h2>\n");
        rows.iter().for_each(|measured| row(&mut text, report, measured));
        text.push_str("</section>\n");
    }
    charts(
        &mut text,
        "scaling",
        "With more at once",
        &scaling::all(report, Width::Wide),
        &scaling::all(report, Width::Narrow),
    );
    charts(&mut text, "memory", "Memory", &memory::all(report, Width::Wide), &memory::all(report, Width::Narrow));
    text.push_str("<section id=\"rows\">\n<h2>What the rows mean</h2>\n");
    rows_mean::table(&mut text);
    text.push_str("</section>\n");
    let _ = write!(text, "<section id=\"method\">\n<h2>How it was measured</h2>\n{METHOD}</section>\n");
    text.push_str("<section id=\"machine\">\n<h2>Where, and who</h2>\n");
    tables::machine(&mut text, report);
    tables::candidates(&mut text, report);
    tables::sizes(&mut text, report);
    repeat(&mut text, report);
    let _ = write!(text, "</section>\n</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    text
}

/// Groups that have rows; those that nobody knows by name, too.
fn groups(report: &Report) -> Vec<(&str, &str, Vec<&Measured>)> {
    let mut groups: Vec<(&str, &str, Vec<&Measured>)> = GROUPS.map(|(id, title)| (id, title, Vec::new())).into();
    for row in &report.rows {
        match groups.iter_mut().find(|(id, ..)| *id == row.group) {
            Some((.., rows)) => rows.push(row),
            None => groups.push((&row.group, &row.group, vec![row])),
        }
    }
    groups.retain(|(.., rows)| !rows.is_empty());
    groups
}

fn header(text: &mut String, report: &Report, groups: &[(&str, &str, Vec<&Measured>)], compared: bool) {
    let machine = &report.machine;
    let _ = write!(
        text,
        "<header>\n<h1>Rust runtimes on this machine</h1>\n<p class=\"dim\">{} · {} CPUs · Linux {} · {} · run: {}</p>\n",
        escape(&machine.cpu),
        machine.cpus,
        escape(&machine.kernel),
        date(machine.started_at),
        escape(&report.pace)
    );
    text.push_str("<nav aria-label=\"Parts of this page\">\n<a href=\"#summary\">Summary</a>\n");
    if compared {
        text.push_str("<a href=\"#changes\">Changes</a>\n");
    }
    for (id, title, _) in groups {
        let _ = writeln!(text, "<a href=\"#{id}\">{}</a>", escape(title.split(',').next().unwrap_or(title)));
    }
    text.push_str("<a href=\"#scaling\">Scaling</a>\n<a href=\"#memory\">Memory</a>\n<a href=\"#rows\">The rows</a>\n<a href=\"#method\">Method</a>\n<a href=\"#machine\">Machine</a>\n</nav>\n");
    text.push_str("<p id=\"highlight\" hidden><label>Point out <select></select></label></p>\n</header>\n");
    if !machine.warnings.is_empty() {
        text.push_str("<aside class=\"warn\">\n<h2>What may have spoilt this run</h2>\n<ul>\n");
        for warning in &machine.warnings {
            let _ = writeln!(text, "<li>{}</li>", escape(warning));
        }
        text.push_str("</ul>\n</aside>\n");
    }
}

fn summary(text: &mut String, report: &Report) {
    let verdicts = verdict::all(report);
    text.push_str("<section id=\"summary\">\n<h2>Where ringtoss stands</h2>\n");
    if verdicts.is_empty() {
        text.push_str("<p>No other runtime was measured, so there is nobody to be first among.</p>\n");
    } else {
        let _ = writeln!(
            text,
            "<p class=\"tally\">ringtoss, as it comes, is {}. Less CPU or time per operation is better; a difference within \
             the noise is a tie.</p>",
            verdict::tally(&verdicts)
        );
        if let Some(doubt) = report.doubt() {
            let _ = writeln!(text, "<p class=\"note\">{doubt}</p>");
        }
        text.push_str("<div class=\"cards\">\n");
        Standing::ALL.iter().for_each(|standing| card(text, &verdicts, *standing));
        text.push_str("</div>\n");
        both(text, overview::draw(report, Width::Wide).as_ref(), overview::draw(report, Width::Narrow).as_ref());
    }
    text.push_str("<details>\n<summary>All figures in one table</summary>\n");
    tables::overview(text, report);
    text.push_str("</details>\n</section>\n");
}

fn card(text: &mut String, verdicts: &[Verdict], standing: Standing) {
    let mut those: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.standing == standing).collect();
    if those.is_empty() && standing == Standing::Failed {
        return;
    }
    // What matters most first.
    those.sort_by(|a, b| b.factor.ln().abs().total_cmp(&a.factor.ln().abs()));
    let title = match standing {
        Standing::First => "First",
        Standing::Tied => "Tied for the first place",
        Standing::Behind => "Behind",
        Standing::Failed => "Failed",
    };
    let class = standing.name().split(' ').next().unwrap_or_default();
    let _ =
        write!(text, "<div class=\"card {class}\">\n<h3>{title} <span class=\"count\">{}</span></h3>\n", those.len());
    if those.is_empty() {
        text.push_str("<p class=\"dim\">nowhere</p>\n");
    } else {
        text.push_str("<ul>\n");
        for verdict in those {
            let beside = match standing {
                Standing::Failed => String::new(),
                _ => format!(" <span class=\"dim\">{} {}</span>", escape(verdict.rival), bars::ratio(verdict.factor)),
            };
            let _ =
                writeln!(text, "<li><a href=\"#{}\">{}</a>{beside}</li>", verdict.row.id, escape(&verdict.row.title));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</div>\n");
}

fn row(text: &mut String, report: &Report, row: &Measured) {
    let _ = write!(text, "<article id=\"{}\">\n<h3>{}</h3>\n<p>", row.id, escape(&row.title));
    if let Some(verdict) = verdict::of(report, row) {
        let _ = write!(text, "ringtoss is {}.", escape(&verdict.sentence()));
    }
    let ours = verdict::plain(report, row).and_then(|entry| row.figure_of(entry));
    if let Some((ours, (name, limit))) = ours.zip(verdict::limit(report, row)) {
        let ratio = bars::ratio(ours.best_quartile / limit.best_quartile);
        let _ = write!(text, " It needs {ratio} what the best limit needs ({}).", escape(name));
    }
    if let Some(rate) = row.rate {
        let rate = thousands(rate);
        let _ = write!(
            text,
            " An open loop: {rate} requests a second, whether or not others have been answered, each timed from when it was due."
        );
    }
    text.push_str("</p>\n");
    if row.partial {
        text.push_str("<p class=\"note\">The run was interrupted in this row: fewer windows than planned.</p>\n");
    }
    if let Some(note) = row.disturbance.as_ref().and_then(|disturbance| disturbance.note()) {
        let _ = writeln!(text, "<p class=\"note\">{}</p>", escape(&note));
    }
    both(text, Some(&bars::row(report, row, Width::Wide)), Some(&bars::row(report, row, Width::Narrow)));
    let latencies = (latency::row(report, row, Width::Wide), latency::row(report, row, Width::Narrow));
    if latencies.0.is_some() {
        text.push_str("<h4>Latency of its requests</h4>\n");
        both(text, latencies.0.as_ref(), latencies.1.as_ref());
    }
    text.push_str("<details>\n<summary>All figures of this row</summary>\n");
    tables::row(text, report, row);
    text.push_str("</details>\n</article>\n");
}

fn charts(text: &mut String, id: &str, title: &str, wide: &[Chart], narrow: &[Chart]) {
    if wide.is_empty() {
        let _ = write!(
            text,
            "<section id=\"{id}\">\n<h2>{title}</h2>\n<p class=\"dim\">Not measured in this run.</p>\n</section>\n"
        );
        return;
    }
    let _ = write!(text, "<section id=\"{id}\">\n<h2>{title}</h2>\n");
    for (wide, narrow) in wide.iter().zip(narrow) {
        let _ = write!(text, "<article>\n<h3>{}</h3>\n", escape(wide.title()));
        both(text, Some(wide), Some(narrow));
        text.push_str("</article>\n");
    }
    text.push_str("</section>\n");
}

/// For screens of both kinds; the style shows one of them.
fn both(text: &mut String, wide: Option<&Chart>, narrow: Option<&Chart>) {
    text.push_str("<figure>\n");
    wide.into_iter().chain(narrow).for_each(|chart| text.push_str(&chart.inline()));
    text.push_str("</figure>\n");
}

fn repeat(text: &mut String, report: &Report) {
    let _ = write!(
        text,
        "<h3 id=\"repeat\">How to repeat it</h3>\n<p>In the repository of ringtoss{}, with nothing else running:</p>\n\
         <pre><code>{}</code></pre>\n<p>With <code>--compare OLD.json</code> it says what has changed beyond noise, with \
         <code>--html FILE</code> it writes this page.</p>\n",
        if report.revision.is_empty() { String::new() } else { format!(" at {}", escape(&report.revision)) },
        escape(&report.command())
    );
}

#[cfg(test)]
mod tests;
