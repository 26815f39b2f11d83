//! The same by what the kernel does best today: multishot accept and receive, into a ring of buffers that the kernel picks
//! from.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{cqueue, opcode, types};

use crate::candidate::Ready;
use crate::http;
use crate::ring::Queues;
use crate::work::Work;

const ACCEPT: u64 = u64::MAX;
/// In `user_data`, beside the connection's number.
const SEND: u64 = 1 << 32;
const GROUP: u16 = 0;
const BUFFERS: u16 = 1024;

struct Connection {
    stream: TcpStream,
    /// What is to be sent, the first of them under way; with how much of it has been sent.
    out: VecDeque<Out>,
    sent: usize,
    answer: Vec<u8>,
    requests: http::Requests,
}

enum Out {
    /// A buffer goes back where it came from.
    Echo { buffer: u16, bytes: usize },
    /// So many answers.
    Answers(usize),
}

struct Server<'ring> {
    ring: Queues<'ring>,
    buffers: Buffers,
    work: Work,
    listener: TcpListener,
    connections: Vec<Option<Box<Connection>>>,
    /// Connections whose receive ended because there was no buffer.
    starved: Vec<usize>,
}

pub fn serve(work: Work, ready: Ready) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    ready(listener.local_addr().expect("an address").port());
    let mut ring = super::raw::ring(1024);
    let buffers = Buffers::new(work.buffer_bytes());
    // SAFETY: `Buffers` is never freed: it lives as long as the process, and so as the ring.
    unsafe { ring.submitter().register_buf_ring_with_flags(buffers.ring.as_ptr() as u64, BUFFERS, GROUP, 0) }
        .expect("a ring of buffers");
    let (connections, starved) = (Vec::new(), Vec::new());
    let mut server = Server { ring: Queues::of(&mut ring), buffers, work, listener, connections, starved };
    server.accept();
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    loop {
        server.ring.turn(&mut completions);
        for completion in completions.drain(..) {
            server.completed(&completion);
        }
        for number in std::mem::take(&mut server.starved) {
            server.receive(number);
        }
    }
}

impl Server<'_> {
    fn accept(&mut self) {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd())).build();
        // SAFETY: no addresses.
        unsafe { self.ring.push(accept.user_data(ACCEPT)) };
    }

    fn completed(&mut self, completion: &cqueue::Entry) {
        let (user_data, result, flags) = (completion.user_data(), completion.result(), completion.flags());
        if user_data == ACCEPT {
            if result >= 0 {
                self.connected(result);
            }
            if !cqueue::more(flags) {
                self.accept();
            }
        } else if user_data & SEND != 0 {
            self.sent((user_data & !SEND) as usize, result);
        } else {
            self.received(user_data as usize, result, flags);
        }
    }

    fn connected(&mut self, fd: i32) {
        // SAFETY: the kernel has just given it to us.
        let stream = unsafe { TcpStream::from_raw_fd(fd) };
        stream.set_nodelay(true).expect("a socket option");
        let (out, answer, requests) = (VecDeque::new(), Vec::new(), http::Requests::default());
        self.connections.push(Some(Box::new(Connection { stream, out, sent: 0, answer, requests })));
        self.receive(self.connections.len() - 1);
    }

    fn receive(&mut self, number: usize) {
        let Some(connection) = &self.connections[number] else { return };
        let receive = opcode::RecvMulti::new(types::Fd(connection.stream.as_raw_fd()), GROUP).build();
        // SAFETY: the kernel picks the buffers, which live for ever.
        unsafe { self.ring.push(receive.user_data(number as u64)) };
    }

    fn received(&mut self, number: usize, result: i32, flags: u32) {
        let buffer = cqueue::buffer_select(flags);
        let Some(connection) = self.connections[number].as_mut() else {
            return buffer.into_iter().for_each(|buffer| self.buffers.give(buffer));
        };
        if result == -libc::ENOBUFS {
            return self.starved.push(number);
        }
        let Some(buffer) = buffer.filter(|_| result > 0) else {
            // The end, or an error. A buffer that is under way lives for ever.
            self.connections[number] = None;
            return;
        };
        let idle = connection.out.is_empty();
        if self.work == Work::Http {
            let ended = connection.requests.count(self.buffers.bytes(buffer, result as usize));
            self.buffers.give(buffer);
            if ended > 0 {
                connection.out.push_back(Out::Answers(ended));
            }
        } else {
            connection.out.push_back(Out::Echo { buffer, bytes: result as usize });
        }
        if idle {
            self.send(number);
        }
        if !cqueue::more(flags) {
            self.receive(number);
        }
    }

    fn send(&mut self, number: usize) {
        let Some(connection) = self.connections[number].as_mut() else { return };
        let bytes = match connection.out.front() {
            None => return,
            Some(&Out::Echo { buffer, bytes }) => self.buffers.bytes(buffer, bytes),
            Some(&Out::Answers(times)) => {
                if connection.sent == 0 {
                    http::repeat(&mut connection.answer, times);
                }
                &connection.answer
            }
        };
        let bytes = &bytes[connection.sent..];
        let fd = types::Fd(connection.stream.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: buffers live for ever; an answer as long as the connection, which goes with the process or when its peer
        // has gone, who takes no answer any more: what is left of the send then fails before it reads anything.
        unsafe { self.ring.push(send.user_data(number as u64 | SEND)) };
    }

    fn sent(&mut self, number: usize, result: i32) {
        let Some(connection) = self.connections[number].as_mut() else { return };
        if result <= 0 {
            self.connections[number] = None;
            return;
        }
        connection.sent += result as usize;
        let whole = match connection.out.front() {
            Some(&Out::Echo { buffer, bytes }) if connection.sent >= bytes => {
                self.buffers.give(buffer);
                true
            }
            Some(&Out::Answers(_)) => connection.sent >= connection.answer.len(),
            _ => false,
        };
        if whole {
            connection.out.pop_front();
            connection.sent = 0;
        }
        self.send(number);
    }
}

/// Buffers, and the ring in which the kernel finds them. Never freed.
struct Buffers {
    ring: NonNull<types::BufRingEntry>,
    bytes: NonNull<u8>,
    each: usize,
    tail: u16,
}

impl Buffers {
    fn new(each: usize) -> Buffers {
        let allocate = |bytes: usize| {
            let layout = Layout::from_size_align(bytes, 4096).expect("a small number");
            // SAFETY: not of size 0.
            NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
        };
        let ring = allocate(usize::from(BUFFERS) * size_of::<types::BufRingEntry>()).cast();
        let mut buffers = Buffers { ring, bytes: allocate(usize::from(BUFFERS) * each), each, tail: 0 };
        (0..BUFFERS).for_each(|buffer| buffers.give(buffer));
        buffers
    }

    /// What the kernel has put into a buffer.
    fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        // SAFETY: the kernel names buffers that it was given, and does not touch one again before it is given back.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(usize::from(buffer) * self.each), len) }
    }

    fn give(&mut self, buffer: u16) {
        // SAFETY: masked, so within the ring; the kernel reads entries below the tail only. The tail lies in the first
        // entry's reserved field, which `set_*` leave alone.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(usize::from(self.tail & (BUFFERS - 1)));
            entry.set_addr(self.bytes.as_ptr().add(usize::from(buffer) * self.each) as u64);
            entry.set_len(self.each as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = types::BufRingEntry::tail(self.ring.as_ptr()).cast_mut().cast::<u16>();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}
