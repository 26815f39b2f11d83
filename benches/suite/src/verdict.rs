//! Where ringtoss is first, tied or behind, said plainly.

use crate::candidate::Kind;
use crate::report::{Entry, Measured, Report};
use crate::stats::Summary;
use crate::table::percent;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    First,
    Tied,
    Behind,
    /// It crashed or hung.
    Failed,
}

impl Standing {
    pub const ALL: [Standing; 4] = [Standing::First, Standing::Tied, Standing::Behind, Standing::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Standing::First => "first",
            Standing::Tied => "tied for the first place",
            Standing::Behind => "behind",
            Standing::Failed => "failed",
        }
    }
}

/// What a row says about ringtoss as it comes, beside the runtimes of others.
pub struct Verdict<'a> {
    pub row: &'a Measured,
    pub standing: Standing,
    /// The best of the others.
    pub rival: &'a str,
    /// Its figure ÷ ours: above 1, it needs more.
    pub factor: f64,
    /// Others that cannot be told apart from ours.
    pub tied_with: Vec<&'a str>,
    /// Another way to use ringtoss that does better than the plain one beyond noise.
    pub better_with: Option<(&'a str, f64)>,
}

impl Verdict<'_> {
    /// What is worse comes first.
    pub fn rank(&self) -> f64 {
        if self.factor.is_nan() { 0.0 } else { self.factor }
    }

    /// For a line of its own.
    pub fn sentence(&self) -> String {
        let rival = self.rival;
        let mut text = match self.standing {
            Standing::First => format!("first: {rival}, the next, needs {}", times(self.factor)),
            Standing::Tied => format!("tied with {}", self.tied_with.join(", ")),
            Standing::Behind => format!("behind {rival}, which needs {} of it", percent(self.factor)),
            Standing::Failed => "failed".into(),
        };
        if let Some((name, factor)) = self.better_with {
            text.push_str(&format!("; {name} needs {} of the plain way", percent(factor)));
        }
        text
    }
}

/// 1.84 as "1.84 times as much".
fn times(factor: f64) -> String {
    format!("{} times as much", if factor < 10.0 { format!("{factor:.2}") } else { format!("{factor:.0}") })
}

/// `None` where nobody else was measured.
pub fn of<'a>(report: &Report, row: &'a Measured) -> Option<Verdict<'a>> {
    let figures = |kind: Kind| {
        let entries = row.entries.iter().filter(move |entry| report.kind(&entry.candidate) == kind);
        entries.filter_map(|entry| Some((entry.candidate.as_str(), row.figure_of(entry)?)))
    };
    let (rival, theirs) = figures(Kind::Peer).min_by(|(_, a), (_, b)| a.best_quartile.total_cmp(&b.best_quartile))?;
    let plain = plain(report, row)?;
    let Some(ours) = row.figure_of(plain) else {
        let (standing, factor, tied_with, better_with) = (Standing::Failed, f64::NAN, Vec::new(), None);
        return Some(Verdict { row, standing, rival, factor, tied_with, better_with });
    };
    let ties = |other: &Summary| ours.ties(other, row.noise_floor);
    let standing = match () {
        () if ties(theirs) => Standing::Tied,
        () if ours.best_quartile < theirs.best_quartile => Standing::First,
        () => Standing::Behind,
    };
    let ratio = |other: &Summary| other.best_quartile / ours.best_quartile;
    let better = figures(Kind::Ours).filter(|(_, other)| !ties(other) && ratio(other) < 1.0);
    let better = better.min_by(|(_, a), (_, b)| a.best_quartile.total_cmp(&b.best_quartile));
    Some(Verdict {
        row,
        standing,
        rival,
        factor: ratio(theirs),
        tied_with: figures(Kind::Peer).filter(|(_, other)| ties(other)).map(|(name, _)| name).collect(),
        better_with: better.map(|(name, other)| (name, ratio(other))),
    })
}

pub fn all(report: &Report) -> Vec<Verdict<'_>> {
    report.rows.iter().filter_map(|row| of(report, row)).collect()
}

/// ringtoss as it comes: the first of its ways that takes part.
pub fn plain<'a>(report: &Report, row: &'a Measured) -> Option<&'a Entry> {
    row.entries.iter().find(|entry| report.kind(&entry.candidate) == Kind::Ours)
}

/// The best limit of a row.
pub fn limit<'a>(report: &Report, row: &'a Measured) -> Option<(&'a str, &'a Summary)> {
    let limits = row.entries.iter().filter(|entry| report.kind(&entry.candidate) == Kind::Limit);
    let figures = limits.filter_map(|entry| Some((entry.candidate.as_str(), row.figure_of(entry)?)));
    figures.min_by(|(_, a), (_, b)| a.best_quartile.total_cmp(&b.best_quartile))
}

/// "first in 12 of 27 rows, tied in 9, behind in 6".
pub fn tally(verdicts: &[Verdict]) -> String {
    let count = |standing| verdicts.iter().filter(|verdict| verdict.standing == standing).count();
    let mut text = format!(
        "first in {} of {} rows, tied for the first place in {}, behind in {}",
        count(Standing::First),
        verdicts.len(),
        count(Standing::Tied),
        count(Standing::Behind)
    );
    let failed = count(Standing::Failed);
    if failed > 0 {
        text.push_str(&format!(", failed in {failed}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(id: &str) -> (Standing, String) {
        let report = Report::example();
        let verdict = of(&report, report.row(id).unwrap()).unwrap();
        (verdict.standing, verdict.sentence())
    }

    #[test]
    fn it_says_where_ringtoss_wins_and_where_it_loses() {
        let (first, said) = standing("nop-128");
        assert_eq!(first, Standing::First, "{said}");
        assert!(said.starts_with("first: kimojio, the next, needs 1."), "{said}");
        let (behind, said) = standing("spawn-1");
        assert_eq!(behind, Standing::Behind, "{said}");
        assert!(said.starts_with("behind glommio, which needs "), "{said}");
        let (tied, said) = standing("wrk-50");
        assert_eq!(tied, Standing::Tied);
        assert!(said.contains("tokio"), "{said}");
    }

    #[test]
    fn who_has_failed_or_has_nobody_beside_it_is_not_first() {
        let mut report = Report::example();
        let row = report.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
        let ours = row.entries.iter_mut().find(|entry| entry.candidate == "ringtoss").unwrap();
        (ours.cpu_ns, ours.time_ns, ours.failure) = (None, None, Some("hangs".into()));
        let verdict = of(&report, report.row("nop-128").unwrap()).unwrap();
        assert_eq!(verdict.standing, Standing::Failed);
        let row = report.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
        row.entries.retain(|entry| entry.candidate == "ringtoss" || entry.candidate == "raw ring");
        assert!(of(&report, report.row("nop-128").unwrap()).is_none());
    }
}
