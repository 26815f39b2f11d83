//! One line on the terminal that says what is being measured and how long it still takes.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub struct Progress {
    shown: bool,
    started: Instant,
    /// Measuring time that was planned, and what of it is over.
    planned: Duration,
    over: Duration,
    /// Which row of how many it is.
    row: usize,
    rows: usize,
}

impl Progress {
    pub fn new(planned: Duration, rows: usize) -> Progress {
        let shown = std::io::stderr().is_terminal();
        Progress { shown, started: Instant::now(), planned, over: Duration::ZERO, row: 0, rows }
    }

    pub fn show(&self, row: &str, candidate: &str, window: usize, windows: usize) {
        if self.shown {
            let left = self.left(self.started.elapsed()).map_or(String::new(), |left| format!(", {left}"));
            let (number, rows) = (self.row + 1, self.rows);
            // Without wrapping, for terminals that are narrower than the line.
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[K\x1b[?7l[{number}/{rows}{left}] {row}: {candidate}, window {window} of {windows}\x1b[?7h"
            );
        }
    }

    pub fn done(&mut self, window: Duration) {
        self.over += window;
    }

    /// A row is measured: of what was planned, so much was its.
    pub fn measured(&mut self, planned: Duration, over_before: Duration) {
        self.over = over_before + planned;
        self.row += 1;
        self.clear();
    }

    /// A row that needs no time was passed.
    pub fn passed(&mut self, planned: Duration) {
        self.planned = self.planned.saturating_sub(planned);
        self.row += 1;
        self.clear();
    }

    pub fn over(&self) -> Duration {
        self.over
    }

    pub fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// Starting processes and counting take time, too, so what is over says how long the rest takes.
    fn left(&self, elapsed: Duration) -> Option<String> {
        if self.over.is_zero() {
            return None;
        }
        let pace = elapsed.as_secs_f64() / self.over.as_secs_f64();
        let seconds = (self.planned.saturating_sub(self.over).as_secs_f64() * pace) as u64;
        Some(match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
            (0, minutes, seconds) => format!("about {minutes}:{seconds:02} left"),
            (hours, minutes, _) => format!("about {hours} h {minutes:02} min left"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_follows_what_rows_took_and_not_what_was_taken_over() {
        let second = Duration::from_secs(1);
        let mut progress = Progress::new(100 * second, 4);
        assert_eq!(progress.left(second), None, "nothing is known yet");
        progress.passed(50 * second);
        progress.measured(25 * second, progress.over());
        // It took twice as long as planned.
        assert_eq!(progress.left(50 * second).unwrap(), "about 0:50 left");
        progress.planned += 3700 * second;
        assert_eq!(progress.left(25 * second).unwrap(), "about 1 h 02 min left");
    }
}
