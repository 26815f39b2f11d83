//! `supervisor` keeps programs running until it is told to stop.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::util::{PATIENCE, bounded, example, run, text};

/// The supervisor, and the lines that it prints.
struct Supervisor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Supervisor {
    fn start(arguments: &[&str]) -> Option<Supervisor> {
        let mut command = example("supervisor")?;
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Supervisor { child, lines })
    }

    /// The next line with this in it.
    fn line(self, part: &'static str) -> (Supervisor, String) {
        let mut this = self;
        bounded(part, move || {
            let line = this.lines.by_ref().map(Result::unwrap).find(|line| line.contains(part)).expect(part);
            (this, line)
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it ended well.
    fn ended(mut self) {
        bounded("the end", move || assert!(self.child.wait().unwrap().success()));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A test that failed leaves none behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(line: &str) -> Pid {
    Pid::from_raw(line.rsplit(' ').next().unwrap().parse().unwrap()).unwrap()
}

fn gone(pid: Pid) {
    let patience = Instant::now() + PATIENCE;
    while test_kill_process(pid).is_ok() {
        assert!(Instant::now() < patience, "{pid:?} still runs");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn what_ends_is_started_again_and_what_is_asked_to_ends() {
    let Some(supervisor) = Supervisor::start(&["exit 3", "exec sleep 1000"]) else { return };
    let (supervisor, line) = supervisor.line("sleep 1000: started");
    let sleeper = pid(&line);
    let (mut supervisor, mut last) = (supervisor, String::new());
    for _ in 0..3 {
        let line;
        (supervisor, _) = supervisor.line("exit 3: exit status: 3");
        (supervisor, line) = supervisor.line("exit 3: started");
        assert_ne!(line, last, "another process");
        last = line;
    }
    // What is killed is started again.
    kill_process(sleeper, Signal::KILL).unwrap();
    let (supervisor, line) = supervisor.line("sleep 1000: started");
    let sleeper = pid(&line);
    supervisor.signal(Signal::INT);
    let (supervisor, _) = supervisor.line("sleep 1000: signal: 15");
    let (supervisor, _) = supervisor.line("stopped");
    supervisor.ended();
    gone(sleeper);
}

#[test]
fn who_does_not_listen_is_killed() {
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.01; done";
    let Some(supervisor) = Supervisor::start(&["--grace", "50", deaf]) else { return };
    // In whichever order: one is the supervisor's, one its child's, when that does not listen any more.
    let (supervisor, first) = supervisor.line("");
    let (supervisor, second) = supervisor.line("");
    let line = if first == "deaf" { second } else { first };
    let child = pid(&line);
    supervisor.signal(Signal::TERM);
    let (supervisor, _) = supervisor.line("signal: 9");
    let (supervisor, _) = supervisor.line("stopped");
    supervisor.ended();
    gone(child);
}

#[test]
fn without_a_command_it_tells_how_it_is_used() {
    for arguments in [&[][..], &["--grace", "soon", "true"]] {
        let Some(mut command) = example("supervisor") else { return };
        command.args(arguments);
        let output = run(command, Vec::new());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("usage"));
    }
}
