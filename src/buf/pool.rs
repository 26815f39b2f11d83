//! The memory behind leases: buffers that the kernel picks itself when something arrives.

use std::alloc::{self, Layout};
use std::cell::{Cell, UnsafeCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use crossbeam_queue::ArrayQueue;

/// Buffers of the first chunk. Each further one doubles what there is.
const FIRST_CHUNK: usize = 64;
/// With so much memory no more buffers are made as long as many come back: it is about what a CPU's cache holds.
const THRIFTY_BYTES: usize = 1 << 20;
/// So that a buffer's number fits into 16 bits and its ring into 32,768 entries.
const MOST_CHUNKS: usize = 10;

thread_local! {
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// The number of this thread, never used again by another.
#[inline(always)]
fn thread_number() -> u64 {
    match NUMBER.get() {
        0 => number_thread(),
        number => number,
    }
}

#[cold]
#[inline(never)]
fn number_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NUMBER.set(NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.get()
}

/// So many buffers in one piece of memory.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) start: NonNull<u8>,
    layout: Layout,
}

impl Chunk {
    /// `None` if there is no memory.
    pub(super) fn new(bytes: usize, align: usize) -> Option<Chunk> {
        let layout = Layout::from_size_align(bytes, align).expect("a chunk's size is bounded");
        // SAFETY: the layout is not empty. Zeroed memory costs nothing before it is touched, and all of it counts as
        // initialised, whatever the kernel writes.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        NonNull::new(start).map(|start| Chunk { start, layout })
    }
}

impl Chunk {
    /// Asks for huge pages: `madvise(2)`. If there are none it is left as it is.
    pub(super) fn advise_huge_pages(&self, bytes: usize) {
        // SAFETY: it is a hint, about memory that is ours.
        unsafe { libc::madvise(self.start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the pool goes only after every lease and after its loop has reaped.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: a chunk is memory and its layout; who may touch which buffer in it is the pool's business.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    queue: BTreeMap<u64, Waker>,
    /// Those who were called and have not said what came of it.
    called: BTreeSet<u64>,
}

impl Waiters {
    /// Takes out whoever has waited for longest.
    fn call(&mut self) -> Option<Waker> {
        let (number, waker) = self.queue.pop_first()?;
        self.called.insert(number);
        Some(waker)
    }
}

/// How things stood when the kernel was asked for a buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    offered: u64,
    called: u64,
    buffers: usize,
}

/// A place among those who wait for a buffer; the lower, the earlier.
pub(crate) type Place = u64;

/// What `Pool::away` is ahead of the leases that it counts, until the loop has ended: so that it is not 0 before.
const UNTIL_THE_END: i64 = 1 << 62;

/// The buffers of one loop. At any time each of them is with the kernel, with a lease, or back, until it is offered again: in `local`,
/// if its lease was dropped on the loop's thread, else in `returned`. The loop and the leases keep the memory.
///
/// All leases together have one reference to it, beside those of whoever else has one. Whether it is wanted any more is known by counts of
/// what was lent and not taken back: `lent`, by the thread of the loop, which counts without atomic operations, and `away`, by all
/// other threads, and by that one once the loop has ended. Each may be below zero, for what one has lent another may take back; what
/// counts is their sum, and it is made when the loop ends.
pub struct Pool {
    home: u64,
    /// The loop whose kernel ring knows the buffers.
    loop_id: u64,
    buffer_bytes: usize,
    /// Touched on the home thread only, as are the next two.
    local: UnsafeCell<Vec<u16>>,
    lent: Cell<i64>,
    has_ended: Cell<bool>,
    away: AtomicI64,
    returned: ArrayQueue<u16>,
    /// How many buffers were handed to the kernel, and how many of those that wait for one were called.
    offered: AtomicU64,
    called: AtomicU64,
    chunks: [OnceLock<Chunk>; MOST_CHUNKS],
    /// How many of these there are; changed by the loop.
    chunks_made: AtomicUsize,
    most: usize,
    /// Somebody waits. Changed under the lock, looked at without.
    hungry: AtomicBool,
    waiters: Mutex<Waiters>,
}

// SAFETY: all fields but `local`, `lent` and `has_ended` are thread-safe, and those are touched only where the thread's number is the
// home's. Numbers are never given twice, so that is one thread, and its accesses follow each other: none calls anything that comes
// back here.
unsafe impl Sync for Pool {}

/// No more than that: operations are `Debug` and `Send`, and what is the home thread's alone is not to be read by others.
impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("buffer_bytes", &self.buffer_bytes).finish_non_exhaustive()
    }
}

/// Counts a lease as taken back when it is dropped, whatever happened meanwhile.
struct Counted {
    pool: NonNull<Pool>,
    is_home: bool,
}

impl Drop for Counted {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: it is counted still, so the leases' reference is there.
        let pool = unsafe { self.pool.as_ref() };
        if self.is_home && !pool.has_ended.get() {
            pool.lent.set(pool.lent.get() - 1);
        } else {
            // SAFETY: as above, and it is not touched after this.
            unsafe { Pool::settle(self.pool, -1) };
        }
    }
}

