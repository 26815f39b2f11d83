//! Receives that move to another loop pick from that one's buffers.

use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;

use ringtoss::net::{UnixDatagram, UnixStream};

use crate::util::*;

/// Has the loop make its buffers, and keeps the first of them, so that the others' numbers are not those of another loop.
async fn hold_one() -> ringtoss::buf::Lease {
    let (mut receiver, mut sender) = UnixStream::pair().unwrap();
    sender.write_all("warm").await.0.unwrap();
    receiver.recv().await.unwrap().unwrap()
}

#[test]
#[expect(clippy::async_yields_async, reason = "it is awaited on another loop")]
fn one_that_waits_behind_a_dropped_one_begins_on_another_loop() {
    let (mut a, mut b) = ringtoss::block_on(async { UnixStream::pair() }).unwrap();
    let a = &mut a;
    let first_loop = move || {
        run(async move {
            let mut orphan = a.recv();
            assert!(poll_once(&mut orphan).await.is_pending());
            turn().await;
            drop(orphan);
            let mut next = a.recv();
            assert!(poll_once(&mut next).await.is_pending());
            next
        })
    };
    let next = thread::scope(|scope| scope.spawn(first_loop).join().unwrap());
    run(async {
        let _held = hold_one().await;
        b.write_all("hello").await.0.unwrap();
        assert_eq!(&next.await.unwrap().unwrap()[..], b"hello");
    });
}

#[test]
fn one_whose_loop_ends_begins_again_on_another() {
    let (a, b) = ringtoss::block_on(async { UnixDatagram::pair() }).unwrap();
    let (a, b) = (&a, &b);
    let (send, receive) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let first_loop = scope.spawn(move || {
            run(async move {
                let (mut orphan, mut next) = (a.recv_lease(), a.recv_lease());
                assert!(poll_once(&mut orphan).await.is_pending());
                assert!(poll_once(&mut next).await.is_pending());
                send.send((orphan, next)).ok().unwrap();
                let _ = ringtoss::spawn_blocking(move || stopped.recv()).await.unwrap();
            })
        });
        run(async {
            let _held = hold_one().await;
            let (orphan, mut next) = receive.recv().unwrap();
            assert!(poll_once(&mut next).await.is_pending());
            drop(orphan);
            drop(stop);
            until(|| first_loop.is_finished()).await;
            assert!(poll_once(&mut next).await.is_pending());
            b.send("one").await.0.unwrap();
            assert_eq!(&next.await.unwrap().0[..], b"one");
        });
    });
}

#[test]
fn a_stream_that_has_found_no_buffer_finds_one_on_another_loop() {
    let (mut a, mut b) = ringtoss::block_on(async { UnixStream::pair() }).unwrap();
    let (a, b) = (&mut a, &mut b);
    let (send, receive) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let event_loop = ringtoss::EventLoop::builder().lease_buffers(4096, 64).build().unwrap();
            event_loop.block_on(bounded(async move {
                let (mut receiver, mut sender) = UnixStream::pair().unwrap();
                let mut held = Vec::new();
                let mut stream = a.recv_stream();
                for left in (0..64).rev() {
                    sender.write_all("x").await.0.unwrap();
                    held.push(receiver.recv().await.unwrap());
                    if left == 1 {
                        // There is one for it when it begins.
                        assert!(stream.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
                        turn().await;
                    }
                }
                let before = ringtoss::metrics().completions;
                b.write_all("hello").await.0.unwrap();
                // The write's, and what it has met: that there is no buffer.
                until(|| ringtoss::metrics().completions >= before + 2).await;
                send.send(stream).ok().unwrap();
                let _ = ringtoss::spawn_blocking(move || stopped.recv()).await.unwrap();
                drop(held);
            }));
        });
        run(async {
            let mut stream = receive.recv().unwrap();
            assert_eq!(&stream.next().await.unwrap().unwrap()[..], b"hello");
        });
        drop(stop);
    });
}
