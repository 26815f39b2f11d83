//! What nobody sane does, and what must be sound all the same: wakers that panic or reach back into the loop, drops on
//! other threads at the wrong moment, objects that end while mail about them is on its way.

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use ringtoss::EventLoop;
use ringtoss::fs::File;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::op;

use crate::util::{Count, Hook, Hooked, bounded, no_children, pipe, poll_once, run, starting_a_child, until};

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

// ---- a full queue ---------------------------------------------------------------------------------------------

#[test]
fn a_queue_that_is_exactly_full_before_the_first_sleep_does_not_hang() {
    bounded(|| {
        for count in 1..=20 {
            let event_loop = EventLoop::builder().submission_entries(8).build().unwrap();
            event_loop.block_on(async {
                let nops: Vec<_> = (0..count).map(|_| ringtoss::spawn(op::nop())).collect();
                for nop in nops {
                    nop.await.unwrap().unwrap();
                }
            });
            let event_loop = EventLoop::builder().submission_entries(8).build().unwrap();
            let mut nops: Vec<_> = (0..count).map(|_| op::nop()).collect();
            event_loop.block_on(poll_fn(|cx| {
                nops.retain_mut(|nop| Pin::new(nop).poll(cx).is_pending());
                if nops.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
        }
    });
}

// ---- mail that is on its way ----------------------------------------------------------------------------------

/// Polls a future once, then drops it on another thread, before the loop can see the mail.
fn drop_elsewhere<F: Future + Unpin + Send>(future: F) {
    std::thread::scope(|scope| scope.spawn(move || drop(future)).join().unwrap());
}

#[test]
fn a_listener_goes_while_an_accept_that_was_dropped_elsewhere_is_on_its_way_home() {
    bounded(|| {
        let _no_children = no_children();
        for turns in 0..3 {
            run(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let mut accept = listener.accept();
                assert!(poll_once(&mut accept).await.is_pending());
                let mut peer = None;
                for turn in 0..turns {
                    if turn == 1 {
                        peer = Some(std::net::TcpStream::connect(address).unwrap());
                    }
                    op::nop().await.unwrap();
                }
                drop_elsewhere(accept);
                drop(listener);
                drop(TcpListener::bind(address).await.unwrap());
                if let Some(mut peer) = peer {
                    let end = std::io::Read::read(&mut peer, &mut [0]);
                    assert!(matches!(end, Ok(0) | Err(_)), "the connection is closed: {end:?}");
                }
            });
        }
    });
}

#[test]
fn a_stream_is_converted_while_a_read_that_was_dropped_elsewhere_is_on_its_way_home() {
    bounded(|| {
        for written in [false, true] {
            run(async move {
                let (mut stream, mut peer) = pair().await;
                let mut read = stream.read(Vec::with_capacity(8));
                assert!(poll_once(&mut read).await.is_pending());
                op::nop().await.unwrap();
                if written {
                    std::io::Write::write_all(&mut peer, b"salvaged").unwrap();
                    for _ in 0..3 {
                        op::nop().await.unwrap();
                    }
                }
                drop_elsewhere(read);
                let (_stream, unread) = stream.into_parts().unwrap();
                assert_eq!(unread, if written { &b"salvaged"[..] } else { b"" });
            });
        }
    });
}

async fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().await.unwrap().0, peer)
}

#[test]
fn a_watcher_that_is_dropped_while_its_result_waits_in_a_full_ring() {
    bounded(|| {
        let count = Count::default();
        let event_loop = EventLoop::builder().submission_entries(4).build().unwrap();
        event_loop.block_on(async {
            let mut pipe = pipe();
            let mut read = pipe.read(count.buffer());
            assert!(poll_once(&mut read).await.is_pending());
            op::nop().await.unwrap();
            let (to_watcher, reads) = std::sync::mpsc::channel();
            let (watching, watched) = std::sync::mpsc::channel();
            let (go, gone) = std::sync::mpsc::channel::<()>();
            let watcher = std::thread::spawn(move || {
                let mut read: crate::util::RawRead = reads.recv().unwrap();
                assert!(poll_with(&mut read, Waker::noop()).is_pending());
                watching.send(()).unwrap();
                gone.recv().unwrap();
                drop(read);
            });
            to_watcher.send(read).unwrap();
            watched.recv().unwrap();
            // The loop takes the mail: from here on the slot is watched.
            op::nop().await.unwrap();
            op::nop().await.unwrap();
            pipe.write(b"x");
            // In one poll: the ring gets full and is flushed, which brings the completion up, and then the watcher goes.
            let mut nops: Vec<_> = (0..9).map(|_| op::nop()).collect();
            let mut watcher = Some(watcher);
            poll_fn(|cx| {
                nops.retain_mut(|nop| Pin::new(nop).poll(cx).is_pending());
                if let Some(watcher) = watcher.take() {
                    go.send(()).unwrap();
                    watcher.join().unwrap();
                }
                if nops.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            until(|| count.dropped() == 1).await;
        });
        assert_eq!(count.dropped(), 1);
    });
}

// ---- wakers that misbehave ------------------------------------------------------------------------------------

/// Panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics, as the test wants it");
    }
}

