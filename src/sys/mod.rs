//! The few system calls that the loop makes itself: everything about `io_uring_enter(2)` and
//! `io_uring_register(2)` that the `io-uring` crate does not offer in the form needed here, and the
//! non-blocking calls around a descriptor. Each is a thin, safe function; nothing here blocks unless it
//! says so.
#![allow(unsafe_code)]

mod address;
pub(crate) mod ancillary;
mod dir;
pub(crate) mod epoll;
mod file;
pub(crate) mod fork;
mod lock;
mod memory;
mod option;
mod pointed;
pub(crate) mod process;
pub(crate) mod ring;
pub(crate) mod signal;
mod socket;
mod xattr;
pub(crate) mod zcrx;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

pub use address::{Address, RawAddress};
pub(crate) use address::{bind, local_address, peer_address};
pub(crate) use ancillary::Control;
pub(crate) use dir::{
    Entries, clone_content, create_new_at, is_link_at, open_directory, read_link_at, rename, set_mode_at, set_owner_at,
    set_times, unlink_at,
};
pub(crate) use file::{Known, add_seals, advise, known, link_open_file, memfd, page_size, seals, sync_range};
pub(crate) use lock::{Ask, Extent, holder, lock};
pub(crate) use memory::{register_sparse_buffers, register_sparse_files, unregister_files, update_buffer};
pub(crate) use option::{
    Flag, MaybeMilliseconds, MaybeNumber, Microseconds, Number, Seconds, SocketOption, bind_device, option_bytes,
    option_text, set_congestion, set_option_bytes,
};
pub(crate) use pointed::Pointed;
pub(crate) use socket::{
    MessageCall, is_shut_for_receiving, message_now, recv_vectored_now, send_vectored_now, send_vectored_to_now,
    socket_pair, socket_pair_of,
};
pub(crate) use xattr::{Bearer, get_xattr, list_xattrs, remove_xattr, set_xattr};

pub(crate) const ENTER_GETEVENTS: u32 = 1 << 0;
pub(crate) const ENTER_SQ_WAKEUP: u32 = 1 << 1;
pub(crate) const ENTER_SQ_WAIT: u32 = 1 << 2;
pub(crate) const ENTER_EXT_ARG: u32 = 1 << 3;
pub(crate) const ENTER_REGISTERED_RING: u32 = 1 << 4;
pub(crate) const ENTER_NO_IOWAIT: u32 = 1 << 7;

const REGISTER_EVENTFD: libc::c_uint = 4;
const UNREGISTER_EVENTFD: libc::c_uint = 5;
const REGISTER_RING_FDS: libc::c_uint = 20;
const UNREGISTER_RING_FDS: libc::c_uint = 21;
const REGISTER_PBUF_RING: libc::c_uint = 22;
const UNREGISTER_PBUF_RING: libc::c_uint = 23;
const REGISTER_NAPI: libc::c_uint = 27;

/// `struct io_uring_getevents_arg` of `linux/io_uring.h`.
#[repr(C)]
#[derive(Default)]
struct GeteventsArg {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl KernelTimespec {
    pub(crate) const fn of_ns(ns: u64) -> KernelTimespec {
        KernelTimespec { seconds: (ns / 1_000_000_000) as i64, nanoseconds: (ns % 1_000_000_000) as i64 }
    }
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// `struct io_uring_buf_reg`.
#[repr(C)]
struct BufReg {
    ring_address: u64,
    ring_entries: u32,
    group: u16,
    flags: u16,
    resv: [u64; 3],
}

/// `struct io_uring_napi`.
#[repr(C)]
struct Napi {
    busy_poll_us: u32,
    prefer_busy_poll: u8,
    resv: [u8; 11],
}

const _: () = assert!(mem::size_of::<Napi>() == 16);

/// Turns the -1 of a system call into the thread's `errno`.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `io_uring_enter(2)`: submits `to_submit` entries, waits for `min_complete` completions, at most
/// `timeout_ns` if given. With `min_wait_us`, which wants `IORING_FEAT_MIN_TIMEOUT`, one completion is enough when that has
/// passed. `fd` is the registered index if `flags` says so.
pub(crate) fn enter(
    fd: RawFd,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
    timeout_ns: Option<u64>,
    min_wait_us: u32,
) -> io::Result<u32> {
    let timespec;
    let argument;
    let (pointer, size, flags) = if timeout_ns.is_none() && min_wait_us == 0 {
        (std::ptr::null(), 0, flags)
    } else {
        let mut address = 0;
        if let Some(ns) = timeout_ns {
            timespec = KernelTimespec::of_ns(ns);
            address = &raw const timespec as u64;
        }
        argument = GeteventsArg { timespec: address, min_wait_usec: min_wait_us, ..Default::default() };
        (&raw const argument, mem::size_of::<GeteventsArg>(), flags | ENTER_EXT_ARG)
    };
    // SAFETY: the argument and the timespec that it points to live on this stack frame until the call returns,
    // and the size passed is theirs. What the submitted entries point to is the ring's invariant (see `ring`).
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            fd as libc::c_long,
            to_submit as libc::c_long,
            min_complete as libc::c_long,
            flags as libc::c_long,
            pointer,
            size,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u32) }
}

