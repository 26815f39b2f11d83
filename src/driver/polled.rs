//! Transfers whose device is asked whether it is done (`File::set_iopoll`). Their entries go to the queue aside of the ring's
//! (`ring::aside`); all else is as with others: they have slots, and are waited for, dropped and finished like them.
//!
//! Two things differ. The kernel cannot cancel them, so nobody asks it to: they end by themselves, as fast as the device is.
//! And it may refuse to poll: then the same entry goes the ordinary way, and whoever waits for it does not notice. For that
//! it is kept, which it may be: its one address is in the buffer, and the descriptor stays where it is while the future
//! exists. Once that is gone a refusal is the transfer's result, and so it is once the descriptor goes: then the future was
//! forgotten, or it was dropped elsewhere and the mail about that is on its way.

use std::os::fd::RawFd;
use std::sync::Arc;

use slab::Slab;

use super::{Driver, Dropped, POLLS, deliver};
use crate::ring::{Cqe, Sqe};
use crate::salvage::Salvage;
use crate::slot::{Addressee, Key, State};

/// What is polled for.
#[derive(Default)]
pub(super) struct Polled {
    transfers: Slab<Transfer>,
    /// What is staged in the ring's queue, and is to be.
    pub(super) wanted: Vec<Wanted>,
}

/// An operation on a file that is to be polled for.
pub(super) struct Wanted {
    key: Key,
    fd: RawFd,
    file: Arc<Salvage>,
}

/// One that is under way. Its slot has its index for a position.
pub(super) struct Transfer {
    key: Key,
    /// Where it was staged aside.
    position: u32,
    /// How it goes the ordinary way.
    entry: Sqe,
    /// What knows whether its file can be polled for.
    file: Arc<Salvage>,
}

/// The entry as the queue aside takes it, if it does: plain transfers at an offset. Memory is registered with the ring only.
fn aside(entry: &Sqe) -> Option<Sqe> {
    use io_uring::opcode;
    let opcode = match entry.opcode {
        opcode::Read::CODE | opcode::ReadFixed::CODE => opcode::Read::CODE,
        opcode::Write::CODE | opcode::WriteFixed::CODE => opcode::Write::CODE,
        _ => return None,
    };
    let plain = entry.flags == 0 && entry.op_flags == 0 && entry.offset != u64::MAX;
    plain.then_some(Sqe { opcode, buf_index: 0, ..*entry })
}

/// Whether it is no result of the transfer, but of the wish that it be polled for; or may be: then the ordinary way tells.
fn is_refusal(cqe: Cqe) -> bool {
    matches!(-cqe.result, libc::EOPNOTSUPP | libc::EINVAL | libc::EAGAIN)
}

impl Driver {
    /// Has the next operation that is staged polled for, if it is a plain transfer of this descriptor.
    pub(crate) fn divert_next(&mut self, fd: RawFd, file: &Arc<Salvage>) {
        // So that its name is known: completions that come up before it is staged may free slots.
        self.make_room(1);
        let key = self.slots.next_key();
        self.polled.wanted.push(Wanted { key, fd, file: file.clone() });
        // That is looked at with the end of each turn.
        self.cancels.push(key);
    }

