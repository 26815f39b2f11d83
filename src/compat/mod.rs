//! L6: the poll-based traits of others, so that libraries written for them run here unchanged.
//!
//! | feature | what it gives |
//! |---|---|
//! | `futures-io` | `AsyncRead`, `AsyncBufRead`, `AsyncWrite`, `AsyncSeek` of futures for [`PollIo`] |
//! | `tokio` | the traits of the same names of tokio (the traits only, no runtime) |
//! | `tokio-guest` | a loop inside a tokio runtime, and futures that need one inside a loop: `compat::tokio` |
//! | `hyper` | hyper's `Read` and `Write` for [`PollIo`], its executor and its timer in `compat::hyper` |
//!
//! [`PollIo`] wraps a stream, a file or one end of something. It is `Send + Sync`, so what is built on it may be sent to other
//! threads as far as it allows. [`Guest`] is a loop inside the loop of another library, on the same thread. `docs/porting.md` in
//! the repository goes through tokio's names, and lists the libraries that were tried.
//!
//! # What is done how, and why
//!
//! | object | traits | how it reads | how it writes |
//! |---|---|---|---|
//! | `TcpStream`, `UnixStream` | reading, writing | one submission (multishot receive) serves many reads: what arrives lies in buffers of the loop's; `AsyncBufRead` lends them, others copy from there once | up to 16 KiB are copied, and sent when the loop enters the kernel next, with everybody else's; more by `send(2)`, which does not wait. [`PollIo::direct`]: always by `send(2)` |
//! | `OwnedReadHalf`, `OwnedWriteHalf` | their direction | the same | the same; dropped, the direction ends behind what was written |
//! | `pipe::Receiver`, `ChildStdout`, `ChildStderr` | reading | `preadv2(2)` with `RWF_NOWAIT`, to the caller's memory; where nothing is there, `IORING_OP_POLL_ADD` first; where that is not known (Linux before 6.4, ends that were cloned), `IORING_OP_READ` to memory of the adapter's, of no more than was asked for | |
//! | `pipe::Sender`, `ChildStdin` | writing | | the same with `pwritev2(2)`; where that is not known, 4 KiB are copied for `IORING_OP_WRITE`: a pipe takes those as a whole |
//! | `Stdin`, `Stdout`, `Stderr` | their direction | always by the ring: handles take turns | the same: 4 KiB at once, of a file 256 KiB |
//! | `fs::File` | reading, writing, seeking | `preadv2(2)` with `RWF_NOWAIT`: what is cached, to the caller's memory; the rest by `IORING_OP_READ` to memory of the adapter's | `pwritev2(2)` with `RWF_NOWAIT` where the file system does it (xfs, btrfs), on clones never; elsewhere (ext4) up to 256 KiB are copied for `IORING_OP_WRITE` |
//!
//! Writing is vectored everywhere. A file that was read ahead (for `AsyncBufRead`) is put back to where its caller is before it is
//! written to, sought, given back or dropped, as with tokio and async-fs; there is one position, and clones share it.
//!
//! Streams whose bytes nobody reads hold some tens of the loop's buffers each; if that is all there are
//! ([`Builder::lease_buffers`](crate::Builder::lease_buffers)), the others read through buffers of their own, which costs them an
//! allocation a read, and nobody waits. Apart from that, reads and writes allocate nothing.
//!
//! Why writes of sockets go with the turn: at 500 connections of hyper's HTTP/1.1 "hello", CPU time per request was 0.85 to 0.87 of
//! tokio's that way, and 0.97 to 1.04 with a system call each; at 1 and 50 connections the two are level. `docs/porting.md` has the
//! table.
//!
//! ```
//! # #[cfg(feature = "futures-io")] {
//! # ringtoss::block_on(async {
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use ringtoss::compat::PollIo;
//! use ringtoss::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut client = PollIo::new(TcpStream::connect(listener.local_addr()?).await?);
//! let mut server = PollIo::new(listener.accept().await?.0);
//! client.write_all(b"borrowed").await?;
//! let mut buf = [0; 8];
//! server.read_exact(&mut buf).await?;
//! assert_eq!(&buf, b"borrowed");
//! # std::io::Result::Ok(()) }).unwrap();
//! # }
//! ```

mod file;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
mod poll_io;
mod socket;
#[cfg(feature = "tokio")]
pub mod tokio;
mod way;

pub use crate::event_loop::Guest;
pub use poll_io::PollIo;
pub use way::{Readable, Seekable, Wrap, Writable};
