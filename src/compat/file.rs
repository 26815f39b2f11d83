//! Files, pipes, terminals: what is read and written at a position or has none, and knows of no readiness, or not always.
//!
//! First the kernel is asked for what it can do without waiting (`RWF_NOWAIT`), straight to or from the caller's memory: what is
//! cached, or in a pipe. Where that is nothing, a pipe is waited for, and everything else is read by the ring to memory of the
//! adapter's. Where the kernel cannot say (it depends on the file system, and for pipes on Linux 6.4), the ring does all.

use std::future::Future;
use std::io::{self, IoSlice, SeekFrom};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::way::{Calls, PollRead, PollSeek, PollWrite, Settling, Wait, Way, copy};
use crate::buf::{IoBufExt, Slice};
use crate::fd::{Fd, HasFd};
use crate::op::{All, Kept, Operation, PollAdd, Promise, Promising, Read, Seek, Write};
use crate::sys;

/// How much is read at once on behalf of `AsyncBufRead`.
const FILL_BYTES: usize = 64 * 1024;
/// How much is read or written at once in any case, so that others have their turn.
const CALL_BYTES: usize = 512 * 1024;
/// How much of a write the adapter takes.
pub(super) const WRITE_BYTES: usize = 256 * 1024;
/// The same of what is not a file: as much as a pipe takes as a whole or not at all (`PIPE_BUF`). A part that is left would wait
/// until somebody asks.
pub(super) const PIPE_BYTES: usize = 4096;

/// Directions.
pub struct In;
pub struct Out;
pub struct Both;

pub trait Incoming: Send + Sync + Unpin {}
pub trait Outgoing: Send + Sync + Unpin {}
impl Incoming for In {}
impl Incoming for Both {}
impl Outgoing for Out {}
impl Outgoing for Both {}

/// What a call that does not wait has given.
enum Now<T> {
    Done(T),
    /// The ring is to do it.
    NotSo,
}

pub struct Positioned<S: HasFd, D> {
    /// Declared first, so that they are cancelled before the descriptor is closed.
    readable: Wait,
    room: Wait,
    reading: Kept<S, Read<Slice<Vec<u8>>>>,
    seeking: Kept<S, Seek>,
    /// What is sought, if anything is.
    sought: Option<SeekFrom>,
    /// What was taken and is being written.
    writing: Promising<S, All<Write<Vec<u8>>>>,
    /// What was read ahead; `start` bytes of it were consumed.
    ahead: Vec<u8>,
    start: usize,
    /// The memory of a write, between two.
    spare: Vec<u8>,
    /// What a write met that was waited for by somebody else than a writer.
    failed: Option<io::Error>,
    settling: Settling,
    reads: Calls,
    writes: Calls,
    /// Whether it has a position.
    seekable: bool,
    /// Whether the kernel can be asked for what does not wait.
    reads_now: bool,
    writes_now: bool,
    direction: PhantomData<D>,
}

impl<S: HasFd, D> Positioned<S, D> {
    fn fd(&self) -> &Fd {
        self.reading.source().ring_fd()
    }

    /// Whether dropped operations, or clones, have a say in what comes next: then the ring asks them.
    fn is_alone(&self) -> bool {
        self.fd().salvage_if_made().is_none_or(|salvage| !salvage.is_active())
    }

    fn unread(&self) -> &[u8] {
        &self.ahead[self.start..]
    }

    /// Gives back what was read ahead.
    fn give_back(&mut self) {
        self.reading.cancel();
        let unread = self.unread();
        if !unread.is_empty() {
            if !self.seekable {
                let bytes = unread.to_vec();
                self.fd().salvage().put_back(bytes);
            } else {
                // It fails where somebody else has moved the position, which is where they want it.
                let _ = sys::seek_back(self.fd().raw(), unread.len() as u64);
            }
        }
        self.ahead.clear();
        self.start = 0;
    }

