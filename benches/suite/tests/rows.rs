//! Every row runs, and gives figures: for this crate and for the limits, so briefly that the figures mean nothing. That the
//! bytes are right is the suite's own business: it looks at the first answer on every connection.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Removed when the test is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn smoke(name: &str, only: &str) -> Value {
    let suite = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"));
    run(suite, name, only)
}

/// A candidate breaks: who, how (`crash`, `hang`), and how many milliseconds after it is ready.
fn smoke_with_fault(name: &str, only: &str, fault: &str) -> Value {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"));
    suite.env("RINGTOSS_BENCH_FAULT", fault);
    run(suite, name, only)
}

fn run(mut suite: Command, name: &str, only: &str) -> Value {
    let path = std::env::temp_dir().join(format!("ringtoss-bench-{name}-{}.json", std::process::id()));
    let scratch = Scratch(path);
    let output = suite
        .args(["--smoke", "--peers", "ringtoss", "--only", only, "--json"])
        .arg(&scratch.0)
        .output()
        .expect("the suite");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let path: &Path = &scratch.0;
    serde_json::from_slice(&std::fs::read(path).expect("the result")).expect("JSON")
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Nobody fails, everybody does something, and this crate is there.
fn check(row: &Value) {
    let entries = array(row, "entries");
    assert!(entries.iter().any(|entry| entry["candidate"] == "ringtoss"), "{row:#}");
    for entry in entries {
        assert!(entry["failure"].is_null(), "{}: {}: {}", row["id"], entry["candidate"], entry["failure"]);
        let samples = array(entry, "samples");
        assert!(!samples.is_empty(), "{}: {}", row["id"], entry["candidate"]);
        assert!(samples.iter().all(|sample| sample["ops"].as_u64() > Some(0)), "{}: {entry:#}", row["id"]);
    }
}

#[test]
fn every_row_of_the_network_runs() {
    let report = smoke("net", "net");
    let rows = array(&report, "rows");
    rows.iter().for_each(check);
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} is missing"));
    for id in ["echo-50x64x16", "unix-50x64", "udp-50x64", "storm-50", "http-50", "proxy-50x64", "file-server-50"] {
        let entries = array(row(id), "entries");
        assert!(entries.iter().all(|entry| entry["latency"]["p99"].as_u64() > Some(0)), "{id}");
        assert!(entries.iter().all(|entry| entry["generator_busy"].as_f64() > Some(0.0)), "{id}");
    }
    for id in ["open-50", "open-80", "mixed"] {
        assert!(row(id)["rate"].as_f64() > Some(0.0), "{id}");
        for entry in array(row(id), "entries") {
            assert!(entry["p99_ns"]["median"].as_f64() > Some(0.0), "{id}: {entry:#}");
            assert!(entry["lag_p99_ns"].is_u64() && entry["generator_busy"].as_f64() > Some(0.0), "{id}: {entry:#}");
            assert_eq!(entry["beside_per_s"].is_number(), id == "mixed", "{id}: {entry:#}");
        }
    }
    // A receive of 4 KiB waits on each, but for those that wait without a buffer.
    for entry in array(row("idle-500"), "entries") {
        let (each, waits) = (entry["bytes"]["median"].as_f64().unwrap(), entry["candidate"].as_str().unwrap());
        let without = ["ringtoss leases", "raw multishot", "syscalls"].contains(&waits);
        assert!(if without { each < 4096.0 } else { (4096.0..16384.0).contains(&each) }, "{waits}: {each} B");
    }
}

/// Has the kernel refuse `io_uring_setup`, as the filters of containers do.
fn forbid_rings(command: &mut Command) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let step = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut filter = [
        // The call's number comes first.
        step(LOAD, 0),
        libc::sock_filter { code: JUMP, jt: 0, jf: 1, k: libc::SYS_io_uring_setup as u32 },
        step(RETURN, refuse),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let forbid = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program lives across the call, which copies it.
        let set = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
        };
        if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: only system calls, no allocation.
    unsafe { command.pre_exec(forbid) };
}

