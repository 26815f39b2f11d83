//! The main job, with less to do.

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use crate::util::{example, noise, run, text};

fn juggle(arguments: &[&str]) -> Option<Command> {
    let mut juggle = example("juggle")?;
    juggle.args(arguments);
    Some(juggle)
}

/// The table's rows, as `(what is measured, figure)`.
fn rows(table: &str) -> Vec<(String, String)> {
    let cells = |line: &str| line.split(['│', '┆']).map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let rows = table.lines().map(cells).filter(|cells| cells.len() == 5);
    rows.map(|mut cells| (cells.remove(2), cells.remove(2))).collect()
}

#[test]
fn it_measures_and_prints_a_table() {
    let Some(juggle) = juggle(&["--seconds", "1", "--connections", "50"]) else { return };
    let output = run(juggle, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Progress is for terminals.
    assert_eq!(text(&output.stderr), "");
    let rows = rows(text(&output.stdout));
    for what in [
        "requests",
        "requests per second",
        "latency p50",
        "latency p99",
        "latency p99.9",
        "checksum confirmed",
        "copied, 32 reads in flight",
        "fired",
        "lateness p50",
        "lateness p99",
        "lateness max",
        "turns",
        "SQEs per turn",
        "CQEs per turn",
        "kernel entries per operation",
    ] {
        let figure = rows.iter().find(|(name, _)| name.contains(what)).map(|(_, figure)| figure.as_str());
        let figure = figure.unwrap_or_else(|| panic!("{what} is not in the table:\n{}", text(&output.stdout)));
        let is_more_than_nothing = figure.contains(|c: char| ('1'..='9').contains(&c)) && !figure.starts_with('-');
        assert!(is_more_than_nothing, "{what} is {figure}");
    }
}

#[test]
fn a_file_of_the_users_is_copied_and_left_as_it_is() {
    let folder = tempdir().unwrap();
    let (file, temporary) = (folder.path().join("file"), folder.path().join("temporary"));
    fs::write(&file, noise(1_000_003)).unwrap();
    fs::create_dir(&temporary).unwrap();
    let Some(mut juggle) = juggle(&["--seconds", "1", "--connections", "1", "--file"]) else { return };
    juggle.arg(&file).env("TMPDIR", &temporary);
    let output = run(juggle, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(&file).unwrap() == noise(1_000_003));
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for path in ["/no/such/file", "/proc/self", "/dev/null"] {
        let Some(juggle) = juggle(&["--file", path]) else { return };
        let output = run(juggle, Vec::new());
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(path), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn descriptors_that_cannot_be_had_are_asked_for() {
    let Some(juggle) = juggle(&["--connections", "200"]) else { return };
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""]).arg(juggle.get_program()).args(juggle.get_args());
    let output = run(limited, Vec::new());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("hard limit is 100"), "{}", text(&output.stderr));
}

#[test]
fn a_soft_limit_is_raised() {
    let Some(juggle) = juggle(&["--seconds", "1", "--connections", "100", "--file", env!("CARGO_MANIFEST_PATH")])
    else {
        return;
    };
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -S -n 64 && exec \"$0\" \"$@\""]).arg(juggle.get_program()).args(juggle.get_args());
    let output = run(limited, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
}
