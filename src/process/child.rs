//! A program that was started.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Output};
use std::task::Poll;
use std::time::Duration;

use super::ended::ended;
use super::orphans;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::fd::Fd;
use crate::pipe::Receiver;
use crate::signal::unix::SignalKind;
use crate::sys::process::kill;
use crate::time::sleep;

/// How long to wait where there is nothing to wait for.
const PAUSE: Duration = Duration::from_millis(10);

/// A program that was started by [`Command::spawn`](super::Command::spawn).
///
/// It is `Send` and `Sync`, and is awaited on whichever loop. Dropping it while the program runs leaves that running, or kills
/// it, as [`Command::kill_on_drop`](super::Command::kill_on_drop) says; no zombie stays in either case.
#[derive(Debug)]
pub struct Child {
    /// What the child reads from, if that was [piped](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// What the child writes to, if that was piped.
    pub stdout: Option<ChildStdout>,
    /// What the child tells its errors to, if that was piped.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

impl Child {
    pub(super) fn new(mut child: std::process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        // From here on it is reaped whatever happens.
        let process = Process { state: State::Running(child), kill_on_drop, pidfd: None };
        Ok(Child {
            stdin: stdin.map(ChildStdin::from_std).transpose()?,
            stdout: stdout.map(ChildStdout::from_std).transpose()?,
            stderr: stderr.map(ChildStderr::from_std).transpose()?,
            process,
        })
    }

    /// The process's number, until its end has been told: from then on it may be another's.
    pub fn id(&self) -> Option<u32> {
        self.process.running().map(std::process::Child::id)
    }

    /// Sends `SIGKILL`, and does not wait for the end: `kill(2)`.
    ///
    /// # Errors
    /// `InvalidInput` if its end has been told; those of the call.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.send_signal(SignalKind::from_raw(libc::SIGKILL))
    }

    /// Sends a signal: `kill(2)`. To ask it to end, send [`SignalKind::terminate`] and give it some time.
    ///
    /// # Errors
    /// `InvalidInput` if its end has been told; those of the call.
    pub fn send_signal(&self, kind: SignalKind) -> io::Result<()> {
        match self.process.running() {
            // It has not been reaped, so the number is still its own.
            Some(child) => kill(child.id(), kind.as_raw_value()),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the process has ended and was waited for")),
        }
    }

    /// Kills it and waits for its end.
    ///
    /// Dropped early, it is killed all the same, once this has been polled.
    ///
    /// # Errors
    /// As [`start_kill`](Child::start_kill) and [`wait`](Child::wait).
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Closes what it reads from, if that is still here, so that it does not wait for us, and waits until it has ended:
    /// `IORING_OP_WAITID`, `waitid(2)`; below Linux 6.7 `IORING_OP_POLL_ADD` on a `pidfd_open(2)`. Asked again, it gives the
    /// same status. Dropped early, nothing is lost: the next call gives the status.
    ///
    /// # Errors
    /// `ECHILD` if somebody else has taken its status (the program waits for any child, or ignores `SIGCHLD`); `ECANCELED` where
    /// the loop ends; below Linux 6.7 too many open files.
    ///
    /// # Panics
    /// Where no loop runs, if it has not ended.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        self.process.wait().await
    }

    /// Its status, if it has ended: `waitpid(2)`, a direct call that does not wait. What it reads from stays open.
    ///
    /// # Errors
    /// As [`wait`](Child::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Closes what it reads from, reads all that it writes, both streams at once, and waits until it has ended.
    ///
    /// Dropped early, what was read is lost, and the child is dropped.
    ///
    /// # Errors
    /// As [`wait`](Child::wait), and those of reading.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (self.stdout.take(), self.stderr.take());
        let mut status = pin!(self.process.wait());
        let mut reads = [pin!(read_all(stdout.as_deref_mut())), pin!(read_all(stderr.as_deref_mut()))];
        let (mut ended, mut outputs) = (None, [None, None]);
        let (status, [stdout, stderr]) = poll_fn(|cx| {
            if ended.is_none()
                && let Poll::Ready(result) = status.as_mut().poll(cx)
            {
                ended = Some(result?);
            }
            for (read, output) in reads.iter_mut().zip(&mut outputs) {
                if output.is_none()
                    && let Poll::Ready(result) = read.as_mut().poll(cx)
                {
                    *output = Some(result?);
                }
            }
            match (ended, &mut outputs) {
                (Some(status), [Some(stdout), Some(stderr)]) => {
                    Poll::Ready(io::Result::Ok((status, [std::mem::take(stdout), std::mem::take(stderr)])))
                }
                _ => Poll::Pending,
            }
        })
        .await?;
        Ok(Output { status, stdout, stderr })
    }
}

async fn read_all(receiver: Option<&mut Receiver>) -> io::Result<Vec<u8>> {
    let Some(receiver) = receiver else { return Ok(Vec::new()) };
    let (result, bytes) = receiver.read_to_end(Vec::new()).await;
    result.map(|_| bytes)
}

/// The part that has to be reaped.
struct Process {
    state: State,
    kill_on_drop: bool,
    /// What its end is awaited by where the ring cannot.
    pidfd: Option<Fd>,
}

enum State {
    Running(std::process::Child),
    Ended(ExitStatus),
    /// Only while it is dropped.
    Gone,
}

impl Process {
    fn running(&self) -> Option<&std::process::Child> {
        match &self.state {
            State::Running(child) => Some(child),
            _ => None,
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = match &mut self.state {
            State::Running(child) => child.try_wait()?,
            State::Ended(status) => return Ok(Some(*status)),
            State::Gone => unreachable!("nobody asks who is dropped"),
        };
        if let Some(status) = status {
            self.state = State::Ended(status);
            self.pidfd = None;
        }
        Ok(status)
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let mut told = false;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if told {
                // It has, but a debugger has not let go of it.
                sleep(PAUSE).await;
            }
            let State::Running(child) = &self.state else { unreachable!("it was just looked at") };
            match ended(child.id(), &mut self.pidfd).await {
                // It is nobody's child any more: std's call says so, too.
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {}
                result => result?,
            }
            told = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let State::Running(mut child) = std::mem::replace(&mut self.state, State::Gone) else { return };
        if self.kill_on_drop {
            // Whom it does not reach has ended.
            let _ = kill(child.id(), libc::SIGKILL);
        }
        if let Ok(None) = child.try_wait() {
            orphans::adopt(child);
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Running(child) => write!(f, "Running({})", child.id()),
            State::Ended(status) => write!(f, "Ended({status})"),
            State::Gone => f.write_str("Gone"),
        }
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Child>();
};
