//! The traits of tokio, for [`PollIo`]. With the feature `tokio-guest` also what has to do with its runtime: a loop inside of it
//! (`Guest`), and its context inside of a loop (`in_context`).

#[cfg(feature = "tokio-guest")]
mod guest;
#[cfg(feature = "tokio-guest")]
mod host;

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::PollIo;
use super::way::{PollRead, PollSeek, Readable, Seekable, Writable};
#[cfg(feature = "tokio-guest")]
pub use {
    guest::Guest,
    host::{in_context, in_context_of},
};

/// How much of a caller's memory is made fit for a direct read at once.
const ROOM_BYTES: usize = 256 * 1024;

impl<S: Readable> AsyncRead for PollIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !S::Way::DIRECT {
            return this.poll_read_into(cx, buf.remaining(), |bytes| buf.put_slice(bytes)).map_ok(drop);
        }
        if buf.remaining() > 0 {
            let into = buf.initialize_unfilled_to(buf.remaining().min(ROOM_BYTES));
            let count = ready!(this.way.poll_read(cx, into))?;
            buf.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Readable> AsyncBufRead for PollIo<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_fill(cx)
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().consume_bytes(count);
    }
}

impl<S: Writable> AsyncWrite for PollIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sent(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

impl<S: Seekable> AsyncSeek for PollIo<S> {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.get_mut().way.start_seek(to);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.get_mut().way.poll_sought(cx)
    }
}
