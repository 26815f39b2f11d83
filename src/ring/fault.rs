//! A ring that misbehaves as the kernel may, from a seed: completions come late and in another order, transfers are short,
//! entries are refused for a while, waits end for no reason, operations fail without having been made or are cancelled by
//! nobody, those that give many results end early, and the completion queue is left alone until it overflows.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sqe::CQE_MORE;
use super::{BufferRing, Config, Cqe, Entered, HARDLINK, LINK, SKIP_SUCCESS, Sqe, Uring, Wait};
use crate::slot::Addressee;

/// How often something happens, in 256 cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub late: u8,
    pub short: u8,
    pub refused: u8,
    pub spurious: u8,
    /// Operations that fail with what their object may tell: interrupted, or broken where a repetition does no harm.
    pub failed: u8,
    /// Harvests that leave the kernel's queue alone.
    pub flooded: u8,
    /// Results of operations that give many which turn out to be the last.
    pub cut: u8,
    /// Cancels that race with an operation, whenever that is.
    pub raced: u8,
    /// Cancels that do not find what is there.
    pub lost: u8,
}

impl Faults {
    pub(crate) const ALL: Faults = Faults {
        late: 96,
        short: 64,
        refused: 32,
        spurious: 32,
        failed: 24,
        flooded: 96,
        cut: 48,
        raced: 24,
        lost: 64,
    };
    pub(crate) const NONE: Faults =
        Faults { late: 0, short: 0, refused: 0, spurious: 0, failed: 0, flooded: 0, cut: 0, raced: 0, lost: 0 };
}

/// What has happened in this process, for the report of a campaign.
#[derive(Clone, Copy)]
pub(crate) enum Happened {
    Late,
    Disordered,
    Short,
    Refused,
    Spurious,
    LeftAlone,
    Cut,
    Raced,
    Lost,
}

pub(crate) const NAMES: [&str; 9] = [
    "late",
    "out of order",
    "short",
    "refused entries",
    "waits ended",
    "queues left alone",
    "multishots cut",
    "cancels raced",
    "cancels lost",
];

pub(crate) static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];
/// By their numbers.
pub(crate) static ERRNOS: [AtomicU64; 134] = [const { AtomicU64::new(0) }; 134];

fn count(what: Happened) {
    COUNTS[what as usize].fetch_add(1, Ordering::Relaxed);
}

pub(crate) struct Faulty {
    inner: Uring,
    seed: u64,
    faults: Faults,
    /// Completions that the kernel has given and the loop has not seen.
    held: VecDeque<(u64, Cqe)>,
    empty_handed: u32,
    left_alone: u32,
    /// What operations that were turned into nothing are to have failed with.
    failures: HashMap<u64, i32>,
    /// Operations that give many results.
    multishot: HashSet<u64>,
    /// Of these, those that are ending, with the result that will be the last, unless another comes.
    ending: HashMap<u64, Cqe>,
    /// What a cancel may hit: it says so, or it was tried again.
    recent: VecDeque<u64>,
}

/// `IORING_ACCEPT_MULTISHOT`, `IORING_RECV_MULTISHOT`.
const ACCEPT_MULTISHOT: u16 = 1;
const RECV_MULTISHOT: u16 = 2;

/// Whether an entry asks for many results, to an operation.
fn is_multishot(sqe: &Sqe) -> bool {
    match sqe.opcode {
        io_uring::opcode::Accept::CODE => sqe.ioprio & ACCEPT_MULTISHOT != 0,
        io_uring::opcode::Recv::CODE | io_uring::opcode::RecvMsg::CODE => sqe.ioprio & RECV_MULTISHOT != 0,
        _ => false,
    }
}

