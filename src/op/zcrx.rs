//! Leases of the memory that a network card receives into.

use crate::buf::Lease;
use crate::ring::{Arrival, CardRing};

/// Hands out the completions of a ring, each with the bytes that it tells of.
pub(crate) fn harvest(ring: &mut CardRing, mut each: impl FnMut(Arrival, Option<Lease>)) {
    let area = ring.area.clone();
    ring.harvest(|arrival| {
        let lease = (arrival.cqe.result > 0).then(|| {
            // SAFETY: the memory is registered with this ring, which gives each completion once.
            unsafe { Lease::of_area(area.clone(), arrival.offset, arrival.cqe.result as usize) }
        });
        each(arrival, lease);
    });
}
