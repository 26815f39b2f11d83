//! Sleeping, deadlines and intervals, on the event loop's own timers.
//!
//! Names and meaning are tokio's: [`sleep`], [`timeout`], [`interval`], [`Instant`], and a clock that tests can
//! [`pause`] and [`advance`]. A timer is no operation of the kernel: the loop waits for completions only until
//! its next deadline ([io_uring_enter2(2)], `IORING_ENTER_EXT_ARG`), so making, dropping or moving a timer costs
//! no system call. An `IORING_OP_TIMEOUT`, multishot for an interval, would cost an entry to begin, one to end and a
//! completion a tick, which is nine times as much (measured on Linux 6.18: 54 against 492 ns), and know no clock but the
//! kernel's.
//!
//! Time is counted in nanoseconds and never rounded. A timer never fires early. It fires late by what the kernel
//! takes to wake the thread, and by what other tasks of the loop take to yield. Where timers come in crowds (four or
//! more between two sleeps of the loop), a sleep lasts for 50 µs at least, so that the next may be later by that: as late as
//! the kernel's timers are by default elsewhere (`PR_SET_TIMERSLACK` in [prctl(2)]). Where they come in throngs (32 or more), it lasts for
//! 200 µs. A loop that [spins](crate::Builder::spin) for longer than that is not late.
//!
//! Timers belong to no loop until they are polled: a [`Sleep`] may be made anywhere and sent to any thread. It
//! registers with the loop that polls it. Everything here may be dropped at any moment; nothing is lost but the
//! wait itself.
//!
//! # Examples
//!
//! ```
//! use ringtoss::time::{self, Duration};
//!
//! ringtoss::block_on(async {
//!     let slow = std::future::pending::<()>();
//!     assert!(time::timeout(Duration::from_millis(5), slow).await.is_err());
//! });
//! ```
//!
//! [io_uring_enter2(2)]: https://man7.org/linux/man-pages/man2/io_uring_enter2.2.html
//! [prctl(2)]: https://man7.org/linux/man-pages/man2/prctl.2.html

pub mod error;
mod instant;
mod interval;
mod pause;
mod sleep;
mod timeout;

pub use std::time::Duration;

pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use pause::{advance, pause, resume};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Timeout, timeout, timeout_at};
