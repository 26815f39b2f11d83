//! L5: pipes, with and without a name.
//!
//! [`pipe`](pipe()) makes one: what is written to the [`Sender`] comes out of the [`Receiver`], in this process or in another
//! one that has inherited an end. [`OpenOptions`] opens a FIFO, a pipe with a name in the file system. Names are tokio's; as
//! everywhere, an operation takes its buffer by value and gives it back (see [`buf`](crate::buf)).
//!
//! The ends do not need to be non-blocking and are not made so: another process that shares one is not disturbed.
//!
//! ```
//! # ringtoss::block_on(async {
//! use ringtoss::pipe;
//!
//! let (mut sender, mut receiver) = pipe::pipe()?;
//! let writing = ringtoss::spawn(async move {
//!     sender.write_all("down the pipe").await.0
//!     // The sender goes here, and the receiver meets the end.
//! });
//! let (result, text) = receiver.read_to_end(Vec::new()).await;
//! result?;
//! assert_eq!(text, b"down the pipe");
//! writing.await??;
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
//!
//! # What happens when an operation is dropped
//!
//! As with [`fs::File`](crate::fs): bytes that a dropped read brings come out of the next read, in order, and so do the end
//! and errors. A dropped write may have been taken in part; the next write waits until that is known, and
//! [`Sender::take_dropped_write`] tells.

mod options;
mod receiver;
mod sender;

use std::io;
use std::os::fd::RawFd;

pub use options::OpenOptions;
pub use receiver::Receiver;
pub use sender::Sender;

use crate::sys;

/// Makes a pipe: `pipe2(2)`, a direct call. Both ends are closed on exec. (The ring has an entry for it since Linux 6.16. It would
/// make this a future and save nothing that can be measured but where many pipes are made at once, then 8 %.)
///
/// # Errors
/// Those of the call: too many open files.
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (reader, writer) = io::pipe()?;
    Ok((Sender::from(writer), Receiver::from(reader)))
}

/// What a descriptor has to be.
#[derive(Clone, Copy)]
enum End {
    Reading,
    Writing,
}

/// # Errors
/// `InvalidInput` if the descriptor is no pipe, or not open for that.
fn check(fd: RawFd, end: End) -> io::Result<()> {
    let refused = |reason| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !sys::is_pipe(fd) {
        return refused("not a pipe");
    }
    match (end, sys::status_flags(fd)? & libc::O_ACCMODE) {
        (_, libc::O_RDWR) | (End::Reading, libc::O_RDONLY) | (End::Writing, libc::O_WRONLY) => Ok(()),
        (End::Reading, _) => refused("not in O_RDONLY or O_RDWR access mode"),
        (End::Writing, _) => refused("not in O_WRONLY or O_RDWR access mode"),
    }
}
