//! What has changed since an older run, beyond noise.

use std::fmt::Write as _;

use crate::candidate::Kind;
use crate::counts::Counts;
use crate::report::{Entry, Measured, Report};
use crate::stats::Summary;
use crate::table::{Style, bytes};

/// Two runs differ by more than their windows do: where code and buffers lie in memory is drawn anew for each process. So
/// over runs a smaller change than this is none.
const FLOOR: f64 = 0.05;
/// The same where there were fewer windows than `MANY`, which say little about their own noise.
const FLOOR_OF_FEW: f64 = 0.1;
const MANY: usize = 5;
/// For each CPU that others used meanwhile, in either run: two runs of the same beside them differ by as much.
const FLOOR_OF_OTHERS: f64 = 0.25;
/// Counts have less noise; but how much is done at once depends on how fast it comes.
const COUNT_FLOOR: f64 = 0.03;
const COUNT_LEAST: f64 = 0.05;

pub struct Comparison<'a> {
    old: &'a Report,
    new: &'a Report,
    /// Worst first.
    pub changes: Vec<Change<'a>>,
    /// Counts, memory, crashes: a sentence each.
    pub others: Vec<String>,
    compared: usize,
    /// How much slower the limits are than they were, one for each row that has some.
    paces: Vec<f64>,
    /// Rows that others disturbed in either run.
    disturbed: usize,
}

/// A figure that is another than it was.
pub struct Change<'a> {
    pub row: &'a Measured,
    pub candidate: &'a str,
    pub was: String,
    pub is: String,
    /// 0.1: it needs 10 % more.
    pub by: f64,
    /// The same when the limits of the row are taken to be as they were.
    pub beside: Option<f64>,
}

impl Change<'_> {
    pub fn verdict(&self) -> String {
        format!("{:+.1} % {}", self.by * 100.0, if self.by > 0.0 { "worse" } else { "better" })
    }
}

