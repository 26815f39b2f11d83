//! The command line.

use std::path::PathBuf;

use crate::candidate::Candidate;
use crate::plan::Pace;

pub const USAGE: &str = "\
Compares ringtoss with other runtimes on this machine, and all of them with what the kernel allows.

    cargo run --release -p ringtoss-bench -- [OPTIONS]

    --quick                below five minutes, to get an idea
    --full                 for publishing; the default lies between
    --smoke                every row for milliseconds, to see that it works; the figures mean nothing
    --only GROUP,ROW,…     only these groups (net, files, tasks) or rows (see --list)
    --peers NAME,…         only these peers; ringtoss and the limits are always there
    --dir DIR              where big files are made; O_DIRECT rows want a disk there (default: the temporary folder)
    --json FILE            where the result goes, after every row (default: ringtoss-bench.json in the target folder)
    --html FILE            a page with charts, at the end
    --markdown FILE        the same as Markdown, for an issue
    --svg DIR              the charts as files
    --docs FILE.md         write the parts of it between <!-- bench:NAME --> and <!-- /bench:NAME --> anew, and the charts
                           that it shows into the folder FILE/ beside it
    --resume FILE          measure only what this result of an earlier run lacks, and go on writing it
    --compare OLD.json     say what has changed since, beyond noise
    --show FILE            take the result of an earlier run and measure nothing
    --sizes                build a small program with each runtime from nothing: crates, time, size; takes minutes;
                           with --json, into that result
    --list                 print rows and candidates and measure nothing
";

pub struct Arguments {
    pub pace: Pace,
    pub only: Vec<String>,
    pub peers: Option<Vec<String>>,
    pub dir: Option<PathBuf>,
    pub json: Option<PathBuf>,
    pub html: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub docs: Option<PathBuf>,
    pub resume: Option<PathBuf>,
    pub compare: Option<PathBuf>,
    pub show: Option<PathBuf>,
    pub sizes: bool,
    pub list: bool,
}

impl Arguments {
    /// `Err` is what to print before ending.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut parsed = Arguments {
            pace: Pace::Normal,
            only: Vec::new(),
            peers: None,
            dir: None,
            json: None,
            html: None,
            markdown: None,
            svg: None,
            docs: None,
            resume: None,
            compare: None,
            show: None,
            sizes: false,
            list: false,
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n\n{USAGE}"));
            match argument.as_str() {
                "--quick" => parsed.pace = Pace::Quick,
                "--smoke" => parsed.pace = Pace::Smoke,
                "--full" => parsed.pace = Pace::Full,
                "--only" => parsed.only = list(&value()?),
                "--peers" => parsed.peers = Some(list(&value()?)),
                "--dir" => parsed.dir = Some(value()?.into()),
                "--json" => parsed.json = Some(value()?.into()),
                "--html" => parsed.html = Some(value()?.into()),
                "--svg" => parsed.svg = Some(value()?.into()),
                "--docs" => parsed.docs = Some(value()?.into()),
                "--markdown" => parsed.markdown = Some(value()?.into()),
                "--resume" => parsed.resume = Some(value()?.into()),
                "--compare" => parsed.compare = Some(value()?.into()),
                "--show" => parsed.show = Some(value()?.into()),
                "--sizes" => parsed.sizes = true,
                "--list" => parsed.list = true,
                // `cargo bench` gives it to every target of a selected package.
                "--bench" => {}
                "--help" | "-h" => return Err(USAGE.into()),
                other => return Err(format!("what is {other}?\n\n{USAGE}")),
            }
        }
        Ok(parsed)
    }

    /// Those that choose what is measured, to be typed again.
    pub fn choice(&self) -> Vec<String> {
        let mut options = Vec::new();
        if self.pace != Pace::Normal {
            options.push(format!("--{}", self.pace.name()));
        }
        if !self.only.is_empty() {
            options.extend(["--only".into(), self.only.join(",")]);
        }
        if let Some(peers) = &self.peers {
            options.extend(["--peers".into(), peers.join(",")]);
        }
        options
    }

    /// Whether a candidate was asked for: by its name, or by its package for all of its set-ups.
    pub fn wants_peer(&self, candidate: &Candidate) -> bool {
        match &self.peers {
            None => true,
            Some(peers) => peers.iter().any(|name| name == candidate.name || name == candidate.package),
        }
    }

    /// The same of a program of `sizes`.
    pub fn wants_program(&self, name: &str) -> bool {
        let peers = self.peers.as_ref();
        name.starts_with("std") || name == "ringtoss" || peers.is_none_or(|peers| peers.iter().any(|peer| peer == name))
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
