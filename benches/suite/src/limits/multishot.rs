//! The same by what the kernel does best today: multishot accept and receive, into a ring of buffers that the kernel picks
//! from.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{cqueue, opcode, squeue, types};

use crate::candidate::Ready;
use crate::http;
use crate::ring::Queues;
use crate::sys;
use crate::work::Work;

const ACCEPT: u64 = u64::MAX;
/// In `user_data`, beside the connection's number.
const SEND: u64 = 1 << 32;
const GROUP: u16 = 0;
const BUFFERS: u16 = 1024;

struct Connection {
    fd: OwnedFd,
    /// Where what it receives goes: to itself, or to the other side of a proxy.
    to: usize,
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
    listener: OwnedFd,
    connections: Vec<Option<Box<Connection>>>,
    /// Connections whose receive ended because there was no buffer.
    starved: Vec<usize>,
    /// Numbers of connections that have gone, where nothing that is under way may still name them.
    free: Vec<usize>,
}

pub fn serve(work: Work, path: &Path, ready: Ready) {
    let mut ring = super::raw::ring(1024);
    let more = if matches!(work, Work::Udp { .. }) { BEFORE_DATAGRAM } else { 0 };
    let buffers = Buffers::new(work.buffer_bytes() + more);
    // SAFETY: `Buffers` is never freed: it lives as long as the process, and so as the ring.
    unsafe { ring.submitter().register_buf_ring_with_flags(buffers.ring.as_ptr() as u64, BUFFERS, GROUP, 0) }
        .expect("a ring of buffers");
    let ring = Queues::of(&mut ring);
    if matches!(work, Work::Udp { .. }) {
        return udp(ring, buffers, ready);
    }
    let listener = super::listen(work, path, ready);
    let (connections, starved, free) = (Vec::new(), Vec::new(), Vec::new());
    let mut server = Server { ring, buffers, work, listener, connections, starved, free };
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
                // SAFETY: the kernel has just given it to us.
                self.accepted(unsafe { OwnedFd::from_raw_fd(result) });
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

    fn accepted(&mut self, fd: OwnedFd) {
        if !matches!(self.work, Work::Unix { .. }) {
            sys::no_delay(fd.as_raw_fd()).expect("a socket option");
        }
        let number = self.connected(fd);
        if let Work::Proxy { upstream, .. } = self.work {
            // By a plain system call: the other side's kernel answers at once, and it is done before anything is measured.
            match TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)) {
                Ok(stream) => {
                    stream.set_nodelay(true).expect("a socket option");
                    let other = self.connected(stream.into());
                    self.connections[number].as_mut().expect("it lives").to = other;
                    self.connections[other].as_mut().expect("it lives").to = number;
                    self.receive(other);
                }
                Err(_) => return self.gone(number),
            }
        }
        self.receive(number);
    }

    fn connected(&mut self, fd: OwnedFd) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let (out, answer, requests) = (VecDeque::new(), Vec::new(), http::Requests::default());
        self.connections[number] = Some(Box::new(Connection { fd, to: number, out, sent: 0, answer, requests }));
        number
    }

    /// Buffers that are under way live for ever. The other side of a proxy hears of it, and goes by itself.
    fn gone(&mut self, number: usize) {
        let Some(connection) = self.connections[number].take() else { return };
        if matches!(self.work, Work::Storm { .. }) {
            self.free.push(number);
        }
        if connection.to != number
            && let Some(other) = &self.connections[connection.to]
        {
            // SAFETY: no pointers.
            unsafe { libc::shutdown(other.fd.as_raw_fd(), libc::SHUT_RDWR) };
        }
    }

    fn receive(&mut self, number: usize) {
        let Some(connection) = &self.connections[number] else { return };
        let fd = types::Fd(connection.fd.as_raw_fd());
        let receive = if matches!(self.work, Work::Storm { .. }) {
            // One is all that comes, and nothing has to be taken back before the connection is closed.
            let receive = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(GROUP).build();
            receive.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, GROUP).build()
        };
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
            // The end, or an error.
            return self.gone(number);
        };
        let (mut out, to) = (Some(Out::Echo { buffer, bytes: result as usize }), connection.to);
        if self.work == Work::Http {
            let ended = connection.requests.count(self.buffers.bytes(buffer, result as usize));
            self.buffers.give(buffer);
            out = (ended > 0).then_some(Out::Answers(ended));
        }
        match (self.connections[to].as_mut(), out) {
            (Some(other), Some(out)) => {
                other.out.push_back(out);
                if other.out.len() == 1 {
                    self.send(to);
                }
            }
            (None, Some(Out::Echo { buffer, .. })) => self.buffers.give(buffer),
            _ => {}
        }
        if !cqueue::more(flags) && !matches!(self.work, Work::Storm { .. }) {
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
        let fd = types::Fd(connection.fd.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: buffers live for ever; an answer as long as the connection, which goes with the process or when its peer
        // has gone, who takes no answer any more: what is left of the send then fails before it reads anything.
        unsafe { self.ring.push(send.user_data(number as u64 | SEND)) };
    }

    fn sent(&mut self, number: usize, result: i32) {
        let Some(connection) = self.connections[number].as_mut() else { return };
        if result <= 0 {
            return self.gone(number);
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
            if matches!(self.work, Work::Storm { .. }) {
                return self.gone(number);
            }
        }
        self.send(number);
    }
}

