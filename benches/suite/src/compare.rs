//! What has changed since an older run, beyond noise.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::report::{Measured, Report};
use crate::table::{Style, nanoseconds};

pub fn compare(old: &Report, new: &Report, style: Style) -> String {
    let mut text = format!("\n{}\n", style.paint("1", "Changes since the older run, beyond noise"));
    if (&old.machine.cpu, &old.machine.kernel) != (&new.machine.cpu, &new.machine.kernel) {
        text.push_str("! another machine or kernel: what differs may be that\n");
    }
    let mut changes = 0;
    let mut compared = 0;
    for row in &new.rows {
        let Some(before) = old.row(&row.id) else { continue };
        let pace = pace(old, before, new, row);
        for entry in &row.entries {
            let earlier = before.entries.iter().find(|other| other.candidate == entry.candidate);
            let Some((was, is)) = earlier.and_then(|earlier| before.figure_of(earlier)).zip(row.figure_of(entry))
            else {
                continue;
            };
            compared += 1;
            let expected = was.times(pace.unwrap_or(1.0));
            // Beside itself and beside the limit: a machine that is slower as a whole has changed nobody.
            if was.ties(is, row.noise_floor) || expected.ties(is, row.noise_floor) {
                continue;
            }
            changes += 1;
            let percent = |from: f64| (is.best_quartile / from - 1.0) * 100.0;
            let change = format!("{:+.1}%", percent(was.best_quartile));
            let change = style.paint(if percent(was.best_quartile) < 0.0 { "32" } else { "31" }, &change);
            let beside = pace.map(|_| format!(" ({:+.1}% beside the limit)", percent(expected.best_quartile)));
            let _ = writeln!(
                text,
                "{:<55} {:<15} {:>10} → {:>10}  {change}{}",
                row.title,
                entry.candidate,
                nanoseconds(was.best_quartile),
                nanoseconds(is.best_quartile),
                beside.unwrap_or_default(),
            );
        }
    }
    let _ = writeln!(text, "{changes} of {compared} figures have changed");
    text
}

/// How much slower the row's first limit is than it was. It is the same code in both runs, so that is the machine.
fn pace(old: &Report, before: &Measured, new: &Report, row: &Measured) -> Option<f64> {
    let limit = row.entries.iter().find(|entry| new.kind(&entry.candidate) == Kind::Limit)?;
    let earlier = before.entries.iter().find(|entry| entry.candidate == limit.candidate)?;
    let same = old.kind(&earlier.candidate) == Kind::Limit;
    Some(row.figure_of(limit)?.best_quartile / before.figure_of(earlier)?.best_quartile).filter(|_| same)
}
