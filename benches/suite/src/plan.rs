//! Which rows there are.

mod files;

use std::time::Duration;

use crate::work::Work;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Net,
    Files,
    Tasks,
}

impl Group {
    pub const ALL: [Group; 3] = [Group::Net, Group::Files, Group::Tasks];

    pub fn name(self) -> &'static str {
        match self {
            Group::Net => "net",
            Group::Files => "files",
            Group::Tasks => "tasks",
        }
    }
}

/// Who drives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drive {
    /// The work runs in the child's own process.
    Itself,
    /// The built-in generator, with so many connections and requests at once on each.
    Generator { connections: usize, depth: usize },
    /// The built-in generator: connections that are made, answered once and closed, so many at once.
    Storm { at_once: usize },
    /// The built-in generator in an open loop: requests come at this rate, whether or not others have been answered. Beside it, so
    /// many connections fetch files as fast as they can.
    Open { connections: usize, rate: Rate, files: usize },
    /// So many connections that have been used once and wait.
    Idle { connections: usize },
    /// wrk, with so many connections.
    Wrk { connections: usize },
}

/// Requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many percent of what the slowest candidate does in a closed loop, so that everybody can hold it.
    OfSlowest {
        percent: u32,
    },
    PerSecond(u32),
}

impl Drive {
    /// How many connections of the generator's are open at once.
    pub fn connections(self) -> usize {
        match self {
            Drive::Itself => 0,
            Drive::Generator { connections, .. } | Drive::Wrk { connections } | Drive::Idle { connections } => {
                connections
            }
            Drive::Storm { at_once } => at_once,
            Drive::Open { connections, files, .. } => connections + files,
        }
    }

    /// Whether there are so many that candidates cannot all be connected at once. They then connect for their turn, which is
    /// several windows long.
    pub fn is_crowd(self) -> bool {
        self.connections() >= 1000
    }
}

/// What decides who is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU time of the measured process per operation.
    Cpu,
    /// Time per operation.
    Time,
    /// The 99th percentile of latency.
    P99,
    /// Memory of each.
    Bytes,
}

pub struct Row {
    pub id: String,
    pub group: Group,
    pub title: String,
    pub unit: &'static str,
    pub work: Work,
    pub drive: Drive,
    pub figure: Figure,
}

impl Row {
    /// How long a window is. What is over in a microsecond and needs nobody to drive it has shown itself sooner.
    pub fn window(&self, pace: Pace) -> Duration {
        match (pace, self.drive) {
            (Pace::Normal, Drive::Itself) => Duration::from_millis(200),
            _ => pace.window(),
        }
    }

    /// How many windows there are.
    pub fn windows(&self, pace: Pace) -> usize {
        if self.is_one_stretch() { pace.windows().div_ceil(2) } else { pace.windows() }
    }

    /// How often is counted, one window after the other.
    pub fn counted_windows(&self, pace: Pace) -> usize {
        let is_long = self.is_one_stretch() || matches!(self.drive, Drive::Wrk { .. });
        if is_long { 1 } else { pace.counted_windows() }
    }

    /// Whether a window takes as long as the work does, however short it should be.
    fn is_one_stretch(&self) -> bool {
        matches!(self.work, Work::SleepAll { .. })
    }

    /// How long it takes with so many candidates, about. What stands here was seen, on two CPUs of a virtual machine.
    pub fn planned(&self, candidates: usize, pace: Pace) -> Duration {
        /// To see whether they are calm.
        const CALM: Duration = Duration::from_millis(150);
        /// To start a process and to end it, and to have it counted.
        const START: Duration = Duration::from_millis(35);
        /// To tell a process what to do, and to hear what it has done.
        const ORDER: Duration = Duration::from_millis(3);
        const STRETCH: Duration = Duration::from_millis(550);
        /// To have a big file in the page cache.
        const WARM: Duration = Duration::from_millis(15);
        let count = self.counted_windows(pace) as u32;
        let (windows, connections) = (self.windows(pace) as u32, self.drive.connections() as u32);
        let connecting = Duration::from_micros(60) * connections;
        let before_and_after = pace.warm_up() + pace.counted() * count;
        let whole = self.window(pace) * windows + before_and_after;
        let each = match self.drive {
            Drive::Itself if self.is_one_stretch() => STRETCH * (windows + 1 + count),
            // A tenth more goes before each window.
            Drive::Itself => {
                let warm = if matches!(self.work, Work::Blocks(_)) { WARM } else { Duration::ZERO };
                whole * 11 / 10 + (ORDER + warm) * (windows + 1 + count)
            }
            Drive::Wrk { .. } => connecting + Duration::from_millis(1020) * (pace.wrk_windows() as u32 + count),
            Drive::Idle { .. } => (START + connecting * 2) * pace.idle_rounds() as u32,
            Drive::Open { .. } => connecting + whole + self.window(pace),
            _ if self.drive.is_crowd() => connecting * 2 * pace.turns() as u32 + whole,
            _ => connecting + whole,
        };
        CALM + (START + each) * candidates as u32
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every row once, for milliseconds: to see that it works. The figures mean nothing.
    Smoke,
    /// Below five minutes, to get an idea.
    Quick,
    /// Below 45 minutes.
    Normal,
    /// For publishing.
    Full,
}

impl Pace {
    /// Whether what is measured at that pace is measured at this one. To see that everything works, not every depth is needed.
    pub fn is_at_least(self, other: Pace) -> bool {
        let pace = if self == Pace::Smoke { Pace::Normal } else { self };
        pace as u8 >= other as u8
    }

