//! What a sleeping loop waits on: an eventfd, or under loom a notification that loom understands.

#[cfg(not(all(test, loom)))]
pub(crate) use real::Event;

#[cfg(all(test, loom))]
pub(crate) use model::Event;

#[cfg(not(all(test, loom)))]
mod real {
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

    /// An [eventfd](https://man7.org/linux/man-pages/man2/eventfd.2.html), non-blocking.
    pub(crate) struct Event(OwnedFd);

    impl Event {
        pub(crate) fn new() -> io::Result<Event> {
            // SAFETY: eventfd takes two integers and touches no memory of ours.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
            Ok(Event(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub(crate) fn fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        /// Adds one to the counter, which wakes whoever polls the descriptor.
        ///
        /// The result is ignored on purpose. The only failure there is (`EAGAIN`) means that the
        /// counter is full, so that the descriptor is readable already.
        pub(crate) fn signal(&self) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the buffer is eight readable bytes that live until the call returns, and the
            // descriptor is open because `self` owns it.
            unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::{Condvar, Mutex};
    use std::io;
    use std::os::fd::RawFd;

    /// A counter to wait on. Waiting for a signal that never comes is a deadlock, which loom finds.
    pub(crate) struct Event {
        signals: Mutex<usize>,
        raised: Condvar,
    }

    impl Event {
        pub(crate) fn new() -> io::Result<Event> {
            Ok(Event {
                signals: Mutex::new(0),
                raised: Condvar::new(),
            })
        }

        pub(crate) fn fd(&self) -> RawFd {
            -1
        }

        pub(crate) fn signal(&self) {
            *self.signals.lock().unwrap() += 1;
            self.raised.notify_one();
        }

        /// Waits until there was a signal, and takes all there were: how many.
        pub(crate) fn wait(&self) -> usize {
            let mut signals = self.signals.lock().unwrap();
            while *signals == 0 {
                signals = self.raised.wait(signals).unwrap();
            }
            std::mem::take(&mut *signals)
        }

        pub(crate) fn signals(&self) -> usize {
            *self.signals.lock().unwrap()
        }
    }
}
