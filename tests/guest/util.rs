//! A host as plain as can be, and files to read.

use std::future::Future;
use std::io::Write;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ringtoss::compat::Guest;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;

/// Every wait ends, at last.
pub fn patience() -> Timespec {
    Timespec { tv_sec: crate::patience::seconds(20).as_secs() as i64, tv_nsec: 0 }
}

const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Whether the guest's descriptor is readable.
pub fn is_called(guest: &Guest) -> bool {
    poll(&mut [PollFd::new(guest, PollFlags::IN)], Some(&NONE)).unwrap() > 0
}

/// Waits until the guest's descriptor is readable.
pub fn wait(guest: &Guest) {
    let ready = poll(&mut [PollFd::new(guest, PollFlags::IN)], Some(&patience())).unwrap();
    assert!(ready > 0, "the guest is never called");
}

/// Waits and turns until it is done; how many turns that took.
pub fn turn_until(guest: &Guest, mut done: impl FnMut() -> bool) -> u64 {
    let mut turns = 0;
    while !done() {
        wait(guest);
        guest.turn(128);
        turns += 1;
    }
    turns
}

/// The waker of a future that the host polls: other threads wake the host by a descriptor of its own.
pub struct Flag {
    woken: AtomicBool,
    event: OwnedFd,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        rustix::io::write(&self.event, &1u64.to_ne_bytes()).unwrap();
    }
}

impl Flag {
    pub fn new() -> Arc<Flag> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Arc::new(Flag { woken: AtomicBool::new(false), event })
    }

    pub fn take(&self) -> bool {
        self.woken.swap(false, Ordering::Acquire)
    }
}

/// Polls a future outside of the guest's turns, as a host's executor does, and turns the guest when it is called.
pub fn host_block_on<F: Future>(guest: &Guest, future: F) -> F::Output {
    let mut future = pin!(future);
    let flag = Flag::new();
    let waker = Waker::from(flag.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !flag.take() {
            let mut fds = [PollFd::new(guest, PollFlags::IN), PollFd::new(&flag.event, PollFlags::IN)];
            assert!(poll(&mut fds, Some(&patience())).unwrap() > 0, "nobody is ever called");
            let [guest_called, host_called] = fds.map(|fd| !fd.revents().is_empty());
            if host_called {
                let _ = rustix::io::read(&flag.event, &mut [0; 8]);
            }
            if guest_called {
                guest.turn(128);
            }
        }
    }
}

/// Polls a future once.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// A file of so many bytes, each `index * 31` and counting.
pub fn pattern(count: usize) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..count).map(pattern_at).collect();
    file.write_all(&bytes).unwrap();
    file
}

pub fn pattern_at(index: usize) -> u8 {
    (index.wrapping_mul(31) >> 3) as u8
}

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}
