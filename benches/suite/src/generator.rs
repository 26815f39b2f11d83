//! Drives a server over many connections from one thread: a closed loop on an io_uring, so that one kernel entry serves
//! all connections that are ready, and the generator costs less than any server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::http;
use crate::ring::poll_first;
use crate::sys;
use crate::work::Work;

/// If nothing comes back for so long, the server hangs.
const SILENCE: Duration = Duration::from_secs(5);

/// Connections to one server, and what is sent over them.
pub struct Load {
    connections: Vec<Connection>,
    /// `depth` requests.
    request: Vec<u8>,
    /// What comes back for them is as long.
    response_bytes: usize,
    depth: u64,
    /// Where all answers are written, over each other: nobody reads them.
    scratch: Vec<u8>,
    /// Latencies of every window, in nanoseconds.
    pub latency: Histogram<u64>,
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
}

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

impl Load {
    /// Connects, and checks once on each connection that the right answer comes back.
    pub fn connect(port: u16, work: Work, connections: usize, depth: usize) -> io::Result<Load> {
        let (one, answer) = match work {
            Work::Echo { bytes } => {
                let request: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
                (request.clone(), request)
            }
            _ => (http::REQUEST.to_vec(), http::RESPONSE.to_vec()),
        };
        let mut load = Load {
            connections: Vec::with_capacity(connections),
            request: one.repeat(depth),
            response_bytes: answer.len() * depth,
            depth: depth as u64,
            scratch: vec![0; answer.len() * depth],
            latency: Histogram::new_with_max(60_000_000_000, 3).expect("bounds that fit"),
        };
        for _ in 0..connections {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.write_all(&one)?;
            let mut back = vec![0; answer.len()];
            stream.read_exact(&mut back)?;
            if back != answer {
                return Err(io::Error::other("the server gave a wrong answer"));
            }
            load.connections.push(Connection { stream, sent: Instant::now() });
        }
        Ok(load)
    }
}

/// The generator's ring. A server that breaks leaves operations behind in it: make a new one then.
pub struct Generator {
    ring: IoUring,
    completions: Vec<cqueue::Entry>,
}

/// In `user_data`, of sends, which complete only if they fail.
const SEND: u64 = 1 << 32;

impl Generator {
    pub fn new() -> io::Result<Generator> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_coop_taskrun().setup_submit_all().setup_cqsize(16384);
        Ok(Generator { ring: builder.build(4096)?, completions: Vec::new() })
    }

    /// Sends on every connection, and again whenever the whole answer has come, until the time is over.
    pub fn drive(&mut self, load: &mut Load, duration: Duration) -> io::Result<Driven> {
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
            if !over && now - start >= duration {
                over = true;
                // Nothing new is asked. What is still under way comes back faster, with less beside it, so it does not count.
                wall_ns = (now - start).as_nanos() as u64;
            }
            let mut completions = std::mem::take(&mut self.completions);
            for completion in completions.drain(..) {
                if completion.user_data() & SEND != 0 || completion.result() != load.response_bytes as i32 {
                    return Err(broken(completion.result()));
                }
                let number = completion.user_data() as usize;
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
        let fd = types::Fd(connection.stream.as_raw_fd());
        let send = opcode::Send::new(fd, load.request.as_ptr(), load.request.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(number as u64 | SEND);
        let receive = opcode::Recv::new(fd, load.scratch.as_mut_ptr(), load.response_bytes as u32)
            .flags(libc::MSG_WAITALL)
            .build()
            .user_data(number as u64);
        // SAFETY: request and scratch live as long as the load, which outlives a window that ends well; when one does not,
        // `Generator` and `Load` are leaked by the caller. Nobody reads the scratch, so answers may overwrite each other.
        unsafe {
            self.push(send);
            self.push(poll_first(receive));
        }
    }

    /// Stages an entry; hands what is staged to the kernel first if there is no room.
    ///
    /// # Safety
    /// What the entry points to must live until its completion has come.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: passed on to the caller.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            let _ = self.ring.submit();
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let timeout = types::Timespec::from(SILENCE);
        let arguments = types::SubmitArgs::new().timespec(&timeout);
        match self.ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {}
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "hangs: nothing came back for 5 s"));
            }
            Err(error) => return Err(error),
        }
        self.completions.extend(self.ring.completion());
        Ok(())
    }
}

fn broken(result: i32) -> io::Error {
    if result < 0 {
        io::Error::from_raw_os_error(-result)
    } else {
        io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer ended after {result} bytes"))
    }
}
