//! The comparison of ringtoss with other runtimes, on this machine. `docs/benchmarks.md` says how to run it, what the rows
//! mean and how they are measured.
//!
//! * `plan` has the rows, `work` what is done in them, the same code for every runtime;
//! * `peers` has the runtimes, a file each, behind the one trait in `runtime`; `limits` what the kernel gives without one;
//! * `child` is the measured side, a process for each candidate and row; `contestant` the suite's side of it;
//! * `session` lets the candidates of a row take turns, each a `racer`; `generator` drives servers over the connections in
//!   `load`, `open_loop` at a rate of its own, `storm` makes and closes connections;
//! * `machine` looks at what it is measured on, and what spoils it;
//! * `stats`, `report`, `verdict`, `losses` and `compare` make figures of it; `table`, `markdown`, `html`, `chart` and `docs` show them.
//! * `places` is where files are made for it, `ending` how it ends before it is over, `sizes` what a runtime costs to build.

mod args;
mod awake;
mod buffers;
mod by_epoll;
mod candidate;
mod chart;
mod child;
mod compare;
mod contestant;
mod counts;
mod cpus;
mod docs;
mod ending;
mod generator;
mod html;
mod http;
mod limits;
mod load;
mod losses;
mod machine;
mod markdown;
mod open_loop;
mod output;
mod peers;
mod places;
mod plan;
mod progress;
mod racer;
mod report;
mod ring;
mod runtime;
mod session;
mod sizes;
mod stats;
mod storm;
mod sys;
mod table;
mod verdict;
mod work;
mod wrk;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::Arguments;
use candidate::{Candidate, Kind};
use cpus::Cpus;
use machine::busy::Snapshot;
use machine::{Conditions, Host, Machine};
use places::Places;
use plan::{Pace, Row};
use progress::Progress;
use report::{Measured, Report};
use session::Session;
use table::Style;

#[global_allocator]
static ALLOCATOR: counts::Allocator = counts::Allocator;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let result = if arguments.peek().is_some_and(|first| first == "child") {
        child::run(&arguments.skip(1).collect::<Vec<_>>())
    } else {
        Arguments::parse(arguments).and_then(|arguments| suite(&arguments))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody may be there to hear it.
            output::note(&message);
            ExitCode::FAILURE
        }
    }
}

fn suite(arguments: &Arguments) -> Result<(), String> {
    let style = Style::of_stdout();
    let old = arguments.compare.as_deref().map(Report::load).transpose()?;
    if let Some(path) = &arguments.show {
        let report = Report::load(path)?;
        output::say(&table::head(&report, style));
        report.rows.iter().for_each(|row| output::say(&table::row(&report, row, style)));
        return output::finish(arguments, &report, old.as_ref(), style);
    }
    let rows = plan::chosen(arguments.pace, &arguments.only);
    let all = candidate::all();
    let candidates: Vec<&Candidate> =
        all.iter().filter(|candidate| candidate.kind != Kind::Peer || arguments.wants_peer(candidate)).collect();
    if arguments.sizes {
        return build_sizes(arguments, &candidates);
    }
    check_names(arguments, &rows, &all)?;
    if arguments.list {
        list(&rows, &candidates, arguments.pace);
        return Ok(());
    }
    let path = arguments.json.clone().or(arguments.resume.clone()).unwrap_or_else(default_path);
    let report = measure(arguments, &rows, &candidates, &path, style)?;
    output::finish(arguments, &report, old.as_ref(), style)?;
    output::note(&format!("\nSaved as {}", path.display()));
    if ending::is_asked_for() {
        let path = path.display();
        return Err(format!("Interrupted. To measure the rest: {} --resume {path}", report.command_with_options()));
    }
    Ok(())
}

/// A name that means nothing is a slip, not an empty selection.
fn check_names(arguments: &Arguments, rows: &[Row], all: &[Candidate]) -> Result<(), String> {
    for name in &arguments.only {
        if !plan::Group::ALL.iter().any(|group| group.name() == name) && !rows.iter().any(|row| row.id == *name) {
            return Err(format!("there is no group or row {name}; --list shows them"));
        }
    }
    for name in arguments.peers.iter().flatten() {
        if !all.iter().any(|candidate| candidate.name == name || candidate.package == name) {
            return Err(format!("there is no peer {name}, or it was left out of the build; --list shows them"));
        }
    }
    Ok(())
}

fn list(rows: &[Row], candidates: &[&Candidate], pace: Pace) {
    for row in rows {
        output::say(&format!("{:<14} {:<6} {}\n", row.id, row.group.name(), row.title));
    }
    output::say("\n");
    for candidate in candidates {
        output::say(&format!("{:<14} {:<9} {}\n", candidate.name, candidate.version(), candidate.setup));
    }
    let seconds = rows.iter().map(|row| planned(row, candidates, pace)).sum::<Duration>().as_secs();
    output::say(&format!(
        "\nA {} run of this takes about {}:{:02} minutes.\n",
        pace.name(),
        seconds / 60,
        seconds % 60
    ));
}