    fn windows(self) -> usize {
        match self {
            Pace::Smoke => 1,
            Pace::Quick => 4,
            Pace::Normal => 9,
            Pace::Full => 21,
        }
    }

    fn window(self) -> Duration {
        Duration::from_millis(match self {
            Pace::Smoke => 15,
            Pace::Quick => 80,
            Pace::Normal => 280,
            Pace::Full => 400,
        })
    }

    /// Before the first window that counts.
    pub fn warm_up(self) -> Duration {
        Duration::from_millis(match self {
            Pace::Smoke => 5,
            Pace::Quick => 20,
            _ => 50,
        })
    }

    /// The window in which is counted.
    pub fn counted(self) -> Duration {
        Duration::from_millis(match self {
            Pace::Smoke => 10,
            Pace::Quick => 40,
            Pace::Normal => 60,
            Pace::Full => 100,
        })
    }

    /// wrk counts in whole seconds.
    pub fn wrk_windows(self) -> usize {
        match self {
            Pace::Smoke | Pace::Quick => 1,
            Pace::Normal => 5,
            Pace::Full => 11,
        }
    }

    /// How often is counted.
    fn counted_windows(self) -> usize {
        match self {
            Pace::Smoke | Pace::Quick => 1,
            Pace::Normal => 3,
            Pace::Full => 5,
        }
    }

    /// Into how many turns the windows are cut where connecting takes long.
    pub fn turns(self) -> usize {
        match self {
            Pace::Smoke | Pace::Quick => 1,
            Pace::Normal => 3,
            Pace::Full => 7,
        }
    }

