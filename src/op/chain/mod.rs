//! Chains: operations that go to the kernel together and that it runs one behind the other, as one future with one wake.
//!
//! ```text
//!   file.write_all_at(buf, 0) .link( file.sync_data() )
//!
//!      future ──► entry: WRITE ──link──► entry: FSYNC          one submission
//!                    │                      │
//!                    │ whole: silent        │ done
//!                    │ short, error ──────► │ ECANCELED         one wake, when the last word has been said
//!                    ▼                      ▼
//!          (io::Result<()>, buf),      io::Result<()>           the output: that of each link, in their order
//! ```
//!
//! # What happens to the rest when one fails
//!
//! * Behind [`link`](Operation::link) (`IOSQE_IO_LINK`) an operation runs only if the one before it succeeded. Otherwise it and
//!   everything behind it, however that is tied, has not run, and its output is the error `ECANCELED` (with its buffer).
//! * Behind [`hardlink`](Operation::hardlink) (`IOSQE_IO_HARDLINK`) it runs when the one before it has ended, however.
//! * A transfer that moves fewer bytes than it was asked to is a failure to the kernel. One that is to be whole
//!   (`write_all_at`, `read_exact_at`, `write_all`, …) is gone on with instead, and the rest is submitted again behind it;
//!   before a hard link it cannot be, and then it is an error. A plain `read_at` that meets the end of the file has
//!   succeeded as its output says, and what follows it softly has not run.
//! * A link that cannot even be prepared (a path with a NUL in it, an operation at a file's position) fails all of them before
//!   any runs: it has its error, the others `ECANCELED`.
//!
//! # What happens when it is dropped
//!
//! Before it was submitted, nothing: its entries are made void. Afterwards the link that the kernel is at is cancelled, those
//! behind it do not run, and each that has ended leaves its traces as if it had been dropped alone: received bytes go to the
//! next receive, the fate of a write is known before the next one starts, a file that was opened is closed.
//!
//! # A file of its own
//!
//! A chain may open a file for itself ([`OpenOptions::open_chained`](crate::fs::OpenOptions::open_chained)), which its other links
//! name as [`ChainedFile`](crate::fs::ChainedFile). It lies at a place of the ring's table, without a number, and is gone when the
//! chain is over.
//!
//! # How it goes to the kernel
//!
//! A chain never straddles two enters; the queue is emptied before it, if it must be. If an operation that was dropped on one
//! of its objects is not over yet, or left something, or the queue is shorter than the chain, then its links are submitted one by
//! one, with the same outcome.

mod links;
mod own;
mod standing;

use std::task::Waker;
use std::time::Duration;

pub use links::{Extend, Link, Links, Member};
use own::OwnFile;
pub use own::{CloseChained, OnChained, OpenChained};
use standing::Standing;

use super::operation::Passed;
use super::orphan::leave;
use super::{Arena, Cqe, Left, Next, Op, Operation, Sealed, Sqe};
use crate::driver::{ChainEntry, Driver, Unstaged};
use crate::fd::Fd;
use crate::guard::guard;
use crate::ring::{LATE, LINKS_AT_MOST, OWN_FILE};
use crate::salvage::{Gate, Lane, Salvage};
use crate::slot::{self, Key};

/// What [`Op::prepare`] does not say: this link is more than one call, so the kernel cannot know when it is done.
const IN_STEPS: i32 = i32::MAX;

/// Flags of a completion that stands for a whole chain that nobody asked to end.
const BY_ITSELF: u32 = 1 << 31;

/// A chain of operations: made by [`Operation::link`]. See the [module](self) for what it does.
pub struct Linked<L: Links> {
    links: L,
    standings: L::Standings,
    count: usize,
    /// Those before it have ended for good.
    first: usize,
    /// How many from there are with the kernel.
    staged: usize,
    /// How many of these have told their results.
    heard: usize,
    /// The first of them that goes on.
    again: Option<usize>,
    /// One link a submission.
    one_by_one: bool,
    /// Every link tells of its success: something was wrong, and it was not said with which.
    loud: bool,
    /// Which one could not be prepared, and why.
    refused: Option<(usize, i32)>,
    waiting: Option<standing::Waiting>,
    /// Its name with the kernel, after its future was dropped.
    left: Option<(u64, Key)>,
}

