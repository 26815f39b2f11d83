//! `docs/coverage.md` is made of the code, so that it cannot go stale: what of the kernel, std and tokio is here, under which
//! name, and why not where it is not. What is claimed is looked for in the sources.
//!
//! * `opcodes.rs`: the kernel's opcodes, and how each is reached;
//! * `items.txt`: the public items of std and tokio (see `pages.rs`). One that is here under the same name needs no more;
//! * `counterparts.txt`: what goes by another name here, or is not here for a reason;
//! * `missing.txt`: what is not here yet. It may only get shorter.

mod index;
mod opcodes;
mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use index::{Index, root};
use opcodes::{OPCODES, Reached};

/// Set it to have the table, and the list of what is missing, written.
const UPDATE: &str = "COVERAGE_UPDATE";

/// Where the items of a module are found here, most special first.
const PLACES: &[(&str, &str)] = &[
    ("std::fs::", "fs"),
    ("std::net::", "net"),
    ("tokio::fs::", "fs"),
    ("tokio::net::unix::pipe::", "pipe"),
    ("tokio::net::", "net"),
    ("tokio::process::", "process"),
    ("tokio::signal::", "signal"),
];

fn data(name: &str) -> PathBuf {
    root().join("tests/coverage").join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = fs::read_to_string(data(name)).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string).collect()
}

/// What stands for an item of another's.
#[derive(Clone, PartialEq)]
enum Counterpart {
    /// The same name.
    Same,
    /// These names, and perhaps a word about them.
    Other(Vec<String>, String),
    /// Nothing, and why.
    Reason(String),
    /// Nothing yet.
    Missing,
}

/// A line of `counterparts.txt`: `std::fs::soft_link = fs::symlink`, or with ` - ` and a reason. A name may end with `*`.
struct Rule {
    pattern: String,
    counterpart: Counterpart,
}

impl Rule {
    fn of(line: &str) -> Rule {
        if let Some((pattern, names)) = line.split_once(" = ") {
            let (names, remark) = names.split_once(" ; ").unwrap_or((names, ""));
            let names = names.split(", ").map(str::to_string).collect();
            return Rule { pattern: pattern.to_string(), counterpart: Counterpart::Other(names, remark.to_string()) };
        }
        let (pattern, reason) = line.split_once(" - ").unwrap_or_else(|| panic!("no rule: {line}"));
        Rule { pattern: pattern.to_string(), counterpart: Counterpart::Reason(reason.to_string()) }
    }

    fn matches(&self, item: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let Some(mut rest) = item.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut ends = true;
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
            ends = part.is_empty();
        }
        ends || rest.is_empty()
    }
}

fn same_name(index: &Index, item: &str) -> bool {
    PLACES.iter().filter_map(|(from, to)| Some((item.strip_prefix(from)?, to))).take(1).any(|(rest, to)| {
        let last_type = rest.split("::").position(|part| part.starts_with(char::is_uppercase));
        let name = rest.split("::").skip(last_type.unwrap_or(rest.split("::").count() - 1)).collect::<Vec<_>>();
        index.has(&format!("{to}::{}", name.join("::")))
    })
}

struct Coverage {
    index: Index,
    items: Vec<(String, Counterpart)>,
    unused_rules: Vec<String>,
}

impl Coverage {
    fn new() -> Coverage {
        let index = Index::new();
        let rules: Vec<Rule> = lines("counterparts.txt").iter().map(|line| Rule::of(line)).collect();
        let mut used = vec![false; rules.len()];
        let mut items = Vec::new();
        for item in lines("items.txt") {
            let exact = rules.iter().position(|rule| rule.pattern == item);
            let same = same_name(&index, &item);
            let found = exact.or_else(|| if same { None } else { rules.iter().position(|rule| rule.matches(&item)) });
            let counterpart = match found {
                Some(found) => {
                    used[found] = true;
                    rules[found].counterpart.clone()
                }
                None if same => Counterpart::Same,
                None => Counterpart::Missing,
            };
            items.push((item, counterpart));
        }
        let unused = rules.into_iter().zip(used).filter(|(_, used)| !used).map(|(rule, _)| rule.pattern);
        Coverage { index, items, unused_rules: unused.collect() }
    }

    fn missing(&self) -> BTreeSet<&str> {
        let missing = self.items.iter().filter(|(_, counterpart)| *counterpart == Counterpart::Missing);
        let opcodes = OPCODES.iter().filter(|opcode| opcode.reached == Reached::Missing);
        missing.map(|(item, _)| item.as_str()).chain(opcodes.map(|opcode| opcode.name)).collect()
    }
}

