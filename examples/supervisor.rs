//! A process supervisor: `supervisor [--grace MS] COMMAND...`, each command a line for `sh`. What ends is started again, after a
//! pause that doubles while it keeps ending soon. Ctrl-c, or SIGTERM, stops all: they are asked to end (SIGTERM), and killed
//! (SIGKILL) when they have not after the grace period, 5 s unless told otherwise.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use ringtoss::CancellationToken;
use ringtoss::process::{Child, Command};
use ringtoss::signal::unix::{SignalKind, signal};
use ringtoss::task::JoinSet;
use ringtoss::time::{Instant, sleep, timeout};

/// The first pause before a program is started again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));
/// Who runs so long did not end soon.
const SOON: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut commands: Vec<String> = std::env::args().skip(1).collect();
    let mut grace = Duration::from_secs(5);
    if commands.first().is_some_and(|first| first == "--grace") {
        match commands.get(1).map(|text| text.parse()) {
            Some(Ok(ms)) => grace = Duration::from_millis(ms),
            _ => return usage(),
        }
        commands.drain(..2);
    }
    if commands.is_empty() {
        return usage();
    }
    match ringtoss::block_on(supervise(commands, grace)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: supervisor [--grace MS] COMMAND...");
    ExitCode::from(2)
}

/// Whether anybody reads it or not: the programs are to go on.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn supervise(commands: Vec<String>, grace: Duration) -> io::Result<()> {
    // Before anything is started, so that no signal meets children that nobody stops.
    let (mut interrupts, mut terminations) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let mut keepers = JoinSet::new();
    for command in commands {
        keepers.spawn(keep(command, stop.clone(), grace));
    }
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
    say("stopping");
    stop.cancel();
    keepers.join_all().await;
    say("stopped");
    Ok(())
}

/// Keeps one program running until all are to stop.
async fn keep(command: String, stop: CancellationToken, grace: Duration) {
    let mut pause = PAUSES.0;
    while !stop.is_cancelled() {
        let started = Instant::now();
        match run(&command, &stop, grace).await {
            Ok(status) => say(format_args!("{command}: {status}")),
            Err(error) => say(format_args!("{command}: {error}")),
        }
        pause = if started.elapsed() >= SOON { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        stop.run_until_cancelled(sleep(pause)).await;
    }
}

/// Runs it once, and ends it when all are to stop.
async fn run(command: &str, stop: &CancellationToken, grace: Duration) -> io::Result<ExitStatus> {
    // A process group of its own: a ctrl-c at the terminal is for the supervisor, which then asks its children.
    let mut child = Command::new("sh").arg("-c").arg(command).process_group(0).kill_on_drop(true).spawn()?;
    say(format_args!("{command}: started as {}", child.id().unwrap_or_default()));
    // A wait that is dropped takes nothing, so it can be asked again.
    match stop.run_until_cancelled(child.wait()).await {
        Some(status) => status,
        None => end(&mut child, grace).await,
    }
}

async fn end(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    // One that has ended by itself meanwhile is still ours, and told by the wait.
    child.send_signal(SignalKind::terminate())?;
    match timeout(grace, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}
