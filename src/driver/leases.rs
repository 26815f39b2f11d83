//! The buffers of a loop that the kernel picks from.

use std::io;
use std::sync::Arc;

use super::{Driver, HUNGRY};
use crate::buf::Pool;
use crate::ring::BufferRing;

/// The group that entries name. Others are for whoever registers rings by other means.
pub(crate) const GROUP: u16 = 0x7199;

/// How large the buffers are, and how many of them there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseConfig {
    pub buffer_bytes: usize,
    pub most: usize,
}

impl Default for LeaseConfig {
    fn default() -> LeaseConfig {
        LeaseConfig { buffer_bytes: 8192, most: 4096 }
    }
}

/// So many buffers are on offer, if there is no reason for more. The kernel takes them in turn, the one that was offered first; what is
/// not on offer is handed out last in, first out, so that messages go through memory that the CPU has at hand, however many buffers a
/// crowd has once had made.
const ON_OFFER: u64 = 64;
/// Once in so many times that buffers are offered it is looked whether fewer would have done.
const LOOKED_BACK_ON: u32 = 256;

/// The pool and its ring, made with the first receive that wants a lease.
pub(super) struct Leases {
    ring: BufferRing,
    pool: Arc<Pool>,
    /// How many buffers are to be on offer.
    on_offer: u64,
    /// What had been offered when somebody was last refused one.
    refused_at: u64,
    /// How many the kernel had picked when buffers were last offered, and how many it has picked between two times at most.
    picked: u64,
    most_picked: u64,
    times: u32,
}

fn offer(ring: &mut BufferRing, pool: &Pool, id: u16) {
    ring.push(pool.address(id).as_ptr() as u64, pool.buffer_bytes() as u32, id);
}

impl Leases {
    fn new(ring: BufferRing, pool: Arc<Pool>) -> Leases {
        let mut leases = Leases { ring, pool, on_offer: ON_OFFER, refused_at: 0, picked: 0, most_picked: 0, times: 0 };
        leases.make_more();
        leases
    }

    /// How many more are to be on offer, when the kernel has picked so many in all. Whoever picks of a ring of buffers of their own has all
    /// of these offered, for which there is room.
    #[inline]
    fn lacking(&self, picked: u64) -> u64 {
        (picked + self.on_offer).saturating_sub(self.pool.offered())
    }

    /// Has more on offer at the next enter, for somebody was refused one, if there are any that would not be.
    fn widen(&mut self, picked: u64) -> bool {
        let lacking = self.lacking(picked);
        if self.pool.back() <= lacking {
            return false;
        }
        // All who are refused one at the same time want it once.
        let offered = self.pool.offered();
        if self.refused_at != offered || lacking == 0 {
            self.refused_at = offered;
            self.on_offer = (self.on_offer * 2).min(self.pool.room());
        }
        true
    }

    fn make_more(&mut self) -> bool {
        let range = self.pool.grow();
        let grown = !range.is_empty();
        self.pool.note_offered(range.len());
        range.for_each(|id| offer(&mut self.ring, &self.pool, id));
        self.ring.publish();
        grown
    }

    /// Offers what has come back, as far as it is needed, when the kernel has picked so many in all.
    #[inline]
    pub(super) fn refill(&mut self, picked: u64) {
        if self.pool.has_returned() {
            self.offer_returned(picked);
        }
    }

    /// Not inlined, for the enter that it comes before is every turn's.
    #[inline(never)]
    fn offer_returned(&mut self, picked: u64) {
        let lacking = self.lacking(picked);
        if lacking == 0 {
            return;
        }
        self.look_back(picked);
        let Leases { ring, pool, .. } = self;
        let mut count = 0;
        pool.take_returned(lacking as usize, |id| {
            offer(ring, pool, id);
            count += 1;
        });
        ring.publish();
        pool.note_offered(count);
    }

