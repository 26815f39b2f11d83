//! `docs/kernels.md` has a row for each kernel release that the sources name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::sources;

/// The releases above the floor that a text names as `Linux 6.x`, or as `(6.x)` behind a name of the kernel's.
fn releases(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("6.") {
        let before = &text[..at];
        let minor: String = text[at + 2..].chars().take_while(char::is_ascii_digit).collect();
        let names = before.ends_with("Linux ") || before.ends_with("before ");
        if names && minor.parse::<u32>().is_ok_and(|minor| minor > 1) {
            found.insert(format!("6.{minor}"));
        }
    }
    found
}

#[test]
fn every_release_that_the_sources_name_has_a_row() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kernels.md")).unwrap();
    let rows: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .filter_map(|row| row.split(" | ").nth(1))
        .flat_map(|releases| releases.split(", "))
        .collect();
    let mut missing = Vec::new();
    for (path, text) in sources() {
        for release in releases(&text).into_iter().filter(|release| !rows.contains(release.as_str())) {
            missing.push(format!("{}: Linux {release}", path.display()));
        }
    }
    assert!(missing.is_empty(), "docs/kernels.md has no row for\n{}", missing.join("\n"));
    assert!(rows.len() > 10);
}
