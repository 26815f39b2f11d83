//! Bytes that were received into a buffer of the loop's.

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::IoBuf;
use super::pool::Pool;
use crate::sys::Pointed;
use crate::sys::zcrx::Area;

/// Received bytes, in a buffer that the kernel picked from the loop's when they arrived. Dropped, on any thread, the buffer
/// goes back to the loop; as long as a lease lives, its memory does, also after the loop.
///
/// It derefs to its bytes, it is `Send + Sync`, and it can be written out again as it is: it is an [`IoBuf`].
///
/// A loop has a bounded number of these buffers (see [`Builder::lease_buffers`](crate::Builder::lease_buffers)): when all of
/// them are held, receives into leases wait. What is kept for long is better copied, with [`to_vec`](slice::to_vec) or
/// [`into_vec`](Lease::into_vec).
pub struct Lease {
    start: NonNull<u8>,
    len: usize,
    owner: Owner,
}

/// What keeps the bytes.
enum Owner {
    Pool {
        _buffer: PoolBuffer,
    },
    /// A piece of the memory that a network card receives into.
    Card {
        _piece: CardPiece,
    },
    /// Bytes that a dropped receive left are copies.
    Heap {
        _bytes: Pointed<u8>,
    },
    /// One of the parts of a lease that was split.
    Shared(Arc<Lease>),
}

/// A buffer of the pool's, to be given back.
struct PoolBuffer {
    pool: NonNull<Pool>,
    id: u16,
}

impl Drop for PoolBuffer {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it was lent by this pool, and is given back once.
        unsafe { Pool::take_back(self.pool, self.id) };
    }
}

/// A piece of such memory, to be given back.
struct CardPiece {
    area: Arc<Area>,
    place: u64,
    len: usize,
}

impl Drop for CardPiece {
    fn drop(&mut self) {
        self.area.give_back(self.place, self.len);
    }
}

// SAFETY: a lease is bytes that nobody changes, and a way to give them back that any thread may go.
unsafe impl Send for Lease {}
// SAFETY: as above.
unsafe impl Sync for Lease {}

impl Lease {
    /// The first `len` bytes of a buffer that the kernel has filled.
    ///
    /// # Safety
    /// The kernel has handed the buffer out, and this is the only lease of it until it is given back.
    #[inline]
    pub(crate) unsafe fn of(pool: &Arc<Pool>, id: u16, len: usize) -> Lease {
        assert!(len <= pool.buffer_bytes(), "the kernel wrote within the buffer");
        let start = pool.address(id);
        Lease { start, len, owner: Owner::Pool { _buffer: PoolBuffer { pool: Pool::lend(pool), id } } }
    }

    /// Nothing, of the first buffer.
    #[cfg(test)]
    pub(crate) fn of_nothing(pool: &Arc<Pool>) -> Lease {
        // SAFETY: no byte of it is looked at.
        unsafe { Lease::of(pool, 0, 0) }
    }

    /// The bytes that a completion of a receive into this memory has told of.
    ///
    /// # Safety
    /// The completion is one of the ring that the memory is registered with, and this is the only lease for it.
    pub(crate) unsafe fn of_area(area: Arc<Area>, offset: u64, len: usize) -> Lease {
        let (start, place) = area.take(offset, len);
        Lease { start, len, owner: Owner::Card { _piece: CardPiece { area, place, len } } }
    }

    /// Bytes that are nobody else's.
    pub(crate) fn copied(bytes: Vec<u8>) -> Lease {
        let bytes = Pointed::new(bytes.into_boxed_slice());
        Lease { start: bytes.start(), len: bytes.len(), owner: Owner::Heap { _bytes: bytes } }
    }

    /// Whether it has a buffer of the loop's.
    pub(crate) fn is_pooled(&self) -> bool {
        matches!(self.owner, Owner::Pool { .. })
    }

