//! Bytes from one descriptor to another without a buffer of ours: `IORING_OP_SPLICE`, `IORING_OP_TEE`.
//!
//! The kernel gives both to a worker thread at once, which looks the numbers up when it gets to it and may wait there. So the
//! descriptors are duplicates, owned by what the operations share ([`Between`]), and what can be polled is polled first: an idle
//! connection holds no thread.
//!
//! What has left the source and not reached the target (it lies in the pipe between them) belongs to the source until it has
//! arrived: when everybody has let go of it, it is given back, as what a dropped read brings.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::write::Write;
use super::{Arena, Cqe, CutShort, Left, Next, Op, Operation, Sealed, Sqe};
use crate::buf::{BufResult, IoBuf};
use crate::driver::poll_mask;
use crate::fd::Fd;
use crate::salvage::{Lane, PositionHold, Salvage, Stake, Undo};
use crate::sys;

/// What one step moves at most.
const MOST: u64 = 1 << 30;

/// The offset of what goes by its position, or has none.
const AT_POSITION: u64 = u64::MAX;

/// Bytes that were taken from a source, until they have arrived.
#[derive(Debug)]
struct Owed {
    source: Arc<Salvage>,
    /// The position of the source, where clones share it. Goes before the stake, whose end frees the position for others.
    _hold: Option<PositionHold>,
    /// Made when an operation that may still change things is dropped: from then on readers of the source wait.
    stake: Mutex<Option<Stake>>,
}

impl Owed {
    fn new(source: &Arc<Salvage>, hold: Option<PositionHold>) -> Owed {
        Owed { source: source.clone(), stake: Mutex::default(), _hold: hold }
    }

    fn keep_readers_waiting(&self) {
        let mut stake = self.stake.lock().unwrap_or_else(PoisonError::into_inner);
        stake.get_or_insert_with(|| Stake::of_read(self.source.clone()));
    }

    /// Then the stake goes.
    fn give_back(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.source.give_back(Undo::Back(bytes.len() as u64), bytes);
        }
    }
}

/// Two descriptors, and a pipe between them where neither is one.
#[derive(Debug)]
pub(crate) struct Between {
    input: Fd,
    output: Fd,
    pipe: Option<(PipeReader, PipeWriter)>,
    owed: Owed,
    polls_input: bool,
    polls_output: bool,
}

impl Between {
    /// # Errors
    /// `InvalidInput` if both are one file with one position; too many open files.
    pub(crate) fn new(from: &Fd, to: &Fd, hold: Option<PositionHold>, with_pipe: bool) -> io::Result<Arc<Between>> {
        if hold.is_some() && to.salvage_if_made().is_some_and(|cell| Arc::ptr_eq(cell, from.salvage())) {
            let reason = "a splice from a file to a clone of it: both have one position";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let pipe = if with_pipe { Some(io::pipe()?) } else { None };
        Ok(Arc::new(Between {
            input: from.duplicate()?,
            output: to.duplicate()?,
            pipe,
            owed: Owed::new(from.salvage(), hold),
            polls_input: !from.takes_offsets(),
            polls_output: !to.takes_offsets(),
        }))
    }

    /// Has the pipe hold so much, while it is empty.
    ///
    /// # Errors
    /// Those of `fcntl(2)`: it is more than the user may have.
    pub(crate) fn resize_pipe(&self, bytes: usize) -> io::Result<usize> {
        sys::set_pipe_size(self.pipe().1, bytes)
    }

    fn pipe(&self) -> (RawFd, RawFd) {
        let (reader, writer) = self.pipe.as_ref().expect("neither end is a pipe");
        (reader.as_raw_fd(), writer.as_raw_fd())
    }

    /// From the source into the pipe.
    pub(crate) fn fill(self: &Arc<Between>, len: u64) -> Operation<'static, Splice> {
        let (_, writer) = self.pipe();
        let mut splice = self.splice(self.input.raw(), writer, len);
        splice.polls[1] = None;
        Operation::<Splice>::new(splice)
    }

    /// From the pipe to the target.
    pub(crate) fn drain<'a>(self: &Arc<Between>, to: &'a Fd, len: u64) -> Operation<'a, Splice> {
        let (reader, _) = self.pipe();
        let mut splice = self.splice(reader, self.output.raw(), len);
        splice.polls[0] = None;
        Operation::on(to, splice)
    }

    /// From the source to the target, of which one is a pipe.
    pub(crate) fn through<'a>(self: &Arc<Between>, to: &'a Fd, len: u64) -> Operation<'a, Splice> {
        Operation::on(to, self.splice(self.input.raw(), self.output.raw(), len))
    }

    /// The same between two pipes, and it stays in the first.
    pub(crate) fn tee<'a>(self: &Arc<Between>, to: &'a Fd, len: u64) -> Operation<'a, Splice> {
        let splice = self.splice(self.input.raw(), self.output.raw(), len);
        Operation::on(to, Splice { opcode: io_uring::opcode::Tee::CODE, ..splice })
    }

    fn splice(self: &Arc<Between>, input: RawFd, output: RawFd, len: u64) -> Splice {
        let polls =
            [self.polls_input.then_some((input, libc::POLLIN)), self.polls_output.then_some((output, libc::POLLOUT))];
        let (opcode, between) = (io_uring::opcode::Splice::CODE, self.clone());
        Splice { opcode, input, output, len: len.min(MOST) as u32, polls, polling: false, between }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let Some((reader, _)) = &mut self.pipe else { return };
        // Nobody else has the pipe, so what is there does not get less.
        let mut left = vec![0; sys::bytes_readable(reader.as_raw_fd())];
        if !left.is_empty() && reader.read_exact(&mut left).is_ok() {
            self.owed.give_back(left);
        }
    }
}

