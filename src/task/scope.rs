//! Children that end before their parent goes on.
//!
//! The children of a scope are polled by the scope's own future, and are no tasks of the loop. For a task of the loop must be
//! `'static`: its parent may be dropped, or leaked, in the middle, and then it would go on with references to what is gone. A
//! future that lies in its parent goes with it, so it may borrow from whatever outlives the parent, as with
//! `FuturesUnordered`; and if the parent is leaked, it is never polled again. All of this is plain safe code: the compiler holds
//! it to that. One loop is one thread, so nothing that tasks do at once is lost.

mod handle;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;

pub use self::handle::ScopedJoinHandle;
use self::handle::{Fills, Output};
use super::error::{drop_payload, quietly};
use super::places::Places;
use crate::inbox::sync::{AtomicBool, Ordering};
use crate::token::CancellationToken;

/// Where the body has its place.
const BODY: usize = usize::MAX;

/// Runs `body`, and the children that it [spawns](Scope::spawn), until all of them have ended, and gives the body's output.
///
/// The first that fails ends it: if the body or a child gives an error, or panics, everything else is cancelled, that is,
/// dropped where it is ([shielded](Scope::spawn_shielded) children are waited for), and the error comes out, or the panic goes on.
/// Errors that come after the first are dropped.
///
/// Children may borrow from what outlives the call. They are polled by this future, so they run on its thread and not
/// beside each other, as everything on a loop does; each is polled only when it was woken. Scopes may be nested, and the
/// [`Scope`] may be cloned into a child that spawns others.
///
/// The future is not `Send`, because its children need not be. From another thread, start it with
/// [`Handle::spawn_with`](crate::Handle::spawn_with).
///
/// # Cancellation
/// Dropped early, the body and all children, shielded or not, are dropped at once; so they have ended then, too. What must go
/// on nevertheless is [spawned](crate::spawn) as a task, which the drop of its handle does not end.
///
/// # Panics
/// With the first panic of the body or a child.
///
/// ```
/// use ringtoss::fs;
/// use ringtoss::task::scope;
///
/// # let dir = tempfile::tempdir()?;
/// # let paths = [dir.path().join("one"), dir.path().join("other")];
/// # for path in &paths { std::fs::write(path, "text")?; }
/// let bytes = ringtoss::block_on(scope(async |s| {
///     let mut children = Vec::new();
///     for path in &paths {
///         children.push(s.spawn(async move { Ok(fs::read(path).await?.len()) }));
///     }
///     let mut bytes = 0;
///     for child in children {
///         bytes += child.await.unwrap();
///     }
///     std::io::Result::Ok(bytes)
/// }))?;
/// assert_eq!(bytes, 8);
/// # std::io::Result::Ok(())
/// ```
pub async fn scope<'env, T, E, F>(body: F) -> Result<T, E>
where
    E: 'env,
    F: AsyncFnOnce(Scope<'env, E>) -> Result<T, E>,
{
    let scope = Scope { shared: Rc::new(Shared::new()) };
    // Whatever happens, the children go with this future: they may have handles of the scope, which has them.
    let ends = Ends(scope.clone());
    let mut body = pin!(Some(body(scope)));
    let body_wake = Wakes::new(&ends.0.shared.places, BODY);
    let body_waker = Waker::from(body_wake.clone());
    ends.0.shared.places.push(BODY);
    let mut output = None;
    poll_fn(|cx| {
        let shared = &*ends.0.shared;
        // As many as were woken by now; what they wake is for the next time, so that the loop's other tasks have theirs.
        let mut budget = shared.places.len();
        loop {
            if body.is_none() && shared.is_empty() {
                return Poll::Ready(());
            }
            if budget == 0 && shared.places.len() > 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            budget = budget.saturating_sub(1);
            let Poll::Ready(place) = shared.places.poll(cx) else { return Poll::Pending };
            if place != BODY {
                shared.poll_child(place);
            } else if let Some(future) = body.as_mut().as_pin_mut() {
                // A read-modify-write: a store could pass the loads of the poll, and a wake between the two would be lost.
                body_wake.queued.swap(false, Ordering::AcqRel);
                let polled = catch_unwind(AssertUnwindSafe(|| future.poll(&mut Context::from_waker(&body_waker))));
                match polled {
                    Ok(Poll::Pending) => {}
                    Ok(Poll::Ready(result)) => {
                        shared.guarded(|| body.set(None));
                        match result {
                            Ok(value) => output = Some(value),
                            Err(error) => shared.fail(Failure::Error(error)),
                        }
                    }
                    Err(payload) => shared.fail(Failure::Panic(payload)),
                }
            }
            if shared.has_failed() && body.is_some() {
                shared.guarded(|| body.set(None));
            }
        }
    })
    .await;
    match ends.0.shared.failure.take() {
        Some(Failure::Error(error)) => Err(error),
        Some(Failure::Panic(payload)) => resume_unwind(payload),
        None => Ok(output.expect("a body that has not failed gives something")),
    }
}

/// What children are spawned into: see [`scope`]. Clones are the same scope.
pub struct Scope<'env, E> {
    shared: Rc<Shared<'env, E>>,
}

