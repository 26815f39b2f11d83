//! `AsyncFd`.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use super::{Interest, Ready};
use crate::op::{Operation, PollReady};
use crate::sys;

/// The readiness of a descriptor that is not ours: inotify, netlink, timerfd, a C library's. What it is ready for is then
/// done by system calls of the caller's, which should not block: `O_NONBLOCK`. What is only read by `read(2)` (inotify,
/// timerfd) needs none of this: [`fs::File::from(fd)`](crate::fs::File) reads it through the ring, waits where there is
/// nothing, and a dropped read loses no event.
///
/// The names are tokio's; how it works differs. Nothing is registered, and no readiness is remembered: each wait is an
/// `IORING_OP_POLL_ADD` of its own, which asks the kernel *now*, as `poll(2)` would, and completes at once if the
/// descriptor is ready. So readiness is never stale, [`clear_ready`](AsyncFdReadyGuard::clear_ready) has nothing to clear
/// but the guard, any number of tasks may wait on any number of loops, and each wait costs an entry. What
/// cannot be polled (a regular file) is always ready.
///
/// A multishot poll would save an entry a wait, 0.16 of about 1.2 µs with the two calls that the wait is for (measured on Linux
/// 6.18). It tells of changes, not of states, so readiness would have to be remembered, shared between those who wait, and
/// cleared, as tokio's; and it posts a completion for each change that nobody waits for. That is not worth it.
///
/// A wait may be dropped at any moment; nothing is consumed by it.
///
/// ```
/// # ringtoss::block_on(async {
/// use std::io::{Read, Write};
/// use ringtoss::io::AsyncFd;
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let reader = AsyncFd::new(reader)?;
/// writer.write_all(b"x")?;
/// let mut guard = reader.readable().await?;
/// let count = guard.try_io(|fd| fd.get_ref().read(&mut [0; 16])).expect("it is readable")?;
/// assert_eq!(count, 1);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct AsyncFd<T: AsFd> {
    // Before the descriptor, so that what is staged is made void before that is closed.
    reads: Waiting,
    writes: Waiting,
    interest: Interest,
    inner: T,
}

/// A wait that `poll_read_ready` or `poll_write_ready` has begun.
type Waiting = Mutex<Option<Operation<'static, PollReady>>>;

impl<T: AsFd> AsyncFd<T> {
    /// Wraps a descriptor, to be waited for in both directions.
    ///
    /// # Errors
    /// None; the signature is tokio's. A descriptor that is not open is told by the first wait (`EBADF`).
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        AsyncFd::with_interest(inner, Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY | Interest::ERROR)
    }

    /// Wraps a descriptor that is waited for in these ways only.
    ///
    /// # Errors
    /// None, as [`AsyncFd::new`].
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        Ok(AsyncFd { reads: Waiting::default(), writes: Waiting::default(), interest, inner })
    }

    /// What is inside.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// What is inside.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// What is inside.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Waits until it is ready for any of these: `IORING_OP_POLL_ADD`, `poll(2)`.
    ///
    /// # Errors
    /// Those of `poll(2)` (`EBADF`); `InvalidInput` for what was not in
    /// [`with_interest`](AsyncFd::with_interest).
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        let ready = self.wait(interest).await?;
        Ok(AsyncFdReadyGuard { async_fd: self, ready })
    }

    /// The same with a guard that can change what is inside.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub async fn ready_mut(&mut self, interest: Interest) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        let ready = self.wait(interest).await?;
        Ok(AsyncFdReadyMutGuard { async_fd: self, ready })
    }

    /// Waits until it can be read from: [`ready`](AsyncFd::ready) with [`Interest::READABLE`].
    ///
    /// # Errors
    /// As there.
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::READABLE).await
    }

    /// The same with a guard that can change what is inside.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub async fn readable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::READABLE).await
    }

    /// Waits until it can be written to: [`ready`](AsyncFd::ready) with [`Interest::WRITABLE`].
    ///
    /// # Errors
    /// As there.
    pub async fn writable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// The same with a guard that can change what is inside.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub async fn writable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::WRITABLE).await
    }

    /// Waits until it is ready and calls `io`, again and again until that does not fail with `WouldBlock`.
    ///
    /// Dropped, it is between two calls: what a call has done was given to whoever wrote it.
    ///
    /// # Errors
    /// Those of `io`, and as [`ready`](AsyncFd::ready).
    pub async fn async_io<R>(&self, interest: Interest, mut io: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        loop {
            self.wait(interest).await?;
            match io(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// The same with a call that can change what is inside.
    ///
    /// # Errors
    /// As [`async_io`](AsyncFd::async_io).
    pub async fn async_io_mut<R>(
        &mut self,
        interest: Interest,
        mut io: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            self.wait(interest).await?;
            match io(&mut self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Whether it can be read from; if not, the task is woken when it can be. For hand-written futures: of several tasks that
    /// poll it, only the last is woken, as with tokio.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub fn poll_read_ready<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let ready = ready!(self.poll_wait(&self.reads, Interest::READABLE, cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { async_fd: self, ready }))
    }

    /// The same with a guard that can change what is inside.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub fn poll_read_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let ready = ready!(self.poll_wait(&self.reads, Interest::READABLE, cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { async_fd: self, ready }))
    }

    /// Whether it can be written to; see [`poll_read_ready`](AsyncFd::poll_read_ready).
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub fn poll_write_ready<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let ready = ready!(self.poll_wait(&self.writes, Interest::WRITABLE, cx))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { async_fd: self, ready }))
    }

    /// The same with a guard that can change what is inside.
    ///
    /// # Errors
    /// As [`ready`](AsyncFd::ready).
    pub fn poll_write_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let ready = ready!(self.poll_wait(&self.writes, Interest::WRITABLE, cx))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard { async_fd: self, ready }))
    }

    /// Calls `io` if it is ready now: `poll(2)`, a direct call that does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if it is not ready; those of `io`.
    pub fn try_io<R>(&self, interest: Interest, io: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.must_be_ready(interest)?;
        io(&self.inner)
    }

    /// The same with a call that can change what is inside.
    ///
    /// # Errors
    /// As [`try_io`](AsyncFd::try_io).
    pub fn try_io_mut<R>(&mut self, interest: Interest, io: impl FnOnce(&mut T) -> io::Result<R>) -> io::Result<R> {
        self.must_be_ready(interest)?;
        io(&mut self.inner)
    }

    fn must_be_ready(&self, interest: Interest) -> io::Result<()> {
        let ready = sys::is_ready(self.as_raw_fd(), interest.events());
        if ready { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn operation(&self, interest: Interest) -> io::Result<Operation<'static, PollReady>> {
        if !self.interest.includes(interest) {
            let reason = "waiting for what this AsyncFd was not made for: see `with_interest`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(Operation::<PollReady>::new(PollReady::new(self.as_raw_fd(), interest.events())))
    }

    async fn wait(&self, interest: Interest) -> io::Result<Ready> {
        self.operation(interest)?.await.map(Ready::from_events)
    }

    fn poll_wait(&self, waiting: &Waiting, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        // Polled outside the lock: wakers are anybody's code.
        let begun = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut operation = match begun {
            Some(operation) => operation,
            None => self.operation(interest)?,
        };
        match Pin::new(&mut operation).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map(Ready::from_events)),
            Poll::Pending => {
                let other = waiting.lock().unwrap_or_else(PoisonError::into_inner).replace(operation);
                drop(other);
                Poll::Pending
            }
        }
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// That a descriptor was ready, and a way to try what it was waited for.
pub struct AsyncFdReadyGuard<'a, T: AsFd> {
    async_fd: &'a AsyncFd<T>,
    ready: Ready,
}

