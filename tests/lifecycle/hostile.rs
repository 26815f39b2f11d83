//! What nobody sane does, and what must be sound all the same: wakers that panic or reach back into the loop, drops on
//! other threads at the wrong moment, objects that end while mail about them is on its way.

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use ringtoss::EventLoop;
use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::op;

use crate::util::{Count, bounded, pipe, poll_once, run, until};

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

// ---- a full queue ---------------------------------------------------------------------------------------------

#[test]
fn a_queue_that_is_exactly_full_before_the_first_sleep_does_not_hang() {
    bounded(|| {
        for count in 1..=20 {
            let event_loop = EventLoop::builder().submission_entries(8).build().unwrap();
            event_loop.block_on(async {
                let nops: Vec<_> = (0..count).map(|_| ringtoss::spawn(op::nop())).collect();
                for nop in nops {
                    nop.await.unwrap().unwrap();
                }
            });
            let event_loop = EventLoop::builder().submission_entries(8).build().unwrap();
            let mut nops: Vec<_> = (0..count).map(|_| op::nop()).collect();
            event_loop.block_on(poll_fn(|cx| {
                nops.retain_mut(|nop| Pin::new(nop).poll(cx).is_pending());
                if nops.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
        }
    });
}

// ---- mail that is on its way ----------------------------------------------------------------------------------

/// Polls a future once, then drops it on another thread, before the loop can see the mail.
fn drop_elsewhere<F: Future + Unpin + Send>(future: F) {
    std::thread::scope(|scope| scope.spawn(move || drop(future)).join().unwrap());
}

async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, peer)
}

// ---- wakers that misbehave ------------------------------------------------------------------------------------

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics, as the test wants it");
    }
}

/// A waker whose clones and drops run a piece of the test's.
struct Meddler {
    on_clone: Box<dyn Fn() + Send + Sync>,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

const MEDDLER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data is that of an `Arc<Meddler>` which the waker keeps.
        let this = unsafe { std::mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Meddler>())) };
        let clone = Arc::clone(&this);
        (this.on_clone)();
        RawWaker::new(Arc::into_raw(clone).cast(), &MEDDLER)
    },
    // SAFETY: as above; the waker is consumed.
    |data| drop(unsafe { Arc::from_raw(data.cast::<Meddler>()) }),
    |_| {},
    |data| {
        // SAFETY: as above; the waker is consumed.
        let this = unsafe { Arc::from_raw(data.cast::<Meddler>()) };
        (this.on_drop)();
    },
);

fn meddler(on_clone: impl Fn() + Send + Sync + 'static, on_drop: impl Fn() + Send + Sync + 'static) -> Waker {
    let data = Arc::into_raw(Arc::new(Meddler { on_clone: Box::new(on_clone), on_drop: Box::new(on_drop) }));
    // SAFETY: the functions fulfil the contract: the data is a counted `Arc`, and everything in it is Send and Sync.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &MEDDLER)) }
}

/// Does what a waker's owner may do: use the loop.
fn use_the_loop() {
    let mut nop = op::nop();
    let _ = poll_with(&mut nop, Waker::noop());
    drop(nop);
    ringtoss::metrics();
}

// ---- the position of a shared file ----------------------------------------------------------------------------

// ---- descriptors ----------------------------------------------------------------------------------------------

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