    /// Splits the bytes from `at` on off; the buffer goes back when both parts are dropped.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// # let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let mut peer = ringtoss::net::TcpStream::connect(listener.local_addr()?).await?;
    /// # peer.write_all("key=value").await.0?;
    /// # let mut stream = listener.accept().await?.0;
    /// let mut key = stream.recv().await?.expect("bytes");
    /// let value = key.split_off(4);
    /// assert_eq!((&key[..], &value[..]), (&b"key="[..], &b"value"[..]));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If `at` is greater than the length.
    #[must_use = "what is split off is gone if it is not used"]
    pub fn split_off(&mut self, at: usize) -> Lease {
        assert!(at <= self.len, "split at {at} of {} bytes", self.len);
        let whole = match &self.owner {
            Owner::Shared(whole) => whole.clone(),
            _ => self.share(),
        };
        // SAFETY: `at` is within the bytes.
        let start = unsafe { self.start.add(at) };
        let rest = Lease { start, len: self.len - at, owner: Owner::Shared(whole) };
        self.len = at;
        rest
    }

    /// Splits the first `at` bytes off, and keeps the rest.
    ///
    /// # Panics
    /// If `at` is greater than the length.
    #[must_use = "what is split off is gone if it is not used"]
    pub fn split_to(&mut self, at: usize) -> Lease {
        let rest = self.split_off(at);
        std::mem::replace(self, rest)
    }

    /// Makes this the first part of a shared one.
    fn share(&mut self) -> Arc<Lease> {
        let empty = Lease::copied(Vec::new());
        let (start, len) = (self.start, self.len);
        let whole = Arc::new(std::mem::replace(self, empty));
        *self = Lease { start, len, owner: Owner::Shared(whole.clone()) };
        whole
    }

