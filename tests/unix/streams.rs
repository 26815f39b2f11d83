//! Streams, with std at the other end.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use ringtoss::net::UnixStream;

use crate::util::*;

pub fn with_std_peer() -> (UnixStream, std::os::unix::net::UnixStream) {
    let (ours, peer) = std::os::unix::net::UnixStream::pair().unwrap();
    peer.set_read_timeout(Some(patience())).unwrap();
    (UnixStream::from_std(ours), peer)
}

#[test]
fn bytes_go_both_ways_in_every_way() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        stream.write_all(pattern(0, 5000)).await.0.unwrap();
        assert_eq!(stream.write(vec![byte_at(5000)]).await.0.unwrap(), 1);
        let parts = (pattern(5001, 10), pattern(5011, 20));
        assert_eq!(stream.write_vectored(parts).await.0.unwrap(), 30);
        let mut read = vec![0; 5031];
        peer.read_exact(&mut read).unwrap();
        check(&read, 0);

        peer.write_all(&pattern(0, 100)).unwrap();
        stream.readable().await.unwrap();
        stream.writable().await.unwrap();
        let (result, buf) = stream.peek(Vec::with_capacity(10)).await;
        assert_eq!(result.unwrap(), 10);
        check(&buf, 0);
        let (result, buf) = stream.read_exact(Vec::with_capacity(50), 50).await;
        assert_eq!(result.unwrap(), 50);
        check(&buf, 0);
        let mut buf = pattern(49, 1);
        buf.reserve_exact(10);
        let (result, buf) = stream.read_append(buf).await;
        assert_eq!(result.unwrap(), buf.len() - 1);
        check(&buf, 49);
        let place = 49 + buf.len();
        let (result, bufs) = stream.read_vectored((Vec::with_capacity(7), Vec::with_capacity(100))).await;
        assert_eq!(result.unwrap(), 100 - place);
        check(&[&bufs.0[..], &bufs.1[..]].concat(), place);
        drop(peer);
        assert_eq!(stream.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
        assert_eq!(stream.write("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn both_ends_on_one_loop_and_their_halves() {
    run(async {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (mut a_reads, mut a_writes) = a.into_split();
        let echo = ringtoss::spawn(async move {
            let (mut reads, mut writes) = b.split();
            loop {
                let (result, buf) = reads.read(Vec::with_capacity(1000)).await;
                if result.unwrap() == 0 {
                    break;
                }
                writes.write_all(buf).await.0.unwrap();
            }
        });
        for round in 0..50 {
            let (result, buf) = futures::join!(
                a_writes.write_all(pattern(round * 100, 100)),
                a_reads.read_exact(Vec::with_capacity(100), 100)
            )
            .1;
            result.unwrap();
            check(&buf, round * 100);
        }
        assert!(a_reads.peer_addr().unwrap().is_unnamed());
        // Dropping the half that writes is the end for the other side, and that drops its stream.
        drop(a_writes);
        echo.await.unwrap();
        assert_eq!(a_reads.read(Vec::with_capacity(9)).await.0.unwrap(), 0);

        let (a, b) = UnixStream::pair().unwrap();
        let ((a_reads, a_writes), (b_reads, b_writes)) = (a.into_split(), b.into_split());
        let error = a_reads.reunite(b_writes).unwrap_err();
        let a = error.0.reunite(a_writes).unwrap();
        let mut b = b_reads.reunite(error.1).unwrap();
        let mut a = a;
        a.write_all("whole").await.0.unwrap();
        assert_eq!(b.read(Vec::with_capacity(9)).await.0.unwrap(), 5);
    });
}

#[test]
fn shutdown_ends_a_direction() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        stream.write_all("last").await.0.unwrap();
        stream.shutdown(Shutdown::Write).await.unwrap();
        let mut read = String::new();
        peer.read_to_string(&mut read).unwrap();
        assert_eq!(read, "last");
        peer.write_all(b"still").unwrap();
        assert_eq!(stream.read(Vec::with_capacity(9)).await.0.unwrap(), 5);
        stream.shutdown(Shutdown::Read).await.unwrap();
        assert_eq!(stream.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
        assert!(stream.take_error().unwrap().is_none());
        stream.close().await.unwrap();
    });
}

