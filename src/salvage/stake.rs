//! Places held at an object by what is no operation of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Gate, Lane, Salvage};
use crate::slot::Key;

/// A place among the dropped operations of an object, for what is done on another thread and that they and what comes after
/// them must be kept apart from. Given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Stake {
    salvage: Arc<Salvage>,
    pub(super) key: Key,
}

impl Stake {
    /// No loop has this id, so nobody takes a stake for an operation.
    pub(super) const NO_LOOP: u64 = 0;

    /// Among the writes.
    pub(crate) fn new(salvage: Arc<Salvage>) -> Stake {
        Stake::on_lane(salvage, Lane::WriteAt { start: 0, end: u64::MAX })
    }

    /// Among the reads, as one at the position where there is one. Reads do not take what is at the object meanwhile.
    pub(crate) fn of_read(salvage: Arc<Salvage>) -> Stake {
        Stake::on_lane(salvage, Lane::PositionRead)
    }

    fn on_lane(salvage: Arc<Salvage>, lane: Lane) -> Stake {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Nor is it taken, by its index, for what is left without an operation.
        let key = Key { index: 1, generation: NEXT.fetch_add(1, Ordering::Relaxed) };
        salvage.orphaned(Stake::NO_LOOP, key, lane, false);
        Stake { salvage, key }
    }
}

/// The position of a file, held against clones until this is dropped.
#[derive(Debug)]
pub(crate) struct PositionHold(Arc<Salvage>);

impl PositionHold {
    /// Waits for its turn as a read at the position would. `None` if there is nobody else to take turns with.
    ///
    /// # Errors
    /// `EIO` if an operation went down with its loop.
    pub(crate) async fn of(salvage: &Arc<Salvage>) -> io::Result<Option<PositionHold>> {
        match salvage.pass(Lane::PositionRead).await {
            Gate::Hold => Ok(Some(PositionHold(salvage.clone()))),
            Gate::Lost => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(None),
        }
    }
}

impl Drop for PositionHold {
    fn drop(&mut self) {
        self.0.free_position();
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        self.salvage.settle(Stake::NO_LOOP, self.key, None);
    }
}
