//! A row: a bar for each candidate beside the limit, with how far its windows spread.

use super::scale::Scale;
use super::{Chart, Width, fitting};
use crate::candidate::Kind;
use crate::report::{Entry, Measured, Report};
use crate::stats::Summary;
use crate::table::by_figure;
use crate::verdict;

/// Where things are, across.
struct Columns {
    bars: f64,
    bars_end: f64,
    figure: f64,
    ratio: f64,
    mark: f64,
}

const WIDE: Columns = Columns { bars: 150.0, bars_end: 542.0, figure: 618.0, ratio: 682.0, mark: 692.0 };
const NARROW: Columns = Columns { bars: 6.0, bars_end: 354.0, figure: 212.0, ratio: 280.0, mark: 290.0 };

/// A bar that is longer than so many times what matters is cut off, so that the others can be told apart.
const CUT_FROM: f64 = 5.0;

struct Drawing<'a> {
    report: &'a Report,
    row: &'a Measured,
    columns: Columns,
    width: Width,
    scale: Scale,
    /// What the ratios are taken to: the best limit, or the best runtime where there is none.
    base: Option<(&'a str, f64)>,
}

pub fn row(report: &Report, row: &Measured, width: Width) -> Chart {
    let entries = by_figure(report, row);
    let mut chart = Chart::new(&format!("row-{}", row.id), &row.title, description(report, row), width);
    let columns = if width == Width::Wide { WIDE } else { NARROW };
    let scale = Scale::linear(extent(report, row), columns.bars, columns.bars_end);
    let limit = verdict::limit(report, row).map(|(name, limit)| (name, limit.best_quartile));
    let best = || row.best(report).map(|best| ("the best", best.best_quartile));
    let drawing = Drawing { report, row, columns, width, scale, base: limit.or_else(best) };
    let step = if width == Width::Wide { 23.0 } else { 38.0 };
    let (top, bottom) = (44.0, 44.0 + entries.len() as f64 * step);
    drawing.frame(&mut chart, limit, top, bottom);
    for (number, entry) in entries.iter().enumerate() {
        drawing.entry(&mut chart, entry, top + number as f64 * step);
    }
    chart.height = bottom + 24.0;
    chart
}

/// The longest bar that is drawn whole.
fn extent(report: &Report, row: &Measured) -> f64 {
    let figures = || row.entries.iter().filter_map(|entry| row.figure_of(entry));
    let ours = verdict::plain(report, row).and_then(|entry| row.figure_of(entry)).map(|ours| ours.best_quartile);
    let limit = verdict::limit(report, row).map(|(_, limit)| limit.best_quartile);
    let best = row.best(report).map(|best| best.best_quartile);
    let matters = [ours, limit, best].into_iter().flatten().fold(0.0, f64::max);
    let whole = figures().map(|figure| figure.best_quartile).filter(|bar| *bar <= matters * CUT_FROM);
    let longest = whole.fold(0.0, f64::max);
    let whiskers = figures().filter(|figure| figure.best_quartile <= longest).map(|figure| figure.worst_quartile);
    // Whiskers may be cut, too: one bad window should not make all bars short.
    whiskers.filter(|end| *end <= longest * 1.6).fold(longest * 1.06, f64::max)
}

fn description(report: &Report, row: &Measured) -> String {
    let mut text = format!("{}, less is better. ", figure_per(row));
    for entry in by_figure(report, row) {
        let figure = row.figure_of(entry).map(|figure| row.show(figure.best_quartile));
        let figure = figure.unwrap_or_else(|| entry.failure.clone().unwrap_or_else(|| "nothing was done".into()));
        text.push_str(&format!("{}: {figure}. ", entry.candidate));
    }
    text.trim_end().into()
}

/// What decides, in words.
pub fn figure_name(row: &Measured) -> &'static str {
    match (row.figure.as_str(), row.group.as_str()) {
        ("cpu", "net") => "server CPU time",
        ("cpu", _) => "CPU time",
        ("bytes", _) => "memory",
        ("p99", _) => "p99 latency",
        _ => "time",
    }
}