impl Faulty {
    /// A ring that misbehaves.
    pub(crate) fn new(config: Config, seed: u64, faults: Faults) -> io::Result<Faulty> {
        let mut inner = Uring::new(config)?;
        // Whole rounds of both queues, and the indices wrap.
        inner.start_indices_at(
            (1 + seed as u32 % 4).wrapping_mul(config.sq_entries.max(config.cq_entries)).wrapping_neg(),
        );
        Ok(Faulty {
            inner,
            seed: seed | 1,
            faults,
            held: VecDeque::new(),
            empty_handed: 0,
            left_alone: 0,
            failures: HashMap::new(),
            multishot: HashSet::new(),
            ending: HashMap::new(),
            recent: VecDeque::new(),
        })
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
            // The kernel would not know that it was short, and go on with what follows.
            let ties = sqe.flags & (LINK | HARDLINK) != 0;
            let shortens = [
                io_uring::opcode::Read::CODE,
                io_uring::opcode::Write::CODE,
                io_uring::opcode::Recv::CODE,
                io_uring::opcode::Send::CODE,
                io_uring::opcode::SendZc::CODE,
                io_uring::opcode::Splice::CODE,
                io_uring::opcode::Tee::CODE,
            ];
            if !ties && shortens.contains(&sqe.opcode) && sqe.len > 1 {
                sqe.len = 1 + (random % u64::from(sqe.len)) as u32;
                count(Happened::Short);
            }
        }
        self.fail();
        self.lose();
        self.remember();
        self.inner.commit()
    }

    /// Turns a cancel that somebody hears of into one that finds nothing.
    fn lose(&mut self) {
        if !self.happens(self.faults.lost) {
            return;
        }
        let Faulty { inner, failures, .. } = self;
        let sqe = inner.stage();
        if sqe.opcode == io_uring::opcode::AsyncCancel::CODE
            && matches!(Addressee::of(sqe.user_data), Addressee::Slot(_))
            && !failures.contains_key(&sqe.user_data)
        {
            *sqe = Sqe { user_data: sqe.user_data, ..Sqe::new(io_uring::opcode::Nop::CODE) };
            failures.insert(sqe.user_data, -libc::ENOENT);
            count(Happened::Lost);
        }
    }

    /// What can be done to the staged entry later.
    fn remember(&mut self) {
        let sqe = *self.inner.stage();
        if is_multishot(&sqe) {
            self.multishot.insert(sqe.user_data);
        }
        let cancellable = [
            io_uring::opcode::Read::CODE,
            io_uring::opcode::Recv::CODE,
            io_uring::opcode::RecvMsg::CODE,
            io_uring::opcode::Accept::CODE,
        ];
        if cancellable.contains(&sqe.opcode) && sqe.flags & (LINK | HARDLINK) == 0 {
            self.recent.push_back(sqe.user_data);
            if self.recent.len() > 8 {
                self.recent.pop_front();
            }
        }
    }

    /// Stages a cancel that nobody has asked for, if there is room.
    fn cancel(&mut self, user_data: u64) -> bool {
        if self.inner.is_full() {
            return false;
        }
        let cancel = Sqe::cancelling(user_data).flags(SKIP_SUCCESS);
        *self.inner.stage() = Sqe { user_data: Addressee::Nobody.user_data(), ..cancel };
        self.inner.commit();
        true
    }

    pub(crate) fn commit_fitting(&mut self) -> u32 {
        self.commit()
    }

    /// Turns the staged entry into one that fails. Its `user_data` is there already.
    fn fail(&mut self) {
        if !self.happens(self.faults.failed) {
            return;
        }
        let random = self.random() as usize;
        let sqe = self.inner.stage();
        let errnos: &[i32] = match sqe.opcode {
            io_uring::opcode::Read::CODE | io_uring::opcode::Recv::CODE => {
                &[libc::EINTR, libc::EIO, libc::ENOBUFS, libc::ECANCELED, libc::EAGAIN]
            }
            io_uring::opcode::Write::CODE => &[libc::EINTR, libc::EIO, libc::ENOSPC, libc::ECANCELED],
            io_uring::opcode::Fsync::CODE => &[libc::EINTR, libc::EIO],
            io_uring::opcode::Accept::CODE => &[libc::EINTR, libc::EMFILE, libc::ECONNABORTED],
            io_uring::opcode::RecvMsg::CODE => &[libc::ENOBUFS, libc::ECANCELED, libc::EAGAIN],
            // Into a place of the table: whatever else is opened need not be tried again.
            io_uring::opcode::OpenAt::CODE if sqe.file_index != 0 => &[libc::EINTR, libc::EMFILE],
            // What a send has moved must be known, so that the stream can go on.
            io_uring::opcode::Send::CODE => &[libc::EINTR],
            // As where memory cannot be pinned or the socket is of another kind: then it is copied.
            io_uring::opcode::SendZc::CODE => &[libc::EINTR, libc::ENOMEM, libc::ENOBUFS, libc::EOPNOTSUPP],
            io_uring::opcode::Splice::CODE | io_uring::opcode::Tee::CODE => {
                &[libc::EINTR, libc::EIO, libc::EAGAIN, libc::ECANCELED]
            }
            io_uring::opcode::FilesUpdate::CODE => &[libc::ENOMEM, libc::EMFILE],
            _ => return,
        };
        let user_data = sqe.user_data;
        if sqe.flags & (LINK | HARDLINK) != 0 {
            // It has to fail in truth, or what follows goes on.
            if sqe.opcode == io_uring::opcode::OpenAt::CODE {
                // Which wants to be open for writing, too.
                sqe.op_flags = libc::O_TMPFILE as u32;
            } else {
                sqe.fd = -1;
            }
        } else {
            *sqe = Sqe::new(io_uring::opcode::Nop::CODE);
            sqe.user_data = user_data;
        }
        let errno = errnos[random % errnos.len()];
        ERRNOS[errno as usize].fetch_add(1, Ordering::Relaxed);
        self.failures.insert(user_data, -errno);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    pub(crate) fn room(&self) -> usize {
        self.inner.room()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.inner.capacity()
    }

    pub(crate) fn take_back(&mut self, count: u32) {
        self.inner.take_back(count);
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

    pub(crate) fn is_idle(&mut self) -> bool {
        self.inner.is_idle() && self.held.is_empty()
    }

    pub(crate) fn unsubmitted(&mut self) -> usize {
        self.inner.unsubmitted()
    }

    pub(crate) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        self.inner.register_eventfd(eventfd)
    }

    pub(crate) fn room_for_completions(&self) -> usize {
        self.inner.room_for_completions()
    }

    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.inner.set_quiet(quiet);
    }

    pub(crate) fn register_buffers(&self, group: u16, entries: usize) -> io::Result<BufferRing> {
        self.inner.register_buffers(group, entries)
    }

    pub(crate) fn make_memory_table(&self, places: u16) -> io::Result<()> {
        self.inner.make_memory_table(places)
    }

    pub(crate) fn make_file_table(&self, places: u32) -> io::Result<()> {
        self.inner.make_file_table(places)
    }

    pub(crate) fn drop_file_table(&self) {
        self.inner.drop_file_table();
    }

    pub(crate) fn set_memory(&self, index: u16, address: u64, bytes: usize) -> io::Result<()> {
        self.inner.set_memory(index, address, bytes)
    }

    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        if self.inner.unsubmitted() > 0 && self.happens(self.faults.refused) {
            count(Happened::Refused);
            return Ok(Entered::Pressed);
        }
        if self.happens(self.faults.raced) && !self.recent.is_empty() {
            let index = self.random() as usize % self.recent.len();
            if self.cancel(self.recent[index]) {
                count(Happened::Raced);
            }
        }
        let spurious = self.happens(self.faults.spurious);
        if spurious && wait != Wait::No {
            count(Happened::Spurious);
        }
        let wait = if !self.held.is_empty() || spurious { Wait::No } else { wait };
        self.inner.enter(wait)
    }

    pub(crate) fn is_heavy(&self) -> bool {
        self.inner.is_heavy()
    }

    pub(crate) fn submit_apart(&mut self) {
        if !self.happens(self.faults.refused) {
            self.inner.submit_apart();
        }
    }

    pub(crate) fn is_polled(&self) -> bool {
        self.inner.is_polled()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.inner.is_forked()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.inner.calls()
    }

    /// It misbehaves with all that there is.
    pub(crate) fn attempt(&mut self, _place: usize, _file: RawFd) -> Option<(u64, Cqe)> {
        None
    }

    /// It misbehaves in one queue only.
    pub(crate) fn make_aside(&mut self) -> bool {
        false
    }

    pub(crate) fn refuse_aside(&mut self) {}

    pub(crate) fn entered_itself(&self) -> Entered {
        Entered::All
    }

    pub(crate) fn has_aside(&self) -> bool {
        false
    }

    pub(crate) fn stage_aside(&mut self, _sqe: Sqe) -> u32 {
        unreachable!("there is no queue aside")
    }

    pub(crate) fn forget_void(&mut self, _position: u32) {}

    pub(crate) fn void_aside(&mut self, _position: u32, _user_data: u64) -> bool {
        false
    }

    pub(crate) fn harvest_aside(&mut self, _each: impl FnMut(u64, Cqe)) -> usize {
        0
    }

    pub(crate) fn harvest(&mut self, mut each: impl FnMut(u64, Cqe)) -> usize {
        if self.left_alone < 8 && self.happens(self.faults.flooded) {
            self.left_alone += 1;
            count(Happened::LeftAlone);
            return 0;
        }
        self.left_alone = 0;
        let mut came = Vec::new();
        self.inner.harvest(|user_data, cqe| came.push((user_data, cqe)));
        for (user_data, cqe) in came {
            self.take_in(user_data, cqe);
        }
        let mut number = self.held.len();
        if self.empty_handed < 3 && self.happens(self.faults.late) {
            number = self.random() as usize % (number + 1);
            count(Happened::Late);
        }
        self.empty_handed = if number == 0 { self.empty_handed + 1 } else { 0 };
        for _ in 0..number {
            let index = self.random() as usize % self.held.len();
            let user_data = self.held[index].0;
            // Completions of one submission keep their order.
            let index = self.held.iter().position(|(other, _)| *other == user_data).expect("it is there");
            if index > 0 {
                count(Happened::Disordered);
            }
            let (user_data, cqe) = self.held.remove(index).expect("it is there");
            each(user_data, cqe);
        }
        number
    }

    /// A completion of the kernel's, which goes to those that are held.
    fn take_in(&mut self, user_data: u64, mut cqe: Cqe) {
        if let Some(result) = self.failures.remove(&user_data) {
            cqe.result = result;
        }
        if let Some(mut last) = self.ending.remove(&user_data) {
            if cqe.more() {
                self.ending.insert(user_data, cqe);
            } else if cqe.result == -libc::ECANCELED {
                // The one before was the last, as far as the loop can tell.
                last.flags &= !CQE_MORE;
                self.held.push_back((user_data, last));
                self.multishot.remove(&user_data);
                return;
            }
            self.held.push_back((user_data, last));
            if !cqe.more() {
                self.multishot.remove(&user_data);
                self.held.push_back((user_data, cqe));
            }
            return;
        }
        if cqe.more() && self.multishot.contains(&user_data) && self.happens(self.faults.cut) && self.cancel(user_data)
        {
            count(Happened::Cut);
            self.ending.insert(user_data, cqe);
            return;
        }
        if !cqe.more() {
            self.multishot.remove(&user_data);
        }
        self.held.push_back((user_data, cqe));
    }
}
