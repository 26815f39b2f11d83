//! What the tests share.
#![allow(unsafe_code, reason = "a buffer that counts how often it is freed")]

#[path = "../patience/mod.rs"]
mod patience;
#[path = "../pattern/mod.rs"]
mod pattern;

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ringtoss::buf::{IoBuf, IoBufMut};
use ringtoss::net::{TcpListener, TcpStream};

pub use patience::*;
pub use pattern::*;

/// Runs a test that would block its thread, if it fails, where that can be seen.
pub fn run_watched<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let output = test();
        let _ = done.send(());
        output
    });
    if wait.recv_timeout(patience()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        panic!("the test blocks its thread");
    }
    thread.join().unwrap()
}

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls any future once and drops it.
pub async fn poll_and_drop<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Lets the loop go round, so that what was staged is with the kernel, and what the kernel had is here.
pub async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Waits until something holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        ringtoss::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A listener and its address.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two connected streams.
pub async fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener().await;
    let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// A stream and a peer of std's.
pub fn std_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, peer)
}

/// One stream on the ring, its peer with std.
pub fn with_std_peer() -> (TcpStream, std::net::TcpStream) {
    let (stream, peer) = std_pair();
    (TcpStream::from_std(stream), peer)
}

/// Closes a socket so that its peer sees a reset.
pub fn reset(peer: std::net::TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the structure lives over the call and its size is passed.
    let result = unsafe {
        libc::setsockopt(peer.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
    assert_eq!(result, 0);
}

/// Makes the buffers between two ends small, so that they are soon full.
pub fn small_buffers(socket: &impl AsRawFd) {
    for name in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        set_option(socket, libc::SOL_SOCKET, name, 8192);
    }
}

/// Sets a socket option that is a number.
pub fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: libc::c_int) {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value lives over the call and its size is passed.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    assert_eq!(result, 0);
}

/// Numbers that look random, the same ones every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    pub fn below_one_of<const N: usize>(&mut self, limits: [usize; N]) -> usize {
        let limit = limits[self.below(N)];
        self.below(limit)
    }
}

/// The same kind and `errno` as std's error for the same call.
#[track_caller]
pub fn same_error<A: std::fmt::Debug, B: std::fmt::Debug>(ours: io::Result<A>, std: io::Result<B>) {
    let (ours, std) = (ours.unwrap_err(), std.unwrap_err());
    assert_eq!((ours.kind(), ours.raw_os_error()), (std.kind(), std.raw_os_error()), "{ours} is not {std}");
}

/// A buffer that counts how often it is freed.
#[derive(Debug)]
pub struct Counted {
    bytes: Vec<u8>,
    drops: Arc<AtomicUsize>,
}

/// How often one was.
#[derive(Clone, Debug)]
pub struct Drops(Arc<AtomicUsize>);

impl Counted {
    pub fn new(bytes: Vec<u8>) -> (Counted, Drops) {
        let drops = Arc::new(AtomicUsize::new(0));
        (Counted { bytes, drops: drops.clone() }, Drops(drops))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        // What is read out of it from now on, or written from it, would be seen.
        self.bytes.fill(0xdd);
    }
}

impl Drops {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until the buffer has been freed, once.
    pub async fn once(&self) {
        until(|| self.count() > 0).await;
        turn().await;
        assert_eq!(self.count(), 1);
    }
}

// SAFETY: as the vector inside.
unsafe impl IoBuf for Counted {
    fn buf_ptr(&self) -> *const u8 {
        self.bytes.buf_ptr()
    }
    fn buf_len(&self) -> usize {
        self.bytes.buf_len()
    }
}

// SAFETY: as the vector inside.
unsafe impl IoBufMut for Counted {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.buf_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.bytes.buf_capacity()
    }
    unsafe fn set_buf_len(&mut self, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.bytes.set_buf_len(len) };
    }
}

/// An address where nobody listens, as long as a listener has the given one: no other may bind its port everywhere.
pub fn refusing(listening: SocketAddr) -> SocketAddr {
    SocketAddr::new([127, 9, 9, 9].into(), listening.port())
}

/// A socket option as the kernel has it.
pub fn option<T: Copy>(socket: &impl AsRawFd, level: i32, name: i32, mut value: T) -> T {
    let mut size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives over the call, its size is passed, and the callers use plain numbers.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut size) };
    assert_eq!(result, 0);
    value
}

/// Reads to the end.
pub async fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        all.reserve(65536);
        let before = all.len();
        let result;
        (result, all) = stream.read_append(all).await;
        assert_eq!(all.len(), before + *result.as_ref().unwrap());
        if all.len() == before {
            return all;
        }
    }
}

/// Waits for the peer to end, without blocking the loop, and gives what it has sent before.
pub async fn rest_of(mut peer: std::net::TcpStream) -> Vec<u8> {
    peer.set_read_timeout(Some(seconds(50))).unwrap();
    let read = move || {
        let mut all = Vec::new();
        io::Read::read_to_end(&mut peer, &mut all).map(|_| all)
    };
    ringtoss::spawn_blocking(read).await.unwrap().unwrap()
}
