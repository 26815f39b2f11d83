use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Duration, Instant};
use crate::context;
use crate::mail::Mail;
use crate::registry;
use crate::timer::TimerKey;

/// Waits until `duration` has passed since this call.
///
/// The deadline is fixed here, not at the first poll. A duration too long to be added to the present waits for
/// about 30 years.
///
/// # Cancellation
///
/// Dropping the [`Sleep`] takes its timer out; nothing else happens.
///
/// # Panics
///
/// When it is polled before the deadline on a thread where no event loop runs.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration};
///
/// ringtoss::block_on(async {
///     time::sleep(Duration::from_millis(2)).await;
///     println!("2 ms have elapsed");
/// });
/// ```
#[doc(alias = "delay_for")]
pub fn sleep(duration: Duration) -> Sleep {
    let state = if duration.is_zero() { State::Idle } else { State::Fresh };
    Sleep { deadline: Instant::after(duration), state }
}

/// Waits until `deadline`. It is ready at once if that has passed.
///
/// Cancellation and panics are those of [`sleep`].
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     time::sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
/// });
/// ```
#[doc(alias = "delay_until")]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, state: State::Idle }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It is `Send`, `Sync` and `Unpin`, and belongs to no loop until it is polled. Polled on another loop later, it
/// moves there. Once ready, it stays so until it is [reset](Sleep::reset).
///
/// # Examples
///
/// One `Sleep` serves many rounds:
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
/// use std::pin::pin;
///
/// ringtoss::block_on(async {
///     let mut idle = pin!(time::sleep(Duration::from_secs(60)));
///     for _ in 0..3 {
///         idle.as_mut().reset(Instant::now() + Duration::from_millis(1));
///         idle.as_mut().await;
///     }
/// });
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    deadline: Instant,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The same as [`State::Idle`], and the clock has been read when it was made: it is not read again just to find out
    /// whether the deadline has passed between. If it has, the timer fires as soon as the loop looks at its timers.
    Fresh,
    /// No loop knows about it.
    Idle,
    /// A timer on that loop stands for it. When the loop has it no more, it has fired.
    Registered { loop_id: u64, key: TimerKey },
    /// Ready was returned, or is about to be.
    Elapsed,
}

const _: () = {
    const fn sendable<T: Send + Sync + Unpin + 'static>() {}
    sendable::<Sleep>();
};

impl Sleep {
    /// When it is ready.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed) || self.deadline <= Instant::now()
    }

    /// Moves the deadline, before or after the present one has passed.
    ///
    /// A task that already waits is woken at the new deadline, without polling again first.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::time::{self, Duration, Instant};
    /// use std::pin::Pin;
    ///
    /// ringtoss::block_on(async {
    ///     let mut sleep = time::sleep(Duration::from_secs(3600));
    ///     Pin::new(&mut sleep).reset(Instant::now() + Duration::from_millis(1));
    ///     sleep.await;
    /// });
    /// ```
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.get_mut();
        this.deadline = deadline;
        if let State::Registered { loop_id, key } = this.state
            && loop_id == context::current_id()
        {
            let moved = context::with(|core| {
                let mut timers = core.timers.borrow_mut();
                let waker = timers.remove(key)?;
                Some(timers.insert(core.clock.ns_of(deadline), waker))
            });
            this.state = match moved.flatten() {
                Some(key) => State::Registered { loop_id, key },
                None => State::Idle,
            };
        } else {
            // The other loop wakes whoever waits there, which then polls and so registers anew.
            this.withdraw();
        }
    }

    /// Takes the timer out of its loop, if it is in one.
    #[inline]
    fn withdraw(&mut self) {
        if let State::Registered { loop_id, key } = mem::replace(&mut self.state, State::Idle) {
            withdraw(loop_id, key);
        }
    }

    fn finish(&mut self) -> Poll<()> {
        self.state = State::Elapsed;
        Poll::Ready(())
    }

    /// Polls while the timer is on this very loop.
    fn poll_registered(&mut self, key: TimerKey, cx: &mut Context<'_>) -> Poll<()> {
        let same = context::look(|core| core.timers.borrow().wakes(key, cx.waker()));
        match same.flatten() {
            None => self.finish(),
            Some(true) => Poll::Pending,
            Some(false) => {
                // Cloned before and dropped after the borrow, as both may run anything.
                let waker = cx.waker().clone();
                let old = context::look(|core| core.timers.borrow_mut().update_waker(key, waker));
                match old {
                    Some(Ok(_old)) => Poll::Pending,
                    Some(Err(_)) | None => self.finish(),
                }
            }
        }
    }

    /// Polls while the timer is on no loop, or on another.
    fn poll_elsewhere(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            self.withdraw();
            return self.finish();
        }
        self.register(cx)
    }

    /// Polls for the first time after it was made.
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A clock that is moved by hand costs nothing to look at, and tests rely on what it says.
        match context::look(|core| core.clock.is_the_systems()) {
            Some(true) => self.register(cx),
            _ => self.poll_elsewhere(cx),
        }
    }

    /// Leaves a timer on this loop.
    fn register(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let registered = context::with(|core| {
            let deadline_ns = core.clock.ns_of(self.deadline);
            let key = core.timers.borrow_mut().insert(deadline_ns, waker);
            State::Registered { loop_id: core.id, key }
        });
        let Some(registered) = registered else {
            panic!("{}", context::NO_LOOP);
        };
        self.withdraw();
        self.state = registered;
        Poll::Pending
    }
}

/// Takes a timer out of its loop.
fn withdraw(loop_id: u64, key: TimerKey) {
    if loop_id == context::current_id() {
        let waker = context::look(|core| core.timers.borrow_mut().remove(key));
        // Outside of the closure, as dropping a waker may run anything.
        drop(waker);
    } else {
        // A loop that takes no mail has ended, and its timers with it.
        let _ended = registry::post(loop_id, Mail::DropTimer(key));
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match this.state {
            State::Fresh => this.poll_fresh(cx),
            State::Elapsed => Poll::Ready(()),
            State::Registered { loop_id, key } if loop_id == context::current_id() => this.poll_registered(key, cx),
            State::Idle | State::Registered { .. } => this.poll_elsewhere(cx),
        }
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if let State::Registered { loop_id, key } = self.state {
            withdraw(loop_id, key);
        }
    }
}
