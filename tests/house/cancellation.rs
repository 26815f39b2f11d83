//! `docs/cancellation.md` has a row for every public future: each function of the sources that gives one, and each type that is
//! one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{code, is_test, sources};

/// Types that are futures, and the function that gives them where that is not the same name in small letters.
const MADE_BY: &[(&str, &str)] = &[
    ("Cancel", "cancel"),
    ("CancelOn", "cancel_on"),
    ("LentBuf", "result_first"),
    ("Receive", "recv"),
    ("TaskLocalFuture", "LocalKey"),
    ("TimeLimit", "timeout"),
    ("WaitForCancellation", "cancelled"),
    ("WaitForCancellationOwned", "cancelled_owned"),
];

/// Files whose methods are written by a macro, and a type that has them.
const BY_MACRO: &[(&str, &str)] = &[
    ("io/stdio.rs", "Stdout"),
    ("net/split.rs", "OwnedWriteHalf"),
    ("net/zero_copy.rs", "TcpStream"),
    ("process/stdio.rs", "ChildStdin"),
];

/// What is not a future that a user awaits: operations are named after what gives them, and the rest is the crate's own.
const NOT_AWAITED: &[&str] = &["Operation"];

/// A function that gives a future, or a type that is one.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Item {
    /// The type that it is a method of, or the module.
    of: String,
    name: String,
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The first word that is a type's name, behind generics: of `impl<T: Trait> Path::Type<T>`, `Type`.
fn type_name(text: &str) -> String {
    let mut depth = 0;
    let plain: String = text
        .trim()
        .chars()
        .filter(|&c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0 && c != '>'
        })
        .collect();
    let path = plain.split(" where ").next().unwrap().trim().trim_end_matches('{').trim().to_string();
    words(&path).last().unwrap_or_default().to_string()
}

/// Whether what a function gives is awaited.
fn gives_future(signature: &str) -> bool {
    let Some((_, output)) = signature.split_once("->") else { return false };
    let output = output.split(" where").next().unwrap();
    let operation = words(output).next() == Some("Operation");
    operation || output.contains("impl Future") || words(output).any(|word| word == "TimeLimit" || word == "YieldNow")
}

fn items() -> BTreeSet<Item> {
    let mut items = BTreeSet::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
        let text = code(text);
        let by_macro = BY_MACRO.iter().find(|(file, _)| path == Path::new(file));
        let module = by_macro.map_or(module, |(_, of)| of.to_string());
        let mut of = module.clone();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line.is_empty() {
                continue;
            }
            let inside = line.starts_with(' ');
            let trimmed = line.trim_start();
            if !inside {
                of = module.clone();
            }
            if !inside && trimmed.starts_with("impl") {
                let mut head = trimmed.to_string();
                while !head.contains('{') {
                    head += " ";
                    head += lines.next().unwrap().trim();
                }
                let (trait_name, target) = match head.split_once(" for ") {
                    Some((trait_name, target)) if !trait_name.contains("for<") => (type_name(&trait_name[4..]), target),
                    _ => (
                        String::new(),
                        match head.strip_prefix("impl<").and_then(|generic| generic.split_once("> ")) {
                            Some((_, target)) => target,
                            None => &head[4..],
                        },
                    ),
                };
                of = type_name(target);
                if trait_name == "Future" && text.contains(&format!("pub struct {of}")) {
                    items.insert(Item { of: "the type".into(), name: of.clone() });
                }
            }
            let asynchronous = trimmed.starts_with("pub async fn ") || trimmed.starts_with("pub async unsafe fn ");
            if asynchronous || trimmed.starts_with("pub fn ") || trimmed.starts_with("pub unsafe fn ") {
                let mut signature = trimmed.to_string();
                while !signature.contains(['{', ';']) {
                    signature += " ";
                    signature += lines.next().unwrap().trim();
                }
                let name = signature.split("fn ").nth(1).unwrap();
                let name = words(name).next().unwrap().to_string();
                if asynchronous || gives_future(&signature) {
                    items.insert(Item { of: of.clone(), name });
                }
            }
        }
    }
    items
}

/// The first columns of the table.
fn rows() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cancellation.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| future"));
    rows.map(|line| line.split('|').nth(1).unwrap().to_string()).collect()
}

/// Whether a row is for all that an object does: it begins with `Type`'s.
fn is_for_all_of(row: &str, of: &str) -> bool {
    let is_one_name = |text: &str| text.starts_with('`') && text.ends_with('`') && text.matches('`').count() == 2;
    let begins = row.trim().split_once("'s").is_some_and(|(name, _)| is_one_name(name));
    begins && words(row).any(|word| word == of)
}

fn has_row(rows: &[String], item: &Item) -> bool {
    // "and their `_mut`"
    let suffix = ["_mut", "_nofollow"].into_iter().find(|suffix| item.name.ends_with(suffix));
    let plain = suffix.map_or(&*item.name, |suffix| item.name.trim_end_matches(suffix));
    rows.iter().any(|row| {
        let theirs = suffix.is_some_and(|suffix| row.contains(&format!("`{suffix}`")));
        let named = words(row).any(|word| word == item.name || word == plain && theirs);
        let of_all = !row.contains(char::is_uppercase) || row.contains(&format!("`{}`", item.name));
        let half = item.of.ends_with("Half") && row.contains("halves'");
        let owned = half || words(row).any(|word| word == item.of) || item.of == "the type" || of_all;
        named && owned || is_for_all_of(row, &item.of)
    })
}

#[test]
fn every_public_future_has_a_row() {
    let rows = rows();
    let mut missing = Vec::new();
    let all = items();
    assert!(all.len() > 150, "the sources are not read as they are written: {} futures", all.len());
    for mut item in all {
        if item.of == "the type" {
            if NOT_AWAITED.contains(&&*item.name) {
                continue;
            }
            let made_by = MADE_BY.iter().find(|(name, _)| *name == item.name);
            item.name = made_by.map_or_else(|| item.name.clone(), |(_, by)| by.to_string());
        }
        let small: String = item
            .name
            .chars()
            .flat_map(|c| [c.is_uppercase().then_some('_'), Some(c.to_ascii_lowercase())])
            .flatten()
            .collect();
        let small = Item { of: item.of.clone(), name: small.trim_start_matches('_').to_string() };
        if !has_row(&rows, &item) && !has_row(&rows, &small) {
            missing.push(format!("{}::{}", item.of, item.name));
        }
    }
    assert!(missing.is_empty(), "docs/cancellation.md has no row for\n{}", missing.join("\n"));
}

#[test]
fn no_future_has_two_rows() {
    let rows = rows();
    let mut first = BTreeSet::new();
    for row in rows.iter().filter(|row| !row.contains(" itself") && row.contains("::")) {
        let name = row.split(',').next().unwrap().trim();
        assert!(first.insert(name), "docs/cancellation.md has a second row for {name}");
    }
}
