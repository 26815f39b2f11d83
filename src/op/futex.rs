//! Words of memory that are waited on: `IORING_OP_FUTEX_WAIT`, `IORING_OP_FUTEX_WAITV`, `IORING_OP_FUTEX_WAKE`.
//!
//! The kernel looks at a word when it takes a wait in, and finds whoever waits by the word's address (or by file and offset, if
//! it is shared); so what the word lies in stays until the wait is over. A wait that was woken and whose future is gone passes
//! the wake on: it may have been the only one, meant for whoever comes first.

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Arena, Cqe, Next, Op, Sealed, Sqe, invalid};
use crate::sys;

/// `FUTEX2_SIZE_U32` of `linux/futex.h`.
const SIZE_U32: u32 = 2;
/// `FUTEX2_PRIVATE`.
const PRIVATE: u32 = 128;
/// `FUTEX_BITSET_MATCH_ANY`.
const MATCH_ANY: u64 = 0xffff_ffff;
/// `FUTEX_WAITV_MAX`.
const WORDS_AT_MOST: usize = 128;

/// A word of memory that tasks, threads and processes wait on, and what keeps it in place.
///
/// It derefs to the [`AtomicU32`]. Clones are the same word.
#[derive(Clone)]
pub struct Word {
    word: NonNull<AtomicU32>,
    /// What the word is a part of, unless that is static.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
    private: bool,
}

// SAFETY: it gives out a shared reference to an atomic, which is `Sync`; the owner is `Send` and `Sync`.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

impl Word {
    /// A word that is a part of something: a field, an element, a place in memory that is mapped.
    pub fn part_of<T, F>(owner: Arc<T>, find: F) -> Word
    where
        T: Send + Sync + 'static,
        F: FnOnce(&T) -> &AtomicU32,
    {
        let word = NonNull::from(find(&owner));
        Word { word, _owner: Some(owner), private: false }
    }

    /// The same word, for threads of this process only: `FUTEX_PRIVATE_FLAG`, which is faster, and what `std` and most
    /// libraries use. It meets only those who say so, too.
    #[must_use]
    pub fn private(self) -> Word {
        Word { private: true, ..self }
    }

    fn flags(&self) -> u32 {
        if self.private { SIZE_U32 | PRIVATE } else { SIZE_U32 }
    }

    fn address(&self) -> u64 {
        self.word.as_ptr() as u64
    }

    /// Wakes by a direct call.
    pub(crate) fn wake(&self, most: u32) -> io::Result<usize> {
        sys::process::futex_wake(self, self.private, most)
    }
}

impl From<&'static AtomicU32> for Word {
    fn from(word: &'static AtomicU32) -> Word {
        Word { word: NonNull::from(word), _owner: None, private: false }
    }
}

impl From<Arc<AtomicU32>> for Word {
    fn from(word: Arc<AtomicU32>) -> Word {
        Word::part_of(word, |word| word)
    }
}

impl Deref for Word {
    type Target = AtomicU32;

    fn deref(&self) -> &AtomicU32 {
        // SAFETY: the word is static, or was borrowed from the owner. That borrow may last for as long as we hold the owner:
        // it lies in an `Arc`, so it does not move, and nobody can have it exclusively while we hold our reference.
        unsafe { self.word.as_ref() }
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word").field("value", &**self).field("private", &self.private).finish()
    }
}

fn too_old() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "waiting on a word of memory needs Linux 6.7 (IORING_OP_FUTEX_WAIT)")
}

/// `IORING_OP_FUTEX_WAIT` (Linux 6.7): `futex(2)` with `FUTEX_WAIT`.
#[doc(alias = "IORING_OP_FUTEX_WAIT")]
#[derive(Debug)]
pub struct FutexWait {
    word: Word,
    expected: u32,
    abandoned: bool,
}

impl FutexWait {
    pub(crate) fn new(word: Word, expected: u32) -> FutexWait {
        FutexWait { word, expected, abandoned: false }
    }
}

impl Sealed for FutexWait {}

// SAFETY: the word stays where it is while the value lives, which owns what it is a part of.
unsafe impl Op for FutexWait {
    type Output = io::Result<()>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        *sqe = Sqe::new(io_uring::opcode::FutexWait::CODE)
            .fd(self.word.flags() as i32)
            .addr(self.word.address())
            .offset(self.expected.into())
            .addr3(MATCH_ANY);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        if self.abandoned && cqe.result == 0 {
            let _ = self.word.wake(1);
        }
        match cqe.ok() {
            Ok(_) => Ok(()),
            // It has another value.
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Err(too_old()),
            Err(error) => Err(error),
        }
    }

    fn abandon(&mut self) {
        self.abandoned = true;
    }
}

