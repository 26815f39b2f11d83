//! What other threads hand a loop, and how they wake it.
//!
//! Each loop has one [`Inbox`], shared by `Arc`. Three things are in it: a queue of mail, a gate
//! through which mail must pass, and the announcement that the loop sleeps.
//!
//! # The gate
//!
//! A loop that ends must be able to say "nothing comes in from here on" and mean it: whatever was
//! accepted is drained, whatever was not comes back to its sender. A flag beside the queue cannot
//! do that, because a sender may read the flag, stop, and push long after the loop drained. So the
//! gate counts the senders that are inside, in the same word as the closed bit. [`Inbox::close`]
//! sets the bit, after which nobody gets in, and waits until all who were inside have left. A
//! sender is inside only for the length of a push, so the wait is short.
//!
//! # Sleeping
//!
//! A wake-up costs a system call, and a loop that is awake does not need it. So the loop announces
//! that it is about to sleep, and only then do senders kick it:
//!
//! ```text
//! the loop                         a sender
//! sleeping = true                  queue.push(mail)
//! fence(SeqCst)                    fence(SeqCst)
//! all queues empty? then sleep     sleeping? then swap it to false, and kick if it was true
//! ```
//!
//! One of the two fences comes first in the order of all of them. If the loop's does, the sender
//! reads `sleeping == true` (or a value that a later party wrote, see below) and kicks. If the
//! sender's does, the loop's look at the queue finds the mail. Either way nothing is lost. A sender
//! that finds `false` after the loop's fence found what another sender's swap or the loop's own
//! waking wrote: the kick is under way, or the loop is awake and looks before it sleeps again.
//!
//! A loop that looks for a while before it sleeps (`Builder::spin`) has not announced anything meanwhile, so nobody kicks it,
//! and after its last look it announces and looks again like any other.
//!
//! A loop to which nobody has anything to say need not say that it is awake, and so need not announce anew: the announcement
//! *stands*. Whoever comes then kicks a loop that may be awake, once, for with that the announcement is over. So a loop that finds it
//! standing need not look again: what was left after its last look has kicked, or is about to. It may find it so though somebody
//! has just taken it back, but not once it has met the completion by which that one kicks, whose way through the kernel comes
//! after the swap; and until it has, that completion ends the sleep.
//!
//! The swap makes it one kick per sleep, however many senders there are. A sender that was delayed
//! between its look and its swap may kick the *next* sleep, for nothing; that costs one idle turn.
//! The models in `inbox/loom_tests.rs` check all of this.
#![allow(unsafe_code)]

mod event;
pub(crate) mod sync;

#[cfg(all(test, loom, not(shuttle)))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::mail::Mail;
use event::Event;
use sync::{AtomicBool, AtomicUsize, Ordering, Queue, fence, yield_thread};

/// Set in the gate once no more mail is taken. Never cleared.
const CLOSED: usize = 1;
/// What one sender inside the gate adds to it.
const SENDER: usize = 2;

/// Where other threads leave what they want of a loop. See the module's text.
pub(crate) struct Inbox<M = Mail> {
    id: u64,
    /// [`CLOSED`], and [`SENDER`] for each sender that is inside.
    gate: AtomicUsize,
    /// Written by the loop (both values) and by the sender that kicks (false).
    sleeping: AtomicBool,
    mail: Queue<M>,
    event: Event,
}

impl<M> Inbox<M> {
    /// Makes the inbox of the loop `id`, which must be neither 0 nor the id of any other loop that
    /// this process ever had. Fails when there is no descriptor to be had.
    pub(crate) fn new(id: u64) -> io::Result<Arc<Inbox<M>>> {
        assert_ne!(id, 0, "0 means that no loop is entered");
        Ok(Arc::new(Inbox {
            id,
            gate: AtomicUsize::new(0),
            sleeping: AtomicBool::new(false),
            mail: Queue::new(),
            event: Event::new()?,
        }))
    }

    /// The id of the loop.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The descriptor that becomes readable when the loop is kicked.
    pub(crate) fn eventfd(&self) -> RawFd {
        self.event.fd()
    }