/// `io_uring_register(2)` of a ring: gives what the call gives.
///
/// # Safety
/// The argument, `count` of what this opcode takes, lives over the call, the kernel may write it if this opcode has it do so, and what
/// it names stays for as long as it is registered.
unsafe fn register<T>(ring: RawFd, opcode: libc::c_uint, argument: *const T, count: usize) -> io::Result<libc::c_long> {
    // SAFETY: passed on.
    let result = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring as libc::c_long, opcode as libc::c_long, argument, count)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Registers a ring's descriptor with this thread (`IORING_REGISTER_RING_FDS`), so that entering need not look it up.
/// Gives the index to enter with.
pub(crate) fn register_ring_fd(ring: RawFd) -> io::Result<RawFd> {
    let mut update = RsrcUpdate { offset: u32::MAX, resv: 0, data: ring as u64 };
    // SAFETY: one update structure is passed, it lives over the call, and the kernel writes its offset back.
    unsafe { register(ring, REGISTER_RING_FDS, &raw mut update, 1) }?;
    Ok(update.offset as RawFd)
}

/// Undoes [`register_ring_fd`]; must run on the thread that registered (the 17th forgotten one is `EBUSY`).
pub(crate) fn unregister_ring_fd(ring: RawFd, index: RawFd) {
    let update = RsrcUpdate { offset: index as u32, resv: 0, data: 0 };
    // SAFETY: one update structure is passed that lives over the call. A failure leaves the registration, which
    // costs an index and nothing else.
    let _ = unsafe { register(ring, UNREGISTER_RING_FDS, &raw const update, 1) };
}

/// Has the kernel signal an eventfd when a ring has completions, or work of which they may come
/// (`IORING_REGISTER_EVENTFD`). The ring keeps the eventfd's file.
pub(crate) fn register_eventfd(ring: RawFd, eventfd: RawFd) -> io::Result<()> {
    // SAFETY: one number that lives over the call is passed.
    unsafe { register(ring, REGISTER_EVENTFD, &raw const eventfd, 1) }.map(drop)
}

/// Has it signal none any more.
pub(crate) fn unregister_eventfd(ring: RawFd) -> io::Result<()> {
    // SAFETY: no memory is passed.
    unsafe { register(ring, UNREGISTER_EVENTFD, std::ptr::null::<()>(), 0) }.map(drop)
}

/// Has the kernel poll the devices of a ring's sockets before a wait sleeps (`IORING_REGISTER_NAPI`).
pub(crate) fn register_napi(ring: RawFd, busy_poll_us: u32, prefer: bool) -> io::Result<()> {
    // The kernel writes the settings of before into it.
    let mut napi = Napi { busy_poll_us, prefer_busy_poll: u8::from(prefer), resv: [0; 11] };
    // SAFETY: one structure that lives over the call is passed, of the size that the kernel reads and writes.
    unsafe { register(ring, REGISTER_NAPI, &raw mut napi, 1) }.map(drop)
}

/// Registers a ring of buffers at an address, `IORING_REGISTER_PBUF_RING`. The memory must stay until it is unregistered.
pub(crate) fn register_buffer_ring(ring: RawFd, ring_address: u64, ring_entries: u32, group: u16) -> io::Result<()> {
    change_buffer_ring(ring, REGISTER_PBUF_RING, BufReg { ring_address, ring_entries, group, flags: 0, resv: [0; 3] })
}

/// Undoes [`register_buffer_ring`]. It fails only if there is none.
pub(crate) fn unregister_buffer_ring(ring: RawFd, group: u16) {
    let none = BufReg { ring_address: 0, ring_entries: 0, group, flags: 0, resv: [0; 3] };
    let _ = change_buffer_ring(ring, UNREGISTER_PBUF_RING, none);
}

