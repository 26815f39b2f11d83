//! What has been done so far, drawn by a thread that has nothing else to do: neither loop waits for the terminal.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};

const FRAME: Duration = Duration::from_millis(100);

pub struct Progress {
    duration: Duration,
    size: u64,
    begun: OnceLock<Instant>,
    over: AtomicBool,
    pub requests: AtomicU64,
    /// Bytes copied, and bytes read again to check them, of the copy at work: twice its size.
    pub copied: AtomicU64,
    pub checked: AtomicU64,
    pub copies: AtomicU64,
    /// How often timers have fired.
    pub timers: AtomicU64,
}

impl Progress {
    pub fn new(duration: Duration, size: u64) -> Progress {
        Progress {
            duration,
            size,
            begun: OnceLock::new(),
            over: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            timers: AtomicU64::new(0),
        }
    }

    pub fn begin(&self) {
        self.begun.get_or_init(Instant::now);
    }

    /// The clients are to leave.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Draws until there is nothing more to come. Where standard error is no terminal nothing is drawn.
    pub fn draw_until(&self, done: impl Fn() -> bool) {
        let bars = MultiProgress::new();
        let line = |length, template: &str| {
            let style = ProgressStyle::with_template(template).expect("a template of ours");
            bars.add(ProgressBar::new(length).with_style(style))
        };
        let time = line(self.duration.as_millis() as u64, "time    {bar:32} {msg}");
        let copy = line(3 * self.size, "copy    {bar:32} {msg}");
        let echo = line(0, "echo    {msg}");
        let timers = line(0, "timers  {msg}");
        let (mut requests_before, mut drawn) = (0, Instant::now());
        while !done() {
            let elapsed = self.begun.get().map_or(Duration::ZERO, Instant::elapsed);
            time.set_position(elapsed.as_millis() as u64);
            time.set_message(match self.begun.get() {
                None => "connecting".to_string(),
                Some(_) => format!("{:.1} of {} s", elapsed.as_secs_f64(), self.duration.as_secs()),
            });
            let (copied, checked) = (self.copied.load(Ordering::Relaxed), self.checked.load(Ordering::Relaxed));
            copy.set_position(copied + checked);
            let doing = if copied < self.size { "copying" } else { "checking" };
            let confirmed = self.copies.load(Ordering::Relaxed);
            copy.set_message(format!("{doing} {}, {confirmed} confirmed", HumanBytes(self.size)));
            let requests = self.requests.load(Ordering::Relaxed);
            let per_second = (requests - requests_before) as f64 / drawn.elapsed().as_secs_f64();
            echo.set_message(format!("{} requests/s, {} so far", HumanCount(per_second as u64), HumanCount(requests)));
            timers.set_message(format!("{} fired", HumanCount(self.timers.load(Ordering::Relaxed))));
            (requests_before, drawn) = (requests, Instant::now());
            thread::sleep(FRAME);
        }
        let _ = bars.clear();
    }
}