    /// How often idle connections are counted.
    pub fn idle_rounds(self) -> usize {
        match self {
            Pace::Smoke | Pace::Quick => 1,
            Pace::Normal => 3,
            Pace::Full => 5,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Pace::Smoke => "smoke",
            Pace::Quick => "quick",
            Pace::Normal => "normal",
            Pace::Full => "full",
        }
    }
}

/// All rows, in order.
pub fn rows(pace: Pace) -> Vec<Row> {
    let mut rows = Vec::new();
    network(pace, &mut rows);
    rows.extend(files::rows(pace));
    tasks(pace, &mut rows);
    rows
}

/// Those of these names, or of groups of these names; all without any. A row that is named is measured at every pace.
pub fn chosen(pace: Pace, only: &[String]) -> Vec<Row> {
    let named = |row: &Row| only.contains(&row.id);
    let mut rows = rows(pace);
    rows.retain(|row| only.is_empty() || named(row) || only.iter().any(|name| name == row.group.name()));
    let all = self::rows(Pace::Full);
    let order: Vec<String> = all.iter().map(|row| row.id.clone()).collect();
    let (longer, there) = (all.into_iter().filter(named), rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>());
    rows.extend(longer.filter(|row| !there.contains(&row.id)));
    rows.sort_by_key(|row| order.iter().position(|id| *id == row.id));
    rows
}

/// A size or a number as a reader says it.
fn size(bytes: usize) -> String {
    if bytes >= 1024 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

fn number(count: usize) -> String {
    if count >= 1000 { format!("{},{:03}", count / 1000, count % 1000) } else { count.to_string() }
}

fn connections(count: usize) -> String {
    format!("{} connection{}", number(count), if count == 1 { "" } else { "s" })
}

fn network(pace: Pace, rows: &mut Vec<Row>) {
    let quick = pace == Pace::Quick;
    let mut row = |id: String, title: String, unit, work, drive, figure| {
        rows.push(Row { id, group: Group::Net, title, unit, work, drive, figure });
    };
    let closed = |connections, depth| Drive::Generator { connections, depth };
    // Echo: connections, bytes, at once on each.
    let echoes: &[(usize, usize, usize)] = match pace {
        Pace::Quick => &[(1, 64, 1), (50, 64, 1), (500, 64, 1), (50, 64, 16), (50, 16384, 1)],
        // Fewer, for time, but as many as make a crowd.
        Pace::Smoke => &[(1, 64, 1), (50, 64, 1), (1000, 64, 1), (50, 64, 16), (50, 16384, 1)],
        _ => &[
            (1, 64, 1),
            (50, 64, 1),
            (500, 64, 1),
            (5000, 64, 1),
            (1, 64, 16),
            (50, 64, 16),
            (1, 16384, 1),
            (50, 16384, 1),
            (500, 16384, 1),
            (5000, 16384, 1),
        ],
    };
    for &(count, bytes, depth) in echoes.iter().filter(|&&echo| echo != (5000, 16384, 1) || pace == Pace::Full) {
        let (at_once, pipelined) = match depth {
            1 => Default::default(),
            depth => (format!("x{depth}"), format!(", {depth} at once on each")),
        };
        let id = format!("echo-{count}x{bytes}{at_once}");
        let title = format!("TCP echo, {}, {}{pipelined}", size(bytes), connections(count));
        row(id, title, "request", Work::Echo { bytes: bytes * depth }, closed(count, depth), Figure::Cpu);
    }
    let counts = if matches!(pace, Pace::Quick | Pace::Smoke) { &[50][..] } else { &[1, 50] };
    for &count in counts {
        let title = format!("Unix stream echo, 64 B, {}", connections(count));
        row(format!("unix-{count}x64"), title, "request", Work::Unix { bytes: 64 }, closed(count, 1), Figure::Cpu);
    }
    for &count in counts {
        let title = format!("UDP echo, 64 B, {count} client{}", if count == 1 { "" } else { "s" });
        row(format!("udp-{count}x64"), title, "request", Work::Udp { bytes: 64 }, closed(count, 1), Figure::Cpu);
    }
    let title = "connect, one echo of 64 B, close; 50 at once";
    let storm = Drive::Storm { at_once: 50 };
    row("storm-50".into(), title.into(), "connection", Work::Storm { bytes: 64 }, storm, Figure::Cpu);
    row("http-50".into(), format!("{HTTP}, 50 connections"), "request", Work::Http, closed(50, 1), Figure::Cpu);
    let title = format!("{HTTP}, 50 connections, 16 requests at once");
    row("http-50x16".into(), title, "request", Work::Http, closed(50, 16), Figure::Cpu);
    if !matches!(pace, Pace::Quick | Pace::Smoke) {
        let title = format!("{HTTP}, 50 connections, by wrk");
        row("wrk-50".into(), title, "request", Work::Http, Drive::Wrk { connections: 50 }, Figure::Cpu);
    }
    for bytes in if quick { &[64][..] } else { &[64, 16384] } {
        let title = format!("TCP proxy, {}, 50 connections", size(*bytes));
        let work = Work::Proxy { bytes: *bytes, upstream: 0 };
        row(format!("proxy-50x{bytes}"), title, "request", work, closed(50, 1), Figure::Cpu);
    }
    let title = format!("static file of {}, page cache, 50 connections", size(FILE_SERVED));
    let work = Work::FileServer { bytes: FILE_SERVED };
    row("file-server-50".into(), title, "request", work, closed(50, 1), Figure::Cpu);
    // Latency at a given rate.
    for percent in if quick { &[50][..] } else { &[50, 80] } {
        let title = format!("TCP echo, 64 B, 50 connections, at {percent}% of what the slowest can");
        let drive = Drive::Open { connections: 50, rate: Rate::OfSlowest { percent: *percent }, files: 0 };
        row(format!("open-{percent}"), title, "request", Work::Echo { bytes: 64 }, drive, Figure::P99);
    }
    let title = format!("echo at 2,000 a second, beside 8 connections that fetch files of {}", size(FILE_SERVED));
    let drive = Drive::Open { connections: 20, rate: Rate::PerSecond(2000), files: 8 };
    row("mixed".into(), title, "request", Work::Mixed { bytes: FILE_SERVED }, drive, Figure::P99);
    let idle = match pace {
        Pace::Smoke => &[500][..],
        Pace::Quick => &[2000],
        _ => &[2000, 10_000],
    };
    for &count in idle {
        let title = format!("memory of an idle connection, one of {}", number(count));
        let (work, drive) = (Work::Echo { bytes: 4096 }, Drive::Idle { connections: count });
        row(format!("idle-{count}"), title, "connection", work, drive, Figure::Bytes);
    }
}

const HTTP: &str = "HTTP/1.1 keep-alive";

/// What the file server sends.
pub const FILE_SERVED: usize = 64 * 1024;

fn tasks(pace: Pace, rows: &mut Vec<Row>) {
    let mut row = |id: &str, title: &str, unit, work, figure| {
        rows.push(Row {
            id: id.into(),
            group: Group::Tasks,
            title: title.into(),
            unit,
            work,
            drive: Drive::Itself,
            figure,
        });
    };
    row("nop-1", "NOP, one after the other", "NOP", Work::Nop { in_flight: 1 }, Figure::Cpu);
    row("nop-128", "NOP, 128 in flight", "NOP", Work::Nop { in_flight: 128 }, Figure::Cpu);
    row("spawn-1", "spawn and join, one after the other", "task", Work::Spawn { tasks: 1 }, Figure::Cpu);
    row("spawn-128", "spawn and join, 128 at once", "task", Work::Spawn { tasks: 128 }, Figure::Cpu);
    row("spawn-1000", "spawn and join, 1,000 at once", "task", Work::Spawn { tasks: 1000 }, Figure::Cpu);
    row("wait-10000", "10,000 tasks that wait, are woken and end", "task", Work::Wait { tasks: 10_000 }, Figure::Cpu);
    row("yield-1000", "yield, 1,000 tasks", "yield", Work::Yield { tasks: 1000 }, Figure::Cpu);
    row("channel", "channel between two tasks", "message", Work::Channel, Figure::Cpu);
    let wake = "wake a sleeping loop from another CPU";
    row("wake", wake, "wake", Work::Wake { awake: false }, Figure::Time);
    let awake = format!("{wake}, CPUs never idle");
    row("wake-awake", &awake, "wake", Work::Wake { awake: true }, Figure::Time);
    row("sleep-1000", "1,000 tasks that sleep for 1 ms", "wake", Work::SleepFire { tasks: 1000 }, Figure::Cpu);
    if pace != Pace::Quick {
        let all = "100,000 tasks that all sleep, and wake up";
        row("sleep-100000", all, "task", Work::SleepAll { tasks: 100_000 }, Figure::Cpu);
    }
    row("sleep-drop", "begin and drop a sleep", "sleep", Work::SleepDrop, Figure::Cpu);
    row("start", "make a loop, run nothing, drop it", "loop", Work::Start, Figure::Time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(pace: Pace, only: &[&str]) -> String {
        let only: Vec<String> = only.iter().map(|name| (*name).into()).collect();
        let ids: Vec<String> = super::chosen(pace, &only).into_iter().map(|row| row.id).collect();
        ids.join(" ")
    }

    #[test]
    fn a_row_that_is_named_is_measured_at_every_pace_and_a_group_is_what_the_pace_has_of_it() {
        assert_eq!(chosen(Pace::Quick, &["nop-1", "echo-5000x64", "idle-10000"]), "echo-5000x64 idle-10000 nop-1");
        assert!(!chosen(Pace::Quick, &["net"]).contains("5000"));
        assert!(chosen(Pace::Quick, &["net", "wrk-50"]).contains("http-50x16 wrk-50 "));
        assert_eq!(super::chosen(Pace::Normal, &[]).len(), rows(Pace::Normal).len());
        assert_eq!(chosen(Pace::Full, &["nothing"]), "");
    }

    /// With 15 candidates in each, which is what there are. A quick run is promised to take less than 5 minutes, a normal one less
    /// than 45.
    #[test]
    fn runs_take_no_longer_than_is_promised() {
        let minutes = |pace| rows(pace).iter().map(|row| row.planned(15, pace)).sum::<Duration>().as_secs() / 60;
        assert!(minutes(Pace::Quick) < 5, "{}", minutes(Pace::Quick));
        assert!(minutes(Pace::Normal) < 45, "{}", minutes(Pace::Normal));
    }
}
