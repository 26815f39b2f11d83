//! Datagrams that do not wait.

use std::io::ErrorKind;

use ringtoss::net::UnixDatagram;

use crate::util::*;

#[test]
fn datagrams_without_waiting() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (to, from) = (dir.path().join("to"), dir.path().join("from"));
        let receiver = UnixDatagram::bind(&to).await.unwrap();
        let sender = UnixDatagram::bind(&from).await.unwrap();
        let mut buf = [0; 99];
        assert_eq!(receiver.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(sender.try_send_to(b"one", &to).unwrap(), 3);
        let (count, source) = receiver.try_recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..count], source.as_pathname()), (&b"one"[..], Some(&*from)));
        // What a dropped receive has left comes first.
        let mut dropped = receiver.recv(Vec::with_capacity(9));
        assert!(poll_once(&mut dropped).await.is_pending());
        turn().await;
        sender.connect(&to).await.unwrap();
        assert_eq!(sender.try_send(b"left").unwrap(), 4);
        turn().await;
        drop(dropped);
        receiver.readable().await.unwrap();
        let (count, source) = receiver.try_recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..count], source.as_pathname()), (&b"left"[..], Some(&*from)));
        let full = loop {
            if let Err(error) = sender.try_send(b"x") {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        assert_eq!(sender.try_send_to(b"x", dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}
