//! `tail` follows a file by its name, whatever happens to it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::util::{PATIENCE, example, run, text};

struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn of(path: &Path, lines: &str) -> Option<Tail> {
        let mut command = example("tail")?;
        command.args(["-n", lines]).arg(path).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().try_for_each(|line| sender.send(line.unwrap())));
        Some(Tail { child, lines })
    }

    #[track_caller]
    fn prints(&self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok(*expected));
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn add(mut file: &File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
}

fn log(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

#[test]
fn it_prints_the_last_lines_and_what_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = log(&path);
    // Longer than what is read at once.
    add(&file, &"x".repeat(99).as_str().repeat(3000));
    add(&file, "\none\ntwo\nthree\n");
    let Some(tail) = Tail::of(&path, "2") else { return };
    tail.prints(&["two", "three"]);
    add(&file, "four\nfi");
    tail.prints(&["four"]);
    add(&file, "ve\n");
    tail.prints(&["five"]);
    // What happens beside it is not its business.
    add(&log(&folder.path().join("log.other")), "other\n");
    add(&file, "six\n");
    tail.prints(&["six"]);
    let Some(more) = Tail::of(&path, "1000") else { return };
    let first = more.lines.recv_timeout(PATIENCE).unwrap();
    assert_eq!(first.len(), 99 * 3000);
    more.prints(&["one", "two", "three", "four", "five", "six"]);
    let Some(none) = Tail::of(&path, "0") else { return };
    // It has begun when it prints what is added; how much of it depends on when that is.
    loop {
        add(&file, "seven\n");
        if none.lines.recv_timeout(std::time::Duration::from_millis(100)).as_deref() == Ok("seven") {
            break;
        }
    }
}

#[test]
fn a_file_that_is_truncated_is_read_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let file = log(&path);
    add(&file, "a long line, and another\nthe last\n");
    let Some(tail) = Tail::of(&path, "1") else { return };
    tail.prints(&["the last"]);
    file.set_len(0).unwrap();
    add(&file, "anew\n");
    tail.prints(&["anew"]);
}

#[test]
fn a_file_that_takes_the_name_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let first = log(&path);
    add(&first, "zero\n");
    let Some(tail) = Tail::of(&path, "9") else { return };
    tail.prints(&["zero"]);
    // Moved away, its writer goes on for a while, and before and after the new one is there nothing is missed.
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    add(&first, "one\n");
    tail.prints(&["one"]);
    let second = log(&path);
    add(&second, "two\n");
    tail.prints(&["two"]);
    add(&first, "from the old one\n");
    tail.prints(&["from the old one"]);
    add(&second, "three\n");
    tail.prints(&["three"]);
    // Replaced in one step.
    let third = folder.path().join("log.new");
    fs::write(&third, "four\n").unwrap();
    fs::rename(&third, &path).unwrap();
    tail.prints(&["four"]);
    // Removed, and there again after a while.
    fs::remove_file(&path).unwrap();
    let fourth = log(&path);
    add(&fourth, "five\n");
    tail.prints(&["five"]);
}

#[test]
fn a_file_that_is_not_there_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let Some(tail) = Tail::of(&path, "9") else { return };
    add(&log(&path), "here\n");
    tail.prints(&["here"]);
}

#[test]
fn it_says_what_is_wrong() {
    let Some(command) = example("tail") else { return };
    let output = run(command, Vec::new());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), "usage: tail [-n LINES] FILE\n"));
    let Some(mut command) = example("tail") else { return };
    command.arg("/nowhere/log");
    let output = run(command, Vec::new());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("tail: /nowhere/log: No such file"), "{}", text(&output.stderr));
}
