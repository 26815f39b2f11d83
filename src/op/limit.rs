//! Bounds on an operation that give the buffer back: a time limit, a token, a plain cancellation.
//!
//! All three ask the kernel to cancel the operation (`IORING_OP_ASYNC_CANCEL`) and then wait for its completion, for
//! only then is the buffer free. If the operation was faster, or the kernel could not interrupt it, its result stands.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::operation::Stop;
use super::{Op, Operation};
use crate::ring::error_of;
use crate::time::{Sleep, sleep};
use crate::token::{CancellationToken, WaitForCancellationOwned};

/// What is inside the `io::Error` of something of several steps (`read_exact`, `write_all`,
/// [`io::copy`](crate::io::copy())) that was cut short by a limit or a cancellation: how many bytes it had moved.
/// [`transferred`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutShort {
    errno: i32,
    transferred: usize,
    unwritten: Vec<u8>,
    back: Option<Box<CutShort>>,
}

impl CutShort {
    /// Bytes moved before it was cut short: they are in the buffer, or were taken by the kernel.
    pub fn transferred(&self) -> usize {
        self.transferred
    }

    /// Of a copy: bytes that were read and that the writer has not taken. Whoever goes on writes them first.
    pub fn unwritten(&self) -> &[u8] {
        &self.unwritten
    }

    /// Of a copy in both directions: how far the other direction came.
    pub fn back(&self) -> Option<&CutShort> {
        self.back.as_deref()
    }

    /// What one direction of a copy tells.
    pub(crate) fn copy(errno: i32, copied: u64, unwritten: Vec<u8>) -> CutShort {
        let transferred = usize::try_from(copied).unwrap_or(usize::MAX);
        CutShort { errno, transferred, unwritten, back: None }
    }

    /// The same of both.
    pub(crate) fn with_back(self, back: CutShort) -> CutShort {
        CutShort { back: Some(Box::new(back)), ..self }
    }

    pub(crate) fn into_error(self) -> io::Error {
        io::Error::new(error_of(self.errno).kind(), self)
    }

    pub(crate) fn error(errno: i32, transferred: usize) -> io::Error {
        if transferred == 0 {
            return error_of(errno);
        }
        CutShort { errno, transferred, unwritten: Vec::new(), back: None }.into_error()
    }
}

impl fmt::Display for CutShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} bytes", error_of(self.errno), self.transferred)?;
        match &self.back {
            Some(back) => write!(f, " one way and {} the other", back.transferred),
            None => Ok(()),
        }
    }
}

impl Error for CutShort {}

/// How many bytes an operation of several steps had moved when it failed with this error; `None` if the error does not
/// tell, which of a single-step operation means 0.
///
/// ```
/// use ringtoss::op::transferred;
/// let plain = std::io::Error::from(std::io::ErrorKind::TimedOut);
/// assert_eq!(transferred(&plain), None);
/// ```
pub fn transferred(error: &io::Error) -> Option<usize> {
    error.get_ref()?.downcast_ref::<CutShort>().map(CutShort::transferred)
}

impl<'a, O: Op> Operation<'a, O> {
    /// Ends the operation: asks the kernel to cancel it and gives its output, which is the result if it was faster, and
    /// an error with the `errno` `ECANCELED` otherwise. The buffer comes back either way. An operation that was not
    /// submitted is not submitted any more; what the kernel cannot interrupt is waited for, as with
    /// [`timeout`](Operation::timeout).
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use std::future::Future;
    /// let (reader, _writer) = std::os::unix::net::UnixStream::pair()?;
    /// let mut poll = ringtoss::op::poll_readable(&reader);
    /// // … polled in a `select!`, say; then:
    /// let error = poll.cancel().await.unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(125)); // ECANCELED
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn cancel(mut self) -> Cancel<'a, O> {
        self.stop(Stop::Cancelled);
        Cancel { operation: self }
    }

    /// Bounds the operation: when `limit` has passed it is cancelled, and its output is an error of kind
    /// [`TimedOut`](io::ErrorKind::TimedOut), without a `raw_os_error` (`ETIMEDOUT` is a peer that does not answer), together with the
    /// buffer. The time starts now.
    ///
    /// **Of a regular file it is no bound.** What waits for a peer or a pipe is cancelled at once. But a read, write
    /// or sync of a file that the kernel has begun cannot be interrupted, and the buffer is the kernel's until it
    /// is over, so this waits for that, and the result stands: `write_all_at` of 200 MiB (page cache, ext4) with a
    /// limit of 5 ms was `Ok` after 1.1 s, `sync_all` after 0.1 s. Where a disk, FUSE or a network's file system may
    /// hang, bound the wait instead: [`time::timeout`](crate::time::timeout()) around the operation ends in time and
    /// leaves it to end by itself, with its buffer; `take_dropped_write` tells how a write ended.
    pub fn timeout(self, limit: Duration) -> TimeLimit<'a, O> {
        TimeLimit { operation: self, sleep: Some(sleep(limit)) }
    }

    /// Bounds the operation by a token: when that is cancelled, the operation is, and its output is an error with the
    /// `errno` `ECANCELED` together with the buffer. What the kernel cannot interrupt is waited for, as with
    /// [`timeout`](Operation::timeout); [`run_until_cancelled`](CancellationToken::run_until_cancelled) around it does
    /// not wait.
    pub fn cancel_on(self, token: &CancellationToken) -> CancelOn<'a, O> {
        CancelOn { operation: self, cancelled: Some(token.clone().cancelled_owned()) }
    }
}

/// Made by [`Operation::cancel`].
#[derive(Debug)]
#[must_use = "a cancellation is over when it has been awaited"]
pub struct Cancel<'a, O: Op> {
    operation: Operation<'a, O>,
}

impl<O: Op> Future for Cancel<'_, O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        Pin::new(&mut self.operation).poll(cx)
    }
}

/// Made by [`Operation::timeout`]. Dropped early it is as if the operation were.
#[derive(Debug)]
#[must_use = "an operation does nothing unless it is awaited"]
pub struct TimeLimit<'a, O: Op> {
    operation: Operation<'a, O>,
    sleep: Option<Sleep>,
}

impl<O: Op> Future for TimeLimit<'_, O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = &mut *self;
        if let Poll::Ready(output) = Pin::new(&mut this.operation).poll(cx) {
            return Poll::Ready(output);
        }
        if let Some(sleep) = &mut this.sleep {
            ready!(Pin::new(sleep).poll(cx));
            this.sleep = None;
            this.operation.stop(Stop::TimedOut);
            return Pin::new(&mut this.operation).poll(cx);
        }
        Poll::Pending
    }
}

/// Made by [`Operation::cancel_on`]. Dropped early it is as if the operation were.
#[derive(Debug)]
#[must_use = "an operation does nothing unless it is awaited"]
pub struct CancelOn<'a, O: Op> {
    operation: Operation<'a, O>,
    cancelled: Option<WaitForCancellationOwned>,
}

impl<O: Op> Future for CancelOn<'_, O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = &mut *self;
        if let Poll::Ready(output) = Pin::new(&mut this.operation).poll(cx) {
            return Poll::Ready(output);
        }
        if let Some(cancelled) = &mut this.cancelled {
            ready!(Pin::new(cancelled).poll(cx));
            this.cancelled = None;
            this.operation.stop(Stop::Cancelled);
            return Pin::new(&mut this.operation).poll(cx);
        }
        Poll::Pending
    }
}
