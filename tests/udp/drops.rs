//! Futures that are dropped: before submission, in flight, after completion. No datagram is lost.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use ringtoss::net::UdpSocket;

use crate::basics::{socket, std_socket};
use crate::util::*;

#[test]
fn dropped_before_submission_nothing_has_happened() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        let (buf, drops) = Counted::new(Vec::with_capacity(9));
        drop(socket.recv_from(buf));
        assert_eq!(drops.count(), 1);
        let (buf, drops) = Counted::new(Vec::with_capacity(9));
        assert!(poll_and_drop(socket.recv_from(buf)).await.is_none());
        assert_eq!(drops.count(), 1);
        let (buf, drops) = Counted::new(vec![1]);
        assert!(poll_and_drop(socket.send_to(buf, peer_address)).await.is_none());
        assert_eq!(drops.count(), 1);
        peer.send_to(b"here", address).unwrap();
        let (result, buf) = socket.recv_from(Vec::with_capacity(9)).await;
        assert_eq!((result.unwrap(), &buf[..]), ((4, peer_address), &b"here"[..]));
        peer.set_nonblocking(true).unwrap();
        assert_eq!(peer.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

/// Puts a receive in flight and drops it there.
async fn dropped_in_flight(socket: &UdpSocket, capacity: usize) -> Drops {
    let (buf, drops) = Counted::new(Vec::with_capacity(capacity));
    let mut receive = socket.recv_from(buf);
    assert!(poll_once(&mut receive).await.is_pending());
    turn().await;
    drop(receive);
    drops
}

/// Puts a receive in flight and drops it when a datagram has come to it.
async fn dropped_when_done(socket: &UdpSocket, send: impl FnOnce() -> usize) -> Drops {
    let (buf, drops) = Counted::new(Vec::with_capacity(99));
    let mut receive = socket.recv_from(buf);
    assert!(poll_once(&mut receive).await.is_pending());
    turn().await;
    send();
    turn().await;
    turn().await;
    drop(receive);
    drops
}

#[test]
fn what_comes_after_the_drop_is_received_next_with_its_source() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        for round in 0..50 {
            let drops = dropped_in_flight(&socket, 99).await;
            if round % 2 == 0 {
                // The next receive takes the dropped one over.
                let mut receive = socket.recv_from(Vec::with_capacity(99));
                assert!(poll_once(&mut receive).await.is_pending());
                turn().await;
                peer.send_to(b"after", address).unwrap();
                let (result, buf) = receive.await;
                assert_eq!((result.unwrap(), &buf[..]), ((5, peer_address), &b"after"[..]));
            } else {
                peer.send_to(b"after", address).unwrap();
                let (result, buf) = socket.recv_from(Vec::with_capacity(99)).await;
                assert_eq!((result.unwrap(), &buf[..]), ((5, peer_address), &b"after"[..]));
            }
            drops.once().await;
        }
    });
}

#[test]
fn what_came_before_the_drop_is_received_next_in_order_with_its_source() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (other, other_address) = std_socket();
        let (socket, address) = socket().await;
        for _ in 0..50 {
            let drops = dropped_when_done(&socket, || peer.send_to(b"first", address).unwrap()).await;
            drops.once().await;
            other.send_to(b"", address).unwrap();
            peer.send_to(b"third", address).unwrap();
            let (result, buf) = socket.peek_from(Vec::with_capacity(3)).await;
            assert_eq!((result.unwrap(), &buf[..]), ((3, peer_address), &b"fir"[..]));
            socket.readable().await.unwrap();
            for (text, from) in [("first", peer_address), ("", other_address), ("third", peer_address)] {
                let (result, buf) = socket.recv_from(Vec::with_capacity(99)).await;
                assert_eq!((result.unwrap(), &buf[..]), ((text.len(), from), text.as_bytes()));
            }
        }
    });
}

