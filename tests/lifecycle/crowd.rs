//! More in flight than the rings hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringtoss::{EventLoop, op, spawn};

use crate::util::{Count, pipe};

#[test]
fn more_than_a_hundred_thousand_operations_on_a_ring_of_256() {
    const COUNT: usize = 100_500;
    let event_loop = EventLoop::builder().submission_entries(256).completion_entries(512).build().unwrap();
    event_loop.block_on(async {
        let mut pipe = pipe();
        let ready = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..COUNT)
            .map(|_| {
                let (reader, ready) = (pipe.reader.clone(), ready.clone());
                spawn(async move {
                    op::poll_readable(&*reader).await.unwrap();
                    ready.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        crate::util::until(|| ringtoss::metrics().in_flight >= COUNT as u64).await;
        assert_eq!(ready.load(Ordering::Relaxed), 0);
        // They all complete at once, 200 times as many as the completion queue holds.
        pipe.write(b"x");
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(ready.load(Ordering::Relaxed), COUNT);
        assert_eq!(ringtoss::metrics().stale_completions, 0);
    });
}

#[test]
fn a_crowd_that_is_dropped_is_cancelled_and_freed() {
    let event_loop = EventLoop::builder().submission_entries(16).build().unwrap();
    let count = Count::default();
    event_loop.block_on(async {
        let pipe = pipe();
        let tasks: Vec<_> = (0..5000).map(|_| spawn(pipe.read(count.buffer()))).collect();
        op::nop().await.unwrap();
        op::nop().await.unwrap();
        tasks.iter().for_each(|task| task.abort());
        crate::util::until(|| count.dropped() == 5000).await;
    });
}
