//! What a stream does when nobody interrupts it.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use ringtoss::buf::IoBufExt;
use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

#[test]
fn reads_and_writes_of_every_kind() {
    run(async {
        let (mut a, mut b) = pair().await;
        let (result, buf) = a.write("hello").await;
        assert_eq!((result.unwrap(), buf), (5, "hello"));
        let (result, buf) = b.peek(Vec::with_capacity(3)).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"hel"[..]));
        let (result, buf) = b.read(b"xxxxxxxxxx".to_vec()).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"hello"[..]));

        let (result, _) = a.write_vectored(("one ", vec![b't', b'w', b'o'], "")).await;
        assert_eq!(result.unwrap(), 7);
        let (result, bufs) = b.read_vectored((Vec::with_capacity(2), Vec::with_capacity(90))).await;
        assert_eq!((result.unwrap(), &bufs.0[..], &bufs.1[..]), (7, &b"on"[..], &b"e two"[..]));

        a.write_all("abcdef").await.0.unwrap();
        let mut some = Vec::with_capacity(5);
        some.extend_from_slice(b"<<");
        let (result, some) = b.read_append(some).await;
        assert_eq!((result.unwrap(), &some[..]), (3, &b"<<abc"[..]));
        let (result, rest) = b.read(Vec::with_capacity(9).slice(0..2)).await;
        assert_eq!((result.unwrap(), &rest.into_inner()[..]), (2, &b"de"[..]));
        let (exact, _) = futures::join!(b.read_exact(Vec::with_capacity(90), 7), async {
            for part in ["12", "34", "56"] {
                a.write_all(part).await.0.unwrap();
                turn().await;
            }
        });
        assert_eq!((exact.0.unwrap(), &exact.1[..]), (7, &b"f123456"[..]));
    });
}

