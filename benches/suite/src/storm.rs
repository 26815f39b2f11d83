//! Connections that are made, answered once and closed, as many at once as it has sockets.
//!
//! The server closes first. The generator then resets what is left of the connection, so that nothing stays behind in
//! TIME_WAIT and ports do not run out, and uses the socket again: making and closing its own is not what is measured.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{opcode, squeue, types};

use crate::generator::{Driven, Generator, broken};
use crate::load::{Target, exchange, histogram, once};
use crate::ring::poll_first;
use crate::sys;

pub struct Storm {
    sockets: Vec<(OwnedFd, Instant)>,
    server: libc::sockaddr_in,
    /// Connecting to it ends a connection, `connect(2)`.
    nobody: libc::sockaddr_in,
    request: Vec<u8>,
    scratch: Vec<u8>,
    pub latency: Histogram<u64>,
}

/// In `user_data`, of what completes only if it fails.
const STEP: u64 = 1 << 32;

impl Storm {
    /// Checks once that the right answer comes, and that the server closes the connection.
    pub fn prepare(target: &Target, at_once: usize) -> io::Result<Storm> {
        let (request, answer) = exchange(target, 1)?;
        once(target, &request, &answer)?;
        let socket = || {
            // SAFETY: no pointers.
            let fd = sys::check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
            // SAFETY: the kernel has just given it to us.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            sys::no_delay(fd.as_raw_fd())?;
            Ok((fd, Instant::now()))
        };
        let address = |family: i32| libc::sockaddr_in {
            sin_family: family as libc::sa_family_t,
            sin_port: target.port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be() },
            sin_zero: [0; 8],
        };
        Ok(Storm {
            sockets: (0..at_once).map(|_| socket()).collect::<io::Result<_>>()?,
            server: address(libc::AF_INET),
            nobody: address(libc::AF_UNSPEC),
            scratch: vec![0; answer.len()],
            request,
            latency: histogram(),
        })
    }
}

impl Generator {
    /// Connects with every socket, and again whenever the server has closed the connection, until the time is over.
    pub fn storm(&mut self, storm: &mut Storm, duration: Duration) -> io::Result<Driven> {
        let (start, own_cpu_ns) = (Instant::now(), sys::thread_cpu_ns());
        let (mut ops, mut late_ops, mut over, mut wall_ns) = (0, 0, false, 0);
        let mut left = storm.sockets.len();
        for number in 0..left {
            self.connect(storm, number, start);
        }
        while left > 0 {
            self.wait()?;
            let now = Instant::now();
            if !over && now - start >= duration && ops > 0 {
                over = true;
                wall_ns = (now - start).as_nanos() as u64;
            }
            let mut completions = std::mem::take(&mut self.completions);
            for completion in completions.drain(..) {
                // Nothing more comes: the end of the connection. Everything before it has gone well then.
                if completion.user_data() & STEP != 0 || completion.result() != 0 {
                    return Err(broken(completion.result()));
                }
                if over {
                    (left, late_ops) = (left - 1, late_ops + 1);
                    continue;
                }
                let number = completion.user_data() as usize;
                storm.latency.saturating_record((now - storm.sockets[number].1).as_nanos() as u64);
                ops += 1;
                self.connect(storm, number, now);
            }
            self.completions = completions;
        }
        Ok(Driven { ops, late_ops, wall_ns, own_cpu_ns: sys::thread_cpu_ns() - own_cpu_ns })
    }

    fn connect(&mut self, storm: &mut Storm, number: usize, now: Instant) {
        let (socket, sent) = &mut storm.sockets[number];
        *sent = now;
        let fd = types::Fd(socket.as_raw_fd());
        let connect = |address: &libc::sockaddr_in| {
            let len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            opcode::Connect::new(fd, (&raw const *address).cast(), len).build()
        };
        let bytes = storm.request.len() as u32;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = opcode::Send::new(fd, storm.request.as_ptr(), bytes).flags(flags).build();
        let scratch = storm.scratch.as_mut_ptr();
        let answer = opcode::Recv::new(fd, scratch, storm.scratch.len() as u32).flags(libc::MSG_WAITALL).build();
        let end = opcode::Recv::new(fd, scratch, 1).build();
        let steps = [connect(&storm.nobody), connect(&storm.server), send, poll_first(answer)];
        let linked = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        for step in steps {
            // SAFETY: the storm outlives a window that ends well; when one does not, the caller leaks it and the generator.
            // Nobody reads the scratch. The ring has room for the steps of all sockets, so no chain is cut in two.
            unsafe { self.push(step.flags(linked).user_data(number as u64 | STEP)) };
        }
        // SAFETY: as above.
        unsafe { self.push(poll_first(end).user_data(number as u64)) };
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        for (socket, _) in &self.sockets {
            let _ = sys::reset_on_close(socket.as_raw_fd());
        }
    }
}