    /// Waits until the kernel has what was taken.
    #[inline]
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.withdraw();
        if self.writing.is_busy() {
            let (result, bytes) = ready!(self.writing.poll(cx));
            self.spare = bytes;
            result?;
        }
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }

    /// Before a read or a seek: the position has to be where a write leaves it. What that met is told to who writes.
    fn poll_written_before(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.seekable && self.writing.is_busy() {
            self.failed = ready!(self.poll_written(cx)).err();
        }
        Poll::Ready(())
    }

    /// Takes in what the ring has read.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (result, slice) = ready!(self.reading.poll(cx));
        self.ahead = slice.into_inner();
        self.start = 0;
        if result.is_err() {
            self.ahead.clear();
        }
        Poll::Ready(result)
    }

    /// Has the ring read so many bytes to the memory of what was read ahead.
    fn start_reading(&mut self, len: usize) {
        let mut bytes = std::mem::take(&mut self.ahead);
        bytes.clear();
        self.start = 0;
        bytes.reserve(len);
        let read = Read::some(self.fd(), bytes.slice(..len));
        self.reading.start(read);
    }

    /// Tries a call that does not wait, and waits for a pipe.
    fn poll_now<T>(
        &mut self,
        cx: &mut Context<'_>,
        reads: bool,
        mut call: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> Poll<io::Result<Now<T>>> {
        loop {
            let wait = if reads { &mut self.readable } else { &mut self.room };
            if let Some(operation) = wait {
                let ready = ready!(Pin::new(operation).poll(cx));
                *wait = None;
                ready?;
            }
            let calls = if reads { &mut self.reads } else { &mut self.writes };
            ready!(calls.poll_next(cx));
            let error = match call(self) {
                Ok(result) => return Poll::Ready(Ok(Now::Done(result))),
                Err(error) => error,
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if self.seekable => return Poll::Ready(Ok(Now::NotSo)),
                Some(libc::EAGAIN) => {
                    let events = if reads { libc::POLLIN | libc::POLLRDHUP } else { libc::POLLOUT };
                    let fd = self.fd();
                    // Its entry names the descriptor, so this loop sees it before it is closed.
                    fd.visit_here();
                    let operation = Operation::<PollAdd>::new(PollAdd::new(fd.raw(), events));
                    *(if reads { &mut self.readable } else { &mut self.room }) = Some(operation);
                }
                // It may be the call that is refused, or what it does: the ring tells.
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS) => {
                    *(if reads { &mut self.reads_now } else { &mut self.writes_now }) = false;
                    return Poll::Ready(Ok(Now::NotSo));
                }
                _ => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: HasFd, D: Send + Sync + Unpin> Way<S> for Positioned<S, D> {
    fn wrap(source: S) -> Positioned<S, D> {
        let source = Arc::new(source);
        let seekable = source.ring_fd().takes_offsets();
        let settling = Settling::of(source.ring_fd());
        Positioned {
            readable: None,
            room: None,
            reading: Kept::new(source.clone()),
            seeking: Kept::new(source.clone()),
            sought: None,
            writing: Kept::new(source),
            ahead: Vec::new(),
            start: 0,
            spare: Vec::new(),
            failed: None,
            settling,
            reads: Calls::default(),
            writes: Calls::default(),
            seekable,
            reads_now: true,
            writes_now: true,
            direction: PhantomData,
        }
    }

    fn source(&self) -> &S {
        self.reading.source()
    }

    fn unwrap(mut self) -> S {
        self.give_back();
        self.writing.let_go();
        let source = self.writing.shared().clone();
        drop(self);
        Arc::into_inner(source).expect("nobody else has had it")
    }
}

impl<S: HasFd, D: Incoming> PollRead for Positioned<S, D> {
    const DIRECT: bool = true;

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.unread().is_empty() {
            ready!(self.poll_written_before(cx));
            if !self.reading.is_busy() {
                let now = self.reads_now && self.is_alone();
                let filled = if now {
                    ready!(self.poll_now(cx, true, |this| {
                        this.ahead.clear();
                        this.start = 0;
                        this.ahead.reserve(FILL_BYTES);
                        sys::append_now(this.fd().raw(), &mut this.ahead)
                    }))?
                } else {
                    Now::NotSo
                };
                if !matches!(filled, Now::Done(1..)) {
                    self.start_reading(FILL_BYTES);
                }
            }
            if self.reading.is_busy() {
                ready!(self.poll_reading(cx))?;
            }
        }
        Poll::Ready(Ok(self.unread()))
    }

    fn consume(&mut self, count: usize) {
        assert!(count <= self.unread().len(), "only what was given can be consumed");
        self.start += count;
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.unread().is_empty() {
            ready!(self.poll_written_before(cx));
            if !self.reading.is_busy() {
                let len = into.len().min(CALL_BYTES);
                if self.reads_now && self.is_alone() {
                    let read = self.poll_now(cx, true, |this| sys::read_now(this.fd().raw(), &mut into[..len]));
                    // The end is told by the ring, which knows a FIFO that nobody has opened yet from one that all have left.
                    if let Now::Done(count @ 1..) = ready!(read)? {
                        return Poll::Ready(Ok(count));
                    }
                }
                self.start_reading(len.min(FILL_BYTES));
            }
            ready!(self.poll_reading(cx))?;
        }
        let bytes = self.unread();
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.start += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: HasFd, D: Outgoing> PollWrite for Positioned<S, D> {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        if self.seekable {
            self.give_back();
        }
        if self.writes_now && self.is_alone() {
            let first;
            let slices = &slices[slices.iter().take_while(|slice| slice.is_empty()).count()..];
            let slices = match slices {
                [slice, ..] if slice.len() > CALL_BYTES => {
                    first = [IoSlice::new(&slice[..CALL_BYTES])];
                    &first[..]
                }
                slices => within_bounds(slices),
            };
            let wrote = self.poll_now(cx, false, |this| sys::write_now(this.fd().raw(), slices));
            if let Now::Done(count) = ready!(wrote)? {
                return Poll::Ready(Ok(count));
            }
        }
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let count = copy(&mut bytes, slices, if self.seekable { WRITE_BYTES } else { PIPE_BYTES });
        if count == 0 {
            self.spare = bytes;
            return Poll::Ready(Ok(0));
        }
        let write = Write::all(self.fd(), bytes);
        match self.writing.promise(cx, write) {
            Promise::Made => Poll::Ready(Ok(count)),
            Promise::NotYet => Poll::Pending,
            Promise::Over((result, bytes)) => {
                self.spare = bytes;
                Poll::Ready(result.map(|()| count))
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.settling.poll(cx));
        self.poll_written(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// The first slices, no more than are written at once in any case.
fn within_bounds<'a, 'b>(slices: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let mut bytes = 0;
    let fitting = slices.iter().take_while(|slice| {
        bytes += slice.len();
        bytes <= CALL_BYTES
    });
    &slices[..fitting.count()]
}

impl<S: HasFd> PollSeek for Positioned<S, Both> {
    fn start_seek(&mut self, to: SeekFrom) {
        // One that waits has not moved anything yet.
        self.seeking.cancel();
        self.sought = Some(to);
    }

    fn poll_sought(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        ready!(self.poll_written_before(cx));
        if self.seekable {
            self.give_back();
        }
        if !self.seeking.is_busy() {
            let to = self.sought.unwrap_or(SeekFrom::Current(0));
            self.seeking.start(Seek::new(self.fd().raw(), to));
        }
        let result = ready!(self.seeking.poll(cx));
        self.sought = None;
        Poll::Ready(result)
    }

    fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        if self.sought != Some(to) {
            self.start_seek(to);
        }
        self.poll_sought(cx)
    }
}

impl<S: HasFd, D> Drop for Positioned<S, D> {
    fn drop(&mut self) {
        // Clones, and other handles of the same stream, go on behind what was read.
        self.give_back();
    }
}
