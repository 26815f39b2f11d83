//! epoll, read and write, as plainly as it goes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::candidate::Ready;
use crate::http;
use crate::sys;
use crate::work::{Clock, READ_BYTES, Random, Window, Work};

struct Connection {
    stream: TcpStream,
    requests: http::Requests,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
}

pub fn serve(work: Work, ready: Ready) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port to listen on");
    listener.set_nonblocking(true).expect("a listener that does not block");
    // SAFETY: no pointers.
    let epoll = sys::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).expect("an epoll");
    watch(epoll, libc::EPOLL_CTL_ADD, listener.as_raw_fd(), libc::EPOLLIN);
    ready(listener.local_addr().expect("an address").port());

    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    let mut buf = vec![0; work.buffer_bytes()];
    let mut answer = Vec::new();
    loop {
        // SAFETY: as many events as there is room for.
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..count.max(0) as usize] {
            let token = event.u64;
            if token == listener.as_raw_fd() as u64 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).expect("socket options");
                    watch(epoll, libc::EPOLL_CTL_ADD, stream.as_raw_fd(), libc::EPOLLIN);
                    let token = stream.as_raw_fd() as u64;
                    let requests = http::Requests::default();
                    connections.insert(token, Connection { stream, requests, unsent: Vec::new() });
                }
            } else if let Some(connection) = connections.get_mut(&token)
                && connection.ready(work, epoll, &mut buf, &mut answer).is_err()
            {
                connections.remove(&token);
            }
        }
    }
}

fn watch(epoll: i32, what: i32, fd: i32, events: i32) {
    let mut event = libc::epoll_event { events: events as u32, u64: fd as u64 };
    // SAFETY: reads the event that it is given.
    sys::check(unsafe { libc::epoll_ctl(epoll, what, fd, &mut event) }).expect("a descriptor to watch");
}

impl Connection {
    fn ready(&mut self, work: Work, epoll: i32, buf: &mut [u8], answer: &mut Vec<u8>) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            return self.send(epoll, &unsent, true);
        }
        let read = match self.stream.read(buf) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if work != Work::Http {
            return self.send(epoll, &buf[..read], false);
        }
        let ended = self.requests.count(&buf[..read]);
        http::repeat(answer, ended);
        self.send(epoll, answer, false)
    }

    fn send(&mut self, epoll: i32, bytes: &[u8], waited: bool) -> io::Result<()> {
        let sent = match self.stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        if waited == self.unsent.is_empty() {
            let events = if self.unsent.is_empty() { libc::EPOLLIN } else { libc::EPOLLOUT };
            watch(epoll, libc::EPOLL_CTL_MOD, self.stream.as_raw_fd(), events);
        }
        Ok(())
    }
}

/// One read after the other.
pub fn window(_work: Work, duration: Duration, file: &Path) -> Window {
    let file = File::open(file).expect("the file");
    let blocks = file.metadata().expect("the file").len() / READ_BYTES as u64;
    let (mut random, mut buf, mut ops) = (Random::new(0), vec![0; READ_BYTES], 0);
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    while Instant::now() < until {
        for _ in 0..16 {
            file.read_exact_at(&mut buf, random.below(blocks) * READ_BYTES as u64).expect("a read");
        }
        ops += 16;
    }
    clock.stop(ops)
}
