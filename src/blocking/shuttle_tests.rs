//! The pool and its threads: run with `.ci/long shuttle`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};

use super::*;
use crate::task::models::drive;
use crate::task::shuttle_tests::explore;

/// Threads hand jobs to a pool of two, await some, abort some and let others go, while its bound changes; then it is told to go
/// home. Every job runs once or is cancelled, and no thread of the pool's stays behind (that would be a deadlock here).
#[test]
fn many_jobs_and_an_end() {
    const SUBMITTERS: usize = 3;
    const JOBS: usize = 3;
    explore(|| {
        let pool: &'static Pool = Box::leak(Box::new(Pool::new()));
        pool.configure(Some(2), Some(Duration::from_secs(3600)));
        let (ran, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|_| {
                let (ran, cancelled) = (ran.clone(), cancelled.clone());
                thread::spawn(move || {
                    let mut later = Vec::new();
                    for number in 0..JOBS {
                        let ran = ran.clone();
                        let (job, handle) = task::blocking(move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                            number
                        });
                        pool.submit(job).unwrap();
                        if thread_rng().gen_range(0..3) == 0 {
                            handle.abort();
                        }
                        later.push((number, handle));
                    }
                    for (number, handle) in later {
                        match drive(handle) {
                            Ok(output) => assert_eq!(output, number),
                            Err(error) => {
                                assert!(error.is_cancelled());
                                cancelled.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        pool.configure(Some(1 + thread_rng().gen_range(0..3)), None);
        for submitter in submitters {
            submitter.join().unwrap();
        }
        pool.configure(None, Some(Duration::ZERO));
        assert_eq!(ran.load(Ordering::Relaxed) + cancelled.load(Ordering::Relaxed), SUBMITTERS * JOBS);
        let state = pool.state();
        assert_eq!(state.jobs.len(), 0);
        assert!(state.threads <= 3);
    });
}
