//! What the tests share.

#[path = "../patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use ringtoss::buf::{IoBuf, IoBufMut};
use ringtoss::op::{self, Operation, Raw, Sqe};

pub use patience::{no_children, often, patience, run, starting_a_child};

/// Ends the process with these words if what it stands for lives too long.
pub fn watchdog(what: &'static str) -> std::sync::mpsc::Sender<()> {
    let (alive, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(patience()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{what}");
            std::process::abort();
        }
    });
    alive
}

/// How often buffers were made and dropped.
#[derive(Clone, Default)]
pub struct Count(Arc<[AtomicUsize; 2]>);

impl Count {
    pub fn made(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    pub fn dropped(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }

    pub fn buffer(&self) -> Buffer {
        self.0[0].fetch_add(1, Ordering::SeqCst);
        Hooked::new(64, Counts(self.clone()))
    }
}

/// A buffer that counts how often it is dropped.
pub type Buffer = Hooked<Counts>;

pub struct Counts(Count);

impl Hook for Counts {}

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// What a buffer does besides.
pub trait Hook: 'static {
    /// When it is asked where its bytes are.
    fn asked(&self) {}
    /// When it is asked where to write.
    fn asked_to_write(&self) {}
}

/// A boxed slice that does something besides: when it is dropped, too.
pub struct Hooked<H> {
    /// Dropped first, as the bytes are there as long as they may be used.
    hook: H,
    pub bytes: Box<[u8]>,
}

impl<H: Hook> Hooked<H> {
    pub fn new(len: usize, hook: H) -> Hooked<H> {
        Hooked { hook, bytes: vec![0; len].into_boxed_slice() }
    }
}

// SAFETY: everything is the boxed slice's.
unsafe impl<H: Hook> IoBuf for Hooked<H> {
    fn buf_ptr(&self) -> *const u8 {
        self.hook.asked();
        self.bytes.buf_ptr()
    }
    fn buf_len(&self) -> usize {
        self.bytes.buf_len()
    }
}

// SAFETY: everything is the boxed slice's.
unsafe impl<H: Hook> IoBufMut for Hooked<H> {
    fn buf_mut_ptr(&mut self) -> *mut u8 {
        self.hook.asked_to_write();
        self.bytes.buf_mut_ptr()
    }
    fn buf_capacity(&self) -> usize {
        self.bytes.buf_capacity()
    }
    unsafe fn set_buf_len(&mut self, _len: usize) {}
}

/// A pipe.
pub struct Pipe {
    pub reader: Arc<OwnedFd>,
    pub writer: std::fs::File,
}

pub fn pipe() -> Pipe {
    let (reader, writer) = std::io::pipe().unwrap();
    Pipe { reader: Arc::new(reader.into()), writer: OwnedFd::from(writer).into() }
}

impl Pipe {
    pub fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).unwrap();
    }

    /// A read by hand, which keeps buffer and descriptor.
    pub fn read(&self, mut buffer: Buffer) -> RawRead {
        let entry = Sqe::new(22) // IORING_OP_READ
            .fd(self.reader.as_raw_fd())
            .addr(buffer.buf_mut_ptr() as u64)
            .len(buffer.buf_capacity() as u32)
            .offset(u64::MAX);
        // SAFETY: the entry's address is the buffer's, which is kept, and so is the descriptor.
        unsafe { op::submit(entry, (buffer, self.reader.clone())) }
    }
}

pub type RawRead = Operation<'static, Raw<(Buffer, Arc<OwnedFd>)>>;

/// Polls once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Polls once, and lets the loop turn until it would be polled again: what it waits for has come, and was not taken.
pub async fn poll_until_woken<F: Future + Unpin>(future: &mut F) {
    struct Flag(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let flag = Arc::new(Flag(false.into()));
    let waker = flag.clone().into();
    assert!(Pin::new(future).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    until(|| flag.0.load(Ordering::SeqCst)).await;
}

/// Lets the loop turn until something holds.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        op::nop().await.unwrap();
    }
}

/// Runs a test on a thread of its own, for a bounded time: for those whose failure would be a loop that hangs.
pub fn bounded(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(patience()) {
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("stuck"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}