#[test]
fn a_waker_that_panics_while_a_loop_ends_frees_nothing_under_the_kernel() {
    let count = Count::default();
    let event_loop = EventLoop::new().unwrap();
    let pipe = pipe();
    let (read, mut sleep) = event_loop.block_on(async {
        let mut read = pipe.read(count.buffer());
        assert!(poll_once(&mut read).await.is_pending());
        op::nop().await.unwrap();
        let mut sleep = ringtoss::time::sleep(Duration::from_secs(3600));
        assert!(poll_with(&mut sleep, &Arc::new(Bomb).into()).is_pending());
        (read, sleep)
    });
    // Its timer is taken out by mail, and whoever waits for it is woken when the loop takes that in: at its end.
    Pin::new(&mut sleep).reset(ringtoss::time::Instant::now());
    drop(read);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(event_loop)));
    assert_eq!(count.dropped(), 1, "reaped, and then freed");
}

#[test]
fn a_waker_that_panics_in_mail_does_not_end_the_loop() {
    let event_loop = EventLoop::new().unwrap();
    let (mut sleep,) = event_loop.block_on(async {
        let mut sleep = ringtoss::time::sleep(Duration::from_secs(3600));
        assert!(poll_with(&mut sleep, &Arc::new(Bomb).into()).is_pending());
        (sleep,)
    });
    Pin::new(&mut sleep).reset(ringtoss::time::Instant::now());
    event_loop.block_on(async { op::nop().await.unwrap() });
}

/// A waker whose clones and drops run a piece of the test's.
struct Meddler {
    on_clone: Box<dyn Fn() + Send + Sync>,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

const MEDDLER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data is that of an `Arc<Meddler>` which the waker keeps.
        let this = unsafe { std::mem::ManuallyDrop::new(Arc::from_raw(data.cast::<Meddler>())) };
        let clone = Arc::clone(&this);
        (this.on_clone)();
        RawWaker::new(Arc::into_raw(clone).cast(), &MEDDLER)
    },
    // SAFETY: as above; the waker is consumed.
    |data| drop(unsafe { Arc::from_raw(data.cast::<Meddler>()) }),
    |_| {},
    |data| {
        // SAFETY: as above; the waker is consumed.
        let this = unsafe { Arc::from_raw(data.cast::<Meddler>()) };
        (this.on_drop)();
    },
);

fn meddler(on_clone: impl Fn() + Send + Sync + 'static, on_drop: impl Fn() + Send + Sync + 'static) -> Waker {
    let data = Arc::into_raw(Arc::new(Meddler { on_clone: Box::new(on_clone), on_drop: Box::new(on_drop) }));
    // SAFETY: the functions fulfil the contract: the data is a counted `Arc`, and everything in it is Send and Sync.
    unsafe { Waker::from_raw(RawWaker::new(data.cast(), &MEDDLER)) }
}

/// Does what a waker's owner may do: use the loop.
fn use_the_loop() {
    let mut nop = op::nop();
    let _ = poll_with(&mut nop, Waker::noop());
    drop(nop);
    ringtoss::metrics();
}

