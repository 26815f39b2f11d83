//! The task's promises, tested on a loop that has no ring.
#![allow(clippy::waker_clone_wake, reason = "cloning a waker and consuming the clone are among the things tested")]

mod abort;
mod join;
mod life;
mod main_waker;
mod panics;
mod references;
mod shutdown;
mod threads;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{MainWaker, Owner};
use crate::inbox::Inbox;
use crate::task::here::PRETENDED_ID;

/// A loop that is turned by hand. It is entered from `new` on, unless [`MiniLoop::outside`] says
/// otherwise.
struct MiniLoop {
    owner: Owner,
    main: MainWaker,
    inbox: Arc<Inbox>,
}

impl MiniLoop {
    fn new() -> MiniLoop {
        // Far from the ids of real loops, which count from 1.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1 << 40);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let inbox = Inbox::new(id).unwrap();
        let main = MainWaker::new(Arc::clone(&inbox));
        let mini = MiniLoop { owner: Owner::new(Arc::clone(&inbox)), main, inbox };
        assert_eq!(PRETENDED_ID.replace(id), 0, "one loop a thread");
        mini
    }

    /// Runs `f` as if the loop were not entered.
    fn outside<R>(&self, f: impl FnOnce() -> R) -> R {
        let id = PRETENDED_ID.replace(0);
        let result = f();
        PRETENDED_ID.set(id);
        result
    }

    /// Runs `f` as if the loop were entered, or not.
    fn at<R>(&self, here: bool, f: impl FnOnce() -> R) -> R {
        if here { f() } else { self.outside(f) }
    }

    /// One turn; how many tasks were polled.
    fn turn(&self) -> usize {
        self.owner.take_remote();
        self.owner.run_ready(usize::MAX).polls
    }

    /// Turns until nothing is ready.
    fn settle(&self) {
        while self.turn() > 0 {}
    }

    /// Turns, and sleeps on the eventfd, until `future` is ready.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let waker = self.main.waker();
        self.main.wake();
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if self.main.take_woken()
                && let Poll::Ready(output) = future.as_mut().poll(&mut cx)
            {
                return output;
            }
            self.turn();
            let _anew = self.inbox.announce_sleep();
            if !self.main.is_woken() && !self.owner.has_ready() && self.owner.remote_is_empty() {
                sleep_on(&self.inbox);
            }
            self.inbox.announce_awake();
        }
    }
}

impl Drop for MiniLoop {
    fn drop(&mut self) {
        self.owner.shutdown();
        self.main.close();
        PRETENDED_ID.set(0);
    }
}

/// A waker of somebody else's.
struct RootWaker {
    woken: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for RootWaker {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.inbox.kick();
    }
}

/// Waits for a kick; fails if none comes, because then a wake-up was lost.
#[cfg(not(miri))]
fn sleep_on(inbox: &Inbox) {
    let mut poll = libc::pollfd { fd: inbox.eventfd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd, and eight writable bytes.
    unsafe {
        assert_eq!(libc::poll(&mut poll, 1, 10_000), 1, "a wake-up was lost");
        let mut count = 0u64;
        assert_eq!(libc::read(poll.fd, (&raw mut count).cast(), 8), 8);
    }
}

/// Miri has no poll(2).
#[cfg(miri)]
fn sleep_on(_: &Inbox) {
    std::thread::yield_now();
}

/// Polls `future` once with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a handle whose task has ended.
fn output<F: Future + Unpin>(mut handle: F) -> F::Output {
    match poll_once(&mut handle) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the task has not ended"),
    }
}

/// Counts the drops of its [`Guard`]s, and remembers the thread of the last.
#[derive(Clone, Default)]
struct Drops(Arc<(AtomicUsize, std::sync::Mutex<Option<std::thread::ThreadId>>)>);

impl Drops {
    fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    fn count(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn thread(&self) -> Option<std::thread::ThreadId> {
        *self.0.1.lock().unwrap()
    }
}

struct Guard(Drops);

impl Drop for Guard {
    fn drop(&mut self) {
        *self.0.0.1.lock().unwrap() = Some(std::thread::current().id());
        self.0.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(self.0);
    }
}

/// Pending until it is opened; gives away its wakers.
#[derive(Clone, Default)]
struct Latch(Arc<LatchInner>);

#[derive(Default)]
struct LatchInner {
    open: AtomicBool,
    polls: AtomicUsize,
    waker: std::sync::Mutex<Option<Waker>>,
}

impl Latch {
    fn open(&self) {
        self.0.open.store(true, Ordering::Relaxed);
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    fn take_waker(&self) -> Option<Waker> {
        self.0.waker.lock().unwrap().take()
    }

    fn polls(&self) -> usize {
        self.0.polls.load(Ordering::Relaxed)
    }
}

impl Future for Latch {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.polls.fetch_add(1, Ordering::Relaxed);
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        if self.0.open.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}
