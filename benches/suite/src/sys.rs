//! The few system calls that std does not wrap.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// A result as libc gives it, as an `io::Result`.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The CPUs that this thread may run on.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all bits zero is a valid set, and the call writes no more than its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) != 0 {
            return vec![0];
        }
        set
    };
    // SAFETY: only looks at bits of the set.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Keeps this thread, and what it starts from now on, on these CPUs.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all bits zero is a valid set, the numbers are below its size, and the call only reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(cpu, &mut set);
        }
        check(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)).map(drop)
    }
}

/// Has this thread run only when nothing else wants its CPU.
pub fn run_when_idle() -> io::Result<()> {
    // SAFETY: reads the struct that it is given; 0 is this thread.
    unsafe {
        let priority: libc::sched_param = std::mem::zeroed();
        check(libc::sched_setscheduler(0, libc::SCHED_IDLE, &priority)).map(drop)
    }
}

/// CPU time in nanoseconds that a clock of the kernel's has counted. It is the sum that `schedstat` shows, of all threads,
/// those that have ended and the workers of io_uring included.
fn cpu_clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct that it is given.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CPU time of this process.
pub fn own_cpu_ns() -> u64 {
    cpu_clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of this process and of all its children that have ended.
pub fn own_and_ended_cpu_ns() -> u64 {
    let of = |who| {
        // SAFETY: all bits zero is a valid struct, and the call writes it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &mut usage);
            usage
        };
        [usage.ru_utime, usage.ru_stime]
            .iter()
            .map(|time| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000)
            .sum::<u64>()
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

/// In which the kernel counts CPU time in `/proc/stat`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: no pointers.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64
}

/// CPU time of this thread.
pub fn thread_cpu_ns() -> u64 {
    cpu_clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time of another process.
pub fn cpu_ns_of(pid: u32) -> io::Result<u64> {
    let mut clock = 0;
    // SAFETY: writes the clock's id.
    match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
        0 => cpu_clock_ns(clock),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Has small writes sent at once. A runtime that splits an answer in two must not wait for Nagle's timer.
pub fn no_delay(fd: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: reads the integer that it is given.
    check(unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const on).cast(), len) }).map(drop)
}

/// Has a close break a TCP connection off (RST), which leaves nothing behind in TIME_WAIT.
pub fn reset_on_close(fd: RawFd) -> io::Result<()> {
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: reads the struct that it is given.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const at_once).cast(), len) })
        .map(drop)
}

/// Has calls on it return `WouldBlock` instead of waiting.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: no pointers.
    unsafe {
        let flags = check(libc::fcntl(fd, libc::F_GETFL))?;
        check(libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

/// Waits until something can be read from it, or accepted.
pub fn wait_readable(fd: RawFd, limit: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one descriptor.
    match check(unsafe { libc::poll(&mut poll, 1, limit.as_millis() as libc::c_int) })? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Whether there is something to be read.
pub fn has_more(fd: RawFd) -> bool {
    let mut byte = 0u8;
    // SAFETY: room for one byte.
    unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) > 0 }
}

/// Allows as many open files as the administrator does; gives the number.
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes and reads the struct that it is given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        }
    }
    limit.rlim_cur
}

/// How much memory this process may lock, in bytes; `None` for as much as there is.
pub fn locked_memory_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the struct that it is given; the other call has no pointers.
    let (known, root) = unsafe { (libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) == 0, libc::geteuid() == 0) };
    (known && !root && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Has a signal call this, which must do no more than a handler may.
pub fn on_signal(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: all bits zero is a valid struct with an empty set, and the handler is of the type that goes with these flags.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// Whether whoever started this process wants it to ignore the signal.
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all bits zero is a valid struct, and the call writes it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

/// For handlers of signals: leaves everything as it was, `errno` included.
pub fn write_byte(fd: RawFd, byte: u8) {
    // SAFETY: reads one byte; where `errno` is does not change within a thread.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Kills the leader of a group of processes, and all of the group.
pub fn kill_group(leader: u32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(-(leader as libc::pid_t), libc::SIGKILL) };
}

/// Locks a file for as long as it is open; `false` if somebody else has.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: no pointers.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends this process when the one that started it does.
pub fn die_with_parent() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Stops this process, as a debugger does.
#[cfg(debug_assertions)]
pub fn stop_self() {
    // SAFETY: no pointers.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// How many ports there are for connections to one address.
pub fn local_ports() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(|end| end.parse::<u64>());
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((last + 1).saturating_sub(first))
}

/// Memory that the kernel uses for its own objects, sockets among them, in bytes.
pub fn kernel_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    line.split_whitespace().next()?.parse().ok().map(|kib: u64| kib * 1024)
}

/// Memory that a process has resident, in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: no pointers.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * page_bytes as u64)
}
