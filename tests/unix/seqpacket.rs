//! Connections of records: boundaries, truncation, the end, descriptors, and what dropped receives leave.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;

use ringtoss::net::{UnixSeqpacket, UnixSeqpacketListener, UnixStream};

use crate::util::*;

async fn next(socket: &UnixSeqpacket) -> Option<Vec<u8>> {
    let (result, buf) = socket.recv(Vec::with_capacity(100)).await;
    result.unwrap().map(|record| {
        assert_eq!((record.len, record.truncated), (buf.len(), false));
        buf
    })
}

#[test]
fn records_keep_their_boundaries_and_empty_ones_are_not_the_end() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        for text in ["one", "", "three and more", "", ""] {
            assert_eq!(a.send(text).await.0.unwrap(), text.len());
        }
        drop(a);
        turn().await;
        for text in ["one", "", "three and more", "", ""] {
            assert_eq!(next(&b).await.as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(next(&b).await, None);
        assert_eq!(next(&b).await, None, "the end stays the end");
        assert_eq!(b.send("x").await.0.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_the_buffer_has_no_room_for_is_cut_off_and_told() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        a.send("0123456789").await.0.unwrap();
        a.send("next").await.0.unwrap();
        let (result, buf) = b.peek(Vec::with_capacity(4)).await;
        assert!(result.unwrap().unwrap().truncated);
        assert_eq!(buf, b"0123");
        let (result, buf) = b.recv(Vec::with_capacity(4)).await;
        let record = result.unwrap().unwrap();
        assert_eq!((record.len, record.truncated, &buf[..]), (4, true, &b"0123"[..]));
        let (result, buf) = b.recv(Vec::with_capacity(4)).await;
        assert_eq!((result.unwrap().unwrap().truncated, &buf[..]), (false, &b"next"[..]));
        assert_eq!(b.recv(Vec::new()).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn listeners_at_paths_and_abstract_names() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        let name = SocketAddr::from_abstract_name(format!("ringtoss-records-{}", std::process::id())).unwrap();
        let at_path = UnixSeqpacketListener::bind(&path).await.unwrap();
        let at_name = UnixSeqpacketListener::bind_addr(&name).await.unwrap();
        assert_eq!(at_path.local_addr().unwrap().as_pathname(), Some(&*path));
        for by_path in [true, false] {
            let listener = if by_path { &at_path } else { &at_name };
            let connect = async {
                match by_path {
                    true => UnixSeqpacket::connect(&path).await.unwrap(),
                    false => UnixSeqpacket::connect_addr(&name).await.unwrap(),
                }
            };
            let (client, accepted) = futures::join!(connect, listener.accept());
            let (server, peer) = accepted.unwrap();
            assert!(peer.is_unnamed());
            assert!(client.local_addr().unwrap().is_unnamed(), "asking for timestamps binds nothing");
            for socket in [&client, &server] {
                let cred = socket.peer_cred().unwrap();
                assert_eq!(cred.pid(), Some(std::process::id() as i32));
            }
            client.send("hello").await.0.unwrap();
            client.send("").await.0.unwrap();
            drop(client);
            assert_eq!(next(&server).await.unwrap(), b"hello");
            assert_eq!(next(&server).await.unwrap(), b"");
            assert_eq!(next(&server).await, None);
        }
        let mut incoming = at_name.incoming();
        let client = UnixSeqpacket::connect_addr(&name).await.unwrap();
        let server = incoming.next().await.unwrap();
        server.send("from the stream").await.0.unwrap();
        assert_eq!(next(&client).await.unwrap(), b"from the stream");
        // Another kind of socket is refused, as the kernel says it.
        same_error(UnixStream::connect_addr(&name).await, std::os::unix::net::UnixStream::connect_addr(&name));
        same_error(UnixStream::connect(&path).await, std::os::unix::net::UnixStream::connect(&path));
        drop(incoming);
        drop(at_name);
        UnixSeqpacketListener::bind_addr(&name).await.unwrap().close().await.unwrap();
    });
}

#[test]
fn descriptors_travel_with_records() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        let pipe = || {
            let (reader, writer) = std::io::pipe().unwrap();
            (OwnedFd::from(reader), writer)
        };
        let (fd, mut writer) = pipe();
        a.send_fds("with", vec![fd]).await.0.unwrap();
        a.send("without").await.0.unwrap();
        let (result, _) = b.recv_fds(Vec::with_capacity(99)).await;
        let (record, mut fds) = result.unwrap().unwrap();
        assert_eq!((record.len, fds.len()), (4, 1));
        std::io::Write::write_all(&mut writer, b"through").unwrap();
        let mut through = [0; 7];
        File::from(fds.remove(0)).read_exact(&mut through).unwrap();
        assert!(b.recv_fds(Vec::with_capacity(99)).await.0.unwrap().unwrap().1.is_empty());

        // A dropped receive that did ask leaves them to the next; what nobody takes is closed.
        for taken in [true, false] {
            let mut receive = b.recv_fds(Vec::with_capacity(99));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            let (fd, mut writer) = pipe();
            a.send_fds("", vec![fd]).await.0.unwrap();
            turn().await;
            drop(receive);
            if taken {
                let (record, fds) = b.recv_fds(Vec::with_capacity(99)).await.0.unwrap().unwrap();
                assert_eq!((record.len, fds.len()), (0, 1));
            } else {
                assert_eq!(next(&b).await.unwrap(), b"");
            }
            until(|| std::io::Write::write(&mut writer, b"x").is_err_and(|e| e.kind() == ErrorKind::BrokenPipe)).await;
        }
        drop(a);
        assert!(b.recv_fds(Vec::with_capacity(9)).await.0.unwrap().is_none());
    });
}

