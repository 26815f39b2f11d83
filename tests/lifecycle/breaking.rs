//! What was tried against the crate by somebody who had not written it: see docs/soundness.md.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use ringtoss::EventLoop;
use ringtoss::compat::Guest;
use ringtoss::fs::File;
use ringtoss::net::UnixStream;
use ringtoss::op;

use crate::util::{Count, Hook, Hooked, RawRead, bounded, pipe, poll_once, run, until};

thread_local! {
    /// What the next buffer that is asked for its address drops.
    static IN_A_BUFFER: RefCell<Option<RawRead>> = const { RefCell::new(None) };
}

/// Drops an operation when it is asked where it is.
struct Drops;

impl Hook for Drops {
    fn asked_to_write(&self) {
        drop(IN_A_BUFFER.take());
    }
}

/// That it must not be done says the trait; what happens is a panic, and not that memory is freed which the kernel has.
#[test]
fn an_operation_that_is_dropped_in_the_middle_of_the_loops_work_is_leaked() {
    bounded(|| {
        let count = Count::default();
        run(async {
            let mut pipe = pipe();
            let mut read = pipe.read(count.buffer());
            assert!(poll_once(&mut read).await.is_pending());
            op::nop().await.unwrap();
            IN_A_BUFFER.set(Some(read));
            let file = File::from_std(std::fs::File::open("/proc/self/exe").unwrap());
            let mut other = pin!(file.read_at(Hooked::new(8, Drops), 0));
            let panicked = poll_fn(|cx| {
                Poll::Ready(catch_unwind(AssertUnwindSafe(|| other.as_mut().poll(cx).is_pending())).is_err())
            });
            assert!(panicked.await);
            assert_eq!(count.dropped(), 0, "the kernel has it");
            pipe.write(b"written into what is leaked");
            op::nop().await.unwrap();
            let (result, buf) = other.await;
            assert_eq!((result.unwrap(), &buf.bytes[..4]), (8, &b"\x7fELF"[..]), "the loop goes on");
        });
        assert_eq!(count.dropped(), 0);
    });
}

/// Panics when it is asked where it is, once it was told to.
struct Tired(Rc<Cell<bool>>);

impl Hook for Tired {
    fn asked(&self) {
        assert!(!self.0.get(), "this buffer panics, as the test wants it");
    }
}

#[test]
fn a_buffer_that_panics_when_what_a_dropped_read_brought_is_saved_keeps_nobody_waiting() {
    bounded(|| {
        run(async {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut file = File::from(OwnedFd::from(reader));
            let tired = Rc::new(Cell::new(false));
            let mut read = file.read(Hooked::new(8, Tired(tired.clone())));
            assert!(poll_once(&mut read).await.is_pending());
            op::nop().await.unwrap();
            std::io::Write::write_all(&mut writer, b"lost").unwrap();
            tired.set(true);
            drop(read);
            let (result, _) = file.read(Vec::<u8>::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
            drop(file.into_std().unwrap());
        });
    });
}

#[test]
fn a_link_whose_buffer_panics_then_keeps_nobody_waiting_at_the_others() {
    bounded(|| {
        run(async {
            let (mut one, mut first) = UnixStream::pair().unwrap();
            let (mut other, mut second) = UnixStream::pair().unwrap();
            let tired = Rc::new(Cell::new(false));
            let buf = Hooked::new(8, Tired(tired.clone()));
            let mut chain = one.read(buf).link(other.read(Vec::with_capacity(8)));
            assert!(poll_once(&mut chain).await.is_pending());
            op::nop().await.unwrap();
            second.write_all("kept").await.0.unwrap();
            first.write_all("lost").await.0.unwrap();
            tired.set(true);
            drop(chain);
            let (result, bytes) = other.read(Vec::with_capacity(8)).await;
            assert_eq!((result.unwrap(), &bytes[..]), (4, &b"kept"[..]));
            let (result, _) = one.read(Vec::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
        });
    });
}

/// Its kernel reads on, so what comes there next is not for anybody else.
#[test]
fn the_object_of_an_operation_that_was_lost_is_an_error_and_does_not_share_with_it() {
    bounded(|| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut file = File::from(OwnedFd::from(reader));
        let event_loop = EventLoop::builder().shutdown_timeout(Duration::ZERO).build().unwrap();
        {
            let mut read = file.read(Vec::<u8>::with_capacity(8));
            event_loop.block_on(async { assert!(poll_once(&mut read).await.is_pending()) });
            drop(event_loop);
            let polled = catch_unwind(AssertUnwindSafe(|| run(async { read.await.0.map(drop) })));
            let panic = polled.unwrap_err();
            assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("leaked")));
        }
        std::io::Write::write_all(&mut writer, b"taken").unwrap();
        run(async {
            let (result, _) = file.read(Vec::<u8>::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
        });
    });
}

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
    /// An operation on the second guest, by the same name as the first one's.
    static OTHER: RefCell<Option<RawRead>> = const { RefCell::new(None) };
    static EXCHANGES: Cell<bool> = const { Cell::new(false) };
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A waker whose clone ends the guest of this thread and makes another, which has an operation then.
fn exchanging() -> Waker {
    unsafe fn clone(_: *const ()) -> RawWaker {
        if EXCHANGES.replace(false) {
            drop(GUEST.take());
            GUEST.set(Some(Guest::new().unwrap()));
            OTHER.with_borrow_mut(|other| {
                let flag: Waker = other_flag().into();
                let read = other.as_mut().unwrap();
                assert!(Pin::new(read).poll(&mut Context::from_waker(&flag)).is_pending());
            });
        }
        RawWaker::new(std::ptr::null(), &TABLE)
    }
    unsafe fn nothing(_: *const ()) {}
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: the functions use no data.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
}

