//! How a signal reaches whoever waits for it. The module's text argues why none is missed.

use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys;
use crate::sys::signal::{self, SIGNALS};

/// The bell of each signal that a handler was installed for.
static BELLS: Mutex<[Option<Arc<Bell>>; SIGNALS]> = Mutex::new([const { None }; SIGNALS]);

/// Eventfds of bells that nobody holds any more. They are used again and never closed.
static SPARE: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// An eventfd that rings once and then stays readable, for all who wait and for all who are yet to wait.
#[derive(Debug)]
pub(super) struct Bell {
    eventfd: RawFd,
    /// How many signals had come when it was hung up.
    hung_at: u64,
    rung: AtomicBool,
}

impl Bell {
    fn new(hung_at: u64) -> io::Result<Bell> {
        let spare = lock(&SPARE).pop();
        let eventfd = match spare {
            Some(eventfd) => {
                signal::silence(eventfd);
                eventfd
            }
            None => sys::eventfd()?.into_raw_fd(),
        };
        Ok(Bell { eventfd, hung_at, rung: AtomicBool::new(false) })
    }

    pub(super) fn eventfd(&self) -> RawFd {
        self.eventfd
    }

    /// Notes that it has been heard: it is of no use to anybody who begins to wait.
    pub(super) fn heard(&self) {
        self.rung.store(true, Ordering::SeqCst);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        lock(&SPARE).push(self.eventfd);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks panics. A handler takes none of them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler of a signal, if that was not done, and hangs up its first bell.
pub(super) fn install(number: libc::c_int) -> io::Result<()> {
    let Some(index) = usize::try_from(number).ok().filter(|&index| index < SIGNALS) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let mut bells = lock(&BELLS);
    if bells[index].is_none() {
        let bell = Bell::new(0)?;
        signal::set_bell(number, bell.eventfd);
        signal::install(number)?;
        bells[index] = Some(Arc::new(bell));
    }
    Ok(())
}

/// A bell that rings at every signal that comes from here on.
pub(super) fn bell(number: libc::c_int) -> io::Result<Arc<Bell>> {
    let mut bells = lock(&BELLS);
    let current = bells[number as usize].as_mut().expect("it was hung up when the handler was installed");
    let count = signal::signals(number);
    if current.hung_at == count && !current.rung.load(Ordering::SeqCst) {
        return Ok(current.clone());
    }
    let new = Arc::new(Bell::new(count)?);
    signal::set_bell(number, new.eventfd);
    // A handler may have counted and not rung yet, and then rings the new one: those who wait for the old one hear it
    // so.
    signal::ring(current.eventfd);
    *current = new.clone();
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(bell: &Bell) -> bool {
        sys::is_readable(bell.eventfd)
    }

    #[test]
    fn a_handler_that_is_held_up_before_it_rings_leaves_nobody_behind() {
        let number = libc::SIGRTMIN() + 20;
        install(number).unwrap();
        let first = bell(number).unwrap();
        assert!(!is_readable(&first));
        assert!(Arc::ptr_eq(&first, &bell(number).unwrap()));
        // It has counted; somebody else sees that and hangs up the next bell, which the handler is going to ring.
        signal::count_only(number);
        let second = bell(number).unwrap();
        assert!(!Arc::ptr_eq(&first, &second) && !is_readable(&second));
        assert!(is_readable(&first), "who waits for the first is told");
        // It rings for nothing new. Who hears that takes another bell, or would hear it for ever.
        signal::ring(second.eventfd);
        second.heard();
        let third = bell(number).unwrap();
        assert!(!Arc::ptr_eq(&second, &third) && !is_readable(&third));
    }

    #[test]
    fn a_bell_that_is_used_again_is_silent() {
        for _ in 0..10 {
            let bell = Bell::new(0).unwrap();
            assert!(!is_readable(&bell));
            signal::ring(bell.eventfd);
            assert!(is_readable(&bell));
        }
    }
}