    /// Leaves `mail` for the loop and wakes it if it sleeps. Gives it back when the inbox is
    /// closed; there is nothing between the two.
    pub(crate) fn post(&self, mail: M) -> Result<(), M> {
        match self.enter() {
            Some(posting) => {
                posting.push(mail);
                Ok(())
            }
            None => Err(mail),
        }
    }

    /// Passes the gate. `None` when the inbox is closed. [`Inbox::close`] waits while a [`Posting`]
    /// lives, so hold it for a push and no longer, and run no user code meanwhile.
    pub(crate) fn enter(&self) -> Option<Posting<'_, M>> {
        let mut gate = self.gate.load(Ordering::Relaxed);
        loop {
            if gate & CLOSED != 0 {
                return None;
            }
            // A loop rather than an add that is taken back when it came too late: late senders
            // must not be able to keep `close` waiting.
            match self.gate.compare_exchange_weak(gate, gate + SENDER, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Posting { inbox: self }),
                Err(now) => gate = now,
            }
        }
    }

    /// Takes the oldest mail. For the loop.
    pub(crate) fn pop(&self) -> Option<M> {
        self.mail.pop()
    }

    /// Whether there is no mail.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.mail.is_empty()
    }

    /// Says that the loop is about to sleep. Whether it had to be said: then the loop must look at all its queues afterwards, and
    /// sleep only if they are empty. The fence that must stand between the two is in here. If not, the last announcement
    /// stands still: nobody has called since, and whoever has left something that the loop has not seen is about to.
    #[must_use = "it says whether to look again"]
    pub(crate) fn announce_sleep(&self) -> bool {
        if self.sleeping.load(Ordering::Relaxed) {
            return false;
        }
        // Models swap, because loom knows of a swap that it comes after every earlier change of the flag. (Of a store it does not
        // see that a sender's late swap, having read the `false` of the last waking, cannot come after this `true`.)
        #[cfg(all(test, loom))]
        self.sleeping.swap(true, Ordering::Relaxed);
        #[cfg(not(all(test, loom)))]
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        true
    }

    /// Says that the loop does not sleep (any more), so that nobody kicks it.
    pub(crate) fn announce_awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Wakes the loop if it announced sleep and nobody has kicked it since. Call it after the push
    /// that the loop is to see.
    pub(crate) fn kick(&self) {
        fence(Ordering::SeqCst);
        // The plain load first: a loop that is awake costs its senders no write to a shared line.
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            self.event.signal();
        }
    }

    /// Takes no more mail, and waits for the senders that are inside the gate. What they pushed is
    /// there to [`pop`](Inbox::pop) when this returns. For the loop, at its end.
    pub(crate) fn close(&self) {
        self.gate.fetch_or(CLOSED, Ordering::Relaxed);
        // Acquire pairs with the release in `Posting::drop`: their pushes happened before this.
        while self.gate.load(Ordering::Acquire) != CLOSED {
            yield_thread();
        }
    }
}

#[cfg(all(test, loom))]
impl<M> Inbox<M> {
    /// What models do in place of entering the kernel.
    pub(crate) fn wait(&self) {
        self.event.wait();
    }

    /// A kick that does not ask whether anybody sleeps.
    pub(crate) fn signal(&self) {
        self.event.signal();
    }
}

/// The right to leave mail, got by passing the gate. Dropping it leaves the gate and wakes the loop
/// if it sleeps.
pub(crate) struct Posting<'inbox, M = Mail> {
    inbox: &'inbox Inbox<M>,
}

impl<M> Posting<'_, M> {
    /// Leaves `mail` for the loop.
    pub(crate) fn push(&self, mail: M) {
        self.inbox.mail.push(mail);
    }
}

impl<M> Drop for Posting<'_, M> {
    fn drop(&mut self) {
        let before = self.inbox.gate.fetch_sub(SENDER, Ordering::Release);
        debug_assert!(before >= SENDER, "left the gate without having entered");
        self.inbox.kick();
    }
}