#[test]
fn without_io_uring_the_rest_is_compared() {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"));
    forbid_rings(&mut suite);
    let report = run(suite, "no-ring", "echo-50x64,udp-50x64,proxy-50x64,storm-50,read-4k-1");
    let warnings = array(&report["machine"], "warnings");
    assert!(warnings.iter().any(|warning| warning.as_str().unwrap().starts_with("no io_uring here")), "{warnings:?}");
    let rows = array(&report, "rows");
    assert_eq!(rows.len(), 4, "{report:#}");
    for row in rows {
        for entry in array(row, "entries") {
            let (name, done) = (entry["candidate"].as_str().unwrap(), !array(entry, "samples").is_empty());
            if name == "syscalls" {
                assert!(done && entry["failure"].is_null(), "{}: {entry:#}", row["id"]);
            } else {
                assert_eq!(entry["failure"], "needs io_uring", "{}: {name}", row["id"]);
            }
        }
    }
    let left_out = array(&report, "left_out");
    assert!(left_out.len() == 1 && left_out[0]["id"] == "storm-50", "{left_out:?}");
}

#[test]
fn every_row_of_files_runs() {
    let report = smoke("files", "files");
    let rows = array(&report, "rows");
    rows.iter().for_each(check);
    for id in ["read-4k-1", "write-4k-32", "sync-4k-1", "seq-read-32", "small-create-32", "small-drain-32", "stat-32"] {
        assert!(rows.iter().any(|row| row["id"] == id), "{id} is missing");
    }
    // Those past the page cache are left out where the temporary folder has no disk.
    let candidates = |id: &str| {
        let row = rows.iter().find(|row| row["id"] == id).expect("the row");
        array(row, "entries").iter().filter_map(|entry| entry["candidate"].as_str()).collect::<Vec<_>>()
    };
    let reads = candidates("read-4k-1");
    for name in ["raw ring", "raw registered", "syscalls", "ringtoss", "ringtoss registered"] {
        assert!(reads.contains(&name), "{name} does not read");
    }
    assert!(candidates("copy").contains(&"syscalls"));
    assert_eq!(array(&report, "places").len(), 2, "where it was done");
}

#[test]
fn every_row_of_tasks_runs() {
    let report = smoke("tasks", "tasks");
    let rows = array(&report, "rows");
    rows.iter().for_each(check);
    for id in ["nop-128", "spawn-1000", "sleep-100000", "wake-awake", "wait-10000"] {
        assert!(rows.iter().any(|row| row["id"] == id), "{id} is missing");
    }
    let waiting = rows.iter().find(|row| row["id"] == "wait-10000").expect("the row");
    let ours = array(waiting, "entries").iter().find(|entry| entry["candidate"] == "ringtoss").expect("this crate");
    assert!(ours["task_bytes"].as_u64() > Some(32), "a task takes memory: {}", ours["task_bytes"]);
}

/// Rows that are quick to measure, but not so quick that all are over before somebody has read a line.
const SOME: &str = "nop-1,nop-128,spawn-1,spawn-128,yield-1000,channel";

fn quick(path: &Path, options: &[&str]) -> Command {
    let mut suite = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"));
    suite.args(["--quick", "--peers", "ringtoss", "--only", SOME]).args(options).arg(path);
    suite
}

#[test]
fn an_interrupted_run_keeps_what_it_measured_and_can_be_resumed() {
    let path = std::env::temp_dir().join(format!("ringtoss-bench-interrupted-{}.json", std::process::id()));
    let scratch = Scratch(path);
    let path: &Path = &scratch.0;
    let read = || -> Value { serde_json::from_slice(&std::fs::read(path).expect("the result")).expect("JSON") };
    let mut suite = quick(path, &["--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the suite");
    // From the first line on it listens to Ctrl-C.
    let mut out = BufReader::new(suite.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    signal(suite.id(), libc::SIGINT);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let output = suite.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}{said}");
    assert!(said.contains("Interrupted. To measure the rest") && said.contains("--resume"), "{said}");
    let kept = read();
    let kept = array(&kept, "rows");
    assert!(kept.len() < 6 && kept.iter().all(|row| !array(row, "entries").is_empty()), "{kept:#?}");

    let output = quick(path, &["--resume"]).output().expect("the suite");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = read();
    let rows = array(&report, "rows");
    let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids.join(","), SOME, "whole, and in the plan's order");
    assert!(rows.iter().all(|row| row["partial"].is_null()), "{rows:#?}");
    let whole = kept.iter().filter(|row| row["partial"].is_null());
    for (before, after) in whole.zip(rows) {
        assert_eq!(before, after, "what was whole was not measured again");
    }
}

