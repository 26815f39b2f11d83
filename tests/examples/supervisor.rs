//! `supervisor` keeps programs running until it is told to stop.

use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::util::{PATIENCE, Program, example, run, text};

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
    let Some(supervisor) = Program::start("supervisor", &["exit 3", "exec sleep 1000"]) else { return };
    let sleeper = pid(&supervisor.line("sleep 1000: started"));
    let mut last = String::new();
    for _ in 0..3 {
        supervisor.line("exit 3: exit status: 3");
        let line = supervisor.line("exit 3: started");
        assert_ne!(line, last, "another process");
        last = line;
    }
    // What is killed is started again.
    kill_process(sleeper, Signal::KILL).unwrap();
    let sleeper = pid(&supervisor.line("sleep 1000: started"));
    supervisor.signal(Signal::INT);
    supervisor.line("sleep 1000: signal: 15");
    supervisor.line("stopped");
    assert!(supervisor.wait().success());
    gone(sleeper);
}

#[test]
fn who_does_not_listen_is_killed() {
    let deaf = "trap '' TERM; echo deaf; while :; do sleep 0.01; done";
    let Some(supervisor) = Program::start("supervisor", &["--grace", "50", deaf]) else { return };
    // In whichever order: one is the supervisor's, one its child's, when that does not listen any more.
    let (first, second) = (supervisor.line(""), supervisor.line(""));
    let line = if first == "deaf" { second } else { first };
    let child = pid(&line);
    supervisor.signal(Signal::TERM);
    supervisor.line("signal: 9");
    supervisor.line("stopped");
    assert!(supervisor.wait().success());
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
