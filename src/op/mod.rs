//! Operations: one request to the kernel, as a future.
//!
//! Every operation of this crate is an [`Operation`], the one future that submits an entry to the ring, waits for its
//! completion and turns that into an output; what differs is the [`Op`] inside. Besides awaiting it one can
//!
//! * bound it: [`Operation::timeout`], [`Operation::cancel_on`]. The buffer comes back with the error (but see there
//!   for regular files, which the kernel does not interrupt);
//! * end it: [`Operation::cancel`], which gives the result, or the error of the cancellation, and the buffer;
//! * have another one done behind it, for one submission and one wake: [`Operation::link`], see [`chain`];
//! * drop it at any moment, see below;
//! * submit what this crate does not wrap: [`submit`].
//!
//! # What happens when it is dropped
//!
//! The kernel may be writing into the buffer, so the buffer cannot be freed. If the entry was not handed over yet, it
//! is made void, and everything is freed at once. Otherwise the value (buffer, path) is moved to the loop, which asks
//! the kernel to cancel the operation and finishes it when it has let go. If it completed after all, its result is not
//! lost: bytes and connections go to the next receive or accept on the same object, the fate of a write is known
//! before the next write starts, a file that was opened is closed. A future that is leaked (`mem::forget`) leaks its
//! value with it, and the kernel writes into leaked memory. Nobody cancels it, either: bytes or a connection that come
//! to it are gone, and the next operation on the object gets what comes after them.
//!
//! # Threads
//!
//! An operation belongs to the loop that first polled it. It may be sent, awaited and dropped elsewhere, if its buffer
//! may: the loop is asked by mail. So that loop has to run, or to have ended (then the result is there, or the error
//! that it was cancelled). While it is alive and nobody runs it, or a task blocks it, whoever awaits its operation
//! elsewhere waits, and so does who asks for the next one on the same object while a dropped one is in flight there.
//!
//! # Adding an opcode
//!
//! One file: its struct, [`Op::prepare`] (arguments to entry), [`Op::complete`] (completion to output), a test. Nothing
//! else has to be kept in step.
#![allow(unsafe_code)]

mod at;
pub mod chain;
mod datagrams;
mod few;
mod file;
mod fixed;
mod flags;
mod futex;
mod incoming;
mod kept;
mod large;
mod lease;
mod lent;
mod limit;
mod madvise;
mod message;
mod message_vectored;
mod names;
mod net;
mod operation;
mod orphan;
mod path;
mod position;
mod range;
mod raw;
mod read;
mod read_to_end;
mod reading;
mod ready;
mod receive;
mod rights;
mod splice;
mod turn;
mod vectored;
mod wait_id;
mod write;
mod xattr;
pub(crate) mod zcrx;
mod zero_copy;

pub(crate) use crate::ring::OWN_FILE as CHAINS_OWN;
pub use crate::ring::{Arena, Cqe, Sqe};
pub(crate) use at::{At, Name};
use chain::Link;
#[cfg(any(fuzzing, all(test, not(loom))))]
pub(crate) use datagrams::fuzzed_datagram;
pub use datagrams::{Datagrams, RecvMsgLease, RecvMsgMulti};
pub use file::{Fsync, Ftruncate, Seek};
pub(crate) use flags::{APPEND, ATOMIC, DONTCACHE, DSYNC, NOAPPEND, NOWAIT, SYNC};
pub use futex::{FutexWait, FutexWaitV, FutexWake, Word};
pub use incoming::{AcceptMulti, Incoming};
pub(crate) use kept::{Kept, Promise, Promising};
pub(crate) use large::LARGE;
pub use lease::{Picks, RecvLease, RecvMulti};
pub use lent::{LentBuf, ResultFirst};
pub use limit::{Cancel, CancelOn, CutShort, TimeLimit, transferred};
pub use madvise::{Madvise, MemoryAdvice, madvise};
pub(crate) use message::{Details, Outgoing, source};
pub use message::{Plain, Receives, RecvMsg, SendMsg, WithSource};
pub use message_vectored::{RecvMsgVectored, SendMsgVectored};
pub use names::{LinkAt, MkdirAt, RenameAt, SymlinkAt, UnlinkAt};
pub(crate) use net::poll_number;
pub use net::{Accept, Accepted, Connect, PollAdd, Recv, Send, Shutdown, Socket, poll_readable, poll_writable};
pub use operation::Operation;
use operation::{Next, Passed};
use orphan::Left;
pub use path::{Close, OpenAt, Opened, Statx};
pub(crate) use path::{FromStatx, KernelPath, close, invalid, kernel_path};
pub(crate) use position::{AT_POSITION, NO_OFFSET};
pub use range::{Fadvise, Fallocate, SyncFileRange};
pub use raw::{Completion, Nop, Raw, nop, submit};
pub(crate) use read::Fill;
pub use read::Read;
pub use read_to_end::ReadToEnd;
pub use reading::{ReadLease, Reading};
pub use ready::PollReady;
pub(crate) use receive::OwnedReceiving;
pub use receive::Receiving;
pub use rights::{RecvRights, WithRights};
pub(crate) use splice::{Between, Held};
pub use turn::Receive;
pub(crate) use vectored::Place;
pub use vectored::{Readv, Writev};
pub use wait_id::WaitId;
pub use write::{All, Write};
pub use xattr::{GetXattr, SetXattr};
use zero_copy::has_copied;
pub use zero_copy::{Sends, ZeroCopy};

