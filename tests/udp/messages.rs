//! What travels beside the bytes.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringtoss::net::UdpSocket;
use ringtoss::net::udp::{Ecn, Transmit};

use crate::basics::{socket, std_socket};
use crate::util::*;

#[test]
fn nothing_is_told_that_was_not_asked_for() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        peer.send_to(b"0123456789", address).unwrap();
        let (result, buf) = socket.recv_msg(Vec::with_capacity(4)).await;
        let message = result.unwrap();
        assert_eq!((message.len, message.from, message.truncated), (4, peer_address, true));
        assert_eq!((message.ecn, message.destination, message.interface), (None, None, None));
        assert_eq!((message.segment_len, &buf[..]), (None, &b"0123"[..]));
    });
}

#[test]
fn congestion_marks_and_packet_info_arrive() {
    run(async {
        for (bind, loopback) in [
            ("0.0.0.0:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ("[::]:0", IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ("[::]:0", IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())),
        ] {
            let receiver = UdpSocket::bind(bind).await.unwrap();
            receiver.set_recv_ecn(true).unwrap();
            receiver.set_recv_packet_info(true).unwrap();
            let sender = UdpSocket::bind(bind).await.unwrap();
            let target = SocketAddr::new(loopback, receiver.local_addr().unwrap().port());
            for mark in [Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
                let transmit = Transmit::to(target).ecn(mark).source(loopback).interface(1);
                sender.send_msg("x", &transmit).await.0.unwrap();
                let message = receiver.recv_msg(Vec::with_capacity(9)).await.0.unwrap();
                assert_eq!((message.ecn, message.interface), (Some(mark), Some(1)), "{loopback}");
                let destination = message.destination.unwrap();
                assert_eq!((destination.to_canonical(), message.from.ip()), (loopback.to_canonical(), loopback));
                assert!(!message.truncated);
            }
            sender.send_msg("unmarked", &Transmit::to(target)).await.0.unwrap();
            assert_eq!(receiver.recv_msg(Vec::with_capacity(9)).await.0.unwrap().ecn, None);
        }
    });
}

#[test]
fn the_source_is_chosen_and_must_be_of_the_same_family() {
    run(async {
        let (receiver, address) = socket().await;
        let sender = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        sender.send_msg("x", &Transmit::to(address).source(source)).await.0.unwrap();
        assert_eq!(receiver.recv_from(Vec::with_capacity(9)).await.0.unwrap().1.ip(), source);
        let wrong = Transmit::to(address).source(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let (result, buf) = sender.send_msg("back", &wrong).await;
        assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::InvalidInput, "back"));
    });
}

#[test]
fn one_send_makes_many_datagrams_and_one_receive_takes_them() {
    run(async {
        let (receiver, address) = socket().await;
        let (sender, _) = socket().await;
        sender.connect(address).await.unwrap();
        let bytes = pattern(0, 3500);
        let transmit = Transmit::new().segment_len(1000).ecn(Ecn::Ect0);
        assert_eq!(sender.send_msg(bytes.clone(), &transmit).await.0.unwrap(), 3500);
        let mut place = 0;
        for len in [1000, 1000, 1000, 500] {
            let (result, buf) = receiver.recv_msg(Vec::with_capacity(2000)).await;
            assert_eq!(result.unwrap().len, len);
            check(&buf, place);
            place += len;
        }
        receiver.set_gro(true).unwrap();
        sender.send_msg(bytes, &transmit).await.0.unwrap();
        let mut place = 0;
        while place < 3500 {
            let (result, buf) = receiver.recv_msg(Vec::with_capacity(65_536)).await;
            let message = result.unwrap();
            check(&buf, place);
            assert_eq!(message.segment_len.unwrap_or(message.len), 1000.min(message.len));
            place += message.len;
        }
        assert_eq!(place, 3500);
    });
}

#[test]
fn a_dropped_receive_leaves_what_travelled_beside_the_bytes() {
    run(async {
        let (receiver, address) = socket().await;
        receiver.set_recv_ecn(true).unwrap();
        let (sender, sender_address) = socket().await;
        for _ in 0..20 {
            assert!(poll_and_drop(receiver.recv_msg(Vec::with_capacity(99))).await.is_none());
            let transmit = Transmit::to(address).ecn(Ecn::Ce);
            sender.send_msg("kept", &transmit).await.0.unwrap();
            let (result, buf) = receiver.recv_msg(Vec::with_capacity(99)).await;
            let message = result.unwrap();
            assert_eq!((message.ecn, message.from, &buf[..]), (Some(Ecn::Ce), sender_address, &b"kept"[..]));
        }
    });
}

/// Headers go back to the loop and are used again, and so do not get mixed up.
#[test]
fn many_receives_at_once_have_a_header_each() {
    run(async {
        let (receiver, address) = socket().await;
        let (sender, sender_address) = socket().await;
        for round in 0..5 {
            let mut receives: Vec<_> = (0..300).map(|_| receiver.recv_msg(Vec::with_capacity(9))).collect();
            for receive in &mut receives {
                assert!(poll_once(receive).await.is_pending());
            }
            turn().await;
            for index in 0..300 {
                sender.send_to(format!("{round}/{index}"), address).await.0.unwrap();
            }
            let mut seen = Vec::new();
            for (result, buf) in futures::future::join_all(receives).await {
                assert_eq!(result.unwrap().from, sender_address);
                seen.push(String::from_utf8(buf).unwrap());
            }
            let mut expected: Vec<_> = (0..300).map(|index| format!("{round}/{index}")).collect();
            expected.sort();
            seen.sort();
            assert_eq!(seen, expected);
        }
    });
}
