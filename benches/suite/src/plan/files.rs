//! Rows of files.

use crate::work::{Blocks, Small, Work};

use super::{Drive, Figure, Group, Pace, Row};

/// So many in flight, and the pace from which on the row is measured.
type Depths = &'static [(usize, Pace)];

const ALL: Depths = &[(1, Pace::Quick), (32, Pace::Quick), (128, Pace::Normal)];
const DIRECT: Depths = &[(1, Pace::Normal), (32, Pace::Quick), (128, Pace::Full)];
const USUAL: Depths = &[(1, Pace::Normal), (32, Pace::Quick), (128, Pace::Full)];
const FEW: Depths = &[(1, Pace::Full), (32, Pace::Normal), (128, Pace::Full)];
const ONE: Depths = &[(1, Pace::Normal), (32, Pace::Normal), (128, Pace::Full)];

pub fn rows(pace: Pace) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut blocks = |write: bool, random: bool, direct: bool, sync: bool, depths: Depths| {
        for &(in_flight, from) in depths {
            let work = Blocks { write, random, direct, sync, in_flight };
            rows.push((from, block_row(work)));
        }
    };
    blocks(false, true, false, false, ALL);
    blocks(true, true, false, false, USUAL);
    blocks(false, true, true, false, DIRECT);
    blocks(true, true, true, false, FEW);
    blocks(true, true, false, true, ONE);
    blocks(false, false, false, false, ONE);
    blocks(true, false, false, false, FEW);
    blocks(false, false, true, false, FEW);
    blocks(true, false, true, false, FEW);
    let small = |what: Small, id: &str, title: &str, in_flight: usize| Row {
        id: format!("{id}-{in_flight}"),
        title: format!("{title}, {in_flight} in flight"),
        figure: Figure::Time,
        ..row("file", Work::Small { what, in_flight })
    };
    let stat = |in_flight: usize| Row {
        id: format!("stat-{in_flight}"),
        title: format!("lengths of files by path (stat), {in_flight} in flight"),
        ..row("file", Work::Stat { in_flight })
    };
    let create = "small files: create, write 4 KiB, close";
    let drain = "small files: open, read 4 KiB, close, unlink";
    rows.extend([
        (Pace::Full, small(Small::Create, "small-create", create, 1)),
        (Pace::Quick, small(Small::Create, "small-create", create, 32)),
        (Pace::Full, small(Small::Drain, "small-drain", drain, 1)),
        (Pace::Quick, small(Small::Drain, "small-drain", drain, 32)),
        (Pace::Normal, small(Small::Read, "small-read", "small files: open, read 4 KiB, close", 32)),
        (Pace::Normal, small(Small::Unlink, "small-unlink", "small files: unlink", 32)),
        (Pace::Full, stat(1)),
        (Pace::Quick, stat(32)),
    ]);
    let (id, title) = ("copy".into(), "copy of a file of 64 MiB".into());
    rows.push((Pace::Quick, Row { id, title, figure: Figure::Time, ..row("MiB", Work::Copy) }));
    rows.into_iter().filter(|(from, _)| pace.is_at_least(*from)).map(|(_, row)| row).collect()
}

fn row(unit: &'static str, work: Work) -> Row {
    let (id, title) = (String::new(), String::new());
    Row { id, group: Group::Files, title, unit, work, drive: Drive::Itself, figure: Figure::Cpu }
}

fn block_row(work: Blocks) -> Row {
    let unit = if work.write { "write" } else { "read" };
    let cache = if work.direct { "O_DIRECT" } else { "page cache" };
    let (order, size) = if work.random { ("random", "4 KiB") } else { ("sequential", "64 KiB") };
    let sync = if work.sync { ", each with fdatasync" } else { "" };
    let in_flight = work.in_flight;
    let name = match work {
        Blocks { sync: true, .. } => "sync",
        Blocks { random: true, .. } => unit,
        Blocks { write: false, .. } => "seq-read",
        _ => "seq-write",
    };
    let size_in_id = if work.random { "-4k" } else { "" };
    Row {
        id: format!("{}{name}{size_in_id}-{in_flight}", if work.direct { "direct-" } else { "" }),
        title: format!("{order} {size} {unit}s, {cache}{sync}, {in_flight} in flight"),
        ..row(unit, Work::Blocks(work))
    }
}