impl<L: Links> std::fmt::Debug for Linked<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linked").field("links", &self.count).field("ended", &self.first).finish_non_exhaustive()
    }
}

/// A chain of two.
pub type Two<A, B> = Linked<(Option<A>, Option<B>)>;

impl<L: Links> Sealed for Linked<L> {}

/// What one more link can be added to: an operation, or a chain of up to five.
pub trait Chain: Op {
    #[doc(hidden)]
    type Links: Extend;

    #[doc(hidden)]
    fn into_chain(self, fd: Option<&Fd>) -> Linked<Self::Links>;
}

impl<O: Link> Chain for O {
    type Links = (Option<O>,);

    fn into_chain(mut self, fd: Option<&Fd>) -> Linked<(Option<O>,)> {
        self.join();
        let standings = standing::Standings([Standing::of(fd)]);
        Linked {
            links: (Some(self),),
            standings,
            count: 1,
            first: 0,
            staged: 0,
            heard: 0,
            again: None,
            one_by_one: false,
            loud: false,
            refused: None,
            waiting: None,
            left: None,
        }
    }
}

impl<L: Extend> Chain for Linked<L> {
    type Links = L;

    fn into_chain(self, _fd: Option<&Fd>) -> Linked<L> {
        self
    }
}

/// # Chains
impl<'a, C: Chain> Operation<'a, C> {
    /// Has `next` done behind this, if this succeeds: both go to the kernel together, and there is one wake for both
    /// (`IOSQE_IO_LINK` of `io_uring_enter(2)`). If this fails, or moves fewer bytes than it was asked to, `next` has not run,
    /// and its output is the error `ECANCELED`; a transfer that is to be whole is gone on with instead. Up to six can be
    /// linked; the output is a tuple of theirs. See the module [`chain`](crate::op::chain).
    ///
    /// Dropped early, the link that is at work is cancelled, and those behind it do not run.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::File;
    /// let file = File::from_std(tempfile::tempfile()?);
    ///
    /// // Written, and on the device, for one submission and one wake.
    /// let ((written, _record), synced) = file.write_all_at("a record", 0).link(file.sync_data()).await;
    /// written?;
    /// synced?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If one of them was polled already.
    #[doc(alias = "IOSQE_IO_LINK")]
    pub fn link<B: Link>(self, next: Operation<'a, B>) -> Operation<'a, Linked<<C::Links as Extend>::With<B>>> {
        self.tie(next, false)
    }

    /// The same, but `next` is done behind this whether this succeeds or not (`IOSQE_IO_HARDLINK`). A transfer before it that
    /// is to be whole and is not, is an error, for the kernel does not wait for the rest of it.
    ///
    /// # Panics
    /// If one of them was polled already.
    #[doc(alias = "IOSQE_IO_HARDLINK")]
    pub fn hardlink<B: Link>(self, next: Operation<'a, B>) -> Operation<'a, Linked<<C::Links as Extend>::With<B>>> {
        self.tie(next, true)
    }

    /// Has the kernel bound this operation, or the last link of this chain (`IORING_OP_LINK_TIMEOUT`): when it has run for
    /// `limit` it is cancelled, its output is an error of kind [`TimedOut`](std::io::ErrorKind::TimedOut) with its buffer, and
    /// what is linked behind it softly does not run. The time starts when the link does, not when the chain does. A link with a
    /// limit begins a submission of its own, behind what comes before it: on Linux 6.1 its time does not start otherwise.
    ///
    /// This is for links. For an operation alone [`timeout`](Operation::timeout) costs a fifteenth of it.
    ///
    /// # Panics
    /// If it was polled already.
    #[doc(alias = "IORING_OP_LINK_TIMEOUT")]
    pub fn link_timeout(self, limit: Duration) -> Operation<'a, Linked<C::Links>> {
        let (op, fd) = self.into_parts();
        let mut chain = op.into_chain(fd);
        // The kernel takes no zero for a time: it would be none.
        let ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64);
        chain.standings[chain.count - 1].limit_ns = Some(ns);
        Operation::<Linked<C::Links>>::new(chain)
    }

