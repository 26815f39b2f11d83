//! Which rows there are.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// The work runs in the child's own process.
    Itself,
    /// The built-in generator, with so many connections and requests at once on each.
    Generator { connections: usize, depth: usize },
    /// wrk, with so many connections.
    Wrk { connections: usize },
}

/// What decides who is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// CPU time of the measured process per operation.
    Cpu,
    /// Time per operation.
    Time,
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

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every row once, for milliseconds: to see that it works. The figures mean nothing.
    Smoke,
    /// Below five minutes, to get an idea.
    Quick,
    /// About a quarter of an hour.
    Normal,
    /// For publishing.
    Full,
}

impl Pace {
    pub fn windows(self) -> usize {
        match self {
            Pace::Smoke => 1,
            Pace::Quick => 3,
            Pace::Normal => 9,
            Pace::Full => 21,
        }
    }

    pub fn window(self) -> Duration {
        Duration::from_millis(match self {
            Pace::Smoke => 15,
            Pace::Quick => 150,
            _ => 400,
        })
    }

    /// Before the first window that counts.
    pub fn warm_up(self) -> Duration {
        Duration::from_millis(if self == Pace::Smoke { 5 } else { 50 })
    }

    /// The window in which is counted.
    pub fn counted(self) -> Duration {
        Duration::from_millis(if self == Pace::Smoke { 10 } else { 100 })
    }

    /// wrk counts in whole seconds.
    pub fn wrk_windows(self) -> usize {
        match self {
            Pace::Smoke | Pace::Quick => 1,
            Pace::Normal => 5,
            Pace::Full => 11,
        }
    }

    /// How often is counted, one window after the other.
    pub fn counted_windows(self) -> usize {
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
    files(pace, &mut rows);
    tasks(pace, &mut rows);
    rows
}

/// A size or a number as a reader says it.
fn size(bytes: usize) -> String {
    if bytes >= 1024 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

fn connections(count: usize) -> String {
    let count = if count >= 1000 { format!("{},{:03}", count / 1000, count % 1000) } else { count.to_string() };
    format!("{count} connection{}", if count == "1" { "" } else { "s" })
}

fn network(pace: Pace, rows: &mut Vec<Row>) {
    let quick = pace == Pace::Quick;
    echoes(pace, rows);
    let mut row = |id: String, title: String, work, connections, depth| {
        rows.push(Row {
            id,
            group: Group::Net,
            title,
            unit: "request",
            work,
            drive: Drive::Generator { connections, depth },
            figure: Figure::Cpu,
        });
    };
    for count in if quick { &[50][..] } else { &[1, 50] } {
        let title = format!("Unix stream echo, 64 B, {}", connections(*count));
        row(format!("unix-{count}x64"), title, Work::Unix { bytes: 64 }, *count, 1);
    }
    for count in if quick { &[50][..] } else { &[1, 50] } {
        let title = format!("UDP echo, 64 B, {} client{}", count, if *count == 1 { "" } else { "s" });
        row(format!("udp-{count}x64"), title, Work::Udp { bytes: 64 }, *count, 1);
    }
    row("http-50".into(), "HTTP/1.1 keep-alive, 50 connections".into(), Work::Http, 50, 1);
    let title = "HTTP/1.1 keep-alive, 50 connections, 16 requests at once";
    row("http-50x16".into(), title.into(), Work::Http, 50, 16);
    for bytes in if quick { &[64][..] } else { &[64, 16384] } {
        let title = format!("TCP proxy, {}, 50 connections", size(*bytes));
        row(format!("proxy-50x{bytes}"), title, Work::Proxy { bytes: *bytes, upstream: 0 }, 50, 1);
    }
    let title = "static file of 64 KiB, page cache, 50 connections";
    row("file-server-50".into(), title.into(), Work::FileServer { bytes: FILE_SERVED }, 50, 1);
    rows.push(Row {
        id: "wrk-50".into(),
        group: Group::Net,
        title: "HTTP/1.1 keep-alive, 50 connections, by wrk".into(),
        unit: "request",
        work: Work::Http,
        drive: Drive::Wrk { connections: 50 },
        figure: Figure::Cpu,
    });
}

/// What the file server sends.
pub const FILE_SERVED: usize = 64 * 1024;

fn echoes(pace: Pace, rows: &mut Vec<Row>) {
    let mut echo = |count: usize, bytes: usize, depth: usize| {
        let pipelined = if depth > 1 { format!(", {depth} at once on each") } else { String::new() };
        rows.push(Row {
            id: format!("echo-{count}x{bytes}{}", if depth > 1 { format!("x{depth}") } else { String::new() }),
            group: Group::Net,
            title: format!("TCP echo, {}, {}{pipelined}", size(bytes), connections(count)),
            unit: "request",
            work: Work::Echo { bytes: bytes * depth },
            drive: Drive::Generator { connections: count, depth },
            figure: Figure::Cpu,
        });
    };
    echo(1, 64, 1);
    echo(50, 64, 1);
    echo(500, 64, 1);
    if pace == Pace::Full {
        echo(5000, 64, 1);
    }
    echo(50, 64, 16);
    if pace != Pace::Quick {
        echo(1, 64, 16);
        echo(1, 16384, 1);
    }
    echo(50, 16384, 1);
    if pace != Pace::Quick {
        echo(500, 16384, 1);
    }
}

fn files(pace: Pace, rows: &mut Vec<Row>) {
    for in_flight in if pace == Pace::Quick { &[1, 32][..] } else { &[1, 32, 128] } {
        rows.push(Row {
            id: format!("read-4k-{in_flight}"),
            group: Group::Files,
            title: format!("random 4 KiB reads, page cache, {in_flight} in flight"),
            unit: "read",
            work: Work::Read { in_flight: *in_flight },
            drive: Drive::Itself,
            figure: Figure::Cpu,
        });
    }
}

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