/// The same with a way to change what is inside.
pub struct AsyncFdReadyMutGuard<'a, T: AsFd> {
    async_fd: &'a mut AsyncFd<T>,
    ready: Ready,
}

/// What both kinds of guards do.
macro_rules! guard {
    ($name:ident, $($mutable:tt)?) => {
        impl<'a, T: AsFd> $name<'a, T> {
            /// Calls `io`, which should not block.
            ///
            /// # Errors
            /// [`TryIoError`] if it failed with `WouldBlock`: it was not ready after all, or not any more. Then wait again.
            pub fn try_io<R>(
                &mut self,
                io: impl FnOnce(& $($mutable)? AsyncFd<T>) -> io::Result<R>,
            ) -> Result<io::Result<R>, TryIoError> {
                match io(& $($mutable)? *self.async_fd) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.clear_ready();
                        Err(TryIoError(()))
                    }
                    result => Ok(result),
                }
            }

            /// What it was ready for.
            pub fn ready(&self) -> Ready {
                self.ready
            }

            /// Forgets that it was ready. Nothing else remembers it: the next wait asks the kernel.
            pub fn clear_ready(&mut self) {
                self.ready = Ready::EMPTY;
            }

            /// Forgets a part of what it was ready for, in the same way.
            pub fn clear_ready_matching(&mut self, ready: Ready) {
                self.ready = self.ready - ready;
            }

            /// Leaves it as it is.
            pub fn retain_ready(&mut self) {}

            /// What was waited for.
            pub fn get_ref(&self) -> &AsyncFd<T> {
                &*self.async_fd
            }

            /// What is inside that.
            pub fn get_inner(&self) -> &T {
                self.async_fd.get_ref()
            }
        }

        impl<T: AsFd + fmt::Debug> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut debug = f.debug_struct(stringify!($name));
                debug.field("async_fd", &*self.async_fd).field("ready", &self.ready).finish()
            }
        }
    };
}

guard!(AsyncFdReadyGuard,);
guard!(AsyncFdReadyMutGuard, mut);

impl<T: AsFd> AsyncFdReadyMutGuard<'_, T> {
    /// What was waited for.
    pub fn get_mut(&mut self) -> &mut AsyncFd<T> {
        self.async_fd
    }

    /// What is inside that.
    pub fn get_inner_mut(&mut self) -> &mut T {
        self.async_fd.get_mut()
    }
}

/// It was not ready after all.
#[derive(Debug)]
pub struct TryIoError(());

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call would have blocked")
    }
}

impl Error for TryIoError {}
