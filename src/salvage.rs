//! L1: what an I/O object keeps of operations whose futures were dropped, so that nothing is lost.
//!
//! An object makes this cell the first time that one of its operations is dropped while the kernel has it (and
//! listeners with their first accept); an object without one pays a load per operation. It is shared by clones of the
//! object and by the orphans themselves, and it is thread-safe, because objects move between loops.
//!
//! * **Receives** (`Lane::Receive`, `Lane::Accept`): an orphan leaves whatever it brought, errors and the end of the
//!   stream too (after a reset the first receive gives `ECONNRESET` and the second 0: dropping the first would turn a
//!   reset into a clean end). The next receive takes from here before it asks the kernel, and waits while an orphan is
//!   out: only so does order hold. By waiting it *adopts* the orphan, which then is not cancelled.
//! * **Accepts** run beside each other, and the kernel tells only one of them of a connection. If that one was cancelled
//!   before it took it, the others would wait beside a connection: they are called to ask again.
//!   Receives of datagrams do the same and keep the boundaries: see `datagram`.
//! * **Writes** (`Lane::Send`, `Lane::WriteAt`): an orphan may be taken in part. The next write waits until its fate is
//!   known, at offsets only where the ranges overlap, and the fate can be asked for.
//! * **Settling** (`Lane::Settle`): sync, `set_len`, shutdown wait for all orphaned writes.
//! * **Position** (`Lane::PositionRead`, `Lane::PositionWrite`): an open file has one position, so one such operation is
//!   in flight per open file, clones included. What a dropped read consumed is given back by moving the position.

mod datagram;
mod known;
mod stake;

use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use slab::Slab;

use crate::guard::wake_all;
use crate::ring::Cqe;
use crate::slot::Key;
use crate::sys::{self, RawAddress};
pub(crate) use datagram::Datagram;
use datagram::Receivers;
pub(crate) use stake::{PositionHold, Stake};

/// How an operation stands to others on the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Not at all.
    Free,
    Receive,
    /// A receive that keeps boundaries, and beside which others may run.
    Datagram,
    Accept,
    Send,
    WriteAt {
        start: u64,
        end: u64,
    },
    Settle,
    PositionRead,
    PositionWrite,
}

impl Lane {
    /// Whether a dropped one leaves something for, or must be waited for by, what comes after.
    pub(crate) fn leaves_traces(self) -> bool {
        !matches!(self, Lane::Free | Lane::Settle)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Lane::Receive | Lane::Datagram | Lane::Accept | Lane::PositionRead)
    }
}

/// What an operation may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Go to the kernel.
    Go,
    /// The same, and the position is held until it is freed: see [`Salvage::free_position`].
    Hold,
    /// There is something here to take.
    Take,
    /// Wait; the waker is registered.
    Wait,
    /// An orphan went down with its loop: what it did is not known.
    Lost,
}

/// How a read at the position of a file is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    Nothing,
    /// The position has moved by so much: back.
    Back(u64),
    /// The position was here, wherever it is now.
    To(u64),
}

/// What an orphan brought.
#[derive(Debug)]
pub enum Item {
    Bytes(Vec<u8>),
    End,
    Connection(OwnedFd, RawAddress),
    Datagram(Box<Datagram>),
    /// Descriptors that came with the bytes behind.
    Rights(Vec<OwnedFd>),
    Error(i32),
}

#[derive(Debug)]
struct OutThere {
    loop_id: u64,
    key: Key,
    lane: Lane,
    /// Somebody was told that it is done, so it is not cancelled.
    promised: bool,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    /// How much of a first `Bytes` has been taken.
    taken: usize,
    orphans: Vec<OutThere>,
    waiters: Slab<Waker>,
    /// Those among the waiters that want what an orphan brings.
    adopters: usize,
    /// The fate of the last dropped write: bytes taken, or an `errno`.
    fate: Option<Result<usize, i32>>,
    /// Open descriptors of this object, which share one position.
    descriptors: Vec<RawFd>,
    /// Whether the file has a position; found out when that first matters.
    positioned: Option<bool>,
    position_busy: bool,
    lost: bool,
    visits: Vec<u64>,
    /// Counts the accepts that were cancelled: see [`Salvage::accept_cancelled`].
    accepts_cancelled: u64,
    receivers: Receivers,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Salvage {
    /// Whether operations have to look inside. Changed under the lock only.
    active: AtomicBool,
    /// The kernel copies what is sent from here even if it is asked not to. Of no other memory's concern: relaxed.
    copies: AtomicBool,
    /// The kernel cannot poll its device. The same.
    polling_refused: AtomicBool,
    inner: Mutex<Inner>,
}

/// A place among the waiters.
#[derive(Debug)]
pub(crate) struct Ticket {
    index: usize,
    adopts: bool,
}

impl Inner {
    fn must_look(&self) -> bool {
        !self.items.is_empty()
            || !self.orphans.is_empty()
            || self.descriptors.len() > 1
            || self.lost
            || self.position_busy
            || self.receivers.are_many()
    }

