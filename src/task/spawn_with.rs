//! The future of `spawn_with`: it is made where it runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// First the closure, which crosses threads, then the future that it made, which need not.
pub(super) enum MakeThenRun<M, F> {
    Make(M),
    Run(F),
    /// While `Make` runs, and for good if it panicked.
    Making,
}

// The futures that the closure may be are not pinned, see `poll`, so only `F` counts.
impl<M, F: Unpin> Unpin for MakeThenRun<M, F> {}

impl<M, F> Future for MakeThenRun<M, F>
where
    M: FnOnce() -> F,
    F: Future,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: pinning is structural for the payload of `Run` and for nothing else. No pinned
        // reference to an `M` is ever made, so `M` may be moved out of `Make`. An `F` is written
        // into `Run` once, and from there it is reached only through the `Pin` below or dropped in
        // place: the variant is never replaced again, there is no `Drop` impl that could move it,
        // and `Unpin` is given only where `F` has it.
        let this = unsafe { self.get_unchecked_mut() };
        if let MakeThenRun::Make(_) = this {
            let MakeThenRun::Make(make) = std::mem::replace(this, MakeThenRun::Making) else {
                unreachable!("it was `Make` a moment ago");
            };
            *this = MakeThenRun::Run(make());
        }
        match this {
            // SAFETY: see above.
            MakeThenRun::Run(future) => unsafe { Pin::new_unchecked(future) }.poll(cx),
            _ => unreachable!("polled again after the closure panicked"),
        }
    }
}