    /// Moves what is to be polled for from the ring's queue to the one aside. What has been handed over meanwhile, and what
    /// cannot be polled for, goes the ordinary way.
    #[cold]
    #[inline(never)]
    pub(super) fn divert(&mut self) {
        let mut diverted = Vec::new();
        // The last first: then each is at the queue's end, if nothing else was staged.
        for Wanted { key, fd, file } in std::mem::take(&mut self.polled.wanted).into_iter().rev() {
            // It may have been refused, or dropped, so that another one has the name.
            let Some(slot) = self.slots.get_mut(key).filter(|slot| !slot.is_done() && !slot.is_chain()) else {
                continue;
            };
            let (position, user_data) = (slot.position(), Addressee::Slot(key).user_data());
            let Some(sqe) = self.ring.staged_mut(position, user_data).filter(|sqe| sqe.fd == fd) else { continue };
            let Some(polled) = aside(sqe) else { continue };
            let entry = *sqe;
            if !self.ring.make_aside() {
                file.refuse_polling();
                continue;
            }
            let sqe = self.ring.staged_mut(position, user_data).expect("just seen");
            sqe.void();
            sqe.user_data = Addressee::Nobody.user_data();
            self.ring.forget_void(position);
            diverted.push((polled, Transfer { key, position: 0, entry, file }));
        }
        for (polled, mut transfer) in diverted.into_iter().rev() {
            self.metrics.submissions += 1;
            transfer.position = self.ring.stage_aside(polled);
            let key = transfer.key;
            let index = self.polled.transfers.insert(transfer);
            self.slots.get_mut(key).expect("just seen").set_position(index as u32);
            self.sleepless |= POLLS;
        }
    }

    /// This number is about to be another's.
    pub(super) fn let_go_of_polled(&mut self, number: RawFd) {
        // What is staged in the ring's queue stays there, before the close.
        self.polled.wanted.retain(|wanted| wanted.fd != number);
        if !self.polled.transfers.is_empty() {
            let transfers = self.polled.transfers.iter_mut().map(|(_, transfer)| transfer);
            transfers.filter(|transfer| transfer.entry.fd == number).for_each(|transfer| transfer.entry.fd = -1);
        }
    }

    /// Whether something is polled for: then there is no waiting in the kernel.
    pub(crate) fn polls(&self) -> bool {
        self.ring.has_aside()
    }

    /// Whether this one is.
    #[inline]
    pub(super) fn is_polled_for(&self, key: Key, position: u32) -> bool {
        self.polled.transfers.get(position as usize).is_some_and(|transfer| transfer.key == key)
    }

    /// The future of an operation that is not staged in the ring is being dropped.
    #[cold]
    pub(super) fn drop_polled(&mut self, key: Key, position: u32) -> Dropped {
        if !self.is_polled_for(key, position) {
            return Dropped::InFlight;
        }
        let index = position as usize;
        if !self.ring.void_aside(self.polled.transfers[index].position, Addressee::Slot(key).user_data()) {
            return Dropped::InFlight;
        }
        self.polled.transfers.remove(index);
        match self.slots.remove(key).0 {
            State::Waiting(waker) => Dropped::Voided(Some(waker)),
            _ => Dropped::Voided(None),
        }
    }

    /// After an enter that has asked for what is aside, too: hands that out, for the ring's own harvest is on the path of every
    /// turn.
    pub(super) fn reap_polled(&mut self) {
        let mut wake = Err;
        let Driver { ring, polled: Polled { transfers, .. }, slots, harvest, metrics, .. } = self;
        let mut refused = Vec::new();
        let count = ring.harvest_aside(|user_data, cqe| {
            let Addressee::Slot(key) = Addressee::of(user_data) else { unreachable!("it takes operations only") };
            let slot = slots.get_mut(key).expect("a slot is in use until its last completion");
            let transfer = transfers.remove(slot.position() as usize);
            debug_assert_eq!(transfer.key, key);
            if cqe.result == -libc::EOPNOTSUPP {
                transfer.file.refuse_polling();
            }
            if is_refusal(cqe) && slot.orphan().is_none() && transfer.entry.fd >= 0 {
                return refused.push(transfer);
            }
            metrics.polled_transfers += 1;
            deliver(slots, harvest, metrics, &mut wake, key, cqe);
        });
        self.metrics.completions += count as u64;
        for transfer in refused {
            if self.ending {
                let Driver { slots, harvest, metrics, .. } = self;
                deliver(slots, harvest, metrics, &mut Err, transfer.key, Cqe::of(-libc::ECANCELED));
            } else {
                self.make_room(1);
                *self.ring.stage() = transfer.entry;
                let position = self.ring.commit_fitting();
                self.slots.get_mut(transfer.key).expect("as above").set_position(position);
            }
        }
    }
}
