//! The suite's side of a child process.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::candidate::Candidate;
use crate::cpus::Cpus;
use crate::ending;
use crate::work::{Window, Work};

/// What a child may take beyond its window, for starting a runtime and the like. One that hangs costs the run as much.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Contestant {
    child: Child,
    lines: Receiver<String>,
    complaints: Arc<Mutex<String>>,
}

impl Contestant {
    pub fn start(candidate: &Candidate, work: Work, file: &Path, cpus: &Cpus) -> Result<Contestant, String> {
        let failed = |error: std::io::Error| format!("cannot be started: {error}");
        let (variable, value) = cpus.export();
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("child")
            .arg(candidate.name)
            .arg(serde_json::to_string(&work).expect("plain data"))
            .arg(file)
            .env(variable, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C is for the suite.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        ending::watch(child.id());
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let complaints = Arc::new(Mutex::new(String::new()));
        let (kept, mut stderr) = (complaints.clone(), child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                let mut kept = kept.lock().unwrap();
                if kept.len() < 16384 {
                    kept.push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
            }
        });
        Ok(Contestant { child, lines, complaints })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Of a server.
    pub fn port(&mut self) -> Result<u16, String> {
        let line = self.line(PATIENCE)?;
        line.parse().map_err(|_| format!("said {line:?} instead of a port"))
    }

    /// Of everything else: works for a while.
    pub fn window(&mut self, duration: Duration) -> Result<Window, String> {
        self.tell(&duration.as_millis().to_string())?;
        let line = self.line(duration * 2 + PATIENCE)?;
        serde_json::from_str(&line).map_err(|_| format!("said {line:?} instead of a result"))
    }

    /// Has its allocations counted from now on.
    pub fn count_allocations(&mut self) -> Result<(), String> {
        self.tell("count")
    }

    /// How many there were.
    pub fn counted_allocations(&mut self) -> Result<u64, String> {
        self.tell("counted")?;
        let line = self.line(PATIENCE)?;
        line.parse().map_err(|_| format!("said {line:?} instead of a count"))
    }

    fn tell(&mut self, line: &str) -> Result<(), String> {
        let stdin = self.child.stdin.as_mut().expect("piped");
        match writeln!(stdin, "{line}").and_then(|()| stdin.flush()) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.death()),
        }
    }

    fn line(&mut self, timeout: Duration) -> Result<String, String> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(format!("hangs: nothing for {} s", timeout.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err(self.death()),
        }
    }

    /// If something went wrong on the way to it: how it died, if it did.
    pub fn explain(&mut self, error: &std::io::Error) -> String {
        std::thread::sleep(Duration::from_millis(50));
        match self.child.try_wait() {
            Ok(Some(_)) => self.death(),
            // What a socket's time limit gives.
            _ if error.kind() == ErrorKind::WouldBlock => "hangs: no answer came".into(),
            _ => error.to_string(),
        }
    }

    fn death(&mut self) -> String {
        ending::unwatch(self.child.id());
        let status = self.child.wait();
        // The thread that reads them may be a moment behind.
        std::thread::sleep(Duration::from_millis(20));
        let complaints = self.complaints.lock().unwrap();
        let first = complaints.lines().find(|line| !line.trim().is_empty() && !line.contains("RUST_BACKTRACE"));
        // A panic's message is on the line after its place.
        let message = complaints.lines().skip_while(|line| !line.contains("panicked at")).nth(1).or(first);
        let how = match status {
            Ok(status) => match status.signal() {
                Some(signal) => format!("killed by signal {signal}"),
                None => format!("ended with {}", status.code().unwrap_or(-1)),
            },
            Err(error) => error.to_string(),
        };
        format!("crashed ({how}): {}", message.unwrap_or("no message"))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        ending::unwatch(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
