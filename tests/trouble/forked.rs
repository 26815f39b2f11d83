//! A process that forks and goes on in the child, as `daemonize` does: the loops stay the parent's, and the child makes its own.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use ringtoss::{EventLoop, fs, op, pipe};

use crate::util::{alone, bounded, seconds};

/// Runs `child` in a child of this process, for a bounded time; it must come to its end.
#[track_caller]
fn in_child(child: impl FnOnce()) {
    // SAFETY: the process is this test's own, and what its one other thread may have held at this moment, waiting for this one, the
    // child does not need.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: both take numbers. A child that hangs is ended by the alarm, one that has done what it should leaves at once.
            unsafe {
                libc::alarm(seconds(30).as_secs() as u32);
                let well = catch_unwind(AssertUnwindSafe(child)).is_ok();
                libc::_exit(if well { 0 } else { 1 });
            }
        }
        pid => {
            assert!(pid > 0, "{}", std::io::Error::last_os_error());
            let mut status = 0;
            // SAFETY: the status is written to a number that lives.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert_eq!(status, 0, "the child has failed, or was ended by a signal");
        }
    }
}

/// What it panics with.
fn message(call: impl FnOnce()) -> String {
    text(catch_unwind(AssertUnwindSafe(call)).expect_err("it panics"))
}

fn text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().expect("a text").to_string(),
    }
}

/// Pages of the child's own, which may come to lie where something was unmapped.
fn pages() -> Vec<&'static mut [u8]> {
    let page = || {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: new memory, which is never unmapped; zeroed is a value of these bytes.
        unsafe {
            let start = libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            std::slice::from_raw_parts_mut(start.cast::<u8>(), 4096)
        }
    };
    let mut pages: Vec<_> = (0..100).map(|_| page()).collect();
    pages.iter_mut().for_each(|page| page.fill(7));
    pages
}

/// Everything works in a loop of the child's.
fn new_loop_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    ringtoss::block_on(async {
        fs::write(&path, "of the child").await.unwrap();
        assert_eq!(fs::read(&path).await.unwrap(), b"of the child");
        assert!(fs::canonicalize(&path).await.is_ok(), "by the pool");
        assert!(ringtoss::spawn(async { op::nop().await.is_ok() }).await.unwrap());
    });
}

#[test]
fn a_loop_of_the_parents_does_nothing_in_the_child_and_harms_nobody() {
    if !alone("forked::a_loop_of_the_parents_does_nothing_in_the_child_and_harms_nobody") {
        return;
    }
    for builder in [EventLoop::builder(), EventLoop::builder().kernel_thread(seconds(1), None)] {
        let event_loop = builder.build().unwrap();
        let (mut writer, mut reader) = event_loop.block_on(async { pipe::pipe().unwrap() });
        let task = event_loop.spawn(async move { reader.read(Vec::with_capacity(8)).await.1 });
        event_loop.block_on(async { op::nop().await.unwrap() });
        in_child(|| {
            let pages = pages();
            assert!(message(|| event_loop.block_on(async {})).contains("fork"));
            assert!(message(|| event_loop.run()).contains("fork"));
            drop(event_loop.spawn(async {}));
            // SAFETY: the parent's is used by the parent only, for the child leaves without dropping it; here it ends.
            drop(unsafe { std::ptr::read(&raw const event_loop) });
            let more = self::pages();
            assert!(pages.iter().chain(&more).all(|page| page.iter().all(|&byte| byte == 7)));
            new_loop_works();
        });
        event_loop.block_on(async {
            writer.write_all("12345678").await.0.unwrap();
            assert_eq!(task.await.unwrap(), b"12345678");
            for _ in 0..10_000 {
                op::nop().await.unwrap();
            }
        });
    }
}

/// A task that forks is in a turn of the parent's loop when it comes back in the child.
#[test]
fn a_fork_in_a_task_ends_the_childs_turn() {
    if !alone("forked::a_fork_in_a_task_ends_the_childs_turn") {
        return;
    }
    static CHILD: AtomicBool = AtomicBool::new(false);
    for builder in [EventLoop::builder(), EventLoop::builder().kernel_thread(seconds(1), None)] {
        let event_loop = builder.build().unwrap();
        let (mut writer, mut reader) = pipe::pipe().unwrap();
        let turn = AssertUnwindSafe(|| {
            event_loop.block_on(async {
                let mut nop = Box::pin(op::nop());
                let mut read = reader.read(Vec::with_capacity(1));
                let staged = poll_fn(|cx| {
                    Poll::Ready(nop.as_mut().poll(cx).is_pending() && Pin::new(&mut read).poll(cx).is_pending())
                });
                assert!(staged.await);
                // SAFETY: as in `in_child`.
                match unsafe { libc::fork() } {
                    0 => {
                        CHILD.store(true, Ordering::Relaxed);
                        // SAFETY: it takes a number.
                        unsafe { libc::alarm(seconds(30).as_secs() as u32) };
                        // That takes back its entry: the child's, not the parent's.
                        drop(nop);
                        op::nop().await.unwrap();
                        unreachable!("no kernel looks at it");
                    }
                    pid => {
                        let mut status = 0;
                        // SAFETY: the status is written to a number that lives.
                        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
                        assert_eq!(status, 0, "the child has failed, or was ended by a signal");
                        bounded(nop).await.unwrap();
                        writer.write_all("x").await.0.unwrap();
                        assert_eq!(bounded(read).await.1, b"x");
                    }
                }
            });
        });
        let ended = catch_unwind(turn);
        if CHILD.load(Ordering::Relaxed) {
            // What the loop had went with the panic; the rest goes here.
            let well = catch_unwind(AssertUnwindSafe(|| {
                assert!(text(ended.expect_err("the turn ends with a panic")).contains("fork"));
                drop(event_loop);
                new_loop_works();
            }));
            // SAFETY: it takes a number, and does not return.
            unsafe { libc::_exit(if well.is_ok() { 0 } else { 1 }) };
        }
        ended.unwrap();
    }
}

/// The pool's idle threads are the parent's.
#[test]
fn the_pool_has_threads_of_the_childs() {
    if !alone("forked::the_pool_has_threads_of_the_childs") {
        return;
    }
    for _ in 0..20 {
        ringtoss::block_on(async { ringtoss::spawn_blocking(|| ()).await.unwrap() });
        in_child(new_loop_works);
        // And the parent has its own still.
        new_loop_works();
    }
}

/// What a loop of the parent's has used is closed when the child drops it.
#[test]
fn a_file_that_a_loop_of_the_parents_knew_is_closed_in_the_child() {
    if !alone("forked::a_file_that_a_loop_of_the_parents_knew_is_closed_in_the_child") {
        return;
    }
    let event_loop = EventLoop::new().unwrap();
    let (mut writer, mut reader) = pipe::pipe().unwrap();
    event_loop.block_on(async { writer.write_all("x").await.0.unwrap() });
    let (mut end, other) = std::io::pipe().unwrap();
    let file = fs::File::from(std::os::fd::OwnedFd::from(other));
    event_loop.block_on(async { file.metadata().await.unwrap() });
    in_child(move || {
        let number = file.as_raw_fd();
        drop(file);
        // SAFETY: it takes numbers.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_GETFD) }, -1, "it is open still");
    });
    event_loop.block_on(async { assert_eq!(reader.read(Vec::with_capacity(2)).await.1, b"x") });
    // The parent's own went with the closure.
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
}