#[test]
fn wakers_may_use_the_loop_when_they_are_cloned_and_dropped() {
    bounded(|| {
        run(async {
            let waker = meddler(use_the_loop, use_the_loop);
            // Refused by its own arguments: the waker goes without having been kept.
            let file = File::open("/proc/self/stat").await.unwrap();
            let mut refused = file.read_at(Vec::new(), 0);
            assert!(poll_with(&mut refused, &waker).is_ready());
            // Two completions, of which the first wakes.
            let (sender, mut peer) = pair().await;
            let bytes = b"zero copy".to_vec();
            // IORING_OP_SEND_ZC
            let entry = op::Sqe::new(47).fd(sender.as_raw_fd()).addr(bytes.as_ptr() as u64).len(bytes.len() as u32);
            // SAFETY: the bytes are kept, and so is the descriptor.
            let mut send = unsafe { op::submit(entry, bytes) };
            assert!(poll_with(&mut send, &waker).is_pending());
            for _ in 0..5 {
                op::nop().await.unwrap();
            }
            let (result, _) = send.await;
            assert_eq!(result.unwrap().result, 9);
            std::io::Read::read_exact(&mut peer, &mut [0; 9]).unwrap();
            // One waker in another's place.
            let pipe = pipe();
            let count = Count::default();
            let mut read = pipe.read(count.buffer());
            assert!(poll_with(&mut read, &waker).is_pending());
            assert!(poll_with(&mut read, &meddler(use_the_loop, use_the_loop)).is_pending());
            drop(read);
            until(|| count.dropped() == 1).await;
        });
    });
}

#[test]
fn a_completion_may_come_while_a_waker_is_cloned() {
    bounded(|| {
        let event_loop = EventLoop::builder().submission_entries(4).build().unwrap();
        event_loop.block_on(async {
            let mut nop = op::nop();
            assert!(poll_with(&mut nop, Waker::noop()).is_pending());
            // Its clone fills the ring, which brings up the completion of what is being polled.
            let waker = meddler(
                || {
                    let mut nops: Vec<_> = (0..9).map(|_| op::nop()).collect();
                    nops.iter_mut().for_each(|nop| assert!(poll_with(nop, Waker::noop()).is_pending()));
                },
                || {},
            );
            let polled = poll_with(&mut nop, &waker);
            assert!(matches!(polled, Poll::Ready(Ok(()))), "{polled:?}");
        });
    });
}

#[test]
fn wakers_may_use_the_object_whose_salvage_wakes_them() {
    bounded(|| {
        run(async {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut first = File::from(std::os::fd::OwnedFd::from(reader));
            let mut second = first.try_clone().unwrap();
            let third = Arc::new(std::sync::Mutex::new(Some(first.try_clone().unwrap())));
            // An orphan, for which the clone waits with a waker that, cloned, drops another clone of the same file.
            let mut dropped = first.read(vec![0u8; 4]);
            assert!(poll_once(&mut dropped).await.is_pending());
            op::nop().await.unwrap();
            drop(dropped);
            let waker = meddler(move || drop(third.lock().unwrap().take()), || {});
            let mut read = second.read(vec![0u8; 4]);
            assert!(poll_with(&mut read, &waker).is_pending());
            std::io::Write::write_all(&mut writer, b"here").unwrap();
            let (result, buf) = read.await;
            assert_eq!((result.unwrap(), &buf[..]), (4, &b"here"[..]));
        });
    });
}

#[test]
fn a_panicking_waker_keeps_no_other_reader_waiting() {
    bounded(|| {
        run(async {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut first = File::from(std::os::fd::OwnedFd::from(reader));
            let (mut second, mut third) = (first.try_clone().unwrap(), first.try_clone().unwrap());
            let mut dropped = first.read(vec![0u8; 4]);
            assert!(poll_once(&mut dropped).await.is_pending());
            op::nop().await.unwrap();
            drop(dropped);
            let mut bomb = second.read(vec![0u8; 1]);
            assert!(poll_with(&mut bomb, &Arc::new(Bomb).into()).is_pending());
            let read = ringtoss::spawn(async move { third.read(vec![0u8; 4]).await });
            ringtoss::yield_now().await;
            std::io::Write::write_all(&mut writer, b"here").unwrap();
            let (result, buf) = read.await.unwrap();
            assert_eq!((result.unwrap(), &buf[..]), (4, &b"here"[..]));
        });
    });
}

// ---- the position of a shared file ----------------------------------------------------------------------------

#[test]
fn a_poll_without_a_loop_does_not_keep_the_position_of_a_shared_file() {
    let path = std::env::temp_dir().join(format!("ringtoss-hostile-{}", std::process::id()));
    std::fs::write(&path, b"0123456789").unwrap();
    let mut file = File::from_std(std::fs::File::open(&path).unwrap());
    let mut clone = file.try_clone().unwrap();
    let mut read = file.read(vec![0u8; 4]);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_with(&mut read, Waker::noop()).is_ready())).is_err());
    drop(read);
    let mut read = file.read(vec![0u8; 4]);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_with(&mut read, Waker::noop()).is_ready())).is_err());
    bounded(move || {
        run(async {
            let (result, buf) = clone.read(vec![0u8; 4]).await;
            assert_eq!((result.unwrap(), &buf[..]), (4, &b"0123"[..]));
        });
    });
    run(async {
        let (result, buf) = read.await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"4567"[..]));
    });
    std::fs::remove_file(path).unwrap();
}

