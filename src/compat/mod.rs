//! L6: the poll-based traits of others, so that libraries written for them run here unchanged.
//!
//! | feature | what it gives |
//! |---|---|
//! | `futures-io` | `AsyncRead`, `AsyncBufRead`, `AsyncWrite` of futures for [`PollIo`] |
//! | `tokio` | the traits of the same names of tokio (the traits only, no runtime) |
//! | `tokio-guest` | a loop inside a tokio runtime, and futures that need one inside a loop: `compat::tokio` |
//! | `hyper` | hyper's `Read` and `Write` for [`PollIo`], its executor and its timer in `compat::hyper` |
//!
//! [`PollIo`] wraps a stream. It is `Send + Sync`, so what is built on it may be sent to other threads as far as it allows.
//! [`Guest`] is a loop inside the loop of another library, on the same thread.
//! `docs/porting.md` in the repository goes through tokio's names, and lists the libraries that were tried.
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

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
mod poll_io;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use crate::event_loop::Guest;
pub use poll_io::PollIo;
