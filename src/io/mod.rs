//! L5: I/O beside files and sockets: [`AsyncFd`], for descriptors of other libraries.

mod async_fd;
mod interest;

pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
pub use interest::{Interest, Ready};
