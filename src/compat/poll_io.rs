//! A stream for traits that lend their buffers.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::buf::Lease;
use crate::context;
use crate::fd::{Fd, HasFd};
use crate::op::{Operation, OwnedReceiving, PollAdd};
use crate::sys;

type Settled = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A stream with the poll-based traits of others: see the [module](crate::compat).
///
/// # How it reads
/// One submission (multishot receive) serves many reads: what arrives lies in buffers of the loop's, and a read copies from
/// there, or, with `AsyncBufRead`, is lent the bytes. Nothing is tied up while nothing arrives. A read that is polled and dropped
/// has taken nothing, and the next one may bring another buffer and may be polled by another task, of another loop too.
/// Streams whose bytes nobody reads hold some tens of those buffers each; if that is all there are
/// ([`Builder::lease_buffers`](crate::Builder::lease_buffers)), the others read through buffers of their own, which costs them an
/// allocation a read, and nobody waits.
///
/// # How it writes
/// A write hands the bytes to the kernel at once (`send(2)`, which does not wait), and says so only then. Nothing is ever
/// buffered here, so there is nothing to flush, an error is that of the write that met it, and a caller that tries again may bring
/// other bytes. Where the kernel takes no more, the loop is asked to wake the writer when it does (`IORING_OP_POLL_ADD`).
/// Writes of the stream that were dropped before it was wrapped are waited for.
///
/// Measured with hyper's HTTP/1.1 "hello" against hyper on tokio's current-thread runtime, in server CPU per request, this is a tie
/// (0.97x to 1.09x). Writes that are copied and sent with the turn's one kernel entry would be 1.2x to 1.3x better at 500
/// connections, at the price of promising bytes that the kernel has not taken yet.
///
/// A writer that never has to wait is told to once in a while, so that the other tasks have their turn.
///
/// Shutting down ends the writing direction (`shutdown(2)`); twice is as good as once.
///
/// # Panics
/// Reads, and writes that have to wait, where no loop runs.
pub struct PollIo<S> {
    /// Declared first, so that it is cancelled before the descriptor is closed.
    writable: Option<Operation<'static, PollAdd>>,
    receiving: OwnedReceiving<S>,
    /// What the last receive brought and was not read yet.
    lease: Option<Lease>,
    /// Until the writes that were dropped before are over.
    settled: Option<Settled>,
    sent: Sent,
}

/// How often a stream may send in one turn of its loop. Each time costs some microseconds.
const SENDS_A_TURN: u32 = 128;

/// How often it has.
#[derive(Default)]
struct Sent {
    loop_id: u64,
    turn: u64,
    times: u32,
}

impl Sent {
    /// Counts one more; tells whether it is one too many, for the others' sake. Where no loop runs there are no others.
    #[inline]
    fn is_too_often(&mut self) -> bool {
        let now = context::with(|core| (core.id, core.driver.borrow().metrics.turns));
        let Some((loop_id, turn)) = now else { return false };
        if (self.loop_id, self.turn) != (loop_id, turn) {
            *self = Sent { loop_id, turn, times: 0 };
        }
        self.times += 1;
        self.times > SENDS_A_TURN
    }
}

impl<S: HasFd> PollIo<S> {
    /// Wraps a stream.
    pub fn new(stream: S) -> PollIo<S> {
        let settled =
            stream.ring_fd().salvage_if_made().filter(|salvage| salvage.is_active()).cloned().map(|salvage| {
                let settled: Settled = Box::pin(async move { salvage.writes_settled().await });
                settled
            });
        let receiving = OwnedReceiving::new(Arc::new(stream));
        PollIo { writable: None, receiving, lease: None, settled, sent: Sent::default() }
    }

    /// The stream, for its options and addresses.
    pub fn get_ref(&self) -> &S {
        self.receiving.source()
    }

    /// The stream again. What had arrived and was not read comes out of its next read.
    pub fn into_inner(self) -> S {
        let PollIo { receiving, lease, writable, settled, sent: _ } = self;
        drop((writable, settled));
        if let Some(lease) = lease.filter(|lease| !lease.is_empty()) {
            receiving.source().ring_fd().salvage().put_back(lease.into_vec());
        }
        Arc::into_inner(receiving.into_source()).expect("nobody else has had it")
    }

    fn fd(&self) -> &Fd {
        self.receiving.source().ring_fd()
    }

    // ---- what the traits are made of, for those that this crate does not know ---------------------------------

    /// The bytes that have been received and not been consumed, at least one, or none at the end: `IORING_OP_RECV`.
    ///
    /// # Errors
    /// Those of `recv(2)`.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
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

    /// Forgets the first bytes of those that [`poll_fill`](PollIo::poll_fill) has given.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn consume_bytes(&mut self, count: usize) {
        match &mut self.lease {
            Some(lease) => lease.advance(count),
            None => assert_eq!(count, 0, "only what was given can be consumed"),
        }
    }

    /// Reads what there is, up to so many bytes.
    #[cfg(any(feature = "futures-io", feature = "tokio", feature = "hyper"))]
    pub(super) fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        put: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        let bytes = ready!(self.poll_fill(cx))?;
        let count = bytes.len().min(room);
        put(&bytes[..count]);
        self.consume_bytes(count);
        Poll::Ready(Ok(count))
    }

    /// Sends what the kernel takes at once, and gives how much that was: `send(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send_with(cx, |fd| sys::send_now(fd, bytes))
    }

    /// The same from several slices, one after the other, of which the first 1,024 are used: `sendmsg(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn poll_send_vectored(&mut self, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_send_with(cx, |fd| sys::send_vectored_now(fd, slices))
    }

    fn poll_send_with(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(RawFd) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_settled(cx));
        if self.sent.is_too_often() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(writable) = &mut self.writable {
                let ready = ready!(Pin::new(writable).poll(cx));
                self.writable = None;
                ready?;
            }
            let fd = self.fd().raw();
            match send(fd) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Its entry names the descriptor, so this loop sees it before it is closed.
                    self.fd().visit(context::current_id());
                    self.writable = Some(Operation::<PollAdd>::new(PollAdd::new(fd, libc::POLLOUT)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(settled) = &mut self.settled {
            ready!(settled.as_mut().poll(cx));
            self.settled = None;
        }
        Poll::Ready(())
    }

    /// Ends the writing direction; twice is as good as once: `shutdown(2)`.
    ///
    /// # Errors
    /// Those of the call.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_settled(cx));
        match sys::shutdown(self.fd().raw(), libc::SHUT_WR) {
            // It has ended already, or the connection has.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

impl<S: HasFd + fmt::Debug> fmt::Debug for PollIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PollIo").field(self.get_ref()).finish()
    }
}