impl<'a> Comparison<'a> {
    pub fn new(old: &'a Report, new: &'a Report) -> Comparison<'a> {
        let (changes, others) = (Vec::new(), Vec::new());
        let mut comparison = Comparison { old, new, changes, others, compared: 0, paces: Vec::new(), disturbed: 0 };
        for row in &new.rows {
            if let Some(before) = old.row(&row.id).filter(|before| before.figure == row.figure) {
                comparison.row(before, row);
            }
        }
        comparison.changes.sort_by(|a, b| b.by.total_cmp(&a.by));
        comparison
    }

    fn row(&mut self, before: &Measured, row: &'a Measured) {
        let paces = self.paces_of(before, row);
        let pace = middle(paces.clone());
        self.paces.extend(pace);
        let disturbed = [before, row].map(disturbance).into_iter().fold(0.0, f64::max);
        self.disturbed += usize::from(disturbed > FLOOR);
        // Limits that do not agree on how the machine has changed show how little one run says about another.
        let floor = before.noise_floor.max(row.noise_floor).max(disagreement(&paces)).max(disturbed);
        // Limits are what the machine is known by.
        let others = row.entries.iter().filter(|entry| self.new.kind(&entry.candidate) != Kind::Limit);
        for entry in others {
            let earlier = before.entries.iter().find(|other| other.candidate == entry.candidate);
            let Some(earlier) = earlier else { continue };
            self.others.extend(other_changes(row, earlier, entry, disturbed));
            let Some((was, is)) = before.figure_of(earlier).zip(row.figure_of(entry)) else { continue };
            self.compared += 1;
            let windows = [earlier, entry].map(|entry| entry.samples.len());
            let few = windows.iter().any(|windows| (1..MANY).contains(windows));
            let floor = floor.max(if few { FLOOR_OF_FEW } else { FLOOR });
            self.changes.extend(change(row, entry, (was, is), pace, floor));
        }
    }

    /// How much slower the row's limits are than they were: the same code in both runs, so that is the machine.
    fn paces_of(&self, before: &Measured, row: &Measured) -> Vec<f64> {
        let limit = |report: &Report, name: &str| report.kind(name) == Kind::Limit;
        let ratio = |entry: &Entry| {
            let name = &entry.candidate;
            let earlier = before.entries.iter().find(|earlier| earlier.candidate == *name)?;
            let both = limit(self.old, name) && limit(self.new, name);
            Some(row.figure_of(entry)?.best_quartile / before.figure_of(earlier)?.best_quartile).filter(|_| both)
        };
        row.entries.iter().filter_map(ratio).collect()
    }

    /// What one has to know before the changes.
    pub fn remarks(&self) -> Vec<String> {
        let (old, new) = (self.old, self.new);
        let mut remarks = Vec::new();
        let mut differs = |what: &str, was: &str, is: &str| {
            if was != is && !was.is_empty() && !is.is_empty() {
                remarks.push(format!("another {what}: {was} then, {is} now"));
            }
        };
        differs("CPU", &old.machine.cpu, &new.machine.cpu);
        differs("kernel", &old.machine.kernel, &new.machine.kernel);
        differs("compiler", &old.machine.rustc, &new.machine.rustc);
        differs("governor", &old.machine.governor, &new.machine.governor);
        differs("number of CPUs", &old.machine.cpus.to_string(), &new.machine.cpus.to_string());
        differs("revision of ringtoss", &old.revision, &new.revision);
        for contender in &new.candidates {
            let earlier = old.candidates.iter().find(|earlier| earlier.name == contender.name);
            if let Some(earlier) = earlier.filter(|earlier| earlier.version != contender.version) {
                differs(&format!("version of {}", contender.name), &earlier.version, &contender.version);
            }
        }
        let only =
            |report: &Report, other: &Report| report.rows.iter().filter(|row| other.row(&row.id).is_none()).count();
        let (gone, added) = (only(old, new), only(new, old));
        if gone + added > 0 {
            remarks.push(format!("rows in one of the runs only: {gone} in the older, {added} in the newer"));
        }
        if let Some(pace) = middle(self.paces.clone()).filter(|pace| (pace - 1.0).abs() > 0.02) {
            let percent = (pace - 1.0).abs() * 100.0;
            let how = if pace > 1.0 { "more" } else { "less" };
            remarks.push(format!(
                "the machine itself: the limits need {percent:.0} % {how} than they did (median of the rows)"
            ));
        }
        if self.disturbed > 0 {
            remarks.push(format!(
                "disturbed by other processes in one of the runs: {} rows; there only large changes count",
                self.disturbed
            ));
        }
        let worse = self.changes.iter().filter(|change| change.by > 0.0).count();
        let better = self.changes.len() - worse;
        remarks.push(format!(
            "{} of {} figures have changed beyond noise: {worse} worse, {better} better",
            self.changes.len(),
            self.compared
        ));
        remarks
    }

    /// For the terminal.
    pub fn terminal(&self, style: Style) -> String {
        let mut text = format!("\n{}\n", style.paint("1", "Since the older run"));
        for remark in &self.remarks() {
            let _ = writeln!(text, "  {remark}");
        }
        for change in &self.changes {
            let beside =
                change.beside.map_or(String::new(), |beside| format!(" ({:+.1} % beside the limit)", beside * 100.0));
            let _ = writeln!(
                text,
                "  {:<55} {:<15} {:>10} → {:>10}  {}{beside}",
                change.row.title,
                change.candidate,
                change.was,
                change.is,
                style.paint(if change.by < 0.0 { "32" } else { "31" }, &change.verdict()),
            );
        }
        for other in &self.others {
            let _ = writeln!(text, "  {other}");
        }
        text
    }

    pub fn markdown(&self) -> String {
        let mut text = "\n## Since the older run\n\n".to_owned();
        for remark in &self.remarks() {
            let _ = writeln!(text, "* {remark}");
        }
        if !self.changes.is_empty() {
            text.push_str("\n| row | who | was | is | change | beside the limit |\n|---|---|--:|--:|--:|--:|\n");
        }
        for change in &self.changes {
            let beside = change.beside.map_or("-".into(), |beside| format!("{:+.1} %", beside * 100.0));
            let (title, who) = (&change.row.title, change.candidate);
            let _ = writeln!(
                text,
                "| {title} | {who} | {} | {} | **{}** | {beside} |",
                change.was,
                change.is,
                change.verdict()
            );
        }
        if !self.others.is_empty() {
            text.push_str("\nAlso different:\n\n");
            for other in &self.others {
                let _ = writeln!(text, "* {other}");
            }
        }
        text
    }
}

