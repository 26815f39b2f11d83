//! The measured side: one candidate, one work, in a process of its own, so that it can crash or hang alone.
//!
//! A server prints its port and serves until it is killed. Everything else reads lines of how many milliseconds to work,
//! and answers each with a [`Window`](crate::work::Window) as JSON. Both understand `count`, which has allocations counted
//! from then on, and `counted`, which answers how many there were.

use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::candidate;
use crate::counts::count_allocations;
use crate::cpus::Cpus;
use crate::sys;
use crate::work::Work;

/// `arguments`: the candidate's name, the work as JSON, the file to read or to serve, or where a Unix socket goes.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let [name, work, file] = arguments else { return Err("a child is started by the suite only".into()) };
    sys::die_with_parent();
    sys::raise_file_limit();
    Cpus::find().pin_server().map_err(|error| format!("cannot be pinned to a CPU: {error}"))?;
    let work: Work = serde_json::from_str(work).map_err(|error| error.to_string())?;
    let candidate = candidate::all().into_iter().find(|candidate| candidate.name == name).ok_or("no such candidate")?;
    if work.is_server() {
        std::thread::spawn(|| obey(|_| Ok(())));
        let ready = |port: u16| {
            say(&port.to_string());
            #[cfg(debug_assertions)]
            fault(candidate.name);
        };
        (candidate.serve)(work, Path::new(file), Box::new(ready));
        return Ok(());
    }
    let file = Path::new(file);
    obey(|line| {
        let duration = line.parse().map_err(|_| "milliseconds, please")?;
        if matches!(work, Work::Blocks(work) if !work.write && !work.direct) {
            // The page cache may have been dropped since the last time.
            std::fs::File::open(file).and_then(warm).map_err(|error| error.to_string())?;
        }
        let window = (candidate.window)(work, Duration::from_millis(duration), file);
        say(&serde_json::to_string(&window).expect("numbers"));
        Ok(())
    })
}

/// For the tests, and only in builds for them: `RINGTOSS_BENCH_FAULT=NAME:crash:MILLISECONDS` has one candidate break off so long
/// after it is ready, `hang` has it stop.
#[cfg(debug_assertions)]
fn fault(name: &str) {
    let Ok(fault) = std::env::var("RINGTOSS_BENCH_FAULT") else { return };
    let parts: Vec<&str> = fault.split(':').collect();
    let [who, how, after] = parts[..] else { panic!("what is {fault}?") };
    if who != name {
        return;
    }
    let (crash, after) = (how == "crash", after.parse().map(Duration::from_millis).expect("milliseconds"));
    std::thread::spawn(move || {
        std::thread::sleep(after);
        if crash {
            eprintln!("a fault of the test's");
            std::process::abort();
        }
        sys::stop_self();
    });
}

/// Reads it once, so that it is in the page cache.
fn warm(mut file: std::fs::File) -> std::io::Result<()> {
    let mut part = vec![0; 1 << 20];
    while file.read(&mut part)? > 0 {}
    Ok(())
}

fn obey(mut work: impl FnMut(&str) -> Result<(), String>) -> Result<(), String> {
    for line in std::io::stdin().lock().lines() {
        match line.map_err(|error| error.to_string())?.trim() {
            "count" => drop(count_allocations(true)),
            "counted" => say(&count_allocations(false).to_string()),
            line => work(line)?,
        }
    }
    Ok(())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
