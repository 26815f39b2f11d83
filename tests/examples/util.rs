//! What the tests share: finding the examples, and running programs for a bounded time.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take; the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The folder of the examples, freshly built: `cargo test` builds them with the tests, but not when it is asked for this
/// test alone. Where there is no cargo (a test binary that was carried to another machine) there are none.
fn examples() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let test = env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        let cargo = env::var_os("CARGO")?;
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--examples"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        // target/PROFILE, or target/TRIPLE/PROFILE, of which the name has dashes.
        let mut target = folder.parent().unwrap();
        if let Some(triple) = target.file_name().and_then(OsStr::to_str).filter(|name| name.contains("-linux-")) {
            build.args(["--target", triple]);
            target = target.parent().unwrap();
        }
        build.arg("--target-dir").arg(target);
        let mut build = Running { child: build.spawn().unwrap() };
        let patience = Instant::now() + 10 * PATIENCE;
        while build.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < patience, "the examples take too long to build");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(build.child.wait().unwrap().success(), "the examples do not build");
        Some(folder.join("examples"))
    };
    FOLDER.get_or_init(find).as_deref()
}

/// An example, or `None` where there are none.
pub fn example(name: &str) -> Option<Command> {
    let Some(folder) = examples() else {
        eprintln!("skipped: there is no cargo to build the examples with");
        return None;
    };
    Some(Command::new(folder.join(name)))
}

/// A program that is ended with the test.
pub struct Running {
    child: Child,
}

impl Running {
    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        bounded("its end", move || self.child.wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does something on another thread and waits for it, but not for ever.
pub fn bounded<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let output = call();
        let _ = sender.send(());
        output
    });
    if receiver.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("{what}: not done in {PATIENCE:?}");
    }
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Starts a program, and gives the first line that it prints.
pub fn start(mut command: Command) -> (Running, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Running { child };
    let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
    let line = bounded("the first line", move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        // What it prints from here on is of no interest, but must not fail.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        line
    });
    (running, line)
}

/// An example that prints lines as things happen, and is told by signals; it is ended with the test.
pub struct Program {
    running: Running,
    lines: mpsc::Receiver<String>,
}

impl Program {
    /// `None` where there are no examples.
    pub fn start(name: &str, arguments: &[&str]) -> Option<Program> {
        let mut command = example(name)?;
        let child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Running { child };
        let stdout = BufReader::new(running.child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        // To the end, whether anybody wants them or not.
        thread::spawn(move || stdout.lines().map(Result::unwrap).for_each(|line| drop(sender.send(line))));
        Some(Program { running, lines })
    }

    /// The next line with this in it.
    pub fn line(&self, part: &str) -> String {
        let patience = Instant::now() + PATIENCE;
        loop {
            let left = patience.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no line with {part:?}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.running.child), signal).unwrap();
    }

    /// Waits for its end.
    pub fn wait(self) -> ExitStatus {
        self.running.wait()
    }
}

/// Runs a program to its end with this on its standard input.
pub fn run(mut command: Command, input: Vec<u8>) -> Output {
    let what = format!("{command:?}");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running { child };
    let (mut stdin, mut stdout, mut stderr) = (
        running.child.stdin.take().unwrap(),
        running.child.stdout.take().unwrap(),
        running.child.stderr.take().unwrap(),
    );
    thread::spawn(move || stdin.write_all(&input));
    let (stdout, stderr) = bounded(&what, move || {
        let errors = thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        (bytes, errors.join().unwrap().unwrap())
    });
    let status = running.child.wait().unwrap();
    Output { status, stdout, stderr }
}

/// Text of what a program printed.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Bytes that look random, the same ones every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut noise = vec![0; len];
    fastrand::Rng::with_seed(7).fill(&mut noise);
    noise
}