#[test]
fn errors_are_those_of_std() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        same_error(UnixStream::connect(&missing).await, std::os::unix::net::UnixStream::connect(&missing));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        same_error(UnixStream::connect(&file).await, std::os::unix::net::UnixStream::connect(&file));
        let deserted = folder.path().join("deserted");
        drop(std::os::unix::net::UnixListener::bind(&deserted).unwrap());
        same_error(UnixStream::connect(&deserted).await, std::os::unix::net::UnixStream::connect(&deserted));
        for path in ["x".repeat(108), "nul\0inside".to_string(), String::new()] {
            same_error(UnixStream::connect(&path).await, std::os::unix::net::UnixStream::connect(&path));
        }
        let nobody = SocketAddr::from_abstract_name("ringtoss-nobody").unwrap();
        same_error(UnixStream::connect_addr(&nobody).await, std::os::unix::net::UnixStream::connect_addr(&nobody));
    });
}

#[test]
fn dropped_reads_leave_their_bytes_to_the_next() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        let mut place = 0;
        for round in 0..60 {
            let (buf, drops) = Counted::new(Vec::with_capacity(50));
            let mut read = stream.read(buf);
            assert!(poll_once(&mut read).await.is_pending());
            match round % 3 {
                // Before submission, in flight, and after completion.
                0 => {}
                1 => turn().await,
                _ => {
                    turn().await;
                    peer.write_all(&pattern(place, 70)).unwrap();
                    turn().await;
                    turn().await;
                }
            }
            drop(read);
            if round % 3 < 2 {
                peer.write_all(&pattern(place, 70)).unwrap();
            }
            let (result, buf) = stream.read_exact(Vec::with_capacity(70), 70).await;
            result.unwrap();
            check(&buf, place);
            place += 70;
            drops.once().await;
        }
        let read = stream.read(Vec::with_capacity(9));
        let mut read = read;
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        peer.write_all(b"unread").unwrap();
        turn().await;
        turn().await;
        drop(read);
        let failure = stream.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let (mut std, unread) = failure.into_inner().into_parts().unwrap();
        assert_eq!(unread, b"unread");
        peer.write_all(b"more").unwrap();
        let mut buf = [0; 9];
        assert_eq!(std.read(&mut buf).unwrap(), 4);
    });
}

#[test]
fn the_fate_of_a_dropped_write_is_known_before_the_next_one() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        small_buffers(&stream);
        let mut sent = 0;
        for _ in 0..20 {
            let mut write = stream.write_all(pattern(sent, 100_000));
            assert!(poll_once(&mut write).await.is_pending());
            turn().await;
            drop(write);
            let taken = stream.take_dropped_write().await.unwrap().unwrap();
            assert!(taken < 100_000);
            let mut buf = vec![0; taken];
            peer.read_exact(&mut buf).unwrap();
            check(&buf, sent);
            sent += taken;
        }
        assert!(sent > 0);
    });
}

#[test]
fn a_forgotten_read_is_sound() {
    run(async {
        let (mut stream, mut peer) = with_std_peer();
        let mut read = stream.read(Vec::with_capacity(4));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::mem::forget(read);
        // The one that was forgotten takes its part when the kernel gets round to it.
        peer.write_all(b"lostkept").unwrap();
        turn().await;
        turn().await;
        let (result, buf) = stream.read(Vec::with_capacity(9)).await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"kept"[..]));
    });
}

#[test]
fn streams_are_send_and_go_to_other_loops() {
    fn is_send<T: Send + Sync>(_: &T) {}
    run_watched(|| {
        let (mut stream, mut peer) = with_std_peer();
        is_send(&stream);
        run(async {
            assert!(poll_and_drop(stream.read(Vec::with_capacity(9))).await.is_none());
            turn().await;
        });
        std::thread::spawn(move || {
            run(async {
                peer.write_all(b"elsewhere").unwrap();
                let (result, buf) = stream.read_exact(Vec::with_capacity(9), 9).await;
                result.unwrap();
                assert_eq!(buf, b"elsewhere");
                assert!(format!("{stream:?}").contains(&stream.as_raw_fd().to_string()));
            });
        })
        .join()
        .unwrap();
    });
}

#[test]
fn the_peers_credentials_are_told() {
    run(async {
        let (stream, _peer) = with_std_peer();
        let credentials = stream.peer_cred().unwrap();
        assert_eq!(credentials.pid(), Some(std::process::id() as i32));
        let own = std::fs::metadata("/proc/self").unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((credentials.uid(), credentials.gid()), (own.uid(), own.gid()));
    });
}
