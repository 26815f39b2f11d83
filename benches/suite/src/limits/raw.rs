//! A loop on the io-uring crate, with the flags that do best on one thread and no futures.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::candidate::Ready;
use crate::http;
use crate::ring::{Queues, poll_first};
use crate::work::{Clock, READ_BYTES, Random, Window, Work};

/// The ring as the kernel's documentation advises it for one thread.
pub fn ring(entries: u32) -> IoUring {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(entries * 8);
    let modern = builder.clone().setup_no_sqarray().build(entries);
    modern.or_else(|_| builder.build(entries)).expect("an io_uring")
}

// ---- servers --------------------------------------------------------------------------------------------------

struct Connection {
    stream: TcpStream,
    buf: Vec<u8>,
    answer: Vec<u8>,
    requests: http::Requests,
    /// What is being sent, and how much of it has been.
    sending: (usize, usize),
}

const ACCEPT: u64 = u64::MAX;
/// In `user_data`, beside the connection's number.
const SEND: u64 = 1 << 32;

struct Server<'ring> {
    ring: Queues<'ring>,
    work: Work,
    listener: TcpListener,
    connections: Vec<Option<Box<Connection>>>,
}

pub fn serve(work: Work, ready: Ready) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    ready(listener.local_addr().expect("an address").port());
    let mut ring = ring(1024);
    let mut server = Server { ring: Queues::of(&mut ring), work, listener, connections: Vec::new() };
    server.accept();
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    loop {
        server.ring.turn(&mut completions);
        for completion in completions.drain(..) {
            server.completed(completion.user_data(), completion.result());
        }
    }
}

impl Server<'_> {
    fn accept(&mut self) {
        let fd = types::Fd(self.listener.as_raw_fd());
        let accept = opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).build();
        // SAFETY: no addresses.
        unsafe { self.ring.push(accept.user_data(ACCEPT)) };
    }

    fn completed(&mut self, user_data: u64, result: i32) {
        if user_data == ACCEPT {
            self.accept();
            if result >= 0 {
                self.connected(result);
            }
            return;
        }
        let number = (user_data & 0xffff_ffff) as usize;
        let connection = self.connections[number].as_mut().expect("one operation at a time");
        if result <= 0 {
            self.connections[number] = None;
        } else if user_data & SEND != 0 {
            connection.sending.0 += result as usize;
            if connection.sending.0 < connection.sending.1 {
                self.send(number);
            } else {
                self.receive(number);
            }
        } else {
            let len = match self.work {
                Work::Http => {
                    let ended = connection.requests.count(&connection.buf[..result as usize]);
                    http::repeat(&mut connection.answer, ended);
                    connection.answer.len()
                }
                _ => result as usize,
            };
            connection.sending = (0, len);
            if len > 0 { self.send(number) } else { self.receive(number) }
        }
    }

    fn connected(&mut self, fd: i32) {
        // SAFETY: the kernel has just given it to us.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        stream.set_nodelay(true).expect("a socket option");
        let connection = Connection {
            stream,
            buf: vec![0; self.work.buffer_bytes()],
            answer: Vec::new(),
            requests: http::Requests::default(),
            sending: (0, 0),
        };
        self.connections.push(Some(Box::new(connection)));
        self.receive(self.connections.len() - 1);
    }

    fn receive(&mut self, number: usize) {
        let connection = self.connections[number].as_mut().expect("it lives");
        let fd = types::Fd(connection.stream.as_raw_fd());
        let receive = opcode::Recv::new(fd, connection.buf.as_mut_ptr(), connection.buf.len() as u32).build();
        // SAFETY: the buffer lives as long as the connection, which goes only when nothing of it is in flight.
        unsafe { self.ring.push(poll_first(receive).user_data(number as u64)) };
    }

    fn send(&mut self, number: usize) {
        let connection = self.connections[number].as_mut().expect("it lives");
        let (from, to) = connection.sending;
        let bytes = if self.work == Work::Http { &connection.answer[from..to] } else { &connection.buf[from..to] };
        let fd = types::Fd(connection.stream.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: as in `receive`.
        unsafe { self.ring.push(send.user_data(number as u64 | SEND)) };
    }
}

// ---- reads and NOPs -------------------------------------------------------------------------------------------

pub fn window(work: Work, duration: Duration, file: &Path) -> Window {
    let mut ring = ring(256);
    let ring = &mut Queues::of(&mut ring);
    match work {
        Work::Nop { in_flight } => {
            run(ring, in_flight, duration, |number| opcode::Nop::new().build().user_data(number))
        }
        Work::Read { in_flight } => {
            let file = File::open(file).expect("the file");
            let blocks = file.metadata().expect("the file").len() / READ_BYTES as u64;
            let mut bufs = vec![vec![0u8; READ_BYTES]; in_flight];
            let mut random = Random::new(0);
            run(ring, in_flight, duration, move |number| {
                let buf = &mut bufs[number as usize];
                let fd = types::Fd(file.as_raw_fd());
                opcode::Read::new(fd, buf.as_mut_ptr(), READ_BYTES as u32)
                    .offset(random.below(blocks) * READ_BYTES as u64)
                    .build()
                    .user_data(number)
            })
        }
        _ => unreachable!("said that it cannot"),
    }
}

/// Keeps so many entries in flight until the time is over. `entry` owns what they point to.
fn run(ring: &mut Queues, in_flight: usize, duration: Duration, mut entry: impl FnMut(u64) -> squeue::Entry) -> Window {
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    let (mut ops, mut turns, mut over, mut left) = (0, 0u64, false, in_flight);
    for number in 0..in_flight as u64 {
        // SAFETY: what it points to lives until the last completion has come, below.
        unsafe { ring.push(entry(number)) };
    }
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    while left > 0 {
        ring.turn(&mut completions);
        turns += 1;
        if turns.is_multiple_of(16) {
            over = Instant::now() >= until;
        }
        for completion in completions.drain(..) {
            assert!(completion.result() >= 0, "an operation failed: {}", completion.result());
            ops += 1;
            if over {
                left -= 1;
            } else {
                // SAFETY: as above; the one before it on the same buffer has ended.
                unsafe { ring.push(entry(completion.user_data())) };
            }
        }
    }
    clock.stop(ops)
}
