//! What was measured on, and what may have spoilt it.

pub mod busy;
mod host;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpus::Cpus;
use crate::sys;

pub use host::Host;

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
    /// What else is worth knowing: name and value.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
    /// What spoils a run here.
    pub warnings: Vec<String>,
}

/// What files do not say.
pub struct Conditions {
    pub server_cpu: usize,
    pub generator_cpu: usize,
    /// Both are threads of one core.
    pub shared_core: bool,
    pub open_files: u64,
    /// `None`: as much as there is.
    pub locked_bytes: Option<u64>,
    /// Why the kernel gives no ring, if it does not.
    pub no_ring: Option<String>,
    pub now: busy::Now,
    pub optimised: bool,
}

impl Conditions {
    pub fn look(host: &Host, cpus: &Cpus, open_files: u64) -> Conditions {
        Conditions {
            server_cpu: cpus.server,
            generator_cpu: cpus.generator,
            shared_core: cpus.share_a_core(),
            open_files,
            locked_bytes: sys::locked_memory_limit(),
            no_ring: io_uring::IoUring::new(2).err().map(|error| error.to_string()),
            now: busy::now(host, &sys::allowed_cpus(), Duration::from_millis(500)),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl Machine {
    pub fn look(host: &Host, conditions: &Conditions) -> Machine {
        let memory = host.field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let governor = |cpu: usize| host.read(&format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"));
        let governor = governor(conditions.server_cpu);
        let mut machine = Machine {
            kernel: host.read("/proc/sys/kernel/osrelease"),
            cpu: host.field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cpus: sys::allowed_cpus().len(),
            memory_mib: kib(&memory) / 1024,
            governor: if governor.is_empty() { "none to see".into() } else { governor },
            mitigations: mitigations(host),
            virtual_machine: host
                .field("/proc/cpuinfo", "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"))
                || host.exists("/sys/hypervisor/type"),
            rustc: env!("RINGTOSS_BENCH_RUSTC").into(),
            started_at: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            facts: Vec::new(),
            warnings: Vec::new(),
        };
        machine.facts = facts(host, conditions);
        machine.warnings = machine.about_cpus(host, conditions);
        machine.warnings.extend(about_others(conditions));
        machine.warnings.extend(about_limits(host, conditions));
        machine.warnings.extend(machine.about_kernel(host, conditions));
        machine
    }

    fn about_cpus(&self, host: &Host, conditions: &Conditions) -> Vec<String> {
        let mut warnings = Vec::new();
        if !conditions.optimised {
            warnings.push("not built with --release: the figures mean nothing".into());
        }
        if conditions.server_cpu == conditions.generator_cpu {
            warnings.push("one CPU only: server and generator share it, so network rows show little".into());
        } else if conditions.shared_core {
            warnings.push(
                "server and generator are two threads of one core and slow each other: give it a second core".into(),
            );
        }
        if let Some(quota) = host.cpu_quota() {
            warnings.push(format!(
                "a control group allows {quota:.1} CPUs' worth of time and stops the process for a while when that is used up"
            ));
        }
        if !matches!(self.governor.as_str(), "performance" | "none to see") {
            warnings.push(format!("the CPU's frequency changes (governor {}): prefer `performance`", self.governor));
        }
        let read = |path: &str| host.read(&format!("/sys/devices/system/cpu/{path}"));
        if read("cpufreq/boost") == "1" || read("intel_pstate/no_turbo") == "0" {
            warnings.push("the CPU's frequency rises and falls with its heat (turbo is on)".into());
        }
        if on_battery(host) {
            warnings.push("it runs from a battery: plug it in".into());
        }
        if self.virtual_machine {
            warnings.push("a virtual machine: the host may slow it for seconds, and waking a CPU costs more".into());
        }
        warnings
    }

    fn about_kernel(&self, host: &Host, conditions: &Conditions) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(why) = &conditions.no_ring {
            let how = match host.read("/proc/sys/kernel/io_uring_disabled").as_str() {
                "1" | "2" => "the sysctl kernel.io_uring_disabled forbids it".to_owned(),
                _ if host.container().is_some() => "this container forbids it (its seccomp profile)".to_owned(),
                _ => why.clone(),
            };
            warnings
                .push(format!("no io_uring here: {how}. What needs it fails; the others are compared all the same"));
        }
        let clock = host.read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        if matches!(clock.as_str(), "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "xen") {
            warnings.push(format!("reading the clock ({clock}) is a system call here: rows with timers pay for it"));
        }
        let config = host.read(&format!("/boot/config-{}", self.kernel));
        for option in ["CONFIG_KASAN", "CONFIG_PROVE_LOCKING", "CONFIG_KCSAN", "CONFIG_KMSAN"] {
            if config.lines().any(|line| line.strip_prefix(option) == Some("=y")) {
                warnings
                    .push(format!("a kernel for finding bugs ({option}): all of its paths are several times slower"));
            }
        }
        if !host.exists("/sys/kernel/tracing/events/io_uring")
            && !host.exists("/sys/kernel/debug/tracing/events/io_uring")
        {
            warnings.push(
                "system calls and ring entries cannot be counted: be root and `mount -t tracefs tracefs /sys/kernel/tracing`"
                    .into(),
            );
        }
        warnings
    }
}

fn about_others(conditions: &Conditions) -> Vec<String> {
    let mut warnings = Vec::new();
    let busy::Now { disturbance, busiest } = &conditions.now;
    if disturbance.others > 0.1 {
        let names: Vec<String> = busiest.iter().map(|(name, part)| format!("{name} {part:.1}")).collect();
        let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        warnings.push(format!(
            "the machine is busy: others used {:.1} CPUs when the run began{names}. Expect spread, believe the best quartile",
            disturbance.others
        ));
    }
    if disturbance.stolen > 0.01 {
        warnings.push(format!(
            "the host of this virtual machine is busy: it took away {:.0} % of a CPU when the run began",
            disturbance.stolen * 100.0
        ));
    }
    warnings
}

fn about_limits(host: &Host, conditions: &Conditions) -> Vec<String> {
    let mut warnings = Vec::new();
    if conditions.open_files < 20_000 {
        let allowed = conditions.open_files;
        warnings
            .push(format!("only {allowed} open files are allowed: raise `ulimit -Hn` for rows of many connections"));
    }
    if let Some(bytes) = conditions.locked_bytes.filter(|bytes| *bytes < 8 << 20) {
        warnings.push(format!(
            "only {} KiB of memory may be locked: what registers buffers with the kernel may fail; raise `ulimit -l`",
            bytes / 1024
        ));
    }
    if let Some(available) = host.field("/proc/meminfo", "MemAvailable").map(|text| kib(&text))
        && available < 1 << 20
    {
        warnings
            .push(format!("only {} MiB of memory are free: files may not stay in the page cache", available / 1024));
    }
    warnings
}

fn facts(host: &Host, conditions: &Conditions) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.push((name.to_owned(), value));
        }
    };
    fact("measured on", format!("CPU {}, driven from CPU {}", conditions.server_cpu, conditions.generator_cpu));
    fact("container", host.container().unwrap_or_default());
    fact(
        "sold as",
        [host.read("/sys/class/dmi/id/sys_vendor"), host.read("/sys/class/dmi/id/product_name")]
            .join(" ")
            .trim()
            .into(),
    );
    fact("clock", host.read("/sys/devices/system/clocksource/clocksource0/current_clocksource"));
    fact("load before", host.read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(", "));
    fact("hyper-threading", host.read("/sys/devices/system/cpu/smt/control"));
    fact("open files allowed", conditions.open_files.to_string());
    fact(
        "memory that may be locked",
        conditions.locked_bytes.map_or("all".into(), |bytes| format!("{} KiB", bytes / 1024)),
    );
    fact("kernel's command line", host.read("/proc/cmdline"));
    facts
}

fn on_battery(host: &Host) -> bool {
    let supplies = host.list("/sys/class/power_supply");
    let read = |supply: &String, file: &str| host.read(&format!("/sys/class/power_supply/{supply}/{file}"));
    let mains: Vec<&String> = supplies.iter().filter(|supply| read(supply, "type") == "Mains").collect();
    !mains.is_empty() && mains.iter().all(|supply| read(supply, "online") == "0")
}

fn mitigations(host: &Host) -> Vec<String> {
    const FOLDER: &str = "/sys/devices/system/cpu/vulnerabilities";
    let of = |name: &String| {
        let text = host.read(&format!("{FOLDER}/{name}"));
        text.strip_prefix("Mitigation:").map(|what| format!("{name}: {}", what.trim()))
    };
    host.list(FOLDER).iter().filter_map(of).collect()
}

/// "24681232 kB"
fn kib(text: &str) -> u64 {
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A day and time as people write it, in UTC.
pub fn date(seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{} {} {year}, {:02}:{:02} UTC", left + 1, MONTHS[month], rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests;