fn change_buffer_ring(ring: RawFd, opcode: libc::c_uint, argument: BufReg) -> io::Result<()> {
    // SAFETY: one structure that lives over the call is passed; that the memory which it names stays is `BufferRing`'s
    // promise.
    unsafe { register(ring, opcode, &raw const argument, 1) }.map(drop)
}

/// `close(2)` of a number that this process owns and that nobody uses any more.
pub(crate) fn close(fd: RawFd) -> io::Result<()> {
    // SAFETY: the caller hands over ownership of the number; closing touches no memory.
    check(unsafe { libc::close(fd) }).map(drop)
}

/// Takes a number that the kernel just handed out into ownership.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "a descriptor is never negative");
    // SAFETY: called only with numbers that a CQE or a system call has just given to this process, once each.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Standard input, output or error by its number. The caller never closes it.
pub(crate) fn standard_stream(number: RawFd) -> OwnedFd {
    assert!((0..3).contains(&number));
    // SAFETY: these three are the process's for as long as it lives, and this one is not closed through what is made here.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Whether two descriptors are of one open file, with one position: `kcmp(2)`. Where that is not allowed, one file that was
/// opened twice is taken for it.
pub(crate) fn same_open_file(one: RawFd, other: RawFd) -> bool {
    /// `enum kcmp_type` of `linux/kcmp.h`.
    const KCMP_FILE: libc::c_long = 0;
    // SAFETY: no memory is passed.
    let compared = unsafe {
        let process = libc::getpid() as libc::c_long;
        let (one, other) = (one as libc::c_long, other as libc::c_long);
        libc::syscall(libc::SYS_kcmp, process, process, KCMP_FILE, one, other)
    };
    if compared >= 0 {
        return compared == 0;
    }
    let identity = |fd| {
        let status = file_status(fd);
        (status.stx_mode, status.stx_dev_major, status.stx_dev_minor, status.stx_ino)
    };
    identity(one) == identity(other)
}

/// `fcntl(F_DUPFD_CLOEXEC)`.
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) }).map(own)
}

/// `lseek(2)`. Does not block on the descriptors that it is used for: it only moves the position.
pub(crate) fn seek(fd: RawFd, offset: i64, whence: libc::c_int) -> io::Result<u64> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    let result = unsafe { libc::lseek64(fd, offset, whence) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as u64) }
}

/// Moves the position of a file back. Tells whether it did: some descriptors take the call and have no position.
pub(crate) fn seek_back(fd: RawFd, distance: u64) -> bool {
    match seek(fd, 0, libc::SEEK_CUR) {
        Ok(before) if before >= distance => {
            seek(fd, -(distance as i64), libc::SEEK_CUR).is_ok_and(|after| after == before - distance)
        }
        _ => false,
    }
}

/// Moves the position of a file on by `moved` from where it was before, if the kernel has left it there. A write to a file
/// that is open for appending has ended at the file's end.
pub(crate) fn move_along(fd: RawFd, before: u64, moved: u64, writes: bool) {
    if !seek(fd, 0, libc::SEEK_CUR).is_ok_and(|now| now == before) {
        return;
    }
    let appends = writes && status_flags(fd).is_ok_and(|flags| flags & libc::O_APPEND != 0);
    let (offset, whence) = if appends { (0, libc::SEEK_END) } else { ((before + moved) as i64, libc::SEEK_SET) };
    // What takes no seek has no position to move.
    let _ = seek(fd, offset, whence);
}

/// Kind and identity of the file that a descriptor is of, without asking a server. All zero if they cannot be told.
fn file_status(fd: RawFd) -> libc::statx {
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut stat: libc::statx = unsafe { mem::zeroed() };
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    // SAFETY: an empty string and a structure that live over the call are passed.
    unsafe { libc::statx(fd, c"".as_ptr(), flags, libc::STATX_TYPE | libc::STATX_INO, &raw mut stat) };
    stat
}

/// What kind of file a descriptor is of (`S_IFMT`). 0 if it cannot be told.
fn file_format(fd: RawFd) -> u32 {
    u32::from(file_status(fd).stx_mode) & libc::S_IFMT
}

/// Whether reads and writes at the position of this file have to take turns.
pub(crate) fn has_position(fd: RawFd) -> bool {
    matches!(file_format(fd), libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR)
}

/// Whether a read or an accept would not wait: `poll(2)`. Does not block.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    is_ready(fd, libc::POLLIN)
}

