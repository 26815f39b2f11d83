//! Sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream as StdTcp};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnix;
use std::time::Duration;

use ringtoss::metrics;
use ringtoss::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};

use super::{assert_end, assert_places, ping_pong, poll_once, run, turn, with_place, works};

#[test]
fn what_is_used_often_gets_a_place_and_gives_it_back() {
    run(|| async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        ping_pong(&mut a, &mut b, 2).await;
        assert_places(0);
        ping_pong(&mut a, &mut b, 20).await;
        assert_places(2);
        drop(a);
        assert_eq!(b.read(Vec::with_capacity(8)).await.0.unwrap(), 0);
        turn().await;
        assert_places(1);
        b.close().await.unwrap();
        turn().await;
        assert_places(0);
    });
}

#[test]
fn everything_else_that_a_socket_can_do_works_as_ever() {
    run(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
        client.register();
        server.register();
        for _ in 0..3 {
            client.write_all("ping").await.0.unwrap();
            assert_eq!(server.read_exact(Vec::with_capacity(4), 4).await.0.unwrap(), 4);
        }
        client.write_all("x").await.0.unwrap();
        assert_eq!(&server.recv().await.unwrap().unwrap()[..], b"x");
        assert_places(2);
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        assert_eq!((client.peer_addr().unwrap(), server.peer_addr().unwrap()), (address, client.local_addr().unwrap()));
        client.write_vectored(vec![b"ab".to_vec(), b"cd".to_vec()]).await.0.unwrap();
        server.readable().await.unwrap();
        let mut buf = [0; 8];
        assert_eq!(server.try_read(&mut buf).unwrap(), 4);
        let mut received = server.recv_stream();
        client.send_zc(vec![7; 20_000]).await.0.unwrap();
        let mut count = 0;
        while count < 20_000 {
            count += received.next().await.unwrap().unwrap().len();
        }
        client.shutdown(Shutdown::Write).await.unwrap();
        assert!(received.next().await.is_none());
        drop(received);
        let number = server.as_raw_fd();
        let mut std = server.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number, "at home it is no duplicate");
        turn().await;
        assert_places(1);
        std.set_nonblocking(false).unwrap();
        std.write_all(b"bye").unwrap();
        drop(std);
        let (result, got) = client.read_to_end(Vec::new()).await;
        assert_eq!((result.unwrap(), &got[..]), (3, &b"bye"[..]));
    });
}

#[test]
fn datagrams_go_by_the_place_too_and_none_is_lost_when_receives_are_dropped() {
    run(|| async {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        a.register();
        b.register();
        let to = b.local_addr().unwrap();
        for round in 0..40u8 {
            let mut first = b.recv_from(Vec::with_capacity(8));
            let mut second = b.recv_from(Vec::with_capacity(8));
            assert!(poll_once(&mut first).await.is_pending() && poll_once(&mut second).await.is_pending());
            turn().await;
            a.send_to(vec![round], to).await.0.unwrap();
            let (goes, stays) = if round % 2 == 0 { (first, second) } else { (second, first) };
            drop(goes);
            let (result, got) = stays.await;
            assert_eq!((result.unwrap().0, got), (1, vec![round]));
        }
        assert_places(2);
    });
}

/// Also while another registered connection has an operation in flight, which on kernels before 6.13 keeps what was
/// registered open: there nothing is.
#[test]
fn a_dropped_connection_ends_at_once_though_operations_are_in_flight() {
    run(|| async {
        let (mut idle, _idle_peer) = with_place().await;
        let mut waits = idle.read(Vec::with_capacity(8));
        assert!(poll_once(&mut waits).await.is_pending());
        turn().await;
        for way in 0..4 {
            let (mut stream, peer) = with_place().await;
            let mut read = stream.read(Vec::with_capacity(8));
            assert!(poll_once(&mut read).await.is_pending());
            if way % 2 == 0 {
                turn().await;
            }
            drop(read);
            match way {
                0 | 1 => drop(stream),
                2 => stream.close().await.unwrap(),
                _ => drop(stream.into_std().unwrap()),
            }
            turn().await;
            turn().await;
            assert_end(&peer);
            assert_places(1);
        }
    });
}

