//! Every row runs, and gives figures: for this crate and for the limits, so briefly that the figures mean nothing. That the
//! bytes are right is the suite's own business: it looks at the first answer on every connection.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Removed when the test is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn smoke(name: &str, only: &str) -> Value {
    let path = std::env::temp_dir().join(format!("ringtoss-bench-{name}-{}.json", std::process::id()));
    let scratch = Scratch(path);
    let output = Command::new(env!("CARGO_BIN_EXE_ringtoss-bench"))
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
