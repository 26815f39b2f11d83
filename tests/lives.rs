//! Ten thousand loops made and ended in one process: no descriptor, no thread and no memory is left of them. One test, so
//! that nothing else happens meanwhile.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use ringtoss::{EventLoop, op, spawn, time};

struct Counting;

static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(size as i64 - layout.size() as i64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Debug)]
struct Use {
    descriptors: usize,
    mappings: usize,
    threads: u64,
    resident_kib: u64,
    live_bytes: i64,
}

fn usage() -> Use {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Use {
        descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        mappings: std::fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        threads: field("Threads:"),
        resident_kib: field("VmRSS:"),
        live_bytes: LIVE_BYTES.load(Ordering::Relaxed),
    }
}

/// A loop with something of everything, which ends with all of it under way.
fn life(number: usize, reader: &std::io::PipeReader) {
    // Small ones: where locked memory is limited, that of a ring is given back only after a while.
    let event_loop = EventLoop::builder().submission_entries(8).completion_entries(16).build().unwrap();
    let handle = event_loop.handle();
    let (kept, waker) = event_loop.block_on(async {
        let reader = reader.try_clone().unwrap();
        drop(spawn(async move { op::poll_readable(&reader).await }));
        drop(spawn(time::sleep(Duration::from_secs(3600))));
        op::nop().await.unwrap();
        if number.is_multiple_of(100) {
            assert_eq!(ringtoss::spawn_blocking(move || number).await.unwrap(), number);
        }
        // Something that outlives the loop with a result, and a waker.
        let mut kept = op::nop();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(&mut kept).poll(&mut cx).is_pending());
        let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
        (kept, waker)
    });
    drop(event_loop);
    waker.wake();
    drop(kept);
    drop(handle.spawn(async {}));
}

#[test]
fn ten_thousand_loops_leave_nothing_behind() {
    let (reader, _writer) = std::io::pipe().unwrap();
    for number in 0..1000 {
        life(number, &reader);
    }
    let before = usage();
    for number in 1000..11_000 {
        life(number, &reader);
    }
    let after = usage();
    println!("{before:?}\n{after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    // The pool keeps a thread for a while, and may have let it go or made it anew between two looks.
    assert!(after.threads <= before.threads + 1, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + 8, "{before:?} {after:?}");
    assert!(after.live_bytes <= before.live_bytes + 20_000, "2 bytes a loop: {before:?} {after:?}");
    assert!(after.resident_kib <= before.resident_kib + 2048, "{before:?} {after:?}");
}
