//! Streams between sockets: multishot receives, and writes that go with the turn's one kernel entry.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::way::{Calls, PollRead, PollWrite, Settling, Wait, Way, copy};
use crate::buf::Lease;
use crate::context;
use crate::fd::HasFd;
use crate::op::{All, Kept, Operation, OwnedReceiving, PollAdd, Promise, Promising, Send};
use crate::sys;

/// How many bytes are copied and sent at the turn's end. More are sent at once: the copy would cost more than the call.
pub(super) const BATCH_BYTES: usize = 16 * 1024;

/// How long what was taken may stay unsent after the drop of a TCP socket's writer.
const LAST_WORDS_MS: libc::c_uint = 60_000;

/// The reading direction.
pub struct Reader<S> {
    receiving: OwnedReceiving<S>,
    /// What the last receive brought and was not read yet.
    lease: Option<Lease>,
}

impl<S: HasFd> Reader<S> {
    fn new(source: Arc<S>) -> Reader<S> {
        Reader { receiving: OwnedReceiving::new(source), lease: None }
    }

    fn release(self) -> Arc<S> {
        let Reader { receiving, lease } = self;
        if let Some(lease) = lease.filter(|lease| !lease.is_empty()) {
            receiving.source().ring_fd().salvage().put_back(lease.into_vec());
        }
        receiving.into_source()
    }
}

impl<S: HasFd> PollRead for Reader<S> {
    const DIRECT: bool = false;

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        while self.lease.as_ref().is_none_or(|lease| lease.is_empty()) {
            // Before the next receive, so that the buffer can serve it.
            self.lease = None;
            match ready!(self.receiving.poll_next(cx)) {
                Some(Ok(lease)) => self.lease = Some(lease),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(&[])),
            }
        }
        Poll::Ready(Ok(self.lease.as_deref().unwrap_or_default()))
    }

    fn consume(&mut self, count: usize) {
        match &mut self.lease {
            Some(lease) => lease.advance(count),
            None => assert_eq!(count, 0, "only what was given can be consumed"),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let bytes = ready!(self.poll_fill(cx))?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<S: HasFd> Way<S> for Reader<S> {
    fn wrap(source: S) -> Reader<S> {
        Reader::new(Arc::new(source))
    }

    fn source(&self) -> &S {
        self.receiving.source()
    }

    fn unwrap(self) -> S {
        sole(self.release())
    }
}

/// The object, of which there is no other reference.
fn sole<S>(source: Arc<S>) -> S {
    Arc::into_inner(source).expect("nobody else has had it")
}

/// What the writing direction has come to.
#[derive(Clone, Copy)]
enum Over {
    /// It was shut down here.
    Ended,
    /// The connection is gone: the `errno` of the write that met it.
    Failed(i32),
}

impl Over {
    /// What is final for a connected stream socket, whatever the peer does next. The kernel tells an error once and answers with
    /// `EPIPE` from then on, for it has
    /// * `EPIPE`: no sending direction any more. Nothing sets it up again.
    /// * `ECONNRESET`, `ECONNABORTED`, `ETIMEDOUT`: closed the connection before it told (`tcp_done`): the peer has reset it,
    ///   somebody has by `SOCK_DESTROY`, the time for acknowledgements or signs of life has passed. No report of a router's
    ///   becomes one of these.
    ///
    /// Others need not be: `ENOBUFS` and `ENOMEM` pass; that a host or net is unreachable closes nothing where such reports are
    /// asked for (`IP_RECVERR`), and where it does, `EPIPE` comes next.
    fn of(error: &io::Error) -> Option<Over> {
        // By their kinds: one that met the rest of a write tells of its bytes, and no `errno`.
        Some(Over::Failed(match error.kind() {
            io::ErrorKind::BrokenPipe => libc::EPIPE,
            io::ErrorKind::ConnectionReset => libc::ECONNRESET,
            io::ErrorKind::ConnectionAborted => libc::ECONNABORTED,
            io::ErrorKind::TimedOut => libc::ETIMEDOUT,
            _ => return None,
        }))
    }
}

/// The writing direction.
pub struct Writer<S: HasFd> {
    /// Declared first, so that it is cancelled before the descriptor is closed.
    room: Wait,
    /// What was taken and is sent at the turn's end.
    sending: Promising<S, All<Send<Vec<u8>>>>,
    /// Its memory, between two.
    spare: Vec<u8>,
    settling: Settling,
    calls: Calls,
    batches: bool,
    over: Option<Over>,
}

impl<S: HasFd> Writer<S> {
    fn new(source: Arc<S>) -> Writer<S> {
        let settling = Settling::of(source.ring_fd());
        let sending = Kept::new(source);
        Writer { room: None, sending, spare: Vec::new(), settling, calls: Calls::default(), batches: true, over: None }
    }

    /// What was taken and the kernel was not asked to send yet is sent at once, as far as there is room. So a socket that is dropped
    /// is closed no later than without it: what arrives until then would make a reset of its end.
    fn send_staged(&mut self) {
        self.sending.withdraw();
        let fd = self.sending.source().ring_fd().raw();
        self.sending.keep_now(|send| {
            let bytes = send.bytes();
            // An error is met by the ring again.
            let sent = sys::send_now(fd, bytes).unwrap_or(0);
            if sent < bytes.len() {
                bytes.drain(..sent);
                return false;
            }
            true
        });
    }

    fn release(mut self) -> Arc<S> {
        self.send_staged();
        self.sending.let_go();
        self.sending.shared().clone()
    }

    pub(super) fn send_at_once(&mut self) {
        self.batches = false;
    }

    /// Waits until the kernel has taken what is on its way.
    #[inline]
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sending.withdraw();
        if !self.sending.is_busy() {
            return Poll::Ready(Ok(()));
        }
        let (result, bytes) = ready!(self.sending.poll(cx));
        self.spare = bytes;
        Poll::Ready(result)
    }

    /// Copies what is written, to be sent when the loop enters the kernel next.
    fn poll_batch(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.clear();
        let count = copy(&mut bytes, slices, BATCH_BYTES);
        let send = Send::whole(self.sending.source().ring_fd().raw(), bytes);
        match self.sending.promise(cx, send) {
            Promise::Made => Poll::Ready(Ok(count)),
            Promise::NotYet => Poll::Pending,
            // The loop is ending.
            Promise::Over((result, bytes)) => {
                self.spare = bytes;
                Poll::Ready(result.map(|()| count))
            }
        }
    }

    /// Adds to what is to be sent at the turn's end.
    fn add(&mut self, slices: &[IoSlice<'_>]) -> Option<usize> {
        let mut count = 0;
        let added = self.sending.amend(|send| {
            let bytes = send.inner().bytes();
            count = copy(bytes, slices, BATCH_BYTES.saturating_sub(bytes.len()));
        });
        (added && count > 0).then_some(count)
    }

    /// Sends what the kernel takes at once.
    fn poll_send_now(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(room) = &mut self.room {
                let ready = ready!(Pin::new(room).poll(cx));
                self.room = None;
                ready?;
            }
            let fd = self.sending.source().ring_fd();
            let sent = match slices {
                [slice] => sys::send_now(fd.raw(), slice),
                slices => sys::send_vectored_now(fd.raw(), slices),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Its entry names the descriptor, so this loop sees it before it is closed.
                    fd.visit_here();
                    self.room = Some(Operation::<PollAdd>::new(PollAdd::new(fd.raw(), libc::POLLOUT)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Notes an error that is final.
    #[inline]
    fn noted<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.over = Over::of(error).or(self.over);
        }
        polled
    }

    fn poll_taken(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.settling.poll(cx));
        ready!(self.calls.poll_next(cx));
        if self.sending.is_busy() {
            if let Some(count) = self.add(slices) {
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_sent(cx))?;
        }
        if self.batches && self.room.is_none() && context::current_id() != 0 {
            let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
            if (1..=BATCH_BYTES).contains(&bytes) {
                return self.poll_batch(cx, slices);
            }
        }
        self.poll_send_now(cx, slices)
    }
}

impl<S: HasFd> PollWrite for Writer<S> {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.over {
            None => {}
            Some(Over::Ended) => return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE))),
            Some(Over::Failed(errno)) => return Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
        }
        let polled = self.poll_taken(cx, slices);
        self.noted(polled)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(Over::Failed(errno)) = self.over {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
        }
        ready!(self.settling.poll(cx));
        let polled = self.poll_sent(cx);
        self.noted(polled)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        sys::shutdown_stream(self.sending.source().ring_fd().raw(), libc::SHUT_WR)?;
        self.over = Some(Over::Ended);
        Poll::Ready(Ok(()))
    }
}