    fn tie<B: Link>(self, next: Operation<'a, B>, hard: bool) -> Operation<'a, Linked<<C::Links as Extend>::With<B>>> {
        const {
            let opens = <C::Links as Links>::OPENER.is_some();
            assert!(!(opens && B::OPENS), "ringtoss: a chain opens one file for itself");
            assert!(opens || !B::NEEDS_OPEN, "ringtoss: this chain has opened no file for itself");
        }
        let (op, fd) = self.into_parts();
        let (mut next, next_fd) = next.into_parts();
        next.join();
        let Linked { links, mut standings, count, .. } = op.into_chain(fd);
        standings[count - 1].hard = hard;
        let standings = C::Links::stand::<B>(standings, Standing::of(next_fd));
        let links = links.with(next);
        Operation::<Linked<<C::Links as Extend>::With<B>>>::new(Linked {
            links,
            standings,
            count: count + 1,
            first: 0,
            staged: 0,
            heard: 0,
            again: None,
            one_by_one: false,
            loud: false,
            refused: None,
            waiting: None,
            left: None,
        })
    }
}

impl<L: Links> Linked<L> {
    /// How many links go with the next submission.
    fn next(&self) -> usize {
        if self.one_by_one {
            return 1;
        }
        // A limit is only for the first: Linux 6.1 arms that of no other, if a worker thread made the one before.
        let limited = |number: &usize| self.standings[*number].limit_ns.is_some();
        (self.first + 1..self.count).find(limited).unwrap_or(self.count) - self.first
    }

    /// Whether what follows this link runs.
    fn goes_on(&self, number: usize) -> bool {
        self.standings[number].hard || !self.standings[number].has_failed()
    }

    /// Everything from a link on has not run, and does not.
    fn cancel_from(&mut self, number: usize) {
        for standing in &mut self.standings[number..self.count] {
            standing.result = Some(Cqe::of(-libc::ECANCELED));
        }
    }

    /// Whether a link has to do with a file at a place of the table, which is there for one submission only.
    fn is_placed(&mut self, number: usize) -> bool {
        let Some(opener) = L::OPENER.filter(|&opener| number > opener) else { return false };
        self.links.link(opener).own_file().is_some_and(|own| own.place.is_some())
    }

    /// How the file that the chain opens for itself gets there: whether the next submission wants a place for it.
    fn wants_place(&mut self) -> bool {
        let Some(opener) = L::OPENER.filter(|&opener| opener >= self.first) else { return false };
        if let Some(own) = self.links.link(opener).own_file() {
            own.place = None;
        }
        // With all that is done to it, or by its number and one by one.
        self.one_by_one |= self.first + self.next() < self.count;
        !self.one_by_one
    }

    /// The file that was opened by its number is about to be named here.
    fn visit_own_file(&mut self, loop_id: u64, driver: &mut Driver) {
        if let Some(opener) = L::OPENER
            && let Some(own) = self.links.link(opener).own_file()
            && let Some(fd) = own.fd.as_ref().filter(|fd| !fd.is_home(loop_id))
        {
            fd.visit(loop_id, driver);
        }
    }

    /// All links of a submission have told their results.
    fn submission_is_over(&mut self) -> Next {
        let silent = self.standings[self.first].silent;
        let next = self.first + std::mem::take(&mut self.staged);
        if let Some(number) = self.again.take() {
            self.first = number;
            return Next::Again;
        }
        if silent && !self.loud && self.standings[self.first].is_cancelled() {
            // None has run. If nobody wanted that, then one of them could not be taken, and it was not said which.
            self.loud = true;
            self.standings[self.first..next].iter_mut().for_each(|standing| standing.result = None);
            return Next::Again;
        }
        let breaks = (self.first..next).any(|number| !self.goes_on(number));
        if !breaks && next < self.count {
            self.first = next;
            return Next::Again;
        }
        self.cancel_from(next);
        self.first = self.count;
        Next::Done(self.last_word())
    }

    /// What stands for all of them: a cancellation, if there was one.
    fn last_word(&self) -> Cqe {
        let cancelled = self.standings[..self.count].iter().any(Standing::is_cancelled);
        let result = if cancelled { -libc::ECANCELED } else { 0 };
        Cqe { result, flags: BY_ITSELF }
    }

