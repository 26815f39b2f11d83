use super::*;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;
use std::thread;

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A waker that unparks the thread that made it.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn park_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn waiters(token: &CancellationToken) -> usize {
    token.node.lock().wakers.len()
}

fn children(token: &CancellationToken) -> usize {
    token.node.lock().children.len()
}

#[test]
fn every_clone_sees_the_cancellation_and_every_waiter_is_woken_once() {
    let token = CancellationToken::new();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    let mut waits: Vec<_> = (0..3).map(|_| token.cancelled()).collect();
    for wait in &mut waits {
        assert!(poll(wait, &waker).is_pending());
        assert!(poll(wait, &waker).is_pending());
    }
    assert_eq!(waiters(&token), 3);
    token.clone().cancel();
    token.cancel();
    assert_eq!(counter.count(), 3);
    assert!(token.is_cancelled());
    assert!(waits.iter_mut().all(|wait| poll(wait, &waker).is_ready()));
    assert!(poll(&mut token.cancelled(), &waker).is_ready());
}

#[test]
fn a_dropped_waiter_leaves_nothing_behind() {
    let token = CancellationToken::new();
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(counter.clone());
    {
        let mut first = token.cancelled();
        let mut second = token.clone().cancelled_owned();
        assert!(poll(&mut first, &waker).is_pending());
        assert!(poll(&mut second, &waker).is_pending());
    }
    assert_eq!(waiters(&token), 0);
    drop(waker);
    assert_eq!(Arc::strong_count(&counter), 1, "the token keeps no waker");
    token.cancel();
    assert_eq!(counter.count(), 0);
}

#[test]
fn a_waiter_dropped_after_the_cancellation_disturbs_nobody() {
    let token = CancellationToken::new();
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, Waker::noop()).is_pending());
    token.cancel();
    drop(wait);
    assert_eq!(waiters(&token), 0);
}

