//! Has the report say which compiler it was, and which revision of ringtoss.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=RINGTOSS_BENCH_RUSTC={}", version.trim());
    println!("cargo::rustc-env=RINGTOSS_BENCH_REVISION={}", git(&["rev-parse", "--short=10", "HEAD"]));
    // Written whenever another commit is checked out or made. Without git nothing is watched, and there is no revision.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if !log.is_empty() {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// What git says, or nothing.
fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
    output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default().trim().to_owned()
}
