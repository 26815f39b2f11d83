//! Somebody who can do the work: a runtime in one of its set-ups, or a limit.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::runtime::{Sends, Udp, Unix};
use crate::work::{self, Window, Work};
use crate::{limits, peers};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What the kernel gives without futures.
    Limit,
    Ours,
    Peer,
}

/// Told the port when the server listens.
pub type Ready = Box<dyn FnOnce(u16)>;

pub struct Candidate {
    pub name: &'static str,
    /// The package, whose version is looked up.
    pub package: &'static str,
    pub kind: Kind,
    /// How it was set up.
    pub setup: &'static str,
    pub can: fn(&Work) -> bool,
    /// With the file to serve, or where a Unix socket goes.
    pub serve: fn(Work, &Path, Ready),
    pub window: fn(Work, Duration, &Path) -> Window,
}

impl Candidate {
    pub fn runtime<R: Sends + Unix + Udp>(
        name: &'static str,
        package: &'static str,
        kind: Kind,
        setup: &'static str,
    ) -> Candidate {
        Candidate {
            name,
            package,
            kind,
            setup,
            can: |work| match work {
                Work::Nop { .. } => R::NOP,
                Work::Udp { .. } => R::UDP,
                Work::Yield { .. } => R::FAIR_YIELD,
                _ => true,
            },
            serve: |work, path, ready| work::serve::<R>(work, path, ready),
            window: work::window::<R>,
        }
    }

    /// Its version, from the lock file that it was built with.
    pub fn version(&self) -> String {
        let lock = include_str!("../../../Cargo.lock");
        let mut versions = lock.split("[[package]]").filter_map(|package| {
            let field = |name: &str| {
                let line = package.lines().find(|line| line.starts_with(&format!("{name} = ")))?;
                line.split('"').nth(1)
            };
            (field("name")? == self.package).then(|| field("version").map(str::to_owned))?
        });
        // The newest comes last; that is the one that the suite asks for.
        versions.by_ref().last().unwrap_or_default()
    }
}

/// Everybody, limits first.
pub fn all() -> Vec<Candidate> {
    let mut all = limits::all();
    all.extend(peers::all());
    all
}
