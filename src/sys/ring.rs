//! `io_uring_setup(2)` and the memory that a ring shares with the kernel.
//!
//! The `io-uring` crate maps the same memory, but hides it: its queues copy every entry and load and store the indices
//! with each use. Here an entry is written where the kernel reads it, and stays changeable until the tail is published.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

use super::{fork, own};

pub(crate) const SETUP_IOPOLL: u32 = 1 << 0;
pub(crate) const SETUP_SQPOLL: u32 = 1 << 1;
pub(crate) const SETUP_SQ_AFF: u32 = 1 << 2;
pub(crate) const SETUP_CQSIZE: u32 = 1 << 3;
pub(crate) const SETUP_CLAMP: u32 = 1 << 4;
pub(crate) const SETUP_SUBMIT_ALL: u32 = 1 << 7;
pub(crate) const SETUP_COOP_TASKRUN: u32 = 1 << 8;
pub(crate) const SETUP_TASKRUN_FLAG: u32 = 1 << 9;
pub(crate) const SETUP_CQE32: u32 = 1 << 11;
pub(crate) const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
pub(crate) const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
pub(crate) const SETUP_NO_SQARRAY: u32 = 1 << 16;

pub(crate) const FEAT_SINGLE_MMAP: u32 = 1 << 0;
pub(crate) const FEAT_NODROP: u32 = 1 << 1;
pub(crate) const FEAT_SUBMIT_STABLE: u32 = 1 << 2;
pub(crate) const FEAT_EXT_ARG: u32 = 1 << 8;
pub(crate) const FEAT_MIN_TIMEOUT: u32 = 1 << 15;
pub(crate) const FEAT_NO_IOWAIT: u32 = 1 << 17;

pub(crate) const SQ_NEED_WAKEUP: u32 = 1 << 0;
pub(crate) const SQ_CQ_OVERFLOW: u32 = 1 << 1;
pub(crate) const SQ_TASKRUN: u32 = 1 << 2;
pub(crate) const CQ_EVENTFD_DISABLED: u32 = 1 << 0;

const OFF_SQ_RING: i64 = 0;
const OFF_SQES: i64 = 0x1000_0000;

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SqOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub flags: u32,
    pub dropped: u32,
    pub array: u32,
    resv: u32,
    user_addr: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CqOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub overflow: u32,
    pub cqes: u32,
    pub flags: u32,
    resv: u32,
    user_addr: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Params {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub flags: u32,
    pub sq_thread_cpu: u32,
    pub sq_thread_idle: u32,
    pub features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    pub sq_off: SqOffsets,
    pub cq_off: CqOffsets,
}

const _: () = assert!(size_of::<Params>() == 120);

/// A CQE as the kernel writes it, `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawCqe {
    pub user_data: u64,
    pub result: i32,
    pub flags: u32,
}

/// Makes a ring; `params` goes in with flags and sizes and comes back with what the kernel made of them.
pub(crate) fn setup(entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
    // SAFETY: the parameters live over the call and have the size that the kernel reads and writes (asserted above).
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries as libc::c_long, &raw mut *params) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(own(fd as RawFd)) }
}

/// Memory shared with the kernel; unmapped when dropped in the process that made it.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    /// By [`fork::generation`].
    made_in: u32,
}

impl Mapping {
    /// The part of a ring that is at this offset.
    fn new(fd: RawFd, offset: i64, len: usize) -> io::Result<Mapping> {
        let mapping = Mapping::of(fd, offset, len, libc::MAP_SHARED | libc::MAP_POPULATE)?;
        // A child must not have the ring: two processes would write one queue.
        fork::note(mapping.start, len);
        Ok(mapping)
    }

    /// New memory, zeroed.
    pub(crate) fn anonymous(len: usize) -> io::Result<Mapping> {
        Mapping::of(-1, 0, len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
    }

    fn of(fd: RawFd, offset: i64, len: usize, flags: libc::c_int) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choosing touches no memory that exists.
        let start = unsafe {
            libc::mmap(ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, fd, offset as libc::off_t)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("a mapping is never at address 0");
        Ok(Mapping { start, len, made_in: fork::generation() })
    }

    /// Where it begins, and how long it is.
    pub(crate) fn bytes(&self) -> (NonNull<u8>, usize) {
        (self.start, self.len)
    }

    /// The address of a field of the kernel's.
    pub(crate) fn field<T>(&self, offset: u32, count: usize) -> NonNull<T> {
        let end = offset as usize + count * size_of::<T>();
        assert!(end <= self.len, "the kernel's offsets lie within the ring");
        // SAFETY: within the mapping.
        let field = unsafe { self.start.add(offset as usize) }.cast::<T>();
        assert!(field.is_aligned());
        field
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.made_in != fork::generation() {
            // What is there is a copy, or may be anybody's.
            return;
        }
        let _forgotten = fork::forget(self.start);
        // SAFETY: this is the mapping that was made; the pointers into it are in `Shared`, which is dropped with it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The queues of a ring, as pointers into the mapped memory, valid for as long as this lives.
pub(crate) struct Shared<S, C = RawCqe> {
    pub sq_head: NonNull<AtomicU32>,
    pub sq_tail: NonNull<AtomicU32>,
    pub sq_flags: NonNull<AtomicU32>,
    pub sqes: NonNull<S>,
    pub sq_mask: u32,
    pub cq_head: NonNull<AtomicU32>,
    pub cq_tail: NonNull<AtomicU32>,
    pub cq_flags: NonNull<AtomicU32>,
    pub cqes: NonNull<C>,
    pub cq_mask: u32,
    _rings: Mapping,
    _sqes: Mapping,
}

impl<S, C> Shared<S, C> {
    /// Maps the queues of a ring that was set up with these parameters; `S` is the entry's type, and `C` the completion's.
    pub(crate) fn map(fd: &OwnedFd, params: &Params) -> io::Result<Shared<S, C>> {
        if params.features & FEAT_SINGLE_MMAP == 0 {
            // Linux before 5.4; the floor is 6.1.
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let (sq, cq) = (&params.sq_off, &params.cq_off);
        let array = if params.flags & SETUP_NO_SQARRAY == 0 { params.sq_entries as usize } else { 0 };
        let sq_len = sq.array as usize + array * size_of::<u32>();
        let cq_len = cq.cqes as usize + params.cq_entries as usize * size_of::<C>();
        let rings = Mapping::new(fd.as_raw_fd(), OFF_SQ_RING, sq_len.max(cq_len))?;
        let sqes = Mapping::new(fd.as_raw_fd(), OFF_SQES, params.sq_entries as usize * size_of::<S>())?;
        if array > 0 {
            let indices = rings.field::<u32>(sq.array, array);
            for index in 0..params.sq_entries {
                // SAFETY: `field` has checked that the whole array lies within the mapping.
                unsafe { indices.add(index as usize).write_volatile(index) };
            }
        }
        assert!(params.sq_entries.is_power_of_two() && params.cq_entries.is_power_of_two());
        Ok(Shared {
            sq_head: rings.field(sq.head, 1),
            sq_tail: rings.field(sq.tail, 1),
            sq_flags: rings.field(sq.flags, 1),
            sqes: sqes.field(0, params.sq_entries as usize),
            sq_mask: params.sq_entries - 1,
            cq_head: rings.field(cq.head, 1),
            cq_tail: rings.field(cq.tail, 1),
            cq_flags: rings.field(cq.flags, 1),
            cqes: rings.field(cq.cqes, params.cq_entries as usize),
            cq_mask: params.cq_entries - 1,
            _rings: rings,
            _sqes: sqes,
        })
    }
}