/// `IORING_OP_FUTEX_WAITV` (Linux 6.7): `futex_waitv(2)`.
#[doc(alias = "IORING_OP_FUTEX_WAITV")]
#[derive(Debug)]
pub struct FutexWaitV {
    words: Vec<(Word, u32)>,
    abandoned: bool,
}

/// `struct futex_waitv`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Waiter {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

impl FutexWaitV {
    pub(crate) fn new(words: Vec<(Word, u32)>) -> FutexWaitV {
        FutexWaitV { words, abandoned: false }
    }

    fn is_valid(&self) -> bool {
        (1..=WORDS_AT_MOST).contains(&self.words.len())
    }

    /// The first word that has another value.
    fn changed(&self) -> Option<usize> {
        self.words.iter().position(|(word, expected)| word.load(Ordering::SeqCst) != *expected)
    }
}

impl Sealed for FutexWaitV {}

// SAFETY: the list of words lies in the arena and is read while the entry is taken; the words stay where they are while the
// value lives, which owns what they are parts of.
unsafe impl Op for FutexWaitV {
    type Output = io::Result<usize>;

    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        if !self.is_valid() {
            return Err(libc::EINVAL);
        }
        let list = arena.array(self.words.len(), |index| {
            let (word, expected) = &self.words[index];
            Waiter { expected: (*expected).into(), address: word.address(), flags: word.flags(), reserved: 0 }
        });
        // It takes no descriptor, and insists on that.
        *sqe = Sqe::new(io_uring::opcode::FutexWaitV::CODE).fd(0).addr(list).len(self.words.len() as u32);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result != -libc::EAGAIN {
            return Next::Done(cqe);
        }
        match self.changed() {
            Some(index) => Next::Done(Cqe::of(index as i32)),
            // It has changed back.
            None => Next::Again,
        }
    }

    fn complete(self, cqe: Cqe) -> io::Result<usize> {
        let valid = self.is_valid();
        match cqe.ok() {
            Ok(index) => {
                if self.abandoned
                    && let Some((word, _)) = self.words.get(index as usize)
                {
                    let _ = word.wake(1);
                }
                Ok(index as usize)
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Err(if valid { too_old() } else { invalid("between 1 and 128 words can be waited on at once") })
            }
            Err(error) => Err(error),
        }
    }

    fn abandon(&mut self) {
        self.abandoned = true;
    }
}

/// The kernel has been found to have no `IORING_OP_FUTEX_WAKE` (before 6.7).
static NOT_ON_THE_RING: AtomicBool = AtomicBool::new(false);

/// `IORING_OP_FUTEX_WAKE` (Linux 6.7): `futex(2)` with `FUTEX_WAKE`; below 6.7 that call itself, which does not wait.
#[doc(alias = "IORING_OP_FUTEX_WAKE")]
#[derive(Debug)]
pub struct FutexWake {
    word: Word,
    most: u32,
    called: Option<io::Result<usize>>,
}

impl FutexWake {
    pub(crate) fn new(word: Word, most: u32) -> FutexWake {
        // More are never there, and the kernel takes the number for a signed one.
        FutexWake { word, most: most.min(i32::MAX as u32), called: None }
    }
}

impl Sealed for FutexWake {}

// SAFETY: the word stays where it is while the value lives, which owns what it is a part of.
unsafe impl Op for FutexWake {
    type Output = io::Result<usize>;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        if NOT_ON_THE_RING.load(Ordering::Relaxed) {
            self.called = Some(self.word.wake(self.most));
            return Err(0);
        }
        *sqe = Sqe::new(io_uring::opcode::FutexWake::CODE)
            .fd(self.word.flags() as i32)
            .addr(self.word.address())
            .offset(self.most.into())
            .addr3(MATCH_ANY);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        if cqe.interrupted() {
            return Next::Again;
        }
        if cqe.result == -libc::EINVAL && self.called.is_none() {
            self.called = Some(self.word.wake(self.most));
            NOT_ON_THE_RING.store(true, Ordering::Relaxed);
        }
        Next::Done(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<usize> {
        match self.called {
            Some(result) => result,
            None => cqe.ok().map(|woken| woken as usize),
        }
    }
}