/// A buffer that panics when it is dropped.
struct Mine;

impl Hook for Mine {}

impl Drop for Mine {
    fn drop(&mut self) {
        panic!("this buffer panics, as the test wants it");
    }
}

#[test]
fn a_buffer_that_panics_leaves_no_place_among_those_who_wait() {
    bounded(|| {
        let count = Count::default();
        run(async {
            let (reader, _writer) = std::io::pipe().unwrap();
            let mut first = File::from(std::os::fd::OwnedFd::from(reader));
            let mut second = first.try_clone().unwrap();
            let mut dropped = first.read(count.buffer());
            assert!(poll_once(&mut dropped).await.is_pending());
            op::nop().await.unwrap();
            drop(dropped);
            let mut waits = second.read(Hooked::new(4, Mine));
            assert!(poll_once(&mut waits).await.is_pending());
            op::nop().await.unwrap();
            assert_eq!(count.dropped(), 0, "somebody waits for what it brings");
            assert!(catch_unwind(AssertUnwindSafe(|| drop(waits))).is_err());
            until(|| count.dropped() == 1).await;
        });
    });
}

#[test]
fn what_a_dropped_read_took_from_a_pipe_reaches_a_clone_that_waits_in_the_kernel() {
    bounded(|| {
        run(async {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut first = File::from(std::os::fd::OwnedFd::from(reader));
            let mut second = first.try_clone().unwrap();
            let read = ringtoss::spawn(async move { second.read(vec![0u8; 4]).await });
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            let mut dropped = first.read(vec![0u8; 4]);
            assert!(poll_once(&mut dropped).await.is_pending());
            op::nop().await.unwrap();
            // The kernel gives it to the one that came last, which is dropped without having been told.
            std::io::Write::write_all(&mut writer, b"here").unwrap();
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            drop(dropped);
            let (result, buf) = read.await.unwrap();
            assert_eq!((result.unwrap(), &buf[..]), (4, &b"here"[..]));
        });
    });
}

/// Arms two accepts, and ends the first in the very submission in which a connection arrives for it.
async fn connect_while_one_of_two_accepts_ends(cancel: bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut first, mut second) = (listener.accept(), listener.accept());
    assert!(poll_once(&mut first).await.is_pending());
    op::nop().await.unwrap();
    assert!(poll_once(&mut second).await.is_pending());
    op::nop().await.unwrap();
    // Its socket is made, and now it is staged.
    let mut connect = Box::pin(TcpStream::connect(address));
    assert!(poll_once(&mut connect).await.is_pending());
    op::nop().await.unwrap();
    assert!(poll_once(&mut connect).await.is_pending());
    let mut cancelled = None;
    if cancel {
        cancelled = Some(first.cancel())
    } else {
        drop(first)
    }
    let accepting = async {
        if let Some(cancelled) = cancelled
            && let Ok(connection) = cancelled.await
        {
            return connection;
        }
        second.await.unwrap()
    };
    let (_connection, _peer) = accepting.await;
    connect.await.unwrap();
}

#[test]
fn an_accept_that_is_ended_takes_no_wake_up_with_it() {
    for cancel in [false, true] {
        run(connect_while_one_of_two_accepts_ends(cancel));
    }
}

#[test]
fn an_accept_that_follows_on_a_dropped_one_gets_what_arrives_in_the_same_turn() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut first = listener.accept();
        assert!(poll_once(&mut first).await.is_pending());
        op::nop().await.unwrap();
        let mut connect = Box::pin(TcpStream::connect(listener.local_addr().unwrap()));
        assert!(poll_once(&mut connect).await.is_pending());
        op::nop().await.unwrap();
        // All in one submission: the next accept, the connection, and the cancellation.
        drop(first);
        let mut second = listener.accept();
        assert!(poll_once(&mut second).await.is_pending());
        assert!(poll_once(&mut connect).await.is_pending());
        second.await.unwrap();
        connect.await.unwrap();
    });
}

