//! Calls that do not wait, and clones.

use std::io::ErrorKind;

use crate::basics::{socket, std_socket};
use crate::util::*;

#[test]
fn datagrams_without_waiting() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (ours, address) = socket().await;
        let mut buf = [0; 99];
        assert_eq!(ours.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(ours.try_peek_sender().unwrap_err().kind(), ErrorKind::WouldBlock);
        for text in ["one", "", "three"] {
            peer.send_to(text.as_bytes(), address).unwrap();
            assert_eq!(ours.peek_sender().await.unwrap(), peer_address);
            assert_eq!(ours.try_peek_sender().unwrap(), peer_address);
            assert_eq!(ours.try_peek_from(&mut buf).unwrap(), (text.len(), peer_address));
            assert_eq!(ours.try_peek(&mut buf[..2]).unwrap(), text.len().min(2));
            assert_eq!(ours.try_recv_from(&mut buf).unwrap(), (text.len(), peer_address));
            assert_eq!(&buf[..text.len()], text.as_bytes());
        }
        assert_eq!(ours.try_send(b"x").unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(ours.try_send_to(b"to", peer_address).unwrap(), 2);
        ours.connect(peer_address).await.unwrap();
        assert_eq!(ours.try_send(b"sent").unwrap(), 4);
        assert_eq!((peer.recv(&mut buf).unwrap(), peer.recv(&mut buf).unwrap()), (2, 4));
    });
}

/// What dropped receives have left comes first, with its source, to calls that do not wait and to clones.
#[test]
fn what_dropped_receives_leave_comes_first() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (ours, address) = socket().await;
        let clone = ours.try_clone().unwrap();
        for round in 0..100u32 {
            let mut dropped = ours.recv_from(Vec::with_capacity(99));
            assert!(poll_once(&mut dropped).await.is_pending());
            for _ in 0..round % 3 {
                turn().await;
            }
            peer.send_to(&round.to_le_bytes(), address).unwrap();
            for _ in 0..round % 2 {
                turn().await;
            }
            drop(dropped);
            let by = if round % 5 < 3 { &ours } else { &clone };
            let mut buf = [0; 99];
            let (count, from) = loop {
                by.readable().await.unwrap();
                match by.try_recv_from(&mut buf) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => break result.unwrap(),
                }
            };
            assert_eq!((&buf[..count], from), (&round.to_le_bytes()[..], peer_address));
        }
        drop(ours);
        peer.send_to(b"still", address).unwrap();
        assert_eq!(clone.recv_from(Vec::with_capacity(9)).await.0.unwrap(), (5, peer_address));
        drop(clone);
        std::net::UdpSocket::bind(address).unwrap();
    });
}
