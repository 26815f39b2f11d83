//! The futures that receive leases: they wait for a buffer where the kernel has none left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::lease::{RecvLease, RecvMulti, Shot};
use super::net::Recv;
use super::operation::{Operation, Shots};
use crate::buf::{Lease, Place, Pool};
use crate::context::{self, NO_LOOP};
use crate::fd::{Fd, HasFd};

/// The buffers of the loop that is entered.
///
/// # Panics
/// Where no loop runs.
fn pool() -> io::Result<Arc<Pool>> {
    context::with(|core| core.driver.borrow_mut().pool()).unwrap_or_else(|| panic!("{NO_LOOP}"))
}

/// A place among those who wait for a buffer.
#[derive(Debug, Default)]
struct Turn {
    pool: Option<Arc<Pool>>,
    place: Option<Place>,
}

impl Turn {
    /// Before a receive is submitted: `Pending` if others have waited for longer.
    fn come(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>) -> Poll<()> {
        if self.place.is_none() && pool.is_hungry() { self.wait(pool, cx) } else { Poll::Ready(()) }
    }

    /// The kernel had no buffer: makes more, or waits.
    fn starved(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>) -> Poll<()> {
        let grown = context::with(|core| core.driver.borrow_mut().grow_pool()).unwrap_or(false);
        if grown { Poll::Ready(()) } else { self.wait(pool, cx) }
    }

    fn wait(&mut self, pool: &Arc<Pool>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.pool.as_ref().is_some_and(|before| Arc::ptr_eq(before, pool)) {
            self.leave(false);
            self.pool = Some(pool.clone());
        }
        pool.wait(&mut self.place, cx.waker());
        Poll::Pending
    }

    /// Whether it waits, and was not called yet as far as it knows.
    fn is_taken(&self) -> bool {
        self.place.is_some()
    }

    fn leave(&mut self, satisfied: bool) {
        if let Some(pool) = &self.pool {
            pool.leave(&mut self.place, satisfied);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave(false);
    }
}

/// A receive into a buffer that the kernel picks when something arrives: `IORING_OP_RECV`, `recv(2)`. Gives `None` at the end
/// of the stream.
///
/// Dropped, what arrives nevertheless is given to the next receive or read. While every buffer of the loop is held by a lease
/// it waits, in order, for one to come back.
///
/// # Panics
/// When it is first polled where no loop runs, and when it is polled after its end.
#[derive(Debug)]
#[must_use = "an operation does nothing unless it is awaited"]
pub struct Receive<'a> {
    fd: &'a Fd,
    operation: Option<Operation<'a, RecvLease>>,
    turn: Turn,
}

impl<'a> Receive<'a> {
    pub(crate) fn new(fd: &'a Fd) -> Receive<'a> {
        Receive { fd, operation: None, turn: Turn::default() }
    }
}

impl Future for Receive<'_> {
    type Output = io::Result<Option<Lease>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if let Some(operation) = &mut this.operation {
                let result = ready!(Pin::new(operation).poll(cx));
                this.operation = None;
                match result {
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        ready!(this.turn.starved(&pool()?, cx));
                    }
                    result => {
                        this.turn.leave(true);
                        return Poll::Ready(result);
                    }
                }
            }
            let pool = pool()?;
            ready!(this.turn.come(&pool, cx));
            this.operation = Some(Operation::on(this.fd, RecvLease::new(this.fd.raw(), pool)));
        }
    }
}

/// What a stream receives, piece by piece, without being asked for each: one submission serves many receives
/// (`IORING_OP_RECV` with `IORING_RECV_MULTISHOT`, `recv(2)`).
///
/// Dropped, nothing is lost: what had arrived and was not taken is given to the next receive or read. If it is not asked for
/// long, the kernel is told to stop, and told to go on when all that came has been taken: some tens of buffers at most are
/// held by one. While every buffer of the loop is held by a lease it waits, in order, for one to come back.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is asked for its items"]
pub struct Receiving<'a> {
    fd: &'a Fd,
    operation: Option<Operation<'a, RecvMulti>>,
    turn: Turn,
    ended: bool,
}

