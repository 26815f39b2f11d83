//! L5: signals, with tokio's names: [`ctrl_c`], and in [`unix`] every other kind.
//!
//! ```no_run
//! # ringtoss::block_on(async {
//! ringtoss::signal::ctrl_c().await?;
//! println!("got ctrl-c");
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
//!
//! # How a signal reaches a task
//!
//! By a handler (`sigaction(2)`), and not by a `signalfd(2)`, for that needs the signal blocked on *every* thread,
//! those of other libraries included, and leaves it blocked in every program that is started from here. The handler
//! counts the signal, rings a *bell* and calls the handler that was there before. A bell is an eventfd; who waits has
//! an `IORING_OP_POLL_ADD` on it.
//!
//! Many may wait for one signal, on many loops, and none of them knows of the others. So nobody reads the eventfd,
//! which would take the news from whoever polls it a moment later. A bell that has rung stays readable for ever, and
//! the next one is hung up by whoever begins to wait next. What has happened is told by the count; the bell only wakes.
//!
//! No signal is missed. Who waits takes the bell that hangs, then looks at the count, then polls. A signal counted
//! before the look is seen by it. One counted after rings, later than it counts, the bell that hangs then: this one, or
//! a later one. If a later one, this one was taken down, and who takes a bell down rings it. Either way the poll ends.
//!
//! No stranger's descriptor is written to. A handler that was held up between learning the bell's number and writing
//! to it would hit whoever has the number then. So the eventfds are never closed: those of old bells are used
//! again for new ones, where a late ring does no harm, because the count did not change. There are as many as bells are
//! waited on at once: one or two a kind of signal. A child that was forked and gets a signal before it executes another
//! program rings the bells that it shares with its parent: again, no count changes, and the parent notices nothing.
mod bell;
pub mod unix;

use std::io;

use unix::{SignalKind, signal};

/// Waits for a ctrl-c (`SIGINT`). The first call installs a handler for the rest of the process's life, so from then on
/// ctrl-c does not end the program by itself; see [`unix::signal`].
///
/// Each call waits for the next ctrl-c after its first poll. To miss none in between, keep a
/// [`Signal`](unix::Signal). Dropped early, nothing is consumed.
///
/// ```no_run
/// # ringtoss::block_on(async {
/// # async fn serve() {}
/// tokio::select! {
///     () = serve() => {}
///     result = ringtoss::signal::ctrl_c() => result?,
/// }
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of `sigaction(2)` and `eventfd(2)`; `Interrupted` on a loop that ends.
pub async fn ctrl_c() -> io::Result<()> {
    let ended = || io::Error::new(io::ErrorKind::Interrupted, "the loop ends");
    signal(SignalKind::interrupt())?.recv().await.ok_or_else(ended)
}
