//! What a sleeping loop waits on: an eventfd, or in models a notification that they understand.

#[cfg(not(all(test, loom)))]
pub(crate) use real::Event;

#[cfg(all(test, loom))]
pub(crate) use model::Event;

#[cfg(not(all(test, loom)))]
mod real {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};

    use crate::sys;

    /// An [eventfd](https://man7.org/linux/man-pages/man2/eventfd.2.html), non-blocking.
    pub(crate) struct Event(OwnedFd);

    impl Event {
        pub(crate) fn new() -> io::Result<Event> {
            sys::eventfd().map(Event)
        }

        pub(crate) fn fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        /// Adds one to the counter, which wakes whoever polls the descriptor.
        pub(crate) fn signal(&self) {
            sys::eventfd_signal(&self.0);
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::io;
    use std::os::fd::RawFd;

    use crate::inbox::sync::{Condvar, Mutex};

    /// A counter to wait on. Waiting for a signal that never comes is a deadlock, which models find.
    pub(crate) struct Event {
        signals: Mutex<usize>,
        raised: Condvar,
    }

    impl Event {
        pub(crate) fn new() -> io::Result<Event> {
            Ok(Event { signals: Mutex::new(0), raised: Condvar::new() })
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

        /// Takes all signals there are, as a loop does that comes upon their completion before it sleeps.
        pub(crate) fn take(&self) -> usize {
            std::mem::take(&mut *self.signals.lock().unwrap())
        }

        pub(crate) fn signals(&self) -> usize {
            *self.signals.lock().unwrap()
        }
    }
}