    fn writes_out(&self) -> bool {
        self.orphans.iter().any(|orphan| !orphan.lane.receives())
    }

    fn receives_out(&self) -> bool {
        self.orphans.iter().any(|orphan| orphan.lane.receives())
    }

    /// Whether something was taken from here that may be given back: it comes before all that is here. See `Stake`.
    fn is_owed(&self) -> bool {
        self.orphans.iter().any(|orphan| orphan.loop_id == Stake::NO_LOOP && orphan.lane.receives())
    }

    /// What is no file with a position (a pipe, a terminal) has two directions, and neither waits for the other.
    fn lane_of_object(&mut self, lane: Lane) -> Lane {
        if !matches!(lane, Lane::PositionRead | Lane::PositionWrite) {
            return lane;
        }
        let descriptors = &self.descriptors;
        let positioned =
            *self.positioned.get_or_insert_with(|| descriptors.first().is_none_or(|&fd| sys::has_position(fd)));
        match lane {
            Lane::PositionRead if !positioned => Lane::Receive,
            Lane::PositionWrite if !positioned => Lane::Send,
            lane => lane,
        }
    }

    fn gate(&self, lane: Lane) -> Gate {
        if self.lost {
            return Gate::Lost;
        }
        let wait = match lane {
            Lane::Free => false,
            lane if lane.receives() && !self.items.is_empty() => {
                return if self.is_owed() { Gate::Wait } else { Gate::Take };
            }
            Lane::Receive | Lane::Datagram => self.receives_out(),
            // Accepts run beside each other; an orphan's connection wakes them.
            Lane::Accept => false,
            Lane::Send | Lane::Settle => self.writes_out(),
            Lane::WriteAt { start, end } => self.orphans.iter().any(|orphan| match orphan.lane {
                Lane::WriteAt { start: other_start, end: other_end } => start < other_end && other_start < end,
                other => !other.receives(),
            }),
            Lane::PositionRead | Lane::PositionWrite => !self.orphans.is_empty() || self.position_busy,
        };
        if wait { Gate::Wait } else { Gate::Go }
    }

    /// Puts a waker among the waiters. Gives the one that it replaces, if its owner has a place already.
    fn enqueue(&mut self, adopts: bool, ticket: &mut Option<Ticket>, waker: Waker) -> Option<Waker> {
        match ticket {
            Some(ticket) => Some(std::mem::replace(&mut self.waiters[ticket.index], waker)),
            None => {
                let index = self.waiters.insert(waker);
                self.adopters += usize::from(adopts);
                *ticket = Some(Ticket { index, adopts });
                None
            }
        }
    }

    /// An orphan is none any more; one that held the position gives it back.
    fn strike_off(&mut self, loop_id: u64, key: Key) {
        let Some(index) = self.orphans.iter().position(|orphan| (orphan.loop_id, orphan.key) == (loop_id, key)) else {
            return;
        };
        let lane = self.orphans.remove(index).lane;
        if matches!(lane, Lane::PositionRead | Lane::PositionWrite) {
            self.position_busy = false;
        }
    }

    /// Puts the position back, if there is one. Under the lock, so that the descriptor is open: `remove_descriptor` comes before
    /// its close.
    fn undo(&self, undo: Undo) -> bool {
        self.descriptors.first().is_some_and(|&fd| match undo {
            // At the end of a file the next read meets the end again; a terminal's end comes once.
            Undo::Nothing => sys::has_position(fd),
            Undo::Back(distance) => sys::seek_back(fd, distance),
            // Some descriptors take the call and have no position.
            Undo::To(position) => sys::has_position(fd) && sys::seek(fd, position as i64, libc::SEEK_SET).is_ok(),
        })
    }

    fn put_first(&mut self, items: Vec<Item>) {
        let taken = std::mem::take(&mut self.taken);
        if let Some(Item::Bytes(first)) = self.items.front_mut() {
            first.drain(..taken);
        }
        items.into_iter().rev().for_each(|item| self.items.push_front(item));
    }

