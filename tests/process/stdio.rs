//! What a child reads and writes.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use ringtoss::io::{BufReader, Read, Write};
use ringtoss::pipe;
use ringtoss::process::{ChildStdin, ChildStdout, Command};

use crate::{run, shell};

#[test]
fn more_than_a_pipe_holds_goes_there_and_back() {
    run(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent: Vec<u8> = (0..3_000_001u32).map(|i| (i % 251) as u8).collect();
        let copy = sent.clone();
        let writing = ringtoss::spawn(async move { stdin.write_all(copy).await.0 });
        let output = child.wait_with_output().await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(output.status.success() && output.stdout == sent && output.stderr.is_empty());
    });
}

#[test]
fn both_streams_are_read_at_once() {
    run(async {
        // Each fills its pipe before the other is begun.
        let mut both = shell("yes out | head -c 300000; yes err | head -c 300000 >&2; yes out | head -c 300000");
        let output = both.output().await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (600_000, 300_000));
        assert!(output.stdout.starts_with(b"out\n") && output.stderr.starts_with(b"err\n"));
    });
}

#[test]
fn output_pipes_whatever_was_set() {
    run(async {
        let mut command = shell("echo out; echo err >&2");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let output = command.output().await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    });
}

#[test]
fn waiting_closes_what_it_reads_from() {
    run(async {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        assert!(child.stdin.is_some());
        assert!(child.try_wait().unwrap().is_none());
        assert!(child.stdin.is_some(), "looking closes nothing");
        assert!(child.wait().await.unwrap().success());
        assert!(child.stdin.is_none());
    });
}

#[test]
fn lines_are_read_while_it_runs() {
    run(async {
        let mut child = shell("while read line; do echo \"got $line\"; done")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for i in 0..10 {
            child.stdin.as_mut().unwrap().write_all(format!("{i}\n")).await.0.unwrap();
            assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("got {i}"));
        }
        child.stdin.take().unwrap().close().await.unwrap();
        assert!(lines.next_line().await.unwrap().is_none());
        assert!(child.wait().await.unwrap().success());
    });
}

/// For code that takes any reader and any writer.
async fn exchange(mut writer: impl Write, mut reader: impl Read) -> Vec<u8> {
    writer.write_all("generic").await.0.unwrap();
    drop(writer);
    let (result, bytes) = reader.read_to_end(Vec::new()).await;
    result.unwrap();
    bytes
}

#[test]
fn its_ends_are_readers_and_writers() {
    run(async {
        let mut child = shell("cat >&2").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(exchange(child.stdin.take().unwrap(), child.stderr.take().unwrap()).await, b"generic");
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(exchange(child.stdin.take().unwrap(), child.stdout.take().unwrap()).await, b"generic");
    });
}

#[test]
fn one_childs_output_is_anothers_input() {
    run(async {
        let mut first = shell("echo one; echo two").stdout(Stdio::piped()).spawn().unwrap();
        let between: Stdio = first.stdout.take().unwrap().try_into().unwrap();
        let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(between).output().await.unwrap();
        assert_eq!(output.stdout, b"ONE\nTWO\n");
        assert!(first.wait().await.unwrap().success());
    });
}

#[test]
fn pipes_of_ones_own_are_given_to_it() {
    run(async {
        let (mut sender, receiver) = pipe::pipe().unwrap();
        let (childs, mut ours) = pipe::pipe().unwrap();
        let mut command = Command::new("cat");
        command.stdin(Stdio::try_from(receiver).unwrap()).stdout(Stdio::try_from(childs).unwrap());
        let mut child = command.spawn().unwrap();
        // The builder still holds the child's ends.
        drop(command);
        sender.write_all("by hand").await.0.unwrap();
        drop(sender);
        assert_eq!(ours.read_to_end(Vec::new()).await.1, b"by hand");
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn ends_go_from_std_and_to_descriptors() {
    run(async {
        let mut std = std::process::Command::new("cat");
        let mut child = std.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = ChildStdin::from_std(child.stdin.take().unwrap()).unwrap();
        let mut stdout = ChildStdout::from_std(child.stdout.take().unwrap()).unwrap();
        stdin.write_all("some").await.0.unwrap();
        assert_eq!(stdout.read_exact(Vec::with_capacity(4), 4).await.1, b"some");
        // A dropped read is ended first, and what it has received is not lost silently.
        {
            let mut reading = stdout.read(Vec::with_capacity(8));
            assert!(crate::poll_once(&mut reading).await.is_pending());
        }
        let stdout: OwnedFd = stdout.into_owned_fd().unwrap();
        let mut sender: pipe::Sender = stdin.into();
        sender.write_all("more").await.0.unwrap();
        drop(sender);
        let mut receiver = pipe::Receiver::from_owned_fd(stdout).unwrap();
        assert_eq!(receiver.read_to_end(Vec::new()).await.1, b"more");
        assert!(child.wait().unwrap().success());
    });
}
