//! Bytes between two descriptors that never come to user space.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use super::progress::{Broken, Limited, Shared, both, limits};
use super::{Stderr, Stdin, Stdout};
use crate::fd::{Fd, HasFd};
use crate::fs::File;
use crate::net::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, StreamSocket, TcpStream, UnixStream, WriteHalf};
use crate::op::{self, Between, Held, Operation};
use crate::pipe;
use crate::process::{ChildStderr, ChildStdin, ChildStdout};
use crate::salvage::PositionHold;
use crate::sys;

#[cfg(doc)]
use crate::op::CutShort;

/// What the pipe between two ends that are none holds at first and, if the kernel grants it, at most: it grows when it is filled.
/// What a user's pipes may hold together is limited (64 MiB, `pipe(7)`), and a large one that is idle is taken from others.
const FIRST_SIZE: usize = 64 * 1024;
const MOST_SIZE: usize = 1024 * 1024;

/// Bytes of one write of what dropped reads have left.
const LEFT_BYTES: usize = 64 * 1024;

/// What [`splice`] takes bytes from: files, sockets, the ends of pipes that are read.
pub trait SpliceFrom: Send {
    #[doc(hidden)]
    fn splice_from(&self) -> &Fd;
}

/// What [`splice`] gives bytes to: files, sockets, the ends of pipes that are written to.
pub trait SpliceTo: Send {
    #[doc(hidden)]
    fn splice_to(&self) -> &Fd;
}

macro_rules! ends {
    ($trait:ident, $method:ident: $([$($generic:tt)*] $type:ty: $this:ident => $fd:expr;)*) => {$(
        impl<$($generic)*> $trait for $type {
            fn $method(&self) -> &Fd {
                let $this = self;
                $fd
            }
        }
    )*};
}

ends! { SpliceFrom, splice_from:
    [] File: this => this.ring_fd();
    [] Stdin: this => this.ring_fd();
    [] ChildStdout: this => this.ring_fd();
    [] ChildStderr: this => this.ring_fd();
    [] pipe::Receiver: this => this.ring_fd();
    [] TcpStream: this => this.ring_fd();
    [] UnixStream: this => this.ring_fd();
    [S: StreamSocket] ReadHalf<'_, S>: this => fd(this.as_ref());
    [S: StreamSocket] OwnedReadHalf<S>: this => fd(this.as_ref());
}

ends! { SpliceTo, splice_to:
    [] File: this => this.ring_fd();
    [] Stdout: this => this.ring_fd();
    [] Stderr: this => this.ring_fd();
    [] ChildStdin: this => this.ring_fd();
    [] pipe::Sender: this => this.ring_fd();
    [] TcpStream: this => this.ring_fd();
    [] UnixStream: this => this.ring_fd();
    [S: StreamSocket] WriteHalf<'_, S>: this => fd(this.as_ref());
    [S: StreamSocket] OwnedWriteHalf<S>: this => fd(this.as_ref());
}

fn fd<S: StreamSocket>(stream: &S) -> &Fd {
    stream.ring_fd()
}

/// What is done with the output of a step: 0 of them is the end.
enum Step {
    Moved(u64),
    End,
    /// Again.
    Nothing,
}