    /// How many items to skip to get at the bytes: 1, if descriptors come first.
    fn rights_before_bytes(&self) -> usize {
        usize::from(matches!(self.items.front(), Some(Item::Rights(_))))
    }

    fn take_rights(&mut self) -> Vec<OwnedFd> {
        let Some(Item::Rights(rights)) = self.items.front_mut() else { return Vec::new() };
        let rights = std::mem::take(rights);
        self.items.pop_front();
        rights
    }

    fn dequeue(&mut self, ticket: &mut Option<Ticket>) -> Option<Waker> {
        let ticket = ticket.take()?;
        self.adopters -= usize::from(ticket.adopts);
        Some(self.waiters.remove(ticket.index))
    }
}

impl Salvage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No user code runs under the lock, so a panic cannot leave it half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an operation has to ask at the gate.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    fn update(&self, inner: &Inner) {
        self.active.store(inner.must_look(), Ordering::Release);
    }

    /// Gives up the lock and wakes everybody who waits; each looks again for itself.
    fn release_and_wake(&self, mut inner: MutexGuard<'_, Inner>) {
        self.update(&inner);
        // Taken, not cloned: a clone may run anything. Whoever still waits when it is polled leaves its waker again.
        let waiters = inner.waiters.iter_mut();
        let mut wakers = waiters.map(|(_, waker)| std::mem::replace(waker, Waker::noop().clone())).collect();
        drop(inner);
        wake_all(&mut wakers);
    }

    /// Asks whether an operation may go, take or must wait.
    pub(crate) fn ask(&self, lane: Lane, ticket: &mut Option<Ticket>, waker: &Waker) -> Gate {
        // Wakers are cloned before the lock is held and dropped after: they may be anybody's and run anything.
        let mut waker = Some(waker.clone());
        let _old;
        let mut inner = self.lock();
        let lane = inner.lane_of_object(lane);
        let gate = inner.gate(lane);
        if gate == Gate::Wait {
            _old = waker.take().and_then(|waker| inner.enqueue(lane.receives(), ticket, waker));
            return gate;
        }
        _old = inner.dequeue(ticket);
        let many = inner.descriptors.len() > 1;
        if gate == Gate::Go && many && matches!(lane, Lane::PositionRead | Lane::PositionWrite) {
            inner.position_busy = true;
            self.update(&inner);
            return Gate::Hold;
        }
        gate
    }

    /// What [`Salvage::ask`] would say, without waiting.
    pub(crate) fn look(&self, lane: Lane) -> Gate {
        self.lock().gate(lane)
    }

    /// Whether it has no position, but clones: reads of theirs may be with the kernel beside each other.
    pub(crate) fn is_shared_stream(&self) -> bool {
        let mut inner = self.lock();
        inner.descriptors.len() > 1 && inner.lane_of_object(Lane::PositionRead) == Lane::Receive
    }

    /// The kernel wakes one accept of those that wait for each connection, and if that is being cancelled, nobody takes the
    /// connection, also if it came first and the other was submitted behind its cancellation (probed on 6.18). So those that
    /// were with the kernel beside one that was cancelled try again.
    pub(crate) fn accept_cancelled(&self) {
        let mut inner = self.lock();
        if inner.descriptors.first().is_some_and(|&fd| sys::is_readable(fd)) {
            inner.accepts_cancelled += 1;
            self.release_and_wake(inner);
        }
    }

    /// How many accepts were cancelled so far: one that was submitted at another count tries again.
    pub(crate) fn accepts_cancelled(&self) -> u64 {
        self.lock().accepts_cancelled
    }

    /// Has the waker woken when an orphan brings something, while its own operation is with the kernel.
    pub(crate) fn listen(&self, ticket: &mut Option<Ticket>, waker: &Waker) {
        let waker = waker.clone();
        let old = self.lock().enqueue(false, ticket, waker);
        drop(old);
    }

    /// A waiter goes without having got anything. Gives the receives that nobody waits for any more, to be cancelled.
    pub(crate) fn leave(&self, ticket: &mut Option<Ticket>) -> Vec<(u64, Key)> {
        let _old;
        let mut inner = self.lock();
        let adopted = ticket.as_ref().is_some_and(|ticket| ticket.adopts);
        _old = inner.dequeue(ticket);
        if !adopted || inner.adopters > 0 {
            return Vec::new();
        }
        inner.orphans.iter().filter(|o| o.lane.receives()).map(|o| (o.loop_id, o.key)).collect()
    }

    /// A position operation has ended.
    pub(crate) fn free_position(&self) {
        let mut inner = self.lock();
        if inner.position_busy {
            inner.position_busy = false;
            self.release_and_wake(inner);
        }
    }