type Boxed<'env, E> = Pin<Box<dyn Future<Output = Result<(), E>> + 'env>>;

struct Child<'env, E> {
    /// `None` while it is polled.
    future: Option<Boxed<'env, E>>,
    waker: Waker,
    wake: Arc<Wakes>,
    aborted: Rc<Cell<bool>>,
    shielded: bool,
}

enum Failure<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

struct Shared<'env, E> {
    children: RefCell<Slab<Child<'env, E>>>,
    places: Arc<Places>,
    failure: RefCell<Option<Failure<E>>>,
    /// Cancelled when it has failed.
    token: CancellationToken,
    /// Nothing is spawned any more.
    closed: Cell<bool>,
}

/// Has a child polled. It is in the list of places once.
struct Wakes {
    places: Arc<Places>,
    place: usize,
    queued: AtomicBool,
}

impl Wakes {
    /// One that is queued, or is about to be.
    fn new(places: &Arc<Places>, place: usize) -> Arc<Wakes> {
        Arc::new(Wakes { places: places.clone(), place, queued: AtomicBool::new(true) })
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.places.push(self.place);
        }
    }
}

impl<'env, E> Shared<'env, E> {
    fn new() -> Shared<'env, E> {
        Shared {
            children: RefCell::default(),
            places: Arc::default(),
            failure: RefCell::new(None),
            token: CancellationToken::new(),
            closed: Cell::new(false),
        }
    }

    fn is_empty(&self) -> bool {
        self.children.borrow().is_empty()
    }

    fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Polls the child that has this place, if there still is one. It may spawn others, abort them, and end the scope.
    fn poll_child(&self, place: usize) {
        let taken = self.children.borrow_mut().get_mut(place).and_then(|child| {
            // Before the poll: a wake from here on queues it again.
            child.wake.queued.swap(false, Ordering::AcqRel);
            let future = child.future.take()?;
            Some((future, child.waker.clone(), child.aborted.get()))
        });
        let Some((mut future, waker, aborted)) = taken else { return };
        let polled = if aborted {
            Ok(Poll::Ready(Ok(())))
        } else {
            catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))))
        };
        if let Ok(Poll::Pending) = polled {
            let mut children = self.children.borrow_mut();
            match children.get_mut(place) {
                Some(child) => child.future = Some(future),
                None => unreachable!("a child that is polled keeps its place"),
            }
            drop(children);
            // It may have failed the scope from the inside.
            return self.cancel_rest();
        }
        // Its place is free when whoever awaits it is told, and when its drop runs.
        let child = self.children.borrow_mut().remove(place);
        self.guarded(|| drop(future));
        drop(child);
        match polled {
            Ok(Poll::Ready(Err(error))) => self.fail(Failure::Error(error)),
            Err(payload) => self.fail(Failure::Panic(payload)),
            Ok(_) => {}
        }
    }

    /// Notes why the scope ends early, if it is the first reason, and cancels the rest.
    fn fail(&self, failure: Failure<E>) {
        let mut first = self.failure.borrow_mut();
        if first.is_none() {
            *first = Some(failure);
            drop(first);
            quietly(|| self.token.cancel());
        } else {
            drop(first);
            match failure {
                Failure::Error(error) => quietly(|| drop(error)),
                Failure::Panic(payload) => drop_payload(payload),
            }
        }
        self.cancel_rest();
    }

    /// Once it has failed: drops the children, but those that are shielded.
    fn cancel_rest(&self) {
        if self.has_failed() {
            self.drop_children(|child| !child.shielded);
        }
    }

    /// Drops the children that this holds for. The one that is polled now is noted, and dropped after.
    fn drop_children(&self, which: impl Fn(&Child<'env, E>) -> bool) {
        let (mut gone, mut woken) = (Vec::new(), Vec::new());
        let mut children = self.children.borrow_mut();
        let places: Vec<usize> = children.iter().filter(|(_, child)| which(child)).map(|(place, _)| place).collect();
        for place in places {
            if children[place].future.is_some() {
                gone.push(children.remove(place));
            } else {
                children[place].aborted.set(true);
                woken.push(children[place].wake.clone());
            }
        }
        drop(children);
        woken.into_iter().for_each(|wake| wake.wake());
        // User code: it may spawn and panic.
        gone.into_iter().for_each(|child| self.guarded(|| drop(child)));
    }

    /// Runs a drop. A panic in it is the scope's, if it is the first failure.
    fn guarded(&self, drops: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(drops)) {
            self.fail(Failure::Panic(payload));
        }
    }
}

