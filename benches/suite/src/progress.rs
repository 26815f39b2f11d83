//! One line on the terminal that says what is being measured and how long it still takes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub struct Progress {
    shown: bool,
    started: Instant,
    /// Measuring time that was planned, and what of it is over.
    planned: Duration,
    over: Duration,
}

impl Progress {
    pub fn new(planned: Duration) -> Progress {
        Progress { shown: std::io::stderr().is_terminal(), started: Instant::now(), planned, over: Duration::ZERO }
    }

    pub fn show(&self, row: &str, candidate: &str, window: usize, windows: usize) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{row}: {candidate}, window {window}/{windows}{}", self.left());
        }
    }

    pub fn done(&mut self, window: Duration) {
        self.over += window;
    }

    /// A row is over, or left out: all that was planned up to here.
    pub fn reached(&mut self, over: Duration) {
        self.over = over;
        self.clear();
    }

    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn left(&self) -> String {
        if self.over.is_zero() {
            return String::new();
        }
        let pace = self.started.elapsed().as_secs_f64() / self.over.as_secs_f64();
        let seconds = (self.planned.saturating_sub(self.over).as_secs_f64() * pace) as u64;
        format!(", about {}:{:02} left", seconds / 60, seconds % 60)
    }
}
