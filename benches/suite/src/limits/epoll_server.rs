//! Servers by epoll, read and write, as plainly as it goes; `sendfile` for files, `recvmmsg` and `sendmmsg` for datagrams.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use crate::candidate::Ready;
use crate::http;
use crate::sys;
use crate::work::Work;

struct Connection {
    /// A socket as well as any: what is called on it is `read` and `write`.
    stream: File,
    requests: http::Requests,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// Of a file server: files that it has asked for, and how much of the first has been sent.
    wanted: usize,
    sent: usize,
    asks: bool,
    /// Where what it sends goes: to itself, or to the other side of a proxy.
    to: RawFd,
    /// What it is watched for.
    events: i32,
}

struct Server {
    epoll: RawFd,
    work: Work,
    listener: OwnedFd,
    file: Option<File>,
    connections: HashMap<RawFd, Connection>,
    buf: Vec<u8>,
    answer: Vec<u8>,
}

pub fn serve(work: Work, path: &Path, ready: Ready) {
    // SAFETY: no pointers.
    let epoll = sys::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).expect("an epoll");
    if let Work::Udp { bytes } = work {
        return udp(epoll, bytes, ready);
    }
    let file = matches!(work, Work::FileServer { .. } | Work::Mixed { .. });
    let file = file.then(|| File::open(path).expect("the file"));
    let listener = super::listen(work, path, ready);
    sys::set_nonblocking(listener.as_raw_fd()).expect("a listener that does not block");
    watch(epoll, libc::EPOLL_CTL_ADD, listener.as_raw_fd(), libc::EPOLLIN);
    let (buf, connections) = (vec![0; work.buffer_bytes()], HashMap::new());
    let mut server = Server { epoll, work, listener, file, connections, buf, answer: Vec::new() };
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    loop {
        // SAFETY: as many events as there is room for.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let (fd, what) = (event.u64 as RawFd, event.events as i32);
            if fd == server.listener.as_raw_fd() {
                server.accept();
            } else if server.connections.contains_key(&fd) && server.ready(fd, what).is_err() {
                server.gone(fd);
            }
        }
    }
}

fn watch(epoll: RawFd, what: i32, fd: RawFd, events: i32) {
    let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
    // SAFETY: reads the event that it is given.
    sys::check(unsafe { libc::epoll_ctl(epoll, what, fd, &mut event) }).expect("a descriptor to watch");
}

impl Server {
    fn accept(&mut self) {
        loop {
            let (no_address, flags) = (std::ptr::null_mut(), libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC);
            // SAFETY: no address is asked for.
            let fd = unsafe { libc::accept4(self.listener.as_raw_fd(), no_address, std::ptr::null_mut(), flags) };
            if fd < 0 {
                return;
            }
            // SAFETY: the kernel has just given it to us.
            let accepted = unsafe { OwnedFd::from_raw_fd(fd) };
            if !matches!(self.work, Work::Unix { .. }) {
                sys::no_delay(fd).expect("a socket option");
            }
            let Work::Proxy { upstream, .. } = self.work else {
                self.connected(accepted, fd);
                continue;
            };
            let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)) else { continue };
            stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("socket options");
            let other = stream.as_raw_fd();
            self.connected(accepted, other);
            self.connected(stream.into(), fd);
        }
    }

    fn connected(&mut self, socket: OwnedFd, to: RawFd) {
        let (fd, events) = (socket.as_raw_fd(), libc::EPOLLIN);
        watch(self.epoll, libc::EPOLL_CTL_ADD, fd, events);
        let (requests, unsent) = (http::Requests::default(), Vec::new());
        let stream = File::from(socket);
        let connection = Connection { stream, requests, unsent, wanted: 0, sent: 0, asks: false, to, events };
        self.connections.insert(fd, connection);
    }

    fn gone(&mut self, fd: RawFd) {
        if let Some(connection) = self.connections.remove(&fd) {
            self.connections.remove(&connection.to);
        }
    }

    fn ready(&mut self, fd: RawFd, what: i32) -> io::Result<()> {
        if what & libc::EPOLLOUT != 0 {
            let connection = self.connections.get_mut(&fd).expect("looked up");
            let unsent = std::mem::take(&mut connection.unsent);
            connection.send(self.epoll, &unsent)?;
            return connection.send_files(self.epoll, &self.file, self.work);
        }
        let connection = self.connections.get_mut(&fd).expect("looked up");
        let read = match connection.stream.read(&mut self.buf) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let bytes = &self.buf[..read];
        match self.work {
            Work::Http => {
                let ended = connection.requests.count(bytes);
                http::repeat(&mut self.answer, ended);
                connection.send(self.epoll, &self.answer)
            }
            Work::FileServer { .. } | Work::Mixed { .. } if connection.asks || http::is_request(bytes) => {
                connection.asks = true;
                connection.wanted += connection.requests.count(bytes);
                connection.send_files(self.epoll, &self.file, self.work)
            }
            Work::Storm { .. } => {
                connection.send(self.epoll, bytes)?;
                // So few bytes have been taken whole.
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            _ => {
                let to = connection.to;
                let other = self.connections.get_mut(&to).ok_or(io::ErrorKind::NotConnected)?;
                other.send(self.epoll, bytes)
            }
        }
    }
}

