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

use super::{Driver, Dropped, Later, POLLS, deliver};
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
            deliver(slots, harvest, metrics, &mut Later, key, cqe);
        });
        self.metrics.completions += count as u64;
        for transfer in refused {
            if self.ending {
                let Driver { slots, harvest, metrics, .. } = self;
                deliver(slots, harvest, metrics, &mut Later, transfer.key, Cqe::of(-libc::ECANCELED));
            } else {
                self.make_room(1);
                *self.ring.stage() = transfer.entry;
                let position = self.ring.commit_fitting();
                self.slots.get_mut(transfer.key).expect("as above").set_position(position);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::task::Waker;

    use io_uring::opcode::*;

    use super::*;
    use crate::driver::tests::{Promised, driver, settle, staged};
    use crate::ring::{LINK, Wait};

    /// A file that can be read, but not polled for: nothing that is read here is past the page cache.
    struct Source {
        file: File,
        salvage: Arc<Salvage>,
        into: Vec<u8>,
    }

    impl Source {
        fn new() -> Source {
            let file = tempfile::tempfile().unwrap();
            file.set_len(4096).unwrap();
            Source { file, salvage: Arc::default(), into: vec![1; 4096] }
        }

        fn entry(&self) -> Sqe {
            Sqe::new(Read::CODE).fd(self.file.as_raw_fd()).addr(self.into.as_ptr().addr() as u64).len(4096)
        }

        fn submit(&self, driver: &mut Driver, entry: Sqe) -> Key {
            driver.divert_next(self.file.as_raw_fd(), &self.salvage);
            submit(driver, entry)
        }
    }

    fn submit(driver: &mut Driver, entry: Sqe) -> Key {
        let prepare = |sqe: &mut Sqe, _: &mut crate::ring::Arena| {
            *sqe = entry;
            Ok(())
        };
        driver.submit(Waker::noop().clone(), prepare).unwrap()
    }

    fn is_polled_for(driver: &mut Driver, key: Key) -> bool {
        let position = driver.slots.get_mut(key).unwrap().position();
        driver.is_polled_for(key, position)
    }

    #[test]
    fn plain_transfers_at_an_offset_are_polled_for() {
        let plain = Sqe::new(Read::CODE).fd(3).offset(512).addr(4096).len(7);
        let code = |sqe: Sqe| aside(&sqe).map(|sqe| (sqe.opcode, sqe.buf_index, sqe.offset, sqe.addr, sqe.len));
        for (from, to) in [
            (Read::CODE, Read::CODE),
            (ReadFixed::CODE, Read::CODE),
            (Write::CODE, Write::CODE),
            (WriteFixed::CODE, Write::CODE),
        ] {
            assert_eq!(code(Sqe { opcode: from, buf_index: 9, ..plain }), Some((to, 0, 512, 4096, 7)));
        }
        let others = [
            Sqe { opcode: Fsync::CODE, ..plain },
            Sqe { opcode: Readv::CODE, ..plain },
            plain.flags(LINK),
            plain.op_flags(1),
            plain.offset(u64::MAX),
        ];
        assert_eq!(others.map(code), [None; 5]);
        for errno in [libc::EOPNOTSUPP, libc::EINVAL, libc::EAGAIN] {
            assert!(is_refusal(Cqe::of(-errno)) && !is_refusal(Cqe::of(errno)));
        }
        assert!([0, 4096, -libc::EIO, -libc::ENOSPC].iter().all(|&result| !is_refusal(Cqe::of(result))));
    }

    /// In the order in which they were asked for, and each by its own name.
    #[test]
    fn they_leave_the_queue_and_can_be_dropped_until_they_are_handed_over() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        let first = source.submit(&mut driver, source.entry());
        let between = submit(&mut driver, Sqe::new(Nop::CODE));
        let second = source.submit(&mut driver, source.entry());
        assert_eq!(driver.cancels, [first, second], "so that they are looked at");
        assert!(!driver.polls() && driver.has_events());
        let there_is_one = driver.ring.make_aside();
        driver.stage_cancels();
        assert_eq!((driver.polls(), source.salvage.is_polling_refused()), (there_is_one, !there_is_one));
        if !there_is_one {
            return;
        }
        assert_eq!(driver.sleepless, POLLS | crate::driver::UNARMED);
        assert!(!driver.may_sleep());
        assert_eq!(driver.metrics.submissions, 2);
        // The last one is not there any more, the first is void.
        assert_eq!(driver.ring.staged(), 2);
        let void = staged(&mut driver, 0, Addressee::Nobody);
        assert_eq!(void.opcode, Nop::CODE);
        staged(&mut driver, 1, Addressee::Slot(between));
        let places = [first, second].map(|key| {
            let index = driver.slots.get_mut(key).unwrap().position() as usize;
            let transfer = &driver.polled.transfers[index];
            assert_eq!(
                (transfer.key, transfer.entry.opcode, transfer.entry.fd),
                (key, Read::CODE, source.file.as_raw_fd())
            );
            transfer.position
        });
        assert_eq!(places, [0, 1]);
        assert!(is_polled_for(&mut driver, first) && is_polled_for(&mut driver, second));
        assert!(!driver.is_polled_for(between, 0) && !driver.is_polled_for(first, 7));
        // Nobody asks the kernel to cancel what it cannot.
        driver.cancel(first);
        assert_eq!(driver.ring.staged(), 2);
        for (key, left) in [(second, true), (first, false)] {
            assert!(matches!(driver.drop_future(key, false), Dropped::Voided(Some(_))));
            assert_eq!((driver.polls(), driver.polled.transfers.is_empty()), (left, !left));
            assert!(!driver.is_in_flight(key));
        }
        assert!(driver.is_in_flight(between));
        driver.enter(Wait::Completion);
        assert_eq!(driver.reap(), 1);
        assert_eq!(driver.metrics.stale_completions, 0);
    }

    #[test]
    fn what_was_dropped_or_handed_over_or_is_not_plain_goes_its_way() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        let dropped = source.submit(&mut driver, source.entry());
        assert!(matches!(driver.drop_future(dropped, false), Dropped::Voided(_)));
        let linked = source.submit(&mut driver, source.entry().offset(u64::MAX));
        let of_another = source.submit(&mut driver, source.entry().fd(-1));
        driver.stage_cancels();
        assert!(!driver.polls() && driver.polled.wanted.is_empty());
        assert!([linked, of_another].iter().all(|&key| driver.is_in_flight(key)));
        assert_eq!(driver.ring.staged(), 3);
        let handed_over = source.submit(&mut driver, source.entry());
        driver.ring.enter(Wait::No).unwrap();
        driver.stage_cancels();
        assert!(!driver.polls() && !source.salvage.is_polling_refused());
        while driver.reap() > 0 || !driver.all_reaped() {
            driver.enter(Wait::No);
        }
        assert_eq!(driver.take_done(handed_over), Some(Cqe::of(4096)));
        assert_eq!(driver.metrics.polled_transfers, 0);
    }

    /// Diverts some of them and has the kernel say no, but the driver not hear of it yet.
    fn refused(driver: &mut Driver, source: &Source, count: usize) -> Vec<Key> {
        let keys: Vec<Key> = (0..count).map(|_| source.submit(driver, source.entry())).collect();
        let there_is_one = driver.ring.make_aside();
        driver.stage_cancels();
        assert_eq!(driver.polls(), there_is_one);
        if !there_is_one {
            return Vec::new();
        }
        assert_eq!(driver.ring.enter(Wait::No).unwrap(), crate::ring::Entered::Aside);
        keys
    }

    #[test]
    fn what_the_kernel_refuses_to_poll_for_is_made_again() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        let keys = refused(&mut driver, &source, 3);
        driver.entered(Ok(crate::ring::Entered::Aside));
        assert!(!driver.polls() && driver.polled.transfers.is_empty());
        if keys.is_empty() {
            return;
        }
        assert_eq!(driver.ring.staged(), 3);
        assert_eq!((driver.metrics.completions, driver.metrics.polled_transfers), (3, 0));
        for key in &keys {
            let position = driver.slots.get_mut(*key).unwrap().position();
            assert_eq!(staged(&mut driver, position, Addressee::Slot(*key)).opcode, Read::CODE);
        }
        settle(&mut driver);
        assert!(keys.iter().all(|&key| driver.take_done(key) == Some(Cqe::of(4096))));
        assert_eq!(source.into, vec![0; 4096]);
    }

    #[test]
    fn what_the_kernel_refuses_when_its_number_is_gone_or_the_loop_ends_is_not_made_again() {
        let (mut driver, _wakeup) = driver();
        let (source, other) = (Source::new(), Source::new());
        let gone = refused(&mut driver, &source, 1);
        let stays = refused(&mut driver, &other, 1);
        let ([gone], [stays]) = (&gone[..], &stays[..]) else { return };
        driver.let_go_of_polled(source.file.as_raw_fd());
        driver.entered(Ok(crate::ring::Entered::Aside));
        let result = driver.take_done(*gone).expect("it is not made again");
        assert!(is_refusal(result));
        // Who says so says it of the file, and not of this transfer.
        assert_eq!(source.salvage.is_polling_refused(), result.result == -libc::EOPNOTSUPP);
        assert_eq!(driver.metrics.polled_transfers, 1);
        assert!(driver.is_in_flight(*stays) && driver.ring.staged() == 1);

        let late = refused(&mut driver, &other, 1);
        driver.ending = true;
        driver.entered(Ok(crate::ring::Entered::Aside));
        assert_eq!(driver.take_done(late[0]), Some(Cqe::of(-libc::ECANCELED)));
        settle(&mut driver);
        driver.take_done(*stays).expect("it was made");
    }

    #[test]
    fn a_refusal_is_the_result_of_a_transfer_whose_future_is_gone() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        let Some(&key) = refused(&mut driver, &source, 1).first() else { return };
        driver.adopt(key, Box::new(Promised(false)));
        driver.entered(Ok(crate::ring::Entered::Aside));
        assert!(!driver.is_in_flight(key) && driver.ring.staged() == 0);
        assert!(is_refusal(driver.harvest.orphans[0].2));
    }

    /// What such a ring completes at once stands for what a device has done.
    #[test]
    fn what_succeeds_is_delivered_and_not_made_again() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        if !driver.ring.make_aside() {
            return;
        }
        let key = submit(&mut driver, Sqe::new(Nop::CODE));
        let position = driver.slots.get_mut(key).unwrap().position();
        let mut nop = staged(&mut driver, position, Addressee::Slot(key));
        driver.ring.take_back(1);
        nop.flags = 0;
        let position = driver.ring.stage_aside(nop);
        let transfer = Transfer { key, position, entry: source.entry(), file: source.salvage.clone() };
        let index = driver.polled.transfers.insert(transfer);
        driver.slots.get_mut(key).unwrap().set_position(index as u32);
        while driver.polls() {
            driver.enter(Wait::No);
        }
        assert_eq!(driver.take_done(key), Some(Cqe::of(0)));
        assert_eq!((driver.metrics.polled_transfers, driver.metrics.completions, driver.ring.staged()), (1, 1, 0));
        assert!(!source.salvage.is_polling_refused());
    }

    #[test]
    fn what_a_full_queue_hands_over_goes_aside_first() {
        let (mut driver, _wakeup) = driver();
        let source = Source::new();
        let key = source.submit(&mut driver, source.entry());
        for _ in 0..8 {
            submit(&mut driver, Sqe::new(Nop::CODE));
        }
        assert!(driver.polled.wanted.is_empty());
        // It has been refused there, and is made again, or there is no such ring.
        assert!(driver.is_in_flight(key) || driver.slots.get_mut(key).is_some());
        assert!(driver.metrics.submissions > 8 || source.salvage.is_polling_refused());
        while !driver.all_reaped() {
            driver.stage_cancels();
            driver.enter(Wait::No);
            driver.reap();
        }
        assert_eq!(driver.take_done(key), Some(Cqe::of(4096)));
    }

    /// One that is staged in the ring's queue stays there, before the close of its number.
    #[test]
    fn a_number_that_goes_is_not_polled_for() {
        let (mut driver, _wakeup) = driver();
        let (source, other) = (Source::new(), Source::new());
        source.submit(&mut driver, source.entry());
        other.submit(&mut driver, other.entry());
        driver.let_go_of_polled(source.file.as_raw_fd());
        let left: Vec<RawFd> = driver.polled.wanted.iter().map(|wanted| wanted.fd).collect();
        assert_eq!(left, [other.file.as_raw_fd()]);
        while !driver.all_reaped() {
            driver.stage_cancels();
            driver.enter(Wait::No);
            driver.reap();
        }
    }
}
