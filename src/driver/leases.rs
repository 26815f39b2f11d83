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

/// The pool and its ring, made with the first receive that wants a lease.
pub(super) struct Leases {
    ring: BufferRing,
    pool: Arc<Pool>,
}

fn offer(ring: &mut BufferRing, pool: &Pool, id: u16) {
    ring.push(pool.address(id).as_ptr() as u64, pool.buffer_bytes() as u32, id);
}

impl Leases {
    fn grow(&mut self) -> bool {
        let range = self.pool.grow();
        let grown = !range.is_empty();
        self.pool.note_offered(range.len());
        range.for_each(|id| offer(&mut self.ring, &self.pool, id));
        self.ring.publish();
        grown
    }

    /// Offers what has come back.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.pool.has_returned() {
            self.offer_returned();
        }
    }

    /// Not inlined, for the enter that it comes before is every turn's.
    #[inline(never)]
    fn offer_returned(&mut self) {
        let Leases { ring, pool } = self;
        let mut count = 0;
        pool.take_returned(|id| {
            offer(ring, pool, id);
            count += 1;
        });
        ring.publish();
        pool.note_offered(count);
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
        let pool = Arc::new(Pool::new(self.arena.loop_id, buffer_bytes, most));
        let mut leases = Leases { ring, pool: pool.clone() };
        leases.grow();
        self.leases = Some(leases);
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

    /// Makes more buffers, for the kernel has none left. `false` if there are as many as there may be.
    pub(crate) fn grow_pool(&mut self) -> bool {
        self.leases.as_mut().is_some_and(Leases::grow)
    }
}