#[test]
fn an_empty_datagram_is_not_lost_and_not_the_end() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        for _ in 0..20 {
            dropped_when_done(&socket, || peer.send_to(b"", address).unwrap()).await.once().await;
            assert_eq!(socket.recv_from(Vec::with_capacity(9)).await.0.unwrap(), (0, peer_address));
            dropped_when_done(&socket, || peer.send_to(b"", address).unwrap()).await.once().await;
            assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap(), 0);
        }
    });
}

#[test]
fn what_was_salvaged_is_cut_off_as_the_kernel_would() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        dropped_when_done(&socket, || peer.send_to(b"0123456789", address).unwrap()).await.once().await;
        peer.send_to(b"next", address).unwrap();
        let (result, buf) = socket.recv_msg(Vec::with_capacity(4)).await;
        let message = result.unwrap();
        assert_eq!((message.len, message.from, message.truncated, &buf[..]), (4, peer_address, true, &b"0123"[..]));
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap(), 4);
    });
}

#[test]
fn an_error_that_a_dropped_receive_met_is_told_by_the_next() {
    run(async {
        let (gone, gone_address) = std_socket();
        let (socket, _) = socket().await;
        socket.connect(gone_address).await.unwrap();
        drop(gone);
        let mut receive = socket.recv(Vec::with_capacity(9));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        socket.send("x").await.0.unwrap();
        turn().await;
        drop(receive);
        // A conversion would lose it.
        let failure = socket.into_parts().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let socket = failure.into_inner();
        assert_eq!(socket.recv(Vec::with_capacity(9)).await.0.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_receive_that_asked_for_no_source_leaves_one_on_a_socket_without_a_peer() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        for connected in [false, true] {
            if connected {
                socket.connect(peer_address).await.unwrap();
            }
            let mut receive = socket.recv(Vec::with_capacity(9));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            peer.send_to(b"x", address).unwrap();
            turn().await;
            turn().await;
            drop(receive);
            assert_eq!(socket.recv_from(Vec::with_capacity(9)).await.0.unwrap(), (1, peer_address));
        }
    });
}

#[test]
fn forgotten_receives_are_sound() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        let mut receive = socket.recv_from(Vec::with_capacity(99));
        assert!(poll_once(&mut receive).await.is_pending());
        turn().await;
        std::mem::forget(receive);
        // The one that was forgotten takes the first.
        peer.send_to(b"lost with it", address).unwrap();
        turn().await;
        peer.send_to(b"second", address).unwrap();
        let (result, buf) = socket.recv_from(Vec::with_capacity(99)).await;
        assert_eq!((result.unwrap(), &buf[..]), ((6, peer_address), &b"second"[..]));
    });
}

#[test]
fn conversions_hand_over_what_was_salvaged() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        dropped_in_flight(&socket, 9).await.once().await;
        dropped_when_done(&socket, || peer.send_to(b"kept", address).unwrap()).await.once().await;
        let failure = socket.into_std().unwrap_err();
        assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
        let socket = failure.into_inner();
        let (std, unread) = socket.into_parts().unwrap();
        assert_eq!(unread, [(b"kept".to_vec(), peer_address)]);
        peer.send_to(b"std's", address).unwrap();
        assert_eq!(std.recv_from(&mut [0; 9]).unwrap(), (5, peer_address));
    });
}

#[test]
fn the_fate_of_a_dropped_send_is_known() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, _) = socket().await;
        assert!(socket.take_dropped_write().await.is_none());
        let (buf, drops) = Counted::new(b"sent".to_vec());
        let mut send = socket.send_to(buf, peer_address);
        assert!(poll_once(&mut send).await.is_pending());
        turn().await;
        drop(send);
        drops.once().await;
        assert_eq!(socket.take_dropped_write().await.unwrap().unwrap(), 4);
        assert_eq!(peer.recv(&mut [0; 9]).unwrap(), 4);
    });
}