#[test]
fn the_last_waker_counts() {
    let token = CancellationToken::new();
    let (old, new) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &Waker::from(old.clone())).is_pending());
    assert!(poll(&mut wait, &Waker::from(new.clone())).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    token.cancel();
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn cancellation_goes_down_the_tree_only() {
    let root = CancellationToken::new();
    let left = root.child_token();
    let right = root.child_token();
    let leaf = left.child_token();
    left.cancel();
    assert!(leaf.is_cancelled());
    assert!(!root.is_cancelled() && !right.is_cancelled());
    root.cancel();
    assert!(right.is_cancelled());
    assert!(right.child_token().is_cancelled());
}

#[test]
fn an_heir_outlives_the_tokens_between() {
    let root = CancellationToken::new();
    let leaf = root.child_token().child_token().child_token();
    let counter = Arc::new(Counter::default());
    let mut wait = leaf.cancelled();
    assert!(poll(&mut wait, &Waker::from(counter.clone())).is_pending());
    root.cancel();
    assert_eq!(counter.count(), 1);
    assert!(leaf.is_cancelled());
}

#[test]
fn dropped_children_are_struck_off_and_freed() {
    let root = CancellationToken::new();
    for _ in 0..100 {
        drop(root.child_token().child_token());
    }
    assert_eq!(children(&root), 0);
    let child = root.child_token();
    assert_eq!(children(&root), 1);

    let (root_weak, child_weak) = (Arc::downgrade(&root.node), Arc::downgrade(&child.node));
    drop(root);
    assert!(root_weak.upgrade().is_some(), "its child holds it");
    drop(child);
    assert!(root_weak.upgrade().is_none() && child_weak.upgrade().is_none());
    assert_eq!((root_weak.weak_count(), child_weak.weak_count()), (0, 0));
}

#[test]
fn a_child_dropped_after_the_cancellation_disturbs_nobody() {
    let root = CancellationToken::new();
    let child = root.child_token();
    root.cancel();
    drop(child);
    assert!(root.child_token().is_cancelled());
    assert_eq!(children(&root), 0);
}

#[test]
fn a_long_chain_is_cancelled_and_dropped_without_recursion() {
    let root = CancellationToken::new();
    let mut leaf = root.clone();
    for _ in 0..if cfg!(miri) { 1000 } else { 200_000 } {
        leaf = leaf.child_token();
    }
    let counter = Arc::new(Counter::default());
    let mut wait = leaf.cancelled();
    assert!(poll(&mut wait, &Waker::from(counter.clone())).is_pending());
    root.cancel();
    assert_eq!(counter.count(), 1);
}

#[test]
fn the_guard_cancels_unless_disarmed() {
    let token = CancellationToken::new();
    assert!(!token.clone().drop_guard().disarm().is_cancelled());
    drop(token.clone().drop_guard());
    assert!(token.is_cancelled());
}

#[test]
fn run_until_cancelled_prefers_a_ready_future() {
    let token = CancellationToken::new();
    assert_eq!(park_on(token.run_until_cancelled(async { 1 })), Some(1));
    // Cancels and completes in the same poll.
    let both = token.run_until_cancelled(async {
        token.cancel();
        2
    });
    assert_eq!(park_on(both), Some(2));
    assert_eq!(park_on(token.run_until_cancelled(async { 3 })), None);
    assert_eq!(waiters(&token), 0);
}

#[test]
fn run_until_cancelled_drops_the_future() {
    let token = CancellationToken::new();
    let dropped = CancellationToken::new();
    let guard = dropped.clone().drop_guard();
    let pending = token.run_until_cancelled(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    thread::scope(|scope| {
        scope.spawn(|| token.cancel());
        assert_eq!(park_on(pending), None);
    });
    assert!(dropped.is_cancelled());
}

#[test]
fn waking_may_come_back_to_the_token() {
    struct Reentrant(CancellationToken, AtomicUsize);
    impl Wake for Reentrant {
        fn wake(self: Arc<Self>) {
            assert!(self.0.is_cancelled());
            self.0.cancel();
            assert!(self.0.child_token().is_cancelled());
            assert!(poll(&mut self.0.cancelled(), Waker::noop()).is_ready());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let token = CancellationToken::new();
    let reentrant = Arc::new(Reentrant(token.clone(), AtomicUsize::new(0)));
    let mut wait = token.cancelled();
    assert!(poll(&mut wait, &Waker::from(reentrant.clone())).is_pending());
    token.cancel();
    assert_eq!(reentrant.1.load(Ordering::SeqCst), 1);
}

/// Waiters, children and the cancellation race; whoever waits must get through.
#[test]
fn no_wake_is_lost_between_threads() {
    for _ in 0..300 {
        let root = CancellationToken::new();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let child = root.child_token();
                    park_on(child.cancelled());
                    assert!(child.is_cancelled());
                });
                scope.spawn(|| {
                    park_on(root.clone().cancelled_owned());
                    // Whoever sees the parent cancelled sees all descendants so.
                    assert!(root.child_token().is_cancelled());
                });
            }
            scope.spawn(|| {
                for _ in 0..20 {
                    let child = root.child_token();
                    let mut wait = child.cancelled();
                    let _ = poll(&mut wait, Waker::noop());
                }
            });
            scope.spawn(|| root.cancel());
            let child = root.child_token();
            root.cancel();
            assert!(child.is_cancelled());
        });
        assert_eq!((waiters(&root), children(&root)), (0, 0));
    }
}

#[test]
fn a_guard_of_a_kept_token_cancels_it_too() {
    let token = CancellationToken::new();
    assert!(!token.drop_guard_ref().disarm().is_cancelled());
    assert_eq!(park_on(token.clone().run_until_cancelled_owned(async { 3 })), Some(3));
    drop(token.drop_guard_ref());
    assert!(token.is_cancelled());
    assert_eq!(park_on(token.run_until_cancelled_owned(async { 3 })), None);
}
