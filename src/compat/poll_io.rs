//! Any object for traits that lend their buffers.

use std::fmt;
use std::io::{self, IoSlice, SeekFrom};
use std::task::{Context, Poll};

use super::socket::Writes;
use super::way::{PollRead, PollSeek, PollWrite, Readable, Seekable, Way, Wrap, Writable};

/// An object with the poll-based traits of others, which lend their buffers; nothing that is lent is lent to the kernel. The
/// [module](crate::compat) says which object has which traits, and how each reads and writes.
///
/// A poll that was not ready has done nothing: the next one may bring another buffer, of another length, and may come from another
/// task, or another loop, too. Who polled last is woken, for each direction. What a poll has begun (a read that was not
/// ready) is ended by the loop on which it was begun; polled on another loop, it waits for that one, which has to run
/// or to have ended: not to be kept without being run, nor be blocked by a task.
///
/// # What a write promises
/// Written bytes may be the adapter's for a while, never for longer than until the loop enters the kernel next and the kernel has
/// room; **they go without a flush, and also if this is dropped**. There is at most one such write under way, of at most 16 KiB for a
/// socket, 256 KiB for a file, and 4 KiB for what has neither readiness nor a position; the next one waits for it. Larger
/// writes to sockets, all to pipes (Linux 6.4 and newer), and those that a file system takes without waiting are handed to the kernel
/// at once, and are reported as taken only when and as far as it took them.
///
/// * An **error** that such a write meets is that of the next write, flush or shutdown, once. One that a **socket** does not recover
///   from (its peer is gone: `BrokenPipe`, `ConnectionReset`, `ConnectionAborted`, `TimedOut`), whichever write meets it, is that of
///   all writes, flushes and shutdowns that follow, until [`into_inner`](PollIo::into_inner): nothing is taken any more that could
///   not be sent. A socket whose peer is gone and that nobody has written to since may be shut down, as with tokio.
/// * A **flush** waits until the kernel has it (its page cache or its socket's buffer), a **shutdown** too, and then ends the
///   direction, where there is one to end: that of a socket, whose writes fail from then on (`BrokenPipe`). A pipe ends when its last
///   writer is dropped. Twice is as good as once.
/// * **Dropped**, the object is closed when the kernel has it. A TCP peer that takes nothing has a minute (`TCP_USER_TIMEOUT`, unless
///   that is set), one of another kind as long as it is there. The loop's end waits for it, at most for
///   [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout). A process that exits at once, without a flush or the loop's end,
///   loses it.
/// * After [`into_inner`](PollIo::into_inner) it is a write of the object's own that was dropped: the next write waits for it, and
///   `take_dropped_write` tells its fate. It is not cancelled when the object is dropped.
///
/// A writer, or reader, that never has to wait is told to once in a while, so that the other tasks have their turn.
///
/// # Panics
/// Polls that have to wait, where no loop runs.
pub struct PollIo<S: Wrap> {
    pub(super) way: S::Way,
}

impl<S: Wrap> PollIo<S> {
    /// Wraps an object.
    pub fn new(object: S) -> PollIo<S> {
        PollIo { way: Way::wrap(object) }
    }

    /// The object, for its options and addresses. What it reads or writes by itself meanwhile is not ordered with what is read and
    /// written here; flush before `sync_all`.
    pub fn get_ref(&self) -> &S {
        self.way.source()
    }

    /// The object again. What had arrived and was not read comes out of its next read; the position of a file is where the last
    /// read or write ended. What was written and the kernel does not have yet goes on: see above.
    pub fn into_inner(self) -> S {
        self.way.unwrap()
    }
}

impl<S: Wrap<Way: Writes<S>>> PollIo<S> {
    /// Wraps a socket each of whose writes is handed to the kernel at once (`send(2)`, which does not wait), and is reported as
    /// taken only then: nothing is buffered, an error is that of the write that met it, and there is nothing to flush. The price is
    /// a system call a write, see the [module](crate::compat) for figures.
    pub fn direct(socket: S) -> PollIo<S> {
        let mut this = PollIo::new(socket);
        this.way.writer().send_at_once();
        this
    }
}

// ---- what the traits are made of, for those that this crate does not know -------------------------------------

impl<S: Readable> PollIo<S> {
    /// The bytes that have been received and not been consumed, at least one, or none at the end.
    ///
    /// # Errors
    /// Those of `recv(2)` or `read(2)`.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.way.poll_fill(cx)
    }

    /// Forgets the first bytes of those that [`poll_fill`](PollIo::poll_fill) has given.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn consume_bytes(&mut self, count: usize) {
        self.way.consume(count);
    }

    /// Reads what there is, up to so many bytes.
    #[cfg(any(feature = "tokio", feature = "hyper"))]
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        put: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = std::task::ready!(self.way.poll_fill(cx))?;
        let count = bytes.len().min(room);
        put(&bytes[..count]);
        self.way.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: Writable> PollIo<S> {
    /// Writes some of the bytes, and gives how many.
    ///
    /// # Errors
    /// Those of `send(2)` or `write(2)`.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.way.poll_write(cx, &[IoSlice::new(bytes)])
    }

    /// The same from several slices, one after the other, of which the first 1,024 are used.
    ///
    /// # Errors
    /// Those of `sendmsg(2)` or `writev(2)`.
    pub fn poll_send_vectored(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.way.poll_write(cx, slices)
    }

    /// Waits until the kernel has everything that was written.
    ///
    /// # Errors
    /// That of a write that was taken before.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.way.poll_flush(cx)
    }

    /// The same, and ends the writing direction of a socket; twice is as good as once: `shutdown(2)`.
    ///
    /// # Errors
    /// Those of the call, and as [`poll_sent`](PollIo::poll_sent).
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.way.poll_end(cx)
    }
}

impl<S: Seekable> PollIo<S> {
    /// Moves the position, behind what was written, and gives the new one, in bytes from the start: `lseek(2)`. A poll that was not
    /// ready has not moved it.
    ///
    /// # Errors
    /// Those of the call: `InvalidInput` for a position before the start, `NotSeekable` for what has none.
    pub fn poll_position(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.way.poll_seek(cx, to)
    }
}

impl<S: Wrap + fmt::Debug> fmt::Debug for PollIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PollIo").field(self.get_ref()).finish()
    }
}
