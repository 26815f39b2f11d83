//! L6: bytes between readers and writers, the process's own ([`stdin`], [`stdout`], [`stderr`]), and the readiness of
//! descriptors of other libraries ([`AsyncFd`]).
//!
//! [`Read`] and [`Write`] are what tokio's `AsyncRead` and `AsyncWrite` are, with buffers by value, as everywhere in
//! this crate (see [`buf`](crate::buf)): code that is generic over them works with files, streams, their halves, pipes,
//! memory ([`duplex()`], slices, vectors), and what is built of those. The methods have the names and the meaning that
//! files and streams have by themselves.
//!
//! ```
//! use ringtoss::io::{self, Read, Write};
//!
//! /// Echoes one message, whatever the connection is.
//! async fn echo<S: Read + Write>(stream: &mut S) -> std::io::Result<()> {
//!     let (result, buf) = stream.read(Vec::with_capacity(1024)).await;
//!     result?;
//!     stream.write_all(buf).await.0
//! }
//!
//! ringtoss::block_on(async {
//!     let (mut client, mut server) = io::duplex(64);
//!     client.write_all("hello").await.0?;
//!     echo(&mut server).await?;
//!     let (result, buf) = client.read_exact(Vec::with_capacity(5), 5).await;
//!     result?;
//!     assert_eq!(buf, b"hello");
//!     std::io::Result::Ok(())
//! }).unwrap();
//! ```
//!
//! # Generic code and threads
//!
//! A bound on the future of a trait's method cannot be written where the trait is used, so it is written in the traits:
//! what implements them is `Send`, so are the buffers that are given to them, and so are their futures. Hence generic
//! code, too, may be spawned anywhere, [`Handle::spawn`](crate::Handle::spawn) and other executors included:
//!
//! ```
//! use ringtoss::io::{self, Read, Write};
//!
//! fn relay<R, W>(to: &ringtoss::Handle, mut reader: R, mut writer: W) -> ringtoss::JoinHandle<std::io::Result<u64>>
//! where
//!     R: Read + 'static,
//!     W: Write + 'static,
//! {
//!     to.spawn(async move { io::copy(&mut reader, &mut writer).await })
//! }
//! # let event_loop = ringtoss::EventLoop::new().unwrap();
//! # let relayed = relay(&event_loop.handle(), &b"bytes"[..], io::sink());
//! # assert_eq!(event_loop.block_on(relayed).unwrap().unwrap(), 5);
//! ```
//!
//! A buffer that is not `Send` (of reference-counted pages, say) goes to the methods of the types themselves, which
//! take any.
//!
//! # What tokio has and this has not
//!
//! * `BufStream`: `BufReader::new(BufWriter::new(stream))` is one, because each passes on what is not its own.
//! * `copy_buf`, `copy_bidirectional_with_sizes`: [`copy()`] lets its buffer grow to what the reads bring, and a large read of
//!   a [`BufReader`] goes past its buffer.
//! * `simplex`: one direction of a [`duplex()`], or a [`pipe`](crate::pipe::pipe()).
//! * `split` of anything: [`Split`] of what has two directions, without a lock.
//! * `write_buf`, `write_all_buf`, and the `poll_` methods: buffers go by value, see [`buf`](crate::buf); for borrowed ones there
//!   is [`compat`](crate::compat).
//! * `AsyncFd::try_new`, `try_with_interest`: making an [`AsyncFd`] cannot fail.
//!
//! # What happens when a future is dropped
//!
//! What files and streams do by themselves is safe at any moment: see [`op`](crate::op). What the traits add is told of
//! each method and type; [`BufReader`], [`BufWriter`] and [`DuplexStream`] lose nothing either. What loses something
//! are the methods that come with a trait by themselves and take several steps (`read_exact`, `read_to_end`,
//! `write_all` of a reader or writer of your own), and [`copy()`] when it is dropped rather than ended by a limit.
/// The methods of a reader inside.
macro_rules! forward_read {
    ($field:ident) => {
        fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
            self.$field.read(buf)
        }

        fn read_append<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
            self.$field.read_append(buf)
        }

        fn read_exact<B: IoBufMut + Send>(
            &mut self,
            buf: B,
            len: usize,
        ) -> impl Future<Output = BufResult<usize, B>> + Send {
            self.$field.read_exact(buf, len)
        }

        fn read_vectored<V: IoVecBufMut + Send>(
            &mut self,
            bufs: V,
        ) -> impl Future<Output = BufResult<usize, V>> + Send {
            self.$field.read_vectored(bufs)
        }

        fn read_to_end(&mut self, buf: Vec<u8>) -> impl Future<Output = BufResult<usize, Vec<u8>>> + Send {
            self.$field.read_to_end(buf)
        }

        fn read_array<const N: usize>(&mut self) -> impl Future<Output = io::Result<[u8; N]>> + Send {
            self.$field.read_array()
        }
    };
}

/// The methods of a writer inside.
macro_rules! forward_write {
    ($field:ident) => {
        fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
            self.$field.write(buf)
        }

        fn write_all<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<(), B>> + Send {
            self.$field.write_all(buf)
        }

        fn write_vectored<V: IoVecBuf + Send>(&mut self, bufs: V) -> impl Future<Output = BufResult<usize, V>> + Send {
            self.$field.write_vectored(bufs)
        }

        fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
            self.$field.flush()
        }

        fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
            self.$field.shutdown()
        }

        fn take_dropped_write(&mut self) -> impl Future<Output = Option<io::Result<usize>>> + Send {
            self.$field.take_dropped_write()
        }

        fn write_array<const N: usize>(&mut self, bytes: [u8; N]) -> impl Future<Output = io::Result<()>> + Send {
            self.$field.write_array(bytes)
        }
    };
}

mod adapters;
mod async_fd;
mod buf_reader;
mod buf_writer;
mod copy;
mod duplex;
mod interest;
mod memory;
mod objects;
mod outbox;
mod progress;
mod read;
mod splice;
mod split;
mod stdio;
mod write;

pub use adapters::{Chain, Take};
pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
pub use buf_reader::{BufReader, Lines, Segments};
pub use buf_writer::BufWriter;
pub use copy::{Copy, CopyBidirectional, copy, copy_bidirectional};
pub use duplex::{DuplexReader, DuplexStream, DuplexWriter, duplex};
pub use interest::{Interest, Ready};
pub use memory::{Empty, Repeat, Sink, empty, repeat, sink};
pub use read::Read;
pub use splice::{Splice, SpliceBidirectional, SpliceFrom, SpliceTo, splice, splice_bidirectional, tee};
pub use split::{Join, Split, join};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use write::Write;
