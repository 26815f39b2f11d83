//! The real ring.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use super::apart;
use super::aside::Aside;
use super::attempt::Luck;
use super::{BufferRing, BusyPoll, Config, Cqe, Entered, Sqe, Wait, diagnose};
use crate::sys;
use crate::sys::fork;
use crate::sys::ring::{self as abi, Params, RawCqe, Shared};

/// What was found out about this kernel by trying, once a process.
static NO_SQARRAY_REFUSED: AtomicBool = AtomicBool::new(false);

const _: () = assert!(size_of::<Sqe>() == 64);
const _: () = assert!(size_of::<RawCqe>() == 16);

/// Positions count entries from the ring's start and wrap. Of those before `head` the kernel has taken the entries; from
/// there to `published` it may at the next enter; from there to `tail` they are ours, in the shared memory already; and
/// what did not fit there is in `backlog`.
pub(crate) struct Uring {
    shared: Shared<Sqe>,
    pub(super) tail: u32,
    pub(super) published: u32,
    /// As far as is known: it grows only while we are in the kernel.
    pub(super) head: u32,
    /// Where the queue is full: `head` and the capacity.
    full_at: u32,
    capacity: u32,
    /// Only if the queue is full of entries that the kernel refused: it is moved before anything else is staged.
    pub(super) backlog: VecDeque<Sqe>,
    /// Where an entry for the backlog is written.
    spare: Sqe,
    /// What to pass to enter: the registered index, or the descriptor itself.
    pub(super) enter_fd: RawFd,
    registered: bool,
    wait_flags: u32,
    pub(super) enter_flags: u32,
    /// Whether a wait for several completions may end with one.
    gathers: bool,
    /// Whether completions wait until the loop asks for them (`IORING_SETUP_DEFER_TASKRUN`).
    pub(super) defers: bool,
    /// Whether a thread of the kernel's takes the entries.
    pub(super) polled: bool,
    /// What was published when that thread was last woken, until it has taken all of it.
    woken_for: Option<u32>,
    /// The process that made it, by [`fork::generation`].
    made_in: u32,
    /// A thread of the kernel's takes them, or something is under way aside.
    pub(super) detours: bool,
    /// What came last was too much for the next entries to be handed over with the wish for more.
    pub(super) is_heavy: bool,
    /// How many system calls all enters were.
    pub(super) calls: u64,
    pub(super) aside: Aside,
    pub(super) in_flight_aside: u32,
    pub(super) entered_itself: Entered,
    pub(super) luck: Luck,
    pub(super) luck_of_reads: Luck,
    /// What positions and indices here are ahead of those of the kernel, whose begin at 0.
    #[cfg(test)]
    ahead: u32,
    fd: OwnedFd,
}