/// `IORING_OP_SPLICE`, `IORING_OP_TEE`: `splice(2)`, `tee(2)`. Once dropped, it may have moved a part: that is the fate of a
/// dropped write of the target, and the source goes on behind it.
#[doc(alias = "IORING_OP_SPLICE")]
#[doc(alias = "IORING_OP_TEE")]
#[derive(Debug)]
pub(crate) struct Splice {
    opcode: u8,
    input: RawFd,
    output: RawFd,
    len: u32,
    /// What is to be awaited before, in this order.
    polls: [Option<(RawFd, i16)>; 2],
    polling: bool,
    between: Arc<Between>,
}

impl Sealed for Splice {}

// SAFETY: the entry holds no address.
unsafe impl Op for Splice {
    type Output = io::Result<usize>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        if self.len == 0 {
            return Err(0);
        }
        let poll = self.polls.iter_mut().find_map(Option::take);
        self.polling = poll.is_some();
        if let Some((fd, events)) = poll {
            *sqe = Sqe::new(io_uring::opcode::PollAdd::CODE).fd(fd).op_flags(poll_mask(events));
            return Ok(());
        }
        let offset = if self.opcode == io_uring::opcode::Tee::CODE { 0 } else { AT_POSITION };
        *sqe = Sqe::new(self.opcode)
            .fd(self.output)
            .offset(offset)
            .addr(offset)
            .len(self.len)
            .file_index(self.input as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        // What cannot be polled says so, and is ready.
        let polled = self.polling && cqe.result != -libc::ECANCELED;
        if polled || cqe.interrupted() { Next::Again } else { Next::Done(cqe) }
    }

    fn complete(self, cqe: Cqe) -> io::Result<usize> {
        match cqe.result {
            result if result < 0 => Err(CutShort::error(-result, 0)),
            moved => Ok(moved as usize),
        }
    }

    fn lane(&self) -> Lane {
        Lane::PositionWrite
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        Left::Written { fate: fate(cqe, cqe.result.max(0) as usize), last_step: None }
    }

    fn abandon(&mut self) {
        self.between.owed.keep_readers_waiting();
    }

    fn lose(&mut self) {
        self.between.owed.source.lose();
    }
}

fn fate(cqe: Cqe, taken: usize) -> Result<usize, i32> {
    if cqe.result < 0 && !cqe.cancelled() { Err(-cqe.result) } else { Ok(taken) }
}

/// Bytes that were read from a source the ordinary way, on their way to a target.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// How many the target has taken.
    done: AtomicUsize,
    owed: Owed,
}

impl Held {
    pub(crate) fn new(bytes: Vec<u8>, from: &Fd) -> Arc<Held> {
        Arc::new(Held { bytes, done: AtomicUsize::new(0), owed: Owed::new(from.salvage(), None) })
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Acquire)
    }

    /// Writes what is left; gives how much of it was taken.
    pub(crate) fn write<'a>(self: &Arc<Held>, to: &'a Fd) -> Operation<'a, Forward> {
        let rest = Rest { held: self.clone(), start: self.done() };
        Operation::on(to, Forward { write: Write::some(to, rest), held: self.clone(), taken: 0 })
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.done()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let done = self.done();
        self.owed.give_back(self.bytes.split_off(done));
    }
}

/// The part that is left.
#[derive(Debug)]
pub(crate) struct Rest {
    held: Arc<Held>,
    start: usize,
}

// SAFETY: the bytes are on the heap, are shared with whoever counts what is done, and nobody changes them.
unsafe impl IoBuf for Rest {
    fn buf_ptr(&self) -> *const u8 {
        self.held.bytes[self.start..].as_ptr()
    }

    fn buf_len(&self) -> usize {
        self.held.bytes.len() - self.start
    }
}

/// A write of such bytes: `IORING_OP_WRITE`.
#[derive(Debug)]
pub(crate) struct Forward {
    write: Write<Rest>,
    held: Arc<Held>,
    taken: usize,
}

impl Sealed for Forward {}

// SAFETY: everything is the inner operation's.
unsafe impl Op for Forward {
    type Output = io::Result<usize>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.write.prepare(sqe, arena)
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        let next = self.write.step(cqe);
        let taken = self.write.progress();
        self.held.done.fetch_add(taken - self.taken, Ordering::AcqRel);
        self.taken = taken;
        next
    }

    fn complete(self, cqe: Cqe) -> io::Result<usize> {
        let (result, _): BufResult<usize, Rest> = self.write.complete(cqe);
        result
    }

    fn lane(&self) -> Lane {
        self.write.lane()
    }

    fn leave(&mut self, cqe: Cqe) -> Left {
        self.write.leave(cqe)
    }

    fn abandon(&mut self) {
        self.write.abandon();
        self.held.owed.keep_readers_waiting();
    }

    fn progress(&self) -> usize {
        self.write.progress()
    }

    fn lose(&mut self) {
        self.held.owed.source.lose();
    }
}
