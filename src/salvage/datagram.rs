//! What differs for datagrams: boundaries are kept, they know where they came from, and receives run beside each other on
//! one socket. A datagram that an orphan leaves must not lie while another receive waits in the kernel, so those that do
//! are known here, and are called back to look.

use super::{Item, Salvage};
use crate::slot::Key;
use crate::sys::{Control, RawAddress};

/// A datagram that a dropped receive has brought.
#[derive(Debug)]
pub struct Datagram {
    pub(crate) bytes: Vec<u8>,
    /// Unless it came to a receive on a connected socket, which does not ask.
    pub(crate) from: Option<RawAddress>,
    /// `MSG_*` flags.
    pub(crate) flags: i32,
    pub(crate) control: Control<Box<[u8]>>,
}

/// Receives in the kernel that may have to be called back.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    names: Vec<(u64, Key)>,
    /// Those that have ended are struck off when there are so many.
    tidy_at: usize,
}

impl Receivers {
    /// Whether it is time to strike off those that have ended: the next receive has to come by for that, because only their
    /// own loop knows.
    pub(super) fn are_many(&self) -> bool {
        self.names.len() >= self.tidy_at && !self.names.is_empty()
    }
}

impl Salvage {
    /// Takes the next datagram, or the error that an orphaned receive met. With `peek` it stays, and its descriptors with it.
    pub(crate) fn take_datagram(&self, peek: bool) -> Option<Result<Datagram, i32>> {
        let mut inner = self.lock();
        match inner.items.front()? {
            Item::Datagram(first) if peek => {
                let (bytes, from, flags) = (first.bytes.clone(), first.from, first.flags);
                return Some(Ok(Datagram { bytes, from, flags, control: first.control.without_rights() }));
            }
            Item::Error(errno) if peek => return Some(Err(*errno)),
            Item::Datagram(_) | Item::Error(_) => {}
            _ => return None,
        }
        let item = inner.items.pop_front();
        self.update(&inner);
        match item? {
            Item::Datagram(datagram) => Some(Ok(*datagram)),
            Item::Error(errno) => Some(Err(errno)),
            _ => unreachable!("matched above"),
        }
    }

    /// Notes a receive that has been staged. `in_flight` tells of receives on that loop whether they still are. Gives
    /// whether something lies here that it should take instead of waiting.
    pub(crate) fn note_receiver(&self, loop_id: u64, key: Key, mut in_flight: impl FnMut(Key) -> bool) -> bool {
        let mut inner = self.lock();
        let Receivers { names, tidy_at } = &mut inner.receivers;
        if names.len() >= *tidy_at {
            names.retain(|&(id, key)| id != loop_id || in_flight(key));
            *tidy_at = 8.max(2 * names.len());
        }
        names.push((loop_id, key));
        self.update(&inner);
        !inner.items.is_empty()
    }

    /// The receives that are to be called back.
    pub(crate) fn take_receivers(&self) -> Vec<(u64, Key)> {
        std::mem::take(&mut self.lock().receivers).names
    }

    /// All datagrams that are left, for a new owner of the descriptor; an error stays behind.
    pub(crate) fn take_all_datagrams(&self) -> Vec<Datagram> {
        std::iter::from_fn(|| self.take_datagram(false)?.ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receives_that_have_ended_are_not_kept() {
        let cell = Salvage::default();
        let key = |generation| Key { index: 0, generation };
        for now in 0..10_000 {
            cell.note_receiver(1, key(now), |key| key.generation + 3 > now);
            assert!(cell.lock().receivers.names.len() <= 16);
        }
        // Those of another loop are for that to strike off, and it is told to come by.
        for now in 0..100 {
            cell.note_receiver(2, key(now), |_| true);
        }
        cell.note_receiver(1, key(10_000), |_| false);
        while !cell.is_active() {
            cell.note_receiver(2, key(200), |_| true);
        }
        cell.note_receiver(2, key(201), |_| false);
        assert!(!cell.is_active());
        let left = cell.take_receivers();
        assert!(left.len() <= 17 && left.contains(&(2, key(201))), "{left:?}");
    }
}
