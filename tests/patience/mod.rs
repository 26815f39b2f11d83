//! How long tests wait for what has to come, and how often they try.
//!
//! `RINGTOSS_TEST_PATIENCE` is a factor on every limit, `RINGTOSS_TEST_FEWER` divides the rounds of loops of thousands: both
//! are for machines that are emulated or busy (`.ci/kernels`). No test passes because of them that fails without, but for
//! want of time.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::future::Future;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// A child has all descriptors of its parent's until it runs its program, those of other tests' threads, too.
static CHILDREN: RwLock<()> = RwLock::new(());

/// See [`no_children`].
pub struct NoChildren(RwLockReadGuard<'static, ()>);

/// See [`starting_a_child`].
pub struct Starting(RwLockWriteGuard<'static, ()>);

/// For a test to which it matters that what it closes is gone at once: nobody starts a child while it holds this. Each test has its
/// thread, so it may do so while it awaits.
pub fn no_children() -> NoChildren {
    NoChildren(CHILDREN.read().unwrap_or_else(PoisonError::into_inner))
}

/// For whoever starts a child, until it runs.
pub fn starting_a_child() -> Starting {
    Starting(CHILDREN.write().unwrap_or_else(PoisonError::into_inner))
}

fn number(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .ok()
            .filter(|&number| number > 0)
            .unwrap_or_else(|| panic!("{name}={text} is no number above zero")),
    )
}

/// So many seconds, or as many times more as this machine is given.
pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count) * number("RINGTOSS_TEST_PATIENCE").unwrap_or(1)
}

/// How long a test may take: far more than it does.
pub fn patience() -> Duration {
    seconds(60)
}

/// How often a loop goes round that goes round so often where there is time.
pub fn often(all: usize) -> usize {
    all.div_ceil(number("RINGTOSS_TEST_FEWER").unwrap_or(1) as usize)
}

/// Runs a test on a loop of its own, for a bounded time.
pub fn run<F: Future>(test: F) -> F::Output {
    ringtoss::block_on(bounded(test))
}

/// The same on a loop that is there already.
pub async fn bounded<F: Future>(test: F) -> F::Output {
    ringtoss::time::timeout(patience(), test).await.expect("the test hangs")
}
