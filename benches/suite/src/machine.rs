//! What was measured on, and what may have spoilt it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cpus::Cpus;
use crate::sys;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub cpu: String,
    pub cpus: usize,
    pub memory_mib: u64,
    pub governor: String,
    /// Of the CPU's flaws, those that the kernel works around.
    pub mitigations: Vec<String>,
    /// Whether it says that it is a guest.
    pub virtual_machine: bool,
    pub rustc: String,
    /// Seconds since 1970.
    pub started_at: u64,
    /// What spoils a run here.
    pub warnings: Vec<String>,
}

impl Machine {
    pub fn look(cpus: &Cpus, file_limit: u64) -> Machine {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let mut machine = Machine {
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: sys::allowed_cpus().len(),
            memory_mib: memory_kib / 1024,
            governor: if governor.is_empty() { "none to see".into() } else { governor },
            mitigations: mitigations(),
            virtual_machine: field(&cpuinfo, "flags").is_some_and(|flags| flags.contains(" hypervisor")),
            rustc: env!("RINGTOSS_BENCH_RUSTC").into(),
            started_at: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            warnings: Vec::new(),
        };
        machine.warnings = machine.spoilers(cpus, file_limit);
        machine
    }

    fn spoilers(&self, cpus: &Cpus, file_limit: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if cpus.server == cpus.generator {
            warnings.push("one CPU only: server and generator share it, so network rows show little".into());
        }
        let load: f64 = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        if load > 0.3 {
            warnings.push(format!("the machine is busy (load {load}): expect spread, believe the best quartile"));
        }
        if !matches!(self.governor.as_str(), "performance" | "none to see") {
            warnings.push(format!("the CPU's frequency changes (governor {}): prefer `performance`", self.governor));
        }
        if file_limit < 20_000 {
            warnings.push(format!("only {file_limit} open files are allowed: raise `ulimit -n` for many connections"));
        }
        if self.virtual_machine {
            warnings.push("a virtual machine: the host may slow it for seconds, and waking a CPU costs more".into());
        }
        if cfg!(debug_assertions) {
            warnings.push("not built with --release: the figures mean nothing".into());
        }
        warnings
    }
}

fn mitigations() -> Vec<String> {
    let folder = Path::new("/sys/devices/system/cpu/vulnerabilities");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut all: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let text = fs::read_to_string(entry.path()).ok()?;
            text.starts_with("Mitigation").then(|| {
                let what = text.trim().trim_start_matches("Mitigation:").trim();
                format!("{}: {what}", entry.file_name().to_string_lossy())
            })
        })
        .collect();
    all.sort();
    all
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}
