//! The lists of items, from rustdoc's pages: `items.txt` is made by this when a newer std or tokio is to be covered.
//!
//! ```text
//! COVERAGE_PAGES=$(rustc --print sysroot)/share/doc/rust/html:…/target/doc cargo test --test coverage -- --ignored
//! ```
//!
//! where the second folder is what `cargo doc -p tokio` makes in a package that has tokio with all its features.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const MODULES: &[&str] = &["std/fs", "std/net", "tokio/fs", "tokio/net", "tokio/process", "tokio/signal"];

const KINDS: &[&str] = &["struct", "enum", "fn", "trait", "type", "union", "constant"];

fn collect(folder: &Path, prefix: &str, items: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            collect(&path, &format!("{prefix}::{name}"), items);
        }
        let Some((kind, item)) = name.strip_suffix(".html").and_then(|name| name.split_once('.')) else { continue };
        if !KINDS.contains(&kind) {
            continue;
        }
        let page = fs::read_to_string(&path).unwrap();
        if page.contains("http-equiv=\"refresh\"") {
            continue;
        }
        let item = format!("{prefix}::{item}");
        // What it has of its own; then come the traits.
        let own = page.split("id=\"trait-implementations\"").next().unwrap();
        let own = own.split("id=\"synthetic-implementations\"").next().unwrap();
        let own = own.split("id=\"implementors\"").next().unwrap().split("id=\"deref-methods").next().unwrap();
        for after in own.split(" id=\"").skip(1) {
            let Some((of, name)) = after.split('"').next().and_then(|id| id.split_once('.')) else { continue };
            if matches!(of, "method" | "tymethod" | "variant" | "associatedconstant") && !name.contains('.') {
                items.insert(format!("{item}::{}", name.split('-').next().unwrap()));
            }
        }
        items.insert(item);
    }
}

#[test]
#[ignore = "makes items.txt anew: see the module"]
fn items_are_collected() {
    let pages =
        std::env::var("COVERAGE_PAGES").expect("COVERAGE_PAGES: the folders of rustdoc's pages, with colons between");
    let mut items = BTreeSet::new();
    for module in MODULES {
        let mut folders = pages.split(':').map(|folder| Path::new(folder).join(module));
        let folder = folders.find(|folder| folder.exists()).unwrap_or_else(|| panic!("no pages of {module}"));
        collect(&folder, &module.replace('/', "::"), &mut items);
    }
    let list: Vec<String> = items.into_iter().collect();
    fs::write(super::data("items.txt"), list.join("\n") + "\n").unwrap();
}