impl Shared {
    /// A step that may have been ended because all of it is to stop.
    async fn step<O>(&self, operation: Operation<'_, O>) -> Result<Step, Broken>
    where
        O: op::Op<Output = io::Result<usize>>,
    {
        match self.or_cancelled(operation).await {
            Ok(0) => Ok(Step::End),
            Ok(moved) => Ok(Step::Moved(moved as u64)),
            Err(_) if self.stopped() => Err(Broken::Stopped(Vec::new())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Step::Nothing),
            Err(error) => Err(Broken::Failed(error)),
        }
    }

    fn go_on(&self) -> Result<(), Broken> {
        if self.stopped() { Err(Broken::Stopped(Vec::new())) } else { Ok(()) }
    }
}

/// Moves what dropped reads have left, up to `len` bytes, and gives what there is still to move; nothing at the end.
async fn move_left(from: &Fd, to: &Fd, mut len: u64, shared: &Shared, direction: usize) -> Result<u64, Broken> {
    let Some(salvage) = from.salvage_if_made() else { return Ok(len) };
    while len > 0 {
        let waiting = salvage.receives_settled();
        if shared.unless_stopped(waiting).await.is_none() {
            return Err(Broken::Stopped(Vec::new()));
        }
        if !salvage.has_items() {
            return Ok(len);
        }
        let room = usize::try_from(len).unwrap_or(usize::MAX).min(LEFT_BYTES);
        let read = Operation::on(from, op::Read::some(from, Vec::with_capacity(room)));
        let (result, bytes) = shared.or_cancelled(read).await;
        match result {
            Ok(0) => return Ok(0),
            Ok(_) => {}
            Err(_) if shared.stopped() => return Err(Broken::Stopped(Vec::new())),
            Err(error) => return Err(Broken::Failed(error)),
        }
        let held = Held::new(bytes, from);
        while held.left() > 0 {
            shared.go_on()?;
            if let Step::Moved(count) = shared.step(held.write(to)).await? {
                shared.add(direction, count);
                len -= count;
            }
        }
    }
    Ok(0)
}

async fn one_way(from: &Fd, to: &Fd, len: u64, shared: &Shared, direction: usize) -> Result<(), Broken> {
    let mut len = move_left(from, to, len, shared, direction).await?;
    if len == 0 {
        return Ok(());
    }
    let hold = match shared.unless_stopped(PositionHold::of(from.salvage())).await {
        Some(hold) => hold?,
        None => return Err(Broken::Stopped(Vec::new())),
    };
    let direct = sys::is_pipe(from.raw()) || sys::is_pipe(to.raw());
    let between = Between::new(from, to, hold, !direct)?;
    let mut size = FIRST_SIZE;
    while len > 0 {
        shared.go_on()?;
        if direct {
            match shared.step(between.through(to, len)).await? {
                Step::Moved(count) => {
                    shared.add(direction, count);
                    len -= count;
                }
                Step::End => break,
                Step::Nothing => {}
            }
            continue;
        }
        let mut held = match shared.step(between.fill(len.min(size as u64))).await? {
            Step::Moved(count) => count,
            Step::End => break,
            Step::Nothing => 0,
        };
        // Pieces of packets fill it before its bytes do.
        let fills = held >= size as u64 / 2;
        while held > 0 {
            shared.go_on()?;
            match shared.step(between.drain(to, held)).await? {
                Step::Moved(count) => {
                    shared.add(direction, count);
                    len -= count;
                    held -= count;
                }
                Step::End => return Err(Broken::Failed(super::write::takes_no_more())),
                Step::Nothing => {}
            }
        }
        if fills && size < MOST_SIZE {
            size = between.resize_pipe(size * 4).unwrap_or(size);
        }
    }
    Ok(())
}

/// Made by [`splice`].
#[must_use = "nothing is moved unless it is awaited"]
pub struct Splice<'a>(Limited<'a, u64>);

limits!(Splice, u64);

impl Splice<'_> {
    /// Bytes that have arrived so far; those of a step that is under way are counted when it is over.
    pub fn copied(&self) -> u64 {
        self.0.copied(0)
    }
}

/// Moves up to `len` bytes from one descriptor to another, in the kernel: `IORING_OP_SPLICE`, `splice(2)`. Gives how many
/// there were, which is less than `len` if `from` ended before. `u64::MAX` moves everything.
///
/// If neither is a pipe, the bytes go through one of this function's own, which grows from 64 KiB to 1 MiB when it is filled, if
/// the kernel grants that. Files are read and written at their positions.
///
/// # When it is worth it
/// The kernel gives every splice to a thread of its own. So it is for bulk: the [table](super::copy()#splice-or-copy) says how
/// much.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::{fs::File, io, net::UnixStream};
/// let (mut here, mut there) = UnixStream::pair()?;
/// let mut file = File::open("/bin/sh").await?;
/// let count = io::splice(&mut file, &mut here, 4).await?;
/// let (result, start) = there.read(Vec::with_capacity(16)).await;
/// assert_eq!((count, result?, &start[..]), (4, 4, &b"\x7fELF"[..]));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Cancellation
/// Whichever way it ends early (an error, [`Splice::timeout`], [`Splice::cancel_on`], a drop), what was taken from `from` and
/// has not arrived comes out of the next read of `from`, and of a file the position is moved back. A step that was dropped in
/// flight is the last dropped write of `to`: `take_dropped_write` tells how much of it arrived. A time limit or a token ends it
/// with a [`CutShort`], which tells how many bytes had arrived. Until a dropped step is over, `from` can neither be read nor
/// converted (`ResourceBusy`).
///
/// # Errors
/// Those of `splice(2)`: `InvalidInput` for what the kernel cannot splice (a file that is open for appending, a terminal), for
/// which there is [`copy`](super::copy()); what a read of `from` and a write to `to` would meet.
pub fn splice<'a, F, T>(from: &'a mut F, to: &'a mut T, len: u64) -> Splice<'a>
where
    F: SpliceFrom + ?Sized,
    T: SpliceTo + ?Sized,
{
    let (from, to) = (from.splice_from(), to.splice_to());
    let shared = Arc::new(Shared::default());
    let this = shared.clone();
    let future = Box::pin(async move {
        match one_way(from, to, len, &this, 0).await {
            Ok(()) => Ok(this.copied(0)),
            Err(Broken::Failed(error)) => Err(error),
            Err(Broken::Stopped(unwritten)) => Err(this.cut_short(0, unwritten).into_error()),
        }
    });
    Splice(Limited::new(future, shared))
}

