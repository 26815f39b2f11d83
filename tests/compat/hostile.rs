//! Streams that nobody reads, writers that never wait, streams that change their loop.
#![allow(unsafe_code, reason = "asks whether a number is open")]

use std::future::poll_fn;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ringtoss::EventLoop;
use ringtoss::compat::PollIo;
use ringtoss::net::TcpStream;

use crate::util::*;

/// More unread bytes than the loop has buffers must not keep anybody else from reading.
#[test]
fn streams_that_nobody_reads_do_not_keep_others_from_reading() {
    let event_loop = EventLoop::builder().lease_buffers(64, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let mut unread = Vec::new();
        for _ in 0..8 {
            let (mut ours, mut theirs) = crate::wrapped().await;
            theirs.write_all(&pattern(0, 4096)).await.unwrap();
            ours.read_exact(&mut [0; 1]).await.unwrap();
            unread.push((ours, theirs));
        }
        let (mut ours, mut theirs) = crate::wrapped().await;
        ours.get_ref().set_nodelay(true).unwrap();
        theirs.get_ref().set_nodelay(true).unwrap();
        let echo = ringtoss::spawn(async move {
            let mut buf = [0; 100];
            loop {
                let count = theirs.read(&mut buf).await.unwrap();
                if count == 0 {
                    return theirs.close().await.unwrap();
                }
                theirs.write_all(&buf[..count]).await.unwrap();
            }
        });
        for round in 0..200 {
            let bytes = pattern(round, 1 + round);
            ours.write_all(&bytes).await.unwrap();
            let mut buf = vec![0; bytes.len()];
            // Some reads are dropped on their way, which must not lose anything here either.
            if round % 3 == 0 {
                let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_read(cx, &mut [0; 9]))).await;
                assert!(read.is_pending(), "the echo has not run yet");
            }
            ours.read_exact(&mut buf).await.unwrap();
            assert_eq!(buf, bytes);
        }
        ours.close().await.unwrap();
        assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 0);
        assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 0, "the end stays the end");
        echo.await.unwrap();
        // What they had is still there, and in order, and comes out of the stream that was wrapped, too.
        for (index, (mut ours, theirs)) in unread.into_iter().enumerate() {
            drop(theirs);
            let mut rest = Vec::new();
            if index % 2 == 0 {
                ours.read_to_end(&mut rest).await.unwrap();
            } else {
                let mut stream = ours.into_inner();
                while let (Ok(1..), bytes) = stream.read(Vec::with_capacity(1000)).await {
                    rest.extend(bytes);
                }
            }
            check(&rest, 1);
            assert_eq!(rest.len(), 4095);
        }
    }));
}

/// A peer that reads as fast as it can, in a thread: the kernel never says that there is no room.
#[test]
fn a_writer_that_never_waits_lets_others_have_their_turn() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        let reader = ringtoss::spawn_blocking(move || {
            let mut buf = vec![0; 1 << 20];
            while peer.read(&mut buf).unwrap() > 0 {}
        });
        let enough = Arc::new(AtomicBool::new(false));
        let writer = {
            let enough = enough.clone();
            ringtoss::spawn(async move {
                let mut ours = PollIo::new(stream);
                let mut rounds = 0u64;
                while !enough.load(Ordering::Relaxed) {
                    ours.write_all(b"x").await.unwrap();
                    rounds += 1;
                    assert!(rounds < 5_000_000, "nobody else had a turn");
                }
            })
        };
        for _ in 0..1000 {
            ringtoss::yield_now().await;
        }
        enough.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        reader.await.unwrap();
    });
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Writes until there is no room; gives how much was taken.
async fn fill(stream: &mut PollIo<TcpStream>) -> usize {
    let (mut taken, mut refused) = (0, 0);
    while refused < 4 {
        let bytes = pattern(taken, 5000);
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, &bytes))).await {
            Poll::Ready(count) => {
                taken += count.unwrap();
                refused = 0;
            }
            // It may only have to wait for the turn's end.
            Poll::Pending => {
                refused += 1;
                turn().await;
            }
        }
    }
    taken
}

/// The entry that waits for room names the descriptor, so its number must not be free before the kernel has taken it.
#[test]
fn a_writer_that_waits_and_is_dropped_elsewhere_is_closed_behind_its_entry() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        small_buffers(&peer);
        let fd = stream.as_raw_fd();
        let mut ours = PollIo::new(stream);
        let taken = fill(&mut ours).await;
        std::thread::spawn(move || drop(ours)).join().unwrap();
        assert!(is_open(fd), "closed while an entry names it");
        let all = ringtoss::spawn_blocking(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let all = all.await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), taken);
    });
}

#[test]
fn a_stream_may_change_its_loop_while_it_waits() {
    run(async {
        let (stream, peer) = with_std_peer();
        small_buffers(&stream);
        small_buffers(&peer);
        let mut ours = PollIo::new(stream);
        let mut theirs = PollIo::new(TcpStream::from_std(peer));
        let taken = fill(&mut ours).await;
        // Both directions are waited for here...
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut ours).poll_read(cx, &mut [0; 9]))).await;
        assert!(read.is_pending());
        turn().await;
        // ...and there.
        let elsewhere = ringtoss::spawn_blocking(move || {
            run(async move {
                ours.write_all(&pattern(taken, 200_000)).await.unwrap();
                let mut buf = [0; 6];
                ours.read_exact(&mut buf).await.unwrap();
                assert_eq!(&buf, b"thanks");
                ours.close().await.unwrap();
                let mut rest = Vec::new();
                ours.read_to_end(&mut rest).await.unwrap();
                check(&rest, 0);
                rest.len()
            })
        });
        theirs.write_all(b"tha").await.unwrap();
        turn().await;
        theirs.write_all(b"nks").await.unwrap();
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).await.unwrap();
        check(&all, 0);
        assert_eq!(all.len(), taken + 200_000);
        theirs.write_all(&pattern(0, 30_000)).await.unwrap();
        drop(theirs);
        assert_eq!(elsewhere.await.unwrap(), 30_000);
    });
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Who polls last is woken: a library may hand its stream from task to task in the middle of anything.
#[test]
fn whoever_polled_last_is_woken() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        small_buffers(&peer);
        let mut ours = PollIo::new(stream);
        let taken = fill(&mut ours).await;
        let (first, last) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        for wakes in [&first, &last] {
            let waker = Waker::from(wakes.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut ours).poll_write(&mut cx, b"more").is_pending());
            assert!(Pin::new(&mut ours).poll_read(&mut cx, &mut [0; 9]).is_pending());
            turn().await;
        }
        let reader = ringtoss::spawn_blocking(move || {
            let mut all = vec![0; taken];
            peer.read_exact(&mut all).unwrap();
            std::io::Write::write_all(&mut peer, b"x").unwrap();
            peer
        });
        until(|| last.0.load(Ordering::SeqCst) == 2).await;
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        ours.write_all(b"more").await.unwrap();
        ours.read_exact(&mut [0; 1]).await.unwrap();
        drop(reader.await.unwrap());
    });
}
