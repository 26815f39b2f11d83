//! Where ringtoss loses, as documentation says it: rows from the result, and beside each what is known of the reason, from
//! `why.md`. A reason is shown only while its row is lost.

use std::fmt::Write as _;

use crate::report::{Measured, Report};
use crate::table::percent;
use crate::verdict::{self, Standing, Verdict};

/// `# id, id` and a text, again and again.
const WHY: &str = include_str!("../why.md");

/// Rows in which somebody else is better beyond noise, the worst first; those that failed before them.
pub fn behind(report: &Report) -> Vec<Verdict<'_>> {
    let mut behind = verdict::all(report);
    behind.retain(|verdict| matches!(verdict.standing, Standing::Behind | Standing::Failed));
    behind.sort_by(|a, b| a.rank().total_cmp(&b.rank()));
    behind
}

/// As Markdown.
pub fn table(report: &Report) -> String {
    let behind = behind(report);
    if behind.is_empty() {
        return "In no row: no other runtime is better beyond noise.\n".into();
    }
    let mut text = format!(
        "In {} of {} rows another runtime is better beyond noise:\n\n| row | ringtoss | best of the others | needs, of ours | another way |\n\
         |---|--:|--:|--:|---|\n",
        behind.len(),
        verdict::all(report).len()
    );
    for verdict in &behind {
        let row = verdict.row;
        let figure = |name: &str| row.entry(name).and_then(|entry| row.figure_of(entry));
        let show = |name: &str| figure(name).map_or("failed".into(), |figure| row.show(figure.best_quartile));
        let ours = verdict::plain(report, row).map_or(String::new(), |entry| show(&entry.candidate));
        let needs = if verdict.factor.is_nan() { "–".into() } else { percent(verdict.factor) };
        let way = verdict.better_with.map_or(String::new(), |(name, factor)| format!("{name}: {}", percent(factor)));
        let _ = writeln!(
            text,
            "| {}{} | {ours} | {} {} | {needs} | {way} |",
            row.title,
            row.figure_note(),
            verdict.rival,
            show(verdict.rival)
        );
    }
    let reasons: Vec<Reason> =
        reasons().filter(|reason| behind.iter().any(|verdict| reason.is_of(verdict.row))).collect();
    if !reasons.is_empty() {
        text.push_str("\nWhat is known of the reasons:\n\n");
    }
    for reason in reasons {
        let of = behind.iter().filter(|verdict| reason.is_of(verdict.row)).map(|verdict| verdict.row.title.as_str());
        let _ = writeln!(text, "* **{}**: {}", of.collect::<Vec<_>>().join("; "), reason.text);
    }
    text
}

/// Rows that are lost, and nobody has said why.
pub fn unexplained(report: &Report) -> Vec<String> {
    let lost = behind(report).into_iter().map(|verdict| verdict.row);
    lost.filter(|row| !reasons().any(|reason| reason.is_of(row))).map(|row| row.id.clone()).collect()
}

/// Rows in which a limit is better than ringtoss beyond noise, the furthest away first. As Markdown.
pub fn limits(report: &Report) -> String {
    let mut far: Vec<_> = report
        .rows
        .iter()
        .filter_map(|row| {
            let ours = row.figure_of(verdict::plain(report, row)?)?;
            let (name, limit) = verdict::limit(report, row)?;
            let times = ours.best_quartile / limit.best_quartile;
            (!ours.ties(limit, row.noise_floor) && times > 1.0).then_some((row, ours, name, limit, times))
        })
        .collect();
    far.sort_by(|a, b| b.4.total_cmp(&a.4));
    if far.is_empty() {
        return "In no row a limit is better beyond noise.\n".into();
    }
    let mut text = "| row | ringtoss | limit | times |\n|---|--:|--:|--:|\n".to_owned();
    for (row, ours, name, limit, times) in far {
        let (ours, limit) = (row.show(ours.best_quartile), row.show(limit.best_quartile));
        let _ = writeln!(text, "| {}{} | {ours} | {name} {limit} | {times:.2} |", row.title, row.figure_note());
    }
    text
}

struct Reason {
    rows: &'static str,
    text: String,
}

impl Reason {
    fn is_of(&self, row: &Measured) -> bool {
        self.ids().any(|id| id == row.id)
    }

    fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.rows.split(',').map(str::trim)
    }
}

fn reasons() -> impl Iterator<Item = Reason> {
    let parts = WHY.split("\n# ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(rows, text)| Reason {
        rows,
        // One line, for a list.
        text: text.split_whitespace().collect::<Vec<_>>().join(" "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{self, Pace};

    #[test]
    fn reasons_are_of_rows_that_there_are() {
        let plan = plan::rows(Pace::Full);
        for reason in reasons() {
            assert!(!reason.text.is_empty(), "{}", reason.rows);
            for id in reason.ids() {
                assert!(plan.iter().any(|row| row.id == id), "there is no row {id}");
            }
        }
        assert!(reasons().count() > 3);
    }

    #[test]
    fn what_is_lost_is_listed_with_the_worst_first_and_what_is_won_is_not() {
        let report = Report::example();
        let behind = behind(&report);
        assert!(behind.windows(2).all(|two| two[0].factor <= two[1].factor));
        assert!(behind.iter().all(|verdict| verdict.factor < 1.0));
        let text = table(&report);
        assert!(text.contains("| spawn and join, one after the other | "), "{text}");
        assert!(text.contains("| glommio ") && !text.contains("NOP, 128 in flight"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), behind.len() + 1);
        let mut won = report.clone();
        won.rows.retain(|row| behind.iter().all(|verdict| verdict.row.id != row.id));
        assert!(table(&won).starts_with("In no row"));
    }

    #[test]
    fn who_failed_comes_first() {
        let mut report = Report::example();
        let row = report.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
        let ours = row.entries.iter_mut().find(|entry| entry.candidate == "ringtoss").unwrap();
        (ours.cpu_ns, ours.time_ns, ours.failure) = (None, None, Some("hangs".into()));
        let text = table(&report);
        let first = text.lines().find(|line| line.starts_with("| NOP")).unwrap();
        assert!(text.lines().position(|line| line == first) == Some(4) && first.contains("| failed |"), "{text}");
    }

    #[test]
    fn limits_are_listed_where_they_are_better() {
        let text = limits(&Report::example());
        assert!(text.lines().count() > 2 && text.contains("| raw ring "), "{text}");
    }
}