impl Pool {
    /// [`Pool::new`], with the reference that all leases have together. It goes when the loop has ended ([`Pool::end`]) and none is out.
    pub(crate) fn shared(loop_id: u64, buffer_bytes: usize, most: usize) -> Arc<Pool> {
        let pool = Arc::new(Pool::new(loop_id, buffer_bytes, most));
        std::mem::forget(pool.clone());
        pool
    }

    /// Without buffers yet. At most `most` will be made, of so many bytes each. The home is this thread.
    fn new(loop_id: u64, buffer_bytes: usize, most: usize) -> Pool {
        Pool {
            home: thread_number(),
            loop_id,
            buffer_bytes,
            local: UnsafeCell::new(Vec::new()),
            lent: Cell::new(0),
            has_ended: Cell::new(false),
            away: AtomicI64::new(UNTIL_THE_END),
            returned: ArrayQueue::new(Pool::entries(most)),
            offered: AtomicU64::new(0),
            called: AtomicU64::new(0),
            chunks: [const { OnceLock::new() }; MOST_CHUNKS],
            chunks_made: AtomicUsize::new(0),
            most,
            hungry: AtomicBool::new(false),
            waiters: Mutex::default(),
        }
    }

    /// How many buffers there can be: `most`, rounded up to whole chunks. A power of two.
    pub(crate) fn entries(most: usize) -> usize {
        most.clamp(FIRST_CHUNK, FIRST_CHUNK << (MOST_CHUNKS - 1)).next_power_of_two()
    }

