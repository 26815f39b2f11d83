//! Drives a server over many connections from one thread: a closed loop on an io_uring, so that one kernel entry serves
//! all connections that are ready, and the generator costs less than any server.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::by_epoll;
use crate::load::{Load, SILENCE};
use crate::ring::poll_first;
use crate::sys;

/// What a window gave.
pub struct Driven {
    /// Answered in the time.
    pub ops: u64,
    /// Asked in the time and answered after it.
    pub late_ops: u64,
    pub wall_ns: u64,
    /// CPU time of this thread, for all of them.
    pub own_cpu_ns: u64,
}

/// The generator's ring. A server that breaks leaves operations behind in it: make a new one then.
pub struct Generator {
    /// Without one it has only the closed loop, by epoll.
    ring: Option<IoUring>,
    pub completions: Vec<cqueue::Entry>,
}

/// In `user_data`, of sends, which complete only if they fail.
pub const SEND: u64 = 1 << 32;
/// In `user_data`, of what a proxy passes on.
const UPSTREAM: u64 = 1 << 33;

impl Generator {
    pub fn new() -> io::Result<Generator> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_coop_taskrun().setup_submit_all().setup_cqsize(16384);
        Ok(Generator { ring: Some(builder.build(4096)?), completions: Vec::new() })
    }

    /// Where the kernel gives no io_uring.
    pub fn without_ring() -> Generator {
        Generator { ring: None, completions: Vec::new() }
    }

    pub fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    fn ring(&mut self) -> &mut IoUring {
        self.ring.as_mut().expect("rows that need one were left out")
    }

    /// Sends on every connection, and again whenever the whole answer has come, until the time is over.
    pub fn drive(&mut self, load: &mut Load, duration: Duration) -> io::Result<Driven> {
        if self.ring.is_none() {
            return by_epoll::drive(load, duration);
        }
        let (start, own_cpu_ns) = (Instant::now(), sys::thread_cpu_ns());
        let (mut ops, mut late_ops, mut over, mut now) = (0, 0, false, start);
        let mut left = load.connections.len();
        for number in 0..left {
            self.send(load, number, now);
        }
        let mut wall_ns = 0;
        while left > 0 {
            self.wait()?;
            now = Instant::now();
            // A window in which nothing was answered would say nothing: it goes on until something is.
            if !over && now - start >= duration && ops > 0 {
                over = true;
                // Nothing new is asked. What is still under way comes back faster, with less beside it, so it does not count.
                wall_ns = (now - start).as_nanos() as u64;
            }
            let mut completions = std::mem::take(&mut self.completions);
            for completion in completions.drain(..) {
                let passed = completion.user_data() & UPSTREAM != 0;
                let expected = if passed { load.request.len() } else { load.response_bytes };
                if completion.user_data() & SEND != 0 || completion.result() != expected as i32 {
                    return Err(broken(completion.result()));
                }
                let number = (completion.user_data() & !UPSTREAM) as usize;
                if passed {
                    self.answer(load, number);
                    continue;
                }
                if over {
                    left -= 1;
                    late_ops += load.depth;
                    continue;
                }
                let took = now - load.connections[number].sent;
                load.latency.saturating_record(took.as_nanos() as u64);
                ops += load.depth;
                self.send(load, number, now);
            }
            self.completions = completions;
        }
        Ok(Driven { ops, late_ops, wall_ns, own_cpu_ns: sys::thread_cpu_ns() - own_cpu_ns })
    }

    fn send(&mut self, load: &mut Load, number: usize, now: Instant) {
        let connection = &mut load.connections[number];
        connection.sent = now;
        let (fd, upstream) = (connection.fd(), connection.upstream.as_ref().map(AsRawFd::as_raw_fd));
        self.say(fd, &load.request, number as u64);
        match upstream {
            None => self.hear(fd, &mut load.scratch, number as u64),
            Some(fd) => {
                let passed = &mut load.scratch[..load.request.len()];
                self.hear(fd, passed, number as u64 | UPSTREAM);
            }
        }
    }

    /// At the other end of a proxy.
    fn answer(&mut self, load: &mut Load, number: usize) {
        let connection = &load.connections[number];
        let upstream = connection.upstream.as_ref().expect("something was passed on");
        self.say(upstream.as_raw_fd(), &load.request, number as u64);
        self.hear(connection.fd(), &mut load.scratch, number as u64);
    }

    // Both are used on a load's buffers only, which live as long as the load. It outlives a window that ends well; when one does
    // not, `Generator` and `Load` are leaked by the caller. Nobody reads the scratch, so answers may overwrite each other.

    pub fn say(&mut self, fd: RawFd, bytes: &[u8], number: u64) {
        let send = opcode::Send::new(types::Fd(fd), bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(number | SEND);
        // SAFETY: see above.
        unsafe { self.push(send) };
    }

    pub fn hear(&mut self, fd: RawFd, scratch: &mut [u8], user_data: u64) {
        let receive = opcode::Recv::new(types::Fd(fd), scratch.as_mut_ptr(), scratch.len() as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(user_data);
        // SAFETY: see above.
        unsafe { self.push(poll_first(receive)) };
    }

    /// Stages an entry; hands what is staged to the kernel first if there is no room.
    ///
    /// # Safety
    /// What the entry points to must live until its completion has come.
    pub unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to the caller.
        while unsafe { self.ring().submission().push(&entry) }.is_err() {
            let _ = self.ring().submit();
        }
    }

    pub fn wait(&mut self) -> io::Result<()> {
        let timeout = types::Timespec::from(SILENCE);
        let arguments = types::SubmitArgs::new().timespec(&timeout);
        match self.ring().submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "hangs: nothing came back for 5 s"));
            }
            Err(error) => return Err(error),
        }
        let ring = self.ring.as_mut().expect("as above");
        self.completions.extend(ring.completion());
        Ok(())
    }

    /// Hands over what is staged and takes what has completed, without waiting.
    pub fn look(&mut self) -> io::Result<()> {
        match self.ring().submitter().submit() {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        let ring = self.ring.as_mut().expect("as above");
        self.completions.extend(ring.completion());
        Ok(())
    }
}

pub fn broken(result: i32) -> io::Error {
    if result < 0 {
        io::Error::from_raw_os_error(-result)
    } else {
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer ended after {result} bytes"))
    }
}
