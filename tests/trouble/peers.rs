//! Peers that behave badly: threads of std's, which know nothing of a loop.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::time::Duration;

use ringtoss::net::TcpStream;
use ringtoss::op::transferred;

use crate::util::*;

/// One stream on the ring, its peer with std.
fn with_peer() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    peer.set_read_timeout(Some(patience())).unwrap();
    peer.set_write_timeout(Some(patience())).unwrap();
    (TcpStream::from_std(ours), peer)
}

async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    ringtoss::spawn_blocking(move || thread.join().unwrap()).await.unwrap()
}

#[test]
fn a_peer_that_stalls_in_the_middle_of_a_message_costs_nothing_but_time() {
    run(async {
        let (mut stream, mut peer) = with_peer();
        let (go_on, may_go_on) = mpsc::channel();
        let peer = std::thread::spawn(move || {
            for part in 0..3 {
                peer.write_all(&pattern(part * 1000, 1000)).unwrap();
                may_go_on.recv_timeout(patience()).unwrap();
            }
            peer.write_all(&pattern(3000, 5000)).unwrap();
        });
        let (mut at, mut limits) = (0, 0);
        while at < 8000 {
            let read = stream.read_exact(Vec::with_capacity(8000), 8000 - at);
            let (result, buf) = read.timeout(Duration::from_millis(30)).await;
            check(&buf, at);
            at += buf.len();
            if let Err(error) = result {
                assert_eq!((error.kind(), transferred(&error)), (ErrorKind::TimedOut, Some(buf.len())));
                limits += 1;
                let _ = go_on.send(());
            }
        }
        assert!(limits > 0 && at == 8000);
        joined(peer).await;
        assert_eq!(stream.read(vec![0; 8]).await.0.unwrap(), 0);
    });
}

#[test]
fn a_peer_that_sends_a_byte_at_a_time_is_understood() {
    run(async {
        let (mut stream, mut peer) = with_peer();
        peer.set_nodelay(true).unwrap();
        let peer = std::thread::spawn(move || {
            for byte in pattern(0, 5000) {
                peer.write_all(&[byte]).unwrap();
            }
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            answer
        });
        let (result, buf) = stream.read_exact(Vec::with_capacity(4000), 4000).await;
        assert_eq!(result.unwrap(), 4000);
        check(&buf, 0);
        // And by leases, where each byte takes a buffer of the loop's.
        let mut at = 4000;
        while at < 5000 {
            let lease = stream.recv().await.unwrap().expect("the end came early");
            check(&lease, at);
            at += lease.len();
        }
        for byte in pattern(0, 1000) {
            stream.write_all(vec![byte]).await.0.unwrap();
        }
        stream.close().await.unwrap();
        let answer = joined(peer).await;
        assert_eq!(answer.len(), 1000);
        check(&answer, 0);
    });
}

#[test]
fn a_peer_that_has_closed_its_half_still_hears_everything() {
    run(async {
        const LEN: usize = 3_000_000;
        let (mut stream, mut peer) = with_peer();
        let peer = std::thread::spawn(move || {
            peer.write_all(&pattern(0, 100)).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let (result, buf) = stream.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), 100);
        check(&buf, 0);
        stream.write_all(pattern(7, LEN)).await.0.unwrap();
        // The end is the end, again and again.
        assert_eq!(stream.read(vec![0; 8]).await.0.unwrap(), 0);
        stream.shutdown(Shutdown::Write).await.unwrap();
        let all = joined(peer).await;
        assert_eq!(all.len(), LEN);
        check(&all, 7);
    });
}

#[test]
fn a_peer_that_never_reads_holds_up_only_its_own_stream() {
    run(async {
        const LEN: usize = 64 << 20;
        let (mut stream, mut deaf) = with_peer();
        let sending = ringtoss::spawn(async move {
            let (result, buf) = stream.write_all(pattern(0, LEN)).timeout(Duration::from_millis(300)).await;
            (stream, result, buf.len())
        });
        // Others have their turn.
        let (mut one, mut other) = with_peer();
        let other = std::thread::spawn(move || {
            let mut buf = [0; 64];
            for _ in 0..500 {
                other.read_exact(&mut buf).unwrap();
                other.write_all(&buf).unwrap();
            }
        });
        for round in 0..500 {
            one.write_all(pattern(round, 64)).await.0.unwrap();
            let (result, buf) = one.read_exact(Vec::with_capacity(64), 64).await;
            result.unwrap();
            check(&buf, round);
        }
        joined(other).await;
        let (mut stream, result, len) = sending.await.unwrap();
        let error = result.unwrap_err();
        let sent = transferred(&error).unwrap();
        assert_eq!((error.kind(), len), (ErrorKind::TimedOut, LEN));
        assert!(sent > 0 && sent < LEN, "{sent}");
        // A write that is dropped tells its fate, too, and what has arrived is what was said.
        let write = stream.write_all(pattern(sent, LEN));
        let dropped = ringtoss::time::timeout(Duration::from_millis(20), write).await;
        assert!(dropped.is_err());
        let more = stream.take_dropped_write().await.map_or(0, |fate| fate.unwrap());
        drop(stream);
        quiet().await;
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            deaf.read_to_end(&mut all).map(|_| all)
        });
        let all = joined(reader).await.unwrap();
        assert_eq!(all.len(), sent + more);
        check(&all, 0);
    });
}

#[test]
fn a_peer_that_resets_in_the_middle_is_an_error_after_what_has_come() {
    run(async {
        for round in 0..50 {
            let (mut stream, mut peer) = with_peer();
            let (sent, was_sent) = mpsc::channel();
            let (reset, may_reset) = mpsc::channel();
            let peer = std::thread::spawn(move || {
                peer.write_all(&pattern(0, 700)).unwrap();
                sent.send(()).unwrap();
                may_reset.recv_timeout(patience()).unwrap();
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                let size = size_of::<libc::linger>() as libc::socklen_t;
                let (level, name, value) = (libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast());
                // SAFETY: the structure lives over the call and its size is passed.
                assert_eq!(unsafe { libc::setsockopt(peer.as_raw_fd(), level, name, value, size) }, 0);
            });
            was_sent.recv().unwrap();
            let mut read = stream.read_exact(Vec::with_capacity(1000), 1000);
            for _ in 0..round % 4 {
                assert!(futures::poll!(&mut read).is_pending());
                turn().await;
            }
            reset.send(()).unwrap();
            joined(peer).await;
            let (result, buf) = read.await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
            // A reset takes what was not read yet with it.
            assert!(buf.is_empty() || buf.len() == 700, "{}", buf.len());
            check(&buf, 0);
            let error = stream.write_all("x").await.0.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
        quiet().await;
    });
}
