//! What a runtime costs before it runs: a small echo server is built for each, from nothing, with the versions of the lock
//! file. The programs are in `sizes`.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::ending::{self, Folder};
use crate::report::{Report, Size};
use crate::table::thousands;
use crate::{output, sys};

struct Program {
    name: &'static str,
    source: &'static str,
    /// Beside the runtime itself, which is a table: what the program cannot be written without.
    dependencies: &'static str,
}

/// Each runtime with no more of its features than the program uses.
const PROGRAMS: &[Program] = &[
    Program { name: "std, threads", source: include_str!("../sizes/std.rs"), dependencies: "" },
    Program { name: "ringtoss", source: include_str!("../sizes/ringtoss.rs"), dependencies: "ringtoss = PATH" },
    Program {
        name: "tokio",
        source: include_str!("../sizes/tokio.rs"),
        dependencies: r#"tokio = { version = "1", features = ["rt", "net", "io-util"] }"#,
    },
    Program { name: "monoio", source: include_str!("../sizes/monoio.rs"), dependencies: r#"monoio = "0.2""# },
    Program {
        name: "compio",
        source: include_str!("../sizes/compio.rs"),
        dependencies: r#"compio = { version = "0.19", features = ["io", "net"] }"#,
    },
    Program {
        name: "glommio",
        source: include_str!("../sizes/glommio.rs"),
        dependencies: "glommio = \"0.9\"\nfutures-lite = \"2\"",
    },
    Program {
        name: "tokio-uring",
        source: include_str!("../sizes/tokio-uring.rs"),
        dependencies: r#"tokio-uring = "0.5""#,
    },
    Program {
        name: "kimojio",
        source: include_str!("../sizes/kimojio.rs"),
        dependencies: r#"kimojio = { version = "0.19", default-features = false, features = ["setup_single_issuer"] }"#,
    },
    Program { name: "smol", source: include_str!("../sizes/smol.rs"), dependencies: r#"smol = "2""# },
];

/// Builds one after the other, and says what came of it.
pub fn run(base: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Size>, String> {
    let folder = Folder::make(base).map_err(|error| format!("{}: {error}", base.display()))?;
    let mut sizes = Vec::new();
    output::say(HEAD);
    for program in PROGRAMS.iter().filter(|program| wanted(program.name)) {
        let size = build(program, &folder.join("echo")).unwrap_or_else(|failure| Size {
            name: program.name.into(),
            failure: Some(failure),
            ..Size::default()
        });
        if ending::is_asked_for() {
            return Err("Interrupted.".into());
        }
        output::say(&line(&size));
        sizes.push(size);
    }
    Ok(sizes)
}

const HEAD: &str = "| | crates compiled | seconds | binary, stripped (KiB) |\n|---|--:|--:|--:|\n";

fn line(size: &Size) -> String {
    let Size { name, crates, seconds, bytes, failure } = size;
    match failure {
        Some(failure) => format!("| {name} | failed: {} | | |\n", failure.trim().replace('\n', "; ")),
        None => format!("| {name} | {crates} | {seconds:.1} | {} |\n", thousands(*bytes as f64 / 1024.0)),
    }
}

/// As Markdown.
pub fn table(report: &Report) -> String {
    if report.sizes.is_empty() {
        return "Not measured: `--sizes --json RESULT.json` adds it to a result.\n".into();
    }
    report.sizes.iter().fold(HEAD.to_owned(), |text, size| text + &line(size))
}

fn build(program: &Program, folder: &Path) -> Result<Size, String> {
    let said = |error: std::io::Error| error.to_string();
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder.join("src")).map_err(said)?;
    fs::write(folder.join("src/main.rs"), program.source).map_err(said)?;
    fs::write(folder.join("Cargo.toml"), manifest(program, root)).map_err(said)?;
    // The versions that the suite itself was built with; what is not needed is dropped from it.
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).map_err(said)?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).env("CARGO_INCREMENTAL", "0").env("CARGO_TARGET_DIR", folder.join("target"));
    // Whatever the reader has set for builds of their own.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_TARGET");
    let said_by_cargo = folder.join("said");
    let start = Instant::now();
    let child = cargo
        .args(["build", "--release", "--offline"])
        .stderr(File::create(&said_by_cargo).map_err(said)?)
        .process_group(0)
        .spawn()
        .map_err(said)?;
    let success = wait(child).map_err(said)?;
    let seconds = start.elapsed().as_secs_f64();
    let text = fs::read_to_string(&said_by_cargo).map_err(said)?;
    if !success {
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo gave no reason");
        return Err(error.into());
    }
    let bytes = fs::metadata(folder.join("target/release/echo")).map_err(said)?.len();
    Ok(Size { name: program.name.into(), crates: compiled(&text), seconds, bytes, failure: None })
}

/// Until it has ended, or somebody wants all to end.
fn wait(mut child: Child) -> io::Result<bool> {
    ending::watch(child.id());
    let mut status = None;
    while status.is_none() && !ending::is_asked_for() {
        std::thread::sleep(Duration::from_millis(20));
        status = child.try_wait()?;
    }
    ending::unwatch(child.id());
    if status.is_none() {
        sys::kill_group(child.id());
        status = Some(child.wait()?);
    }
    Ok(status.is_some_and(|status| status.success()))
}

/// With cargo's usual release profile, and without symbols.
fn manifest(program: &Program, root: &Path) -> String {
    let path = format!("{{ path = {:?} }}", root.display().to_string());
    format!(
        "[package]\nname = \"echo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[profile.release]\nstrip = true\n\n\
         [workspace]\n\n[dependencies]\n{}\n",
        program.dependencies.replace("PATH", &path)
    )
}

/// Everything but the program itself.
fn compiled(cargo_said: &str) -> usize {
    let lines = cargo_said.lines().map(str::trim_start);
    lines.filter(|line| line.starts_with("Compiling ") && !line.starts_with("Compiling echo ")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_counted_without_the_program() {
        let text = "   Compiling libc v0.2.1\n   Compiling echo v0.1.0 (/x)\n    Finished `release`\n";
        assert_eq!(compiled(text), 1);
    }

    /// Without anything to download: std's, and one that does not compile.
    #[test]
    fn programs_are_built_and_failures_are_told() {
        let folder = std::env::temp_dir().join(format!("ringtoss-bench-sizes-test-{}", std::process::id()));
        let built = build(&PROGRAMS[0], &folder).unwrap();
        assert_eq!(built.crates, 0);
        assert!((100_000..2_000_000).contains(&built.bytes), "{} bytes", built.bytes);
        let broken = Program { name: "broken", source: "fn main() { nothing }", dependencies: "" };
        assert!(build(&broken, &folder).unwrap_err().contains("error"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_result_shows_them() {
        let mut report = Report::example();
        assert!(table(&report).starts_with("Not measured"));
        let whole = Size { name: "a".into(), crates: 3, seconds: 1.25, bytes: 2_097_152, failure: None };
        report.sizes = vec![whole, Size { name: "b".into(), failure: Some("x\ny".into()), ..Size::default() }];
        assert!(table(&report).ends_with("| a | 3 | 1.2 | 2,048 |\n| b | failed: x; y | | |\n"), "{}", table(&report));
    }
}
