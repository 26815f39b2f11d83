//! Buffers that the kernel knows beforehand: their pages are looked up and pinned once, not with every transfer.
//!
//! A pool has regions, each one piece of memory and one entry in the table of registered buffers of every loop that it is
//! registered with. What a transfer needs to know, the table's index on its loop, lies with the region, so a buffer that
//! is used on another loop is an ordinary one there.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use super::aligned::fixed_capacity;
use super::pool::Chunk;
use super::{IoBuf, IoBufMut};

/// Buffers start at multiples of it, and so does what is registered.
pub(crate) const PAGE: usize = 4096;
/// What a huge page has, on the machines that there are.
const HUGE_PAGE: usize = 2 << 20;
/// How much the first region has, in bytes, if so much is wanted. Each further one doubles what there is.
const FIRST_REGION: usize = 1 << 20;
/// What the kernel takes as one registered buffer.
const LARGEST_REGION: usize = 1 << 30;
/// How many loops may know a region.
const HOMES: usize = 16;

/// One piece of memory that loops have registered. Goes with the last of its buffers.
#[derive(Debug)]
pub struct Region {
    chunk: Chunk,
    bytes: usize,
    /// The loops that know it and its index there, in the order of registration; 0 behind the last.
    homes: [AtomicU64; HOMES],
    /// Tells a loop that the index is free again.
    release: fn(u64, u16),
    pool: Weak<Inner>,
}

impl Region {
    /// Its index in the table of a loop. For that loop's thread.
    #[inline(always)]
    pub(crate) fn index_on(&self, loop_id: u64) -> Option<u16> {
        // Relaxed: a loop's entry was made on its own thread.
        debug_assert_ne!(loop_id, 0, "no loop has it, nor an empty place");
        let first = self.homes[0].load(Ordering::Relaxed);
        if first >> 16 == loop_id { Some(first as u16) } else { self.index_on_another(loop_id) }
    }

    /// The same where that is not the first loop that knows it.
    #[cold]
    #[inline(never)]
    fn index_on_another(&self, loop_id: u64) -> Option<u16> {
        let homes = self.homes.iter().map(|home| home.load(Ordering::Relaxed)).take_while(|&home| home != 0);
        homes.map(|home| (home >> 16, home as u16)).find(|home| home.0 == loop_id).map(|home| home.1)
    }

