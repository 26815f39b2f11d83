//! What a runtime costs before it runs: a small echo server is built for each, from nothing, with the versions of the lock
//! file. The programs are in `sizes`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::table::thousands;

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

/// Removed when it is over.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Built {
    crates: usize,
    seconds: f64,
    bytes: u64,
}

/// Prints a table, as Markdown.
pub fn run(base: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), String> {
    let scratch = Scratch(base.join(format!("ringtoss-bench-sizes-{}", std::process::id())));
    println!("| | crates compiled | seconds | binary, stripped (KiB) |\n|---|--:|--:|--:|");
    for program in PROGRAMS.iter().filter(|program| wanted(program.name)) {
        match build(program, &scratch.0) {
            Ok(Built { crates, seconds, bytes }) => {
                let kib = thousands(bytes as f64 / 1024.0);
                println!("| {} | {crates} | {seconds:.1} | {kib} |", program.name);
            }
            Err(error) => println!("| {} | failed: {} | | |", program.name, error.trim().replace('\n', "; ")),
        }
    }
    Ok(())
}

fn build(program: &Program, folder: &Path) -> Result<Built, String> {
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
    let start = Instant::now();
    let output = cargo.args(["build", "--release", "--offline"]).output().map_err(said)?;
    let seconds = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo gave no reason");
        return Err(error.into());
    }
    let bytes = fs::metadata(folder.join("target/release/echo")).map_err(said)?.len();
    Ok(Built { crates: compiled(&text), seconds, bytes })
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

    /// Without anything to download: std's, and this crate's.
    #[test]
    fn the_smallest_programs_are_built() {
        let scratch = Scratch(std::env::temp_dir().join(format!("ringtoss-bench-sizes-test-{}", std::process::id())));
        let built = build(&PROGRAMS[0], &scratch.0).unwrap();
        assert_eq!(built.crates, 0);
        assert!((100_000..2_000_000).contains(&built.bytes), "{} bytes", built.bytes);
    }
}