    /// Whether an entry for this loop may pick from it: `ENOBUFS` otherwise, as the kernel would say without any.
    pub(crate) fn check(&self, loop_id: u64) -> Result<(), i32> {
        if self.loop_id == loop_id { Ok(()) } else { Err(libc::ENOBUFS) }
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// The number of a chunk's first buffer and how many it has.
    fn chunk_range(chunk: usize) -> (usize, usize) {
        match chunk {
            0 => (0, FIRST_CHUNK),
            _ => (FIRST_CHUNK << (chunk - 1), FIRST_CHUNK << (chunk - 1)),
        }
    }

    fn chunk_of(id: u16) -> usize {
        (usize::BITS - (usize::from(id) / FIRST_CHUNK).leading_zeros()) as usize
    }

    /// How many buffers have been made.
    fn buffers(&self) -> usize {
        match self.chunks_made.load(Ordering::Relaxed) {
            0 => 0,
            chunks => FIRST_CHUNK << (chunks - 1),
        }
    }

    /// Whether some have been made since.
    pub(crate) fn has_grown_since(&self, seen: Seen) -> bool {
        self.buffers() > seen.buffers
    }

    /// Makes the next chunk of buffers, and gives their numbers; empty if there are as many as may be, or no memory.
    pub(crate) fn grow(&self) -> std::ops::Range<u16> {
        let chunk = self.chunks_made.load(Ordering::Relaxed);
        let (first, count) = Pool::chunk_range(chunk);
        if chunk == MOST_CHUNKS || first >= Pool::entries(self.most) {
            return 0..0;
        }
        let Some(memory) = Chunk::new(count * self.buffer_bytes, 4096) else { return 0..0 };
        self.chunks[chunk].set(memory).expect("only the loop makes them");
        self.chunks_made.store(chunk + 1, Ordering::Relaxed);
        first as u16..(first + count) as u16
    }

    /// The address of a buffer that has been made.
    #[inline]
    pub(crate) fn address(&self, id: u16) -> NonNull<u8> {
        let chunk = Pool::chunk_of(id);
        let memory = self.chunks[chunk].get().expect("the kernel knows only buffers that were made");
        let index = usize::from(id) - Pool::chunk_range(chunk).0;
        // SAFETY: the index is below the chunk's count, so this is within its memory.
        unsafe { memory.start.add(index * self.buffer_bytes) }
    }

    // ---- the leases' reference ----------------------------------------------------------------------------------

    #[inline(always)]
    fn is_home(&self) -> bool {
        thread_number() == self.home
    }

    /// For a lease: the pool stays until [`Pool::take_back`] is called for it.
    #[inline]
    pub(super) fn lend(this: &Arc<Pool>) -> NonNull<Pool> {
        if this.is_home() && !this.has_ended.get() {
            this.lent.set(this.lent.get() + 1);
        } else if this.away.fetch_add(1, Ordering::Relaxed) == 0 {
            // The loop has ended, and so have all leases that there were: here is another one. It is not taken back before it is there.
            std::mem::forget(this.clone());
        }
        Pool::address_of(this)
    }

    /// Of which an `Arc` can be made again.
    #[inline(always)]
    fn address_of(this: &Arc<Pool>) -> NonNull<Pool> {
        // SAFETY: a value in an `Arc` is not at null.
        unsafe { NonNull::new_unchecked(Arc::as_ptr(this).cast_mut()) }
    }

    /// The buffer of a lease is free again; by any thread.
    ///
    /// # Safety
    /// It was lent ([`Pool::lend`]), and is taken back once.
    #[inline]
    pub(super) unsafe fn take_back(this: NonNull<Pool>, id: u16) {
        // SAFETY: what was lent and not taken back is counted, so the leases' reference is there.
        let pool = unsafe { this.as_ref() };
        let is_home = pool.is_home();
        // Whom the buffer wakes may panic, drop other leases, or end the loop.
        let _counted = Counted { pool: this, is_home };
        pool.put_back(id, is_home);
    }

    /// The loop has ended. On the home thread, once. What was lent keeps the pool until it is back.
    pub(crate) fn end(self: &Arc<Pool>) {
        assert!(self.is_home() && !self.has_ended.get(), "a loop ends on its thread, once");
        self.has_ended.set(true);
        // SAFETY: the leases' reference is there since the beginning, and what is lent is counted.
        unsafe { Pool::settle(Pool::address_of(self), self.lent.get() - UNTIL_THE_END) };
    }

    /// Counts, and lets go of the leases' reference if none of them is left.
    ///
    /// # Safety
    /// The pool is there, and if this makes the count 0, so is the leases' reference.
    unsafe fn settle(this: NonNull<Pool>, change: i64) {
        // SAFETY: the caller's promise. Whoever makes it 0 is the last, so it is still there afterwards; whoever does not, does not look.
        let before = unsafe { this.as_ref() }.away.fetch_add(change, Ordering::AcqRel);
        if before + change == 0 {
            // SAFETY: the leases' reference was forgotten, and nobody else makes the count 0 before somebody forgets another.
            drop(unsafe { Arc::from_raw(this.as_ptr().cast_const()) });
        }
    }

    // ---- buffers that come back -----------------------------------------------------------------------------------

    /// As if there had been a lease.
    #[cfg(test)]
    pub(crate) fn give_back(&self, id: u16) {
        self.put_back(id, self.is_home());
    }

    #[inline(always)]
    fn put_back(&self, id: u16, is_home: bool) {
        if is_home {
            // SAFETY: this is the home thread; see `Sync`.
            unsafe { (*self.local.get()).push(id) };
            // Whoever waits has said so on this thread, or looks for buffers on it later.
        } else {
            self.returned.push(id).expect("it has room for every buffer there is");
            // After the buffer was put down, as whoever waits looks for buffers after it has said so.
            fence(Ordering::SeqCst);
        }
        if self.hungry.load(Ordering::Relaxed) {
            self.call_next();
        }
    }

    /// Hands buffers that came back to `take`, at most so many: those first that this thread gave back last, for they are in its CPU's
    /// caches. On the home thread.
    #[inline]
    pub(crate) fn take_returned(&self, most: usize, mut take: impl FnMut(u16)) {
        assert!(self.is_home(), "only the loop takes buffers back");
        for _ in 0..most {
            // SAFETY: this is the home thread; see `Sync`. The borrow ends before `take` is called, which may do what it likes.
            let id = match unsafe { (*self.local.get()).pop() } {
                // Asked first, because to find nothing costs a fence otherwise.
                None if self.returned.is_empty() => None,
                None => self.returned.pop(),
                here => here,
            };
            let Some(id) = id else { break };
            take(id);
        }
    }

    /// So many buffers have been handed to the kernel. On the home thread, whose alone this count is to change.
    #[inline]
    pub(crate) fn note_offered(&self, count: usize) {
        self.offered.store(self.offered() + count as u64, Ordering::Relaxed);
    }

    /// How things stand, for whoever asks the kernel for a buffer now.
    #[inline]
    pub(crate) fn seen(&self) -> Seen {
        Seen { offered: self.offered(), called: self.called.load(Ordering::Relaxed), buffers: self.buffers() }
    }

    /// How many buffers are back, or were offered since then, for which nobody was called. If there are any, whoever has asked then, and was
    /// told that there is none, may ask again; and somebody must, for they may be all that there are. On the home thread.
    pub(crate) fn uncalled_since(&self, seen: Seen) -> u64 {
        let now = self.seen();
        (now.offered - seen.offered + self.back()).saturating_sub(now.called - seen.called)
    }

    /// Whether so many that come back are enough for those who were refused one.
    pub(crate) fn suffice(&self, back: u64) -> bool {
        back >= self.buffers() as u64 / 4
    }

    /// Whether more buffers would take more memory than the CPU has at hand.
    pub(crate) fn is_large(&self) -> bool {
        self.buffers() * self.buffer_bytes >= THRIFTY_BYTES
    }

    /// How many buffers have been handed to the kernel.
    #[inline]
    pub(crate) fn offered(&self) -> u64 {
        self.offered.load(Ordering::Relaxed)
    }

    /// How many buffers the kernel does not have yet though they are back. On the home thread.
    pub(crate) fn back(&self) -> u64 {
        debug_assert!(self.is_home());
        // SAFETY: as in `take_returned`.
        (unsafe { (*self.local.get()).len() } + self.returned.len()) as u64
    }

    /// How many buffers there can be.
    pub(crate) fn room(&self) -> u64 {
        Pool::entries(self.most) as u64
    }

    /// Whether buffers have come back that the kernel does not have yet. On the home thread.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        debug_assert!(self.is_home());
        // SAFETY: as in `take_returned`.
        !unsafe { &*self.local.get() }.is_empty() || !self.returned.is_empty()
    }

