//! A ring that misbehaves as the kernel may, from a seed: completions come late and in another order, transfers are short,
//! entries are refused for a while, waits end for no reason.

use std::collections::VecDeque;
use std::io;

use super::{BufferRing, Config, Cqe, Entered, Sqe, Uring, Wait};

/// How often something happens, in 256 cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub late: u8,
    pub short: u8,
    pub refused: u8,
    pub spurious: u8,
}

impl Faults {
    pub(crate) const ALL: Faults = Faults { late: 96, short: 64, refused: 32, spurious: 32 };
}

pub(crate) struct Faulty {
    inner: Uring,
    seed: u64,
    faults: Faults,
    /// Completions that the kernel has given and the loop has not seen.
    held: VecDeque<(u64, Cqe)>,
    empty_handed: u32,
}

impl Faulty {
    /// A ring that misbehaves.
    pub(crate) fn new(config: Config, seed: u64, faults: Faults) -> io::Result<Faulty> {
        let inner = Uring::new(config)?;
        Ok(Faulty { inner, seed: seed | 1, faults, held: VecDeque::new(), empty_handed: 0 })
    }

    /// xorshift64*.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn happens(&mut self, in_256: u8) -> bool {
        (self.random() & 0xff) < u64::from(in_256)
    }

    pub(crate) fn stage(&mut self) -> &mut Sqe {
        self.inner.stage()
    }

    pub(crate) fn commit(&mut self) -> u32 {
        if self.happens(self.faults.short) {
            let random = self.random();
            let sqe = self.inner.stage();
            let shortens = [
                io_uring::opcode::Read::CODE,
                io_uring::opcode::Write::CODE,
                io_uring::opcode::Recv::CODE,
                io_uring::opcode::Send::CODE,
            ];
            if shortens.contains(&sqe.opcode) && sqe.len > 1 {
                sqe.len = 1 + (random % u64::from(sqe.len)) as u32;
            }
        }
        self.inner.commit()
    }

    pub(crate) fn commit_fitting(&mut self) -> u32 {
        self.commit()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    pub(crate) fn staged(&self) -> usize {
        self.inner.staged()
    }

    pub(crate) fn staged_mut(&mut self, position: u32, user_data: u64) -> Option<&mut Sqe> {
        self.inner.staged_mut(position, user_data)
    }

    pub(crate) fn needs_enter(&mut self) -> bool {
        self.inner.needs_enter() || !self.held.is_empty()
    }

    pub(crate) fn unsubmitted(&mut self) -> usize {
        self.inner.unsubmitted()
    }

    pub(crate) fn register_buffers(&self, group: u16, entries: usize) -> io::Result<BufferRing> {
        self.inner.register_buffers(group, entries)
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        if self.inner.unsubmitted() > 0 && self.happens(self.faults.refused) {
            return Ok(Entered::Pressed);
        }
        let wait = if !self.held.is_empty() || self.happens(self.faults.spurious) { Wait::No } else { wait };
        self.inner.enter(wait)
    }

    pub(crate) fn harvest(&mut self, mut each: impl FnMut(u64, Cqe)) -> usize {
        let held = &mut self.held;
        self.inner.harvest(|user_data, cqe| held.push_back((user_data, cqe)));
        let mut count = self.held.len();
        if self.empty_handed < 3 && self.happens(self.faults.late) {
            count = self.random() as usize % (count + 1);
        }
        self.empty_handed = if count == 0 { self.empty_handed + 1 } else { 0 };
        for _ in 0..count {
            let index = self.random() as usize % self.held.len();
            let user_data = self.held[index].0;
            // Completions of one submission keep their order.
            let index = self.held.iter().position(|(other, _)| *other == user_data).expect("it is there");
            let (user_data, cqe) = self.held.remove(index).expect("it is there");
            each(user_data, cqe);
        }
        count
    }
}
