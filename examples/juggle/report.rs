//! The table at the end. Every figure in it was measured.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use hdrhistogram::Histogram;
use indicatif::{HumanBytes, HumanCount};

use crate::clients::Driven;
use crate::server::Served;
use crate::timers::TIMERS;

pub fn table(connections: usize, size: u64, served: &Served, driven: &Driven) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let title = format!("one thread, one ring, {:.1} s", served.elapsed.as_secs_f64());
    table.set_header([title.as_str(), "", "measured"]);
    let mut row = |what: &str, of: &str, measured: String| {
        table.add_row([what, of, measured.as_str()]);
    };

    row(&format!("echo, {} connections", count(connections as u64)), "requests", count(driven.requests));
    row("", "requests per second", count((driven.requests as f64 / driven.elapsed.as_secs_f64()) as u64));
    row("", "latency p50", at(&driven.latency, 0.5));
    row("", "latency p99", at(&driven.latency, 0.99));
    row("", "latency p99.9", at(&driven.latency, 0.999));

    let copies = &served.copies;
    let rate = |passes: u64, time: Duration| {
        let mib = (passes * copies.confirmed) as f64 * size as f64 / f64::from(1 << 20);
        format!("{} MiB/s", count((mib / time.as_secs_f64()) as u64))
    };
    row(&format!("copies of {}", HumanBytes(size)), "done, checksum confirmed", count(copies.confirmed));
    row("", "copied, 32 reads in flight", rate(1, copies.copying));
    row("", "both files read again to check", rate(2, copies.checking));
    row("", "XXH3", format!("{:016x}", copies.checksum));

    row(&format!("timers, {}", count(TIMERS as u64)), "fired", count(served.lateness.len()));
    row("", "lateness p50", at(&served.lateness, 0.5));
    row("", "lateness p99", at(&served.lateness, 0.99));
    row("", "lateness max", time(served.lateness.max()));

    let (before, after) = (&served.before, &served.after);
    let turns = after.turns - before.turns;
    let submissions = after.submissions - before.submissions;
    let completions = after.completions - before.completions;
    let enters = after.enters - before.enters;
    row("loop", "turns", count(turns));
    row("", "SQEs per turn", ratio(submissions, turns));
    row("", "CQEs per turn", ratio(completions, turns));
    row("", "kernel entries", count(enters));
    row("", "kernel entries per operation", format!("1/{}", ratio(submissions, enters)));
    table.column_mut(2).expect("there are three").set_cell_alignment(CellAlignment::Right);
    table.to_string()
}

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn ratio(a: u64, b: u64) -> String {
    format!("{:.1}", a as f64 / b as f64)
}

fn at(nanoseconds: &Histogram<u64>, quantile: f64) -> String {
    time(nanoseconds.value_at_quantile(quantile))
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        ns if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.1} µs", ns / 1e3),
    }
}
