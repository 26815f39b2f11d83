//! What the tests share.

#[path = "../patience/mod.rs"]
mod patience;
#[path = "../pattern/mod.rs"]
mod pattern;

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

pub use patience::*;
pub use pattern::*;

pub const ROLE: &str = "RINGTOSS_TROUBLE_AS";

/// Says why a test is left out.
pub fn left_out(why: impl std::fmt::Display) {
    eprintln!("LEFT OUT: {why}");
}

pub fn is_root() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::geteuid() == 0 }
}

/// Lets the loop go round.
pub async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Waits until nothing is in flight on this loop.
pub async fn quiet() {
    while ringtoss::metrics().in_flight > 0 {
        turn().await;
    }
}

/// Numbers that look random, the same ones every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// Whether this process runs this test and no other: memory and descriptors are the whole process's. If not, it is run in one
/// that does.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "RINGTOSS_TROUBLE_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ALONE, "1").status().unwrap();
    assert!(status.success(), "{test} has failed in a process of its own");
    false
}

/// Another process, which runs a role of this binary's. It is killed when this is dropped.
pub struct Other {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Other {
    pub fn start(role: &str) -> Other {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, role);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // libtest writes the test's name before the first one, without an end.
                let line = line.split_once("SAYS ").map(|(_, said)| said.to_string());
                if line.is_some_and(|line| to.send(line).is_err()) {
                    return;
                }
            }
        });
        Other { stdin: child.stdin.take(), child, lines }
    }

    /// The next thing it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(patience()).expect("the other process is gone or hangs")
    }

    /// The next thing it says, if it has.
    pub fn line_so_far(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// What it has said and nobody has heard, to the end of what it says.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits until it is stopped, as `SIGSTOP` does some time later.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let mut status = 0;
        // SAFETY: the status lives over the call.
        let stopped = unsafe { libc::waitpid(self.child.id() as i32, &raw mut status, libc::WUNTRACED) };
        assert!(stopped == self.child.id() as i32 && libc::WIFSTOPPED(status));
    }

    pub fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says something to the process that has started this one.
pub fn say(what: impl std::fmt::Display) {
    use std::io::Write;
    let mut out = io::stdout().lock();
    writeln!(out, "SAYS {what}").unwrap();
    out.flush().unwrap();
}

/// Something mounted on a directory of its own, until it is dropped.
pub struct Mounted {
    pub dir: tempfile::TempDir,
}

impl Mounted {
    /// `mount -t tmpfs -o size=…`. Says so if that cannot be.
    pub fn tmpfs(bytes: usize) -> Option<Mounted> {
        Mounted::new(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "none"])
    }

    /// An ext4 of so many bytes in a file, by a loop device.
    pub fn ext4(bytes: u64) -> Option<Mounted> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(bytes).unwrap();
        // The loop device holds the file.
        Mounted::ext4_made(image.path(), &[], &["-t", "ext4", "-o", "loop"])
    }

    /// An ext4 that takes a whole device.
    pub fn ext4_on(device: &Path) -> Option<Mounted> {
        // One group of blocks: all that describes them is at the start, and not where a device has its bad sectors.
        Mounted::ext4_made(device, &["-b", "4096"], &["-t", "ext4"])
    }

    fn ext4_made(on: &Path, options: &[&str], arguments: &[&str]) -> Option<Mounted> {
        let path = on.to_str().unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).args(options).arg(path).output();
        match made {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                left_out(format_args!("mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr)));
                return None;
            }
            Err(error) => {
                left_out(format_args!("there is no mkfs.ext4: {error}"));
                return None;
            }
        }
        Mounted::new(&[arguments, &[path]].concat())
    }

    fn new(arguments: &[&str]) -> Option<Mounted> {
        if !is_root() {
            left_out("only root may mount");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        match Command::new("mount").args(arguments).arg(dir.path()).output() {
            Ok(output) if output.status.success() => Some(Mounted { dir }),
            Ok(output) => {
                left_out(format_args!("mount {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                left_out(format_args!("there is no mount: {error}"));
                None
            }
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