/// The same for any events; errors and hang-ups count.
pub(crate) fn is_ready(fd: RawFd, events: i16) -> bool {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one structure that lives over the call is passed; with the timeout 0 it does not block.
    (unsafe { libc::poll(&raw mut poll, 1, 0) }) > 0
}

/// Whether it is a pipe, with or without a name.
pub(crate) fn is_pipe(fd: RawFd) -> bool {
    file_format(fd) == libc::S_IFIFO
}

/// Whether it is a pipe without a name: on the file system of those, of which there is one.
pub(crate) fn is_anonymous_pipe(fd: RawFd) -> bool {
    static PIPES: OnceLock<(u32, u32)> = OnceLock::new();
    let device = |fd| {
        let status = file_status(fd);
        (status.stx_dev_major, status.stx_dev_minor)
    };
    let of_pipes = PIPES.get().copied().or_else(|| {
        let (reader, _writer) = io::pipe().ok()?;
        Some(*PIPES.get_or_init(|| device(reader.as_raw_fd())))
    });
    is_pipe(fd) && of_pipes == Some(device(fd))
}

/// `ioctl(FIONREAD)`: how many bytes a pipe holds. 0 if it cannot be told.
pub(crate) fn bytes_readable(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: an integer that lives over the call is passed.
    unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) };
    count.max(0) as usize
}

/// `fcntl(F_SETPIPE_SZ)`: has a pipe hold so many bytes of full pages, or more, and gives how many.
pub(crate) fn set_pipe_size(fd: RawFd, bytes: usize) -> io::Result<usize> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, bytes as libc::c_int) }).map(|bytes| bytes as usize)
}

/// `fcntl(F_GETFL)`: access mode and status flags of the open file.
pub(crate) fn status_flags(fd: RawFd) -> io::Result<libc::c_int> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_GETFL) })
}

/// `fcntl(F_SETFL)`, for everybody who shares the open file.
pub(crate) fn set_status_flags(fd: RawFd, flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }).map(drop)
}

/// Whether a read that has just given 0 met a FIFO without a writer that never had one since it was opened, rather than
/// the end: a plain `open(2)` would have waited for a writer, the ring's does not.
pub(crate) fn never_had_writer(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure that lives over the call is passed; with the timeout 0 it does not block.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    // A FIFO whose writers are gone hangs up; so does a pipe. Regular files are always readable.
    if ready != 0 || file_format(fd) != libc::S_IFIFO {
        return false;
    }
    status_flags(fd).is_ok_and(|flags| flags & libc::O_NONBLOCK == 0)
}

/// Soft limits of this process in bytes of locked memory and in open files, `getrlimit(2)`.
pub(crate) fn memlock_and_nofile() -> (u64, u64) {
    let mut limits = [libc::rlimit { rlim_cur: 0, rlim_max: 0 }; 2];
    // SAFETY: each structure lives over its call and has the size that the call writes.
    unsafe {
        libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limits[0]);
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits[1]);
    }
    (limits[0].rlim_cur, limits[1].rlim_cur)
}

/// The running kernel's release, as in `uname -r`.
pub(crate) fn kernel_release() -> String {
    // SAFETY: utsname is plain bytes, for which zero is a valid value.
    let mut name: libc::utsname = unsafe { mem::zeroed() };
    // SAFETY: the structure lives over the call.
    unsafe { libc::uname(&raw mut name) };
    let bytes = name.release.map(|c| c as u8);
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// `eventfd(2)`, non-blocking and closed on exec.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(own)
}

/// Adds one to an eventfd. It cannot block (the descriptor is non-blocking) and a full counter is readable anyway.
pub(crate) fn eventfd_signal(fd: &OwnedFd) {
    let one = 1u64;
    // SAFETY: eight bytes of a live variable are written.
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Sets an eventfd back to 0, so that it is not readable any more. Does not block.
pub(crate) fn eventfd_clear(fd: RawFd) {
    let mut count = 0u64;
    // SAFETY: eight bytes of a live variable are written. That the counter was 0 already is no error here.
    unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
}

/// `setsockopt(2)` with a plain value.
pub(crate) fn set_option<T: Copy>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: T) -> io::Result<()> {
    let size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives over the call and its size is passed.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) }).map(drop)
}

/// `getsockopt(2)` into a plain value, which must be valid for any bytes.
pub(crate) fn option<T: Copy + Default>(fd: RawFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut size = mem::size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives over the call and the kernel writes at most `size` bytes into it. The callers use
    // integers and `Linger`, for which all bytes are valid.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut size) })?;
    Ok(value)
}

