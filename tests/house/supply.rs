//! What users build with this crate: which packages, in how many versions, under which licences, and from where.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What the crate needs whatever is asked for. Another wants a reason that a reader of `Cargo.toml` would accept.
const REQUIRED: &[&str] = &["bitflags", "cfg-if", "crossbeam-queue", "crossbeam-utils", "io-uring", "libc", "slab"];

/// At most what the MIT licence asks for.
const LICENSES: &[&str] = &["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0", "Zlib"];

struct Package {
    name: String,
    version: String,
    license: String,
    /// Where it comes from, if that is not crates.io.
    source: Option<String>,
}

/// The packages beside this one, features on or off, without those for development.
fn packages(features: &str) -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal,build", features, "--prefix", "none", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines
        .into_iter()
        .map(|line| {
            let (package, license) = line.split_once('|').unwrap();
            let mut words = package.split(' ');
            let (name, version) = (words.next().unwrap().to_string(), words.next().unwrap().to_string());
            let source = words.find(|word| *word != "(proc-macro)").map(str::to_string);
            Package { name, version, license: license.trim_end_matches(" (*)").to_string(), source }
        })
        .filter(|package| package.name != env!("CARGO_PKG_NAME"))
        .collect()
}

#[test]
fn nothing_is_required_but_what_is_known() {
    let names: BTreeSet<String> = packages("--no-default-features").into_iter().map(|package| package.name).collect();
    let known: BTreeSet<String> = REQUIRED.iter().map(|name| name.to_string()).collect();
    assert_eq!(names, known);
}

#[test]
fn each_package_is_there_once_from_the_registry_and_may_be_used() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages("--all-features") {
        let Package { name, version, license, source } = package;
        assert_eq!(source, None, "{name} is not from crates.io");
        // All of what is joined by AND, one of what is joined by OR.
        let fine = license
            .replace(['(', ')'], "")
            .split(" AND ")
            .all(|part| part.split(" OR ").flat_map(|part| part.split('/')).any(|one| LICENSES.contains(&one.trim())));
        assert!(fine, "{name} is under {license:?}");
        versions.entry(name).or_default().push(version);
    }
    for (name, versions) in versions {
        assert_eq!(versions.len(), 1, "{name} is there as {versions:?}");
    }
}