/// The same with what it is taken for.
pub fn figure_per(row: &Measured) -> String {
    let name = figure_name(row);
    if row.figure == "p99" { name.into() } else { format!("{name} per {}", row.unit) }
}

impl Drawing<'_> {
    fn frame(&self, chart: &mut Chart, limit: Option<(&str, f64)>, top: f64, bottom: f64) {
        let columns = &self.columns;
        for tick in self.scale.ticks() {
            let x = self.scale.place(tick);
            chart.line("grid", (x, top - 6.0), (x, bottom));
            let anchor = match x {
                x if x < 20.0 => "dim small",
                x if x > self.width.pixels() - 20.0 => "dim small end",
                _ => "dim small middle",
            };
            chart.text(x, bottom + 15.0, anchor, self.row.show_round(tick));
        }
        let per = figure_per(self.row);
        let (heads, left) = if self.width == Width::Wide { (14.0, columns.bars) } else { (30.0, 6.0) };
        chart.text(left, 14.0, "dim small", format!("{per}; less is better"));
        chart.text(columns.figure, heads, "dim small end", "best quartile");
        if let Some((name, _)) = self.base {
            let name = if limit.is_some() { "÷ limit" } else { name };
            chart.text(columns.ratio, heads, "dim small end", if limit.is_some() { name } else { "÷ best" });
        }
        if let Some((name, figure)) = limit {
            let x = self.scale.place(figure);
            chart.open("limit", &format!("{name}: {}", self.row.show(figure)));
            chart.line("bound", (x, top - 8.0), (x, bottom));
            if self.width == Width::Wide {
                let anchor = if x > 470.0 { "small end" } else { "small middle" };
                chart.text(x.max(columns.bars + 40.0), top - 13.0, anchor, format!("limit: {name}"));
            }
            chart.close();
        }
    }

    fn entry(&self, chart: &mut Chart, entry: &Entry, top: f64) {
        let kind = self.report.kind(&entry.candidate);
        let class = match kind {
            Kind::Limit => "limit",
            Kind::Ours => "ours",
            Kind::Peer => "peer",
        };
        chart.open_for(class, &entry.candidate, &self.tip(entry));
        let strong = if kind == Kind::Ours { " strong" } else { "" };
        let wide = self.width == Width::Wide;
        let (text, bar) = if wide { (top + 15.0, top + 4.0) } else { (top + 12.0, top + 18.0) };
        if wide {
            let name = fitting(&entry.candidate, 12.0, self.columns.bars - 10.0);
            chart.text(self.columns.bars - 8.0, text, &format!("end{strong}"), name);
        } else {
            chart.text(6.0, text, strong.trim_start(), fitting(&entry.candidate, 12.0, 130.0));
        }
        match self.row.figure_of(entry) {
            Some(figure) => self.figure(chart, entry, figure, text, bar, strong),
            None => {
                let room = if wide { 760.0 - self.columns.bars } else { 220.0 };
                let failure = entry.failure.as_deref().unwrap_or("nothing was done");
                let x = if wide { self.columns.bars + 4.0 } else { 136.0 };
                chart.text(x, text, "dim", fitting(failure, 12.0, room));
            }
        }
        chart.close();
    }

    fn figure(&self, chart: &mut Chart, entry: &Entry, figure: &Summary, text: f64, bar: f64, strong: &str) {
        let (columns, scale) = (&self.columns, &self.scale);
        let height = if self.width == Width::Wide { 15.0 } else { 13.0 };
        let end = scale.place(figure.best_quartile);
        let cut = figure.best_quartile > scale.high();
        let x = columns.bars;
        chart.path("bar", &format!("M{x:.1} {bar:.1}H{end:.1}V{:.1}H{x:.1}Z", bar + height));
        if cut {
            // A torn bar.
            let tear = end - 16.0;
            let (middle, bottom) = (bar + height / 2.0, bar + height + 1.0);
            let top = bar - 1.0;
            chart.path(
                "tear",
                &format!("M{:.1} {top:.1}L{tear:.1} {middle:.1}L{:.1} {bottom:.1}", tear + 4.0, tear + 4.0),
            );
        } else {
            self.whisker(chart, figure, bar + height / 2.0);
        }
        chart.text(columns.figure, text, &format!("end{strong}"), self.row.show(figure.best_quartile));
        if let Some((_, base)) = self.base {
            chart.text(columns.ratio, text, &format!("end{strong}"), ratio(figure.best_quartile / base));
        }
        let kind = self.report.kind(&entry.candidate);
        let mark = if kind == Kind::Limit {
            "limit"
        } else if !self.row.is_best(self.report, entry) {
            ""
        } else if self.row.best(self.report).is_some_and(|best| best == figure) {
            "best"
        } else {
            "tied"
        };
        if !mark.is_empty() {
            let sign = if mark == "limit" { "" } else { "● " };
            chart.text(columns.mark, text, if mark == "limit" { "dim" } else { "strong" }, format!("{sign}{mark}"));
        }
        if entry.failure.is_some() {
            let x = self.columns.mark + if mark.is_empty() { 0.0 } else { 38.0 };
            chart.text(x, text, "", "✕ died");
        }
    }

    /// From the best quartile over the median to the worst.
    fn whisker(&self, chart: &mut Chart, figure: &Summary, y: f64) {
        let place = |figure: f64| self.scale.place(figure);
        let (best, median, worst) = (place(figure.best_quartile), place(figure.median), place(figure.worst_quartile));
        let mut path = format!("M{best:.1} {y:.1}H{worst:.1}");
        if figure.median <= self.scale.high() {
            path.push_str(&format!("M{median:.1} {:.1}V{:.1}", y - 5.0, y + 5.0));
        }
        if figure.worst_quartile <= self.scale.high() {
            path.push_str(&format!("M{worst:.1} {:.1}V{:.1}", y - 3.0, y + 3.0));
        } else {
            // It goes on.
            path.push_str(&format!(
                "M{:.1} {:.1}L{worst:.1} {y:.1}L{:.1} {:.1}",
                worst - 4.0,
                y - 4.0,
                worst - 4.0,
                y + 4.0
            ));
        }
        chart.path("whisker", &path);
    }

    fn tip(&self, entry: &Entry) -> String {
        let mut text = entry.candidate.clone();
        if let Some(figure) = self.row.figure_of(entry) {
            let show = |figure| self.row.show(figure);
            text.push_str(&format!(
                ": best quartile {}, median {}, worst quartile {}",
                show(figure.best_quartile),
                show(figure.median),
                show(figure.worst_quartile)
            ));
            if let Some((name, base)) = self.base {
                text.push_str(&format!("; {} of {name}", ratio(figure.best_quartile / base)));
            }
        }
        if let Some(failure) = &entry.failure {
            text.push_str(&format!("; {failure}"));
        }
        if entry.restless {
            text.push_str("; busy while idle, so measured alone");
        }
        text
    }
}