/// `socket(2)`, closed on exec, of the family's usual protocol.
pub(crate) fn socket(domain: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    socket_of(domain, kind, 0)
}

/// `socket(2)`, closed on exec.
pub(crate) fn socket_of(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) }).map(own)
}

/// `listen(2)`. Does not block.
pub(crate) fn listen(fd: RawFd, backlog: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// `send(2)` that takes what there is room for now, or fails with `WouldBlock`.
pub(crate) fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the bytes live over the call and their length is passed.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// Reads what is there without waiting for a device or a peer, at the position: `preadv2(2)` with `RWF_NOWAIT`.
/// `WouldBlock` where that is nothing, `Unsupported` and others where a file does not do it.
pub(crate) fn read_now(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the memory is exclusively borrowed over the call, and its length is passed.
    unsafe { read_to(fd, bytes.as_mut_ptr(), bytes.len(), -1, libc::RWF_NOWAIT) }
}

/// The same behind what a vector holds, into its spare capacity.
pub(crate) fn append_now(fd: RawFd, bytes: &mut Vec<u8>) -> io::Result<usize> {
    append(fd, bytes, libc::RWF_NOWAIT)
}

/// The same of a file in memory, whose file system knows nothing of waiting.
pub(crate) fn append_from_memory(fd: RawFd, bytes: &mut Vec<u8>) -> io::Result<usize> {
    append(fd, bytes, 0)
}

/// `preadv2(2)`, at the position, behind what a vector holds.
fn append(fd: RawFd, bytes: &mut Vec<u8>, flags: libc::c_int) -> io::Result<usize> {
    let len = bytes.len();
    let spare = bytes.spare_capacity_mut();
    // SAFETY: the spare memory is exclusively borrowed over the call, and its length is passed; the kernel only writes there.
    let count = unsafe { read_to(fd, spare.as_mut_ptr().cast(), spare.len(), -1, flags) }?;
    // SAFETY: the kernel has written so many bytes behind the first `len`.
    unsafe { bytes.set_len(len + count) };
    Ok(count)
}

/// `preadv2(2)`, at the position if the offset is -1.
///
/// # Safety
/// So many bytes may be written to the address until this returns.
pub(crate) unsafe fn read_to(
    fd: RawFd,
    address: *mut u8,
    len: usize,
    offset: i64,
    flags: libc::c_int,
) -> io::Result<usize> {
    #[cfg(not(target_env = "gnu"))]
    use libc::preadv2;
    // There the one without the number takes an offset of 32 bits on processors of 32.
    #[cfg(target_env = "gnu")]
    use libc::preadv64v2 as preadv2;
    let slice = libc::iovec { iov_base: address.cast(), iov_len: len };
    // SAFETY: the slice lives over the call; what it points to is the caller's promise.
    let count = unsafe { preadv2(fd, &raw const slice, 1, offset, flags) };
    if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
}

/// Writes what is taken without waiting for a device or a peer, at the position, from the first 1,024 slices: `pwritev2(2)` with
/// `RWF_NOWAIT`. Errors are as those of [`read_now`].
pub(crate) fn write_now(fd: RawFd, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let count = slices.len().min(1024) as libc::c_int;
    // SAFETY: `IoSlice` has the layout of an iovec, by std's promise; the slices live over the call, which only reads them.
    let written = unsafe { libc::pwritev2(fd, slices.as_ptr().cast(), count, -1, libc::RWF_NOWAIT) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(written as usize) }
}

/// `shutdown(2)`. Does not block.
pub(crate) fn shutdown(fd: RawFd, how: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory is passed; a bad number gives EBADF.
    check(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// The same of a stream. One whose connection is gone (`ENOTCONN`, after a reset) has ended in both directions already.
pub(crate) fn shutdown_stream(fd: RawFd, how: libc::c_int) -> io::Result<()> {
    match shutdown(fd, how) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(()),
        result => result,
    }
}

/// `SO_LINGER` of a socket: seconds, if it is on.
pub(crate) fn linger(fd: RawFd) -> io::Result<Option<u32>> {
    let [on, seconds] = option::<[libc::c_int; 2]>(fd, libc::SOL_SOCKET, libc::SO_LINGER)?;
    Ok((on != 0).then_some(seconds as u32))
}

/// Sets `SO_LINGER`.
pub(crate) fn set_linger(fd: RawFd, seconds: Option<u32>) -> io::Result<()> {
    let value = [libc::c_int::from(seconds.is_some()), seconds.unwrap_or(0).try_into().unwrap_or(libc::c_int::MAX)];
    set_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, value)
}
