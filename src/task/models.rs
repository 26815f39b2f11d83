//! What the models of loom and of shuttle are made of: loops without a ring, wakers, and guards that count.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use super::here::PRETENDED_ID;
use super::{Owner, Scheduler};
use crate::inbox::Inbox;

/// A loop without a ring.
pub(super) struct ModelLoop {
    pub owner: Owner,
    pub inbox: Arc<Inbox>,
}

impl ModelLoop {
    /// To be made, run and ended on one thread of the model's.
    pub fn new(id: u64) -> ModelLoop {
        let inbox = Inbox::new(id).unwrap();
        PRETENDED_ID.with(|current| current.set(id));
        ModelLoop { owner: Owner::new(Arc::clone(&inbox)), inbox }
    }

    pub fn scheduler(&self) -> Arc<Scheduler> {
        Arc::clone(self.owner.scheduler())
    }

    pub fn turn(&self) {
        self.owner.take_remote();
        self.owner.run_ready(usize::MAX);
    }

    /// Turns, and sleeps where a real loop would, until no task is left. Its announcement that it sleeps stands from the second sleep on.
    pub fn run(&self) {
        let mut sleeps = 0;
        loop {
            self.turn();
            if self.owner.live_tasks() == 0 && self.owner.remote_is_empty() {
                return;
            }
            if self.owner.has_ready() {
                continue;
            }
            if self.inbox.announce_sleep() && !self.owner.remote_is_empty() {
                continue;
            }
            self.inbox.wait();
            if sleeps == 0 {
                self.inbox.announce_awake();
            }
            sleeps += 1;
        }
    }

    /// Ends the loop.
    pub fn close(self) {
        drop(self.owner);
        PRETENDED_ID.with(|id| id.set(0));
    }

    /// Ends the loop; every task must have been freed.
    pub fn end(self) {
        let scheduler = self.scheduler();
        self.close();
        assert_eq!(Arc::strong_count(&scheduler), 1, "a task was not freed");
    }
}

/// A place for the waker of a task. Nothing of loom's happens under the lock.
pub(super) type WakerPlace = Arc<Mutex<Option<Waker>>>;

pub(super) fn leave(place: &WakerPlace, cx: &Context<'_>) {
    let waker = cx.waker().clone();
    let old = place.lock().unwrap().replace(waker);
    drop(old);
}

pub(super) fn take(place: &WakerPlace) -> Option<Waker> {
    place.lock().unwrap().take()
}

/// Counts drops, and sees to it that they are on the thread of the loop on which they must be.
pub(super) struct Guard {
    drops: Arc<std::sync::atomic::AtomicUsize>,
    on_loop: Option<u64>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(on_loop) = self.on_loop {
            PRETENDED_ID.with(|id| assert_eq!(id.get(), on_loop, "dropped on another thread"));
        }
        self.drops.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
pub(super) struct Drops(Arc<std::sync::atomic::AtomicUsize>);

impl Drops {
    pub fn guard(&self, on_loop: Option<u64>) -> Guard {
        Guard { drops: Arc::clone(&self.0), on_loop }
    }

    pub fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// What another executor waits on: the event of an inbox that is used for nothing else.
pub(super) struct Parker(pub Arc<Inbox>);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.0.signal();
    }
}

/// Awaits something on a thread that is no loop.
pub(crate) fn drive<T>(future: impl Future<Output = T>) -> T {
    let inbox = Inbox::new(2).unwrap();
    let waker = Waker::from(Arc::new(Parker(Arc::clone(&inbox))));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => inbox.wait(),
        }
    }
}
