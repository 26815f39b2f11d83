//! What calls that are made on other threads, the kernel's or our own, keep of an object until they are over: its
//! descriptor, or a place among its dropped writes.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Lane, Salvage};
use crate::slot::Key;

/// A close that waits.
pub(super) struct Deferred(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Deferred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deferred")
    }
}

impl Salvage {
    /// Keeps a descriptor open until the hold is dropped.
    pub(crate) fn hold(self: &Arc<Salvage>, fd: RawFd) -> Hold {
        self.lock().held.push(fd);
        Hold { salvage: self.clone(), fd }
    }

    pub(crate) fn is_held(&self, fd: RawFd) -> bool {
        self.lock().held.contains(&fd)
    }

    /// Closes a descriptor now, or when it is held no more.
    pub(crate) fn close_when_free(&self, fd: RawFd, close: impl FnOnce() + Send + 'static) {
        let mut inner = self.lock();
        if inner.held.contains(&fd) {
            return inner.closes.push((fd, Deferred(Box::new(close))));
        }
        drop(inner);
        close();
    }
}

/// Keeps a descriptor open for an operation that the kernel gives to a worker thread of its own before it has looked the
/// number up: a close behind it would not be behind it, and what it does would be done to whoever gets the number. It is
/// part of the operation's value; one that is leaked leaks the descriptor.
#[derive(Debug)]
pub(crate) struct Hold {
    salvage: Arc<Salvage>,
    fd: RawFd,
}

impl Hold {
    pub(crate) fn raw(&self) -> RawFd {
        self.fd
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.salvage.lock();
        let index = inner.held.iter().position(|&fd| fd == self.fd).expect("held until here");
        inner.held.swap_remove(index);
        if inner.held.contains(&self.fd) {
            return;
        }
        let Some(index) = inner.closes.iter().position(|&(fd, _)| fd == self.fd) else { return };
        let (_, Deferred(close)) = inner.closes.swap_remove(index);
        drop(inner);
        close();
    }
}

/// A place among the dropped writes of an object, for a call that is made on another thread and that they and what comes
/// after them must be kept apart from. Given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Stake {
    salvage: Arc<Salvage>,
    key: Key,
}

impl Stake {
    pub(crate) fn new(salvage: Arc<Salvage>) -> Stake {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // No loop has the id 0, so nobody takes it for an operation; 0 and 0 is one that was never submitted.
        let key = Key { index: 0, generation: NEXT.fetch_add(1, Ordering::Relaxed) };
        salvage.orphaned(0, key, Lane::WriteAt { start: 0, end: u64::MAX });
        Stake { salvage, key }
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        self.salvage.settle(0, self.key, [None, None]);
    }
}
