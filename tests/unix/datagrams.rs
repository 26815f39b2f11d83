//! Datagrams, with std at the other end.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram as Std;
use std::time::Duration;

use ringtoss::net::UnixDatagram;

use crate::listeners::abstract_address;
use crate::util::*;

#[test]
fn datagrams_go_both_ways_and_keep_their_boundaries() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
        let socket = UnixDatagram::bind(&ours).await.unwrap();
        let peer = Std::bind(&theirs).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_pathname(), Some(ours.as_path()));
        for text in ["one", "", "three and more"] {
            peer.send_to(text.as_bytes(), &ours).unwrap();
            socket.send_to(text, &theirs).await.0.unwrap();
        }
        let mut bytes = [0; 99];
        for text in ["one", "", "three and more"] {
            let (result, buf) = socket.recv_from(Vec::with_capacity(99)).await;
            let (count, from) = result.unwrap();
            assert_eq!((count, from.as_pathname(), &buf[..]), (text.len(), Some(theirs.as_path()), text.as_bytes()));
            let (count, from) = peer.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..count], from.as_pathname()), (text.as_bytes(), Some(ours.as_path())));
        }
        Std::unbound().unwrap().send_to(b"from nobody", &ours).unwrap();
        let (result, _) = socket.peek_from(Vec::with_capacity(99)).await;
        assert!(result.unwrap().1.is_unnamed());
        assert!(socket.recv_from(Vec::with_capacity(99)).await.0.unwrap().1.is_unnamed());
        assert!(format!("{socket:?}").contains("ours"));
        socket.close().await.unwrap();
    });
}

#[test]
fn a_connected_socket_needs_no_addresses() {
    run(async {
        let (address, other) = (abstract_address(), abstract_address());
        let peer = Std::bind_addr(&address).unwrap();
        let socket = UnixDatagram::bind_addr(&other).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        socket.connect_addr(&address).await.unwrap();
        socket.send("to the peer").await.0.unwrap();
        assert_eq!(peer.recv(&mut [0; 99]).unwrap(), 11);
        peer.send_to_addr(b"back", &other).unwrap();
        let mut receive = socket.recv(Vec::with_capacity(99));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        turn().await;
        drop(receive);
        // The dropped receive did not ask for the source, and it is known nevertheless.
        use std::os::linux::net::SocketAddrExt;
        let (count, from) = socket.recv_from(Vec::with_capacity(99)).await.0.unwrap();
        assert_eq!((count, from.as_abstract_name()), (4, address.as_abstract_name()));
        let unbound = UnixDatagram::unbound().unwrap();
        unbound.send_to_addr("hello", &address).await.0.unwrap();
        assert_eq!(peer.recv(&mut [0; 99]).unwrap(), 5);
    });
}

#[test]
fn errors_are_those_of_std() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _held = UnixDatagram::bind(&path).await.unwrap();
        same_error(UnixDatagram::bind(&path).await, Std::bind(&path));
        let (ours, std) = (UnixDatagram::unbound().unwrap(), Std::unbound().unwrap());
        same_error(ours.send("x").await.0, std.send(b"x"));
        let missing = folder.path().join("missing");
        same_error(ours.send_to("x", &missing).await.0, std.send_to(b"x", &missing));
        same_error(ours.connect(&missing).await, std.connect(&missing));
        for path in ["x".repeat(108), "nul\0inside".to_string()] {
            let (result, buf) = ours.send_to("x", &path).await;
            assert_eq!(buf, "x");
            let theirs = std.send_to(b"x", &path).unwrap_err();
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (theirs.kind(), theirs.to_string()));
        }
        let (a, b) = UnixDatagram::pair().unwrap();
        let (c, d) = Std::pair().unwrap();
        drop((b, d));
        same_error(a.send("x").await.0, c.send(b"x"));
        assert_eq!(a.recv(Vec::new()).await.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(a.take_error().is_ok());
    });
}

#[test]
fn the_end_is_told_from_an_empty_datagram() {
    run(async {
        let (a, b) = UnixDatagram::pair().unwrap();
        a.send("").await.0.unwrap();
        assert_eq!(b.recv(Vec::with_capacity(9)).await.0.unwrap(), 0);
        let mut receive = b.recv(Vec::with_capacity(9));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        b.shutdown(Shutdown::Read).await.unwrap();
        assert_eq!(receive.await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        for _ in 0..3 {
            assert_eq!(b.recv(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(b.recv_from(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        }
    });
}

/// Nothing is lost on this family: whoever sends waits.
#[test]
fn a_send_waits_while_the_queue_is_full() {
    run(async {
        let (a, b) = UnixDatagram::pair().unwrap();
        let send = ringtoss::spawn(async move {
            for number in 0..1000u32 {
                a.send(number.to_le_bytes().to_vec()).await.0.unwrap();
            }
        });
        for _ in 0..50 {
            turn().await;
        }
        assert!(!send.is_finished());
        for number in 0..1000u32 {
            let (result, buf) = b.recv(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), &buf[..]), (4, &number.to_le_bytes()[..]));
        }
        send.await.unwrap();
    });
}

#[test]
fn a_send_that_is_dropped_while_the_queue_is_full_was_not_sent() {
    run(async {
        let (a, b) = UnixDatagram::pair().unwrap();
        let mut sent = 0;
        loop {
            let (result, _) = a.send(vec![sent as u8]).timeout(Duration::from_millis(20)).await;
            match result {
                Ok(_) => sent += 1,
                Err(error) => break assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
        let (buf, drops) = Counted::new(b"not sent".to_vec());
        let mut send = a.send(buf);
        assert!(poll_once(&mut send).await.is_pending());
        turn().await;
        drop(send);
        let fate = a.take_dropped_write().await.unwrap();
        assert_eq!(fate.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        drops.once().await;
        for number in 0..sent {
            let (result, buf) = b.recv(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), buf[0]), (1, number as u8));
        }
        let (result, _) = b.recv(Vec::with_capacity(9)).timeout(Duration::from_millis(5)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn sockets_go_to_std_with_what_was_salvaged() {
    run(async {
        let address = abstract_address();
        let socket = UnixDatagram::bind_addr(&address).await.unwrap();
        let mut receive = socket.recv_from(Vec::with_capacity(99));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        let peer = Std::unbound().unwrap();
        peer.send_to_addr(b"kept", &address).unwrap();
        turn().await;
        turn().await;
        drop(receive);
        let failure = socket.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let (std, unread) = failure.into_inner().into_parts().unwrap();
        assert_eq!(unread.len(), 1);
        assert_eq!(unread[0].0, b"kept");
        let socket = UnixDatagram::from_std(std);
        peer.send_to_addr(b"later", &address).unwrap();
        let mut buf = b"even ".to_vec();
        buf.reserve_exact(9);
        let (result, buf) = socket.recv_append(buf).await;
        assert_eq!((result.unwrap(), &buf[..]), (5, &b"even later"[..]));
    });
}

#[test]
fn a_dropped_socket_frees_its_abstract_name_at_once() {
    run(async {
        let address = abstract_address();
        for _ in 0..30 {
            let socket = UnixDatagram::bind_addr(&address).await.unwrap();
            assert!(poll_and_drop(socket.recv(Vec::with_capacity(9))).await.is_none());
            let mut receive = socket.recv(Vec::with_capacity(9));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            drop(receive);
        }
    });
}