// ---- descriptors ----------------------------------------------------------------------------------------------

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether this is a process of the test's own, where nobody else opens descriptors; if not, runs the test in one.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("RINGTOSS_ALONE").is_some() {
        return true;
    }
    let _starting = starting_a_child();
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("hostile::{test}"), "--test-threads=1"])
        .env("RINGTOSS_ALONE", "1")
        .status();
    assert!(status.unwrap().success());
    false
}

#[test]
fn a_number_that_is_closed_is_no_longer_used_on_behalf_of_a_clone() {
    if !is_alone("a_number_that_is_closed_is_no_longer_used_on_behalf_of_a_clone") {
        return;
    }
    let path = std::env::temp_dir().join(format!("ringtoss-number-{}", std::process::id()));
    std::fs::write(&path, vec![7u8; 1000]).unwrap();
    run(async {
        let file = File::open(&path).await.unwrap();
        let mut clone = file.try_clone().unwrap();
        let number = file.as_raw_fd();
        let mut read = clone.read(vec![0u8; 10]);
        assert!(poll_once(&mut read).await.is_pending());
        // The kernel has closed it, and its future does not know yet.
        let mut close = Box::pin(file.close());
        assert!(poll_once(&mut close).await.is_pending());
        for _ in 0..3 {
            op::nop().await.unwrap();
        }
        let mut stranger = std::fs::File::open(&path).unwrap();
        assert_eq!(stranger.as_raw_fd(), number, "the lowest free number");
        std::io::Seek::seek(&mut stranger, std::io::SeekFrom::Start(500)).unwrap();
        // Puts the position back: the clone's, through a descriptor that is the clone's.
        drop(read);
        assert_eq!(std::io::Seek::stream_position(&mut stranger).unwrap(), 500);
        assert_eq!(clone.stream_position().await.unwrap(), 0);
        close.await.unwrap();
        assert_eq!(std::io::Seek::stream_position(&mut stranger).unwrap(), 500);
    });
    std::fs::remove_file(path).unwrap();
}

/// Makes a loop that closes so many sockets with unsent bytes, which linger for so long, and ends.
fn end_with_lingering_sockets(count: usize, linger: Duration, unsent: usize) {
    let before = open_descriptors();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    let event_loop = EventLoop::builder().shutdown_timeout(Duration::from_secs(3)).build().unwrap();
    event_loop.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..count {
            peers.push(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let mut stream = TcpStream::from_std(listener.accept().unwrap().0);
            stream.set_linger(Some(linger)).unwrap();
            let mut write = stream.write_all(vec![0u8; unsent]);
            let _ = poll_once(&mut write).await;
            op::nop().await.unwrap();
            drop(write);
            let _ = stream.take_dropped_write().await;
            streams.push(stream);
        }
        drop(streams);
        op::nop().await.unwrap();
    });
    drop(event_loop);
    drop((peers, listener));
    assert_eq!(open_descriptors(), before, "{count} sockets that linger for {linger:?}");
}

#[test]
fn sockets_that_linger_are_closed_though_their_loop_ends() {
    if is_alone("sockets_that_linger_are_closed_though_their_loop_ends") {
        end_with_lingering_sockets(50, Duration::ZERO, 10);
        end_with_lingering_sockets(5, Duration::from_secs(1), 16 << 20);
        end_with_lingering_sockets(40, Duration::from_secs(100), 16 << 20);
    }
}

#[test]
fn a_half_that_is_dropped_shuts_no_stranger_down() {
    if !is_alone("a_half_that_is_dropped_shuts_no_stranger_down") {
        return;
    }
    run(async {
        for _ in 0..40 {
            let mut streams = Vec::new();
            for _ in 0..40 {
                let (mut stream, peer) = pair().await;
                // So that the loop is its home.
                stream.write("x").await.0.unwrap();
                streams.push((stream, peer));
            }
            let (streams, peers): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
            let numbers: Vec<_> = streams.iter().map(|stream| stream.as_raw_fd()).collect();
            drop(streams.into_iter().map(TcpStream::into_split).collect::<Vec<_>>());
            // Shut down and closed in one submission; the kernel may have left the first to a worker thread of its own.
            op::nop().await.unwrap();
            let strangers: Vec<_> = (0..20).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
            assert!(strangers.iter().any(|(one, _)| numbers.contains(&one.as_raw_fd())), "numbers are used again");
            for _ in 0..3 {
                op::nop().await.unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
            for (mut one, mut other) in strangers {
                std::io::Write::write_all(&mut one, b"x").unwrap();
                std::io::Write::write_all(&mut other, b"x").unwrap();
            }
            drop(peers);
        }
    });
}