    /// Of the links before one, each that has done something leaves its traces. The kernel has none of them, nobody takes their
    /// outputs, and their objects are there still.
    fn undo(&mut self, before: usize) {
        for number in (0..before).rev() {
            let link = self.links.link(number);
            let (lane, progress) = (link.lane(), link.progress());
            let standing = &self.standings[number];
            if standing.result.is_none() && progress == 0 {
                continue;
            }
            let cqe = standing.result.unwrap_or(Cqe::of(-libc::ECANCELED));
            match standing.fd().filter(|_| lane.leaves_traces()).map(Fd::salvage) {
                Some(salvage) => link.undo(salvage, cqe),
                // A descriptor that it gave is closed.
                None => link.finish(None, cqe, 0, Key { index: 0, generation: 0 }),
            }
        }
    }

    /// The result of each link, when the chain ended with `cqe`.
    fn results(&self, cqe: Cqe) -> [Cqe; LINKS_AT_MOST] {
        let errno = if cqe.result < 0 { cqe.result } else { -libc::ECANCELED };
        let mut results = [Cqe::of(errno); LINKS_AT_MOST];
        let mut reached = true;
        for (result, standing) in results.iter_mut().zip(&self.standings[..self.count]) {
            match standing.result {
                Some(cqe) if !cqe.cancelled() => *result = cqe,
                // By its limit, for nobody else wanted it to end.
                Some(_) if reached && standing.limit_ns.is_some() && cqe.flags == BY_ITSELF => {
                    *result = Cqe::of(-LATE);
                }
                _ => {}
            }
            reached &= standing.result.is_some() && (standing.hard || !standing.has_failed());
        }
        results
    }
}

// SAFETY: its links promise it of their addresses; they are moved with it.
unsafe impl<L: Links> Op for Linked<L> {
    type Output = L::Output;

    fn prepare(&mut self, _sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        unreachable!("a chain is staged as a whole")
    }

    fn stage(
        &mut self,
        loop_id: u64,
        driver: &mut Driver,
        mut waker: Waker,
        _place: Option<(&Fd, u32)>,
    ) -> Result<Key, (i32, Waker)> {
        loop {
            let opens = self.wants_place();
            self.visit_own_file(loop_id, driver);
            let (first, count) = (self.first, self.next());
            let range = first..first + count;
            let limits = self.standings[range.clone()].iter().filter(|standing| standing.limit_ns.is_some()).count();
            // If one of them cannot even be taken, the kernel fails all of them, hard links or not: behind a first one that is
            // hard it could not be told from one that has failed by itself, upon which the rest is silent.
            let silent = !self.loud && limits == 0 && !self.standings[first].hard;
            for number in range {
                let lane = self.links.link(number).lane();
                if matches!(lane, Lane::PositionRead | Lane::PositionWrite) {
                    self.refused = Some((number, libc::EINVAL));
                    return Err((libc::EINVAL, waker));
                }
                // By its number: the kernel looks up what a link names when it gets to it.
                if let Some(fd) = self.standings[number].fd().filter(|fd| !fd.is_home(loop_id)) {
                    fd.visit(loop_id, driver);
                }
            }
            let Linked { links, standings, one_by_one, .. } = self;
            let submitted = driver.submit_chain(waker, count, count + limits, opens, |number, place, sqe, arena| {
                let number = first + number;
                let standing = &mut standings[number];
                if L::OPENER == Some(number)
                    && let Some(own) = links.link(number).own_file()
                {
                    own.place = place;
                }
                standing.prepare(links.link(number), sqe, arena, *one_by_one)?;
                if let Some(opener) = L::OPENER
                    && sqe.fd == OWN_FILE
                {
                    own::name(links, opener, number, sqe);
                }
                standing.silent = silent && !standing.hard && number + 1 < first + count && standing.exact.is_some();
                let (exact, silent, hard) = (standing.exact, standing.silent, standing.hard);
                Ok(ChainEntry { link: slot::Link { exact, silent, hard }, limit_ns: standing.limit_ns })
            });
            let refused = match submitted {
                Ok(key) => {
                    (self.staged, self.heard) = (count, 0);
                    return Ok(key);
                }
                Err((refused, back)) => {
                    waker = back;
                    refused
                }
            };
            match refused {
                Unstaged::TooLong | Unstaged::Refused(_, IN_STEPS) if !self.one_by_one => self.one_by_one = true,
                Unstaged::NoPlace => self.one_by_one = true,
                // A link with its limit, on a queue of one entry.
                Unstaged::TooLong => {
                    self.refused = Some((first, libc::EINVAL));
                    return Err((libc::EINVAL, waker));
                }
                Unstaged::Refused(number, errno) => {
                    self.refused = Some((first + number, errno));
                    return Err((errno, waker));
                }
            }
        }
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if self.staged == 0 {
            // It did not get to the kernel.
            let (number, errno) = self.refused.take().unwrap_or((self.first, -cqe.result));
            self.cancel_from(self.first);
            self.standings[number].result = Some(Cqe::of(-errno));
            self.first = self.count;
            return Next::Done(self.last_word());
        }
        let number = self.first + self.heard;
        self.heard += 1;
        if self.again.is_none() {
            let hard = self.standings[number].hard && number + 1 < self.first + self.staged || self.is_placed(number);
            match self.links.link(number).step(cqe) {
                Next::Again if !hard => self.again = Some(number),
                // What follows has run already, or its file is closed.
                Next::Again => self.standings[number].result = Some(cqe),
                Next::Done(cqe) => self.standings[number].result = Some(cqe),
                Next::More => unreachable!("a link has one completion"),
            }
        }
        if self.heard < self.staged { Next::More } else { self.submission_is_over() }
    }

