//! `cp` copies what it is given.

use std::fs;

use tempfile::tempdir;

use crate::util::{example, noise, run, text};

/// Several reads, the last one short.
const LEN: usize = 5_000_007;

#[test]
fn a_file_arrives_as_it_is() {
    let Some(mut cp) = example("cp") else { return };
    let folder = tempdir().unwrap();
    let (source, destination) = (folder.path().join("source"), folder.path().join("destination"));
    fs::write(&source, noise(LEN)).unwrap();
    // Nothing of what is there stays.
    fs::write(&destination, vec![1; LEN + 5]).unwrap();
    cp.arg(&source).arg(&destination);
    let output = run(cp, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(&destination).unwrap() == noise(LEN));
}

#[test]
fn standard_input_arrives_as_it_is() {
    let Some(mut cp) = example("cp") else { return };
    let folder = tempdir().unwrap();
    let destination = folder.path().join("destination");
    cp.arg("-").arg(&destination);
    let output = run(cp, noise(LEN));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(fs::read(&destination).unwrap() == noise(LEN));
}

#[test]
fn a_file_goes_to_standard_output() {
    let Some(mut cp) = example("cp") else { return };
    let folder = tempdir().unwrap();
    let source = folder.path().join("source");
    fs::write(&source, noise(LEN)).unwrap();
    cp.arg(&source).arg("-");
    let output = run(cp, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == noise(LEN));
}

#[test]
fn a_file_of_which_the_size_is_not_known_is_copied() {
    let Some(mut cp) = example("cp") else { return };
    cp.args(["/proc/self/cmdline", "-"]);
    let output = run(cp, Vec::new());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout.ends_with(b"cp\0/proc/self/cmdline\0-\0"), "{}", text(&output.stdout));
}

#[test]
fn what_fails_is_named() {
    let Some(mut cp) = example("cp") else { return };
    let folder = tempdir().unwrap();
    cp.arg("/no/such/file").arg(folder.path().join("destination"));
    let output = run(cp, Vec::new());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("/no/such/file"), "{}", text(&output.stderr));
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    let Some(mut cp) = example("cp") else { return };
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, noise(100)).unwrap();
    cp.arg(&file).arg(&file);
    let output = run(cp, Vec::new());
    assert!(!output.status.success());
    assert!(fs::read(&file).unwrap() == noise(100));
}
