//! Two ends connected in memory.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::read::no_capacity;
use super::{Read, Split, Write};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoBufMutExt};

/// One end of a connection in memory, made by [`duplex`].
///
/// Its two ends may be on different threads, on any executor. Futures dropped early have done nothing: bytes move in
/// one poll. Dropping an end is the end of the stream for the other, whose writes fail with `BrokenPipe`.
pub struct DuplexStream {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

/// Connects two ends in memory, each of which holds at most so many bytes that were not read yet (at least one).
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::io::{self, Read, Write};
/// let (mut one, mut other) = io::duplex(64);
/// one.write_all("ping").await.0?;
/// let (result, buf) = other.read(Vec::with_capacity(64)).await;
/// assert_eq!((result?, &buf[..]), (4, &b"ping"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub fn duplex(max_bytes: usize) -> (DuplexStream, DuplexStream) {
    let (there, back) = (Arc::new(Pipe::new(max_bytes)), Arc::new(Pipe::new(max_bytes)));
    let one = DuplexStream { incoming: back.clone(), outgoing: there.clone() };
    (one, DuplexStream { incoming: there, outgoing: back })
}

/// One direction.
struct Pipe {
    max_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn new(max_bytes: usize) -> Pipe {
        Pipe { max_bytes: max_bytes.max(1), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing of the user's runs under the lock but looks at a buffer.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_read<B: IoBufMut>(&self, cx: &Context<'_>, buf: &mut B) -> Poll<io::Result<usize>> {
        if buf.buf_capacity() == 0 {
            return Poll::Ready(Err(no_capacity()));
        }
        let waker = cx.waker().clone();
        let mut inner = self.lock();
        if inner.bytes.is_empty() && !inner.writer_gone {
            let old = inner.reader.replace(waker);
            drop(inner);
            drop(old);
            return Poll::Pending;
        }
        let count = buf.fill_from(inner.bytes.as_slices().0);
        inner.bytes.drain(..count);
        let writer = inner.writer.take();
        drop(inner);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    /// The buffer is borrowed mutably, because it need not be `Sync`.
    fn poll_write<B: IoBuf>(&self, cx: &Context<'_>, buf: &mut B) -> Poll<io::Result<usize>> {
        let bytes = buf.buf_slice();
        let waker = cx.waker().clone();
        let mut inner = self.lock();
        if inner.reader_gone || inner.writer_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.max_bytes - inner.bytes.len();
        if room == 0 && !bytes.is_empty() {
            let old = inner.writer.replace(waker);
            drop(inner);
            drop(old);
            return Poll::Pending;
        }
        let count = room.min(bytes.len());
        inner.bytes.extend(&bytes[..count]);
        let reader = inner.reader.take();
        drop(inner);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    async fn read<B: IoBufMut>(&self, mut buf: B) -> BufResult<usize, B> {
        let result = poll_fn(|cx| self.poll_read(cx, &mut buf)).await;
        if result.is_err() {
            buf.fill_from(&[]);
        }
        (result, buf)
    }

    async fn write<B: IoBuf>(&self, mut buf: B) -> BufResult<usize, B> {
        let result = poll_fn(|cx| self.poll_write(cx, &mut buf)).await;
        (result, buf)
    }

    /// Notes that an end is gone, and wakes the other.
    fn leave(&self, which: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        which(&mut inner);
        let wakers = [inner.reader.take(), inner.writer.take()];
        drop(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.incoming.leave(|inner| inner.reader_gone = true);
        self.outgoing.leave(|inner| inner.writer_gone = true);
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream").finish_non_exhaustive()
    }
}

/// The half that reads of a borrowed [`DuplexStream`].
pub struct DuplexReader<'a>(&'a Pipe);

/// The half that writes of a borrowed [`DuplexStream`].
pub struct DuplexWriter<'a>(&'a Pipe);

impl fmt::Debug for DuplexReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for DuplexWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexWriter").finish_non_exhaustive()
    }
}

impl Split for DuplexStream {
    type Reader<'a> = DuplexReader<'a>;
    type Writer<'a> = DuplexWriter<'a>;

    fn split(&mut self) -> (DuplexReader<'_>, DuplexWriter<'_>) {
        (DuplexReader(&self.incoming), DuplexWriter(&self.outgoing))
    }
}

impl Read for DuplexReader<'_> {
    fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        self.0.read(buf)
    }
}

impl Write for DuplexWriter<'_> {
    fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        self.0.write(buf)
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.0.leave(|inner| inner.writer_gone = true);
        ready(Ok(()))
    }
}

impl Read for DuplexStream {
    fn read<B: IoBufMut + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        self.incoming.read(buf)
    }
}

impl Write for DuplexStream {
    fn write<B: IoBuf + Send>(&mut self, buf: B) -> impl Future<Output = BufResult<usize, B>> + Send {
        self.outgoing.write(buf)
    }

    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        self.outgoing.leave(|inner| inner.writer_gone = true);
        ready(Ok(()))
    }
}