// ---- datagrams ------------------------------------------------------------------------------------------------

/// What the kernel puts before a datagram: how long its parts are, and where it came from.
const BEFORE_DATAGRAM: usize = 16 + size_of::<libc::sockaddr_in>();

fn udp(mut ring: Queues, mut buffers: Buffers, ready: Ready) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    ready(socket.local_addr().expect("an address").port());
    let fd = types::Fd(socket.as_raw_fd());
    // SAFETY: numbers and null pointers, for which all bits zero are valid.
    let mut wanted: libc::msghdr = unsafe { std::mem::zeroed() };
    wanted.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: as above; these are the parts of what is sent, one for each buffer.
    let mut parts: Vec<(libc::msghdr, libc::iovec)> = vec![unsafe { std::mem::zeroed() }; usize::from(BUFFERS)];
    let receive = opcode::RecvMsgMulti::new(fd, &raw const wanted, GROUP).build().user_data(0);
    // SAFETY: what is wanted lives as long as this, which does not end.
    unsafe { ring.push(receive.clone()) };
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    loop {
        ring.turn(&mut completions);
        for completion in completions.drain(..) {
            if completion.user_data() & SEND != 0 {
                buffers.give((completion.user_data() & !SEND) as u16);
                continue;
            }
            if !cqueue::more(completion.flags()) {
                // SAFETY: as above.
                unsafe { ring.push(receive.clone()) };
            }
            let Some(buffer) = cqueue::buffer_select(completion.flags()) else { continue };
            let bytes = buffers.bytes(buffer, completion.result().max(0) as usize);
            let Ok(datagram) = types::RecvMsgOut::parse(bytes, &wanted) else {
                buffers.give(buffer);
                continue;
            };
            let (header, part) = &mut parts[usize::from(buffer)];
            part.iov_base = datagram.payload_data().as_ptr().cast_mut().cast();
            part.iov_len = datagram.payload_data().len();
            header.msg_name = datagram.name_data().as_ptr().cast_mut().cast();
            header.msg_namelen = datagram.name_data().len() as u32;
            (header.msg_iov, header.msg_iovlen) = (part, 1);
            let send = opcode::SendMsg::new(fd, &raw const *header).build();
            // SAFETY: buffers and parts live for ever, and neither is touched before the send has completed.
            unsafe { ring.push(send.user_data(u64::from(buffer) | SEND)) };
        }
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
