//! wrk, where it is installed. It answers each connection by itself, as browsers do, so it shows the interrupts between
//! CPUs that a batching generator hides.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::stats::Sample;
use crate::sys;

pub fn is_installed() -> bool {
    Command::new("wrk").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// A second of it, on this thread's CPU.
pub fn second(port: u16, connections: usize, server_pid: u32) -> Result<Sample, String> {
    let cpu_ns = || sys::cpu_ns_of(server_pid).map_err(|_| "crashed".to_owned());
    let (start, before) = (Instant::now(), cpu_ns()?);
    let output = Command::new("wrk")
        .args(["-t1", "-d1s", "--timeout", "5s", &format!("-c{connections}"), &format!("http://127.0.0.1:{port}/")])
        // A Ctrl-C is for the suite.
        .process_group(0)
        .output()
        .map_err(|error| format!("wrk cannot be run: {error}"))?;
    let (wall_ns, cpu_ns) = (start.elapsed().as_nanos() as u64, cpu_ns()? - before);
    let text = String::from_utf8_lossy(&output.stdout);
    let ops = requests(&text).ok_or_else(|| format!("wrk said: {}", text.trim().replace('\n', "; ")))?;
    Ok(Sample { ops, wall_ns, cpu_ns, ..Sample::default() })
}

/// From the line "  12345 requests in 1.00s, 1.50MB read", unless there were errors.
fn requests(text: &str) -> Option<u64> {
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return None;
    }
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok().filter(|&ops| ops > 0)
}

#[cfg(test)]
mod tests {
    use super::requests;

    #[test]
    fn requests_are_taken_from_what_wrk_prints() {
        let text = "Running 1s test\n  12345 requests in 1.00s, 1.50MB read\nRequests/sec: 12345.00\n";
        assert_eq!(requests(text), Some(12345));
        assert_eq!(requests(&format!("{text}  Socket errors: connect 0, read 3, write 0, timeout 0\n")), None);
        assert_eq!(requests("unable to connect"), None);
    }
}
