//! The house is kept in order by these tests: arrows point down only, unsafe code stays where it may be, and files stay
//! short. They read the sources.

#[path = "house/cancellation.rs"]
mod cancellation;
#[path = "house/kernels.rs"]
mod kernels;
#[path = "house/soundness.rs"]
mod soundness;
#[path = "house/supply.rs"]
mod supply;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module and its layer. A module may use those of lower layers and itself.
const LAYERS: &[(&str, u32)] = &[
    // L0: the system, the ring, buffers.
    ("guard", 0),
    ("sys", 0),
    ("buf", 1),
    ("ring", 1),
    // L1: what a loop is made of; no system calls but through the layer below.
    ("clock", 2),
    ("slot", 2),
    ("timer", 2),
    ("token", 2),
    ("mail", 3),
    ("salvage", 3),
    ("inbox", 4),
    ("registry", 5),
    // L2: the loop as operations see it.
    ("driver", 6),
    ("context", 7),
    ("fd", 8),
    ("registered", 8),
    ("time", 8),
    // L3: operations and tasks.
    ("op", 9),
    ("task", 9),
    // L4.
    ("blocking", 10),
    ("executor", 10),
    // L5: what people use.
    ("convert", 11),
    ("event_loop", 11),
    ("fs", 12),
    ("futex", 12),
    ("net", 12),
    ("signal", 12),
    // A pipe is a file.
    ("pipe", 13),
    // What a child reads and writes are pipes.
    ("process", 14),
    // L6: readers and writers of every kind, and what others expect.
    ("io", 15),
    ("compat", 16),
];

/// Where unsafe code may be.
const UNSAFE: &[&str] = &[
    "buf",
    "context.rs",
    "inbox",
    "inbox.rs",
    "net/raw_option.rs",
    "op",
    "process/command.rs",
    "ring",
    "slot/elsewhere.rs",
    "sys",
    "task",
    "time/timeout.rs",
];

/// A file of more lines usually holds two ideas.
const LINES_AT_MOST: usize = 640;

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_path_buf(), fs::read_to_string(&path).unwrap()))
        .filter(|(path, _)| path != Path::new("lib.rs"))
        .collect()
}

/// The source without comments and without its tests, which may use anything.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn module(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_string()
}

fn is_test(path: &Path) -> bool {
    let name = path.to_str().unwrap();
    name.contains("tests") || name.ends_with("fault.rs") || name.starts_with("fault") || name.starts_with("fuzzing")
}

#[test]
fn arrows_point_down() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let here = module(path);
        let Some(&layer) = layers.get(here.as_str()) else {
            wrong.push(format!("{}: the module {here} is not in the table", path.display()));
            continue;
        };
        for after in code(text).split("crate::").skip(1) {
            let used: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            match layers.get(used.as_str()) {
                Some(&other) if other < layer || used == here => {}
                Some(_) => {
                    wrong.push(format!("{}: {here} uses {used}, which lies higher or beside it", path.display()))
                }
                // A name of the crate's root is one that a user sees; the crate itself does not go through it.
                None => wrong.push(format!("{}: {here} uses crate::{used}", path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn op_files_do_not_know_each_other_by_name() {
    let shared = [
        "at",
        "few",
        "flags",
        "large",
        "read",
        "write",
        "position",
        "limit",
        "operation",
        "orphan",
        "lease",
        "message",
        "net",
        "turn",
    ];
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("op") && !is_test(path)) {
        for after in code(text).split("super::").skip(1) {
            let used: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let file = Path::new("src/op").join(format!("{used}.rs"));
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
            let fine = !exists || shared.contains(&used.as_str());
            assert!(fine, "{} uses {used}: what two opcodes share goes where both may look", path.display());
        }
    }
}

#[test]
fn unsafe_code_stays_where_it_may_be() {
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let allowed = UNSAFE.iter().any(|place| path.starts_with(place));
        let has = code(text).lines().any(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
                || line.contains("allow(unsafe_code)")
        });
        assert!(allowed || !has, "{} has unsafe code", path.display());
    }
}

#[test]
fn files_stay_short() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_AT_MOST, "{} has {lines} lines: it probably holds two ideas", path.display());
    }
}
