//! A completion-based event loop for Linux: one thread, one io_uring, many futures.
//!
//! Tasks toss submissions into the ring; each turn the loop enters the kernel, harvests the completions and wakes
//! the futures whose operations have finished. Nothing polls for readiness to do I/O.
//!
//! ```text
//!   ┌──────────────────────────── one turn ────────────────────────────┐
//!   │ 1  take in what other threads have left (wakes, spawns, drops)   │
//!   │ 2  poll the tasks that are ready; their operations stage entries │
//!   │ 3  fire timers that are due                                      │
//!   │ 4  enter the kernel: submit everything, and wait, if there is    │
//!   │    nothing else to do, for a completion or the next deadline     │
//!   │ 5  harvest every completion, wake the futures                    │
//!   └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! # Quick start
//!
//! ```
//! use ringtoss::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! ringtoss::block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let echo = ringtoss::spawn(async move {
//!         let (mut stream, _) = listener.accept().await?;
//!         let (result, buf) = stream.read(Vec::with_capacity(64)).await;
//!         result?;
//!         stream.write_all(buf).await.0
//!     });
//!     let mut stream = TcpStream::connect(address).await?;
//!     stream.write_all("over the ring").await.0?;
//!     let (result, buf) = stream.read_exact(Vec::with_capacity(13), 13).await;
//!     result?;
//!     assert_eq!(buf, b"over the ring");
//!     echo.await?
//! })
//! # }
//! ```
//!
//! # What to know when coming from tokio
//!
//! * Names are tokio's, and std's where tokio has none. Reads and writes take their **buffer by value** and give it back
//!   with the result, because the kernel writes into it whether or not anybody still waits: see [`buf`].
//! * **Dropping a future is safe and loses nothing**: what a dropped read, receive or accept brings comes out of the next
//!   one, and the fate of a dropped write is known before the next write begins. `select!` as you do. See [`op`].
//! * I/O types, sleeps, operations and join handles are `Send` when their contents are; [`spawn`] takes futures that are
//!   not. A loop stays on its thread; [`Handle`] is how others reach it.
//! * There are no channels, mutexes or `select!` here: those of tokio, futures and async-channel work on any loop.
//!
//! # Modules, from the bottom up
//!
//! | layer | modules | what they are |
//! |---|---|---|
//! | L0 | `sys`, `ring`, [`buf`] | the system calls, the ring, the buffers that the kernel may touch |
//! | L1 | `slot`, `timer`, `clock`, `mail`, `inbox`, `registry`, `salvage` | what a loop is made of |
//! | L2 | `driver`, `context`, `fd` | the loop as operations see it |
//! | L3 | [`op`], [`task`] | operations and tasks |
//! | L4 | `executor`, `blocking` | who runs when, and where calls go that block |
//! | L5 | `event_loop`, [`fs`], [`futex`], [`net`], [`pipe`], [`process`], [`signal`], [`time`] | what people use |
//! | L6 | [`io`] | readers and writers of every kind |
//! | L6 | [`compat`] | the poll-based traits of futures, tokio and hyper; a loop inside the loop of another library |
//!
//! # Where it runs
//!
//! Linux 6.1 or newer. Where io_uring is denied, [`EventLoop::new`] says which of seccomp, `kernel.io_uring_disabled`,
//! limits or kernel release it was, and the fix.
#[cfg(not(target_os = "linux"))]
compile_error!("ringtoss is built on io_uring and runs on Linux only (6.1 or newer)");

/// What the README shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

// So that what the tests share has one name for it.
#[cfg(test)]
extern crate self as ringtoss;

mod blocking;
pub mod buf;
mod clock;
pub mod compat;
mod context;
mod convert;
mod driver;
mod event_loop;
mod executor;
#[cfg(test)]
#[allow(unsafe_code, reason = "a buffer that counts")]
mod fault_tests;
mod fd;
pub mod fs;
pub mod futex;
#[cfg(any(fuzzing, all(test, not(loom))))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod inbox;
pub mod io;
mod mail;
pub mod net;
pub mod op;
#[cfg(test)]
#[path = "../tests/patience/mod.rs"]
mod patience;
pub mod pipe;
pub mod process;
mod registered;
mod registry;
mod ring;
mod salvage;
pub mod signal;
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
pub use token::{CancellationToken, DropGuard, DropGuardRef, WaitForCancellation, WaitForCancellationOwned};
