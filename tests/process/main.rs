//! Processes: real programs as children.

mod drops;
mod futex;
#[path = "../patience/mod.rs"]
mod patience;
mod start;
mod stdio;
mod waits;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use patience::*;
use ringtoss::process::Command;

/// Waits for something that another thread or the kernel does.
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < patience(), "{what}: not in {:?}", patience());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    command
}

/// Whether this process has a child of that number, running or not reaped.
fn is_child(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))) else { return false };
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    parent.trim() == std::process::id().to_string()
}

/// A future that is polled once and given back.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}