/// Ends the children when it is dropped.
struct Ends<'env, E>(Scope<'env, E>);

impl<E> Drop for Ends<'_, E> {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        shared.closed.set(true);
        shared.drop_children(|_| true);
        // A panic of a drop has nobody to go to any more.
        if let Some(Failure::Panic(payload)) = shared.failure.take() {
            drop_payload(payload);
        }
    }
}

impl<'env, E: 'env> Scope<'env, E> {
    /// Starts a child; it is first polled when the scope's future is next. An error of its ends the scope. Its value comes out
    /// of the handle; that may be dropped.
    ///
    /// In a scope that has failed or ended the future is dropped at once.
    pub fn spawn<T, F>(&self, future: F) -> ScopedJoinHandle<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
    {
        self.insert(future, false)
    }

    /// Starts a child that is not cancelled when the scope fails: the scope waits for it. It can see that it should come to an
    /// end by the [token](Scope::token). If the scope's future is dropped, it is dropped all the same.
    ///
    /// ```
    /// use ringtoss::task::scope;
    ///
    /// let mut tidied = false;
    /// let result = ringtoss::block_on(scope(async |s| {
    ///     let asked = s.token().clone().cancelled_owned();
    ///     s.spawn_shielded(async {
    ///         asked.await;
    ///         ringtoss::yield_now().await;
    ///         tidied = true;
    ///         Ok(())
    ///     });
    ///     s.spawn(async { Err::<(), _>("it went wrong") });
    ///     std::future::pending().await
    /// }));
    /// # let result: Result<(), _> = result;
    /// assert_eq!(result, Err("it went wrong"));
    /// assert!(tidied);
    /// ```
    pub fn spawn_shielded<T, F>(&self, future: F) -> ScopedJoinHandle<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
    {
        self.insert(future, true)
    }

    fn insert<T, F>(&self, future: F, shielded: bool) -> ScopedJoinHandle<T>
    where
        F: Future<Output = Result<T, E>> + 'env,
        T: 'env,
    {
        let output = Rc::new(Output::default());
        let aborted = Rc::new(Cell::new(false));
        let fills = Fills::new(&output);
        let shared = &*self.shared;
        if shared.closed.get() || shared.has_failed() {
            drop((fills, future));
            return ScopedJoinHandle::new(output, aborted, None);
        }
        let future: Boxed<'env, E> = Box::pin(async move {
            // Declared first, dropped last: who awaits it is told when the future is gone.
            let fills = fills;
            let value = future.await?;
            fills.fill(value);
            Ok(())
        });
        let mut children = shared.children.borrow_mut();
        let entry = children.vacant_entry();
        let wake = Wakes::new(&shared.places, entry.key());
        let waker = Waker::from(wake.clone());
        let place = entry.key();
        entry.insert(Child { future: Some(future), waker, wake: wake.clone(), aborted: aborted.clone(), shielded });
        drop(children);
        shared.places.push(place);
        ScopedJoinHandle::new(output, aborted, Some(wake))
    }

    /// Cancels all children that are there now, but those that are shielded: they are dropped, the one that calls this at the
    /// end of its poll. The scope goes on.
    pub fn abort_all(&self) {
        self.shared.drop_children(|child| !child.shielded);
    }

    /// A token that is cancelled when the scope fails, for children that are [shielded](Scope::spawn_shielded), and for tasks
    /// that work for it. Who cancels it tells them the same, and the scope goes on.
    pub fn token(&self) -> &CancellationToken {
        &self.shared.token
    }

    /// How many children have not ended.
    pub fn len(&self) -> usize {
        self.shared.children.borrow().len()
    }

    /// Whether all children have ended.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }
}

impl<E> Clone for Scope<'_, E> {
    fn clone(&self) -> Self {
        Scope { shared: self.shared.clone() }
    }
}

impl<E> fmt::Debug for Scope<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("failed", &self.shared.has_failed()).finish_non_exhaustive()
    }
}
