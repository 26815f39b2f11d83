//! Which way the kernel should put what it receives into buffers of its choice: `cargo bench --bench received`, a minute. Raw rings,
//! without this crate, so that nothing but what the kernel does is compared. What came of it is in docs/performance.md.
//!
//! Printed is the server's CPU (its thread's) for one message: the median and the best of the windows, in which the ways take turns.
//! Once 32 clients send 64 bytes each and get them back; once four send 64 KiB after each other, and the server looks at each KiB.
#![allow(unsafe_code, reason = "a raw ring")]

mod by_hand;

use std::alloc::{Layout, alloc_zeroed};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use by_hand::cpu_ns;
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

const WINDOWS: usize = 15;
const SENT: u64 = 1 << 32;
const SMALL: usize = 64;
const LARGE: usize = 64 << 10;
/// `IOU_PBUF_RING_INC`.
const INCREMENTAL: u16 = 2;
/// `IORING_CQE_F_BUF_MORE`.
const BUFFER_GOES_ON: u32 = 1 << 4;

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// Of how many bytes, and how many buffers.
    buffers: (usize, u16),
    /// One completion for as many buffers as it takes (`IORING_RECVSEND_BUNDLE`, 6.10).
    bundles: bool,
    /// A buffer is filled by several receives (6.12).
    incremental: bool,
}

const WAYS: [Way; 5] = [
    Way { name: "8 KiB each", buffers: (8 << 10, 64), bundles: false, incremental: false },
    Way { name: "8 KiB each, bundles", buffers: (8 << 10, 64), bundles: true, incremental: false },
    Way { name: "64 KiB each", buffers: (64 << 10, 8), bundles: false, incremental: false },
    Way { name: "64 KiB each, incremental", buffers: (64 << 10, 8), bundles: false, incremental: true },
    Way { name: "512 KiB, incremental", buffers: (512 << 10, 2), bundles: false, incremental: true },
];

struct Server {
    way: Way,
    ring: IoUring,
    /// The kernel's ring of buffers, whose memory is never freed: a window is short, and a process ends.
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    tail: u16,
    /// How much of each buffer has been filled, where they are filled by and by.
    filled: Vec<usize>,
    /// The buffers that are done with when what is being sent has been, by the connection. (Of a buffer that others send of, too, that is a
    /// little early; over loopback it has been copied.)
    sending: HashMap<usize, Vec<u16>>,
}

fn memory(bytes: usize) -> *mut u8 {
    // SAFETY: not of size 0.
    unsafe { alloc_zeroed(Layout::from_size_align(bytes, 4096).expect("a small number")) }
}

impl Server {
    fn new(way: Way) -> Server {
        let ring = by_hand::ring();
        let (each, count) = way.buffers;
        let entries = memory(usize::from(count) * size_of::<BufRingEntry>()).cast::<BufRingEntry>();
        let flags = if way.incremental { INCREMENTAL } else { 0 };
        // SAFETY: the memory is never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, count, 0, flags) }
            .expect("a ring of buffers");
        let filled = vec![0; usize::from(count)];
        let bytes = memory(each * usize::from(count));
        let mut server = Server { way, ring, entries, bytes, tail: 0, filled, sending: HashMap::new() };
        (0..count).for_each(|id| server.give(id));
        server
    }

