//! Locks on files, and on ranges of their bytes.
//!
//! The kernel has no asynchronous way to wait for one. A thread that waits could not be called back, and a few hundred of
//! them would leave no thread for the call that releases the lock. So a lock is *tried* on the blocking pool, again and
//! again: at once when one is released through this crate, in this process, and after a pause otherwise.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use super::{File, on_pool};
use crate::blocking;
use crate::context;
use crate::fd::Fd;
use crate::guard::wake_all;
use crate::salvage::{Salvage, Stake};
use crate::sys::{self, Ask, Extent};
use crate::time::sleep;

/// Pauses between two tries grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// Why a lock was not had at once: std's type of the same name, which is younger than this crate's oldest compiler.
#[derive(Debug)]
pub enum TryLockError {
    /// The call failed.
    Error(io::Error),
    /// Somebody else holds a lock that is in the way.
    WouldBlock,
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Error(error) => error.fmt(f),
            TryLockError::WouldBlock => f.write_str("somebody else holds a lock on the file"),
        }
    }
}

impl Error for TryLockError {}

impl From<TryLockError> for io::Error {
    fn from(error: TryLockError) -> io::Error {
        match error {
            TryLockError::Error(error) => error,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        }
    }
}

/// A lock on a range of bytes that keeps another from being had: given by [`File::find_range_lock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RangeLock {
    /// Whether nobody else may have any there.
    pub exclusive: bool,
    /// The first byte.
    pub start: u64,
    /// The first byte behind it; `None` if it reaches to the end, wherever that is.
    pub end: Option<u64>,
    /// The process that holds it; `None` if an open file does, as with those of this crate.
    pub pid: Option<u32>,
}

/// # Locks
///
/// A lock keeps out others that ask for one, in this process and in others; nothing keeps anybody from reading and writing
/// without. It belongs to the open file: clones share it, and it is released when the last of them is closed. Locks on the
/// whole file (`flock(2)`, std's) and on ranges (`fcntl(2)`, open file description locks) do not see each other. Do not mix either
/// with the process's own locks (`fcntl(2)` with `F_SETLK`): those go whenever any descriptor of the file is closed, and some
/// operations close a duplicate.
///
/// To wait for one blocks no loop and no thread: it is tried again when one is released through this crate in this process,
/// and every 50 ms at most otherwise. Whoever comes first gets it; there is no queue.
///
/// Dropped early, these leave the file as if they had not been called, with one exception: a lock that the file, or a clone,
/// held already (of whatever kind, and on whatever part of the range) may be lost, as `flock(2)` may lose one that it
/// changes. What changes the file next waits until that is decided. [`unlock`](File::unlock) waits for writes that were dropped, so that none lands
/// when others may rely on the lock.
impl File {
    /// Locks the whole file, against everybody else: `flock(2)` with `LOCK_EX`.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::{File, TryLockError};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("database");
    /// let (one, other) = (File::create(&path).await?, File::create(&path).await?);
    /// one.lock().await?;
    /// assert!(matches!(other.try_lock().await, Err(TryLockError::WouldBlock)));
    /// one.unlock().await?;
    /// other.lock().await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Those of the call, as std.
    pub async fn lock(&self) -> io::Result<()> {
        wait_for(&self.fd, Extent::Whole, Ask::Exclusive).await
    }

    /// Locks the whole file, together with others that ask for the same: `flock(2)` with `LOCK_SH`.
    ///
    /// # Errors
    /// Those of the call, as std.
    pub async fn lock_shared(&self) -> io::Result<()> {
        wait_for(&self.fd, Extent::Whole, Ask::Shared).await
    }

    /// As [`lock`](File::lock), but does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds one; those of the call.
    pub async fn try_lock(&self) -> Result<(), TryLockError> {
        try_to(&self.fd, Extent::Whole, Ask::Exclusive).await
    }

    /// As [`lock_shared`](File::lock_shared), but does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds an exclusive one; those of the call.
    pub async fn try_lock_shared(&self) -> Result<(), TryLockError> {
        try_to(&self.fd, Extent::Whole, Ask::Shared).await
    }

    /// Releases the lock on the whole file, if it has one: `flock(2)` with `LOCK_UN`. Dropped early, it may happen all the
    /// same.
    ///
    /// # Errors
    /// Those of the call, as std.
    pub async fn unlock(&self) -> io::Result<()> {
        release(&self.fd, Extent::Whole).await
    }

    /// Locks a range of bytes, against everybody else: `fcntl(2)` with `F_OFD_SETLK`. The file must be open for writing. What
    /// it holds of the range already is changed; ranges may reach behind the end.
    ///
    /// ```
    /// # ringtoss::block_on(async {
    /// use ringtoss::fs::File;
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("database");
    /// let (one, other) = (File::create(&path).await?, File::create(&path).await?);
    /// one.lock_range(0..4096).await?;
    /// other.lock_range(4096..).await?;
    /// assert!(other.try_lock_range(4095..4096).await.is_err());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an empty range and for one beyond 2^63 - 1; `EBADF` if the file is not open for writing; those of the
    /// call.
    pub async fn lock_range(&self, range: impl RangeBounds<u64>) -> io::Result<()> {
        wait_for(&self.fd, extent(&range)?, Ask::Exclusive).await
    }

