//! Which CPUs the measured side gets, and which one drives it.

use std::fs;
use std::io;

use crate::sys;

pub struct Cpus {
    /// The server and everything that is measured in its own process: one CPU.
    pub server: usize,
    /// The generator: another core, not only another thread of the same, where there is one.
    pub generator: usize,
}

/// The choice is made once, before anything is pinned, and handed to children by this variable.
const VARIABLE: &str = "RINGTOSS_BENCH_CPUS";

impl Cpus {
    pub fn find() -> Cpus {
        if let Some((server, generator)) = std::env::var(VARIABLE).ok().and_then(|text| {
            let (server, generator) = text.split_once(',')?;
            Some((server.parse().ok()?, generator.parse().ok()?))
        }) {
            return Cpus { server, generator };
        }
        // The first CPU takes most machines' interrupts.
        let allowed = sys::allowed_cpus();
        let server = *allowed.last().unwrap_or(&0);
        let siblings = siblings(server);
        let others = || allowed.iter().rev().filter(|&&cpu| cpu != server);
        let generator = others().find(|cpu| !siblings.contains(cpu)).or_else(|| others().next());
        Cpus { server, generator: *generator.unwrap_or(&server) }
    }

    /// Whether they are two threads of the same core.
    pub fn share_a_core(&self) -> bool {
        self.server != self.generator && siblings(self.server).contains(&self.generator)
    }

    pub fn export(&self) -> (&'static str, String) {
        (VARIABLE, format!("{},{}", self.server, self.generator))
    }

    pub fn pin_server(&self) -> io::Result<()> {
        sys::pin(&[self.server])
    }

    pub fn pin_generator(&self) -> io::Result<()> {
        sys::pin(&[self.generator])
    }
}

fn siblings(cpu: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).unwrap_or_default();
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}