impl Uring {
    pub(crate) fn new(config: Config) -> io::Result<Uring> {
        let (fd, params) = build(config).map_err(|error| match config.polled.and_then(|polled| polled.cpu) {
            Some(cpu) if error.raw_os_error() == Some(libc::EINVAL) => io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("no thread of the kernel's can take submissions on CPU {cpu}: it is not there, or not online"),
            ),
            _ => diagnose::explain(error),
        })?;
        let needed = abi::FEAT_NODROP | abi::FEAT_EXT_ARG | abi::FEAT_SUBMIT_STABLE;
        if params.features & needed != needed {
            return Err(diagnose::explain(io::Error::from_raw_os_error(libc::EINVAL)));
        }
        let shared = Shared::map(&fd, &params).map_err(diagnose::explain)?;
        let no_iowait = if params.features & abi::FEAT_NO_IOWAIT != 0 { sys::ENTER_NO_IOWAIT } else { 0 };
        if let Some(busy_poll) = config.busy_poll {
            register_busy_poll(fd.as_raw_fd(), busy_poll)?;
        }
        // Sixteen rings a thread can be registered; one more works without.
        let (enter_fd, registered) = match sys::register_ring_fd(fd.as_raw_fd()) {
            Ok(index) => (index, true),
            Err(_) => (fd.as_raw_fd(), false),
        };
        let enter_flags = sys::ENTER_GETEVENTS | if registered { sys::ENTER_REGISTERED_RING } else { 0 };
        Ok(Uring {
            shared,
            tail: 0,
            published: 0,
            head: 0,
            full_at: params.sq_entries,
            capacity: params.sq_entries,
            backlog: VecDeque::new(),
            spare: Sqe::new(0),
            enter_fd,
            registered,
            wait_flags: enter_flags | no_iowait,
            enter_flags,
            gathers: params.features & abi::FEAT_MIN_TIMEOUT != 0 && config.polled.is_none(),
            defers: params.flags & abi::SETUP_DEFER_TASKRUN != 0,
            polled: config.polled.is_some(),
            woken_for: None,
            made_in: fork::generation(),
            detours: config.polled.is_some(),
            is_heavy: false,
            calls: 0,
            aside: Aside::default(),
            in_flight_aside: 0,
            entered_itself: Entered::All,
            luck: Luck::default(),
            luck_of_reads: Luck::default(),
            #[cfg(test)]
            ahead: 0,
            fd,
        })
    }

    /// Has positions and indices start just below their wrap, say. So many must be whole rounds of both queues.
    #[cfg(test)]
    pub(crate) fn start_indices_at(&mut self, index: u32) {
        assert_eq!((self.tail, index & self.shared.sq_mask, index & self.shared.cq_mask), (0, 0, 0));
        (self.ahead, self.tail, self.published, self.head) = (index, index, index, index);
        self.full_at = index.wrapping_add(self.capacity);
    }

    /// 0, but in tests.
    #[inline(always)]
    fn ahead(&self) -> u32 {
        #[cfg(test)]
        return self.ahead;
        #[cfg(not(test))]
        0
    }

    #[inline]
    pub(crate) fn stage(&mut self) -> &mut Sqe {
        if self.tail == self.full_at {
            return &mut self.spare;
        }
        let index = self.tail & self.shared.sq_mask;
        // SAFETY: the index is masked, so the entry lies within the queue, and it is ours: fewer than `capacity` entries
        // are between the kernel's head and here, and it reads none behind the published tail. Any bytes are an entry.
        unsafe { self.shared.sqes.add(index as usize).as_mut() }
    }

    #[inline]
    pub(crate) fn commit(&mut self) -> u32 {
        let position = self.tail;
        if position == self.full_at {
            return self.commit_to_backlog();
        }
        self.tail = position.wrapping_add(1);
        position
    }

    /// The same where the queue is not full.
    #[inline]
    pub(crate) fn commit_fitting(&mut self) -> u32 {
        let position = self.tail;
        debug_assert_ne!(position, self.full_at);
        self.tail = position.wrapping_add(1);
        position
    }

    /// The queue is full of entries that the kernel was too busy to take.
    #[cold]
    fn commit_to_backlog(&mut self) -> u32 {
        let position = self.tail.wrapping_add(self.backlog.len() as u32);
        self.backlog.push_back(self.spare);
        position
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.tail == self.full_at
    }

    pub(crate) fn room(&self) -> usize {
        // With a backlog the queue is full.
        self.full_at.wrapping_sub(self.tail) as usize
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(crate) fn take_back(&mut self, count: u32) {
        debug_assert!(count as usize <= self.staged() && self.backlog.is_empty());
        self.tail = self.tail.wrapping_sub(count);
    }

    #[inline]
    pub(crate) fn staged(&self) -> usize {
        self.tail.wrapping_sub(self.published) as usize + self.backlog.len()
    }

    /// The entry that was staged last, where the queue has one.
    pub(super) fn last_staged(&mut self) -> &mut Sqe {
        debug_assert!(self.tail != self.published && self.backlog.is_empty());
        let index = self.tail.wrapping_sub(1) & self.shared.sq_mask;
        // SAFETY: as in `stage`: within the queue, and not published.
        unsafe { self.shared.sqes.add(index as usize).as_mut() }
    }

    pub(crate) fn staged_mut(&mut self, position: u32, user_data: u64) -> Option<&mut Sqe> {
        let in_queue = self.tail.wrapping_sub(self.published);
        let offset = position.wrapping_sub(self.published);
        let sqe = if offset < in_queue {
            let index = position & self.shared.sq_mask;
            // SAFETY: as in `push`: within the queue, and not published. The borrow is of `self`.
            unsafe { self.shared.sqes.add(index as usize).as_mut() }
        } else {
            self.backlog.get_mut((offset - in_queue) as usize)?
        };
        // A position of long ago may look like one of now after 2^32 entries; the user_data tells them apart.
        (sqe.user_data == user_data).then_some(sqe)
    }

    #[inline]
    pub(crate) fn needs_enter(&mut self) -> bool {
        let flags = self.flags();
        if self.detours {
            return self.needs_detour(flags);
        }
        self.needs_enter_itself(flags)
    }

    #[inline]
    pub(super) fn flags(&self) -> u32 {
        Self::load(&self.shared.sq_flags, Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn needs_enter_itself(&self, flags: u32) -> bool {
        self.tail != self.head || !self.backlog.is_empty() || flags & (abi::SQ_TASKRUN | abi::SQ_CQ_OVERFLOW) != 0
    }

    /// Whether there are completions, or an enter would bring some up.
    pub(super) fn has_completions(&self) -> bool {
        let head = Self::load(&self.shared.cq_head, Ordering::Relaxed);
        self.flags() & (abi::SQ_TASKRUN | abi::SQ_CQ_OVERFLOW) != 0
            || head != Self::load(&self.shared.cq_tail, Ordering::Relaxed)
    }

    /// Whether no enter is due and no completion is there.
    #[inline]
    pub(crate) fn is_idle(&mut self) -> bool {
        let head = Self::load(&self.shared.cq_head, Ordering::Relaxed);
        !self.needs_enter() && head == Self::load(&self.shared.cq_tail, Ordering::Relaxed)
    }

    pub(crate) fn unsubmitted(&mut self) -> usize {
        if self.polled {
            self.update_head();
        }
        self.tail.wrapping_sub(self.head) as usize + self.backlog.len() + self.unsubmitted_aside()
    }

    #[inline]
    pub(super) fn load(field: &std::ptr::NonNull<AtomicU32>, order: Ordering) -> u32 {
        // SAFETY: the field lies in memory that `shared` keeps mapped, and is only ever used as an atomic.
        unsafe { field.as_ref() }.load(order)
    }

    #[inline]
    pub(super) fn store(field: &std::ptr::NonNull<AtomicU32>, value: u32) {
        // SAFETY: as in `load`.
        unsafe { field.as_ref() }.store(value, Ordering::Release);
    }

    /// Moves what did not fit into the queue, as far as it fits now.
    #[cold]
    fn move_backlog(&mut self) {
        while self.tail != self.full_at
            && let Some(sqe) = self.backlog.pop_front()
        {
            *self.stage() = sqe;
            self.commit();
        }
    }

    /// Publishes the staged entries. Gives how many the kernel has not taken.
    ///
    /// What an entry points to stays valid until its completion: that is the promise of `Op` for the entries of operations,
    /// and of the arena (not reset before the queue is empty) for inputs that the kernel reads while it submits.
    #[inline]
    pub(super) fn publish(&mut self) -> u32 {
        self.published = self.tail;
        Self::store(&self.shared.sq_tail, self.tail.wrapping_sub(self.ahead()));
        self.tail.wrapping_sub(self.head)
    }

    #[inline]
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<Entered> {
        if self.detours {
            return self.detour(wait);
        }
        self.enter_itself(wait)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn enter_slowly(&mut self) -> io::Result<Entered> {
        self.enter_itself(Wait::No)
    }

    /// Inlined, for the way without a detour is every turn's.
    #[inline(always)]
    fn enter_itself(&mut self, wait: Wait) -> io::Result<Entered> {
        self.calls += 1;
        let to_submit = self.publish();
        // With entries left behind there is more to submit: waiting now would hold them back.
        let wait = if self.backlog.is_empty() { wait } else { Wait::No };
        let result = self.call(to_submit, 0, wait);
        self.update_head();
        if self.tail == self.head && self.backlog.is_empty() && result.is_ok() {
            return Ok(Entered::All);
        }
        self.entered_in_part(result)
    }

    #[cold]
    #[inline(never)]
    fn entered_in_part(&mut self, result: io::Result<()>) -> io::Result<Entered> {
        if !self.backlog.is_empty() {
            // Now, so that there is a backlog only while the queue is full: what is staged next comes behind it.
            self.move_backlog();
        }
        result?;
        Ok(if self.tail == self.head && self.backlog.is_empty() { Entered::All } else { Entered::Pressed })
    }

    pub(crate) fn room_for_completions(&self) -> usize {
        self.shared.cq_mask as usize + 1
    }

    pub(crate) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        sys::register_eventfd(self.fd.as_raw_fd(), eventfd)
    }

    /// The kernel writes the queue's tail, or that there is work, and then looks for the wish to be quiet in another word; we
    /// write and read them the other way round. That is sound if both sides keep their order. What our own thread completes
    /// does. A worker thread of the kernel's looks in between whether somebody waits for the queue (`wq_has_sleeper`, a full barrier)
    /// or takes a lock, which keeps the order only where an atomic operation is a full barrier. Elsewhere it is never asked to
    /// be quiet, which costs wakings for nothing.
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
            Self::store(&self.shared.cq_flags, if quiet { abi::CQ_EVENTFD_DISABLED } else { 0 });
        }
        if !quiet {
            fence(Ordering::SeqCst);
        }
    }

    /// The system call. Interruptions and time-outs are no errors.
    #[inline(always)]
    fn call(&self, to_submit: u32, extra_flags: u32, wait: Wait) -> io::Result<()> {
        let (min_complete, flags, timeout_ns, min_wait_us) = match wait {
            Wait::No => (0, self.enter_flags, None, 0),
            Wait::Completion => (1, self.wait_flags, None, 0),
            Wait::AtMostNs(ns) => (1, self.wait_flags, Some(ns), 0),
            Wait::Gather { several, within_ns, at_most_ns } if self.gathers && within_ns >= 1000 => {
                (several, self.wait_flags, at_most_ns, (within_ns / 1000).try_into().unwrap_or(u32::MAX))
            }
            Wait::Gather { at_most_ns, .. } => (1, self.wait_flags, at_most_ns, 0),
        };
        let flags = flags | extra_flags;
        match sys::enter(self.enter_fd, to_submit, min_complete, flags, timeout_ns, min_wait_us) {
            Ok(_) => Ok(()),
            Err(error) => Self::judge(error),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn judge(error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error),
        }
    }

    /// Looks how far the kernel has come.
    #[inline]
    pub(super) fn update_head(&mut self) {
        self.head = Self::load(&self.shared.sq_head, Ordering::Acquire).wrapping_add(self.ahead());
        self.full_at = self.head.wrapping_add(self.capacity);
        debug_assert!(self.tail.wrapping_sub(self.head) <= self.capacity);
    }

    /// What the kernel's thread has not taken yet is no reason to enter, unless it sleeps.
    #[cold]
    pub(super) fn needs_enter_polled(&mut self, flags: u32) -> bool {
        self.update_head();
        if self.tail == self.head {
            self.woken_for = None;
        }
        // A thread that was woken says that it sleeps until it runs, and then it sees everything that was published before.
        let woken = self.woken_for == Some(self.tail);
        let asleep = self.tail != self.head && flags & abi::SQ_NEED_WAKEUP != 0 && !woken;
        self.tail != self.published || !self.backlog.is_empty() || asleep || flags & abi::SQ_CQ_OVERFLOW != 0
    }

    /// Enters where a thread of the kernel's takes the entries: with a system call only if that sleeps, if there is to be a
    /// wait, for completions or for room, or if completions did not fit.
    #[cold]
    pub(super) fn enter_polled(&mut self, wait: Wait) -> io::Result<Entered> {
        if self.is_forked() {
            // The thread is the parent's. Where there is none, the kernel itself refuses whoever is not the ring's maker.
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let to_submit = self.publish();
        // The thread announces that it sleeps and looks at the tail once more; we publish the tail and look at the
        // announcement. With a fence between each of the two, one of us sees the other.
        fence(Ordering::SeqCst);
        let state = Self::load(&self.shared.sq_flags, Ordering::Relaxed);
        let wake = if state & abi::SQ_NEED_WAKEUP != 0 { sys::ENTER_SQ_WAKEUP } else { 0 };
        let (wait, room) = if self.backlog.is_empty() { (wait, 0) } else { (Wait::No, sys::ENTER_SQ_WAIT) };
        let calls = wait != Wait::No || wake | room != 0 || state & abi::SQ_CQ_OVERFLOW != 0;
        self.calls += u64::from(calls);
        if calls {
            self.call(to_submit, wake | room, wait)?;
            self.woken_for = if wake != 0 { Some(self.tail) } else { self.woken_for };
        }
        self.update_head();
        if !self.backlog.is_empty() {
            self.move_backlog();
        }
        Ok(if self.tail == self.head && self.backlog.is_empty() { Entered::All } else { Entered::Left })
    }

    pub(crate) fn is_polled(&self) -> bool {
        self.polled
    }

    /// Whether this is a child's copy of a ring of its parent's.
    pub(crate) fn is_forked(&self) -> bool {
        self.made_in != fork::generation()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) fn register_buffers(&self, group: u16, entries: usize) -> io::Result<BufferRing> {
        BufferRing::new(self.fd.as_raw_fd(), group, entries)
    }

    pub(crate) fn make_memory_table(&self, places: u16) -> io::Result<()> {
        sys::register_sparse_buffers(self.fd.as_raw_fd(), places.into())
    }

    pub(crate) fn make_file_table(&self, places: u32) -> io::Result<()> {
        sys::register_sparse_files(self.fd.as_raw_fd(), places)
    }

    pub(crate) fn drop_file_table(&self) {
        sys::unregister_files(self.fd.as_raw_fd());
    }

    pub(crate) fn set_memory(&self, index: u16, address: u64, bytes: usize) -> io::Result<()> {
        sys::update_buffer(self.fd.as_raw_fd(), index.into(), address, bytes)
    }

    #[inline(always)]
    pub(crate) fn harvest(&mut self, mut each: impl FnMut(u64, Cqe)) -> usize {
        let head = Self::load(&self.shared.cq_head, Ordering::Relaxed).wrapping_add(self.ahead());
        let tail = Self::load(&self.shared.cq_tail, Ordering::Acquire).wrapping_add(self.ahead());
        let count = tail.wrapping_sub(head);
        let (cqes, mask) = (self.shared.cqes, self.shared.cq_mask);
        for position in 0..count {
            let index = head.wrapping_add(position) & mask;
            // SAFETY: the index is masked, so the entry lies within the queue; the kernel has published it (the acquire
            // load) and does not write it again before the head moves past it.
            let raw = unsafe { cqes.add(index as usize).read() };
            each(raw.user_data, Cqe { result: raw.result, flags: raw.flags });
        }
        if count > 0 {
            // SAFETY: as above: it is the last of those.
            let last = unsafe { cqes.add((tail.wrapping_sub(1) & mask) as usize).read() };
            self.is_heavy = apart::is_heavy(count, last.result);
            Self::store(&self.shared.cq_head, tail.wrapping_sub(self.ahead()));
        }
        count as usize
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.registered {
            sys::unregister_ring_fd(self.fd.as_raw_fd(), self.enter_fd);
        }
    }
}

fn register_busy_poll(ring: RawFd, busy_poll: BusyPoll) -> io::Result<()> {
    sys::register_napi(ring, busy_poll.at_most_us, busy_poll.preferred).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            "busy polling of network devices needs Linux 6.9 or newer, built with CONFIG_NET_RX_BUSY_POLL",
        ),
        _ => error,
    })
}