impl<S: HasFd> Way<S> for Writer<S> {
    fn wrap(source: S) -> Writer<S> {
        Writer::new(Arc::new(source))
    }

    fn source(&self) -> &S {
        self.sending.source()
    }

    fn unwrap(self) -> S {
        sole(self.release())
    }
}

impl<S: HasFd> Drop for Writer<S> {
    fn drop(&mut self) {
        self.send_staged();
        if self.sending.is_busy() {
            // The socket is open until that is sent, and a peer that takes nothing must not keep it for ever. Fails for what is not
            // TCP.
            let fd = self.sending.source().ring_fd().raw();
            if let Ok(0) = sys::option::<libc::c_uint>(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) {
                let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, LAST_WORDS_MS);
            }
        }
    }
}

/// Both.
pub struct Duplex<S: HasFd> {
    writer: Writer<S>,
    reader: Reader<S>,
}

impl<S: HasFd> Way<S> for Duplex<S> {
    fn wrap(source: S) -> Duplex<S> {
        let source = Arc::new(source);
        Duplex { writer: Writer::new(source.clone()), reader: Reader::new(source) }
    }

    fn source(&self) -> &S {
        self.reader.source()
    }

    fn unwrap(self) -> S {
        drop(self.writer.release());
        sole(self.reader.release())
    }
}

impl<S: HasFd> PollRead for Duplex<S> {
    const DIRECT: bool = false;

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.reader.poll_fill(cx)
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reader.poll_read(cx, into)
    }
}

impl<S: HasFd> PollWrite for Duplex<S> {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.writer.poll_write(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_end(cx)
    }
}

/// What has a writing direction.
pub trait Writes<S: HasFd> {
    fn writer(&mut self) -> &mut Writer<S>;
}

impl<S: HasFd> Writes<S> for Writer<S> {
    fn writer(&mut self) -> &mut Writer<S> {
        self
    }
}

impl<S: HasFd> Writes<S> for Duplex<S> {
    fn writer(&mut self) -> &mut Writer<S> {
        &mut self.writer
    }
}
