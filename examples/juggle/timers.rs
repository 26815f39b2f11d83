//! Timers: each sleeps for a while, notes how late it was, and sleeps again.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use ringtoss::time::{Duration, Instant, sleep_until};

use crate::all;
use crate::progress::Progress;

pub const TIMERS: usize = 10_000;
/// Each sleeps between these, in milliseconds.
const SLEEP_MS: std::ops::Range<u64> = 100..1_000;

/// How late timers were, in nanoseconds, on one thread.
pub type Lateness = Rc<RefCell<Histogram<u64>>>;

/// Keeps the timers going until it is dropped.
pub async fn run(progress: Arc<Progress>, lateness: Lateness) -> Result<Infallible> {
    let timers = (0..TIMERS).map(|_| timer(progress.clone(), lateness.clone()));
    all(timers).await?.pop().context("there are no timers")
}

async fn timer(progress: Arc<Progress>, lateness: Lateness) -> Result<Infallible> {
    loop {
        let deadline = Instant::now() + Duration::from_millis(fastrand::u64(SLEEP_MS));
        sleep_until(deadline).await;
        let Some(late) = Instant::now().checked_duration_since(deadline) else { bail!("a timer fired early") };
        lateness.borrow_mut().record(late.as_nanos() as u64)?;
        progress.timers.fetch_add(1, Ordering::Relaxed);
    }
}