/// Where the suite with this number works, on the disk and in memory.
fn folders(suite: u32) -> [PathBuf; 2] {
    [std::env::temp_dir(), "/dev/shm".into()].map(|base| base.join(format!("ringtoss-bench-{suite}")))
}

fn signal(suite: u32, signal: libc::c_int) {
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(suite as libc::pid_t, signal) }, 0);
}

#[test]
fn whoever_ends_it_what_was_measured_is_kept_and_what_was_made_is_removed() {
    for (name, ended_by) in [("term", libc::SIGTERM), ("hup", libc::SIGHUP)] {
        let path = std::env::temp_dir().join(format!("ringtoss-bench-{name}-{}.json", std::process::id()));
        let scratch = Scratch(path);
        let mut suite = quick(&scratch.0, &["--json"]);
        let mut suite = suite.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the suite");
        let mut out = BufReader::new(suite.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        assert!(folders(suite.id())[0].exists(), "it works there");
        // As `timeout` does, and as a terminal that is closed: nobody listens any more.
        drop(out);
        signal(suite.id(), ended_by);
        signal(suite.id(), ended_by);
        let id = suite.id();
        let output = suite.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("Interrupted. To measure the rest"), "{said}");
        assert!(folders(id).iter().all(|folder| !folder.exists()), "left behind");
        let kept: Value = serde_json::from_slice(&std::fs::read(&scratch.0).expect("the result")).expect("JSON");
        assert!(array(&kept, "rows").len() < 6, "{kept:#}");
    }
}

#[test]
fn one_who_asks_again_need_not_wait_and_nothing_is_left_either() {
    let path = std::env::temp_dir().join(format!("ringtoss-bench-again-{}.json", std::process::id()));
    let scratch = Scratch(path);
    let mut suite = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"));
    // It hears nothing of this one for some seconds.
    suite.env("RINGTOSS_BENCH_FAULT", "syscalls:hang:0");
    suite.args(["--smoke", "--peers", "ringtoss", "--only", "echo-50x64", "--json"]).arg(&scratch.0);
    let mut suite = suite.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the suite");
    let mut out = BufReader::new(suite.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    let is_stopped = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('T'))
    };
    let path = format!("/proc/{0}/task/{0}/children", suite.id());
    let children = || std::fs::read_to_string(&path).unwrap_or_default();
    let until = Instant::now() + Duration::from_secs(60);
    while !children().split_whitespace().any(is_stopped) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(suite.id(), libc::SIGINT);
    // Sooner it would be taken for the same.
    std::thread::sleep(Duration::from_millis(600));
    let id = suite.id();
    signal(id, libc::SIGINT);
    assert_eq!(suite.wait().unwrap().code(), Some(128 + libc::SIGINT));
    assert!(folders(id).iter().all(|folder| !folder.exists()), "left behind");
}

/// One of each way to drive a server.
const DRIVES: [&str; 8] =
    ["echo-1000x64", "unix-50x64", "udp-50x64", "storm-50", "proxy-50x64", "open-50", "mixed", "idle-500"];

/// The one that breaks is shown as such; the others are measured all the same.
fn check_fault(report: &Value, rows: &[&str], what: &str) {
    assert_eq!(array(report, "rows").len(), rows.len());
    for row in array(report, "rows") {
        for entry in array(row, "entries") {
            let failure = entry["failure"].as_str();
            if entry["candidate"] == "syscalls" {
                assert!(failure.is_some_and(|failure| failure.contains(what)), "{}: {entry:#}", row["id"]);
            } else {
                assert!(failure.is_none() && !array(entry, "samples").is_empty(), "{}: {entry:#}", row["id"]);
            }
        }
    }
}

#[test]
fn one_that_crashes_does_not_stop_the_run() {
    check_fault(
        &smoke_with_fault("crash", &DRIVES.join(","), "syscalls:crash:0"),
        &DRIVES,
        "crashed (killed by signal 6)",
    );
}

#[test]
fn one_that_hangs_does_not_stop_the_run() {
    // Each waits until somebody is given up, so they wait together.
    let hang = |row: &'static str| {
        check_fault(&smoke_with_fault(&format!("hang-{row}"), row, "syscalls:hang:0"), &[row], "hangs");
    };
    std::thread::scope(|scope| {
        for row in ["udp-50x64", "storm-50", "open-50"] {
            scope.spawn(move || hang(row));
        }
    });
}
