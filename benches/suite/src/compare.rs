//! What has changed since an older run, beyond noise.

use std::fmt::Write as _;

use crate::report::Report;
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
        for entry in &row.entries {
            let earlier = before.entries.iter().find(|other| other.candidate == entry.candidate);
            let Some((was, is)) = earlier.and_then(|earlier| before.figure_of(earlier)).zip(row.figure_of(entry))
            else {
                continue;
            };
            compared += 1;
            if was.ties(is, row.noise_floor) {
                continue;
            }
            changes += 1;
            let percent = (is.best_quartile / was.best_quartile - 1.0) * 100.0;
            let change = format!("{percent:+.1}%");
            let change = style.paint(if percent < 0.0 { "32" } else { "31" }, &change);
            let _ = writeln!(
                text,
                "{:<55} {:<15} {:>10} → {:>10}  {change}",
                row.title,
                entry.candidate,
                nanoseconds(was.best_quartile),
                nanoseconds(is.best_quartile),
            );
        }
    }
    let _ = writeln!(text, "{changes} of {compared} figures have changed");
    text
}