/// 1.04 as "1.04 ×".
pub fn ratio(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2} ×"),
        ratio if ratio < 100.0 => format!("{ratio:.1} ×"),
        ratio => format!("{ratio:.0} ×"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(id: &str, width: Width) -> String {
        let report = Report::example();
        row(&report, report.row(id).unwrap(), width).inline()
    }

    #[test]
    fn every_candidate_has_its_line_and_the_best_are_marked() {
        let text = chart("nop-128", Width::Wide);
        for name in ["raw ring", "ringtoss", "tokio-uring", "kimojio"] {
            assert!(text.contains(&format!("data-candidate=\"{name}\"")), "{name}");
        }
        assert_eq!(text.matches("● best").count(), 1);
        assert!(text.contains("limit: raw ring"));
        assert!(chart("channel", Width::Narrow).contains("● tied"));
    }

    #[test]
    fn what_failed_says_how_instead_of_a_bar() {
        let text = chart("wake", Width::Wide);
        assert!(text.contains("hangs: nothing for 10 s"));
        assert_eq!(text.matches("data-candidate").count() - 1, text.matches("class=\"bar\"").count());
    }

    #[test]
    fn a_bar_of_another_order_is_torn() {
        assert_eq!(chart("spawn-1", Width::Wide).matches("class=\"tear\"").count(), 2, "compio's");
        assert_eq!(chart("echo-50x64", Width::Wide).matches("class=\"tear\"").count(), 0);
    }
}
