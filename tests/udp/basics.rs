//! Datagrams there and back, with std at the other end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ringtoss::net::UdpSocket;

use crate::system;
use crate::util::*;

pub fn std_socket() -> (std::net::UdpSocket, SocketAddr) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(patience())).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn datagrams_go_both_ways_and_keep_their_boundaries() {
    run(async {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let peer = std::net::UdpSocket::bind(bind).unwrap();
            let peer_address = peer.local_addr().unwrap();
            let socket = UdpSocket::bind(bind).await.unwrap();
            let address = socket.local_addr().unwrap();
            for text in ["one", "", "three and more"] {
                peer.send_to(text.as_bytes(), address).unwrap();
            }
            for text in ["one", "", "three and more"] {
                let (result, buf) = socket.recv_from(Vec::with_capacity(100)).await;
                assert_eq!((result.unwrap(), &buf[..]), ((text.len(), peer_address), text.as_bytes()));
            }
            let mut buf = [0; 100];
            for text in ["a", "", "longer"] {
                let (result, sent) = socket.send_to(text, peer_address).await;
                assert_eq!((result.unwrap(), sent), (text.len(), text));
                assert_eq!(peer.recv_from(&mut buf).unwrap(), (text.len(), address));
                assert_eq!(&buf[..text.len()], text.as_bytes());
            }
        }
    });
}

#[test]
fn a_connected_socket_sends_and_receives_without_addresses() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (stranger, _) = std_socket();
        let (socket, address) = socket().await;
        assert_eq!(socket.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
        socket.connect(peer_address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), peer_address);
        stranger.send_to(b"from a stranger", address).unwrap();
        peer.send_to(b"from the peer", address).unwrap();
        let (result, buf) = socket.recv(Vec::with_capacity(100)).await;
        assert_eq!((result.unwrap(), &buf[..]), (13, &b"from the peer"[..]));
        peer.send_to(b"", address).unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap(), 0);
        socket.send("to the peer").await.0.unwrap();
        let mut buf = [0; 100];
        assert_eq!(peer.recv(&mut buf).unwrap(), 11);
        peer.send_to(b"again", address).unwrap();
        let (result, _) = socket.recv_from(Vec::with_capacity(9)).await;
        assert_eq!(result.unwrap(), (5, peer_address));
    });
}

#[test]
fn names_are_resolved_and_the_first_address_that_works_is_taken() {
    run(async {
        // A bare machine knows no names.
        if std::net::ToSocketAddrs::to_socket_addrs("localhost:0").is_ok() {
            let socket = UdpSocket::bind("localhost:0").await.unwrap();
            assert!(socket.local_addr().unwrap().ip().is_loopback());
        }
        let taken = std_socket().1;
        let choice: Vec<SocketAddr> = vec![taken, "127.0.0.1:0".parse().unwrap()];
        let _held = std::net::UdpSocket::bind(taken).unwrap();
        assert_ne!(UdpSocket::bind(choice).await.unwrap().local_addr().unwrap(), taken);
        assert_eq!(UdpSocket::bind("nonsense").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn what_the_buffer_has_no_room_for_is_cut_off() {
    run(async {
        let (peer, _) = std_socket();
        let (socket, address) = socket().await;
        peer.send_to(b"0123456789", address).unwrap();
        peer.send_to(b"next", address).unwrap();
        let (result, buf) = socket.recv(Vec::with_capacity(4)).await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"0123"[..]));
        let mut buf = b"behind ".to_vec();
        buf.reserve_exact(4);
        let (result, buf) = socket.recv_append(buf).await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"behind next"[..]));
        peer.send_to(b"last", address).unwrap();
        let (result, buf) = socket.recv_append_from(b"the ".to_vec().tap_reserve(4)).await;
        assert_eq!((result.unwrap().0, &buf[..]), (4, &b"the last"[..]));
    });
}

trait TapReserve {
    fn tap_reserve(self, additional: usize) -> Self;
}

impl TapReserve for Vec<u8> {
    fn tap_reserve(mut self, additional: usize) -> Vec<u8> {
        self.reserve_exact(additional);
        self
    }
}

#[test]
fn a_peek_leaves_the_datagram_there() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        peer.send_to(b"seen", address).unwrap();
        socket.readable().await.unwrap();
        socket.writable().await.unwrap();
        for _ in 0..3 {
            let (result, buf) = socket.peek_from(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), &buf[..]), ((4, peer_address), &b"seen"[..]));
            assert_eq!(socket.peek(Vec::with_capacity(2)).await.0.unwrap(), 2);
        }
        assert_eq!(socket.recv_from(Vec::with_capacity(9)).await.0.unwrap(), (4, peer_address));
    });
}