#[test]
fn a_dropped_receive_leaves_its_record_to_the_next() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        for round in 0..100u32 {
            let mut dropped = b.recv(Vec::with_capacity(99));
            assert!(poll_once(&mut dropped).await.is_pending());
            if round % 3 > 0 {
                turn().await;
            }
            // Every other one is empty.
            let text = if round % 2 == 0 { String::new() } else { round.to_string() };
            a.send(text.clone()).await.0.unwrap();
            if round % 5 > 0 {
                turn().await;
            }
            drop(dropped);
            if round % 7 == 0 {
                let (result, buf) = b.peek(Vec::with_capacity(99)).await;
                assert_eq!((result.unwrap().unwrap().len, &buf[..]), (text.len(), text.as_bytes()));
            }
            assert_eq!(next(&b).await.unwrap(), text.as_bytes());
        }
        // So it does with the end.
        let mut dropped = b.recv(Vec::with_capacity(99));
        assert!(poll_once(&mut dropped).await.is_pending());
        turn().await;
        drop(a);
        turn().await;
        drop(dropped);
        assert_eq!(next(&b).await, None);
    });
}

#[test]
fn select_loops_lose_no_record() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        let sender = ringtoss::spawn(async move {
            for number in 0..5000u32 {
                a.send(number.to_le_bytes().to_vec()).await.0.unwrap();
                if number % 3 == 0 {
                    turn().await;
                }
            }
        });
        let mut expected = 0u32;
        loop {
            tokio::select! {
                (result, buf) = b.recv(Vec::with_capacity(9)) => match result.unwrap() {
                    Some(_) => {
                        assert_eq!(buf, expected.to_le_bytes());
                        expected += 1;
                    }
                    None => break,
                },
                () = turn() => {}
            }
        }
        assert_eq!(expected, 5000);
        sender.await.unwrap();
    });
}

#[test]
fn conversions_and_shutting_down() {
    run(async {
        let (a, b) = UnixSeqpacket::pair().unwrap();
        a.shutdown(std::net::Shutdown::Write).await.unwrap();
        assert_eq!(next(&b).await, None);
        b.send("still").await.0.unwrap();
        let mut receive = a.recv(Vec::with_capacity(9));
        let _ = poll_once(&mut receive).await;
        turn().await;
        drop(receive);
        let failure = a.into_owned_fd().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let a = failure.into_inner();
        assert_eq!(next(&a).await.unwrap(), b"still");
        let a = UnixSeqpacket::from(a.into_owned_fd().unwrap());
        b.send("again").await.0.unwrap();
        assert_eq!(next(&a).await.unwrap(), b"again");
        fn is_send<T: Send + Sync>(_: &T) {}
        is_send(&a);
        a.close().await.unwrap();
        assert_eq!(next(&b).await, None);
    });
}
