//! Servers: a loop on the io-uring crate, with the flags that do best on one thread and no futures.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

use io_uring::{cqueue, opcode, types};

use crate::candidate::Ready;
use crate::http;
use crate::ring::{Queues, poll_first};
use crate::sys;
use crate::work::Work;

struct Connection {
    fd: OwnedFd,
    buf: Vec<u8>,
    answer: Vec<u8>,
    requests: http::Requests,
    /// Where what it receives goes: to itself, or to the other side of a proxy.
    to: usize,
    /// What is being sent, and how much of it has been; from the answer or from the buffer.
    sending: (usize, usize),
    answers: bool,
    /// Files that it has asked for and not got yet.
    wanted: usize,
}

const ACCEPT: u64 = u64::MAX;
/// In `user_data`, beside the connection's number.
const SEND: u64 = 1 << 32;
const READ: u64 = 1 << 33;

struct Server<'ring> {
    ring: Queues<'ring>,
    work: Work,
    listener: OwnedFd,
    file: Option<File>,
    connections: Vec<Option<Box<Connection>>>,
    /// Numbers of connections that have gone.
    free: Vec<usize>,
}

pub fn serve(work: Work, path: &Path, ready: Ready) {
    let mut ring = super::raw::ring(1024);
    let ring = Queues::of(&mut ring);
    if let Work::Udp { bytes } = work {
        return udp(ring, bytes, ready);
    }
    let file = matches!(work, Work::FileServer { .. } | Work::Mixed { .. });
    let file = file.then(|| File::open(path).expect("the file"));
    let listener = super::listen(work, path, ready);
    let mut server = Server { ring, work, listener, file, connections: Vec::new(), free: Vec::new() };
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
        let accept = opcode::Accept::new(fd, ptr::null_mut(), ptr::null_mut()).build();
        // SAFETY: no addresses.
        unsafe { self.ring.push(accept.user_data(ACCEPT)) };
    }

    fn completed(&mut self, user_data: u64, result: i32) {
        if user_data == ACCEPT {
            self.accept();
            if result >= 0 {
                // SAFETY: the kernel has just given it to us.
                self.accepted(unsafe { OwnedFd::from_raw_fd(result) });
            }
            return;
        }
        let number = (user_data & 0xffff_ffff) as usize;
        let connection = self.connections[number].as_mut().expect("one operation at a time");
        if result <= 0 {
            self.gone(number);
        } else if user_data & SEND != 0 {
            connection.sending.0 += result as usize;
            if connection.sending.0 < connection.sending.1 {
                self.send(number);
            } else if connection.wanted > 0 {
                self.read(number);
            } else if matches!(self.work, Work::Storm { .. }) {
                self.gone(number);
            } else {
                self.receive(number);
            }
        } else if user_data & READ != 0 {
            connection.wanted -= 1;
            connection.sending = (0, connection.answer.len());
            self.send(number);
        } else {
            self.received(number, result as usize);
        }
    }

    fn received(&mut self, number: usize, len: usize) {
        let connection = self.connections[number].as_mut().expect("it lives");
        let bytes = &connection.buf[..len];
        match self.work {
            Work::Http => {
                let ended = connection.requests.count(bytes);
                http::repeat(&mut connection.answer, ended);
                (connection.sending, connection.answers) = ((0, connection.answer.len()), true);
                if ended > 0 { self.send(number) } else { self.receive(number) }
            }
            Work::FileServer { bytes: size } | Work::Mixed { bytes: size }
                if connection.answers || http::is_request(bytes) =>
            {
                if !connection.answers {
                    connection.answers = true;
                    connection.answer = http::head(size);
                    connection.answer.resize(connection.answer.len() + size, 0);
                }
                connection.wanted += connection.requests.count(bytes);
                if connection.wanted > 0 { self.read(number) } else { self.receive(number) }
            }
            _ => {
                connection.sending = (0, len);
                self.send(number);
            }
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
        self.connections[number] = Some(Box::new(Connection {
            fd,
            buf: vec![0; self.work.buffer_bytes()],
            answer: Vec::new(),
            requests: http::Requests::default(),
            to: number,
            sending: (0, 0),
            answers: false,
            wanted: 0,
        }));
        number
    }

    /// Nothing of it is in flight any more. The other side of a proxy hears of it, and goes by itself.
    fn gone(&mut self, number: usize) {
        let connection = self.connections[number].take().expect("it lives");
        if connection.to == number {
            self.free.push(number);
        } else if let Some(other) = &self.connections[connection.to] {
            // SAFETY: no pointers.
            unsafe { libc::shutdown(other.fd.as_raw_fd(), libc::SHUT_RDWR) };
        }
    }

    fn receive(&mut self, number: usize) {
        let connection = self.connections[number].as_mut().expect("it lives");
        let fd = types::Fd(connection.fd.as_raw_fd());
        let receive = opcode::Recv::new(fd, connection.buf.as_mut_ptr(), connection.buf.len() as u32).build();
        // SAFETY: the buffer lives as long as the connection, which goes only when nothing of it is in flight.
        unsafe { self.ring.push(receive.user_data(number as u64)) };
    }

    fn read(&mut self, number: usize) {
        let connection = self.connections[number].as_mut().expect("it lives");
        let (Work::FileServer { bytes } | Work::Mixed { bytes }) = self.work else { unreachable!("no file") };
        let at = connection.answer.len() - bytes;
        let fd = types::Fd(self.file.as_ref().expect("a file").as_raw_fd());
        let read = opcode::Read::new(fd, connection.answer[at..].as_mut_ptr(), bytes as u32).offset(0).build();
        // SAFETY: as in `receive`.
        unsafe { self.ring.push(read.user_data(number as u64 | READ)) };
    }

    fn send(&mut self, number: usize) {
        let connection = self.connections[number].as_ref().expect("it lives");
        let (from, to) = connection.sending;
        let bytes = if connection.answers { &connection.answer[from..to] } else { &connection.buf[from..to] };
        let Some(other) = &self.connections[connection.to] else { return self.gone(number) };
        let fd = types::Fd(other.fd.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).flags(libc::MSG_NOSIGNAL).build();
        // SAFETY: as in `receive`.
        unsafe { self.ring.push(send.user_data(number as u64 | SEND)) };
    }
}

