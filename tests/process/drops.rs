//! No zombies, whatever is dropped.

use std::process::Stdio;

use ringtoss::process::{Child, Command};

use crate::{eventually, is_child, poll_once, run, shell};

fn waiting(kill_on_drop: bool) -> Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(kill_on_drop).spawn().unwrap()
}

fn gone(pid: u32) {
    eventually("the child is reaped", || !is_child(pid));
}

#[test]
fn one_that_is_dropped_runs_on_and_is_reaped() {
    let mut child = waiting(false);
    let (pid, stdin) = (child.id().unwrap(), child.stdin.take());
    let mut other = waiting(false);
    let (other_pid, other_stdin) = (other.id().unwrap(), other.stdin.take());
    run(async {
        {
            let mut wait = Box::pin(child.wait());
            assert!(poll_once(&mut wait).await.is_pending());
        }
        drop(child);
        ringtoss::op::nop().await.unwrap();
    });
    // The loop has ended. A second one joins the first.
    drop(other);
    assert!(is_child(pid) && is_child(other_pid), "they still run");
    drop(stdin);
    gone(pid);
    assert!(is_child(other_pid));
    drop(other_stdin);
    gone(other_pid);
}

#[test]
fn one_that_had_ended_is_reaped_at_once() {
    let child = shell("exit 0").spawn().unwrap();
    let pid = child.id().unwrap();
    eventually("the end", || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z "));
    drop(child);
    assert!(!is_child(pid));
}

#[test]
fn kill_on_drop_kills() {
    let mut child = waiting(true);
    let (pid, _stdin) = (child.id().unwrap(), child.stdin.take());
    drop(child);
    gone(pid);
    // One that an output waits for, too.
    run(async {
        let mut pidfile = tempfile::NamedTempFile::new().unwrap();
        let mut command = shell("echo $$ > $0; exec sleep 1000");
        command.arg(pidfile.path()).kill_on_drop(true);
        let mut output = Box::pin(command.output());
        assert!(poll_once(&mut output).await.is_pending());
        let mut text = String::new();
        eventually("the number", || {
            text.clear();
            std::io::Read::read_to_string(&mut pidfile, &mut text).unwrap();
            text.ends_with('\n')
        });
        let pid = text.trim().parse().unwrap();
        assert!(is_child(pid));
        drop(output);
        gone(pid);
    });
}

#[test]
fn a_kill_that_is_dropped_has_killed() {
    run(async {
        let mut child = waiting(false);
        let (pid, _stdin) = (child.id().unwrap(), child.stdin.take());
        {
            let mut kill = Box::pin(child.kill());
            let _ = poll_once(&mut kill).await;
        }
        drop(child);
        gone(pid);
    });
}

#[test]
fn a_start_on_the_pool_that_is_dropped_leaves_nothing() {
    run(async {
        for _ in 0..20 {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            let mut starting = Box::pin(command.spawn_on_pool());
            let _ = poll_once(&mut starting).await;
        }
    });
    // Each met the end of what it reads when its `Child` was dropped; this crate's threads are no children.
    let children = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let lists = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
        lists.map(Result::unwrap_or_default).collect::<String>()
    };
    let ours = |children: &str| {
        children.split_whitespace().any(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let parent_reads = std::fs::read_link(format!("/proc/{pid}/fd/0")).is_ok();
            name.trim() == "cat" && !parent_reads
        })
    };
    eventually("no zombie stays", || !ours(&children()));
}

#[test]
fn crowds_are_reaped_by_one_thread_that_ends() {
    let mut pids = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..64 {
        let mut child = waiting(false);
        pids.push(child.id().unwrap());
        ends.push(child.stdin.take());
    }
    drop(ends);
    pids.into_iter().for_each(gone);
}

#[test]
fn status_of_others_is_not_taken_by_the_reaper() {
    let mut stds = std::process::Command::new("sh").args(["-c", "exit 42"]).spawn().unwrap();
    let mut child = waiting(false);
    let (pid, stdin) = (child.id().unwrap(), child.stdin.take());
    drop(child);
    let stat = format!("/proc/{}/stat", stds.id());
    eventually("the other's end", || std::fs::read_to_string(&stat).unwrap().contains(") Z "));
    drop(stdin);
    gone(pid);
    assert_eq!(stds.wait().unwrap().code(), Some(42));
}