impl Connection {
    fn send(&mut self, epoll: RawFd, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.stream.write(bytes) {
            // Behind what waits already.
            _ if !self.unsent.is_empty() => 0,
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        self.watch_for(epoll);
        Ok(())
    }

    fn watch_for(&mut self, epoll: RawFd) {
        let waits = !self.unsent.is_empty() || self.wanted > 0;
        let events = if waits { libc::EPOLLIN | libc::EPOLLOUT } else { libc::EPOLLIN };
        if events != self.events {
            self.events = events;
            watch(epoll, libc::EPOLL_CTL_MOD, self.stream.as_raw_fd(), events);
        }
    }

    fn send_files(&mut self, epoll: RawFd, file: &Option<File>, work: Work) -> io::Result<()> {
        let (Work::FileServer { bytes } | Work::Mixed { bytes }, Some(file)) = (work, file) else { return Ok(()) };
        while self.wanted > 0 && self.unsent.is_empty() {
            if self.sent == 0 {
                self.send(epoll, &http::head(bytes))?;
            }
            let mut offset = self.sent as i64;
            let (to, from) = (self.stream.as_raw_fd(), file.as_raw_fd());
            // SAFETY: reads and writes the offset.
            match unsafe { libc::sendfile(to, from, &mut offset, bytes - self.sent) } {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                1.. => self.sent = offset as usize,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => break,
                _ => return Err(io::Error::last_os_error()),
            }
            if self.sent == bytes {
                (self.sent, self.wanted) = (0, self.wanted - 1);
            }
        }
        self.watch_for(epoll);
        Ok(())
    }
}

// ---- datagrams ------------------------------------------------------------------------------------------------

/// How many datagrams a call takes.
const DATAGRAMS: usize = 32;

fn udp(epoll: RawFd, bytes: usize, ready: Ready) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_nonblocking(true).expect("a socket option");
    ready(socket.local_addr().expect("an address").port());
    watch(epoll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), libc::EPOLLIN);
    let mut bufs = vec![vec![0u8; bytes]; DATAGRAMS];
    // SAFETY: numbers, for which all bits zero are valid.
    let mut from: [libc::sockaddr_in; DATAGRAMS] = unsafe { std::mem::zeroed() };
    // SAFETY: numbers and null pointers.
    let mut parts: [libc::iovec; DATAGRAMS] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; DATAGRAMS] = unsafe { std::mem::zeroed() };
    // SAFETY: one event.
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    loop {
        for number in 0..DATAGRAMS {
            parts[number] = libc::iovec { iov_base: bufs[number].as_mut_ptr().cast(), iov_len: bytes };
            let header = &mut messages[number].msg_hdr;
            header.msg_iov = &raw mut parts[number];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut from[number]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let (fd, all, now) = (socket.as_raw_fd(), DATAGRAMS as u32, std::ptr::null_mut());
        // SAFETY: as many messages as it is told, each with a buffer and room for an address.
        let received = unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), all, 0, now) };
        if received <= 0 {
            // SAFETY: room for one event.
            unsafe { libc::epoll_wait(epoll, &mut event, 1, -1) };
            continue;
        }
        for (part, message) in parts.iter_mut().zip(&messages).take(received as usize) {
            part.iov_len = message.msg_len as usize;
        }
        // SAFETY: the messages that have just been received, with their senders.
        unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), received as u32, 0) };
    }
}
