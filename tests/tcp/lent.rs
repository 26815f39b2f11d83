//! Zero-copy sends whose result comes before their buffer. What the peer's window has no room for lies in the sender's queue,
//! and there the kernel has not copied it, on loopback neither.

use std::future::Future;
use std::io::{ErrorKind, Read};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ringtoss::EventLoop;
use ringtoss::net::TcpStream;
use ringtoss::op::{LentBuf, transferred};

use crate::util::*;

const LEN: usize = 32 * 1024;

/// A stream with a large queue, full up to the peer's window, so that what comes next is taken and stays. How much the peer
/// has to read before it comes to that.
async fn held_up() -> (TcpStream, std::net::TcpStream, usize) {
    let (mut a, b) = with_std_peer();
    set_option(&a, libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20);
    let before = 192 * 1024;
    a.write_all(pattern(0, before)).await.0.unwrap();
    (a, b, before)
}

/// Reads so much on a thread, and checks that it is the pattern.
fn read(peer: &std::net::TcpStream, len: usize) -> std::thread::JoinHandle<()> {
    let mut peer = peer.try_clone().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(50))).unwrap();
    std::thread::spawn(move || {
        let mut all = vec![0; len];
        peer.read_exact(&mut all).unwrap();
        check(&all, 0);
    })
}

/// A buffer that is the kernel's still, at this place of the stream.
async fn lend<B: ringtoss::buf::IoBuf>(a: &mut TcpStream, buf: B) -> LentBuf<B> {
    let len = buf.buf_len();
    let (result, mut lent) = a.send_zc(buf).result_first().await;
    assert_eq!(result.unwrap(), len);
    assert!(!lent.is_back() && poll_once(&mut lent).await.is_pending());
    lent
}

#[test]
fn the_result_comes_at_once_and_the_buffer_when_the_peer_has_read() {
    run(async {
        let (mut a, b, before) = held_up().await;
        let first = lend(&mut a, pattern(before, LEN)).await;
        // The stream goes on meanwhile, and the order is kept.
        let second = lend(&mut a, pattern(before + LEN, LEN)).await;
        a.write_all(pattern(before + 2 * LEN, 1000)).await.0.unwrap();
        let (result, third) = a.send_all_zc(pattern(before + 2 * LEN + 1000, LEN)).result_first().await;
        result.unwrap();
        let bufs = (pattern(before + 3 * LEN + 1000, LEN), pattern(before + 4 * LEN + 1000, LEN));
        let (result, fourth) = a.send_vectored_zc(bufs).result_first().await;
        assert_eq!(result.unwrap(), 2 * LEN);
        // The socket may go: all of it arrives.
        drop(a);
        let peer = read(&b, before + 5 * LEN + 1000);
        let (fourth, third) = (fourth.await, third.await);
        check(&second.await, before + LEN);
        check(&first.await, before);
        check(&third, before + 2 * LEN + 1000);
        check(&fourth.1, before + 4 * LEN + 1000);
        until(|| peer.is_finished()).await;
        peer.join().unwrap();
    });
}

#[test]
fn what_went_by_a_copy_is_back_and_what_was_copied_all_the_same_is_remembered() {
    run(async {
        let (mut a, b) = with_std_peer();
        let peer = std::thread::spawn(move || std::io::copy(&mut &b, &mut std::io::sink()).unwrap());
        let (result, lent) = a.send_zc(vec![7; 100]).result_first().await;
        assert!(result.unwrap() == 100 && lent.is_back());
        assert_eq!(lent.await, vec![7; 100]);
        let (result, lent) = a.send_zc(vec![7; LEN]).result_first().await;
        assert!(result.unwrap() == LEN && !lent.is_back());
        lent.await;
        let (result, lent) = a.send_zc(vec![7; LEN]).result_first().await;
        assert_eq!(result.unwrap(), LEN);
        // From Linux 6.2 on the first notification has told.
        assert!(lent.is_back() || !crate::zero_copy::reports());
        // The same of one whose buffer nobody waited for.
        drop(lent);
        drop(a);
        until(|| peer.is_finished()).await;
        assert_eq!(peer.join().unwrap(), 100 + 2 * LEN as u64);
    });
}

#[test]
fn a_dropped_buffer_is_kept_until_the_kernel_lets_go_and_nobody_waits_for_that() {
    run(async {
        for stage in 0..3 {
            let (mut a, b, before) = held_up().await;
            let (buffer, drops) = Counted::new(pattern(before, LEN));
            let mut send = a.send_zc(buffer).result_first();
            let sent = match stage {
                // Before it is with the kernel.
                0 => {
                    assert!(poll_once(&mut send).await.is_pending());
                    drop(send);
                    assert_eq!(drops.count(), 1);
                    0
                }
                // In flight, with its fate told as ever.
                1 => {
                    assert!(poll_once(&mut send).await.is_pending());
                    turn().await;
                    drop(send);
                    LEN
                }
                // Between the stages.
                _ => {
                    let (result, lent) = send.await;
                    assert_eq!(result.unwrap(), LEN);
                    let before = ringtoss::metrics().submissions;
                    drop(lent);
                    turn().await;
                    assert_eq!(ringtoss::metrics().submissions - before, 1, "nobody asks the kernel to cancel it");
                    // It is no dropped write, and holds up nothing.
                    assert!(a.take_dropped_write().await.is_none());
                    LEN
                }
            };
            if stage == 2 {
                let next = a.write_all(pattern(before + sent, 1000));
                next.await.0.unwrap();
                turn().await;
                assert_eq!(drops.count(), 0, "the kernel sends from it still");
            }
            let peer = read(&b, before + sent);
            drops.once().await;
            until(|| peer.is_finished()).await;
            peer.join().unwrap();
            if stage == 1 {
                assert_eq!(a.take_dropped_write().await.unwrap().unwrap(), LEN);
            }
        }
    });
}

