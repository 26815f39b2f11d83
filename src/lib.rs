//! A completion-based event loop for Linux.
#[cfg(not(target_os = "linux"))]
compile_error!("ringtoss is built on io_uring and runs on Linux only (6.1 or newer)");

mod blocking;
pub mod buf;
mod clock;
mod context;
mod convert;
mod driver;
mod event_loop;
mod executor;
mod fd;
pub mod fs;
#[cfg(test)]
mod house;
mod inbox;
mod mail;
pub mod net;
pub mod op;
mod registry;
mod ring;
mod salvage;
mod slot;
mod sys;
pub mod task;
pub mod time;
mod timer;
mod token;

pub use blocking::spawn_blocking;
pub use driver::Metrics;
pub use event_loop::{Builder, EventLoop, Handle, block_on, metrics, spawn};
pub use task::{AbortHandle, JoinError, JoinHandle, yield_now};
pub use token::{CancellationToken, DropGuard, WaitForCancellation, WaitForCancellationOwned};