thread_local! {
    static OTHER_FLAG: Arc<Flag> = Arc::new(Flag(AtomicBool::new(false)));
}

fn other_flag() -> Arc<Flag> {
    OTHER_FLAG.with(Arc::clone)
}

#[test]
fn a_waker_that_exchanges_the_loop_when_it_is_cloned() {
    bounded(|| {
        let count = Count::default();
        let (first, mut second) = (pipe(), pipe());
        GUEST.set(Some(Guest::new().unwrap()));
        let mut read = first.read(count.buffer());
        OTHER.set(Some(second.read(count.buffer())));
        assert!(Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        EXCHANGES.set(true);
        let polled = Pin::new(&mut read).poll(&mut Context::from_waker(&exchanging()));
        match polled {
            Poll::Ready((result, kept)) => {
                assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
                drop(kept);
            }
            Poll::Pending => panic!("its loop has ended"),
        }
        second.write(b"x");
        let flag = other_flag();
        while !flag.0.load(Ordering::SeqCst) {
            GUEST.with_borrow(|guest| guest.as_ref().unwrap().turn(128));
        }
        drop((OTHER.take(), GUEST.take()));
        drop(read);
        assert_eq!(count.dropped(), 2);
    });
}

/// Uses the loop of its thread, and one of its own, when the thread's variables are destroyed.
struct Late {
    event_loop: Option<EventLoop>,
    reads: Vec<RawRead>,
    sent: std::sync::mpsc::Sender<i32>,
}

impl Drop for Late {
    fn drop(&mut self) {
        self.reads.truncate(1);
        let answer = ringtoss::block_on(async {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
            ringtoss::spawn(async { op::nop().await.map(|()| 42) }).await.unwrap().unwrap()
        });
        drop(self.event_loop.take());
        self.sent.send(answer).unwrap();
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn a_loop_ends_and_another_runs_when_the_variables_of_a_thread_are_destroyed() {
    bounded(|| {
        let (sent, received) = std::sync::mpsc::channel();
        let count = Count::default();
        let counted = count.clone();
        std::thread::spawn(move || {
            let event_loop = EventLoop::new().unwrap();
            let mut pipe = pipe();
            let reads = event_loop.block_on(async {
                let mut reads: Vec<RawRead> = (0..3).map(|_| pipe.read(counted.buffer())).collect();
                for read in &mut reads {
                    assert!(poll_once(read).await.is_pending());
                }
                op::nop().await.unwrap();
                // In the table of the loop's tasks, and with an operation of its own.
                let read = pipe.read(counted.buffer());
                ringtoss::spawn(async move { drop(read.await) });
                ringtoss::yield_now().await;
                reads
            });
            pipe.write(b"x");
            LATE.set(Some(Late { event_loop: Some(event_loop), reads, sent }));
        })
        .join()
        .unwrap();
        assert_eq!(received.recv().unwrap(), 42);
        assert_eq!((count.made(), count.dropped()), (4, 4));
    });
}

/// Of futures that are leaked at every stage nothing is freed, and what they hang on goes on without them.
#[test]
fn forgotten_futures_harm_nobody() {
    bounded(|| {
        let count = Count::default();
        run(async {
            for turns in 0..4 {
                let mut pipe = pipe();
                let mut read = pipe.read(count.buffer());
                assert!(poll_once(&mut read).await.is_pending());
                if turns == 2 {
                    pipe.write(b"x");
                }
                for _ in 0..turns {
                    op::nop().await.unwrap();
                }
                let mut cancel = read.cancel();
                if turns == 3 {
                    assert!(poll_once(&mut cancel).await.is_pending());
                }
                std::mem::forget(cancel);
                pipe.write(b"y");
                op::nop().await.unwrap();
            }
            let slept = Rc::new(());
            let mut sleep = Box::pin(ringtoss::time::timeout(Duration::from_millis(1), std::future::pending::<()>()));
            assert!(poll_once(&mut sleep).await.is_pending());
            std::mem::forget(sleep);
            let task = ringtoss::spawn({
                let slept = slept.clone();
                async move {
                    op::nop().await.unwrap();
                    drop(slept);
                }
            });
            std::mem::forget(task);
            until(|| Rc::strong_count(&slept) == 1).await;
        });
        assert_eq!(count.dropped(), 0);
    });
}
