//! Signal handlers: `sigaction(2)`, and what one does when a signal comes.
//!
//! A handler may use atomics and a few system calls and nothing else: it counts, rings the signal's bell (an eventfd),
//! and calls the handler that was there before. Why the bell's number is good whenever that happens: see `signal`.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

use super::check;

/// One more than the highest number of a signal.
pub(crate) const SIGNALS: usize = 65;

struct Line {
    count: AtomicU64,
    /// An eventfd, or -1.
    bell: AtomicI32,
    /// The handler that was there before, if any. What it points to is never freed.
    before: AtomicPtr<libc::sigaction>,
}

static LINES: [Line; SIGNALS] =
    [const { Line { count: AtomicU64::new(0), bell: AtomicI32::new(-1), before: AtomicPtr::new(ptr::null_mut()) } };
        SIGNALS];

fn line(signal: libc::c_int) -> Option<&'static Line> {
    LINES.get(usize::try_from(signal).ok()?)
}

/// How often the signal has come since its handler was installed.
pub(crate) fn signals(signal: libc::c_int) -> u64 {
    line(signal).map_or(0, |line| line.count.load(Ordering::SeqCst))
}

/// Has the handler ring this eventfd from here on. It must stay open for the rest of the process's life: a handler that
/// is under way on another thread may write to it at any later time.
pub(crate) fn set_bell(signal: libc::c_int, eventfd: RawFd) {
    if let Some(line) = line(signal) {
        line.bell.store(eventfd, Ordering::SeqCst);
    }
}

/// Adds one to an eventfd's counter, by number.
pub(crate) fn ring(eventfd: RawFd) {
    let one = 1u64;
    // SAFETY: eight bytes of a live variable are written. Nothing but system calls happens, so a handler may do it.
    unsafe { libc::write(eventfd, (&raw const one).cast(), 8) };
}

/// Sets a non-blocking eventfd's counter to zero.
pub(crate) fn silence(eventfd: RawFd) {
    let mut count = 0u64;
    // SAFETY: at most eight bytes are written to a live variable.
    unsafe { libc::read(eventfd, (&raw mut count).cast(), 8) };
}

/// Installs the handler of a signal, once: the caller sees to that. What the handler before it asked for stays true.
pub(crate) fn install(signal: libc::c_int) -> io::Result<()> {
    let Some(line) = line(signal) else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
    let old = replace(signal, None)?;
    remember(line, &old);
    let replaced = replace(signal, Some(&successor_of(signal, &old)))?;
    if replaced.sa_sigaction != old.sa_sigaction {
        // Somebody else installed one in between.
        remember(line, &replaced);
    }
    Ok(())
}

fn is_handler(action: &libc::sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

fn remember(line: &Line, action: &libc::sigaction) {
    // Leaked: a handler may be using it at any time. It happens once a signal.
    let kept = if is_handler(action) { Box::into_raw(Box::new(*action)) } else { ptr::null_mut() };
    line.before.store(kept, Ordering::SeqCst);
}

/// The action that takes the place of another one: the same stack, the same signals held back, calls restarted or not
/// as before, and children that nobody waits for vanish if they did.
fn successor_of(signal: libc::c_int, old: &libc::sigaction) -> libc::sigaction {
    let mut action = *old;
    action.sa_sigaction = handle as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO;
    if is_handler(old) {
        action.sa_flags |= old.sa_flags & (libc::SA_ONSTACK | libc::SA_RESTART | libc::SA_NODEFER);
    } else {
        action.sa_flags |= libc::SA_ONSTACK | libc::SA_RESTART;
        // All others wait for the few instructions that it takes. Handlers that interrupt each other would pile up on the
        // thread's signal stack, and std's, of 8 KiB, does not hold three frames with AVX-512's registers in them.
        // SAFETY: the set is a live variable.
        unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    }
    let vanish = old.sa_sigaction == libc::SIG_IGN || old.sa_flags & libc::SA_NOCLDWAIT != 0;
    if signal == libc::SIGCHLD && vanish {
        action.sa_flags |= libc::SA_NOCLDWAIT;
    }
    action
}

fn replace(signal: libc::c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    // SAFETY: the structure is plain numbers, for which zero is valid.
    let mut old: libc::sigaction = unsafe { mem::zeroed() };
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both structures live over the call. The handler in `new` is ours, which is fit to run at any moment.
    check(unsafe { libc::sigaction(signal, new, &raw mut old) })?;
    Ok(old)
}

/// What runs when a signal comes: on any thread, between any two instructions.
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(line) = line(signal) else { return };
    // SAFETY: the address of this thread's errno, which every thread has.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above. Who was interrupted may be about to look at it.
    let kept = unsafe { *errno };
    // In this order: see `signal`.
    line.count.fetch_add(1, Ordering::SeqCst);
    ring(line.bell.load(Ordering::SeqCst));
    // SAFETY: as above.
    unsafe { *errno = kept };
    // Last, for it may not return.
    call_handler_before(line, signal, info, context);
}

fn call_handler_before(line: &Line, signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null, or an action that was leaked when the handler was installed.
    let Some(before) = (unsafe { line.before.load(Ordering::SeqCst).as_ref() }) else { return };
    if signal == libc::SIGCHLD && before.sa_flags & libc::SA_NOCLDSTOP != 0 {
        // SAFETY: the kernel gives a valid structure to handlers installed with SA_SIGINFO, as ours is.
        let code = unsafe { (*info).si_code };
        if matches!(code, libc::CLD_STOPPED | libc::CLD_CONTINUED) {
            return;
        }
    }
    if before.sa_flags & libc::SA_RESETHAND != 0 && line.before.swap(ptr::null_mut(), Ordering::SeqCst).is_null() {
        // It wanted to be called once, and another thread has just done so.
        return;
    }
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: an action that is neither SIG_DFL nor SIG_IGN holds a function, and with this flag it has this type.
        let function: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            unsafe { mem::transmute(before.sa_sigaction) };
        function(signal, info, context);
    } else {
        // SAFETY: as above; without the flag it has this type.
        let function: extern "C" fn(libc::c_int) = unsafe { mem::transmute(before.sa_sigaction) };
        function(signal);
    }
}

/// The handler's first step alone, for tests of what happens when it is held up there.
#[cfg(test)]
pub(crate) fn count_only(signal: libc::c_int) {
    line(signal).expect("a signal").count.fetch_add(1, Ordering::SeqCst);
}