use std::task::Waker;

use crate::driver::Driver;
use crate::fd::Fd;
use crate::salvage::{Lane, Salvage};
use crate::slot::Key;

mod sealed {
    pub trait Sealed {}
}
pub(crate) use sealed::Sealed;

/// A kind of request to the kernel: arguments in, output out. Sealed: what this crate does not wrap goes through
/// [`submit`].
///
/// # Safety
///
/// Every address in the entry that [`Op::prepare`] gives stays valid while the value is *moved* (heap memory does) and
/// until the last completion, or it points into the arena and is read by the kernel only while it takes the entry.
pub unsafe trait Op: Sized + 'static + Sealed {
    /// What awaiting it gives.
    type Output;

    /// Writes the whole entry for the arguments as they stand; again for what a short transfer left. `Err` is an `errno` with which
    /// the operation ends without having been submitted.
    #[doc(hidden)]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32>;

    /// Hands it to the ring, where its object has a `place` in the table of files by which its number may go. `Err` is what
    /// [`Op::prepare`] says, with the waker, to be dropped outside.
    #[doc(hidden)]
    #[inline]
    fn stage(
        &mut self,
        _loop_id: u64,
        driver: &mut Driver,
        waker: Waker,
        place: Option<(&Fd, u32)>,
    ) -> Result<Key, (i32, Waker)> {
        driver.submit(waker, |sqe, arena| {
            self.prepare(sqe, arena)?;
            if let Some((fd, place)) = place {
                sqe.name_place(fd.raw(), place);
            }
            Ok(())
        })
    }

    /// Takes a completion in and says whether the operation is done.
    #[doc(hidden)]
    #[inline]
    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.more() { Next::More } else { Next::Done(cqe) }
    }

    /// Whether the kernel may want a worker thread for it, and nobody but this side and the kernel cancels it.
    #[doc(hidden)]
    const WANTS_WORKER: bool = false;

    /// Whether [`Op::lend`] is to be asked.
    #[doc(hidden)]
    const LENDS: bool = false;

    /// Asked after a completion that does not end it: whether its output is known, though the kernel still has what it owns.
    /// Then it is completed with what this gives, and whatever owns that from there on is the slot's, whose name this is.
    /// `stopped` says that it is to end as soon as it can.
    #[doc(hidden)]
    #[inline]
    fn lend(&mut self, _loop_id: u64, _key: Key, _stopped: bool) -> Option<Cqe> {
        None
    }

    /// The kernel has cancelled it, which nobody has asked for: it could start no worker thread. Whether to make it again, because
    /// it can do without.
    #[doc(hidden)]
    fn without_worker(&mut self) -> bool {
        false
    }

    /// Whether asking the kernel to cancel it is of any use.
    #[doc(hidden)]
    #[inline]
    fn can_be_cancelled(&self) -> bool {
        true
    }

    /// Turns the completion that ended it into the output.
    #[doc(hidden)]
    fn complete(self, cqe: Cqe) -> Self::Output;

    /// The same where nobody takes the output.
    #[doc(hidden)]
    #[inline]
    fn discard(self, cqe: Cqe) {
        drop(self.complete(cqe));
    }

    /// How it stands to others on the same object.
    #[doc(hidden)]
    #[inline]
    fn lane(&self) -> Lane {
        Lane::Free
    }

    /// What it leaves to its object when its future was dropped. Only for lanes that leave traces.
    #[doc(hidden)]
    fn leave(&mut self, _cqe: Cqe) -> Left {
        Left::Nothing
    }

    /// Its future is gone, and the descriptor may go before the completion comes: from here on its number must not be used.
    #[doc(hidden)]
    fn abandon(&mut self) {}

    /// Its loop ended while the kernel still had it, and it is about to be leaked: nobody may wait for its end for ever. Its
    /// object knows.
    #[doc(hidden)]
    fn lose(&mut self) {}

    /// Bytes that earlier completions of the same operation have moved.
    #[doc(hidden)]
    #[inline]
    fn progress(&self) -> usize {
        0
    }

    /// Whether it goes on by itself until it is cancelled, so that nobody may wait for its end.
    #[doc(hidden)]
    fn is_endless(&self) -> bool {
        false
    }

    /// Whether somebody relies on it though nobody waits for it: then it is not cancelled when its future is dropped.
    #[doc(hidden)]
    #[inline]
    fn is_promised(&self) -> bool {
        false
    }

    /// Whether it is on several objects and looks after their gates by itself: see [`Op::pass`].
    #[doc(hidden)]
    #[inline]
    fn has_gates(&self) -> bool {
        false
    }

    /// Asks whether it may go, as far as what was dropped on its objects is concerned.
    #[doc(hidden)]
    fn pass(&mut self, _waker: &Waker) -> Passed {
        Passed::Go
    }

    /// Its future is being dropped while the kernel has it; this is its name there. Its objects are there still.
    #[doc(hidden)]
    fn orphaned(&mut self, _loop_id: u64, _key: Key) {}

    /// Its future is being dropped while the kernel has nothing of it. Its objects are there still.
    #[doc(hidden)]
    fn forsake(&mut self) {}

    /// Takes what an orphan left, as if the kernel had just given it.
    #[doc(hidden)]
    fn take_salvaged(&mut self, _salvage: &Salvage) -> Option<Cqe> {
        None
    }
}
