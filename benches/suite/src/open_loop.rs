//! Requests at a rate of their own, whatever the server does: the open loop.
//!
//! Each request is due at a moment that was fixed before (gaps as those of many independent clients: exponential, the same
//! for every candidate), and its latency counts from then on, also if it could not be sent at once. A generator that waits
//! for answers would send less while a server stalls, and so leave out of the histogram what a client would have seen
//! (coordinated omission).
//!
//! The generator does not sleep meanwhile, so as to be on time. Busy is what it does beside looking at the clock.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::generator::{Driven, Generator, SEND, broken};
use crate::load::{Load, SILENCE, histogram};
use crate::work::Random;

/// Another load on the same server, in a closed loop.
const BESIDE: u64 = 1 << 34;

/// What a window in an open loop gave, beside what every window gives.
pub struct Opened {
    pub driven: Driven,
    /// From the moment at which each request was due, in nanoseconds.
    pub latency: Histogram<u64>,
    /// How late the generator itself was with sending, in nanoseconds.
    pub lag: Histogram<u64>,
    /// How much was done of the load beside it, in the same time.
    pub beside: u64,
}

/// When requests are due.
struct Arrivals {
    random: Random,
    mean_gap_ns: f64,
    next_ns: f64,
}

impl Arrivals {
    fn new(per_second: f64) -> Arrivals {
        Arrivals { random: Random::new(0), mean_gap_ns: 1e9 / per_second, next_ns: 0.0 }
    }

    /// In nanoseconds from the beginning.
    fn next(&mut self) -> f64 {
        const STEPS: u64 = 1 << 53;
        let part = (self.random.below(STEPS) + 1) as f64 / STEPS as f64;
        self.next_ns -= part.ln() * self.mean_gap_ns;
        self.next_ns
    }
}

/// A connection's requests that are under way: when they were due.
#[derive(Default)]
struct Waiting {
    due: VecDeque<Instant>,
}

impl Generator {
    /// Sends so many requests a second, on one connection after the other, for so long; `beside` goes on all the time.
    pub fn drive_open(
        &mut self,
        load: &mut Load,
        mut beside: Option<&mut Load>,
        per_second: f64,
        duration: Duration,
    ) -> io::Result<Opened> {
        let mut waiting: Vec<Waiting> = load.connections.iter().map(|_| Waiting::default()).collect();
        let (mut latency, mut lag, mut ops, mut beside_ops) = (histogram(), histogram(), 0, 0);
        let start = Instant::now();
        let mut beside_left = beside.as_ref().map_or(0, |beside| beside.connections.len());
        if let Some(beside) = &mut beside {
            for number in 0..beside_left {
                self.ask_beside(beside, number);
            }
        }
        let mut arrivals = Arrivals::new(per_second);
        // The first at once: no window is empty.
        let mut due = start;
        let (end, mut turn, mut under_way) = (start + duration, 0, 0);
        let (mut now, mut last, mut busy) = (start, start, Duration::ZERO);
        loop {
            let sent_before = turn;
            while due <= now && due < end {
                let number = turn % load.connections.len();
                lag.saturating_record((now - due).as_nanos() as u64);
                waiting[number].due.push_back(due);
                self.say(load.connections[number].fd(), &load.request, number as u64);
                if waiting[number].due.len() == 1 {
                    self.hear_answer(load, number);
                }
                (turn, under_way) = (turn + 1, under_way + 1);
                due = start + Duration::from_nanos(arrivals.next() as u64);
            }
            self.look()?;
            let heard = Instant::now();
            let mut completions = std::mem::take(&mut self.completions);
            let something = turn > sent_before || !completions.is_empty();
            for completion in completions.drain(..) {
                let (user_data, result) = (completion.user_data(), completion.result());
                if user_data & SEND != 0 {
                    return Err(broken(result));
                }
                let number = (user_data & !BESIDE) as usize;
                if user_data & BESIDE != 0 {
                    let beside = beside.as_deref_mut().expect("it was asked");
                    if result != beside.response_bytes as i32 {
                        return Err(broken(result));
                    }
                    if heard < end {
                        beside_ops += 1;
                        self.ask_beside(beside, number);
                    } else {
                        beside_left -= 1;
                    }
                    continue;
                }
                if result != load.response_bytes as i32 {
                    return Err(broken(result));
                }
                let was_due = waiting[number].due.pop_front().expect("an answer to something");
                latency.saturating_record((heard - was_due).as_nanos() as u64);
                (ops, under_way) = (ops + 1, under_way - 1);
                if !waiting[number].due.is_empty() {
                    self.hear_answer(load, number);
                }
            }
            self.completions = completions;
            let after = Instant::now();
            if something {
                busy += after - now;
                last = after;
            } else if (under_way > 0 || beside_left > 0) && after - last > SILENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "hangs: nothing came back for 5 s"));
            }
            now = after;
            if now >= end && under_way == 0 && beside_left == 0 {
                break;
            }
        }
        let own_cpu_ns = busy.as_nanos() as u64;
        // All of them, also those that were answered after the end: leaving those out would make a slow server look good.
        let driven = Driven { ops, late_ops: 0, wall_ns: (now - start).as_nanos() as u64, own_cpu_ns };
        Ok(Opened { driven, latency, lag, beside: beside_ops })
    }

    fn hear_answer(&mut self, load: &mut Load, number: usize) {
        self.hear(load.connections[number].fd(), &mut load.scratch, number as u64);
    }

    fn ask_beside(&mut self, beside: &mut Load, number: usize) {
        let fd = beside.connections[number].fd();
        self.say(fd, &beside.request, number as u64 | BESIDE);
        self.hear(fd, &mut beside.scratch, number as u64 | BESIDE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_rate_that_was_asked_for() {
        let mut arrivals = Arrivals::new(1000.0);
        let mut last = 0.0;
        let gaps: Vec<f64> = (0..10_000)
            .map(|_| {
                let gap = arrivals.next() - last;
                last += gap;
                gap
            })
            .collect();
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((0.95e6..1.05e6).contains(&mean), "{mean} ns between requests, of 1 ms");
        let long = gaps.iter().filter(|gap| **gap > 1e6).count();
        assert!((3_400..4_000).contains(&long), "{long} of 10,000 gaps are longer than the mean, of 3,679");
    }

    #[test]
    fn every_candidate_gets_the_same() {
        let (mut one, mut other) = (Arrivals::new(5.0), Arrivals::new(5.0));
        assert!((0..100).all(|_| one.next() == other.next()));
    }
}