fn build(config: Config) -> io::Result<(OwnedFd, Params)> {
    let attempt = |extra: u32| {
        let mut params = Params::default();
        params.cq_entries = config.cq_entries;
        params.flags = extra | abi::SETUP_SINGLE_ISSUER | abi::SETUP_SUBMIT_ALL | abi::SETUP_CLAMP | abi::SETUP_CQSIZE;
        params.flags |= if config.iopoll { abi::SETUP_IOPOLL } else { 0 };
        if let Some(polled) = config.polled {
            // The kernel does not take it together with the flags below.
            params.flags |= abi::SETUP_SQPOLL;
            params.sq_thread_idle = polled.idle_ms;
            if let Some(cpu) = polled.cpu {
                params.flags |= abi::SETUP_SQ_AFF;
                params.sq_thread_cpu = cpu;
            }
        } else {
            params.flags |= abi::SETUP_COOP_TASKRUN | abi::SETUP_TASKRUN_FLAG;
            // Who waits elsewhere is told of deferred completions by a registered eventfd, and not reliably: where a poll is the
            // reason, newer kernels leave the signal to RCU, which is 10 to 25 ms late, and some give only the first (6.12.117;
            // 6.18 where what is polled is an eventfd itself).
            params.flags |= if config.hosted { 0 } else { abi::SETUP_DEFER_TASKRUN };
        }
        abi::setup(config.sq_entries, &mut params).map(|fd| (fd, params))
    };
    if !NO_SQARRAY_REFUSED.load(Ordering::Relaxed) {
        match attempt(abi::SETUP_NO_SQARRAY) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            outcome => return outcome,
        }
    }
    let ring = attempt(0)?;
    NO_SQARRAY_REFUSED.store(true, Ordering::Relaxed);
    Ok(ring)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ring_of_a_thread_gets_a_registered_index_because_the_ones_before_gave_theirs_back() {
        let config = Config::of(4, 8);
        for life in 0..40 {
            let ring = Uring::new(config).unwrap();
            assert!(ring.registered, "life {life}: a thread has 16 indices");
        }
        // One more than there are works without.
        let mut rings: Vec<_> = (0..17).map(|_| Uring::new(config).unwrap()).collect();
        assert_eq!(rings.iter().filter(|ring| ring.registered).count(), 16);
        for ring in &mut rings {
            *ring.stage() = Sqe::new(io_uring::opcode::Nop::CODE);
            ring.commit();
            assert_eq!(ring.enter(Wait::Completion).unwrap(), Entered::All);
            assert_eq!(ring.harvest(|_, cqe| assert_eq!(cqe.result, 0)), 1);
        }
    }

    /// As after 2^32 entries: a full queue, one with a backlog, entries that are made void, completions that lie across the wrap.
    #[test]
    fn indices_wrap() {
        for before in [8, 16, 24] {
            let mut ring = Uring::new(Config::of(4, 8)).unwrap();
            ring.start_indices_at(0u32.wrapping_sub(before));
            let (mut next, mut seen) = (0u64, Vec::new());
            while next < 40 {
                // Two more than the queue holds.
                for user_data in next..next + 6 {
                    *ring.stage() = Sqe { user_data, ..Sqe::new(io_uring::opcode::Nop::CODE) };
                    let position = ring.commit();
                    assert!(ring.staged_mut(position, user_data).is_some(), "{user_data}");
                }
                next += 6;
                assert_eq!((ring.staged(), ring.is_full(), ring.room()), (6, true, 0));
                assert_eq!(ring.enter(Wait::Completion).unwrap(), Entered::Pressed);
                assert_eq!((ring.unsubmitted(), ring.staged(), ring.room()), (2, 2, 2));
                assert_eq!(ring.enter(Wait::Completion).unwrap(), Entered::All);
                while ring.harvest(|user_data, _| seen.push(user_data)) > 0 {}
                assert!(ring.is_idle());
            }
            assert_eq!(seen, (0..next).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_entry_can_be_made_void_until_the_tail_is_published() {
        let mut ring = Uring::new(Config::of(4, 8)).unwrap();
        for user_data in [1, 2, 3] {
            // A poll on nothing: an error, if it is ever submitted.
            *ring.stage() =
                Sqe { user_data, ..Sqe::new(io_uring::opcode::PollAdd::CODE).flags(super::super::HARDLINK) };
            ring.commit();
        }
        ring.staged_mut(1, 2).expect("it is still ours").void();
        assert!(ring.staged_mut(1, 7).is_none(), "another entry of long ago");
        let void = *ring.staged_mut(1, 2).unwrap();
        assert_eq!(void.opcode, io_uring::opcode::Nop::CODE);
        assert_eq!(void.flags, super::super::HARDLINK | super::super::SKIP_SUCCESS, "links are kept");
        ring.enter(Wait::Completion).unwrap();
        assert!(ring.staged_mut(0, 1).is_none(), "the kernel has it");
        let mut seen = Vec::new();
        ring.harvest(|user_data, cqe| seen.push((user_data, cqe.result)));
        assert!(seen.contains(&(1, -libc::EBADF)) && !seen.contains(&(2, 0)), "{seen:?}");
    }
}