#[test]
fn nothing_to_read_into_and_nothing_to_write() {
    run(async {
        let (mut a, mut b) = pair().await;
        assert_eq!(b.read(Vec::new()).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(b.peek(Vec::new()).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(b.read_append(vec![0u8; 0]).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(b.read_vectored((Vec::new(), Vec::new())).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, buf) = b.read_exact(Vec::with_capacity(3), 4).await;
        assert_eq!((result.unwrap_err().kind(), buf.capacity()), (ErrorKind::InvalidInput, 3));
        assert_eq!(b.read_exact(Vec::new(), 0).await.0.unwrap(), 0);
        assert_eq!(a.write("").await.0.unwrap(), 0);
        a.write_all("").await.0.unwrap();
        assert_eq!(a.write_vectored(("", "")).await.0.unwrap(), 0);
        a.write_all("still fine").await.0.unwrap();
        assert_eq!(b.read(Vec::with_capacity(99)).await.1, b"still fine");
    });
}

#[test]
fn the_end() {
    run(async {
        let (mut a, mut b) = pair().await;
        a.write_all("last").await.0.unwrap();
        a.shutdown(Shutdown::Write).await.unwrap();
        let (result, buf) = b.read_exact(Vec::with_capacity(9), 9).await;
        assert_eq!((result.unwrap_err().kind(), &buf[..]), (ErrorKind::UnexpectedEof, &b"last"[..]));
        for _ in 0..2 {
            assert_eq!(b.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
            assert_eq!(b.read_vectored((Vec::with_capacity(9), Vec::new())).await.0.unwrap(), 0);
        }
        // The other direction is still there.
        b.write_all("answer").await.0.unwrap();
        assert_eq!(a.read(Vec::with_capacity(9)).await.1, b"answer");
        assert_eq!(a.write("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
        b.shutdown(Shutdown::Both).await.unwrap();
        assert_eq!(b.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
    });
}

#[test]
fn options() {
    run(async {
        let (a, b) = pair().await;
        assert_eq!(
            (a.local_addr().unwrap(), a.peer_addr().unwrap()),
            (b.peer_addr().unwrap(), b.local_addr().unwrap())
        );
        for on in [true, false] {
            a.set_nodelay(on).unwrap();
            assert_eq!(a.nodelay().unwrap(), on);
            a.set_quickack(on).unwrap();
            assert_eq!(a.quickack().unwrap(), on);
        }
        a.set_ttl(42).unwrap();
        assert_eq!(a.ttl().unwrap(), 42);
        assert_eq!(a.linger().unwrap(), None);
        a.set_linger(Some(Duration::from_millis(7900))).unwrap();
        assert_eq!(a.linger().unwrap(), Some(Duration::from_secs(7)));
        a.set_zero_linger().unwrap();
        assert_eq!(a.linger().unwrap(), Some(Duration::ZERO));
        a.set_linger(None).unwrap();
        assert_eq!(a.linger().unwrap(), None);
        assert!(a.take_error().unwrap().is_none());
        assert!(format!("{a:?}").contains(&a.local_addr().unwrap().to_string()));
    });
}

#[test]
fn readiness() {
    run(async {
        let (mut a, mut b) = pair().await;
        a.writable().await.unwrap();
        let mut readable = b.readable();
        assert!(poll_once(&mut readable).await.is_pending());
        turn().await;
        assert!(poll_once(&mut readable).await.is_pending());
        a.write_all("x").await.0.unwrap();
        readable.await.unwrap();
        b.readable().await.unwrap();
        assert_eq!(b.read(Vec::with_capacity(9)).await.1, b"x");
        // A buffer that is full is not writable, until the peer has read.
        small_buffers(&a);
        while a.write(vec![0; 65536]).timeout(Duration::from_millis(20)).await.0.is_ok() {}
        let mut writable = a.writable();
        assert!(poll_once(&mut writable).await.is_pending());
        turn().await;
        assert!(poll_once(&mut writable).await.is_pending());
        let drain = ringtoss::spawn(async move { while b.read(Vec::with_capacity(65536)).await.0.unwrap() > 0 {} });
        writable.await.unwrap();
        drop(a);
        drain.await.unwrap();
        // The end is something to read, too.
        let (c, d) = pair().await;
        drop(c);
        d.readable().await.unwrap();
    });
}

/// Programs that come from other runtimes have set `O_NONBLOCK` before they hand a socket over.
#[test]
fn sockets_that_do_not_block_wait_in_the_ring() {
    run(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = TcpListener::from_std(listener);
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_pending());
        turn().await;
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        let stream = accept.await.unwrap().0.into_std().unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        small_buffers(&stream);

        let mut read = stream.read(Vec::with_capacity(9));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        peer.write_all(b"one").unwrap();
        assert_eq!(read.await.1, b"one");
        let mut read = stream.read_vectored((Vec::with_capacity(1), Vec::with_capacity(9)));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        peer.write_all(b"two").unwrap();
        let (result, bufs) = read.await;
        assert_eq!((result.unwrap(), &bufs.0[..], &bufs.1[..]), (3, &b"t"[..], &b"wo"[..]));

        const LEN: usize = 6_000_000;
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; LEN + 10];
            peer.read_exact(&mut all).unwrap();
            all
        });
        stream.write_all(pattern(0, LEN)).await.0.unwrap();
        let mut sent = 0;
        while sent < 10 {
            sent += stream.write_vectored((vec![7u8; 10 - sent], "")).await.0.unwrap();
        }
        until(|| reader.is_finished()).await;
        let all = reader.join().unwrap();
        check(&all[..LEN], 0);
        assert_eq!(all[LEN..], [7; 10]);
    });
}

#[test]
fn limits_give_the_buffer_back_and_say_how_far_it_came() {
    run(async {
        let (mut a, mut b) = pair().await;
        let (result, buf) = b.read(Vec::with_capacity(77)).timeout(Duration::from_millis(5)).await;
        assert_eq!((result.unwrap_err().kind(), buf.len(), buf.capacity()), (ErrorKind::TimedOut, 0, 77));
        a.write_all("123").await.0.unwrap();
        let (result, buf) = b.read_exact(Vec::with_capacity(77), 77).timeout(Duration::from_millis(5)).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), ringtoss::op::transferred(&error)), (ErrorKind::TimedOut, Some(3)));
        assert_eq!(buf, b"123");
        small_buffers(&a);
        small_buffers(&b);
        let (result, buf) = a.write_all(pattern(0, 8_000_000)).timeout(Duration::from_millis(20)).await;
        let error = result.unwrap_err();
        let sent = ringtoss::op::transferred(&error).unwrap();
        assert!(error.kind() == ErrorKind::TimedOut && sent > 0 && sent < buf.len(), "{sent}");
        drop(a);
        let all = read_to_end(b).await;
        check(&all, 0);
        assert_eq!(all.len(), sent);
    });
}
