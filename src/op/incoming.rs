//! Accepting again and again with one submission: `IORING_OP_ACCEPT` with `IORING_ACCEPT_MULTISHOT`.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

use super::few::Few;
use super::net::Accepted;
use super::operation::{Operation, Shots};
use super::{Arena, Cqe, Left, Next, Op, Sealed, Sqe};
use crate::fd::Fd;
use crate::salvage::{Item, Lane, Salvage};
use crate::sys::{self, RawAddress};

/// `IORING_ACCEPT_MULTISHOT`.
const MULTISHOT: u16 = 1 << 0;

/// Accepts that follow each other without being asked for.
#[doc(alias = "IORING_OP_ACCEPT")]
#[derive(Debug)]
pub struct AcceptMulti {
    fd: RawFd,
    /// What has come and was not taken yet.
    ready: Few<Result<OwnedFd, i32>>,
}

impl Sealed for AcceptMulti {}

// SAFETY: the entry holds no address.
unsafe impl Op for AcceptMulti {
    type Output = ();

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe =
            Sqe::new(io_uring::opcode::Accept::CODE).fd(self.fd).ioprio(MULTISHOT).op_flags(libc::SOCK_CLOEXEC as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        match cqe.result {
            fd if fd >= 0 => self.ready.push(Ok(sys::own(fd))),
            _ if cqe.cancelled() => {}
            error => self.ready.push(Err(-error)),
        }
        if cqe.more() { Next::More } else { Next::Done(cqe) }
    }

    fn complete(self, _cqe: Cqe) {}

    fn lane(&self) -> Lane {
        Lane::Accept
    }

    fn leave(&mut self, _cqe: Cqe) -> Left {
        let item = |accepted| match accepted {
            Ok(fd) => Item::Connection(fd, RawAddress::none()),
            Err(errno) => Item::Error(errno),
        };
        Left::Received(self.ready.drain().map(item).collect())
    }

    fn progress(&self) -> usize {
        self.ready.len()
    }

    fn is_endless(&self) -> bool {
        true
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        let taken = salvage.take_connection()?;
        self.ready.push(taken.map(|(fd, _)| fd));
        Some(Cqe::of(0))
    }
}

/// Connections as they come, with one submission for many of them (`IORING_OP_ACCEPT` with `IORING_ACCEPT_MULTISHOT`,
/// `accept4(2)`).
///
/// Dropped, nothing is lost: connections that had arrived and were not taken are given to the next accept.
///
/// **It accepts ahead of who asks.** The kernel accepts whatever comes; when 16 connections lie here that nobody has
/// asked for it is told to stop, and accepts until it has heard that. Others may accept on the same listener meanwhile,
/// but what this has received waits here until it is asked for. So it is for a listener of one loop's own
/// (`SO_REUSEPORT` gives each loop one, [`ListenerBuilder::reuseport`](crate::net::ListenerBuilder::reuseport)).
/// Elsewhere `accept` is the way, which takes one connection for one call:
///
/// * **Where loops share a listener.** Of 2,000 connections, one after the other, two loops with a stream each took
///   2,000 and 0, by `accept` 1,000 each; and what had come to a loop that a task blocked waited for it, all of 20, by
///   `accept` none.
/// * **Where connections are to be limited.** A semaphore that is asked before `next` bounds those that are served, not
///   those that are open: with 5 of them, 21 descriptors (5 and 16) when clients came one by one, and all of the
///   backlog when they came at once: 128 to 500 of 500 clients. By `accept`, 5.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is asked for its items"]
pub struct Incoming<'a, T> {
    operation: Operation<'a, AcceptMulti>,
    lingers: bool,
    _makes: PhantomData<fn() -> T>,
}

impl<'a, T: Accepted> Incoming<'a, T> {
    pub(crate) fn new(fd: &'a Fd) -> Incoming<'a, T> {
        let operation = Operation::on(fd, AcceptMulti { fd: fd.raw(), ready: Few::new() });
        Incoming { operation, lingers: fd.lingers(), _makes: PhantomData }
    }

    /// The next connection. Dropped, it loses nothing.
    ///
    /// # Errors
    /// Those of `accept(2)`. After one (`EMFILE`, say) accepting goes on with the next call.
    ///
    /// # Panics
    /// Where no loop runs.
    pub async fn next(&mut self) -> io::Result<T> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`next`](Incoming::next).
    ///
    /// # Panics
    /// As there.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            if let Some(accepted) = self.operation.op().ready.pop() {
                let lingers = self.lingers;
                let stream = accepted.map(|fd| T::accepted(fd, lingers));
                return Poll::Ready(stream.map_err(io::Error::from_raw_os_error));
            }
            if let Shots::Refused(errno) = ready!(self.operation.poll_shots(cx)) {
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
        }
    }
}
