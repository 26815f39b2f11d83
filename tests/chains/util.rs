//! What the tests share.

#[path = "../patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};

pub use patience::*;

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Lets the loop go round, so that what was staged is with the kernel, and what the kernel had is here.
pub async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Awaits a future and counts how often it was woken.
pub async fn count_wakes<F: Future + Unpin>(mut future: F) -> (F::Output, usize) {
    struct Counter(AtomicUsize, std::task::Waker);
    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.wake_by_ref();
        }
    }
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let counter = Arc::new(Counter(AtomicUsize::new(0), waker));
    let counting = counter.clone().into();
    let output = poll_fn(|_| Pin::new(&mut future).poll(&mut Context::from_waker(&counting))).await;
    (output, counter.0.load(Ordering::SeqCst))
}

/// An empty file without a name.
pub fn unnamed() -> File {
    File::from_std(tempfile::tempfile().unwrap())
}

/// What the file holds.
pub async fn content(file: &File) -> Vec<u8> {
    let (result, bytes) = file.read_at(Vec::with_capacity(1 << 20), 0).await;
    result.unwrap();
    bytes
}

/// Two ends of a connection.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connecting = ringtoss::spawn(TcpStream::connect(address));
    let accepted = listener.accept().await.unwrap().0;
    (accepted, connecting.await.unwrap().unwrap())
}

/// The `errno` of what failed.
#[track_caller]
pub fn errno<T>(result: &io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.raw_os_error().unwrap_or_else(|| panic!("{error:?}")),
    }
}

pub const CANCELLED: i32 = 125;
