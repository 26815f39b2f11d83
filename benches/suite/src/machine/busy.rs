//! Who else uses the CPUs: other processes, and the host of a virtual machine.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::host::Host;
use crate::sys;

/// What others took while something was measured, on the CPUs that it was measured on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// CPU time of other processes ÷ the time that passed: 1 is one CPU.
    pub others: f64,
    /// Time that the host kept the CPUs from this machine, likewise.
    pub stolen: f64,
}

/// From here on it is worth a word. The kernel counts in ticks, so a little is always seen.
const OTHERS_FROM: f64 = 0.15;
const STOLEN_FROM: f64 = 0.02;

impl Disturbance {
    pub fn note(&self) -> Option<String> {
        let mut notes = Vec::new();
        if self.others > OTHERS_FROM {
            notes.push(format!("other processes used {:.0} % of a CPU", self.others * 100.0));
        }
        if self.stolen > STOLEN_FROM {
            notes.push(format!("the host took away {:.0} % of a CPU", self.stolen * 100.0));
        }
        (!notes.is_empty()).then(|| format!("Disturbed: on the CPUs of this row, {} meanwhile.", notes.join(" and ")))
    }
}

/// The counters at one time.
pub struct Snapshot {
    at: Instant,
    ticks: Ticks,
    own_ns: u64,
}

/// `/proc/stat`, added up over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    processes: u64,
    stolen: u64,
}

impl Snapshot {
    /// Of these CPUs.
    pub fn take(host: &Host, cpus: &[usize]) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            ticks: ticks(&host.read("/proc/stat"), cpus),
            own_ns: sys::own_and_ended_cpu_ns(),
        }
    }

    pub fn until(&self, later: &Snapshot) -> Disturbance {
        let passed = later.at.saturating_duration_since(self.at).as_nanos() as f64;
        disturbance(&self.ticks, &later.ticks, (later.own_ns - self.own_ns) as f64, passed)
    }
}

fn disturbance(before: &Ticks, after: &Ticks, own_ns: f64, passed_ns: f64) -> Disturbance {
    let tick_ns = 1e9 / sys::ticks_per_second() as f64;
    let part = |ns: f64| (ns / passed_ns.max(1.0)).max(0.0);
    Disturbance {
        others: part(after.processes.saturating_sub(before.processes) as f64 * tick_ns - own_ns),
        stolen: part(after.stolen.saturating_sub(before.stolen) as f64 * tick_ns),
    }
}

/// Lines are `cpu3 user nice system idle iowait irq softirq steal …`. Interrupts are nobody's, so they are left out.
fn ticks(stat: &str, cpus: &[usize]) -> Ticks {
    let mut sum = Ticks::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let cpu = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
        if cpu.is_some_and(|cpu| cpus.contains(&cpu)) {
            let numbers: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
            sum.processes += numbers.iter().take(3).sum::<u64>();
            sum.stolen += numbers.get(7).copied().unwrap_or(0);
        }
    }
    sum
}

/// How busy it is before anything is measured, and who is to blame.
pub struct Now {
    pub disturbance: Disturbance,
    /// The busiest processes and their parts of a CPU.
    pub busiest: Vec<(String, f64)>,
}

pub fn now(host: &Host, cpus: &[usize], duration: Duration) -> Now {
    let (before, processes) = (Snapshot::take(host, cpus), processes(host));
    std::thread::sleep(duration);
    let disturbance = before.until(&Snapshot::take(host, cpus));
    let ticks = duration.as_secs_f64() * sys::ticks_per_second() as f64;
    Now { disturbance, busiest: busiest(&processes, &self::processes(host), ticks) }
}

/// Number to name and ticks.
type Processes = HashMap<u32, (String, u64)>;

fn processes(host: &Host) -> Processes {
    let own = std::process::id();
    let numbers = host.list("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok()).filter(|pid| *pid != own);
    numbers.filter_map(|pid| Some((pid, process(&host.read(&format!("/proc/{pid}/stat")))?))).collect()
}

/// A line `123 (some name) S …`, of which the 14th and 15th field are CPU time.
fn process(stat: &str) -> Option<(String, u64)> {
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name.to_owned(), user + system))
}

fn busiest(before: &Processes, after: &Processes, ticks: f64) -> Vec<(String, f64)> {
    let mut by_name: HashMap<&str, u64> = HashMap::new();
    for (pid, (name, used)) in after {
        let earlier = before.get(pid).map_or(0, |(_, used)| *used);
        *by_name.entry(name).or_default() += used.saturating_sub(earlier);
    }
    let mut busy: Vec<(String, f64)> = by_name
        .into_iter()
        .map(|(name, used)| (name.to_owned(), used as f64 / ticks))
        .filter(|(_, part)| *part > 0.1)
        .collect();
    busy.sort_by(|a, b| b.1.total_cmp(&a.1));
    busy.truncate(3);
    busy
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str =
        "cpu  300 0 300 9000 0 0 0 10 0 0\ncpu0 100 0 100 0 0 9 9 5 0 0\ncpu1 200 0 200 0 0 0 0 5 0 0\nintr 1\n";
    const AFTER: &str =
        "cpu  500 0 400 9000 0 0 0 40 0 0\ncpu0 200 0 150 0 0 99 99 5 0 0\ncpu1 300 0 250 0 0 0 0 35 0 0\nintr 2\n";

    #[test]
    fn what_others_used_is_what_is_left_of_the_ticks() {
        let tick_ns = 1e9 / sys::ticks_per_second() as f64;
        let (before, after) = (ticks(BEFORE, &[0, 1]), ticks(AFTER, &[0, 1]));
        assert_eq!((after.processes - before.processes, after.stolen - before.stolen), (300, 30));
        // 300 ticks of which 100 were ours, while 200 passed.
        let disturbance = disturbance(&before, &after, 100.0 * tick_ns, 200.0 * tick_ns);
        assert!((disturbance.others - 1.0).abs() < 1e-9 && (disturbance.stolen - 0.15).abs() < 1e-9, "{disturbance:?}");
        let note = disturbance.note().unwrap();
        assert!(note.contains("100 % of a CPU") && note.contains("took away 15 %"), "{note}");
        assert_eq!(ticks(AFTER, &[1]).processes, 550, "the other CPU is not looked at");
        assert_eq!(Disturbance { others: 0.1, stolen: 0.01 }.note(), None);
    }

    #[test]
    fn the_busiest_are_named() {
        let line = |pid: u32, name: &str, user: u64| {
            format!("{pid} ({name}) S 1 1 1 0 -1 4194560 1 1 1 1 {user} 5 0 0 20 0 1")
        };
        let at = |user: u64| HashMap::from([(7, process(&line(7, "a (b) c", user)).unwrap()), (8, ("idle".into(), 3))]);
        assert_eq!(at(10)[&7], ("a (b) c".to_owned(), 15));
        assert_eq!(busiest(&at(10), &at(60), 50.0), [("a (b) c".to_owned(), 1.0)]);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let host = Host::this();
        let now = now(&host, &sys::allowed_cpus(), Duration::from_millis(20));
        assert!(now.disturbance.others.is_finite() && now.disturbance.stolen >= 0.0);
    }
}