/// `None` if it is the noise, or the machine.
fn change<'a>(
    row: &'a Measured,
    entry: &'a Entry,
    (was, is): (&Summary, &Summary),
    pace: Option<f64>,
    floor: f64,
) -> Option<Change<'a>> {
    let expected = was.times(pace.unwrap_or(1.0));
    let part = |from: &Summary| is.best_quartile / from.best_quartile - 1.0;
    let (by, beside) = (part(was), part(&expected));
    // Both have to say it, and the same.
    if was.ties(is, floor) || expected.ties(is, floor) || (by > 0.0) != (beside > 0.0) {
        return None;
    }
    Some(Change {
        row,
        candidate: &entry.candidate,
        was: row.show(was.best_quartile),
        is: row.show(is.best_quartile),
        by,
        beside: pace.map(|_| beside),
    })
}

/// What is no figure of the row's, but changes all the same.
fn other_changes(row: &Measured, was: &Entry, is: &Entry, disturbed: f64) -> Vec<String> {
    let what = format!("{}, {}", row.title, is.candidate);
    let mut others = Vec::new();
    match (&was.failure, &is.failure) {
        (None, Some(failure)) => others.push(format!("{what}: {failure}; it did not then")),
        (Some(_), None) => others.push(format!("{what}: failed then, and does not now")),
        _ => {}
    }
    let counted = was.counts.zip(is.counts);
    let counts = |counts: Counts| [counts.system_calls, counts.submissions, counts.allocations];
    let names = ["system calls", "ring entries", "allocations"];
    for (at, name) in names.into_iter().enumerate() {
        let both = counted.and_then(|(was, is)| counts(was)[at].zip(counts(is)[at]));
        let range = [was, is].map(|entry| entry.counts_range.and_then(|range| counts(range)[at]).unwrap_or(0.0));
        let (floor, least) = (COUNT_FLOOR.max(disturbed), COUNT_LEAST.max(range[0]).max(range[1]));
        let differs = |(was, is): &(f64, f64)| (was - is).abs() > (was.max(*is) * floor).max(least);
        if let Some((was, is)) = both.filter(differs) {
            others.push(format!("{what}: {was:.2} {name} per {} then, {is:.2} now", row.unit));
        }
    }
    let memory = was.connection_bytes.zip(is.connection_bytes);
    if let Some((was, is)) = memory.filter(|(was, is)| was.abs_diff(*is) as f64 > *was.max(is) as f64 * 0.1) {
        others.push(format!("{what}: {} a connection then, {} now", bytes(was as f64), bytes(is as f64)));
    }
    others
}

/// How much two runs may differ because of what else was going on in one of them.
fn disturbance(row: &Measured) -> f64 {
    row.disturbance.map_or(0.0, |disturbance| (disturbance.others + disturbance.stolen) * FLOOR_OF_OTHERS)
}