    /// Has fewer on offer, if twice as many as were picked between two times are fewer: half as many at least, for reads of files may have
    /// picked theirs long before they are done.
    fn look_back(&mut self, picked: u64) {
        self.most_picked = self.most_picked.max(picked - self.picked);
        self.picked = picked;
        self.times += 1;
        if self.times == LOOKED_BACK_ON {
            let enough = (2 * self.most_picked).max(self.on_offer / 2).max(ON_OFFER);
            self.on_offer = self.on_offer.min(enough);
            (self.times, self.most_picked) = (0, 0);
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.pool.end();
    }
}

impl Driver {
    /// The buffers to receive into, made if need be.
    ///
    /// # Errors
    /// If the kernel refuses their ring: no memory.
    pub(crate) fn pool(&mut self) -> io::Result<Arc<Pool>> {
        if let Some(leases) = &self.leases {
            return Ok(leases.pool.clone());
        }
        let LeaseConfig { buffer_bytes, most } = self.lease_config;
        let ring = self.ring.register_buffers(GROUP, Pool::entries(most))?;
        let pool = Pool::shared(self.arena.loop_id, buffer_bytes, most);
        self.leases = Some(Leases::new(ring, pool.clone()));
        Ok(pool)
    }

    /// Somebody waits for a buffer.
    pub(crate) fn note_hungry(&mut self) {
        self.sleepless |= HUNGRY;
    }

    /// Before the loop sleeps: whoever was called for a buffer that is back asks the kernel for it, which is `false` here if that is
    /// still to be done. If nothing has come of it, what it receives from rests, and the next who waits is called.
    #[cold]
    pub(super) fn passes_calls_on(&mut self) -> bool {
        let pool = self.leases.as_ref().map(|leases| &leases.pool).filter(|pool| pool.is_hungry());
        let Some(pool) = pool else {
            self.sleepless &= !HUNGRY;
            return true;
        };
        if !pool.has_calls() {
            return true;
        }
        if self.ring.staged() > 0 {
            return false;
        }
        self.harvest.wakers.extend(pool.pass_calls_on());
        true
    }

    /// The kernel has none left, though many are back: has more of them offered at a time, if it is that.
    pub(crate) fn widen_pool(&mut self) {
        if let Some(leases) = &mut self.leases {
            leases.widen(self.slots.picked);
        }
    }

