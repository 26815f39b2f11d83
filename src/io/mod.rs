//! L5: the process's own input and output, and [`AsyncFd`] for descriptors of other libraries.

mod async_fd;
mod interest;
mod stdio;

pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
pub use interest::{Interest, Ready};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
