//! The end of a guest, and of what it has in flight.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use ringtoss::compat::Guest;
use ringtoss::net::UnixStream;
use ringtoss::{EventLoop, Handle, op};

use crate::util::{Flag, host_block_on, is_called, poll_once, turn_until};

fn pair() -> (StdStream, UnixStream) {
    let (one, other) = StdStream::pair().unwrap();
    (one, UnixStream::from_std(other))
}

#[test]
fn a_future_of_the_hosts_outlives_the_guest() {
    let guest = Guest::new().unwrap();
    let (_peer, mut stream) = pair();
    let mut receive = Box::pin(stream.read(Vec::with_capacity(16)));
    let flag = Flag::new();
    let waker = Waker::from(flag.clone());
    assert!(receive.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while guest.turn(128) {}
    drop(guest);
    assert!(flag.take(), "who waits is told");
    let Poll::Ready((result, _)) = receive.as_mut().poll(&mut Context::from_waker(&waker)) else { panic!("pending") };
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    drop(receive);
    // What it began there it goes on with here.
    let mut peer = _peer;
    peer.write_all(b"x").unwrap();
    assert_eq!(ringtoss::block_on(stream.read(Vec::with_capacity(1))).1, b"x");
}

#[test]
fn what_is_dropped_between_turns_is_salvaged() {
    let guest = Guest::new().unwrap();
    let (mut peer, mut stream) = pair();
    let mut receive = Box::pin(stream.read(Vec::with_capacity(16)));
    assert!(poll_once(&mut receive).is_pending());
    while guest.turn(128) {}
    peer.write_all(b"late").unwrap();
    drop(receive);
    assert_eq!(host_block_on(&guest, stream.read(Vec::with_capacity(16))).1, b"late");
    // Never handed over at all.
    let mut receive = Box::pin(stream.read(Vec::with_capacity(16)));
    assert!(poll_once(&mut receive).is_pending());
    drop(receive);
    while guest.turn(128) {}
    assert_eq!(guest.metrics().in_flight, 0);
    peer.write_all(b"next").unwrap();
    assert_eq!(host_block_on(&guest, stream.read(Vec::with_capacity(16))).1, b"next");
    assert!(!is_called(&guest) || !guest.turn(128));
}

#[test]
fn its_tasks_are_dropped_with_it() {
    let guest = Guest::new().unwrap();
    let dropped = Rc::new(Cell::new(false));
    struct Tells(Rc<Cell<bool>>, UnixStream);
    impl Drop for Tells {
        fn drop(&mut self) {
            // In the loop's context, as ever.
            assert!(Handle::try_current().is_some());
            self.0.set(true);
        }
    }
    let (mut peer, stream) = pair();
    let mut tells = Tells(dropped.clone(), stream);
    let task = guest.spawn(async move { tells.1.read(Vec::with_capacity(16)).await.0 });
    while guest.turn(128) {}
    drop(guest);
    assert!(dropped.get() && task.now_or_never().unwrap().unwrap_err().is_cancelled());
    assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0, "the stream is closed");
    assert!(Handle::try_current().is_none());
}

#[test]
fn other_threads_find_it_gone() {
    let guest = Guest::new().unwrap();
    let handle = guest.handle();
    let remote = handle.clone();
    let task = std::thread::spawn(move || remote.spawn(async { 3 })).join().unwrap();
    turn_until(&guest, || task.is_finished());
    assert_eq!(task.now_or_never().unwrap().unwrap(), 3);
    drop(guest);
    let task = std::thread::spawn(move || handle.spawn(async { 4 })).join().unwrap();
    assert!(task.now_or_never().unwrap().unwrap_err().is_cancelled());
}

#[test]
fn a_loop_that_ends_on_the_guests_thread_leaves_the_guest_alone() {
    let other = EventLoop::new().unwrap();
    let (_peer, mut stream) = pair();
    let task = other.spawn(async move { stream.read(Vec::with_capacity(16)).await.0 });
    let (_peer, mut kept) = pair();
    // Both ends of it: the loop that was there first, and the guest.
    let mut receive = Box::pin(kept.read(Vec::with_capacity(16)));
    other.block_on(std::future::poll_fn(|_| {
        assert!(poll_once(&mut receive).is_pending());
        Poll::Ready(())
    }));
    let guest = Guest::new().unwrap();
    let mut nop = op::nop();
    assert!(poll_once(&mut nop).is_pending());
    drop(other);
    assert!(task.now_or_never().unwrap().unwrap_err().is_cancelled());
    host_block_on(&guest, nop).unwrap();
    let (result, _) = host_block_on(&guest, receive);
    assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert!(Handle::try_current().is_some());
}

#[test]
fn a_guest_that_is_leaked_stays_sound() {
    std::thread::spawn(|| {
        let guest = Guest::new().unwrap();
        let (mut peer, mut stream) = pair();
        let mut receive = Box::pin(stream.read(vec![0; 4096]));
        assert!(poll_once(&mut receive).is_pending());
        while guest.turn(128) {}
        std::mem::forget(guest);
        assert!(Handle::try_current().is_some());
        assert!(poll_once(&mut receive).is_pending());
        drop(receive);
        drop(stream);
        peer.write_all(&[7; 4096]).unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn an_operation_that_was_begun_here_goes_on_elsewhere() {
    let guest = Guest::new().unwrap();
    let (mut peer, stream) = pair();
    let mut receive = Box::pin(async move {
        let mut stream = stream;
        stream.read(Vec::with_capacity(16)).await
    });
    assert!(poll_once(&mut receive).is_pending());
    while guest.turn(128) {}
    // The other thread has no loop: it waits for what this one's leaves there.
    let done = Rc::new(Cell::new(false));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let (result, bytes) = futures::executor::block_on(receive);
        result.unwrap();
        sender.send(bytes).unwrap();
    });
    let also_done = done.clone();
    let task = guest.spawn(async move {
        let bytes = receiver.await.unwrap();
        also_done.set(true);
        bytes
    });
    peer.write_all(b"there").unwrap();
    turn_until(&guest, || done.get());
    assert_eq!(task.now_or_never().unwrap().unwrap(), b"there");
    thread.join().unwrap();
}
