//! L5: starting other programs, talking to them, and waiting for them, with tokio's and std's names.
//!
//! ```
//! # ringtoss::block_on(async {
//! use ringtoss::process::Command;
//! use std::process::Stdio;
//!
//! let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//! child.stdin.take().unwrap().write_all("there and back").await.0?;
//! let output = child.wait_with_output().await?;
//! assert!(output.status.success());
//! assert_eq!(output.stdout, b"there and back");
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
//!
//! # How the end of a child is awaited
//!
//! By `IORING_OP_WAITID` (Linux 6.7), and below that by `IORING_OP_POLL_ADD` on a `pidfd_open(2)`. Both only tell that it has
//! ended; its status is taken by std's [`Child`](std::process::Child), which is inside, in one call that does not wait. So no
//! `SIGCHLD` handler is installed, no status of any other child is ever taken, and a wait that is dropped has taken nothing.
//!
//! # No zombies
//!
//! A [`Child`] that is dropped while its program runs is not killed, unless [`Command::kill_on_drop`] says so. It is handed to
//! a thread of this crate's, which is there only while there are such children, and which reaps each when it ends, whether
//! or not any loop still runs. Only a `Child` that is leaked (`mem::forget`) leaves a zombie.
//!
//! # How long starting one takes
//!
//! [`Command::spawn`] is a direct call, as with tokio: the thread waits until the kernel has loaded the program. Measured with
//! `true` in the page cache, on a small virtual machine: 0.1 ms with `posix_spawn(3)`, however much memory this process has;
//! 0.2 ms with `fork(2)`, which std uses where a user, a group or a function to run before is set, and 33 ms with 1 GiB of
//! memory to be forked. A thread of the pool adds 0.05 to 0.7 ms to that, and is what `PR_SET_PDEATHSIG` then goes by. So calls are
//! direct, and where they may take long, because the disk is slow or the memory to be forked is large,
//! [`Command::spawn_on_pool`] makes them on the blocking pool.

mod child;
mod command;
mod ended;
mod orphans;
mod stdio;

pub use child::Child;
pub use command::Command;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};