    /// Locks a range of bytes, together with others that ask for the same. The file must be open for reading.
    ///
    /// # Errors
    /// As [`lock_range`](File::lock_range); `EBADF` if the file is not open for reading.
    pub async fn lock_range_shared(&self, range: impl RangeBounds<u64>) -> io::Result<()> {
        wait_for(&self.fd, extent(&range)?, Ask::Shared).await
    }

    /// As [`lock_range`](File::lock_range), but does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds one in the range; as [`lock_range`](File::lock_range).
    pub async fn try_lock_range(&self, range: impl RangeBounds<u64>) -> Result<(), TryLockError> {
        try_to(&self.fd, extent(&range).map_err(TryLockError::Error)?, Ask::Exclusive).await
    }

    /// As [`lock_range_shared`](File::lock_range_shared), but does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else holds an exclusive one in the range; as
    /// [`lock_range_shared`](File::lock_range_shared).
    pub async fn try_lock_range_shared(&self, range: impl RangeBounds<u64>) -> Result<(), TryLockError> {
        try_to(&self.fd, extent(&range).map_err(TryLockError::Error)?, Ask::Shared).await
    }

    /// Releases what it holds of a range of bytes; of a lock that reaches further, the rest stays. Dropped early, it may
    /// happen all the same.
    ///
    /// # Errors
    /// `InvalidInput` for an empty range and for one beyond 2^63 - 1; those of the call.
    pub async fn unlock_range(&self, range: impl RangeBounds<u64>) -> io::Result<()> {
        release(&self.fd, extent(&range)?).await
    }

    /// A lock of somebody else's that is in the way of an exclusive one on this range, if there is one now: `fcntl(2)` with
    /// `F_OFD_GETLK`. Dropped early, nothing has happened.
    ///
    /// # Errors
    /// `InvalidInput` for an empty range and for one beyond 2^63 - 1; those of the call.
    pub async fn find_range_lock(&self, range: impl RangeBounds<u64>) -> io::Result<Option<RangeLock>> {
        let Extent::Bytes { start, len } = extent(&range)? else { unreachable!("a range is one of bytes") };
        let file = sys::duplicate(self.fd.raw())?;
        let holder = blocking::run(move || sys::holder(file.as_raw_fd(), Ask::Exclusive, start, len)).await?;
        Ok(holder.map(|holder| RangeLock {
            exclusive: holder.exclusive,
            start: holder.start as u64,
            end: (holder.len != 0).then(|| holder.start.saturating_add(holder.len) as u64),
            pid: u32::try_from(holder.pid).ok(),
        }))
    }
}

/// A range as the kernel takes it.
fn extent(range: &impl RangeBounds<u64>) -> io::Result<Extent> {
    let invalid = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
    let start = match range.start_bound() {
        Bound::Included(&start) => Some(start),
        Bound::Excluded(&before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let start = start.and_then(|start| i64::try_from(start).ok());
    let start = start.ok_or_else(|| invalid("a lock on a range that begins beyond 2^63 - 1"))?;
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => None,
    };
    let len = match end {
        // Nothing lies behind the last byte that a file can have.
        Some(end) if end <= i64::MAX as u64 => end as i64 - start,
        _ => return Ok(Extent::Bytes { start, len: 0 }),
    };
    if len <= 0 {
        return Err(invalid("a lock on an empty range"));
    }
    Ok(Extent::Bytes { start, len })
}

/// One try, shared by the call and by whoever awaits it.
struct Attempt {
    file: std::fs::File,
    extent: Extent,
    fate: Mutex<Fate>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Nobody awaits it any more.
    Abandoned,
    /// There is a lock, for whoever awaits it to take.
    Got,
    Taken,
}

impl Attempt {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        // Nothing under it panics.
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The call, on the pool.
    fn make(&self, ask: Ask) -> io::Result<bool> {
        if *self.fate() == Fate::Abandoned {
            return Ok(false);
        }
        let got = sys::lock(self.file.as_raw_fd(), self.extent, ask)?;
        if got {
            self.arrive();
        }
        Ok(got)
    }

    /// There is a lock: for whoever awaits it, or for nobody.
    fn arrive(&self) {
        let mut fate = self.fate();
        if *fate == Fate::Open {
            *fate = Fate::Got;
            return;
        }
        drop(fate);
        self.undo();
    }

    fn undo(&self) {
        let _ = sys::lock(self.file.as_raw_fd(), self.extent, Ask::Release);
        RELEASED.tell();
    }
}

/// Of whoever awaits a try.
struct Awaiting {
    attempt: Arc<Attempt>,
    salvage: Arc<Salvage>,
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        let mut fate = self.attempt.fate();
        let before = std::mem::replace(&mut *fate, Fate::Abandoned);
        drop(fate);
        if before != Fate::Got {
            return;
        }
        // It was got, and nobody was told. What changes the file next waits until it is released.
        let (attempt, stake) = (self.attempt.clone(), Stake::new(self.salvage.clone()));
        let undo = move || {
            attempt.undo();
            drop(stake);
        };
        if context::current_id() == 0 || blocking::start(undo).is_err() {
            self.attempt.undo();
        }
    }
}

