//! What this crate offers, by its sources: modules, types, methods, functions, opcodes.
//!
//! Not a parser: it goes by how this crate is formatted. An item begins a line, a method is indented once, and what a macro
//! makes is what its body and its call say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub struct Index {
    /// `fs::File`, `fs::File::open`, `fs::copy`: the module at the top, and the name.
    public: BTreeSet<String>,
    /// The names of the `io-uring` crate's opcodes whose code is used.
    opcodes: BTreeSet<String>,
    /// The code that may submit; constants of ours stand for the opcodes that crate does not have.
    everything: String,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Without comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn is_type(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

/// The name that a line declares as public, if it does: of a function, type, constant, trait.
fn declared(line: &str) -> Option<String> {
    let mut rest = line.strip_prefix("pub ")?;
    loop {
        let (first, then) = rest.split_once(' ')?;
        match first {
            "async" | "unsafe" | "extern" => rest = then,
            "const" if ["fn ", "async ", "unsafe "].iter().any(|next| then.starts_with(next)) => rest = then,
            "fn" | "const" | "struct" | "enum" | "trait" | "type" | "union" => return Some(word(then)),
            _ => return None,
        }
    }
}

/// The type that an `impl` without a trait is for.
fn implemented(header: &str) -> Option<String> {
    let mut rest = header.strip_prefix("impl")?;
    if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        })?;
        rest = &rest[end + 1..];
    }
    if rest.contains(" for ") && !rest.contains("for<") {
        return None;
    }
    let path = rest.trim_start().split(['<', ' ', '{']).next()?;
    path.rsplit("::").next().map(str::to_string)
}

/// A block that begins with a line and ends with the next line that begins with a closing bracket.
fn block<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let closes = |line: &&str| line.starts_with(['}', ')', ']']);
    if lines[0].ends_with(';') || lines[0].ends_with("{}") {
        return lines[..1].to_vec();
    }
    let end = lines.iter().skip(1).position(closes).map_or(lines.len(), |end| end + 2);
    lines[..end].to_vec()
}

#[derive(Default)]
struct Macro {
    types: Vec<String>,
    methods: Vec<String>,
    names_by_call: bool,
    /// Macros that it calls.
    calls: Vec<String>,
}

impl Macro {
    fn of(body: &[&str]) -> Macro {
        let types = body.iter().filter_map(|line| implemented(line.trim_start())).filter(|name| is_type(name));
        let methods = body.iter().filter_map(|line| declared(line.trim_start())).filter(|name| !name.is_empty());
        let names_by_call = body.iter().any(|line| line.contains("fn $"));
        let calls =
            body.iter().flat_map(|line| line.split('!').rev().skip(1)).filter_map(|before| words(before).last());
        let calls = calls.map(str::to_string).collect();
        Macro { types: types.collect(), methods: methods.collect(), names_by_call, calls }
    }
}

impl Index {
    pub fn new() -> Index {
        let source = root().join("src");
        let mut paths = Vec::new();
        files(&source, &mut paths);
        let mut index = Index { public: BTreeSet::new(), opcodes: BTreeSet::new(), everything: String::new() };
        for path in paths {
            let relative = path.strip_prefix(&source).unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
            if relative.contains("tests") || relative.contains("fault") {
                continue;
            }
            let top = if relative == "lib" { "" } else { relative.split('/').next().unwrap() };
            index.add(top, &code(&fs::read_to_string(&path).unwrap()));
        }
        index
    }

    fn add(&mut self, top: &str, code: &str) {
        if ["op", "driver", "ring"].contains(&top) {
            self.opcodes.extend(code.split("opcode::").skip(1).map(word));
            self.everything.push_str(code);
        }
        let lines: Vec<&str> = code.lines().collect();
        let mut macros: BTreeMap<String, Macro> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            if let Some(name) = declared(line) {
                self.public.insert(path(top, &name));
                if line.starts_with("pub trait") || line.starts_with("pub enum") {
                    self.members(top, &name, &block(&lines[at..]));
                }
            } else if line.starts_with("pub use") {
                // What it gives another name or place.
                let statement = lines[at..].join(" ");
                self.public.extend(words(statement.split(';').next().unwrap()).map(|word| path(top, word)));
            } else if line.starts_with("impl") {
                let body = block(&lines[at..]);
                let header =
                    body.iter().take_while(|line| !line.ends_with('{')).chain(body.iter().find(|l| l.ends_with('{')));
                let Some(name) = implemented(&header.copied().collect::<Vec<_>>().join(" ")) else { continue };
                let methods = body.iter().filter_map(|line| declared(line.strip_prefix("    ")?));
                self.public.extend(methods.map(|method| path(top, &format!("{name}::{method}"))));
            } else if let Some(name) = line.strip_prefix("macro_rules! ") {
                macros.insert(word(name), Macro::of(&block(&lines[at..])));
            } else if let Some((name, _)) = line.split_once('!')
                && let Some(made) = macros.get(name)
            {
                let call = block(&lines[at..]);
                // On the line of the call, or one a line.
                let first_words = call.iter().skip(1).map(|line| word(line.trim_start()));
                let own = words(line).map(str::to_string).chain(first_words).filter(|word| is_type(word));
                let types: Vec<String> = if made.types.is_empty() { own.collect() } else { made.types.clone() };
                // It may hand what it is called with to another.
                let names_by_call = std::iter::once(made)
                    .chain(made.calls.iter().filter_map(|name| macros.get(name)))
                    .any(|made| made.names_by_call);
                let by_call = call.iter().map(|line| word(line.trim_start())).filter(|_| names_by_call);
                for method in made.methods.iter().cloned().chain(by_call) {
                    self.public.extend(types.iter().map(|name| path(top, &format!("{name}::{method}"))));
                }
            }
        }
    }

    /// Methods of a trait, variants of an enum.
    fn members(&mut self, top: &str, name: &str, body: &[&str]) {
        for line in body.iter().filter_map(|line| line.strip_prefix("    ")) {
            let method = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ").map(word);
            let variant = is_type(line).then(|| word(line));
            for member in method.into_iter().chain(variant) {
                self.public.insert(path(top, &format!("{name}::{member}")));
            }
        }
    }

    /// Whether there is such a public item: modules between the first and the item count for nothing.
    pub fn has(&self, wanted: &str) -> bool {
        let parts: Vec<&str> = wanted.split("::").collect();
        let top = if parts.len() == 1 || is_type(parts[0]) { "" } else { parts[0] };
        let from = parts.iter().position(|part| is_type(part)).unwrap_or(parts.len() - 1);
        self.public.contains(&path(top, &parts[from..].join("::")))
    }

    /// Whether the opcode is submitted by anything; under the name that the `io-uring` crate or a constant of ours has for it.
    pub fn uses(&self, opcode: &str) -> bool {
        let shouted = !opcode.chars().any(char::is_lowercase);
        self.opcodes.contains(opcode) || (shouted && words(&self.everything).any(|word| word == opcode))
    }
}

fn path(top: &str, name: &str) -> String {
    if top.is_empty() { name.to_string() } else { format!("{top}::{name}") }
}