impl<'a> Receiving<'a> {
    pub(crate) fn new(fd: &'a Fd) -> Receiving<'a> {
        Receiving { fd, operation: None, turn: Turn::default(), ended: false }
    }

    /// The next piece; `None` at the end of the stream. Dropped, it loses nothing.
    ///
    /// # Errors
    /// Those of `recv(2)` (`ConnectionReset`, …).
    ///
    /// # Panics
    /// Where no loop runs.
    pub async fn next(&mut self) -> Option<io::Result<Lease>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`next`](Receiving::next).
    ///
    /// # Panics
    /// As there.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(shot) = self.operation.as_mut().and_then(|operation| operation.op().ready.pop_front()) {
                self.turn.leave(true);
                return Poll::Ready(self.give(shot));
            }
            if self.operation.as_ref().is_none_or(Operation::is_idle) {
                let pool = match pool() {
                    Ok(pool) => pool,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                ready!(self.turn.come(&pool, cx));
                let fd = self.fd;
                match &mut self.operation {
                    Some(operation) => operation.op().pool = pool,
                    none => *none = Some(Operation::on(fd, RecvMulti::new(fd.raw(), pool))),
                }
            }
            let operation = self.operation.as_mut().expect("made above");
            match ready!(operation.poll_shots(cx)) {
                Shots::Some => {}
                Shots::Refused(errno) => return Poll::Ready(Some(Err(io::Error::from_raw_os_error(errno)))),
                Shots::Last(cqe) if cqe.result == -libc::ENOBUFS && operation.op().ready.is_empty() => {
                    let pool = operation.op().pool.clone();
                    ready!(self.turn.starved(&pool, cx));
                }
                // Cancelled because nobody asked for long, or ended for a reason of the kernel's: it begins again.
                Shots::Last(_) => {}
            }
        }
    }

    fn give(&mut self, shot: Shot) -> Option<io::Result<Lease>> {
        match shot {
            Shot::Bytes(lease) => Some(Ok(lease)),
            Shot::Error(errno) => Some(Err(io::Error::from_raw_os_error(errno))),
            Shot::End => {
                self.ended = true;
                None
            }
        }
    }
}

/// The same for an object that it shares, so that it can be kept beside it. It does not wait for the loop's buffers: whoever
/// reads by the traits of others cannot know that unread bytes of one stream keep the next one from being read. While all of
/// them are held, it receives into a buffer of its own.
#[derive(Debug)]
pub(crate) struct OwnedReceiving<S> {
    // Never handed out: these two borrow from `source`. Declared first, so dropped first.
    receiving: Receiving<'static>,
    /// While the loop has no buffer to spare.
    aside: Option<Operation<'static, Recv<Vec<u8>>>>,
    source: Arc<S>,
}

impl<S: HasFd> OwnedReceiving<S> {
    pub(crate) fn new(source: Arc<S>) -> OwnedReceiving<S> {
        let fd: *const Fd = source.ring_fd();
        // SAFETY: the descriptor is part of what the `Arc` keeps, so it stays where it is, and it is not changed, however this
        // value is moved; `source` is dropped after `receiving`, and if this is leaked, so is that.
        let receiving = Receiving::new(unsafe { &*fd });
        OwnedReceiving { receiving, aside: None, source }
    }

    #[inline]
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        if self.aside.is_none() {
            let polled = self.receiving.poll_next(cx);
            if polled.is_ready() || !self.receiving.turn.is_taken() {
                return polled;
            }
        }
        self.poll_aside(cx)
    }

    #[cold]
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        let Receiving { fd, turn, ended, .. } = &mut self.receiving;
        let aside = self.aside.get_or_insert_with(|| {
            let bytes = turn.pool.as_ref().map_or(0, |pool| pool.buffer_bytes());
            turn.leave(false);
            Operation::on(fd, Recv::some(fd.raw(), Vec::with_capacity(bytes)))
        });
        let (result, bytes) = ready!(Pin::new(aside).poll(cx));
        self.aside = None;
        Poll::Ready(match result {
            Ok(0) => {
                *ended = true;
                None
            }
            Ok(_) => Some(Ok(Lease::copied(bytes))),
            Err(error) => Some(Err(error)),
        })
    }

    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// Gives the object back; what had arrived and was not taken is salvaged.
    pub(crate) fn into_source(self) -> Arc<S> {
        let OwnedReceiving { receiving, aside, source } = self;
        drop((receiving, aside));
        source
    }
}
