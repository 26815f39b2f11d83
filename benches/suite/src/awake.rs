//! CPUs that never sleep. Waking one that does costs more than most runtimes do, so rows of wake-ups are measured with them
//! kept awake, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::cpus::Cpus;
use crate::sys;

/// Threads that spin on both CPUs whenever nobody else has anything to do there (`SCHED_IDLE`), until it is dropped.
pub struct Awake {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Awake {
    pub fn keep(cpus: &Cpus) -> Awake {
        let over = Arc::new(AtomicBool::new(false));
        let mut places = vec![cpus.server, cpus.generator];
        places.dedup();
        let spin = |cpu: usize| {
            let over = over.clone();
            std::thread::spawn(move || {
                // One that may not stand back would be in the way.
                if sys::run_when_idle().and_then(|()| sys::pin(&[cpu])).is_ok() {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }
            })
        };
        let threads = places.into_iter().map(spin).collect();
        Awake { over, threads }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
