//! A signal that asks many tasks to stop, on any thread and under any executor.
//!
//! Tokens form a tree. A child holds its parent, so that the way from an ancestor down to it stays whole when the
//! tokens between are dropped; a parent knows its children weakly.
//!
//! A cancellation goes over the subtree three times: *close* every node, parents first, so that no child can be
//! linked any more; *flag* every node, children first, so that whoever sees a token cancelled sees its descendants
//! so; then empty the lists and wake who waited. Every step may be done twice. So a second canceller does not wait
//! for the first: it does what is left, and an emptied list tells it that all below is flagged.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::guard::wake_all;

struct Node {
    cancelled: AtomicBool,
    parent: Option<Parent>,
    links: Mutex<Links>,
}

struct Parent {
    node: Arc<Node>,
    /// The child's place in the parent's `children`, valid until that list is emptied.
    key: usize,
}

/// Who is to be told. A list that was emptied stays empty, so no key into it is ever used again: no child is linked to
/// a closed node, no waiter joins a flagged one, and the lists are emptied after both.
#[derive(Default)]
struct Links {
    closed: bool,
    wakers: Slab<Waker>,
    children: Slab<Weak<Node>>,
}

impl Node {
    fn new(cancelled: bool, parent: Option<Parent>) -> Node {
        let links = Mutex::new(Links { closed: cancelled, ..Links::default() });
        Node { cancelled: AtomicBool::new(cancelled), parent, links }
    }

    /// One lock is held at a time, and no user code runs under it.
    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Cancels the subtree. Without recursion, as trees may be deep.
    fn cancel(self: &Arc<Self>) {
        if self.is_cancelled() {
            return;
        }
        let mut nodes = vec![self.clone()];
        let mut next = 0;
        while let Some(node) = nodes.get(next).cloned() {
            let mut links = node.lock();
            links.closed = true;
            nodes.extend(links.children.iter().filter_map(|(_, child)| child.upgrade()));
            next += 1;
        }
        for node in nodes.iter().rev() {
            node.cancelled.store(true, Ordering::Release);
        }
        let mut wakers = Vec::new();
        for node in &nodes {
            let mut links = node.lock();
            links.children = Slab::new();
            wakers.extend(mem::take(&mut links.wakers).into_iter().map(|(_, waker)| waker));
        }
        wake_all(&mut wakers);
    }
}

impl Drop for Node {
    /// Strikes the node off its parent's list, and lets go of ancestors that nobody else holds one by one: dropping
    /// them within each other would overflow the stack on a long chain.
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        while let Some(Parent { node, key }) = parent {
            // `None` after a cancellation.
            let struck = node.lock().children.try_remove(key);
            drop(struck);
            parent = Arc::into_inner(node).and_then(|mut last| last.parent.take());
        }
    }
}

/// Asks tasks to stop: cancelled once, seen by all who hold a clone or a child of it.
///
/// Names and meaning are those of `tokio_util::sync::CancellationToken`. It works between any threads and under any
/// executor. Clones are the same token. Dropping tokens cancels nothing, except through a [`DropGuard`].
///
/// # Examples
///
/// ```
/// use ringtoss::CancellationToken;
///
/// ringtoss::block_on(async {
///     let token = CancellationToken::new();
///     let task = ringtoss::spawn({
///         let token = token.clone();
///         async move { token.cancelled().await }
///     });
///     token.cancel();
///     task.await.unwrap();
/// });
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Arc<Node>,
}

impl CancellationToken {
    /// A token that is not cancelled and has no parent.
    #[must_use]
    pub fn new() -> Self {
        Self { node: Arc::new(Node::new(false, None)) }
    }

    /// A token that is cancelled with this one, but does not cancel this one.
    ///
    /// The child of a cancelled token is cancelled. The tokens between it and an ancestor may be dropped; it stays an
    /// heir of that ancestor.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::CancellationToken;
    ///
    /// let server = CancellationToken::new();
    /// let (one, other) = (server.child_token(), server.child_token());
    /// one.cancel();
    /// assert!(!server.is_cancelled() && !other.is_cancelled());
    /// server.cancel();
    /// assert!(other.is_cancelled());
    /// ```
    #[must_use]
    pub fn child_token(&self) -> CancellationToken {
        let mut links = self.node.lock();
        if links.closed {
            // Not linked, as nothing needs to be told.
            return Self { node: Arc::new(Node::new(true, None)) };
        }
        let entry = links.children.vacant_entry();
        let parent = Parent { node: self.node.clone(), key: entry.key() };
        let node = Arc::new(Node::new(false, Some(parent)));
        entry.insert(Arc::downgrade(&node));
        Self { node }
    }

    /// Cancels this token and all its descendants, and wakes whoever waits for one of them. Once cancelled, calling it
    /// again does nothing.
    pub fn cancel(&self) {
        self.node.cancel();
    }

