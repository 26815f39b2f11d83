use std::future::poll_fn;
use std::task::Poll;

use super::Duration;
use crate::clock::Clock;
use crate::context;
use crate::guard::wake_all;

/// Stops the clock of the loop that runs on this thread, for tests.
///
/// [`Instant::now`](super::Instant::now) stands still from here on. Timers still fire: when nothing else is left
/// to do, the loop moves the clock to the next deadline at once, so that a test of an hour takes no time, and what
/// it measures is exact. [`advance`] moves the clock by hand. `Builder::start_paused` starts a loop so.
///
/// Each loop has its own clock; other threads do not see this one. `std::time::Instant` does not either.
///
/// # Panics
///
/// If the clock is stopped already, or no event loop runs on this thread.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     time::pause();
///     let start = Instant::now();
///     time::sleep(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// });
/// ```
#[track_caller]
pub fn pause() {
    let was_paused = with_clock(|clock| {
        let was_paused = clock.is_paused();
        clock.pause();
        was_paused
    });
    assert!(!was_paused, "time is already frozen");
}

/// Lets the clock of this thread's loop run on, from where it stands.
///
/// # Panics
///
/// If the clock is not [paused](pause()), or no event loop runs on this thread.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     time::pause();
///     let start = Instant::now();
///     time::advance(Duration::from_secs(60)).await;
///     time::resume();
///     assert!(start.elapsed() >= Duration::from_secs(60));
/// });
/// ```
#[track_caller]
pub fn resume() {
    let was_paused = with_clock(|clock| {
        let was_paused = clock.is_paused();
        clock.resume();
        was_paused
    });
    assert!(was_paused, "time is not frozen");
    context::with(|core| core.driver.borrow_mut().doubt_deadline());
}

/// Moves the [paused](pause()) clock of this thread's loop forward by `duration`, and lets what is due run.
///
/// The clock jumps once. Every task that waited for a timer up to the new time has been polled by the time this
/// returns, and sees the new time. A task that then sleeps again counts from there: to step through it, advance in
/// steps.
///
/// # Cancellation
///
/// The clock moves at the first poll; dropped afterwards, the rest happens anyway.
///
/// # Panics
///
/// If the clock is not [paused](pause()), or no event loop runs on this thread.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration};
///
/// ringtoss::block_on(async {
///     time::pause();
///     let minute = ringtoss::spawn(time::sleep(Duration::from_secs(60)));
///     ringtoss::yield_now().await;
///     time::advance(Duration::from_secs(59)).await;
///     assert!(!minute.is_finished());
///     time::advance(Duration::from_secs(1)).await;
///     assert!(minute.is_finished());
/// });
/// ```
pub async fn advance(duration: Duration) {
    let was_paused = with_clock(|clock| {
        let was_paused = clock.is_paused();
        if was_paused {
            clock.advance(duration);
        }
        was_paused
    });
    assert!(was_paused, "time is not frozen");
    // Fired here and not left to the loop, so that who is due is in the queue before this task is again.
    let mut due = Vec::new();
    context::with(|core| core.timers.borrow_mut().expire(core.clock.now_ns(), &mut due));
    wake_all(&mut due);
    // Twice: a future that `block_on` runs comes first in a turn, and would be back before those that are due.
    for _ in 0..2 {
        turn().await;
    }
}

/// Ready in the next turn.
async fn turn() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[track_caller]
fn with_clock<R>(f: impl FnOnce(&Clock) -> R) -> R {
    match context::with(|core| f(&core.clock)) {
        Some(result) => result,
        None => panic!("{}", context::NO_LOOP),
    }
}