#[test]
fn errors_are_those_of_std() {
    run(async {
        let (peer, peer_address) = std_socket();
        same_error(UdpSocket::bind(peer_address).await, std::net::UdpSocket::bind(peer_address));
        same_error(UdpSocket::bind("192.0.2.1:1").await, std::net::UdpSocket::bind("192.0.2.1:1"));
        let (socket, _) = socket().await;
        same_error(socket.send("x").await.0, peer.send(b"x"));
        let large = vec![0u8; 70_000];
        same_error(socket.send_to(large.clone(), peer_address).await.0, peer.send_to(&large, peer_address));
        let v6: SocketAddr = "[::1]:9".parse().unwrap();
        same_error(socket.send_to("x", v6).await.0, peer.send_to(b"x", v6));
        same_error(socket.set_ttl(0), peer.set_ttl(0));

        let (result, _) = socket.recv(Vec::new()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, _) = socket.recv_from(Vec::new()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_refusal_is_told_to_both_kinds_of_operations() {
    run(async {
        let nobody = std_socket().1;
        let (socket, _) = socket().await;
        socket.connect(nobody).await.unwrap();
        for _ in 0..3 {
            socket.send("x").await.0.unwrap();
            assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            socket.send("x").await.0.unwrap();
            let error = socket.recv_from(Vec::with_capacity(9)).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        socket.send("x").await.0.unwrap();
        socket.readable().await.unwrap();
        assert_eq!(socket.take_error().unwrap().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert!(socket.take_error().unwrap().is_none());
    });
}

#[test]
fn the_end_is_told_from_an_empty_datagram() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        socket.connect(peer_address).await.unwrap();
        peer.send_to(b"", address).unwrap();
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap(), 0);
        system::shutdown_reading(&socket);
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(socket.recv_from(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_dropped_socket_frees_its_port_at_once() {
    run(async {
        for round in 0..50 {
            let (socket, address) = socket().await;
            if round % 2 == 0 {
                assert!(poll_and_drop(socket.recv_from(Vec::with_capacity(9))).await.is_none());
                turn().await;
                assert!(poll_and_drop(socket.recv_from(Vec::with_capacity(9))).await.is_none());
            }
            drop(socket);
            std::net::UdpSocket::bind(address).unwrap();
        }
        let (socket, address) = socket().await;
        socket.close().await.unwrap();
        std::net::UdpSocket::bind(address).unwrap();
    });
}

#[test]
fn sockets_go_to_std_and_back() {
    run(async {
        let (peer, peer_address) = std_socket();
        peer.connect(socket().await.1).unwrap();
        let ours = UdpSocket::from_std(peer);
        assert!(ours.peer_addr().is_ok());
        assert!(poll_and_drop(ours.recv(Vec::with_capacity(9))).await.is_none());
        turn().await;
        let std = ours.into_std().unwrap();
        assert_eq!(std.local_addr().unwrap(), peer_address);
        assert!(format!("{:?}", UdpSocket::from_std(std)).contains(&peer_address.port().to_string()));
    });
}

#[test]
fn limits_give_the_buffer_back() {
    run(async {
        let (socket, _) = socket().await;
        let (result, buf) = socket.recv_from(Vec::with_capacity(77)).timeout(Duration::from_millis(2)).await;
        assert_eq!((result.unwrap_err().kind(), buf.capacity()), (ErrorKind::TimedOut, 77));
        let token = ringtoss::CancellationToken::new();
        let canceller = token.clone();
        let cancel = ringtoss::spawn(async move {
            turn().await;
            canceller.cancel();
        });
        let (result, buf) = socket.recv(Vec::with_capacity(77)).cancel_on(&token).await;
        assert_eq!((result.unwrap_err().raw_os_error(), buf.capacity()), (Some(libc::ECANCELED), 77));
        cancel.await.unwrap();
        let (result, _) = socket.recv(Vec::with_capacity(77)).cancel().await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
}

#[test]
fn operations_are_send_when_their_buffers_are() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync + Send>(_: &T) {}
    run(async {
        let (socket, address) = socket().await;
        is_sync(&socket);
        is_send(&socket.recv(vec![0; 9]));
        is_send(&socket.recv_from(vec![0; 9]));
        is_send(&socket.recv_msg(vec![0; 9]));
        is_send(&socket.send_to(vec![0; 9], address));
        is_send(&socket.send_msg(vec![0; 9], &ringtoss::net::udp::Transmit::to(address)));
    });
}
