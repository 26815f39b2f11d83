//! How objects of a kind are read and written: what [`PollIo`](super::PollIo) is made of.

use std::future::Future;
use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::file::{Both, In, Out, Positioned};
use super::socket::{Duplex, Reader, Writer};
use crate::context;
use crate::fd::{Fd, HasFd};
use crate::fs::File;
use crate::io::{Stderr, Stdin, Stdout};
use crate::net::{OwnedReadHalf, OwnedWriteHalf, StreamSocket, TcpStream, UnixStream};
use crate::pipe;
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

/// What [`PollIo`](super::PollIo) can wrap. It cannot be implemented outside of this crate.
///
/// [`TcpStream`], [`UnixStream`], their owned halves, [`File`], the ends of a [`pipe`](crate::pipe), a child's
/// ends of them, and the standard streams.
pub trait Wrap: HasFd + Sized {
    #[doc(hidden)]
    type Way: Way<Self>;
}

/// What can be read from through the traits of others.
pub trait Readable: Wrap<Way: PollRead> {}
impl<S: Wrap<Way: PollRead>> Readable for S {}

/// What can be written to through the traits of others.
pub trait Writable: Wrap<Way: PollWrite> {}
impl<S: Wrap<Way: PollWrite>> Writable for S {}

/// What has a position that can be moved through the traits of others.
pub trait Seekable: Wrap<Way: PollSeek> {}
impl<S: Wrap<Way: PollSeek>> Seekable for S {}

/// A mechanism, wrapped around an object.
pub trait Way<S>: Send + Sync + Unpin {
    fn wrap(source: S) -> Self;
    fn source(&self) -> &S;
    /// The object again. Bytes that were received and not read, and writes under way, are its own from here on.
    fn unwrap(self) -> S;
}

pub trait PollRead {
    /// Whether reading to memory of the caller's saves a copy.
    const DIRECT: bool;

    /// The bytes that are here, at least one, or none at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>>;

    fn consume(&mut self, count: usize);

    /// Reads to memory of the caller's, which is not empty.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
}

pub trait PollWrite {
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    /// Waits until the kernel has everything that was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// The same, and ends the direction, where there is something to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

pub trait PollSeek {
    /// Notes where the position is to be moved. Nothing has happened yet.
    fn start_seek(&mut self, to: SeekFrom);
    /// Moves it, or tells where it is if nothing was noted.
    fn poll_sought(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>>;
    /// Both.
    fn poll_seek(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>>;
}

impl Wrap for TcpStream {
    type Way = Duplex<TcpStream>;
}

impl Wrap for UnixStream {
    type Way = Duplex<UnixStream>;
}

impl<S: StreamSocket> Wrap for OwnedReadHalf<S> {
    type Way = Reader<OwnedReadHalf<S>>;
}

impl<S: StreamSocket> Wrap for OwnedWriteHalf<S> {
    type Way = Writer<OwnedWriteHalf<S>>;
}

macro_rules! wrap {
    ($($object:ty: $direction:ty;)*) => {$(
        impl Wrap for $object {
            type Way = Positioned<$object, $direction>;
        }
    )*};
}

wrap! {
    File: Both;
    pipe::Receiver: In;
    pipe::Sender: Out;
    ChildStdin: Out;
    ChildStdout: In;
    ChildStderr: In;
    Stdin: In;
    Stdout: Out;
    Stderr: Out;
}

/// How often a stream may call the kernel in one turn of its loop, in one direction. Each time costs some microseconds.
const CALLS_A_TURN: u32 = 128;

/// How often it has.
#[derive(Default)]
pub(super) struct Calls {
    loop_id: u64,
    turn: u64,
    times: u32,
}

impl Calls {
    /// Counts one more. One too many waits for the next turn, for the others' sake. Where no loop runs there are no others.
    #[inline]
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = context::with(|core| (core.id, core.driver.borrow().metrics.turns));
        let Some((loop_id, turn)) = now else { return Poll::Ready(()) };
        if (self.loop_id, self.turn) != (loop_id, turn) {
            *self = Calls { loop_id, turn, times: 0 };
        }
        self.times += 1;
        if self.times <= CALLS_A_TURN {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Until the writes of an object that were dropped before it was wrapped are over.
pub(super) struct Settling(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl Settling {
    pub(super) fn of(fd: &Fd) -> Settling {
        let salvage = fd.salvage_if_made().filter(|salvage| salvage.is_active()).cloned();
        Settling(salvage.map(|salvage| -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
            Box::pin(async move { salvage.writes_settled().await })
        }))
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(settling) = &mut self.0 {
            ready!(settling.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

/// Waits for no longer than until a descriptor is ready; used beside its object, which is closed behind it.
pub(super) type Wait = Option<crate::op::Operation<'static, crate::op::PollAdd>>;

/// Copies from the slices, one after the other, so many bytes at most; gives how many it were.
pub(super) fn copy(bytes: &mut Vec<u8>, slices: &[IoSlice<'_>], limit: usize) -> usize {
    let mut left = limit;
    for slice in slices {
        let count = slice.len().min(left);
        bytes.extend_from_slice(&slice[..count]);
        left -= count;
        if left == 0 {
            break;
        }
    }
    limit - left
}
