//! What `fork(2)` makes of a process: the child has the memory of all threads, one thread, and nothing of what the kernel does for
//! the parent.
//!
//! A child that runs another program notices nothing of this. One that goes on in this one must not write to the parent's rings:
//! their memory is not there in a child (`MADV_DONTFORK`), and before `fork` returns it has copies in the places. No kernel looks at
//! those, so the parent's loops do not run in the child ([`generation`] tells them). Where a copy cannot be had, or a process is
//! copied past these handlers (`clone(2)` itself), nothing is in the place, and whoever goes there anyway faults.
//!
//! In the child nothing is allocated and nothing freed, for other threads may have held the allocator's locks.

use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many forks lie between this process and the first that looked.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// What is kept locked while a thread forks.
static PARTS: Mutex<Vec<fn() -> Held>> = Mutex::new(Vec::new());

/// Memory that is shared with the kernel.
static SHARED: Mutex<Vec<Memory>> = Mutex::new(Vec::new());

#[derive(Clone, Copy)]
struct Memory {
    start: usize,
    len: usize,
    /// Where its copy is, while a thread forks; 0 if there is none.
    copy: usize,
}

/// A lock that is held. Called once, when the fork is over, in both processes: it lets go.
pub(crate) type Held = Box<dyn FnMut(Process)>;

/// What lets go of `guard` when the fork is over, behind `over`.
pub(crate) fn held<G: 'static>(guard: G, over: impl Fn(&mut G, Process) + 'static) -> Held {
    let mut guard = Some(guard);
    Box::new(move |process| {
        if let Some(mut guard) = guard.take() {
            over(&mut guard, process);
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Parent,
    Child,
}

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Another number in a process that was forked off the one that had this.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has a lock held by whoever forks, while it does: one that another thread holds just then would never be let go of in the
/// child. Nobody who holds it takes another one of these. `known` is the caller's, who calls this whenever he may be the first.
///
/// No `Once`: a child that was forked while it runs would wait for its end for ever.
pub(crate) fn keep(known: &AtomicBool, part: fn() -> Held) {
    static HANDLERS: AtomicBool = AtomicBool::new(false);
    if known.load(Ordering::Relaxed) || known.swap(true, Ordering::Relaxed) {
        return;
    }
    if !HANDLERS.swap(true, Ordering::Relaxed) {
        // If there is no memory for it, no fork is noticed.
        // SAFETY: they are functions of this program and take nothing.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
    parts().push(part);
}

fn parts() -> MutexGuard<'static, Vec<fn() -> Held>> {
    // Nothing under the lock panics.
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared() -> MutexGuard<'static, Vec<Memory>> {
    // Nothing under the lock panics.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn before() {
    // Where the thread's variables are gone it goes without.
    let _ = HELD.try_with(|held| {
        let (parts, mut held) = (parts(), held.borrow_mut());
        held.extend(parts.iter().map(|part| part()));
        held.push(self::held(parts, |_, _| ()));
    });
}

extern "C" fn in_parent() {
    let _ = HELD.try_with(|held| held.take().iter_mut().for_each(|part| part(Process::Parent)));
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let _ = HELD.try_with(|held| {
        let mut held = std::mem::take(&mut *held.borrow_mut());
        held.iter_mut().for_each(|part| part(Process::Child));
        std::mem::forget(held);
    });
}

/// A child has a copy of this memory, not the memory.
pub(super) fn note(start: NonNull<u8>, len: usize) {
    static KNOWN: AtomicBool = AtomicBool::new(false);
    keep(&KNOWN, hold);
    // SAFETY: this is a mapping that was just made. Refused, it is as with `clone(2)` itself before Linux had this.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTFORK) };
    shared().push(Memory { start: start.as_ptr().expose_provenance(), len, copy: 0 });
}

/// It is about to be unmapped: by the caller, while it holds what this gives. So no child gets a copy in the place of what has come
/// there since.
pub(super) fn forget(start: NonNull<u8>) -> impl Sized {
    let mut shared = shared();
    if let Some(at) = shared.iter().position(|memory| memory.start == start.addr().get()) {
        shared.swap_remove(at);
    }
    shared
}

/// While a thread forks: copies are made before, for the memory itself is not in the child.
fn hold() -> Held {
    let mut shared = shared();
    for memory in shared.iter_mut() {
        memory.copy = copy(memory);
    }
    held(shared, |shared, process| {
        for memory in shared.iter_mut().filter(|memory| memory.copy != 0) {
            if process == Process::Child {
                put_back(memory);
            }
            let copy = ptr::with_exposed_provenance_mut(std::mem::take(&mut memory.copy));
            // SAFETY: the copy is this one's, of that length, and nobody knows of it any more.
            unsafe { libc::munmap(copy, memory.len) };
        }
    })
}

const ACCESS: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
const KIND: libc::c_int = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;

/// What it holds now, elsewhere.
fn copy(memory: &Memory) -> usize {
    // SAFETY: new memory at an address of the kernel's choosing.
    let copy = unsafe { libc::mmap(ptr::null_mut(), memory.len, ACCESS, KIND, -1, 0) };
    if copy == libc::MAP_FAILED {
        return 0;
    }
    let from = ptr::with_exposed_provenance::<u8>(memory.start);
    // SAFETY: it is a mapping of this length, which was noted and not forgotten, says the lock; the copy is as long, and new. The
    // kernel and the loop's thread may write to the former meanwhile: nobody relies on what the copy holds.
    unsafe { ptr::copy_nonoverlapping(from, copy.cast::<u8>(), memory.len) };
    copy.expose_provenance()
}

/// In the child, where there is nothing in the memory's place, or, if there is something, that is somebody else's, and stays.
fn put_back(memory: &Memory) {
    let start = ptr::with_exposed_provenance_mut::<libc::c_void>(memory.start);
    // SAFETY: it replaces nothing, says the flag (or before Linux 4.17 the address, which is another then).
    let put = unsafe { libc::mmap(start, memory.len, ACCESS, KIND | libc::MAP_FIXED_NOREPLACE, -1, 0) };
    if put == start {
        let copy = ptr::with_exposed_provenance::<u8>(memory.copy);
        // SAFETY: both are mappings of this length, and the process has no other thread.
        unsafe { ptr::copy_nonoverlapping(copy, start.cast::<u8>(), memory.len) };
    }
}
