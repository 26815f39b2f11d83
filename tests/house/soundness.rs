//! `docs/soundness.md` names guards that exist, for every promise and every rule, and counts unsafe code as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{UNSAFE, code, is_test, module, sources};

const PROMISES: usize = 7;
const RULES: usize = 22;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/soundness.md")).unwrap()
}

/// What stands in backticks and names something in a file.
fn guards(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('`').skip(1).step_by(2).filter_map(|word| word.split_once('#'))
}

#[test]
fn every_guard_that_is_named_exists() {
    let page = page();
    let mut wrong = Vec::new();
    for (file, test) in guards(&page).filter(|&(file, _)| file != "file") {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
        if !text.contains(&format!("fn {test}(")) {
            wrong.push(format!("{file} has no {test}"));
        }
    }
    assert!(wrong.is_empty(), "docs/soundness.md\n{}", wrong.join("\n"));
}

#[test]
fn every_promise_and_every_rule_has_a_guard() {
    let page = page();
    for number in 1..=PROMISES {
        let part = page.split(&format!("\n### P{number}. ")).nth(1).unwrap_or_else(|| panic!("there is no P{number}"));
        let part = part.split("\n##").next().unwrap();
        assert!(guards(part).next().is_some(), "P{number} has no guard");
    }
    for number in 1..=RULES {
        let row = page.lines().find(|line| line.starts_with(&format!("| R{number} |")));
        assert!(
            guards(row.unwrap_or_else(|| panic!("there is no R{number}"))).next().is_some(),
            "R{number} has no guard"
        );
    }
}

/// `.ci/guards.broken` says what is broken to see a guard fail: in each block a headline, a file, lines as they are and as they
/// are put there, and tests.
#[test]
fn every_promise_and_every_rule_has_a_proof_that_its_guard_can_fail() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let list = read(".ci/guards.broken");
    let mut proved = BTreeSet::new();
    let mut wrong = Vec::new();
    for block in list.split("\n\n").filter(|block| !block.trim_start().starts_with('#')) {
        let mut lines = block.trim().lines();
        let (headline, file) = (lines.next().unwrap(), lines.next().unwrap());
        proved.insert(headline.split(' ').next().unwrap().to_string());
        let text = read(file);
        let source: Vec<&str> = text.lines().map(str::trim).collect();
        let (mut old, mut tests) = (Vec::new(), 0);
        for line in lines {
            let (kind, rest) = line.split_once(' ').unwrap();
            match kind {
                "-" => old.push(rest.trim()),
                "+" if old.is_empty() => {}
                "+" => {
                    let times = source.windows(old.len()).filter(|lines| **lines == old[..]).count();
                    if times != 1 {
                        wrong.push(format!("{headline}: {file} has these lines {times} times\n  {}", old.join("\n  ")));
                    }
                    old.clear();
                }
                "test" => {
                    tests += 1;
                    let (file, test) = rest.split_once('#').unwrap();
                    if !read(file).contains(&format!("fn {test}(")) {
                        wrong.push(format!("{headline}: {file} has no {test}"));
                    }
                }
                // Nothing has noticed yet: it is said why, and in docs/guards.md.
                "open" => tests += 1,
                _ => wrong.push(format!("{headline}: what is {line:?}?")),
            }
        }
        if tests == 0 {
            wrong.push(format!("{headline}: no test"));
        }
    }
    let all = (1..=PROMISES).map(|number| format!("P{number}")).chain((1..=RULES).map(|number| format!("R{number}")));
    wrong.extend(all.filter(|name| !proved.contains(name)).map(|name| format!("{name} has no proof")));
    assert!(wrong.is_empty(), ".ci/guards.broken\n{}\nmake the proof anew: .ci/guards", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_counted_as_it_is() {
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        for after in code(text).split("unsafe ").skip(1) {
            let kind = match after.split(|c: char| c.is_whitespace() || c == '<').next() {
                Some("{") => 0,
                Some("impl") => 1,
                Some("fn" | "extern") => 2,
                _ => continue,
            };
            counts.entry(module(path)).or_default()[kind] += 1;
        }
    }
    let page = page();
    let table = page.split("\n## Unsafe code").nth(1).expect("there is a table of unsafe code");
    for (module, counts) in &counts {
        assert!(UNSAFE.iter().any(|place| place.starts_with(module)), "{module} is not among those that may");
        let row = table.lines().find(|line| line.starts_with(&format!("| `{module}` |")));
        let cells: Vec<usize> = row
            .unwrap_or_else(|| panic!("docs/soundness.md has no row for {module}: {counts:?}"))
            .split('|')
            .skip(2)
            .take(3)
            .map(|cell| cell.trim().parse().unwrap())
            .collect();
        for (said, &is) in cells.iter().zip(counts) {
            assert!(
                said.abs_diff(is) <= 1 + is / 10,
                "docs/soundness.md says {cells:?} of {module}, and it is {counts:?}"
            );
        }
    }
}