/// What the table says, in Markdown.
fn table(coverage: &Coverage) -> String {
    let mut out = String::from(
        "# What is covered\n\n\
         Made by `tests/coverage` of the code; do not edit it by hand. Every opcode of the kernel's ring, and every public item of\n\
         `std::fs`, `std::net`, `tokio::fs`, `tokio::net`, `tokio::process` and `tokio::signal`: what it is called here, or why it\n\
         is not here. Paths without a crate are this crate's.\n\n",
    );
    let count = |wanted: fn(&Counterpart) -> bool| coverage.items.iter().filter(|(_, found)| wanted(found)).count();
    let missing = count(|found| *found == Counterpart::Missing);
    let reasons = count(|found| matches!(found, Counterpart::Reason(_)));
    let reached = OPCODES.iter().filter(|opcode| matches!(opcode.reached, Reached::By(_))).count();
    writeln!(
        out,
        "{} of {} opcodes are submitted; {} items: {} are here, {reasons} are not for a reason, {missing} are missing.\n",
        reached,
        OPCODES.len(),
        coverage.items.len(),
        coverage.items.len() - missing - reasons,
    )
    .unwrap();
    out.push_str(
        "## Opcodes\n\nWhat has no typed way goes through `op::submit`. \"Since\" is the kernel's release.\n\n",
    );
    out.push_str("| opcode | since | reached by |\n|---|---|---|\n");
    for opcode in OPCODES {
        let reached = match opcode.reached {
            Reached::By(names) => {
                let told = |name: &str| if name.contains(' ') { name.to_string() } else { code(name) };
                names.split(", ").map(told).collect::<Vec<_>>().join(", ")
            }
            Reached::Not(reason) => format!("not: {reason}"),
            Reached::Missing => "missing".to_string(),
        };
        writeln!(out, "| `{}` | {} | {reached} |", opcode.name, opcode.since).unwrap();
    }
    let mut groups: BTreeMap<(&str, String), Vec<(&str, &Counterpart)>> = BTreeMap::new();
    for (item, counterpart) in &coverage.items {
        let module = item.splitn(3, "::").take(2).map(str::len).sum::<usize>() + 2;
        let (module, rest) = (&item[..module], &item[module + 2..]);
        let parts: Vec<&str> = rest.split("::").collect();
        let until =
            parts.iter().position(|part| part.starts_with(char::is_uppercase)).map_or(parts.len() - 1, |at| at + 1);
        let group = parts[..until].join("::");
        let name = rest[group.len()..].trim_start_matches("::");
        groups.entry((module, group)).or_default().push((name, counterpart));
    }
    let mut before = "";
    for ((module, group), items) in &groups {
        if *module != before {
            write!(out, "\n## {module}\n\n| item | here |\n|---|---|\n").unwrap();
            before = module;
        }
        let full = |name: &str| {
            [group.as_str(), name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::")
        };
        let rows = |text: &dyn Fn(&Counterpart) -> Option<String>| {
            let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
            for (name, counterpart) in items {
                let Some(text) = text(counterpart) else { continue };
                match rows.iter_mut().find(|(other, _)| *other == text) {
                    Some((_, names)) => names.push(name),
                    None => rows.push((text, vec![name])),
                }
            }
            rows
        };
        let said = rows(&|counterpart| {
            Some(match counterpart {
                Counterpart::Same => "the same".to_string(),
                Counterpart::Other(names, remark) => {
                    let names = names.iter().map(String::as_str).map(code).collect::<Vec<_>>().join(", ");
                    if remark.is_empty() { names } else { format!("{names}; {remark}") }
                }
                Counterpart::Reason(reason) => format!("not: {reason}"),
                Counterpart::Missing => "missing".to_string(),
            })
        });
        for (text, names) in said {
            let first = code(&full(names[0]));
            let rest = names[1..].iter().map(|name| format!(", {}", code(name))).collect::<String>();
            writeln!(out, "| {first}{rest} | {text} |").unwrap();
        }
    }
    out
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

#[test]
fn every_opcode_is_reached_or_has_a_reason() {
    let index = Index::new();
    for opcode in OPCODES {
        let used = opcode.names.iter().any(|name| index.uses(name));
        match opcode.reached {
            Reached::By(names) => {
                assert!(used, "{} is used by nothing in src/op, src/driver and src/ring", opcode.name);
                for name in names.split(", ").filter(|name| !name.contains(' ')) {
                    assert!(index.has(name), "{} is reached by {name}, which is not public here", opcode.name);
                }
            }
            _ => assert!(!used, "{} is used: say in opcodes.rs how it is reached", opcode.name),
        }
    }
}

#[test]
fn what_stands_for_an_item_exists() {
    let coverage = Coverage::new();
    for (item, counterpart) in &coverage.items {
        let Counterpart::Other(names, _) = counterpart else { continue };
        for name in names.iter().filter(|name| !name.starts_with("std::")) {
            assert!(coverage.index.has(name), "{item}: there is no {name}");
        }
    }
    assert!(
        coverage.unused_rules.is_empty(),
        "rules that no item needs any more, take them out of counterparts.txt: {:?}",
        coverage.unused_rules
    );
}

#[test]
fn nothing_is_missing_but_what_is_known_to_be() {
    let coverage = Coverage::new();
    let (missing, known) = (coverage.missing(), lines("missing.txt"));
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let unknown: Vec<_> = missing.difference(&known).collect();
    assert!(unknown.is_empty(), "neither here nor in counterparts.txt: {unknown:#?}");
    let here: Vec<_> = known.difference(&missing).collect();
    if !here.is_empty() && std::env::var_os(UPDATE).is_some() {
        let text: String = missing.iter().flat_map(|item| [*item, "\n"]).collect();
        return fs::write(data("missing.txt"), text).unwrap();
    }
    assert!(here.is_empty(), "not missing any more, take them off missing.txt ({UPDATE}=1 does): {here:#?}");
}

#[test]
fn the_table_is_what_the_code_says() {
    let path = root().join("docs/coverage.md");
    let (now, then) = (table(&Coverage::new()), fs::read_to_string(&path).unwrap_or_default());
    if now == then {
        return;
    }
    if std::env::var_os(UPDATE).is_some() {
        return fs::write(&path, now).unwrap();
    }
    let (new, old): (BTreeSet<&str>, BTreeSet<&str>) = (now.lines().collect(), then.lines().collect());
    let gone = old.difference(&new).map(|line| format!("-{line}\n"));
    let diff: String = gone.chain(new.difference(&old).map(|line| format!("+{line}\n"))).collect();
    panic!("docs/coverage.md does not say what the code says; run `{UPDATE}=1 cargo test --test coverage`:\n{diff}");
}
