//! Whether a connection should be accepted and first read by one chain: `cargo bench --bench accept_chain`, half a minute. Raw rings,
//! without this crate, so that nothing but what the kernel does is compared. What came of it is in docs/performance.md.
//!
//! Printed is the server's CPU (its thread's) for one connection that sends 64 bytes, gets them back and is closed: the median and
//! the best of the windows, in which the three ways take turns.
#![allow(unsafe_code, reason = "a raw ring")]

mod by_hand;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;

use by_hand::cpu_ns;
use io_uring::squeue::{self, Flags};
use io_uring::types::{DestinationSlot, Fd, Fixed};
use io_uring::{IoUring, opcode};

const CLIENTS: usize = 32;
const WINDOWS: usize = 15;
/// How many accepts wait where each is a submission of its own.
const ACCEPTS: usize = 8;
const BYTES: usize = 64;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Multishot,
    OneByOne,
    /// Into a place of the table, received from there, and then given a number.
    Chain,
}

/// What a completion is of: the upper half of its name. The lower one is a descriptor, or the place of a chain.
const ACCEPTED: u64 = 1;
const RECEIVED: u64 = 2;
const SENT: u64 = 3;
const CLOSED: u64 = 4;
const QUIET: u64 = 5;
const INSTALLED: u64 = 6;

struct Server {
    ring: IoUring,
    listener: TcpListener,
    /// One for each descriptor, by its number, and each place.
    buffers: Vec<[u8; BYTES]>,
}

impl Server {
    fn new() -> Server {
        let ring = by_hand::ring();
        ring.submitter().register_files_sparse(ACCEPTS as u32).expect("a table");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        Server { ring, listener, buffers: vec![[0; BYTES]; 1024] }
    }

    fn push(&mut self, entry: squeue::Entry, kind: u64, low: usize) {
        // SAFETY: buffers are never moved while the ring is there, and no two operations at a time have the same one.
        unsafe {
            self.ring.submission().push(&entry.user_data(kind << 32 | low as u64)).expect("the queue is large enough")
        };
    }

    fn accept(&mut self, way: Way, place: usize) {
        let listener = Fd(self.listener.as_raw_fd());
        let accept = opcode::Accept::new(listener, std::ptr::null_mut(), std::ptr::null_mut());
        match way {
            Way::Multishot => self.push(opcode::AcceptMulti::new(listener).build(), ACCEPTED, 0),
            Way::OneByOne => self.push(accept.build(), ACCEPTED, 0),
            Way::Chain => {
                let slot = DestinationSlot::try_from_slot_target(place as u32).expect("a place");
                let quiet = Flags::IO_LINK | Flags::SKIP_SUCCESS;
                self.push(accept.file_index(Some(slot)).build().flags(quiet), QUIET, place);
                let buffer = self.buffers[place].as_mut_ptr();
                let receive = opcode::Recv::new(Fixed(place as u32), buffer, BYTES as u32);
                self.push(receive.build().flags(Flags::IO_HARDLINK), QUIET, place);
                self.push(opcode::FixedFdInstall::new(Fixed(place as u32), 0).build(), INSTALLED, place);
            }
        }
    }

    fn send(&mut self, fd: usize, buffer: usize) {
        let send = opcode::Send::new(Fd(fd as i32), self.buffers[buffer].as_ptr(), BYTES as u32);
        self.push(send.build(), SENT, fd);
    }

    fn close(&mut self, fd: usize) {
        self.push(opcode::Close::new(Fd(fd as i32)).build(), CLOSED, 0);
    }

    /// Serves so many connections.
    fn serve(&mut self, way: Way, connections: usize) {
        let waiting = if way == Way::Multishot { 1 } else { ACCEPTS };
        (0..waiting).for_each(|place| self.accept(way, place));
        let (mut done, mut completions) = (0, Vec::new());
        while done < connections {
            self.ring.submit_and_wait(1).expect("enter");
            completions.extend(self.ring.completion().map(|cqe| (cqe.user_data(), cqe.result(), cqe.flags())));
            for (name, result, flags) in completions.drain(..) {
                let low = (name & u64::from(u32::MAX)) as usize;
                assert!(result >= 0, "{} of {}", result, name >> 32);
                match name >> 32 {
                    ACCEPTED => {
                        if way == Way::OneByOne || !io_uring::cqueue::more(flags) {
                            self.accept(way, 0);
                        }
                        let fd = result as usize;
                        let receive = opcode::Recv::new(Fd(result), self.buffers[fd].as_mut_ptr(), BYTES as u32);
                        self.push(receive.build(), RECEIVED, fd);
                    }
                    RECEIVED => self.send(low, low),
                    INSTALLED => {
                        // The buffer is the place's, and the place is used again: copied as a server would that goes on with it.
                        self.buffers[result as usize] = self.buffers[low];
                        self.push(opcode::Close::new(Fixed(low as u32)).build().flags(Flags::SKIP_SUCCESS), QUIET, low);
                        self.send(result as usize, result as usize);
                        self.accept(way, low);
                    }
                    SENT => {
                        self.close(low);
                        done += 1;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// ns of the server's CPU for one connection.
fn window(way: Way, each: usize) -> f64 {
    let mut server = Server::new();
    let address = server.listener.local_addr().expect("an address");
    let client = move || {
        for _ in 0..each {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(&[1; BYTES]).expect("a request");
            stream.read_exact(&mut [0; BYTES]).expect("an answer");
        }
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(client)).collect();
    let start = cpu_ns();
    server.serve(way, CLIENTS * each);
    let used = cpu_ns() - start;
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    used / (CLIENTS * each) as f64
}

fn main() {
    // `cargo test --benches` only sees that it runs.
    let (windows, each) = if std::env::args().any(|arg| arg == "--bench") { (WINDOWS, 400) } else { (1, 2) };
    let ways = [
        ("multishot accept, then receive", Way::Multishot),
        ("accept, then receive", Way::OneByOne),
        ("accept, receive and install, as a chain", Way::Chain),
    ];
    let mut figures = ways.map(|_| Vec::new());
    for _ in 0..windows {
        for (figures, (_, way)) in figures.iter_mut().zip(ways) {
            figures.push(window(way, each));
        }
    }
    for (figures, (name, _)) in figures.iter_mut().zip(ways) {
        figures.sort_by(f64::total_cmp);
        println!("{name:42} median {:6.2} µs, best {:6.2} µs", figures[figures.len() / 2] / 1e3, figures[0] / 1e3);
    }
}
