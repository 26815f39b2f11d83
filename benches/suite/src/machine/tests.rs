use std::fs;
use std::path::PathBuf;

use super::busy::{Disturbance, Now};
use super::*;

/// A folder that looks like a system, removed at the end.
struct Fixture(PathBuf);

impl Fixture {
    fn new(name: &str, files: &[(&str, &str)]) -> Fixture {
        let root = std::env::temp_dir().join(format!("ringtoss-bench-host-{}-{name}", std::process::id()));
        let fixture = Fixture(root);
        // What every quiet machine has.
        fixture.write("/sys/kernel/tracing/events/io_uring/x/id", "1");
        files.iter().for_each(|(path, text)| fixture.write(path, text));
        fixture
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn look(&self, conditions: &Conditions) -> Machine {
        Machine::look(&Host::at(&self.0), conditions)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn quiet() -> Conditions {
    Conditions {
        server_cpu: 3,
        generator_cpu: 1,
        shared_core: false,
        open_files: 1 << 20,
        locked_bytes: None,
        no_ring: None,
        now: Now { disturbance: Disturbance::default(), busiest: Vec::new() },
        optimised: true,
    }
}

/// The one warning that there is.
fn only(machine: &Machine) -> &str {
    match machine.warnings.as_slice() {
        [warning] => warning,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_quiet_machine_is_described_without_a_warning() {
    let fixture = Fixture::new(
        "quiet",
        &[
            ("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu vme\n"),
            ("/proc/meminfo", "MemTotal:       24681232 kB\nMemAvailable:   20000000 kB\n"),
            ("/proc/sys/kernel/osrelease", "6.18.1\n"),
            ("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
            ("/sys/devices/system/cpu/cpufreq/boost", "0\n"),
            ("/sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
            ("/sys/devices/system/cpu/vulnerabilities/spectre_v2", "Mitigation: Retpolines; STIBP: disabled\n"),
            ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
            ("/sys/class/power_supply/AC/type", "Mains\n"),
            ("/sys/class/power_supply/AC/online", "1\n"),
            ("/proc/loadavg", "0.05 0.10 0.20 1/123 4567\n"),
            ("/proc/self/cgroup", "0::/user.slice/run\n"),
            ("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n"),
        ],
    );
    let machine = fixture.look(&quiet());
    assert_eq!(machine.warnings, [] as [String; 0]);
    assert_eq!((machine.cpu.as_str(), machine.kernel.as_str(), machine.memory_mib), ("Some CPU", "6.18.1", 24_102));
    assert_eq!((machine.governor.as_str(), machine.virtual_machine), ("performance", false));
    assert_eq!(machine.mitigations, ["spectre_v2: Retpolines; STIBP: disabled"]);
    assert!(machine.facts.contains(&("load before".into(), "0.05, 0.10, 0.20".into())));
}

#[test]
fn what_a_system_says_of_itself_is_noticed() {
    /// A name, files and their text, a part of the warning.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case] = &[
        ("governor", &[("/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "schedutil\n")], "governor schedutil"),
        ("boost", &[("/sys/devices/system/cpu/cpufreq/boost", "1\n")], "turbo is on"),
        ("turbo", &[("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n")], "turbo is on"),
        ("guest", &[("/proc/cpuinfo", "flags\t: fpu hypervisor lahf_lm\n")], "a virtual machine"),
        (
            "battery",
            &[("/sys/class/power_supply/AC/type", "Mains"), ("/sys/class/power_supply/AC/online", "0")],
            "from a battery",
        ),
        (
            "quota",
            &[("/proc/self/cgroup", "0::/docker/abc\n"), ("/sys/fs/cgroup/docker/cpu.max", "150000 100000\n")],
            "allows 1.5 CPUs",
        ),
        (
            "quota-v1",
            &[("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n"), ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")],
            "allows 0.5 CPUs",
        ),
        ("clock", &[("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")], "clock (hpet)"),
        ("memory", &[("/proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 300000 kB\n")], "only 292 MiB"),
        (
            "kasan",
            &[
                ("/proc/sys/kernel/osrelease", "6.9\n"),
                ("/boot/config-6.9", "# x\nCONFIG_KASAN=y\nCONFIG_KASAN_INLINE=y\n"),
            ],
            "CONFIG_KASAN",
        ),
    ];
    for (name, files, expected) in cases {
        let machine = Fixture::new(name, files).look(&quiet());
        assert!(only(&machine).contains(expected), "{name}: {:?}", machine.warnings);
    }
}

#[test]
fn what_the_process_itself_sees_is_noticed() {
    let cases: [(Conditions, &str); 9] = [
        (Conditions { optimised: false, ..quiet() }, "not built with --release"),
        (Conditions { generator_cpu: 3, ..quiet() }, "one CPU only"),
        (Conditions { shared_core: true, ..quiet() }, "two threads of one core"),
        (Conditions { open_files: 1024, ..quiet() }, "only 1024 open files"),
        (Conditions { locked_bytes: Some(64 << 10), ..quiet() }, "only 64 KiB of memory may be locked"),
        (Conditions { no_ring: Some("Function not implemented".into()), ..quiet() }, "Function not implemented"),
        (
            busy(1.44, 0.0, &[("rustc", 0.9), ("ld", 0.5)]),
            "others used 1.4 CPUs when the run began (rustc 0.9, ld 0.5)",
        ),
        (busy(1.44, 0.0, &[]), "when the run began. Expect"),
        (busy(0.0, 0.2, &[]), "took away 20 % of a CPU"),
    ];
    let fixture = Fixture::new("process", &[]);
    for (conditions, expected) in cases {
        let machine = fixture.look(&conditions);
        assert!(only(&machine).contains(expected), "{expected}: {:?}", machine.warnings);
    }
}

fn busy(others: f64, stolen: f64, busiest: &[(&str, f64)]) -> Conditions {
    let busiest = busiest.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect();
    Conditions { now: Now { disturbance: Disturbance { others, stolen }, busiest }, ..quiet() }
}

#[test]
fn a_refused_ring_is_explained() {
    let refused = || Conditions { no_ring: Some("Operation not permitted".into()), ..quiet() };
    let sysctl = Fixture::new("sysctl", &[("/proc/sys/kernel/io_uring_disabled", "2\n")]).look(&refused());
    assert!(only(&sysctl).contains("kernel.io_uring_disabled"));
    let docker = Fixture::new("docker", &[("/.dockerenv", ""), ("/proc/sys/kernel/io_uring_disabled", "0\n")]);
    let docker = docker.look(&refused());
    assert!(only(&docker).contains("seccomp") && only(&docker).contains("compared all the same"));
    assert!(docker.facts.contains(&("container".into(), "docker".into())));
}

#[test]
fn without_tracefs_it_says_how_to_get_it() {
    let fixture = Fixture::new("tracefs", &[]);
    fs::remove_dir_all(fixture.0.join("sys/kernel")).unwrap();
    assert!(only(&fixture.look(&quiet())).contains("mount -t tracefs"));
}

#[test]
fn days_are_those_of_the_calendar() {
    assert_eq!(date(0), "1 January 1970, 00:00 UTC");
    assert_eq!(date(951_782_399), "28 February 2000, 23:59 UTC");
    assert_eq!(date(951_782_400), "29 February 2000, 00:00 UTC");
    assert_eq!(date(1_795_636_961), "25 November 2026, 20:02 UTC");
}
