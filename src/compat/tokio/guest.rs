//! A guest of tokio's: the task that turns it.
//!
//! The loop stays in the thread that made it, so the task has only its id and finds it by a thread-local: that makes the task
//! `Send`, as a runtime's tasks must be, and lets it say so where it is polled on a thread that has not got the loop.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};

use crate::driver::Metrics;
use crate::event_loop::{Builder, Guest as Loop, Handle};
use crate::task::JoinHandle;

/// So many polls of its own tasks a turn makes before tokio's have theirs.
const BUDGET: usize = 128;

thread_local! {
    /// The guest of this thread.
    static GUEST: RefCell<Weak<Inner>> = const { RefCell::new(Weak::new()) };
}

/// A `ringtoss` loop inside tokio, on the thread that runs the tasks: what this crate offers may be awaited from any of them.
///
/// A tokio program gets ring file I/O in one corner without leaving its runtime, and moves over piece by piece: see
/// `docs/porting.md`.
///
/// ```
/// use ringtoss::EventLoop;
/// use ringtoss::compat::tokio::Guest;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// runtime.block_on(async {
///     let _guest = Guest::start(&EventLoop::builder())?;
///     // A task of tokio's, `Send`, that reads through the ring.
///     let name = tokio::spawn(async { ringtoss::fs::read_to_string("/proc/self/comm").await });
///     assert!(!name.await??.is_empty());
///     Ok(())
/// })
/// # }
/// ```
///
/// # Which runtime
/// One whose tasks stay on a thread: the current-thread runtime ([`start`](Guest::start)), or a `LocalSet` of any runtime
/// ([`start_local`](Guest::start_local)). Tasks of a multi-threaded runtime, and calls by `spawn_blocking`, are run by threads
/// that have no loop: operations that are first polled there panic and say so. They reach the guest through its
/// [`handle`](Guest::handle), whose `spawn` gives what may be awaited anywhere. An operation that was begun on the guest's
/// thread and is polled on another goes on and wakes whoever polled it last.
///
/// If another thread takes over a current-thread runtime (by its own `block_on`), the loop stays behind: the guest's task panics
/// and says so.
///
/// # Dropping it
/// In any order. With the guest, operations that are in flight are cancelled and waited for
/// ([`Builder::shutdown_timeout`]); tasks of tokio's that still wait for one find `ECANCELED`, and those that begin another
/// panic, because no loop is there. If the runtime goes first, nothing turns the guest any more, and dropping it ends what is
/// left.
pub struct Guest {
    inner: Rc<Inner>,
}

struct Inner {
    // Declared before the loop: the task ends before that does.
    alive: Arc<AtomicBool>,
    guest: Loop,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guest").field(&self.inner.guest).finish()
    }
}

impl Guest {
    /// Makes a loop with these settings and has a task of this current-thread runtime turn it.
    ///
    /// # Errors
    /// As [`Builder::build_guest`]; `Unsupported` if the runtime is not a current-thread one.
    ///
    /// # Panics
    /// Outside of a runtime, and if that was built without `enable_io`.
    pub fn start(settings: &Builder) -> io::Result<Guest> {
        if Runtime::current().runtime_flavor() != RuntimeFlavor::CurrentThread {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "an event loop stays on its thread, and tasks of this runtime do not: use a current-thread runtime, or \
                 `start_local` in a `LocalSet`, or a loop on a thread of its own and its `Handle`",
            ));
        }
        let (guest, turns) = Guest::make(settings)?;
        drop(tokio::spawn(turns));
        Ok(guest)
    }

    /// The same, turned by a task of the `LocalSet` that this is called in, whatever its runtime.
    ///
    /// # Errors
    /// As [`Builder::build_guest`].
    ///
    /// # Panics
    /// Outside of a `LocalSet`, and if the runtime was built without `enable_io`.
    pub fn start_local(settings: &Builder) -> io::Result<Guest> {
        let (guest, turns) = Guest::make(settings)?;
        drop(tokio::task::spawn_local(turns));
        Ok(guest)
    }

    fn make(settings: &Builder) -> io::Result<(Guest, Turns)> {
        let mut guest = settings.build_guest()?;
        guest.set_edge_triggered(true);
        // Its successor is not there in tokios of some months ago. An `OwnedFd` keeps its number, which is what it asks for.
        #[allow(deprecated)]
        let fd = AsyncFd::with_interest(guest.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        let alive = Arc::new(AtomicBool::new(true));
        let inner = Rc::new(Inner { alive: alive.clone(), guest });
        GUEST.with_borrow_mut(|here| *here = Rc::downgrade(&inner));
        Ok((Guest { inner }, Turns { alive, fd }))
    }

    /// A handle by which other threads reach the loop.
    pub fn handle(&self) -> Handle {
        self.inner.guest.handle()
    }

    /// Spawns a task onto the loop, not onto tokio. The future need not be `Send`.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.inner.guest.spawn(future)
    }

    /// What the loop has done so far.
    pub fn metrics(&self) -> Metrics {
        self.inner.guest.metrics()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Its task finds nothing any more, and ends. If that is what drops this, in a turn, it keeps the loop until that is
        // over.
        self.inner.alive.store(false, Ordering::Relaxed);
        let _ = GUEST.try_with(|here| here.take());
        self.inner.guest.wake_host();
    }
}

/// The task that turns a guest.
struct Turns {
    alive: Arc<AtomicBool>,
    fd: AsyncFd<OwnedFd>,
}

impl Turns {
    /// The guest, unless it is gone.
    fn guest(&self) -> Option<Rc<Inner>> {
        if !self.alive.load(Ordering::Relaxed) {
            return None;
        }
        let here = GUEST.with_borrow(Weak::upgrade).filter(|inner| Arc::ptr_eq(&inner.alive, &self.alive));
        let Some(inner) = here else {
            panic!(
                "ringtoss: the tokio runtime of this guest is run by another thread now, and an event loop stays on its \
                 own: nothing turns it any more. Run the runtime on one thread"
            );
        };
        Some(inner)
    }
}

impl Future for Turns {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(inner) = self.guest() else { return Poll::Ready(()) };
        inner.guest.wake_with(Some(cx.waker()));
        loop {
            match self.fd.poll_read_ready(cx) {
                // What comes from here on is another edge. Before the turn, so that none is missed.
                Poll::Ready(Ok(mut ready)) => ready.clear_ready(),
                // The runtime is shutting down.
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let more = inner.guest.turn(BUDGET);
        if !self.alive.load(Ordering::Relaxed) {
            // A task of its own has dropped it. Here it ends.
            return Poll::Ready(());
        }
        if more {
            // Woken when tokio has looked after its sockets and timers, and its tasks: waking it here would keep it from them
            // for dozens of turns.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        // It may be dropped on any thread, at the end of one, too.
        let here = GUEST.try_with(|here| here.try_borrow().ok().and_then(|here| here.upgrade())).ok().flatten();
        if let Some(inner) = here.filter(|inner| Arc::ptr_eq(&inner.alive, &self.alive)) {
            inner.guest.wake_with(None::<&Waker>);
        }
    }
}