fn disagreement(paces: &[f64]) -> f64 {
    let (low, high) =
        paces.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), pace| (low.min(*pace), high.max(*pace)));
    if paces.is_empty() { 0.0 } else { high / low - 1.0 }
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::busy::Disturbance;
    use crate::stats::Sample;

    /// The example, with figures of some made larger or smaller.
    fn changed(change: impl Fn(&str, &str) -> f64) -> Report {
        let mut report = Report::example();
        for row in &mut report.rows {
            for entry in &mut row.entries {
                let factor = change(&row.id, &entry.candidate);
                entry.cpu_ns = entry.cpu_ns.map(|figure| figure.times(factor));
                entry.time_ns = entry.time_ns.map(|figure| figure.times(factor));
                entry.p99_ns = entry.p99_ns.map(|figure| figure.times(factor));
                entry.bytes = entry.bytes.map(|figure| figure.times(factor));
            }
        }
        report
    }

    fn who<'a>(comparison: &Comparison<'a>) -> Vec<(&'a str, &'a str)> {
        comparison.changes.iter().map(|change| (change.row.id.as_str(), change.candidate)).collect()
    }

    #[test]
    fn nothing_has_changed_beside_itself() {
        let (old, new) = (Report::example(), changed(|_, _| 1.04));
        for new in [&old, &new] {
            let comparison = Comparison::new(&old, new);
            assert_eq!(who(&comparison), []);
            assert_eq!(comparison.others, [] as [String; 0]);
        }
    }

    #[test]
    fn one_that_became_slower_is_named() {
        let old = Report::example();
        let new = changed(|row, who| if (row, who) == ("nop-128", "ringtoss") { 1.3 } else { 1.0 });
        let comparison = Comparison::new(&old, &new);
        assert_eq!(who(&comparison), [("nop-128", "ringtoss")]);
        assert_eq!(comparison.changes[0].verdict(), "+30.0 % worse");
        let back = Comparison::new(&new, &old);
        assert_eq!(back.changes[0].verdict(), "-23.1 % better");
        for text in [comparison.terminal(Style { colours: false }), comparison.markdown()] {
            assert!(text.contains("+30.0 % worse") && text.contains("NOP, 128 in flight"), "{text}");
        }
    }

    #[test]
    fn a_machine_that_became_slower_has_changed_nobody_beside_its_limits() {
        let old = Report::example();
        let new = changed(|_, _| 1.5);
        let comparison = Comparison::new(&old, &new);
        for change in &comparison.changes {
            assert!(crate::verdict::limit(&old, change.row).is_none(), "{}", change.row.id);
        }
        assert!(comparison.remarks().iter().any(|remark| remark.contains("the limits need 50 % more")));
    }

    #[test]
    fn within_the_spread_of_its_windows_nothing_has_changed() {
        let mut old = Report::example();
        let row = old.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
        let entry = row.entries.iter_mut().find(|entry| entry.candidate == "ringtoss").unwrap();
        let best_quartile = entry.cpu_ns.unwrap().best_quartile;
        entry.cpu_ns =
            Some(Summary { best_quartile, median: best_quartile * 1.8, worst_quartile: best_quartile * 2.0 });
        let new = changed(|row, who| if (row, who) == ("nop-128", "ringtoss") { 1.3 } else { 1.0 });
        assert_eq!(who(&Comparison::new(&old, &new)), []);
    }

    #[test]
    fn what_others_disturbed_has_to_change_by_more() {
        let disturbed = |others| {
            let mut old = Report::example();
            let row = old.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
            row.disturbance = Some(Disturbance { others, stolen: 0.0 });
            old
        };
        let new = changed(|row, who| if (row, who) == ("nop-128", "ringtoss") { 1.3 } else { 1.0 });
        let old = disturbed(1.5);
        let comparison = Comparison::new(&old, &new);
        assert_eq!(who(&comparison), []);
        assert!(comparison.remarks().iter().any(|remark| remark.starts_with("disturbed by other processes")));
        assert_eq!(who(&Comparison::new(&disturbed(0.1), &new)), [("nop-128", "ringtoss")]);
    }

    #[test]
    fn limits_that_do_not_agree_and_few_windows_are_believed_less() {
        let old = Report::example();
        let slower = |row: &str, who: &str| row == "read-4k-1" && who == "ringtoss";
        let agree = changed(|row, who| if slower(row, who) { 1.2 } else { 1.0 });
        assert_eq!(who(&Comparison::new(&old, &agree)), [("read-4k-1", "ringtoss")]);
        let differ = changed(|row, who| match (slower(row, who), who) {
            (true, _) => 1.2,
            (false, "syscalls") => 1.25,
            _ => 1.0,
        });
        assert!(!who(&Comparison::new(&old, &differ)).contains(&("read-4k-1", "ringtoss")));
        let mut few = changed(|row, who| if (row, who) == ("yield-1000", "ringtoss") { 1.08 } else { 1.0 });
        assert_eq!(who(&Comparison::new(&old, &few)), [("yield-1000", "ringtoss")]);
        let sample = Sample { ops: 1, ..old.rows[1].entries[0].samples[0] };
        for row in &mut few.rows {
            row.entries.iter_mut().for_each(|entry| entry.samples = vec![sample; 3]);
        }
        assert_eq!(who(&Comparison::new(&old, &few)), []);
    }

    #[test]
    fn counts_and_crashes_are_compared_without_noise() {
        let old = Report::example();
        let mut new = Report::example();
        let row = new.rows.iter_mut().find(|row| row.id == "nop-128").unwrap();
        let ours = row.entries.iter_mut().find(|entry| entry.candidate == "ringtoss").unwrap();
        ours.counts.as_mut().unwrap().allocations = Some(1.0);
        let theirs = row.entries.iter_mut().find(|entry| entry.candidate == "kimojio").unwrap();
        theirs.failure = Some("hangs: nothing for 10 s".into());
        let comparison = Comparison::new(&old, &new);
        assert_eq!(who(&comparison), []);
        assert_eq!(
            comparison.others,
            [
                "NOP, 128 in flight, ringtoss: 0.00 allocations per NOP then, 1.00 now",
                "NOP, 128 in flight, kimojio: hangs: nothing for 10 s; it did not then"
            ]
        );
    }
}