    // ---- waiting for one --------------------------------------------------------------------------------------

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether others have waited for longer.
    #[inline]
    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// Has the waker woken when a buffer comes back and nobody has waited for longer. If there are buffers that nobody was called
    /// for, whoever has waited for longest is called now. On the home thread.
    pub(crate) fn wait(&self, place: &mut Option<Place>, waker: &Waker, uncalled: bool) {
        let waker = waker.clone();
        let mut waiters = self.waiters();
        let number = *place.get_or_insert_with(|| {
            waiters.next += 1;
            waiters.next
        });
        let old = waiters.queue.insert(number, waker);
        waiters.called.remove(&number);
        self.hungry.store(true, Ordering::Relaxed);
        drop(waiters);
        drop(old);
        fence(Ordering::SeqCst);
        if uncalled || self.has_returned() {
            self.call_next();
        }
    }

    /// Whoever waited has got what it wanted, or wants nothing any more. A call that it got and did not use goes on.
    pub(crate) fn leave(&self, place: &mut Option<Place>, satisfied: bool) {
        let Some(number) = place.take() else { return };
        let mut waiters = self.waiters();
        let _waited = waiters.queue.remove(&number);
        let called = waiters.called.remove(&number);
        self.hungry.store(!waiters.queue.is_empty(), Ordering::Relaxed);
        drop(waiters);
        if called && !satisfied {
            self.call_next();
        }
    }

    /// Whether somebody was called, and has not said what came of it.
    pub(crate) fn has_calls(&self) -> bool {
        !self.waiters().called.is_empty()
    }

    /// Passes on the calls of those who have asked again and got nothing yet: what they receive from may rest, and others may have
    /// something waiting. Gives whom to wake. On the home thread, when what was called for has been asked for.
    pub(crate) fn pass_calls_on(&self) -> Vec<Waker> {
        let mut waiters = self.waiters();
        let calls = std::mem::take(&mut waiters.called).len();
        let next: Vec<Waker> = (0..calls).map_while(|_| waiters.call()).collect();
        self.hungry.store(!waiters.queue.is_empty(), Ordering::Relaxed);
        self.called.fetch_add(next.len() as u64, Ordering::Relaxed);
        next
    }

    #[cold]
    fn call_next(&self) {
        let mut waiters = self.waiters();
        let first = waiters.call();
        self.hungry.store(!waiters.queue.is_empty(), Ordering::Relaxed);
        drop(waiters);
        if let Some(waker) = first {
            self.called.fetch_add(1, Ordering::Relaxed);
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn chunks_double_and_addresses_do_not_overlap() {
        let pool = Pool::new(1, 512, 1000);
        assert_eq!(Pool::entries(1000), 1024);
        let mut addresses = Vec::new();
        let mut ranges = Vec::new();
        loop {
            let range = pool.grow();
            if range.is_empty() {
                break;
            }
            addresses.extend(range.clone().map(|id| pool.address(id).as_ptr() as usize));
            ranges.push(range);
        }
        assert_eq!(ranges, [0..64, 64..128, 128..256, 256..512, 512..1024]);
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 512));
        assert_eq!((Pool::entries(0), Pool::entries(1 << 20), Pool::entries(usize::MAX)), (64, 32_768, 32_768));
        assert_eq!(Pool::chunk_of(u16::MAX / 2), MOST_CHUNKS - 1);
    }

