//! L1: every loop of the process, by its id. Looked at only where something happens off a loop's own thread.
//!
//! An id is never used again. A loop that has ended cleanly leaves its *estate*: the results of operations whose
//! futures still exist somewhere (an accepted descriptor may be among them). One that could not reap everything leaves
//! a mark, and what it still had with the kernel is never freed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::guard::{guard, wake_all};
use crate::inbox::Inbox;
use crate::mail::Mail;
use crate::ring::Cqe;
use crate::slot::{Earlier, Elsewhere, Handed, Key};
use crate::sys::fork;

static LOOPS: Mutex<BTreeMap<u64, Entry>> = Mutex::new(BTreeMap::new());
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) type Results = HashMap<Key, (Earlier, Cqe)>;

enum Entry {
    Live(Arc<Inbox>),
    /// Its inbox is closed, it is reaping. What concerns its operations waits here until it is done.
    Ending {
        dropped: Vec<(Key, Handed)>,
        waiting: Vec<Waker>,
    },
    /// Reaped; the results that nobody has taken yet.
    Ended(Results),
    /// Given up with operations in flight.
    Dirty,
}

/// What has become of an operation whose loop no longer takes mail.
pub(crate) enum Claim {
    /// The loop is about to end: ask again when woken.
    Soon,
    Result(Earlier, Cqe),
    /// The kernel may still be at it, for ever: nothing that it may touch can be freed.
    Lost,
}

fn loops() -> MutexGuard<'static, BTreeMap<u64, Entry>> {
    // Nothing in here panics while it holds the lock; if it ever did, the map itself would still be whole.
    LOOPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new id, not yet known to anyone.
pub(crate) fn new_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn register(inbox: Arc<Inbox>) {
    static KNOWN: AtomicBool = AtomicBool::new(false);
    fork::keep(&KNOWN, keep);
    loops().insert(inbox.id(), Entry::Live(inbox));
}

/// While a thread forks. In the child no loop of the parent's will ever run, or free what is its kernel's.
fn keep() -> fork::Held {
    fork::held(loops(), |loops, process| {
        if process == fork::Process::Child {
            loops.values_mut().for_each(|entry| std::mem::forget(std::mem::replace(entry, Entry::Dirty)));
        }
    })
}

/// Sends mail to a loop. Gives it back if the loop takes none any more.
pub(crate) fn post(id: u64, mail: Mail) -> Result<(), Mail> {
    let inbox = match loops().get(&id) {
        Some(Entry::Live(inbox)) => inbox.clone(),
        _ => return Err(mail),
    };
    inbox.post(mail)
}

/// From here on the loop takes no mail. The loop calls it before it closes its inbox.
pub(crate) fn ending(id: u64) {
    loops().insert(id, Entry::Ending { dropped: Vec::new(), waiting: Vec::new() });
}

/// The loop has reaped everything; what is left are results. Gives back the operations that were dropped meanwhile, to
/// be finished with theirs, and wakes who waited.
pub(crate) fn ended(id: u64, mut results: Results) -> Vec<(Handed, Earlier, Cqe)> {
    let mut loops = loops();
    let Some(Entry::Ending { dropped, mut waiting }) = loops.remove(&id) else {
        unreachable!("a loop ends once");
    };
    let finished = dropped
        .into_iter()
        .filter_map(|(key, handed)| results.remove(&key).map(|(earlier, cqe)| (handed, earlier, cqe)))
        .collect();
    if !results.is_empty() {
        loops.insert(id, Entry::Ended(results));
    }
    drop(loops);
    wake_all(&mut waiting);
    finished
}

/// The loop gave up with operations in flight.
pub(crate) fn dirty(id: u64) {
    let before = loops().insert(id, Entry::Dirty);
    if let Some(Entry::Ending { dropped, mut waiting }) = before {
        dropped.into_iter().for_each(|(_, handed)| guard(|| handed.into_inner().lose()));
        wake_all(&mut waiting);
    }
}

/// Asks for the result of an operation of a loop that took no mail; `waker` is woken if it is too early to tell.
pub(crate) fn claim(id: u64, key: Key, waker: &Waker) -> Claim {
    let waker = waker.clone();
    let mut loops = loops();
    match loops.get_mut(&id) {
        Some(Entry::Ending { waiting, .. }) => {
            waiting.push(waker);
            Claim::Soon
        }
        entry => take(entry, key).inspect_taken(&mut loops, id),
    }
}

/// A future of a loop that takes no mail was dropped: its operation is finished here if its result is known, by the
/// ending loop if it is at it, and never if it was lost.
pub(crate) fn abandon(id: u64, key: Key, handed: Handed) {
    let mut loops = loops();
    let claim = match loops.get_mut(&id) {
        Some(Entry::Ending { dropped, .. }) => return dropped.push((key, handed)),
        entry => take(entry, key).inspect_taken(&mut loops, id),
    };
    drop(loops);
    match claim {
        Claim::Result(earlier, cqe) => handed.into_inner().finish(earlier, cqe),
        Claim::Soon | Claim::Lost => handed.into_inner().lose(),
    }
}

fn take(entry: Option<&mut Entry>, key: Key) -> Claim {
    match entry {
        Some(Entry::Ended(results)) => match results.remove(&key) {
            Some((earlier, cqe)) => Claim::Result(earlier, cqe),
            None => Claim::Lost,
        },
        _ => Claim::Lost,
    }
}

impl Claim {
    /// An estate whose last result was claimed is struck off.
    fn inspect_taken(self, loops: &mut BTreeMap<u64, Entry>, id: u64) -> Claim {
        if matches!(loops.get(&id), Some(Entry::Ended(results)) if results.is_empty()) {
            loops.remove(&id);
        }
        self
    }
}

/// Leaves an operation's result where its future waits.
pub(crate) fn deliver(cell: &Elsewhere, earlier: Earlier, cqe: Cqe) {
    let mut state = cell.inner.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handed) = state.orphan.take() {
        drop(state);
        return handed.into_inner().finish(earlier, cqe);
    }
    state.result = Some((earlier, cqe));
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

/// Tells a future elsewhere that its operation went down with its loop.
pub(crate) fn lose(cell: &Elsewhere) {
    let mut state = cell.inner.lock().unwrap_or_else(PoisonError::into_inner);
    state.lost = true;
    let (waker, orphan) = (state.waker.take(), state.orphan.take());
    drop(state);
    orphan.into_iter().for_each(|handed| handed.into_inner().lose());
    waker.into_iter().for_each(Waker::wake);
}