    fn give(&mut self, id: u16) {
        let (each, count) = self.way.buffers;
        self.filled[usize::from(id)] = 0;
        // SAFETY: masked, so within the ring; the kernel reads below the tail only, which lies in the first entry's reserved field.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail & (count - 1)));
            entry.set_addr(self.bytes.add(usize::from(id) * each) as u64);
            entry.set_len(each as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast_mut().cast::<u16>();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what entries point to is never freed.
        unsafe { self.ring.submission().push(&entry).expect("the queue is large enough") };
    }

    fn receive(&mut self, fd: usize) {
        let number = Fd(fd as i32);
        let receive = if self.way.bundles {
            opcode::RecvMultiBundle::new(number, 0).build()
        } else {
            opcode::RecvMulti::new(number, 0).build()
        };
        self.push(receive.user_data(fd as u64));
    }

    /// What has come lies in these pieces, each with its buffer, which is done with if it is named.
    fn pieces(&mut self, first: u16, bytes: usize, goes_on: bool) -> Vec<(*const u8, usize, Option<u16>)> {
        let (each, count) = self.way.buffers;
        let mut pieces = Vec::new();
        let (mut id, mut left) = (first, bytes);
        while left > 0 {
            let start = self.filled[usize::from(id)];
            let len = left.min(each - start);
            // SAFETY: within the buffer.
            let at = unsafe { self.bytes.add(usize::from(id) * each + start) };
            let done = !self.way.incremental || !goes_on;
            self.filled[usize::from(id)] = if done { 0 } else { start + len };
            pieces.push((at.cast_const(), len, done.then_some(id)));
            left -= len;
            // They were given in this order, and come back in it.
            id = (id + 1) & (count - 1);
        }
        pieces
    }

    /// Sends back so many messages of 64 bytes, or takes so many of 64 KiB.
    fn serve(&mut self, streams: &[TcpStream], messages: usize, answers: bool) -> u64 {
        streams.iter().for_each(|stream| self.receive(stream.as_raw_fd() as usize));
        let (mut done, mut completions, mut seen) = (0, Vec::new(), 0u64);
        let all = if answers { messages } else { messages * LARGE };
        while done < all {
            self.ring.submit_and_wait(1).expect("enter");
            completions.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result(), cqe.flags())));
            for (name, result, flags) in completions.drain(..) {
                if name & SENT != 0 {
                    assert_eq!(result, SMALL as i32);
                    let ids = self.sending.get_mut(&((name & !SENT) as usize)).map(std::mem::take).unwrap_or_default();
                    ids.into_iter().for_each(|id| self.give(id));
                    done += 1;
                    continue;
                }
                let fd = name as usize;
                if !cqueue::more(flags) && (result > 0 || result == -libc::ENOBUFS) {
                    self.receive(fd);
                }
                assert!(result >= 0 || result == -libc::ENOBUFS, "a receive: {result}");
                let Some(first) = cqueue::buffer_select(flags).filter(|_| result > 0) else { continue };
                for (at, len, id) in self.pieces(first, result as usize, flags & BUFFER_GOES_ON != 0) {
                    if answers {
                        let send = opcode::Send::new(Fd(fd as i32), at, len as u32).build();
                        self.push(send.user_data(fd as u64 | SENT));
                        self.sending.entry(fd).or_default().extend(id);
                    } else {
                        // SAFETY: the kernel has filled so many bytes.
                        seen +=
                            (0..len).step_by(1024).map(|place| u64::from(unsafe { at.add(place).read() })).sum::<u64>();
                        id.into_iter().for_each(|id| self.give(id));
                        done += len;
                    }
                }
            }
        }
        seen
    }
}

/// ns of the server's CPU for one message.
fn window(way: Way, answers: bool, each: usize) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let connections = if answers { 32 } else { 4 };
    let mut clients: Vec<TcpStream> =
        (0..connections).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    let streams: Vec<TcpStream> = clients.iter().map(|_| listener.accept().expect("a connection").0).collect();
    clients.iter().chain(&streams).for_each(|stream| stream.set_nodelay(true).expect("an option"));
    let sending = move || {
        if answers {
            for _ in 0..each {
                clients.iter_mut().for_each(|client| client.write_all(&[1; SMALL]).expect("a message"));
                clients.iter_mut().for_each(|client| client.read_exact(&mut [0; SMALL]).expect("an answer"));
            }
        } else {
            let message = vec![1; LARGE];
            for _ in 0..each {
                clients.iter_mut().for_each(|client| client.write_all(&message).expect("a message"));
            }
        }
    };
    let mut server = Server::new(way);
    let sending = thread::spawn(sending);
    let start = cpu_ns();
    let seen = server.serve(&streams, connections * each, answers);
    let used = cpu_ns() - start;
    assert!(answers || seen > 0, "all of it was looked at");
    sending.join().expect("the clients");
    used / (connections * each) as f64
}

fn main() {
    // `cargo test --benches` only sees that it runs.
    let (windows, times) = if std::env::args().any(|arg| arg == "--bench") { (WINDOWS, 1) } else { (1, 500) };
    for (what, answers, each) in [("64 B there and back", true, 2000), ("64 KiB one way", false, 1000)] {
        let mut figures = WAYS.map(|_| Vec::new());
        for _ in 0..windows {
            for (figures, way) in figures.iter_mut().zip(WAYS) {
                figures.push(window(way, answers, each / times));
            }
        }
        for (figures, way) in figures.iter_mut().zip(WAYS) {
            figures.sort_by(f64::total_cmp);
            let (median, best) = (figures[figures.len() / 2] / 1e3, figures[0] / 1e3);
            println!("{what:20} {:26} median {median:6.2} µs, best {best:6.2} µs", way.name);
        }
    }
}