    /// Notes the index that a loop has given it. `Err` if too many loops know it already.
    pub(crate) fn add_home(&self, loop_id: u64, index: u16) -> Result<(), ()> {
        assert!(loop_id != 0 && loop_id < 1 << 48, "2^48 loops");
        let entry = loop_id << 16 | u64::from(index);
        for home in &self.homes {
            if home.compare_exchange(0, entry, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
        Err(())
    }

    /// Where it is and how long.
    pub(crate) fn memory(&self) -> (u64, usize) {
        (self.chunk.start.as_ptr() as u64, self.bytes)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        for home in &mut self.homes {
            match *home.get_mut() {
                0 => return,
                // The kernel has its own hold of the pages, so it does not matter when the loop gets to it.
                home => (self.release)(home >> 16, home as u16),
            }
        }
    }
}

/// A buffer that nobody has.
struct Free {
    region: Arc<Region>,
    start: NonNull<u8>,
}

// SAFETY: an address within the region, which is plain memory.
unsafe impl Send for Free {}

#[derive(Default)]
pub(crate) struct State {
    free: Vec<Free>,
    /// Buffers that have been made.
    made: usize,
    pub(crate) regions: Vec<Weak<Region>>,
    next_ticket: u64,
    waiters: BTreeMap<u64, Waker>,
}

impl State {
    /// Whether any buffers have been made.
    pub(crate) fn has_any(&self) -> bool {
        self.made > 0
    }

    /// Who is to be called now that so many buffers are free. Its waker is taken; whoever is called leaves a new one.
    fn last_served(&mut self) -> Option<Waker> {
        let place = self.free.len().checked_sub(1)?;
        let waker = self.waiters.values_mut().nth(place)?;
        Some(std::mem::replace(waker, Waker::noop().clone()))
    }
}

/// The memory of a [`RegisteredPool`].
pub(crate) struct Inner {
    pub(crate) buffer_bytes: usize,
    pub(crate) most: usize,
    pub(crate) huge_pages: bool,
    release: fn(u64, u16),
    state: Mutex<State>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("RegisteredPool")
            .field("buffer_bytes", &self.buffer_bytes)
            .field("most", &self.most)
            .field("made", &state.made)
            .field("free", &state.free.len())
            .finish()
    }
}

impl Inner {
    pub(crate) fn new(buffer_bytes: usize, most: usize, huge_pages: bool, release: fn(u64, u16)) -> Inner {
        assert!(buffer_bytes <= LARGEST_REGION, "a registered buffer has at most 1 GiB, not {buffer_bytes} bytes");
        let buffer_bytes = buffer_bytes.max(1).next_multiple_of(PAGE);
        Inner { buffer_bytes, most: most.max(1), huge_pages, release, state: Mutex::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock, so a panic cannot leave it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more can be made.
    pub(crate) fn can_grow(&self, state: &State) -> bool {
        state.made < self.most
    }

    /// Makes the next region and has it registered; its buffers are free afterwards. `None`: there is no memory.
    pub(crate) fn grow<E>(
        self: &Arc<Inner>,
        state: &mut State,
        register: impl FnOnce(&Region) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let per_region = |bytes: usize| (bytes / self.buffer_bytes).max(1);
        let wanted = state.made.max(per_region(FIRST_REGION)).min(per_region(LARGEST_REGION));
        let count = wanted.min(self.most - state.made);
        let bytes = count * self.buffer_bytes;
        let chunk = Chunk::new(bytes, if self.huge_pages { HUGE_PAGE } else { PAGE })?;
        if self.huge_pages {
            chunk.advise_huge_pages(bytes);
        }
        let homes = [const { AtomicU64::new(0) }; HOMES];
        let region = Arc::new(Region { chunk, bytes, homes, release: self.release, pool: Arc::downgrade(self) });
        if let Err(error) = register(&region) {
            return Some(Err(error));
        }
        state.made += count;
        state.regions.push(Arc::downgrade(&region));
        state.free.reserve(count);
        // Those in front are used first.
        for index in (0..count).rev() {
            // SAFETY: `count` buffers lie one behind the other in the region.
            let start = unsafe { region.chunk.start.add(index * self.buffer_bytes) };
            state.free.push(Free { region: region.clone(), start });
        }
        Some(Ok(()))
    }

    /// A buffer, for who has waited with this ticket, or not at all: others who have waited for longer come first.
    pub(crate) fn take(&self, state: &mut State, ticket: Option<u64>) -> Option<RegisteredBuf> {
        let before = match ticket {
            Some(ticket) => state.waiters.range(..ticket).count(),
            None => state.waiters.len(),
        };
        if before >= state.free.len() {
            return None;
        }
        let Free { region, start } = state.free.pop().expect("just counted");
        Some(RegisteredBuf { region: ManuallyDrop::new(region), start, len: 0, capacity: self.buffer_bytes })
    }

    /// Takes a place in the queue, or keeps it, with a new waker. Gives the old one.
    pub(crate) fn queue(state: &mut State, ticket: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let number = *ticket.get_or_insert_with(|| {
            state.next_ticket += 1;
            state.next_ticket
        });
        state.waiters.insert(number, waker)
    }

    /// Gives up a place in the queue. Gives the waker, and whose turn it is now.
    pub(crate) fn leave(&self, ticket: u64) -> [Option<Waker>; 2] {
        let mut state = self.lock();
        let own = state.waiters.remove(&ticket);
        [own, state.last_served()]
    }

    fn give_back(&self, free: Free) {
        let mut state = self.lock();
        state.free.push(free);
        let served = state.last_served();
        drop(state);
        if let Some(waker) = served {
            waker.wake();
        }
    }
}

/// Buffers of one size whose pages are registered with the loop: see [`RegisteredPool::new`].
#[derive(Clone, Debug)]
pub struct RegisteredPool {
    pub(crate) inner: Arc<Inner>,
}

/// How a [`RegisteredPool`] is made.
#[derive(Clone, Debug)]
#[must_use = "it makes nothing until `build`"]
pub struct RegisteredPoolBuilder {
    pub(crate) buffer_bytes: usize,
    pub(crate) most: usize,
    pub(crate) huge_pages: bool,
}

/// What [`RegisteredPool::take`] gives.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct TakeRegistered<'a> {
    pub(crate) pool: &'a RegisteredPool,
    pub(crate) ticket: Option<u64>,
}

/// A buffer of a [`RegisteredPool`], aligned to 4,096 bytes, of a fixed capacity. Reads and writes of files with it go by
/// `IORING_OP_READ_FIXED` and `IORING_OP_WRITE_FIXED` on the loops that its pool is registered with. It goes back to its
/// pool when it is dropped, on any thread.
pub struct RegisteredBuf {
    /// Given back with the buffer when that is dropped.
    region: ManuallyDrop<Arc<Region>>,
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

impl RegisteredBuf {
    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Drop for RegisteredBuf {
    fn drop(&mut self) {
        // SAFETY: taken here only, and the value is gone afterwards.
        let region = unsafe { ManuallyDrop::take(&mut self.region) };
        if let Some(pool) = region.pool.upgrade() {
            pool.give_back(Free { region, start: self.start });
        }
    }
}

impl fmt::Debug for RegisteredBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisteredBuf").field("len", &self.len).field("capacity", &self.capacity).finish()
    }
}

fixed_capacity! { RegisteredBuf;
    #[inline]
    fn registered(&self) -> Option<&Region> {
        Some(&self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    static RELEASED: AtomicUsize = AtomicUsize::new(0);

    fn pool(buffer_bytes: usize, most: usize) -> Arc<Inner> {
        Arc::new(Inner::new(buffer_bytes, most, false, |loop_id, index| {
            assert_eq!((loop_id, index), (7, 3));
            RELEASED.fetch_add(1, Ordering::Relaxed);
        }))
    }

    fn take(pool: &Inner, ticket: Option<u64>) -> Option<RegisteredBuf> {
        pool.take(&mut pool.lock(), ticket)
    }

    fn grow(pool: &Arc<Inner>) {
        let register = |region: &Region| region.add_home(7, 3);
        pool.grow(&mut pool.lock(), register).unwrap().unwrap();
    }

    #[test]
    fn regions_double_and_go_with_their_last_buffer() {
        let pool = pool(1000, 300);
        assert_eq!(pool.buffer_bytes, 4096);
        assert!(take(&pool, None).is_none());
        let mut made = Vec::new();
        while pool.can_grow(&pool.lock()) {
            grow(&pool);
            made.push(pool.lock().made);
        }
        assert_eq!(made, [256, 300]);
        let mut buffers: Vec<RegisteredBuf> = std::iter::from_fn(|| take(&pool, None)).collect();
        assert_eq!(buffers.len(), 300);
        let mut addresses: Vec<usize> = buffers.iter().map(|buf| buf.as_ptr() as usize).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 4096));
        let first = buffers.remove(0);
        assert_eq!((first.registered().unwrap().index_on(7), first.registered().unwrap().index_on(8)), (Some(3), None));
        drop(buffers);
        assert_eq!(pool.lock().free.len(), 299);
        drop(pool);
        assert_eq!(RELEASED.load(Ordering::Relaxed), 1, "the second region");
        drop(first);
        assert_eq!(RELEASED.load(Ordering::Relaxed), 2);
    }

    #[test]
    #[should_panic(expected = "at most 1 GiB")]
    fn no_size_is_too_large_to_be_refused() {
        let _ = Inner::new(usize::MAX, 1, false, |_, _| {});
    }

    #[test]
    fn those_who_wait_are_served_in_order() {
        let pool = Arc::new(Inner::new(1, 2, false, |_, _| {}));
        grow(&pool);
        let (a, b) = (take(&pool, None).unwrap(), take(&pool, None).unwrap());
        let mut tickets = [None; 3];
        for ticket in &mut tickets {
            Inner::queue(&mut pool.lock(), ticket, Waker::noop().clone());
        }
        drop(a);
        assert!(take(&pool, None).is_none(), "nobody overtakes");
        assert!(take(&pool, tickets[1]).is_none());
        drop(take(&pool, tickets[0]).expect("the first has its turn"));
        pool.leave(tickets[0].unwrap());
        drop(b);
        let second = take(&pool, tickets[2]).expect("two are free, and it is the second");
        pool.leave(tickets[2].unwrap());
        assert!(take(&pool, tickets[1]).is_some());
        pool.leave(tickets[1].unwrap());
        drop(second);
        assert!(take(&pool, None).is_some());
    }
}