    /// An operation was dropped while the kernel has it.
    pub(crate) fn orphaned(&self, loop_id: u64, key: Key, lane: Lane, promised: bool) {
        let mut inner = self.lock();
        let lane = inner.lane_of_object(lane);
        inner.orphans.push(OutThere { loop_id, key, lane, promised });
        self.update(&inner);
    }

    /// Whether an orphaned receive is waited for by the next one.
    pub(crate) fn is_adopted(&self) -> bool {
        self.lock().adopters > 0
    }

    /// An orphan has ended and left this.
    pub(crate) fn settle(&self, loop_id: u64, key: Key, items: impl IntoIterator<Item = Item>) {
        let mut inner = self.lock();
        inner.strike_off(loop_id, key);
        inner.items.extend(items);
        self.release_and_wake(inner);
    }

    /// An orphaned write has ended. `last_step` says where its last step began and how far it went, if it goes by the
    /// position and that may not have moved.
    pub(crate) fn settle_write(&self, loop_id: u64, key: Key, fate: Result<usize, i32>, last_step: Option<(u64, u64)>) {
        let mut inner = self.lock();
        inner.fate = Some(fate);
        if let (Some((before, moved)), Some(&fd)) = (last_step, inner.descriptors.first()) {
            sys::move_along(fd, before, moved, true);
        }
        drop(inner);
        self.settle(loop_id, key, None);
    }

    /// An orphaned read at the position of a file has ended: puts the position back. Where that
    /// cannot be done (a pipe, a terminal), the bytes stay here.
    pub(crate) fn settle_position(&self, loop_id: u64, key: Key, undo: Undo, items: impl IntoIterator<Item = Item>) {
        let mut inner = self.lock();
        let undone = inner.undo(undo);
        inner.strike_off(loop_id, key);
        if !undone {
            inner.items.extend(items);
        }
        self.release_and_wake(inner);
    }

    /// Gives bytes back to where they were read from, without an orphan: whatever is here came behind them.
    pub(crate) fn give_back(&self, undo: Undo, bytes: Vec<u8>) {
        let mut inner = self.lock();
        if !inner.undo(undo) {
            inner.put_first(vec![Item::Bytes(bytes)]);
        }
        self.release_and_wake(inner);
    }

    /// An orphan went down with its loop.
    pub(crate) fn lose(&self) {
        let mut inner = self.lock();
        inner.lost = true;
        self.release_and_wake(inner);
    }

    /// Puts bytes back that were taken and not used, before everything else that is here.
    pub(crate) fn put_back(&self, bytes: Vec<u8>) {
        self.put_items_back(vec![Item::Bytes(bytes)]);
    }

    /// The same of everything that a receive brought which is undone.
    pub(crate) fn put_items_back(&self, items: Vec<Item>) {
        let mut inner = self.lock();
        inner.put_first(items);
        self.release_and_wake(inner);
    }

    /// Takes bytes, or the end or error that an orphan met: at most `capacity` bytes go into `sink`, and the CQE is what
    /// the kernel would have given for them. With `peek` they stay.
    pub(crate) fn take_bytes(&self, capacity: usize, peek: bool, sink: &mut dyn FnMut(&[u8])) -> Option<Cqe> {
        // Dropped after the lock. A read that does not ask for descriptors loses them, as it would in the kernel.
        let mut _rights = Vec::new();
        let mut inner = self.lock();
        let taken = inner.taken;
        let bytes_at = inner.rights_before_bytes();
        if bytes_at > 0 && !peek {
            _rights = inner.take_rights();
        }
        let (cqe, taken_now, left) = match inner.items.get(if peek { bytes_at } else { 0 })? {
            Item::Bytes(bytes) => {
                let rest = &bytes[taken..];
                let count = rest.len().min(capacity);
                sink(&rest[..count]);
                (Cqe::of(count as i32), count, rest.len() - count)
            }
            Item::End => (Cqe::of(0), 0, 0),
            Item::Error(errno) => (Cqe::of(-errno), 0, 0),
            Item::Connection(..) | Item::Datagram(_) | Item::Rights(_) => return None,
        };
        if !peek && left > 0 {
            inner.taken += taken_now;
            return Some(cqe);
        }
        if !peek {
            inner.items.pop_front();
            inner.taken = 0;
            self.update(&inner);
        }
        Some(cqe)
    }

    /// Takes the descriptors that came with the next bytes.
    pub(crate) fn take_rights(&self) -> Vec<OwnedFd> {
        self.lock().take_rights()
    }