/// A receive has the only datagram and was not polled since; others are in the kernel. It is dropped: one of the others
/// must get it.
#[test]
fn a_receive_that_waits_in_the_kernel_gets_what_a_dropped_one_leaves() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        for round in 0..60 {
            let mut first = socket.recv_from(Vec::with_capacity(99));
            assert!(poll_once(&mut first).await.is_pending());
            turn().await;
            peer.send_to(b"one", address).unwrap();
            turn().await;
            turn().await;
            let mut receives: Vec<_> = (0..1 + round % 4).map(|_| socket.recv_from(Vec::with_capacity(99))).collect();
            for receive in &mut receives {
                assert!(poll_once(receive).await.is_pending());
            }
            turn().await;
            drop(first);
            let ((result, buf), _, others) = futures::future::select_all(receives).await;
            assert_eq!((result.unwrap(), &buf[..]), ((3, peer_address), &b"one"[..]));
            for mut other in others {
                assert!(matches!(poll_once(&mut other).await, Poll::Pending));
            }
        }
    });
}

/// The same for whoever waits until there is something.
#[test]
fn readable_is_told_of_what_a_dropped_receive_leaves() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        for _ in 0..30 {
            let mut receive = socket.recv_from(Vec::with_capacity(99));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            peer.send_to(b"one", address).unwrap();
            turn().await;
            turn().await;
            let mut readable = socket.readable();
            assert!(poll_once(&mut readable).await.is_pending());
            turn().await;
            drop(receive);
            readable.await.unwrap();
            assert_eq!(socket.recv_from(Vec::with_capacity(99)).await.0.unwrap(), (3, peer_address));
        }
    });
}

/// The same, waiting on another loop.
#[test]
fn a_receive_that_waits_on_another_loop_gets_what_a_dropped_one_leaves() {
    run_watched(|| {
        for _ in 0..10 {
            let (peer, peer_address) = std_socket();
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let socket = Arc::new(UdpSocket::from_std(socket));
            let theirs = socket.clone();
            let (waits, wait) = mpsc::channel();
            run(async {
                let mut receive = socket.recv_from(Vec::with_capacity(99));
                assert!(poll_once(&mut receive).await.is_pending());
                turn().await;
                let thread = std::thread::spawn(move || {
                    run(async {
                        let mut receive = theirs.recv_from(Vec::with_capacity(99));
                        assert!(poll_once(&mut receive).await.is_pending());
                        turn().await;
                        waits.send(()).unwrap();
                        receive.await.0.unwrap()
                    })
                });
                wait.recv().unwrap();
                peer.send_to(b"one", address).unwrap();
                turn().await;
                turn().await;
                drop(receive);
                until(|| thread.is_finished()).await;
                assert_eq!(thread.join().unwrap(), (3, peer_address));
            });
        }
    });
}

#[test]
fn a_receive_may_be_dropped_on_another_thread() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        let socket = Arc::new(socket);
        for round in 0..30 {
            let mut receive = socket.recv_from(Vec::with_capacity(99));
            assert!(poll_once(&mut receive).await.is_pending());
            turn().await;
            if round % 2 == 0 {
                peer.send_to(b"one", address).unwrap();
            }
            std::thread::scope(|scope| drop(scope.spawn(move || drop(receive)).join()));
            if round % 2 == 1 {
                peer.send_to(b"one", address).unwrap();
            }
            assert_eq!(socket.recv_from(Vec::with_capacity(99)).await.0.unwrap(), (3, peer_address));
        }
    });
}

#[test]
fn a_socket_with_everything_in_flight_may_be_dropped() {
    run(async {
        let (peer, _) = std_socket();
        let (socket, address) = socket().await;
        let mut all = Vec::new();
        for _ in 0..20 {
            all.push(dropped_in_flight(&socket, 99).await);
        }
        peer.send_to(b"nobody's", address).unwrap();
        drop(socket);
        for drops in all {
            drops.once().await;
        }
        ringtoss::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(ringtoss::metrics().stale_completions, 0);
    });
}
