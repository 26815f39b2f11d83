//! Waiting for the end: as often as one likes, from anywhere, beside others who wait.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use ringtoss::process::{Child, Command};
use ringtoss::signal::unix::SignalKind;

use crate::{eventually, is_child, poll_once, run, shell};

/// Runs until what it reads from is closed.
fn waiting() -> Child {
    Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_status_is_given_again_and_again() {
    run(async {
        let mut child = shell("exit 5").spawn().unwrap();
        let pid = child.id().unwrap();
        for _ in 0..3 {
            assert_eq!(child.wait().await.unwrap().code(), Some(5));
            assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(5));
        }
        assert!(child.id().is_none() && !is_child(pid));
        for error in [child.start_kill().unwrap_err(), child.kill().await.unwrap_err()] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_wait_that_is_dropped_takes_nothing() {
    run(async {
        let mut child = waiting();
        let stdin = child.stdin.take();
        for _ in 0..20 {
            {
                let mut wait = Box::pin(child.wait());
                assert!(poll_once(&mut wait).await.is_pending());
            }
            ringtoss::yield_now().await;
        }
        // One that is dropped while the end is being told, at every moment of that.
        drop(stdin);
        let mut rounds = 0;
        let status = loop {
            let mut wait = Box::pin(child.wait());
            if let std::task::Poll::Ready(status) = poll_once(&mut wait).await {
                break status.unwrap();
            }
            ringtoss::op::nop().await.unwrap();
            drop(wait);
            rounds += 1;
            assert!(rounds < 1_000_000);
        };
        assert!(status.success());
    });
}

#[test]
fn a_dropped_wait_leaves_the_status_to_the_next_loop() {
    let mut child = waiting();
    run(async {
        let stdin = child.stdin.take();
        let mut wait = Box::pin(child.wait());
        assert!(poll_once(&mut wait).await.is_pending());
        drop(stdin);
    });
    assert!(run(child.wait()).unwrap().success());
    // And to another thread, in the middle of the wait.
    let mut child = waiting();
    let stdin = child.stdin.take();
    let mut wait = Box::pin(async move { child.wait().await });
    run(async { assert!(poll_once(&mut wait).await.is_pending()) });
    drop(stdin);
    let other = std::thread::spawn(move || run(wait));
    match other.join().unwrap() {
        Ok(status) => assert!(status.success()),
        // The loop that it waited on has ended.
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED)),
    }
}

#[test]
fn kill_kills_and_a_signal_is_sent() {
    run(async {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        child.kill().await.unwrap();
        assert_eq!(child.wait().await.unwrap().signal(), Some(9));
        let mut child = shell("trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = child.stdout.as_mut().unwrap().read_exact(Vec::with_capacity(6), 6).await;
        assert_eq!(ready.1, b"ready\n");
        child.send_signal(SignalKind::terminate()).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(4));
    });
}

#[test]
fn one_that_has_ended_and_was_not_waited_for_can_be_killed() {
    run(async {
        let mut child = shell("exit 6").spawn().unwrap();
        let pid = child.id().unwrap();
        eventually("the end", || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z "));
        child.start_kill().unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(6));
    });
}

#[test]
fn many_are_awaited_at_once_and_none_takes_anothers_status() {
    run(async {
        // A child of std's, that is ours to wait for and nobody else's.
        let mut stds = std::process::Command::new("sh").args(["-c", "exit 99"]).spawn().unwrap();
        let mut set = ringtoss::task::JoinSet::new();
        for code in 0..50 {
            let mut command = shell(&format!("exit {code}"));
            set.spawn(async move { (code, command.status().await.unwrap().code()) });
        }
        let mut joined = 0;
        while let Some(result) = set.join_next().await {
            let (code, status) = result.unwrap();
            assert_eq!(status, Some(code));
            joined += 1;
        }
        assert_eq!(joined, 50);
        assert_eq!(stds.wait().unwrap().code(), Some(99));
    });
}

#[test]
fn the_loop_goes_on_while_it_waits() {
    run(async {
        let mut child = waiting();
        let stdin = child.stdin.take();
        let mut ticks = 0;
        let mut interval = ringtoss::time::interval(Duration::from_millis(1));
        let status = loop {
            tokio::select! {
                biased;
                status = child.wait() => break status.unwrap(),
                _ = interval.tick() => ticks += 1,
            }
            if ticks == 20 {
                break {
                    drop(stdin);
                    child.wait().await.unwrap()
                };
            }
        };
        assert!(status.success() && ticks == 20);
    });
}

#[test]
fn a_status_that_somebody_else_took_is_an_error() {
    run(async {
        let mut child = shell("exit 0").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
        assert_eq!(child.wait().await.unwrap_err().raw_os_error(), Some(libc::ECHILD));
        let mut child = waiting();
        let (pid, stdin) = (rustix::process::Pid::from_raw(child.id().unwrap() as i32), child.stdin.take());
        let mut wait = Box::pin(child.wait());
        assert!(poll_once(&mut wait).await.is_pending());
        drop(stdin);
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).unwrap();
        // Told before it was taken, or not at all.
        assert_eq!(wait.await.unwrap_err().raw_os_error(), Some(libc::ECHILD));
    });
}