/// Tries once. The call keeps its place among what changes the file until it is known whether the lock is wanted.
async fn attempt(fd: &Fd, extent: Extent, ask: Ask) -> io::Result<bool> {
    let (file, stake) = on_pool::stake(fd).await?;
    let attempt = Arc::new(Attempt { file, extent, fate: Mutex::new(Fate::Open) });
    let awaiting = Awaiting { attempt: attempt.clone(), salvage: fd.salvage().clone() };
    let call = blocking::run(move || {
        let result = attempt.make(ask);
        drop(stake);
        result
    });
    let got = call.await?;
    if got {
        *awaiting.attempt.fate() = Fate::Taken;
    }
    Ok(got)
}

async fn try_to(fd: &Fd, extent: Extent, ask: Ask) -> Result<(), TryLockError> {
    match attempt(fd, extent, ask).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(TryLockError::WouldBlock),
        Err(error) => Err(TryLockError::Error(error)),
    }
}

async fn wait_for(fd: &Fd, extent: Extent, ask: Ask) -> io::Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = RELEASED.count();
        if attempt(fd, extent, ask).await? {
            return Ok(());
        }
        let mut waiting = Waiting { seen, place: None };
        let mut sleep = pin!(sleep(pause));
        poll_fn(|cx| match sleep.as_mut().poll(cx) {
            Poll::Pending if !waiting.is_over(cx.waker()) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        pause = (2 * pause).min(LAST_PAUSE);
    }
}

async fn release(fd: &Fd, extent: Extent) -> io::Result<()> {
    on_pool::change(fd, move |file| {
        sys::lock(file.as_raw_fd(), extent, Ask::Release)?;
        RELEASED.tell();
        Ok(())
    })
    .await
}

/// Tells those in this process who wait for a lock that one was released.
struct Released(Mutex<Inner>);

struct Inner {
    count: u64,
    waiters: Slab<Waker>,
}

static RELEASED: Released = Released(Mutex::new(Inner { count: 0, waiters: Slab::new() }));

impl Released {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing under it panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> u64 {
        self.lock().count
    }

    fn tell(&self) {
        let mut inner = self.lock();
        inner.count += 1;
        // Taken, not cloned: a clone may run anything, and so may a waker that is woken under the lock.
        let waiters = inner.waiters.iter_mut();
        let mut wakers = waiters.map(|(_, waker)| std::mem::replace(waker, Waker::noop().clone())).collect();
        drop(inner);
        wake_all(&mut wakers);
    }
}

/// A place among those who wait, given up when it is dropped.
struct Waiting {
    seen: u64,
    place: Option<usize>,
}

impl Waiting {
    /// Whether a lock was released since; otherwise the waker is woken when one is.
    fn is_over(&mut self, waker: &Waker) -> bool {
        let waker = waker.clone();
        // Dropped after the lock is given up.
        let _old;
        let mut inner = RELEASED.lock();
        if inner.count != self.seen {
            return true;
        }
        match self.place {
            Some(place) => _old = std::mem::replace(&mut inner.waiters[place], waker),
            None => self.place = Some(inner.waiters.insert(waker)),
        }
        false
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let _waker;
        let mut inner = RELEASED.lock();
        _waker = inner.waiters.remove(place);
        drop(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    #[test]
    fn a_lock_that_arrives_when_nobody_awaits_it_is_released() {
        let path = std::env::temp_dir().join(format!("ringtoss-lock-{}", std::process::id()));
        let open = || std::fs::File::create(&path).unwrap();
        let attempt = Attempt { file: open(), extent: Extent::Whole, fate: Mutex::new(Fate::Open) };
        let other = open();
        let is_free = || {
            let free = sys::lock(other.as_raw_fd(), Extent::Whole, Ask::Exclusive).unwrap();
            sys::lock(other.as_raw_fd(), Extent::Whole, Ask::Release).unwrap();
            free
        };
        assert!(attempt.make(Ask::Exclusive).unwrap());
        assert!(*attempt.fate() == Fate::Got && !is_free());
        // Abandoned while the call is made.
        *attempt.fate() = Fate::Abandoned;
        attempt.arrive();
        assert!(is_free());
        // Before that.
        assert!(!attempt.make(Ask::Exclusive).unwrap() && is_free());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn those_who_wait_are_told_once_of_a_release() {
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let flag = Arc::new(Flag(false.into()));
        let waker = flag.clone().into();
        // Locks of other tests may be released meanwhile.
        for _ in 0..1000 {
            flag.0.store(false, Ordering::SeqCst);
            let mut waiting = Waiting { seen: RELEASED.count(), place: None };
            if waiting.is_over(&waker) {
                continue;
            }
            RELEASED.tell();
            assert!(flag.0.load(Ordering::SeqCst) && waiting.is_over(&waker));
            return;
        }
        panic!("locks are released all the time");
    }
}