#[test]
fn who_does_something_else_is_not_woken_for_the_buffer() {
    run(async {
        let (mut a, b, before) = held_up().await;
        let (has_result, result) = futures::channel::oneshot::channel();
        let (done, mut is_done) = futures::channel::oneshot::channel();
        let sender = ringtoss::spawn(async move {
            let (sent, lent) = a.send_zc(pattern(before, LEN)).result_first().await;
            assert_eq!(sent.unwrap(), LEN);
            has_result.send(()).unwrap();
            let mut polls = 0;
            std::future::poll_fn(|cx| {
                polls += 1;
                Pin::new(&mut is_done).poll(cx)
            })
            .await
            .unwrap();
            lent.await;
            polls
        });
        result.await.unwrap();
        let completions = ringtoss::metrics().completions;
        let peer = read(&b, before + LEN);
        // The notification.
        until(|| ringtoss::metrics().completions > completions).await;
        turn().await;
        done.send(()).unwrap();
        assert_eq!(sender.await.unwrap(), 2, "once when it began, and once when it was told to go on");
        until(|| peer.is_finished()).await;
        peer.join().unwrap();
    });
}

#[test]
fn a_limit_does_not_wait_for_the_buffer() {
    run(async {
        let (mut a, b) = with_std_peer();
        // The peer's stays as it is: windows smaller than a packet are opened by timers.
        small_buffers(&a);
        let (buffer, drops) = Counted::new(pattern(0, 1_000_000));
        let send = a.send_all_zc(buffer).result_first().timeout(Duration::from_millis(20));
        let (result, lent) = send.await;
        let error = result.unwrap_err();
        let sent = transferred(&error).unwrap();
        assert!(error.kind() == ErrorKind::TimedOut && sent > 0 && sent < 1_000_000, "{error}, {sent}");
        assert_eq!(drops.count(), 0);
        drop(a);
        let peer = read(&b, sent);
        drop(lent.await);
        assert_eq!(drops.count(), 1);
        until(|| peer.is_finished()).await;
        peer.join().unwrap();
    });
}

#[test]
fn of_what_was_not_sent_the_buffer_is_back() {
    run(async {
        let (mut a, peer) = with_std_peer();
        reset(peer);
        until(|| !matches!(a.take_error(), Ok(None))).await;
        let (result, lent) = a.send_all_zc(pattern(0, LEN)).result_first().await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        check(&lent.await, 0);
        let token = ringtoss::CancellationToken::new();
        token.cancel();
        let (result, lent) = a.send_zc(pattern(0, LEN)).result_first().cancel_on(&token).await;
        assert!(result.is_err());
        check(&lent.await, 0);
    });
}

#[test]
fn it_comes_back_on_another_thread_and_is_dropped_there() {
    run(async {
        let (mut a, b, before) = held_up().await;
        let lent = lend(&mut a, pattern(before, LEN)).await;
        let (buffer, drops) = Counted::new(pattern(before + LEN, LEN));
        let dropped = lend(&mut a, buffer).await;
        let elsewhere = std::thread::spawn(move || {
            drop(dropped);
            run(lent)
        });
        turn().await;
        assert_eq!(drops.count(), 0);
        let peer = read(&b, before + 2 * LEN);
        until(|| elsewhere.is_finished()).await;
        check(&elsewhere.join().unwrap(), before);
        drops.once().await;
        peer.join().unwrap();
    });
}

#[test]
fn a_loop_that_ends_between_the_stages_waits_for_the_kernel() {
    let (lent, peer, before, drops, thread) = run(async {
        let (mut a, b, before) = held_up().await;
        let lent = lend(&mut a, pattern(before, LEN)).await;
        let (buffer, drops) = Counted::new(pattern(before + LEN, LEN));
        let forgotten = lend(&mut a, buffer).await;
        ringtoss::spawn(forgotten);
        turn().await;
        let thread = std::thread::spawn({
            let b = b.try_clone().unwrap();
            move || {
                // The loop is ending by now, or will: either is fine.
                std::thread::yield_now();
                read(&b, before + 2 * LEN).join().unwrap();
            }
        });
        (lent, b, before, drops, thread)
    });
    assert_eq!(drops.count(), 1, "the task's buffer was freed when the kernel had let go");
    check(&run(lent), before);
    thread.join().unwrap();
    drop(peer);
}

#[test]
fn a_loop_that_cannot_wait_leaks_the_buffer() {
    let leaked = EventLoop::builder().shutdown_timeout(Duration::from_millis(10)).build().unwrap();
    let (mut lent, drops, peer) = leaked.block_on(async {
        let (mut a, b, before) = held_up().await;
        let (buffer, drops) = Counted::new(pattern(before, LEN));
        (lend(&mut a, buffer).await, drops, (a, b))
    });
    drop(leaked);
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(async {
            matches!(
                Pin::new(&mut lent).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())),
                Poll::Ready(_)
            )
        })
    }));
    assert!(polled.is_err(), "what the kernel may still read is not given back");
    drop(lent);
    assert_eq!(drops.count(), 0);
    drop(peer);
}