    pub(crate) fn has_rights(&self) -> bool {
        self.lock().items.iter().any(|item| match item {
            Item::Rights(_) => true,
            Item::Datagram(datagram) => datagram.control.has_rights(),
            _ => false,
        })
    }

    /// Takes a connection, or the error that an orphaned accept met.
    pub(crate) fn take_connection(&self) -> Option<Result<(OwnedFd, RawAddress), i32>> {
        let mut inner = self.lock();
        let item = match inner.items.front()? {
            Item::Connection(..) | Item::Error(_) => inner.items.pop_front(),
            _ => None,
        };
        self.update(&inner);
        match item? {
            Item::Connection(fd, peer) => Some(Ok((fd, peer))),
            Item::Error(errno) => Some(Err(errno)),
            _ => unreachable!("matched above"),
        }
    }

    pub(crate) fn has_items(&self) -> bool {
        self.is_active() && !self.lock().items.is_empty()
    }

    /// Whether bytes are here that nobody has read.
    pub(crate) fn has_bytes_somewhere(&self) -> bool {
        self.lock().items.iter().any(|item| matches!(item, Item::Bytes(_)))
    }

    /// Whether an orphan has met an error that nobody was told of.
    pub(crate) fn has_error(&self) -> bool {
        self.lock().items.iter().any(|item| matches!(item, Item::Error(_)))
    }

    /// Whether the next thing to take is bytes.
    pub(crate) fn has_bytes(&self) -> bool {
        matches!(self.lock().items.front(), Some(Item::Bytes(_)))
    }

    pub(crate) fn has_orphans(&self) -> bool {
        self.is_active() && !self.lock().orphans.is_empty()
    }

    /// Takes all bytes that are left, for a new owner of the descriptor; an end stays behind.
    pub(crate) fn take_all_bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.has_bytes() {
            self.take_bytes(usize::MAX, false, &mut |bytes| all.extend_from_slice(bytes));
        }
        all
    }

    /// The fate of the last dropped write, once.
    pub(crate) fn take_fate(&self) -> Option<Result<usize, i32>> {
        self.lock().fate.take()
    }

    /// Waits until no dropped write is in flight.
    pub(crate) async fn writes_settled(&self) {
        self.pass(Lane::Settle).await;
    }

    /// Waits until no dropped read is in flight; what they have brought is here then.
    pub(crate) async fn receives_settled(&self) {
        if self.pass(Lane::PositionRead).await == Gate::Hold {
            self.free_position();
        }
    }

    /// Waits until the gate lets an operation pass.
    async fn pass(&self, lane: Lane) -> Gate {
        /// Gives its place back also when it is dropped.
        struct Waiting<'a>(&'a Salvage, Option<Ticket>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                if self.1.is_some() {
                    self.0.leave(&mut self.1);
                }
            }
        }
        let mut waiting = Waiting(self, None);
        std::future::poll_fn(|cx| match self.ask(lane, &mut waiting.1, cx.waker()) {
            Gate::Wait => std::task::Poll::Pending,
            gate => std::task::Poll::Ready(gate),
        })
        .await
    }

    /// What is out there, to be cancelled when the object goes.
    pub(crate) fn orphans(&self) -> Vec<(u64, Key)> {
        let inner = self.lock();
        let unwanted = inner.orphans.iter().filter(|orphan| !orphan.promised);
        unwanted.map(|orphan| (orphan.loop_id, orphan.key)).collect()
    }

    /// Whether bytes are on their way that somebody was told are taken.
    pub(crate) fn has_promised(&self) -> bool {
        self.lock().orphans.iter().any(|orphan| orphan.promised)
    }

    pub(crate) fn add_descriptor(&self, fd: RawFd) {
        let mut inner = self.lock();
        inner.descriptors.push(fd);
        self.update(&inner);
    }

    /// The descriptor is about to be closed or given away: nobody may use it from here any more. Tells whether it was
    /// the last one.
    pub(crate) fn remove_descriptor(&self, fd: RawFd) -> bool {
        let mut inner = self.lock();
        inner.descriptors.retain(|&other| other != fd);
        self.update(&inner);
        inner.descriptors.is_empty()
    }

    /// Notes that a loop has used the object. Gives all loops that have.
    pub(crate) fn visit(&self, loop_id: u64) {
        let mut inner = self.lock();
        if !inner.visits.contains(&loop_id) {
            inner.visits.push(loop_id);
        }
    }

    pub(crate) fn visits(&self) -> Vec<u64> {
        self.lock().visits.clone()
    }
}

#[cfg(test)]
mod tests;