    /// Has more buffers offered, for the kernel has none left. `false` if all that there may be are.
    pub(crate) fn grow_pool(&mut self) -> bool {
        let picked = self.slots.picked;
        self.leases.as_mut().is_some_and(|leases| leases.widen(picked) || leases.make_more())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::fd::OwnedFd;
    use std::task::Poll;

    use super::super::tests::driver;
    use super::*;
    use crate::context;
    use crate::net::UnixStream;
    use crate::ring::Wait;

    /// The kernel has picked so many more buffers, and these have come back.
    fn picked(driver: &mut Driver, count: u64, back: impl IntoIterator<Item = u16>) -> Arc<Pool> {
        driver.slots.picked += count;
        let pool = driver.pool().unwrap();
        back.into_iter().for_each(|id| pool.give_back(id));
        pool
    }

    /// Of which all are on offer.
    fn with_512() -> (Driver, OwnedFd, Arc<Pool>) {
        let (mut driver, wakeup) = driver();
        let pool = driver.pool().unwrap();
        for _ in 0..3 {
            assert!(driver.grow_pool());
        }
        (driver, wakeup, pool)
    }

    fn on_offer(driver: &Driver) -> u64 {
        driver.leases.as_ref().unwrap().on_offer
    }

    #[test]
    fn no_more_are_offered_than_are_picked_at_a_time() {
        let (mut driver, _wakeup) = driver();
        let pool = picked(&mut driver, 10, 0..10);
        driver.enter(Wait::No);
        assert_eq!((pool.offered(), pool.back()), (74, 0), "64 are on offer again");
        // A crowd has others made, and they are there then.
        assert!(driver.grow_pool());
        assert_eq!(pool.offered(), 138);
        picked(&mut driver, 20, 10..30);
        driver.enter(Wait::No);
        assert_eq!((pool.offered(), pool.back()), (138, 20), "108 are there");
        picked(&mut driver, 64, 30..94);
        driver.enter(Wait::No);
        assert_eq!((pool.offered(), pool.back()), (158, 64));
        let mut left = Vec::new();
        pool.take_returned(64, |id| left.push(id));
        assert_eq!(left, (10..74).rev().collect::<Vec<_>>(), "those were offered that came last");
    }

    #[test]
    fn who_is_refused_one_has_more_offered_and_all_at_the_same_time_once() {
        let (mut driver, _wakeup, pool) = with_512();
        assert_eq!((pool.offered(), on_offer(&driver)), (512, 64), "there was nothing else to offer");
        // The kernel has taken all of them, and all are back, of which it would get 64.
        picked(&mut driver, 512, 0..512);
        for _ in 0..40 {
            driver.widen_pool();
            assert!(driver.grow_pool());
        }
        assert_eq!(on_offer(&driver), 128);
        driver.enter(Wait::No);
        assert_eq!((pool.offered(), pool.back()), (640, 384));
        // And again.
        picked(&mut driver, 128, []);
        assert!(driver.grow_pool());
        assert_eq!(on_offer(&driver), 256);
        // Where the count says that many are there, though there are none, it goes on until some are offered.
        for _ in 0..4 {
            driver.enter(Wait::No);
            driver.widen_pool();
        }
        assert!(pool.back() == 0 && on_offer(&driver) <= pool.room());
    }

    /// As where reads of files have picked theirs long before they are done.
    #[test]
    fn more_are_offered_until_some_are_there_though_many_seem_to_be() {
        let (mut driver, _wakeup, pool) = with_512();
        picked(&mut driver, 0, 0..100);
        let mut offers = Vec::new();
        while pool.back() > 0 {
            assert!(offers.len() < 10, "{offers:?}");
            driver.widen_pool();
            driver.enter(Wait::No);
            offers.push(on_offer(&driver));
        }
        assert_eq!((offers, pool.offered()), (vec![128, 256, 512, 1024], 612));
    }

    #[test]
    fn the_driver_goes_before_the_leases() {
        for held in [false, true] {
            let (mut driver, _wakeup) = driver();
            let pool = driver.pool().unwrap();
            let weak = Arc::downgrade(&pool);
            let lease = held.then(|| crate::buf::Lease::of_nothing(&pool));
            drop((pool, driver));
            assert_eq!(weak.upgrade().is_some(), held);
            drop(lease);
            assert!(weak.upgrade().is_none());
        }
    }

    #[test]
    fn what_a_crowd_has_had_offered_is_forgotten() {
        let (mut driver, _wakeup) = driver();
        let pool = picked(&mut driver, 0, []);
        driver.leases.as_mut().unwrap().on_offer = 4096;
        let mut then = Vec::new();
        for round in 1..=7 * u64::from(LOOKED_BACK_ON) {
            picked(&mut driver, 40, 0..40);
            driver.enter(Wait::No);
            assert_eq!(pool.offered(), 64 + 40 * round);
            if round % u64::from(LOOKED_BACK_ON) == 0 {
                then.push(on_offer(&driver));
            }
        }
        assert_eq!(then, [2048, 1024, 512, 256, 128, 80, 80]);
    }

    #[test]
    fn a_crowd_that_is_refused_at_the_same_time_has_others_made_once() {
        for (stream, crowd, made) in [(false, 100, 128), (true, 100, 128), (false, 400, 512), (true, 400, 512)] {
            let event_loop = crate::EventLoop::builder().lease_buffers(512, 4096).build().unwrap();
            event_loop.block_on(async {
                let mut pairs: Vec<_> = (0..crowd).map(|_| UnixStream::pair().unwrap()).collect();
                for (_, peer) in &mut pairs {
                    peer.write_all(b"one".to_vec()).await.0.unwrap();
                }
                let held = pairs.iter_mut().map(|(ours, _)| {
                    Box::pin(async move {
                        if stream {
                            ours.recv_stream().next().await.unwrap()
                        } else {
                            ours.recv().await.map(Option::unwrap)
                        }
                    })
                });
                let mut waiting: Vec<_> = held.collect();
                let mut leases = Vec::new();
                poll_fn(|cx| {
                    waiting.retain_mut(|future| match future.as_mut().poll(cx) {
                        Poll::Ready(lease) => {
                            leases.push(lease.unwrap());
                            false
                        }
                        Poll::Pending => true,
                    });
                    if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                assert!(leases.iter().all(|lease| lease[..] == b"one"[..]));
                let pool = context::with(|core| core.driver.borrow_mut().pool()).unwrap().unwrap();
                assert_eq!(pool.offered(), made, "64, and as many again and again");
            });
        }
    }
}
