//! How long requests took, by percentile.

use super::lines::{Lines, Series};
use super::scaling::drawn;
use super::{Chart, Width};
use crate::report::{Latency, Measured, Report};
use crate::table::nanoseconds;

const STEPS: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

/// `None` for rows without.
pub fn row(report: &Report, row: &Measured, width: Width) -> Option<Chart> {
    let latency = |name: &str| row.entries.iter().find(|entry| entry.candidate == name)?.latency;
    let series: Vec<Series> = drawn(report, &[row])
        .into_iter()
        .filter_map(|name| Some(Series { name: name.into(), kind: report.kind(name), figures: steps(latency(name)?) }))
        .collect();
    if series.is_empty() {
        return None;
    }
    let mut description = "Latency of requests by percentile on a log scale, less is better. ".to_owned();
    for series in &series {
        let figures = STEPS.iter().zip(&series.figures);
        let figures = figures.map(|(step, figure)| format!("{step} {}", figure.map_or("-".into(), nanoseconds)));
        description.push_str(&format!("{}: {}. ", series.name, figures.collect::<Vec<_>>().join(", ")));
    }
    let lines = Lines {
        name: format!("latency-{}", row.id),
        title: format!("Latency: {}", row.title),
        description: description.trim_end().into(),
        across: "percentile of requests",
        upwards: if row.rate.is_some() { "latency from when it was due" } else { "latency" }.into(),
        steps: STEPS.map(Into::into).into(),
        series,
        show: &nanoseconds,
        show_round: &|figure| row.show_round(figure),
    };
    Some(lines.draw(width))
}

fn steps(latency: Latency) -> Vec<Option<f64>> {
    let Latency { p50, p90, p99, p999, max } = latency;
    [p50, p90, p99, p999, max].map(|figure| Some(figure as f64)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_servers_have_a_chart_of_latencies() {
        let report = Report::example();
        let chart = |id: &str| row(&report, report.row(id).unwrap(), Width::Wide);
        let text = chart("echo-50x64").unwrap().inline();
        assert!(text.contains("p99.9") && text.contains("data-candidate=\"ringtoss leases\""));
        assert!(chart("nop-1").is_none() && chart("wrk-50").is_none());
    }
}