// ---- datagrams ------------------------------------------------------------------------------------------------

/// How many datagrams are under way at once.
const DATAGRAMS: usize = 32;

/// A buffer and what describes it to the kernel, which points into it: it never moves.
struct Datagram {
    message: libc::msghdr,
    part: libc::iovec,
    from: libc::sockaddr_in,
    buf: Vec<u8>,
}

fn udp(mut ring: Queues, bytes: usize, ready: Ready) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    ready(socket.local_addr().expect("an address").port());
    let fd = types::Fd(socket.as_raw_fd());
    let mut datagrams: Vec<Box<Datagram>> = (0..DATAGRAMS)
        .map(|_| {
            // SAFETY: numbers and null pointers, for which all bits zero are valid.
            let (message, part, from) = unsafe { std::mem::zeroed() };
            let mut datagram = Box::new(Datagram { message, part, from, buf: vec![0; bytes] });
            datagram.part.iov_base = datagram.buf.as_mut_ptr().cast();
            datagram.message.msg_iov = &raw mut datagram.part;
            datagram.message.msg_iovlen = 1;
            datagram.message.msg_name = (&raw mut datagram.from).cast();
            datagram
        })
        .collect();
    let receive = |ring: &mut Queues, datagram: &mut Datagram, number: u64| {
        datagram.part.iov_len = bytes;
        datagram.message.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        let receive = opcode::RecvMsg::new(fd, &raw mut datagram.message).build();
        // SAFETY: datagrams live as long as the process.
        unsafe { ring.push(poll_first(receive).user_data(number)) };
    };
    for (number, datagram) in datagrams.iter_mut().enumerate() {
        receive(&mut ring, datagram, number as u64);
    }
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    loop {
        ring.turn(&mut completions);
        for completion in completions.drain(..) {
            let number = completion.user_data() & !SEND;
            let datagram = &mut datagrams[number as usize];
            if completion.user_data() & SEND != 0 || completion.result() < 0 {
                receive(&mut ring, datagram, number);
                continue;
            }
            datagram.part.iov_len = completion.result() as usize;
            let send = opcode::SendMsg::new(fd, &raw const datagram.message).build();
            // SAFETY: as above.
            unsafe { ring.push(send.user_data(number | SEND)) };
        }
    }
}