    #[test]
    fn buffers_come_back_from_every_thread_and_call_who_waits_in_order() {
        let pool = Arc::new(Pool::new(1, 512, 64));
        pool.grow();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut places = [None; 3];
        for (count, place) in counts.iter().zip(&mut places) {
            pool.wait(place, &count.clone().into(), false);
        }
        let called = || counts.iter().map(|count| count.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        pool.give_back(5);
        assert_eq!(called(), [1, 0, 0]);
        let foreign = pool.clone();
        std::thread::spawn(move || foreign.give_back(6)).join().unwrap();
        assert_eq!(called(), [1, 1, 0]);
        // The second goes without having used its call.
        pool.leave(&mut places[1], false);
        assert_eq!(called(), [1, 1, 1]);
        assert!(!pool.is_hungry());
        let mut back = Vec::new();
        pool.take_returned(usize::MAX, |id| back.push(id));
        assert_eq!(back, [5, 6], "what this thread has had is at hand");
        assert!(!pool.has_returned());
    }

    #[test]
    fn who_begins_to_wait_when_one_is_back_already_is_called() {
        let pool = Pool::new(1, 512, 64);
        pool.grow();
        pool.give_back(1);
        let count = Arc::new(Count::default());
        pool.wait(&mut None, &count.clone().into(), false);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_was_refused_is_told_of_buffers_that_nobody_was_called_for() {
        let pool = Pool::new(1, 16 << 10, 128);
        pool.grow();
        pool.note_offered(64);
        let seen = pool.seen();
        assert!(pool.uncalled_since(seen) == 0 && !pool.suffice(0) && pool.is_large());
        // They come back and go out again, or are here still, and nobody waits.
        pool.note_offered(14);
        pool.give_back(0);
        assert_eq!((pool.uncalled_since(seen), pool.back()), (15, 1));
        assert!(!pool.suffice(15) && pool.suffice(16), "a quarter of all");
        pool.take_returned(64, |_| pool.note_offered(1));
        pool.grow();
        assert!(!pool.suffice(16) && pool.suffice(32));
        let small = Pool::new(1, 512, 128);
        small.grow();
        assert!(!small.is_large(), "more of them are no burden");
        // There can be no more: who waits is called as long as there may be some.
        let counts: [Arc<Count>; 20] = Default::default();
        for count in &counts {
            let uncalled = pool.uncalled_since(seen) > 0;
            pool.wait(&mut None, &count.clone().into(), uncalled);
        }
        let called = counts.iter().filter(|count| count.0.load(Ordering::SeqCst) == 1).count();
        assert_eq!((called, pool.uncalled_since(seen)), (15, 0));
        assert!(pool.is_hungry());
    }

    #[test]
    fn a_call_that_brings_nothing_goes_on_to_the_next_and_once_only() {
        let pool = Pool::new(1, 512, 64);
        pool.grow();
        let counts: [Arc<Count>; 4] = Default::default();
        let mut places = [None; 4];
        for (count, place) in counts.iter().zip(&mut places) {
            pool.wait(place, &count.clone().into(), false);
        }
        let called = || counts.iter().map(|count| count.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        assert!(pool.pass_calls_on().is_empty());
        pool.give_back(1);
        assert_eq!(called(), [1, 0, 0, 0]);
        // It has asked, and rests.
        pool.pass_calls_on().into_iter().for_each(Waker::wake);
        assert_eq!(called(), [1, 1, 0, 0]);
        // What came of it later is no news.
        pool.leave(&mut places[0], false);
        assert_eq!(called(), [1, 1, 0, 0]);
        // The second takes the buffer.
        pool.leave(&mut places[1], true);
        assert!(pool.pass_calls_on().is_empty());
        pool.give_back(1);
        pool.take_returned(64, |_| {});
        // The third is refused again, and waits where it was.
        pool.wait(&mut places[2], &counts[2].clone().into(), false);
        assert!(pool.pass_calls_on().is_empty());
        pool.give_back(2);
        assert_eq!(called(), [1, 1, 2, 0]);
        pool.leave(&mut places[2], false);
        assert_eq!(called(), [1, 1, 2, 1]);
        assert!(!pool.is_hungry() && pool.pass_calls_on().is_empty());
    }
}
