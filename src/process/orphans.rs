//! Children whose owner is gone and that still run: they are reaped when they end.
//!
//! This must go on when every loop has ended, so it is the work of a thread. That one waits by `poll(2)` on a pidfd of each,
//! takes the status of exactly those, and ends when none is left.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::sys;
use crate::sys::fork;
use crate::sys::process::{pidfd_open, wait_readable};

/// How often to look at children where there was no descriptor to wait on.
const LOOK_EVERY_MS: u16 = 100;

/// How long to wait where there is nothing to wait for.
const PAUSE: Duration = Duration::from_millis(10);

/// It moves pointers about and makes system calls.
const STACK_BYTES: usize = 128 * 1024;

struct Orphan {
    child: Child,
    pidfd: Option<OwnedFd>,
}

impl Orphan {
    /// Reaps it if it has ended. An error means that somebody else has (a handler that waits for any child): then it is gone
    /// as well.
    fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

struct Mailbox {
    new: Vec<Orphan>,
    /// The thread runs, and looks here before it ends.
    runs: bool,
    /// In this process, by [`fork::generation`].
    process: u32,
}

static MAILBOX: Mutex<Mailbox> = Mutex::new(Mailbox { new: Vec::new(), runs: false, process: 0 });

/// Rung when there is mail. Made once and never closed.
static BELL: OnceLock<OwnedFd> = OnceLock::new();

fn mailbox() -> MutexGuard<'static, Mailbox> {
    // Nothing under the lock panics.
    let mut mailbox = MAILBOX.lock().unwrap_or_else(PoisonError::into_inner);
    if mailbox.process != fork::generation() {
        // Those are the parent's children, and so is the thread.
        std::mem::forget(std::mem::take(&mut mailbox.new));
        (mailbox.runs, mailbox.process) = (false, fork::generation());
    }
    mailbox
}

/// The bell, if a descriptor for it could be had.
fn bell() -> Option<&'static OwnedFd> {
    if BELL.get().is_none() {
        // Two threads may be here; one's is dropped.
        let _ = BELL.set(sys::eventfd().ok()?);
    }
    BELL.get()
}

/// Takes in a child that is to be reaped when it ends.
pub(super) fn adopt(child: Child) {
    let pidfd = pidfd_open(child.id()).ok();
    mailbox().new.push(Orphan { child, pidfd });
    attend();
}

/// Sees to it that somebody looks after those that were taken in. Called again where a thread could not be started.
pub(super) fn attend() {
    let mut mailbox = mailbox();
    if mailbox.new.is_empty() {
        return;
    }
    if mailbox.runs {
        drop(mailbox);
        if let Some(bell) = bell() {
            sys::eventfd_signal(bell);
        }
        return;
    }
    mailbox.runs = true;
    drop(mailbox);
    let builder = thread::Builder::new().name("ringtoss-orphans".into()).stack_size(STACK_BYTES);
    let started: io::Result<_> = builder.spawn(work);
    if started.is_err() {
        let mut mailbox = self::mailbox();
        mailbox.runs = false;
        mailbox.new.retain_mut(|orphan| !orphan.is_over());
    }
}

fn work() {
    let mut orphans: Vec<Orphan> = Vec::new();
    // How many there were when the last wait ended.
    let mut waited_for = usize::MAX;
    loop {
        let mut mailbox = mailbox();
        orphans.append(&mut mailbox.new);
        if orphans.is_empty() {
            mailbox.runs = false;
            return;
        }
        drop(mailbox);
        orphans.retain_mut(|orphan| !orphan.is_over());
        if orphans.is_empty() {
            continue;
        }
        if orphans.len() == waited_for {
            // Somebody has ended and cannot be reaped yet: a debugger has not let go.
            thread::sleep(PAUSE);
        }
        waited_for = orphans.len();
        let bell = bell();
        let descriptors = orphans.iter().filter_map(|orphan| orphan.pidfd.as_ref()).chain(bell);
        let all = orphans.iter().all(|orphan| orphan.pidfd.is_some()) && bell.is_some();
        wait_readable(descriptors, (!all).then_some(LOOK_EVERY_MS));
        if let Some(bell) = bell {
            sys::signal::silence(bell.as_raw_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;
    use crate::patience::patience;

    fn eventually(mut is: impl FnMut() -> bool) {
        let patience = Instant::now() + patience();
        while !is() {
            assert!(Instant::now() < patience);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether the thread waits in the kernel.
    fn waits() -> bool {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let mut stats = tasks.map(|task| fs::read_to_string(task.join("stat")).unwrap_or_default());
        stats.any(|stat| stat.contains("(ringtoss-orphan) S"))
    }

    #[test]
    fn one_that_comes_later_and_ends_sooner_is_reaped() {
        let waiting = || Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (mut first, mut second) = (waiting(), waiting());
        let (first_stdin, second_stdin) = (first.stdin.take(), second.stdin.take());
        let path = |child: &Child| format!("/proc/{}", child.id());
        let (first_path, second_path) = (path(&first), path(&second));
        adopt(first);
        eventually(waits);
        adopt(second);
        drop(second_stdin);
        eventually(|| fs::metadata(&second_path).is_err());
        assert!(fs::metadata(&first_path).is_ok());
        drop(first_stdin);
        eventually(|| fs::metadata(&first_path).is_err());
        eventually(|| !mailbox().runs);
    }
}
