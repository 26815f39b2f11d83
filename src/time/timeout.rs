#![allow(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};

use super::error::Elapsed;
use super::{Duration, Instant, Sleep, sleep, sleep_until};

/// Waits for `future`, but no longer than `duration` from this call on.
///
/// The future is polled first, so one that is ready when the time runs out still counts. The clock starts here,
/// not at the first poll. A duration too long to be added to the present means about 30 years.
///
/// # Errors
///
/// [`Elapsed`] if the time ran out.
///
/// # Cancellation
///
/// When the [`Timeout`] is dropped, so is `future`, whether the time has run out or not. What that means is for it
/// to say: no public future of this crate loses data by it.
///
/// # Panics
///
/// When it has to wait on a thread where no event loop runs.
///
/// # Examples
///
/// ```
/// use ringtoss::time::{self, Duration};
///
/// ringtoss::block_on(async {
///     let hour = time::sleep(Duration::from_secs(3600));
///     assert!(time::timeout(Duration::from_millis(1), hour).await.is_err());
///     assert_eq!(time::timeout(Duration::ZERO, async { 7 }).await, Ok(7));
/// });
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), delay: sleep(duration) }
}

/// Waits for `future`, but not beyond `deadline`. In all else it is [`timeout`].
///
/// # Errors
///
/// [`Elapsed`] if the deadline passed.
///
/// # Examples
///
/// Several steps share one deadline:
///
/// ```
/// use ringtoss::time::{self, Duration, Instant};
///
/// ringtoss::block_on(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     assert!(time::timeout_at(deadline, async {}).await.is_ok());
///     assert!(time::timeout_at(deadline, std::future::pending::<()>()).await.is_err());
///     assert!(Instant::now() >= deadline);
/// });
/// ```
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), delay: sleep_until(deadline) }
}

/// The future of [`timeout`] and [`timeout_at`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Timeout<F> {
    future: F,
    delay: Sleep,
}

impl<F> Timeout<F> {
    /// The future that is waited for.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is waited for.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Gives the future back, without its time limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned structurally: nothing moves it out of a pinned `Timeout` (`into_inner` and
        // `get_mut` need one that is not pinned, or is `Unpin`), there is no `Drop` impl, the struct is not packed, and
        // `Unpin` is the automatic one, so a `Timeout` is `Unpin` only if `F` is. `delay` is `Unpin` itself.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        // Future first; the timer is not even registered for one that is ready at once.
        match future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut this.delay).poll(cx).map(|()| Err(Elapsed::new())),
        }
    }
}