fn measure(
    arguments: &Arguments,
    rows: &[Row],
    candidates: &[&Candidate],
    path: &Path,
    style: Style,
) -> Result<Report, String> {
    let earlier = arguments.resume.as_deref().map(Report::load).transpose()?;
    let file_limit = sys::raise_file_limit();
    let (host, cpus) = (Host::this(), Cpus::find());
    let machine = Machine::look(&host, &Conditions::look(&host, &cpus, file_limit));
    let mut report = empty(arguments, candidates, machine);
    if let Some(earlier) = earlier {
        report.take_over(earlier)?;
    }
    cpus.pin_generator().map_err(|error| format!("cannot be pinned to a CPU: {error}"))?;
    // Before there are files that have to be removed.
    ending::catch().map_err(|error| format!("signals cannot be heard: {error}"))?;
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let with_file = rows.iter().any(|row| row.work.has_file());
    let places = Places::make(&base, with_file)
        .map_err(|error| format!("no files to work on at {}: {error}", base.display()))?;
    report.places = places.describe();
    let used = [cpus.server, cpus.generator];
    let mut session = Session::new(cpus, arguments.pace, places.file.clone(), file_limit);
    output::say(&table::head(&report, style));
    let planned = |row: &Row| planned(row, candidates, arguments.pace);
    let mut progress = Progress::new(rows.iter().map(planned).sum(), rows.len());
    for row in rows {
        let able = candidates.iter().filter(|candidate| (candidate.can)(&row.work)).map(|candidate| candidate.name);
        if let Some(measured) = report.complete_row(&row.id, able) {
            progress.passed(planned(row));
            output::say(&table::row(&report, measured, style));
            continue;
        }
        if let Some(obstacle) = session.obstacle(row) {
            progress.passed(planned(row));
            output::say(&format!("\n{}\n  left out: {obstacle}\n", row.title));
            report.leave_out(row, obstacle);
            continue;
        }
        let (before, over, start) = (Snapshot::take(&host, &used), progress.over(), Instant::now());
        let entries = session.measure(row, candidates, &mut progress);
        progress.measured(planned(row), over);
        let mut measured = Measured::new(row, entries);
        measured.disturbed(before.until(&Snapshot::take(&host, &used)));
        if session.rate > 0.0 {
            measured.at_rate(session.rate);
        }
        measured.seconds = Some(start.elapsed().as_secs_f64());
        measured.partial = ending::is_asked_for();
        let said = table::row(&report, &measured, style);
        let something = measured.entries.iter().any(|entry| !entry.samples.is_empty() || entry.failure.is_some());
        if something {
            report.put(measured, &plan::rows(Pace::Full));
        }
        report.save(path).map_err(|error| format!("{}: {error}", path.display()))?;
        if something {
            output::say(&said);
        }
        if ending::is_asked_for() {
            break;
        }
    }
    progress.clear();
    Ok(report)
}

/// A result with nothing in it yet.
fn empty(arguments: &Arguments, candidates: &[&Candidate], machine: Machine) -> Report {
    Report {
        format: report::FORMAT,
        pace: arguments.pace.name().into(),
        machine,
        places: Vec::new(),
        candidates: candidates.iter().map(|&candidate| candidate.into()).collect(),
        rows: Vec::new(),
        revision: env!("RINGTOSS_BENCH_REVISION").into(),
        options: arguments.choice(),
        left_out: Vec::new(),
        sizes: Vec::new(),
    }
}

/// What building with each costs; into the result of an earlier run, if that is named.
fn build_sizes(arguments: &Arguments, candidates: &[&Candidate]) -> Result<(), String> {
    let mut report = match &arguments.json {
        Some(path) if path.exists() => Report::load(path)?,
        _ => {
            let (host, cpus) = (Host::this(), Cpus::find());
            let conditions = Conditions::look(&host, &cpus, sys::raise_file_limit());
            empty(arguments, candidates, Machine::look(&host, &conditions))
        }
    };
    ending::catch().map_err(|error| format!("signals cannot be heard: {error}"))?;
    let base = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    report.sizes = sizes::run(&base, |name| arguments.wants_program(name))?;
    if let Some(path) = &arguments.json {
        report.save(path).map_err(|error| format!("{}: {error}", path.display()))?;
        output::note(&format!("\nSaved in {}", path.display()));
    }
    output::files(arguments, &report, None)
}

/// The measuring time of a row.
fn planned(row: &Row, candidates: &[&Candidate], pace: Pace) -> Duration {
    let able = candidates.iter().filter(|candidate| (candidate.can)(&row.work)).count();
    row.planned(able, pace)
}

fn default_path() -> PathBuf {
    // target/release/ringtoss-bench
    let folder = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.parent()?.to_owned()));
    folder.unwrap_or_default().join("ringtoss-bench.json")
}
