//! What `fork(2)` makes of a process: the child has the memory of all threads, one thread, and nothing of what the kernel does for
//! the parent.
//!
//! A child that runs another program notices nothing of this. One that goes on in this one must not write to the parent's rings,
//! whose memory is shared with it: before `fork` returns it has copies in their places. No kernel looks at those, so the parent's loops
//! do not run in the child ([`generation`] tells them).

use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// How many forks lie between this process and the first that looked.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// What is kept locked while a thread forks.
static PARTS: Mutex<Vec<fn() -> Held>> = Mutex::new(Vec::new());

/// Memory that is shared with the kernel: where it begins, and how long it is.
static SHARED: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// A lock that is held. Called when the fork is over, in both processes; it lets go.
pub(crate) type Held = Box<dyn FnOnce(Process)>;

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
/// child. Nobody who holds it takes another one of these.
pub(crate) fn keep(part: fn() -> Held) {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // If there is no memory for it, no fork is noticed.
        // SAFETY: they are functions of this program and take nothing.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
    parts().push(part);
}

fn parts() -> MutexGuard<'static, Vec<fn() -> Held>> {
    // Nothing under the lock panics.
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shared() -> MutexGuard<'static, Vec<(usize, usize)>> {
    // Nothing under the lock panics.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

extern "C" fn before() {
    // Where the thread's variables are gone it goes without.
    let _ = HELD.try_with(|held| {
        let (parts, mut held) = (parts(), held.borrow_mut());
        held.extend(parts.iter().map(|part| part()));
        held.push(Box::new(|_| drop(parts)));
    });
}

fn over(process: Process) {
    let _ = HELD.try_with(|held| held.take().into_iter().for_each(|part| part(process)));
}

extern "C" fn in_parent() {
    over(Process::Parent);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    over(Process::Child);
}

/// A child has a copy of this memory, not the memory.
pub(super) fn note(start: NonNull<u8>, len: usize) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        keep(|| {
            let shared = shared();
            Box::new(move |process| {
                if process == Process::Child {
                    shared.iter().for_each(|&(start, len)| copy_in_place(start, len));
                }
            })
        });
    });
    shared().push((start.as_ptr().expose_provenance(), len));
}

/// It is about to be unmapped: by the caller, while it holds what this gives. So no child gets a copy in the place of what has come
/// there since.
pub(super) fn forget(start: NonNull<u8>) -> impl Sized {
    let mut shared = shared();
    if let Some(at) = shared.iter().position(|&(other, _)| other == start.addr().get()) {
        shared.swap_remove(at);
    }
    shared
}

/// Replaces memory that is shared by a copy of it that is not.
fn copy_in_place(start: usize, len: usize) {
    let start = ptr::with_exposed_provenance_mut::<libc::c_void>(start);
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory at an address of the kernel's choosing.
    let copy = unsafe { libc::mmap(ptr::null_mut(), len, access, kind, -1, 0) };
    if copy == libc::MAP_FAILED {
        // The child has nothing there then, and faults where it would have written to its parent's.
        // SAFETY: it is a ring's mapping, which this process does not use any more, and stays one.
        unsafe { libc::mprotect(start, len, libc::PROT_NONE) };
        return;
    }
    // SAFETY: `start` is a mapping of this length, which was noted and not forgotten, says the lock; `copy` is as long, and new. The
    // parent and the kernel may write to the former meanwhile: nobody relies on what the copy holds. Then it is moved into the
    // place of what it was made of; at that address there is a mapping all the time, so that whoever unmaps it unmaps his own.
    unsafe {
        ptr::copy_nonoverlapping(start.cast::<u8>(), copy.cast::<u8>(), len);
        libc::mremap(copy, len, len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, start);
    }
}
