//! The futures that receive leases: they wait for a buffer where the kernel has none left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::lease::{RecvMulti, Shot};
use super::net::Recv;
use super::operation::Operation;
use super::turn::Shooting;
use crate::buf::Lease;
use crate::fd::{Fd, HasFd};

/// What a stream receives, piece by piece, without being asked for each: one submission serves many receives
/// (`IORING_OP_RECV` with `IORING_RECV_MULTISHOT`, `recv(2)`).
///
/// Dropped, nothing is lost: what had arrived and was not taken is given to the next receive or read. If it is not asked for
/// long, the kernel is told to stop, and told to go on when all that came has been taken: some tens of buffers at most are
/// held by one. While every buffer of the loop is held by a lease it waits, in order, for one to come back.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is asked for its items"]
pub struct Receiving<'a> {
    shooting: Shooting<'a, RecvMulti>,
    ended: bool,
}

impl<'a> Receiving<'a> {
    pub(crate) fn new(fd: &'a Fd) -> Receiving<'a> {
        Receiving { shooting: Shooting::new(fd), ended: false }
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
        if self.ended {
            return Poll::Ready(None);
        }
        let shot = ready!(self.shooting.poll_item(cx, |fd, pool| RecvMulti::new(fd.raw(), pool)));
        Poll::Ready(match shot {
            Ok(shot) => self.give(shot),
            Err(error) => Some(Err(error)),
        })
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
            if polled.is_ready() || !self.receiving.shooting.turn.is_taken() {
                return polled;
            }
        }
        self.poll_aside(cx)
    }

    #[cold]
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        let Receiving { shooting: Shooting { fd, turn, .. }, ended } = &mut self.receiving;
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