/// Made by [`splice_bidirectional`].
#[must_use = "nothing is moved unless it is awaited"]
pub struct SpliceBidirectional<'a>(Limited<'a, (u64, u64)>);

limits!(SpliceBidirectional, (u64, u64));

impl SpliceBidirectional<'_> {
    /// Bytes that have arrived so far, from the first to the second and the other way.
    pub fn copied(&self) -> (u64, u64) {
        (self.0.copied(0), self.0.copied(1))
    }
}

/// Moves bytes in both directions between two streams until both have ended, as
/// [`copy_bidirectional`](super::copy_bidirectional) does, in the kernel as [`splice`] does. The end of one is passed on to the
/// other (`shutdown`), while the other direction goes on.
///
/// # Cancellation
/// As that of [`splice`], in both directions; [`CutShort::back`] tells of that from `b` to `a`.
///
/// # Errors
/// The first of any of the four ends. The other direction is dropped then, as by a drop of the whole.
pub fn splice_bidirectional<'a, A, B>(a: &'a mut A, b: &'a mut B) -> SpliceBidirectional<'a>
where
    A: StreamSocket,
    B: StreamSocket,
{
    let (a, b) = (fd(a), fd(b));
    let shared = Arc::new(Shared::default());
    let this = shared.clone();
    let future = Box::pin(async move {
        let there = one_way_and_close(a, b, &this, 0);
        let back = one_way_and_close(b, a, &this, 1);
        both(there, back, &this).await
    });
    SpliceBidirectional(Limited::new(future, shared))
}

async fn one_way_and_close(from: &Fd, to: &Fd, shared: &Shared, direction: usize) -> Result<(), Broken> {
    one_way(from, to, u64::MAX, shared, direction).await?;
    let shutdown = Operation::on(to, op::Shutdown::of_stream(to.raw(), Shutdown::Write));
    Ok(shared.or_cancelled(shutdown).await?)
}

/// Copies up to `len` bytes from one pipe to another, and leaves them in the first: `IORING_OP_TEE`, `tee(2)`. Gives how many
/// there were: as many as lie in `from`, at most, once there are any and `to` has room; 0 at the end of `from`.
///
/// What dropped reads of `from` have left comes first, and also stays.
///
/// ```
/// # ringtoss::block_on(async {
/// use ringtoss::{io, pipe};
/// let (mut sender, mut receiver) = pipe::pipe()?;
/// let (mut copies, mut copied) = pipe::pipe()?;
/// sender.write_all("both").await.0?;
/// assert_eq!(io::tee(&mut receiver, &mut copies, 64).await?, 4);
/// assert_eq!(receiver.read(Vec::with_capacity(8)).await.1, b"both");
/// assert_eq!(copied.read(Vec::with_capacity(8)).await.1, b"both");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
///
/// # Cancellation
/// Nothing is taken from `from`. Dropped, it may have given something to `to`: `take_dropped_write` tells.
///
/// # Errors
/// Those of `tee(2)`: `BrokenPipe` if nobody reads what goes to `to`.
pub fn tee<'a>(
    from: &'a mut pipe::Receiver,
    to: &'a mut pipe::Sender,
    len: u64,
) -> impl Future<Output = io::Result<u64>> + Send + 'a {
    let (from, to) = (from.ring_fd(), to.ring_fd());
    async move {
        if let Some(salvage) = from.salvage_if_made() {
            salvage.receives_settled().await;
            let mut left = Vec::new();
            let room = usize::try_from(len).unwrap_or(usize::MAX).min(LEFT_BYTES);
            let found = salvage.take_bytes(room, true, &mut |bytes| left.extend_from_slice(bytes));
            if let Some(found) = found {
                // The end is told, and stays; an error is told once.
                if left.is_empty() {
                    if found.result() < 0 {
                        salvage.take_bytes(0, false, &mut |_| {});
                    }
                    return found.ok().map(|_| 0);
                }
                return Operation::on(to, op::Write::some(to, left)).await.0.map(|count| count as u64);
            }
        }
        let between = Between::new(from, to, None, false)?;
        loop {
            match between.tee(to, len).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|count| count as u64),
            }
        }
    }
}

const _: () = {
    const fn send<T: Send + Unpin>() {}
    send::<Splice<'static>>();
    send::<SpliceBidirectional<'static>>();
};
