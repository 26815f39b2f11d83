//! The options of a socket.

use std::net::{Ipv4Addr, Ipv6Addr};

use ringtoss::net::UdpSocket;

use crate::basics::{socket, std_socket};
use crate::system;
use crate::util::*;

#[test]
fn options_are_set_and_told() {
    run(async {
        let (socket, _) = socket().await;
        for on in [true, false] {
            socket.set_broadcast(on).unwrap();
            assert_eq!(socket.broadcast().unwrap(), on);
            socket.set_multicast_loop_v4(on).unwrap();
            assert_eq!(socket.multicast_loop_v4().unwrap(), on);
        }
        socket.set_ttl(77).unwrap();
        assert_eq!(socket.ttl().unwrap(), 77);
        socket.set_multicast_ttl_v4(3).unwrap();
        assert_eq!(socket.multicast_ttl_v4().unwrap(), 3);
        let v6 = UdpSocket::bind("[::1]:0").await.unwrap();
        for on in [true, false] {
            v6.set_multicast_loop_v6(on).unwrap();
            assert_eq!(v6.multicast_loop_v6().unwrap(), on);
        }
    });
}

#[test]
fn broadcasts_have_to_be_allowed() {
    run(async {
        let (socket, _) = socket().await;
        let (std, _) = std_socket();
        let target = "255.255.255.255:9".parse().unwrap();
        let (ours, theirs) = (socket.send_to("x", target).await.0, std.send_to(b"x", target));
        // Where there is no route it is unreachable for both.
        same_error(ours, theirs);
        socket.set_broadcast(true).unwrap();
        std.set_broadcast(true).unwrap();
        let (ours, theirs) = (socket.send_to("x", target).await.0, std.send_to(b"x", target));
        assert_eq!(ours.map_err(|e| e.raw_os_error()), theirs.map_err(|e| e.raw_os_error()));
    });
}

#[test]
fn groups_are_joined_and_left() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 77, 1);
        let receiver = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        receiver.join_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        let (std, _) = std_socket();
        std.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        same_error(
            receiver.join_multicast_v4(group, Ipv4Addr::LOCALHOST),
            std.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST),
        );

        let (sender, sender_address) = socket().await;
        system::send_groups_by_loopback(&sender);
        let port = receiver.local_addr().unwrap().port();
        sender.send_to("to all", (group, port).into()).await.0.unwrap();
        let (result, buf) = receiver.recv_from(Vec::with_capacity(99)).await;
        assert_eq!((result.unwrap(), &buf[..]), ((6, sender_address), &b"to all"[..]));

        receiver.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).unwrap();
        std.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST).unwrap();
        same_error(
            receiver.leave_multicast_v4(group, Ipv4Addr::LOCALHOST),
            std.leave_multicast_v4(&group, &Ipv4Addr::LOCALHOST),
        );

        let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x77, 1);
        let socket = UdpSocket::bind("[::]:0").await.unwrap();
        let std = std::net::UdpSocket::bind("[::]:0").unwrap();
        // The loopback interface is the first one.
        socket.join_multicast_v6(&group, 1).unwrap();
        std.join_multicast_v6(&group, 1).unwrap();
        same_error(socket.join_multicast_v6(&group, 1), std.join_multicast_v6(&group, 1));
        socket.leave_multicast_v6(&group, 1).unwrap();
        std.leave_multicast_v6(&group, 1).unwrap();
        same_error(socket.leave_multicast_v6(&group, 1), std.leave_multicast_v6(&group, 1));
    });
}

#[test]
fn the_builder_says_what_is_needed_before_binding() {
    run(async {
        let socket = UdpSocket::builder()
            .reuseaddr(true)
            .reuseport(true)
            .device(b"lo")
            .configure(|socket| socket.set_recv_buffer_size(30_000))
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let address = socket.local_addr().unwrap();
        assert!(socket.reuseaddr().unwrap() && socket.reuseport().unwrap());
        assert_eq!((socket.recv_buffer_size().unwrap(), socket.device().unwrap()), (60_000, Some(b"lo".to_vec())));
        same_error(UdpSocket::builder().bind(address).await, std::net::UdpSocket::bind(address));
        drop(UdpSocket::builder().reuseport(true).reuseaddr(true).bind(address).await.unwrap());
        socket.set_tos_v4(0x28).unwrap();
        assert_eq!(socket.tos_v4().unwrap(), 0x28);

        let Ok(v6) = UdpSocket::builder().only_v6(true).bind("[::]:0").await else { return };
        assert!(v6.only_v6().unwrap());
        // The same port of IPv4 is free.
        let port = v6.local_addr().unwrap().port();
        drop(UdpSocket::bind(("0.0.0.0", port)).await.unwrap());
        v6.set_tclass_v6(0x28).unwrap();
        assert_eq!(v6.tclass_v6().unwrap(), 0x28);
    });
}
