//! All rows in one picture: where the others lie beside ringtoss, on a log scale.

use super::scale::Scale;
use super::{Chart, Width, bars, fitting};
use crate::candidate::Kind;
use crate::report::Report;
use crate::verdict::{self, Standing, Verdict};

/// Beyond so many times as much, or a part as small as that, it only matters that it is there.
const FAR: f64 = 10.0;

struct Columns {
    dots: f64,
    dots_end: f64,
    verdict: f64,
    row: f64,
}

const WIDE: Columns = Columns { dots: 340.0, dots_end: 566.0, verdict: 580.0, row: 22.0 };
const NARROW: Columns = Columns { dots: 16.0, dots_end: 176.0, verdict: 190.0, row: 42.0 };

pub fn draw(report: &Report, width: Width) -> Option<Chart> {
    let verdicts: Vec<Verdict> = verdict::all(report);
    if verdicts.is_empty() {
        return None;
    }
    let columns = if width == Width::Wide { WIDE } else { NARROW };
    let mut description = format!("ringtoss is {}. ", verdict::tally(&verdicts));
    verdicts
        .iter()
        .for_each(|verdict| description.push_str(&format!("{}: {}. ", verdict.row.title, verdict.sentence())));
    let title = "The others beside ringtoss, all rows";
    let mut chart = Chart::new("overview", title, description.trim_end().into(), width);
    let top = 64.0;
    let bottom = top + verdicts.len() as f64 * columns.row;
    chart.height = bottom + 26.0;
    legend(&mut chart, width);
    let scale = Scale::logarithmic([least(report, &verdicts), FAR / 1.1].into_iter(), columns.dots, columns.dots_end);
    for tick in scale.ticks() {
        let x = scale.place(tick);
        let tick = (tick * 10.0).round() / 10.0;
        chart.line(if tick == 1.0 { "axis" } else { "grid" }, (x, top - 4.0), (x, bottom));
        if width == Width::Wide || tick == 0.1 || tick == 1.0 || tick == 10.0 {
            chart.text(x, bottom + 16.0, "dim small middle", format!("{tick} ×"));
        }
    }
    for (number, verdict) in verdicts.iter().enumerate() {
        line(&mut chart, report, verdict, &columns, width, top + number as f64 * columns.row, &scale);
    }
    Some(chart)
}

/// How far to the left there is something.
fn least(report: &Report, verdicts: &[Verdict]) -> f64 {
    let limits = verdicts.iter().filter_map(|verdict| {
        let ours = verdict.row.figure_of(verdict::plain(report, verdict.row)?)?;
        Some(verdict::limit(report, verdict.row)?.1.best_quartile / ours.best_quartile)
    });
    let all = verdicts.iter().map(|verdict| verdict.factor).chain(limits);
    all.filter(|factor| factor.is_finite()).fold(0.52, f64::min).max(1.1 / FAR)
}

fn legend(chart: &mut Chart, width: Width) {
    let dim = "dim small";
    if width == Width::Wide {
        chart.text(8.0, 14.0, dim, "CPU or time per operation ÷ that of ringtoss; log scale");
        chart.text(WIDE.dots, 48.0, dim, "← they need less");
        chart.text(WIDE.dots_end, 48.0, "dim small end", "they need more →");
    } else {
        chart.text(6.0, 14.0, dim, "÷ that of ringtoss, log scale; left: they need less");
    }
    let (mut x, y) = if width == Width::Wide { (330.0, 10.0) } else { (12.0, 33.0) };
    for (class, name) in [("dot own", "ringtoss"), ("dot nearest", "best other"), ("dot", "others")] {
        chart.path(class, &circle(x, y, if class == "dot nearest" { 5.0 } else { 4.0 }));
        chart.text(x + 10.0, y + 4.0, dim, name);
        x += 22.0 + 6.4 * name.len() as f64;
    }
    chart.line("bound", (x, y - 7.0), (x, y + 7.0));
    chart.text(x + 8.0, y + 4.0, dim, "limit");
}

fn line(
    chart: &mut Chart,
    report: &Report,
    verdict: &Verdict,
    columns: &Columns,
    width: Width,
    top: f64,
    scale: &Scale,
) {
    let row = verdict.row;
    let wide = width == Width::Wide;
    chart.open("row", &format!("{}: {}", row.title, verdict.sentence()));
    let (text, y) = if wide { (top + 14.0, top + 10.0) } else { (top + 12.0, top + 26.0) };
    if wide {
        chart.text(columns.dots - 14.0, text, "end", fitting(&row.title, 11.0, columns.dots - 18.0));
    } else {
        chart.text(6.0, text, "", fitting(&row.title, 11.0, 348.0));
    }
    let ours = verdict::plain(report, row).and_then(|entry| row.figure_of(entry)).map(|ours| ours.best_quartile);
    if let Some(ours) = ours {
        if let Some((_, limit)) = verdict::limit(report, row) {
            let x = scale.place(limit.best_quartile / ours);
            chart.line("bound", (x, y - 8.0), (x, y + 8.0));
        }
        for entry in row.entries.iter().filter(|entry| report.kind(&entry.candidate) == Kind::Peer) {
            let Some(figure) = row.figure_of(entry).filter(|_| entry.candidate != verdict.rival) else { continue };
            chart.path("dot", &circle(scale.place(figure.best_quartile / ours), y, 3.5));
        }
        chart.path("dot own", &circle(scale.place(1.0), y, 5.0));
        chart.path("dot nearest", &circle(scale.place(verdict.factor), y, 5.0));
    }
    let at = if wide { text } else { y + 4.0 };
    chart.text(
        columns.verdict,
        at,
        if verdict.standing == Standing::Behind { "strong" } else { "" },
        short(verdict, width.pixels() - columns.verdict),
    );
    chart.close();
}

/// The factor before the name, which may not fit.
fn short(verdict: &Verdict, room: f64) -> String {
    let beside = || format!("{} {}", bars::ratio(verdict.factor), verdict.rival);
    let text = match verdict.standing {
        Standing::First => format!("first, {}", beside()),
        Standing::Tied => format!("tied, {}", beside()),
        Standing::Behind => format!("behind, {}", beside()),
        Standing::Failed => "failed".into(),
    };
    fitting(&text, if verdict.standing == Standing::Behind { 12.8 } else { 12.0 }, room)
}

fn circle(x: f64, y: f64, radius: f64) -> String {
    let across = radius * 2.0;
    format!("M{:.1} {y:.1}a{radius} {radius} 0 1 0 {across} 0a{radius} {radius} 0 1 0 -{across} 0z", x - radius)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_how_ringtoss_stands() {
        let report = Report::example();
        let text = draw(&report, Width::Narrow).unwrap().inline();
        assert_eq!(text.matches("<g class=\"row\">").count(), report.rows.len());
        assert!(text.contains("behind, 0.3"));
    }
}
