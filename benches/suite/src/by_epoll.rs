//! The generator's closed loop where there is no io_uring: epoll and plain calls. It costs more than the one on a ring, and
//! drives every candidate alike, so those that need no ring are compared all the same.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::generator::Driven;
use crate::load::{Load, SILENCE};
use crate::sys;

/// One end of a connection: what it still has to send, and what it waits for.
#[derive(Clone, Copy, Default)]
struct Side {
    to_send: usize,
    to_hear: usize,
}

/// A connection, and the other end of the proxy behind it if there is one.
#[derive(Clone, Copy, Default)]
struct Exchange {
    front: Side,
    back: Side,
}

/// Sends on every connection, and again whenever the whole answer has come, until the time is over.
pub fn drive(load: &mut Load, duration: Duration) -> io::Result<Driven> {
    let epoll = watch(load)?;
    let (start, own_cpu_ns) = (Instant::now(), sys::thread_cpu_ns());
    let (mut ops, mut late_ops, mut over, mut wall_ns) = (0, 0, false, 0);
    let mut exchanges = vec![Exchange::default(); load.connections.len()];
    for (number, exchange) in exchanges.iter_mut().enumerate() {
        ask(load, exchange, number, start);
        send(load.connections[number].fd(), &load.request, &mut exchange.front)?;
    }
    let mut left = exchanges.len();
    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    while left > 0 {
        let ready = wait(&epoll, &mut events)?;
        let now = Instant::now();
        if !over && now - start >= duration && ops > 0 {
            over = true;
            wall_ns = (now - start).as_nanos() as u64;
        }
        for event in &events[..ready] {
            let number = event.u64 as usize;
            let exchange = &mut exchanges[number];
            if exchange.front.to_hear == 0 || !pump(load, exchange, number)? {
                continue;
            }
            if over {
                left -= 1;
                late_ops += load.depth;
                continue;
            }
            let took = now.saturating_duration_since(load.connections[number].sent);
            load.latency.saturating_record(took.as_nanos() as u64);
            ops += load.depth;
            ask(load, exchange, number, now);
            // Only that: an answer that is already there has its own edge, as nothing was read since.
            send(load.connections[number].fd(), &load.request, &mut exchange.front)?;
        }
    }
    Ok(Driven { ops, late_ops, wall_ns, own_cpu_ns: sys::thread_cpu_ns() - own_cpu_ns })
}

fn ask(load: &mut Load, exchange: &mut Exchange, number: usize, now: Instant) {
    load.connections[number].sent = now;
    exchange.front = Side { to_send: load.request.len(), to_hear: load.response_bytes };
    if load.connections[number].upstream.is_some() {
        exchange.back = Side { to_send: 0, to_hear: load.request.len() };
    }
}

/// Sends and hears what is possible now; whether the whole answer has come.
///
/// An edge is told once, so each side goes on until it would block.
fn pump(load: &mut Load, exchange: &mut Exchange, number: usize) -> io::Result<bool> {
    let fd = load.connections[number].fd();
    send(fd, &load.request, &mut exchange.front)?;
    if let Some(upstream) = &load.connections[number].upstream {
        let fd = upstream.as_raw_fd();
        let passing = exchange.back.to_hear > 0;
        hear(fd, &mut load.scratch, &mut exchange.back)?;
        if passing && exchange.back.to_hear == 0 {
            exchange.back.to_send = load.request.len();
        }
        send(fd, &load.request, &mut exchange.back)?;
    }
    hear(fd, &mut load.scratch, &mut exchange.front)?;
    Ok(exchange.front.to_hear == 0)
}

fn send(fd: RawFd, request: &[u8], side: &mut Side) -> io::Result<()> {
    while side.to_send > 0 {
        let rest = &request[request.len() - side.to_send..];
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: reads as many bytes as the slice has.
        match done(unsafe { libc::send(fd, rest.as_ptr().cast(), rest.len(), flags) })? {
            Some(sent) => side.to_send -= sent,
            None => break,
        }
    }
    Ok(())
}

fn hear(fd: RawFd, scratch: &mut [u8], side: &mut Side) -> io::Result<()> {
    while side.to_hear > 0 {
        let room = side.to_hear.min(scratch.len());
        // SAFETY: writes no more than there is room for.
        match done(unsafe { libc::recv(fd, scratch.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT) })? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(heard) => side.to_hear -= heard,
            None => break,
        }
    }
    Ok(())
}

/// `None` if it would have blocked. What does not wait is not interrupted.
fn done(result: isize) -> io::Result<Option<usize>> {
    match usize::try_from(result) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

fn watch(load: &Load) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the kernel has just given it to us.
    let epoll = unsafe { OwnedFd::from_raw_fd(sys::check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
    for (number, connection) in load.connections.iter().enumerate() {
        for fd in [Some(connection.fd()), connection.upstream.as_ref().map(AsRawFd::as_raw_fd)].into_iter().flatten() {
            let events = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32;
            let mut event = libc::epoll_event { events, u64: number as u64 };
            // SAFETY: reads the event that it is given.
            sys::check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        }
    }
    Ok(epoll)
}

/// How many events there are.
fn wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> io::Result<usize> {
    let (limit, room) = (SILENCE.as_millis() as libc::c_int, events.len() as libc::c_int);
    // SAFETY: as many events as there is room for.
    match sys::check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), room, limit) }) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "hangs: nothing came back for 5 s")),
        Ok(count) => Ok(count as usize),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
