//! fio, where it is installed: the load generator that storage people trust, on its io_uring engine.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::places::FILE_BYTES;
use crate::work::{Blocks, Window, Work};

pub fn is_installed() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let status = Command::new("fio").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    })
}

pub fn window(work: Work, duration: Duration, file: &Path) -> Window {
    let Work::Blocks(work) = work else { unreachable!("said that it cannot") };
    let output = Command::new("fio").args(arguments(work, duration, file)).output().expect("fio");
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text, work).unwrap_or_else(|| {
        let (said, error) = (String::from_utf8_lossy(&output.stderr), failure(&text));
        panic!("fio said: {}{}", said.trim(), error.map_or(String::new(), |error| error.to_string()))
    })
}

fn arguments(work: Blocks, duration: Duration, file: &Path) -> Vec<String> {
    let order = if work.random { "rand" } else { "" };
    let mut arguments = vec![
        "--name=ringtoss".into(),
        format!("--filename={}", work.path(file).display()),
        format!("--size={FILE_BYTES}"),
        format!("--rw={order}{}", if work.write { "write" } else { "read" }),
        format!("--bs={}", work.bytes()),
        format!("--iodepth={}", work.in_flight),
        format!("--direct={}", u8::from(work.direct)),
        // Of less it reports nothing.
        format!("--runtime={}ms", duration.as_millis().max(50)),
        "--ioengine=io_uring".into(),
        "--output-format=json".into(),
    ];
    // The page cache stays as it is; blocks may come again; the job is no process of its own.
    arguments.extend(["--time_based", "--invalidate=0", "--norandommap", "--thread"].map(String::from));
    if work.sync {
        arguments.push("--fdatasync=1".into());
    }
    arguments
}

/// It reports on a job that failed as on any other.
fn failure(text: &str) -> Option<io::Error> {
    let report: Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    let error = report["jobs"].get(0)?["error"].as_i64().filter(|&error| error != 0)?;
    Some(io::Error::from_raw_os_error(error as i32))
}

/// Its CPU time comes as percents of its time.
fn parse(text: &str, work: Blocks) -> Option<Window> {
    // Warnings come before it.
    let report: Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    let job = report["jobs"].get(0).filter(|_| failure(text).is_none())?;
    let done = &job[if work.write { "write" } else { "read" }];
    let percent = job["usr_cpu"].as_f64()? + job["sys_cpu"].as_f64()?;
    let wall_ns = done["runtime"].as_u64()? * 1_000_000;
    let cpu_ns = (job["job_runtime"].as_u64()? as f64 * 1e6 * percent / 100.0) as u64;
    Some(Window { ops: done["total_ios"].as_u64()?, wall_ns, cpu_ns, ..Window::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Blocks = Blocks { write: false, random: true, direct: false, sync: false, in_flight: 32 };

    #[test]
    fn figures_are_taken_from_its_report() {
        let text = r#"fio: a warning
            {"jobs": [{"jobname": "ringtoss", "job_runtime": 100, "usr_cpu": 20.5, "sys_cpu": 60.0,
              "read": {"total_ios": 5000, "runtime": 100}, "write": {"total_ios": 0, "runtime": 0}}]}"#;
        let window = parse(text, WORK).unwrap();
        assert_eq!((window.ops, window.wall_ns, window.cpu_ns), (5000, 100_000_000, 80_500_000));
        assert!(parse("fio: failed", WORK).is_none());
        assert!(parse(&text.replace("\"jobname\"", "\"error\": 1, \"jobname\""), WORK).is_none());
    }
}
