//! Signals that come while others are handled, in a process of its own.
#![allow(unsafe_code, reason = "signals to single threads")]

use std::sync::atomic::{AtomicBool, Ordering};

use ringtoss::signal::unix::{SignalKind, signal};

/// A thread of std's handles signals on a stack of a few KiB, and where registers are wide (AVX-512), two nested frames fill
/// it. So they must not nest.
#[test]
fn a_storm_of_many_kinds_on_one_thread_does_not_overflow_its_signal_stack() {
    let kinds: Vec<_> = (3..20).map(|index| SignalKind::from_raw(libc::SIGRTMIN() + index)).collect();
    let _listeners: Vec<_> = kinds.iter().map(|&kind| signal(kind).unwrap()).collect();
    static STOP: AtomicBool = AtomicBool::new(false);
    let (tell, told) = std::sync::mpsc::channel();
    let target = std::thread::spawn(move || {
        // As a number: musl's is a pointer. SAFETY: it names the calling thread.
        tell.send(unsafe { libc::pthread_self() } as usize).unwrap();
        while !STOP.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    let thread = told.recv().unwrap();
    std::thread::scope(|scope| {
        for kind in &kinds {
            scope.spawn(move || {
                for _ in 0..2000 {
                    // SAFETY: the thread is joined below, after this. A full queue is no matter.
                    unsafe { libc::pthread_kill(thread as libc::pthread_t, kind.as_raw_value()) };
                }
            });
        }
    });
    STOP.store(true, Ordering::Relaxed);
    target.join().unwrap();
}