#[test]
fn a_dropped_read_is_salvaged() {
    run(|| async {
        let (mut stream, mut peer) = with_place().await;
        for byte in 0..50u8 {
            let mut read = stream.read(Vec::with_capacity(8));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            peer.write_all(&[byte]).unwrap();
            drop(read);
            let (result, got) = stream.read(Vec::with_capacity(8)).await;
            assert_eq!((result.unwrap(), got), (1, vec![byte]));
        }
        assert_places(1);
    });
}

#[test]
fn a_listener_has_a_place_and_its_port_is_free_at_once() {
    run(|| async {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for round in 0..20 {
            for _ in 0..12 {
                let client = StdTcp::connect(address).unwrap();
                listener.accept().await.unwrap();
                drop(client);
            }
            turn().await;
            assert_places(1);
            let mut dropped = listener.accept();
            assert!(poll_once(&mut dropped).await.is_pending());
            turn().await;
            // A connection that a dropped accept has taken is not lost.
            let mut client = StdTcp::connect(address).unwrap();
            client.write_all(&[round]).unwrap();
            drop(dropped);
            let (mut stream, from) = listener.accept().await.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
            let (result, got) = stream.read(Vec::with_capacity(8)).await;
            assert_eq!((result.unwrap(), got), (1, vec![round]));
            let mut waits = listener.accept();
            assert!(poll_once(&mut waits).await.is_pending());
            drop(waits);
            // Closed on this side first, the port would wait for stragglers.
            drop(client);
            drop(stream);
            drop(listener);
            listener = TcpListener::bind(address).await.unwrap();
        }
    });
}

/// What one connection writes must not come out of another that has its place now.
#[test]
fn places_are_used_again_and_never_mixed_up() {
    run(|| async {
        let mut random = 7u64;
        let mut next = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        let mut alive = Vec::new();
        for id in 0..3000u32 {
            let (stream, peer) = UnixStream::pair().unwrap();
            stream.register();
            alive.push((id, stream, peer, 0u32));
            for _ in 0..next(4) {
                let index = next(alive.len());
                let (id, stream, peer, sent) = &mut alive[index];
                let message = [id.to_le_bytes(), sent.to_le_bytes()].concat();
                *sent += 1;
                let mut write = stream.write_all(message.clone());
                match next(3) {
                    // Dropped before it was submitted: it did nothing.
                    0 => {
                        assert!(poll_once(&mut write).await.is_pending());
                        drop(write);
                        continue;
                    }
                    _ => write.await.0.unwrap(),
                };
                let (result, got) = peer.read(Vec::with_capacity(64)).await;
                assert_eq!((result.unwrap(), got), (8, message));
            }
            while alive.len() > next(12) {
                let index = next(alive.len());
                let (_, stream, peer, _) = alive.swap_remove(index);
                if next(2) == 0 {
                    drop(stream)
                } else {
                    stream.close().await.unwrap()
                }
                drop(peer);
            }
        }
        alive.clear();
        turn().await;
        turn().await;
        assert_places(0);
        assert!(!works() || metrics().stale_completions == 0);
    });
}

#[test]
fn ten_thousand_connections_come_and_go_and_leave_no_place() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).await.unwrap();
        let mut peak = 0;
        for round in 0..10_000 {
            let mut client = StdUnix::connect(&path).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.register();
            stream.write_all("x").await.0.unwrap();
            if round % 3 > 0 {
                stream.write_all("y").await.0.unwrap();
            }
            peak = peak.max(metrics().registered_files);
            client.read_exact(&mut [0]).unwrap();
            drop(client);
            match round % 4 {
                0 => stream.close().await.unwrap(),
                1 => drop(stream.into_std()),
                _ => drop(stream),
            }
        }
        assert!(peak <= 4, "{peak} places for one connection at a time and a listener");
        drop(listener);
        ringtoss::time::sleep(Duration::from_millis(1)).await;
        assert_places(0);
    });
}