    /// Whether this token, or one that it descends from, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// Waits until the token is cancelled; ready at once if it is.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any moment. It leaves nothing behind in the token.
    pub fn cancelled(&self) -> WaitForCancellation<'_> {
        WaitForCancellation { token: self, key: None }
    }

    /// Waits as [`cancelled`](Self::cancelled) does, in a future that owns its token.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let stopped = token.clone().cancelled_owned();
    /// std::thread::spawn(move || token.cancel());
    /// ringtoss::block_on(stopped);
    /// ```
    pub fn cancelled_owned(self) -> WaitForCancellationOwned {
        WaitForCancellationOwned { token: self, key: None }
    }

    /// A guard that cancels the token when it is dropped, unless it is [disarmed](DropGuard::disarm).
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::CancellationToken;
    ///
    /// let token = CancellationToken::new();
    /// let guard = token.clone().drop_guard();
    /// drop(guard);
    /// assert!(token.is_cancelled());
    /// ```
    #[must_use = "dropped at once, the guard cancels at once"]
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }

    /// The same for a token that is kept.
    #[must_use = "dropped at once, the guard cancels at once"]
    pub fn drop_guard_ref(&self) -> DropGuardRef<'_> {
        DropGuardRef { token: Some(self) }
    }

    /// Runs `future` until the token is cancelled, and then drops it.
    ///
    /// `None` says that it was cut short. On a token that is cancelled already it is not polled at all; afterwards, a
    /// future that is ready when the token is cancelled still counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::CancellationToken;
    ///
    /// ringtoss::block_on(async {
    ///     let token = CancellationToken::new();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, Some(7));
    ///     token.cancel();
    ///     assert_eq!(token.run_until_cancelled(async { 7 }).await, None);
    /// });
    /// ```
    pub async fn run_until_cancelled<F: Future>(&self, future: F) -> Option<F::Output> {
        if self.is_cancelled() {
            return None;
        }
        let mut future = pin!(future);
        let mut cancelled = self.cancelled();
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Pin::new(&mut cancelled).poll(cx).map(|()| None),
        })
        .await
    }

    /// The same in a future that owns its token.
    pub async fn run_until_cancelled_owned<F: Future>(self, future: F) -> Option<F::Output> {
        self.run_until_cancelled(future).await
    }

    /// Polls for the cancellation on behalf of the waiter that has the place `key`.
    fn poll_cancelled(&self, key: &mut Option<usize>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        if let Some(key) = *key
            && self.node.lock().wakers.get(key).is_some_and(|w| w.will_wake(cx.waker()))
        {
            return Poll::Pending;
        }
        // Cloned before and dropped after the lock is held, as both may run anything.
        let waker = cx.waker().clone();
        let mut links = self.node.lock();
        // Asked for under the lock: a cancellation from now on finds the waker, or has been seen.
        if self.is_cancelled() {
            drop(links);
            return Poll::Ready(());
        }
        let _old = match *key {
            Some(key) => Some(mem::replace(&mut links.wakers[key], waker)),
            None => {
                *key = Some(links.wakers.insert(waker));
                None
            }
        };
        drop(links);
        Poll::Pending
    }

    /// Gives up the place of a waiter that is dropped.
    fn forget_waiter(&self, key: Option<usize>) {
        if let Some(key) = key {
            // The list is empty if the token has been cancelled. The waker is dropped after the lock.
            let waker = self.node.lock().wakers.try_remove(key);
            drop(waker);
        }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// The future of [`CancellationToken::cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct WaitForCancellation<'a> {
    token: &'a CancellationToken,
    /// Where its waker is, once it waits.
    key: Option<usize>,
}

impl Future for WaitForCancellation<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let token = self.token;
        token.poll_cancelled(&mut self.key, cx)
    }
}

impl Drop for WaitForCancellation<'_> {
    fn drop(&mut self) {
        self.token.forget_waiter(self.key);
    }
}

/// The future of [`CancellationToken::cancelled_owned`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct WaitForCancellationOwned {
    token: CancellationToken,
    key: Option<usize>,
}

impl Future for WaitForCancellationOwned {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.token.poll_cancelled(&mut this.key, cx)
    }
}

impl Drop for WaitForCancellationOwned {
    fn drop(&mut self) {
        self.token.forget_waiter(self.key);
    }
}

/// Cancels its token when it is dropped; see [`CancellationToken::drop_guard`].
#[derive(Debug)]
pub struct DropGuard {
    /// `None` only while it is dropped or disarmed.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Gives the token back without cancelling it.
    ///
    /// # Examples
    ///
    /// ```
    /// use ringtoss::CancellationToken;
    ///
    /// let token = CancellationToken::new().drop_guard().disarm();
    /// assert!(!token.is_cancelled());
    /// ```
    #[must_use]
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("a guard is disarmed once")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}

/// Cancels its token when it is dropped; see [`CancellationToken::drop_guard_ref`].
#[derive(Debug)]
pub struct DropGuardRef<'a> {
    /// `None` only while it is dropped or disarmed.
    token: Option<&'a CancellationToken>,
}

impl<'a> DropGuardRef<'a> {
    /// Gives the token back without cancelling it.
    #[must_use]
    pub fn disarm(mut self) -> &'a CancellationToken {
        self.token.take().expect("a guard is disarmed once")
    }
}

impl Drop for DropGuardRef<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            token.cancel();
        }
    }
}

const _: () = {
    const fn sendable<T: Send + Sync + Unpin>() {}
    sendable::<CancellationToken>();
    sendable::<WaitForCancellation<'_>>();
    sendable::<WaitForCancellationOwned>();
    sendable::<DropGuard>();
    sendable::<DropGuardRef<'_>>();
};

#[cfg(test)]
mod tests;
