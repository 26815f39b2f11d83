//! L5: waiting on a word of memory that other threads and processes change: `futex(2)`.
//!
//! Who changes the [`Word`] wakes whoever waits on it; who waits says which value it has seen, and is not put to sleep if the word
//! has another one by then. So no wake is lost, if the word is changed before it is woken.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use ringtoss::futex::{self, Word};
//!
//! # ringtoss::block_on(async {
//! let word = Word::from(Arc::new(AtomicU32::new(0)));
//! let other = word.clone();
//! let thread = std::thread::spawn(move || {
//!     other.store(1, Ordering::Release);
//!     futex::wake_now(&other, 1)
//! });
//! while word.load(Ordering::Acquire) == 0 {
//!     match futex::wait(&word, 0).await {
//!         // Woken, or changed before; also for nothing, so look again.
//!         Ok(()) => {}
//!         // Below Linux 6.7.
//!         Err(error) if error.kind() == std::io::ErrorKind::Unsupported => break,
//!         Err(error) => return Err(error),
//!     }
//! }
//! thread.join().unwrap()?;
//! # Ok(()) }).unwrap();
//! ```
//!
//! # Memory
//! A wait owns the word, and with it what that is a part of (an `Arc`): it stays until the kernel has let go, whatever is
//! dropped. For memory that is shared with other processes, put the owner of the mapping into an `Arc`, and take the word with
//! [`Word::part_of`].
//!
//! # What a drop does
//! A wait that is dropped is ended. If it was woken all the same, it wakes another one in its place, so that a wake that was
//! meant for one is not lost.

use std::io;

pub use crate::op::Word;
use crate::op::{FutexWait, FutexWaitV, FutexWake, Operation};

/// Waits until somebody wakes those who wait on the word; is ready at once if it does not have the expected value:
/// `IORING_OP_FUTEX_WAIT` (Linux 6.7). It may be ready for nothing, so look at the word afterwards.
///
/// Dropped early, a wake that it was given goes to another.
///
/// # Errors
/// `Unsupported` below Linux 6.7; `EFAULT` if the memory is gone, as that of a mapped file that was cut off is.
pub fn wait(word: &Word, expected: u32) -> Operation<'static, FutexWait> {
    Operation::<FutexWait>::new(FutexWait::new(word.clone(), expected))
}

/// Waits until one of up to 128 words is woken, or has another value than the one beside it, and tells which:
/// `IORING_OP_FUTEX_WAITV` (Linux 6.7), `futex_waitv(2)`. It may be ready for nothing, so look at the word afterwards.
///
/// Dropped early, a wake that it was given goes to another who waits on that word.
///
/// # Errors
/// As [`wait`]; `InvalidInput` for no words, and for more than 128.
pub fn wait_any(words: impl IntoIterator<Item = (Word, u32)>) -> Operation<'static, FutexWaitV> {
    Operation::<FutexWaitV>::new(FutexWaitV::new(words.into_iter().collect()))
}

/// Wakes at most so many who wait on the word, and tells how many it were: `IORING_OP_FUTEX_WAKE` (Linux 6.7), below that as
/// [`wake_now`].
///
/// Dropped early, they were woken, or not.
///
/// # Errors
/// `EFAULT` as for [`wait`].
pub fn wake(word: &Word, most: u32) -> Operation<'static, FutexWake> {
    Operation::<FutexWake>::new(FutexWake::new(word.clone(), most))
}

/// The same as a direct call, which does not wait, from anywhere: `futex(2)` with `FUTEX_WAKE`.
///
/// # Errors
/// As [`wake`].
pub fn wake_now(word: &Word, most: u32) -> io::Result<usize> {
    word.wake(most.min(i32::MAX as u32))
}