    /// Forgets the first `count` bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len, "advance by {count} of {} bytes", self.len);
        // SAFETY: within the bytes, or one past their end.
        self.start = unsafe { self.start.add(count) };
        self.len -= count;
    }

    /// Forgets all but the first `len` bytes; does nothing if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes as a vector, copied; the buffer goes back.
    pub fn into_vec(self) -> Vec<u8> {
        self.to_vec()
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are there, initialised, and nobody changes them while the owner is held.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Without copying: the buffer goes back when the last of the bytes is dropped.
#[cfg(feature = "bytes")]
impl From<Lease> for bytes::Bytes {
    fn from(lease: Lease) -> bytes::Bytes {
        bytes::Bytes::from_owner(lease)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("len", &self.len).finish_non_exhaustive()
    }
}

// SAFETY: the bytes are in the pool or on the heap and stay put while the lease is moved; nobody changes them.
unsafe impl IoBuf for Lease {
    #[inline]
    fn buf_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    #[inline]
    fn buf_len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(pool: &Arc<Pool>, id: u16, content: &[u8]) -> Lease {
        // SAFETY: the tests hand each buffer out once, and write it before.
        unsafe {
            std::ptr::copy_nonoverlapping(content.as_ptr(), pool.address(id).as_ptr(), content.len());
            Lease::of(pool, id, content.len())
        }
    }

    fn returned(pool: &Pool) -> Vec<u16> {
        let mut back = Vec::new();
        pool.take_returned(64, |id| back.push(id));
        back
    }

    #[test]
    fn parts_share_the_buffer_and_the_last_gives_it_back() {
        let pool = Pool::shared(1, 512, 64);
        pool.grow();
        let mut first = lease(&pool, 3, b"one two three");
        let mut second = first.split_off(4);
        let third = second.split_off(4);
        let head = second.split_to(1);
        assert_eq!([&first[..], &head[..], &second[..], &third[..]], [&b"one "[..], b"t", b"wo ", b"three"]);
        drop((first, second));
        assert!(returned(&pool).is_empty());
        std::thread::spawn(move || drop((head, third))).join().unwrap();
        assert_eq!(returned(&pool), [3]);
        pool.end();
    }

    #[test]
    fn the_memory_outlives_the_pools_owner() {
        let pool = Pool::shared(1, 512, 64);
        pool.grow();
        let mut lease = lease(&pool, 0, b"still here");
        pool.end();
        drop(pool);
        lease.advance(6);
        lease.truncate(3);
        assert_eq!(&lease[..], b"her");
        assert_eq!(lease.into_vec(), b"her");
        assert_eq!(&Lease::copied(vec![1, 2])[..], [1, 2]);
        assert!(Lease::copied(vec![]).is_empty());
    }

    fn made_by(away: bool, pool: &Arc<Pool>, id: u16) -> Lease {
        let pool = pool.clone();
        let make = move || lease(&pool, id, b"lent");
        if away { std::thread::spawn(make).join().unwrap() } else { make() }
    }

    fn drop_by(away: bool, lease: Lease) {
        assert_eq!(&lease[..], b"lent");
        if away { std::thread::spawn(move || drop(lease)).join().unwrap() } else { drop(lease) }
    }

    /// Lent and taken back here and elsewhere, before the end and after it.
    #[test]
    fn the_pool_stays_until_the_last_lease_is_back_and_no_longer() {
        let both = [false, true];
        // By whom two are lent and taken back, and how many are back before the end.
        for (lent, back, before) in both
            .iter()
            .flat_map(|&lent| both.iter().flat_map(move |&back| [0, 1, 2].map(|before| (lent, back, before))))
        {
            let pool = Pool::shared(1, 512, 64);
            pool.grow();
            let weak = Arc::downgrade(&pool);
            let mut leases = vec![made_by(lent, &pool, 0), made_by(!lent, &pool, 1)];
            leases.drain(..before).for_each(|lease| drop_by(back, lease));
            // An operation that has met the loop's end keeps the pool, and may have something to hand out.
            let operation = pool.clone();
            pool.end();
            drop(pool);
            leases.drain(..).for_each(|lease| drop_by(!back, lease));
            for _ in 0..2 {
                drop_by(back, made_by(lent, &operation, 7));
            }
            let mut leases = vec![made_by(lent, &operation, 7), made_by(!lent, &operation, 8)];
            drop(operation);
            while let Some(lease) = leases.pop() {
                assert!(weak.upgrade().is_some(), "{lent} {back} {before}: one is out");
                drop_by(back, lease);
            }
            assert!(weak.upgrade().is_none(), "{lent} {back} {before}: all are back");
        }
    }

    /// Without a weak reference, so that whoever watches memory sees who touches it too late.
    #[test]
    fn threads_that_lend_and_take_back_while_the_loop_ends_free_the_pool_once() {
        for round in 0..if cfg!(miri) { 30 } else { 500 } {
            let pool = Pool::shared(1, 512, 64);
            pool.grow();
            let weak = (round % 2 == 0).then(|| Arc::downgrade(&pool));
            let threads: Vec<_> = (0..3)
                .map(|id| {
                    let first = lease(&pool, id, b"lent");
                    let operation = (id > 0).then(|| pool.clone());
                    std::thread::spawn(move || {
                        drop(first);
                        for _ in 0..if operation.is_some() { 3 } else { 0 } {
                            let pool = operation.as_ref().unwrap();
                            assert_eq!(&lease(pool, id, b"lent")[..], b"lent");
                            assert!(format!("{pool:?}").contains("512"));
                        }
                    })
                })
                .collect();
            pool.end();
            drop(pool);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(weak.is_none_or(|weak| weak.upgrade().is_none()));
        }
    }

    #[test]
    fn a_waker_that_panics_when_a_buffer_is_back_leaves_the_count_right() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a waker");
            }
        }
        let pool = Pool::shared(1, 512, 64);
        pool.grow();
        let weak = Arc::downgrade(&pool);
        let lease = lease(&pool, 0, b"lent");
        pool.wait(&mut None, &Arc::new(Panics).into(), false);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lease))).unwrap_err();
        pool.end();
        drop(pool);
        assert!(weak.upgrade().is_none());
    }

    #[cfg(feature = "bytes")]
    #[test]
    fn frozen_it_is_the_same_memory() {
        let pool = Pool::shared(1, 512, 64);
        pool.grow();
        let frozen = bytes::Bytes::from(lease(&pool, 9, b"frozen"));
        assert_eq!(frozen.as_ptr(), pool.address(9).as_ptr());
        let part = frozen.slice(1..3);
        drop(frozen);
        assert_eq!(&part[..], b"ro");
        assert!(returned(&pool).is_empty());
        drop(part);
        assert_eq!(returned(&pool), [9]);
        pool.end();
    }
}