    fn complete(mut self, cqe: Cqe) -> L::Output {
        let results = self.results(cqe);
        drop(self.waiting.take());
        self.links.complete(&results)
    }

    /// Each leaves its traces.
    fn discard(mut self, cqe: Cqe) {
        let results = self.results(cqe);
        let (loop_id, key) = self.left.expect("its future was dropped");
        for (number, (standing, cqe)) in self.standings[..self.count].iter_mut().zip(results).enumerate() {
            let salvage = standing.salvage.take();
            // A buffer that panics is not to keep the objects of the other links waiting.
            guard(|| self.links.link(number).finish(salvage.as_deref(), cqe, loop_id, key.link(number as u32)));
        }
    }

    fn has_gates(&self) -> bool {
        true
    }

    /// In one go only if nothing that was dropped on its objects needs looking after.
    fn pass(&mut self, waker: &Waker) -> Passed {
        for number in self.first..self.count {
            let lane = self.links.link(number).lane();
            self.one_by_one |= lane != Lane::Free && self.standings[number].is_gated();
        }
        let number = self.first;
        let lane = self.links.link(number).lane();
        if !self.one_by_one || lane == Lane::Free {
            return Passed::Go;
        }
        let Some(salvage) = self.standings[number].fd().and_then(Fd::salvage_if_made) else { return Passed::Go };
        let salvage = salvage.clone();
        let waiting = self.waiting.get_or_insert_with(|| standing::Waiting::new(salvage.clone()));
        loop {
            match waiting.ask(lane, waker) {
                Gate::Go | Gate::Hold => break,
                Gate::Wait => return Passed::Wait,
                Gate::Lost => {
                    self.waiting = None;
                    (self.staged, self.heard) = (1, 0);
                    return Passed::Took(Cqe::of(-libc::EIO));
                }
                Gate::Take => match self.links.link(number).take_salvaged(&salvage) {
                    Some(cqe) => {
                        self.waiting = None;
                        (self.staged, self.heard) = (1, 0);
                        return Passed::Took(cqe);
                    }
                    None if !salvage.has_items() => {}
                    None => break,
                },
            }
        }
        self.waiting = None;
        Passed::Go
    }

    fn orphaned(&mut self, loop_id: u64, key: Key) {
        self.undo(self.first);
        for number in self.first..self.count {
            let link = self.links.link(number);
            let lane = link.lane();
            link.abandon();
            let standing = &mut self.standings[number];
            if let Some(fd) = standing.fd().filter(|_| lane.leaves_traces()) {
                let salvage = fd.salvage().clone();
                salvage.orphaned(loop_id, key.link(number as u32), lane, false);
                standing.salvage = Some(salvage);
            }
            standing.forget_fd();
        }
        self.left = Some((loop_id, key));
    }

    fn forsake(&mut self) {
        self.undo(self.count);
    }

    fn lose(&mut self) {
        for number in 0..self.count {
            self.links.link(number).lose();
            if let Some(salvage) = self.standings[number].salvage.take() {
                salvage.lose();
            }
        }
    }
}
