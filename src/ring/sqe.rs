//! The submission entry, as the kernel reads it. Our own type, so that no version of another crate is part of
//! this one's API.

use std::fmt;
use std::os::fd::RawFd;

/// A submission queue entry: one request to the kernel, `struct io_uring_sqe` of `io_uring_enter(2)`.
///
/// Made with [`Sqe::new`] and the methods below, each named after the field that it sets; what a field means
/// depends on the opcode and is told by `io_uring_enter(2)`. It is needed only for operations that this crate
/// does not wrap yet: see [`op::submit`](crate::op::submit).
///
/// ```
/// use ringtoss::op::Sqe;
/// let nop = Sqe::new(0).len(0);
/// assert_eq!(nop.opcode(), 0);
/// ```
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Sqe {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) ioprio: u16,
    pub(crate) fd: RawFd,
    pub(crate) offset: u64,
    pub(crate) addr: u64,
    pub(crate) len: u32,
    pub(crate) op_flags: u32,
    pub(crate) user_data: u64,
    pub(crate) buf_index: u16,
    pub(crate) personality: u16,
    pub(crate) file_index: u32,
    pub(crate) addr3: u64,
    pub(crate) pad: u64,
}

// What this side makes of `ECANCELED`: no numbers of the kernel's, which end at 4095.

/// Nobody has cancelled.
pub(crate) const NO_WORKER: i32 = 4096;
/// The limit of an operation has passed. `ETIMEDOUT` is what the kernel says of a peer that does not answer.
pub(crate) const LATE: i32 = 4097;

/// The error that an `errno` stands for.
#[cold]
pub(crate) fn error_of(errno: i32) -> std::io::Error {
    match errno {
        NO_WORKER => std::io::Error::new(
            std::io::ErrorKind::ResourceBusy,
            "the kernel could start no thread of its own for this call (see ulimit -u and the cgroup's pids.max), or the file \
             system has cancelled it",
        ),
        LATE => std::io::Error::new(std::io::ErrorKind::TimedOut, "the time limit of the operation has passed"),
        _ => std::io::Error::from_raw_os_error(errno),
    }
}

/// `IOSQE_FIXED_FILE`.
pub(crate) const FIXED_FILE: u8 = 1 << 0;
/// `IOSQE_IO_LINK`.
pub(crate) const LINK: u8 = 1 << 2;
/// `IOSQE_IO_HARDLINK`.
pub(crate) const HARDLINK: u8 = 1 << 3;
/// `IOSQE_ASYNC`.
pub(crate) const ASYNC: u8 = 1 << 4;
/// `IOSQE_BUFFER_SELECT`.
pub(crate) const BUFFER_SELECT: u8 = 1 << 5;
/// `IOSQE_CQE_SKIP_SUCCESS`.
pub(crate) const SKIP_SUCCESS: u8 = 1 << 6;

impl Sqe {
    /// An entry of the given opcode (`IORING_OP_*`), all else zero, without a file.
    #[inline]
    pub const fn new(opcode: u8) -> Sqe {
        Sqe {
            opcode,
            flags: 0,
            ioprio: 0,
            fd: -1,
            offset: 0,
            addr: 0,
            len: 0,
            op_flags: 0,
            user_data: 0,
            buf_index: 0,
            personality: 0,
            file_index: 0,
            addr3: 0,
            pad: 0,
        }
    }

    /// The opcode that it was made with.
    pub const fn opcode(&self) -> u8 {
        self.opcode
    }

    /// The file that is operated on.
    #[inline]
    pub const fn fd(mut self, fd: RawFd) -> Sqe {
        self.fd = fd;
        self
    }

    /// `IOSQE_*` flags. Link flags and `IOSQE_CQE_SKIP_SUCCESS` are refused by [`op::submit`](crate::op::submit).
    #[inline]
    pub const fn flags(mut self, flags: u8) -> Sqe {
        self.flags = flags;
        self
    }

    /// The priority or per-opcode flags (`ioprio`).
    #[inline]
    pub const fn ioprio(mut self, ioprio: u16) -> Sqe {
        self.ioprio = ioprio;
        self
    }

    /// The offset into the file, or the second address (`off`, `addr2`).
    #[inline]
    pub const fn offset(mut self, offset: u64) -> Sqe {
        self.offset = offset;
        self
    }

    /// The address of the buffer or structure (`addr`).
    #[inline]
    pub const fn addr(mut self, addr: u64) -> Sqe {
        self.addr = addr;
        self
    }

    /// The length in bytes, or a count (`len`).
    #[inline]
    pub const fn len(mut self, len: u32) -> Sqe {
        self.len = len;
        self
    }

