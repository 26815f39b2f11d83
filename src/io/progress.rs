//! What moves bytes in many steps, with limits, and tells how far it came.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::op::{CutShort, Op, Operation};
use crate::ring::LATE;
use crate::time::{Sleep, sleep};
use crate::token::{CancellationToken, WaitForCancellationOwned};

/// What the future and the one who asks it how far it is share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    copied: [AtomicU64; 2],
    /// An `errno` for why it is to stop, or 0.
    stop: AtomicI32,
}

impl Shared {
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }

    pub(super) fn copied(&self, direction: usize) -> u64 {
        self.copied[direction].load(Ordering::Relaxed)
    }

    pub(super) fn set_copied(&self, direction: usize, count: u64) {
        self.copied[direction].store(count, Ordering::Relaxed);
    }

    pub(super) fn add(&self, direction: usize, count: u64) {
        self.copied[direction].fetch_add(count, Ordering::Relaxed);
    }

    /// What one direction tells that was to stop.
    pub(super) fn cut_short(&self, direction: usize, unwritten: Vec<u8>) -> CutShort {
        CutShort::copy(self.stop.load(Ordering::Relaxed), self.copied(direction), unwritten)
    }

    /// The output of a step, or nothing when it is to stop. A step that was faster has its output.
    pub(super) async fn unless_stopped<F: Future>(&self, step: F) -> Option<F::Output> {
        if self.stopped() {
            return None;
        }
        let mut step = pin!(step);
        poll_fn(|cx| match step.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.stopped() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// The output of an operation, which is ended when it is to stop: then its output tells how far it came.
    pub(super) async fn or_cancelled<O: Op>(&self, mut operation: Operation<'_, O>) -> O::Output {
        let output = poll_fn(|cx| match Pin::new(&mut operation).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.stopped() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match output.await {
            Some(output) => output,
            None => operation.cancel().await,
        }
    }
}

/// Why one direction did not come to its end.
pub(super) enum Broken {
    Failed(io::Error),
    /// It was to stop. What was read and not written is here.
    Stopped(Vec<u8>),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        Broken::Failed(error)
    }
}

/// Waits for both, but ends with the first failure.
pub(super) async fn both(
    there: impl Future<Output = Result<(), Broken>>,
    back: impl Future<Output = Result<(), Broken>>,
    shared: &Shared,
) -> io::Result<(u64, u64)> {
    let (mut there, mut back) = (pin!(there), pin!(back));
    let mut ends = [None, None];
    poll_fn(|cx| {
        for (index, end) in ends.iter_mut().enumerate().filter(|(_, end)| end.is_none()) {
            let polled = if index == 0 { there.as_mut().poll(cx) } else { back.as_mut().poll(cx) };
            match polled {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => *end = Some(None),
                Poll::Ready(Err(Broken::Stopped(unwritten))) => *end = Some(Some(unwritten)),
                Poll::Ready(Err(Broken::Failed(error))) => return Poll::Ready(Err(error)),
            }
        }
        if ends.iter().all(Option::is_some) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    let [there, back] = ends.map(Option::flatten);
    if there.is_none() && back.is_none() {
        return Ok((shared.copied(0), shared.copied(1)));
    }
    let back = shared.cut_short(1, back.unwrap_or_default());
    Err(shared.cut_short(0, there.unwrap_or_default()).with_back(back).into_error())
}

/// A copy with its limits. `T` is what it counts.
pub(super) struct Limited<'a, T> {
    future: Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>,
    shared: Arc<Shared>,
    sleep: Option<Sleep>,
    cancelled: Option<WaitForCancellationOwned>,
}

impl<'a, T> Limited<'a, T> {
    pub(super) fn new(future: Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>, shared: Arc<Shared>) -> Self {
        Limited { future, shared, sleep: None, cancelled: None }
    }

    pub(super) fn copied(&self, direction: usize) -> u64 {
        self.shared.copied(direction)
    }

    /// Bounds it: the time starts now.
    pub(super) fn timeout(&mut self, limit: Duration) {
        self.sleep = Some(sleep(limit));
    }

    pub(super) fn cancel_on(&mut self, token: &CancellationToken) {
        self.cancelled = Some(token.clone().cancelled_owned());
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let late = self.sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(cx).is_ready());
        let cancelled = self.cancelled.as_mut().is_some_and(|cancelled| Pin::new(cancelled).poll(cx).is_ready());
        if !late && !cancelled {
            return Poll::Pending;
        }
        (self.sleep, self.cancelled) = (None, None);
        self.shared.stop.store(if late { LATE } else { libc::ECANCELED }, Ordering::Relaxed);
        self.future.as_mut().poll(cx)
    }
}

/// The public type around it: its limits, and the future that it is.
macro_rules! limits {
    ($name:ident, $counts:ty) => {
        impl<'a> $name<'a> {
            /// Bounds it: when `limit` has passed, it stops and gives an error of kind
            /// [`TimedOut`](std::io::ErrorKind::TimedOut) in which a [`CutShort`](crate::op::CutShort) tells how far it came and what was read
            /// but not written. The time starts now.
            pub fn timeout(mut self, limit: std::time::Duration) -> $name<'a> {
                self.0.timeout(limit);
                self
            }

            /// Bounds it by a token in the same way; the error has the kind that the `errno` `ECANCELED` has.
            pub fn cancel_on(mut self, token: &crate::token::CancellationToken) -> $name<'a> {
                self.0.cancel_on(token);
                self
            }
        }

        impl std::future::Future for $name<'_> {
            type Output = std::io::Result<$counts>;

            fn poll(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<$counts>> {
                self.0.poll(cx)
            }
        }

        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("copied", &self.copied()).finish_non_exhaustive()
            }
        }
    };
}

pub(super) use limits;