    /// The opcode's own flags (`rw_flags`, `msg_flags`, `open_flags`, …).
    #[inline]
    pub const fn op_flags(mut self, flags: u32) -> Sqe {
        self.op_flags = flags;
        self
    }

    /// The registered buffer's index or the buffer group (`buf_index`, `buf_group`).
    #[inline]
    pub const fn buf_index(mut self, index: u16) -> Sqe {
        self.buf_index = index;
        self
    }

    /// The direct descriptor's slot or the second file (`file_index`, `splice_fd_in`).
    #[inline]
    pub const fn file_index(mut self, index: u32) -> Sqe {
        self.file_index = index;
        self
    }

    /// The third address (`addr3`).
    #[inline]
    pub const fn addr3(mut self, addr: u64) -> Sqe {
        self.addr3 = addr;
        self
    }

    /// Cancels what has this name.
    pub(crate) const fn cancelling(user_data: u64) -> Sqe {
        Sqe::new(io_uring::opcode::AsyncCancel::CODE).addr(user_data)
    }

    /// Where it lies, to be recognised.
    pub(crate) fn place(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The length of a message's address: `addr_len`, the first half of a field that other opcodes have for something else.
    pub(crate) fn name_address(mut self, address: u64, len: u32) -> Sqe {
        self.offset = address;
        self.file_index = if cfg!(target_endian = "big") { len << 16 } else { len };
        self
    }

    pub(crate) fn address_len(&self) -> u32 {
        if cfg!(target_endian = "big") { self.file_index >> 16 } else { self.file_index & 0xffff }
    }

    /// Makes it do nothing, without a completion, and leaves only the links, so that a chain around it holds.
    pub(crate) fn void(&mut self) {
        let links = self.flags & (LINK | HARDLINK);
        *self = Sqe { flags: links | SKIP_SUCCESS, user_data: self.user_data, ..Sqe::new(io_uring::opcode::Nop::CODE) };
    }
}

impl fmt::Debug for Sqe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqe")
            .field("opcode", &self.opcode)
            .field("flags", &self.flags)
            .field("fd", &self.fd)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What a completion queue entry says, `struct io_uring_cqe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cqe {
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

/// `IORING_CQE_F_BUFFER`.
const CQE_BUFFER: u32 = 1 << 0;
/// `IORING_CQE_F_MORE`.
pub(crate) const CQE_MORE: u32 = 1 << 1;

impl Cqe {
    /// What the loop hands to an operation that never reached the kernel, or whose result was found elsewhere.
    pub(crate) const fn of(result: i32) -> Cqe {
        Cqe { result, flags: 0 }
    }

    /// The result: not negative on success, a negated `errno` otherwise.
    pub fn result(&self) -> i32 {
        self.result
    }

    /// `IORING_CQE_F_*` flags.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the same submission gives further completions (`IORING_CQE_F_MORE`).
    #[inline]
    pub fn more(&self) -> bool {
        self.flags & CQE_MORE != 0
    }

    /// Whether it says more than its result: that others follow, or where its bytes are.
    #[inline]
    pub(crate) fn says_more(&self) -> bool {
        self.flags & (CQE_MORE | CQE_BUFFER) != 0
    }

    /// The number of the provided buffer that comes with it (`IORING_CQE_F_BUFFER`).
    #[inline]
    pub(crate) fn buffer(&self) -> Option<u16> {
        (self.flags & CQE_BUFFER != 0).then_some((self.flags >> 16) as u16)
    }

    /// The result as a count or descriptor, or the error that it stands for.
    #[inline]
    pub(crate) fn ok(&self) -> std::io::Result<u32> {
        if self.result >= 0 { Ok(self.result as u32) } else { Err(self.error()) }
    }

    /// The error that the result stands for. Away from the path of those that succeed.
    #[cold]
    fn error(&self) -> std::io::Error {
        error_of(-self.result)
    }

    /// Whether this side ended it, and the kernel did not get to it.
    pub(crate) fn was_not_made(&self) -> bool {
        matches!(-self.result, libc::ECANCELED | LATE)
    }

    /// Whether it tells that a signal interrupted it before it had done anything. Some operations give what the kernel
    /// otherwise keeps to itself (`ERESTARTSYS` and its kin: opening a FIFO, network file systems).
    #[inline]
    pub(crate) fn interrupted(&self) -> bool {
        self.result < 0 && (self.result == -libc::EINTR || (-516..=-512).contains(&self.result))
    }

    /// Whether it tells that a cancellation took effect. Interrupted is what an operation was that was cancelled in a
    /// worker thread of the kernel.
    pub(crate) fn cancelled(&self) -> bool {
        self.result == -libc::ECANCELED || self.interrupted()
    }
}
