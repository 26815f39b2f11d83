//! Datagrams in leases: boundaries, sources, what travels beside them, what dropped receives leave, and no buffer is lost.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket as StdSocket};

use ringtoss::EventLoop;
use ringtoss::net::udp::{Ecn, Transmit};
use ringtoss::net::{UdpSocket, UnixDatagram};

use crate::util::*;

const _: () = {
    const fn sendable<T: Send>() {}
    sendable::<ringtoss::op::Datagrams<'static, ringtoss::net::udp::UdpMessage>>();
    sendable::<ringtoss::op::Receive<'static, ringtoss::op::RecvMsgLease<ringtoss::net::udp::UdpMessage>>>();
};

fn peer() -> (StdSocket, SocketAddr) {
    let socket = StdSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn datagrams_come_whole_with_their_source() {
    run(async {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(peer) = StdSocket::bind(bind) else { continue };
            let from = peer.local_addr().unwrap();
            let socket = UdpSocket::bind(bind).await.unwrap();
            let address = socket.local_addr().unwrap();
            let texts = ["one", "", "three and more", "", ""];
            for text in texts {
                peer.send_to(text.as_bytes(), address).unwrap();
            }
            for text in texts {
                let (lease, message) = socket.recv_lease().await.unwrap();
                assert_eq!((&lease[..], message.len, message.from), (text.as_bytes(), text.len(), from));
                assert!(!message.truncated);
            }
            let mut received = socket.recv_stream();
            for round in 0..300u32 {
                for text in texts {
                    peer.send_to(format!("{round} {text}").as_bytes(), address).unwrap();
                    if round % 2 == 0 {
                        peer.send_to(b"", address).unwrap();
                    }
                }
                for text in texts {
                    let (lease, message) = received.next().await.unwrap();
                    let expected = format!("{round} {text}");
                    assert_eq!((&lease[..], message.len, message.from), (expected.as_bytes(), expected.len(), from));
                    if round % 2 == 0 {
                        assert!(received.next().await.unwrap().0.is_empty());
                    }
                }
            }
        }
    });
}

#[test]
fn one_submission_serves_many_receives() {
    run(async {
        let (peer, _) = peer();
        let (socket, address) = socket().await;
        let mut received = socket.recv_stream();
        let before = ringtoss::metrics().submissions;
        for round in 0..500u32 {
            peer.send_to(&round.to_le_bytes(), address).unwrap();
            assert_eq!(received.next().await.unwrap().0[..], round.to_le_bytes());
        }
        assert!(ringtoss::metrics().submissions - before < 20);
    });
}

#[test]
fn what_travels_beside_is_told() {
    run(async {
        let (socket, address) = socket().await;
        socket.set_recv_ecn(true).unwrap();
        socket.set_recv_packet_info(true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut received = socket.recv_stream();
        for mark in [Ecn::Ect0, Ecn::Ect1, Ecn::Ce] {
            sender.send_msg("marked", &Transmit::to(address).ecn(mark)).await.0.unwrap();
            let (lease, message) = received.next().await.unwrap();
            assert_eq!((&lease[..], message.ecn), (&b"marked"[..], Some(mark)));
            assert_eq!((message.destination, message.interface), (Some(address.ip()), Some(1)));
        }
        // What had arrived and was not taken still has it.
        sender.send_msg("left", &Transmit::to(address).ecn(Ecn::Ce)).await.0.unwrap();
        for _ in 0..3 {
            turn().await;
        }
        drop(received);
        let (lease, message) = socket.recv_lease().await.unwrap();
        assert_eq!((&lease[..], message.ecn, message.interface), (&b"left"[..], Some(Ecn::Ce), Some(1)));
        sender.send_msg("one by one", &Transmit::to(address).ecn(Ecn::Ce)).await.0.unwrap();
        let (lease, message) = socket.recv_lease().await.unwrap();
        assert_eq!((&lease[..], message.ecn, message.interface), (&b"one by one"[..], Some(Ecn::Ce), Some(1)));
    });
}

#[test]
fn joined_datagrams_fit_into_large_buffers() {
    let event_loop = EventLoop::builder().lease_buffers(66_000, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (socket, address) = socket().await;
        socket.set_gro(true).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let sent = pattern(0, 20_000);
        let mut received = socket.recv_stream();
        sender.send_msg(sent.clone(), &Transmit::to(address).segment_len(1000)).await.0.unwrap();
        let mut place = 0;
        while place < sent.len() {
            let (lease, message) = received.next().await.unwrap();
            assert!(!message.truncated);
            check(&lease, place);
            assert!(lease.len() <= 1000 || message.segment_len == Some(1000));
            place += lease.len();
        }
    }));
}

#[test]
fn what_a_buffer_has_no_room_for_is_cut_off_and_told() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (peer, from) = peer();
        let (socket, address) = socket().await;
        for round in 0..2 {
            peer.send_to(&pattern(0, 2000), address).unwrap();
            peer.send_to(b"next", address).unwrap();
            let (lease, message) = match round {
                0 => socket.recv_lease().await.unwrap(),
                _ => socket.recv_stream().next().await.unwrap(),
            };
            check(&lease, 0);
            assert!(message.truncated && lease.len() >= 512 - 250 && lease.len() <= 512 && message.from == from);
            // The stream may have had more.
            assert_eq!(socket.recv_lease().await.unwrap().0[..], *b"next");
        }
    }));
}

#[test]
fn errors_are_told_and_it_goes_on() {
    run(async {
        let nobody = peer().1;
        let (socket, address) = socket().await;
        socket.connect(nobody).await.unwrap();
        for round in 0..4 {
            socket.send("x").await.0.unwrap();
            let error = match round % 2 {
                0 => socket.recv_lease().await.unwrap_err(),
                _ => socket.recv_stream().next().await.unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        let mut received = socket.recv_stream();
        socket.send("x").await.0.unwrap();
        assert_eq!(received.next().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let back = StdSocket::bind(nobody).unwrap();
        back.send_to(b"here now", address).unwrap();
        assert_eq!(received.next().await.unwrap().0[..], *b"here now");
        // The end, of a direction that was shut down.
        back.send_to(b"", address).unwrap();
        assert!(received.next().await.unwrap().0.is_empty());
        drop(received);
        let std = socket.into_std().unwrap();
        let clone = std.try_clone().unwrap();
        let socket = UdpSocket::from_std(std);
        shut_reading(&clone);
        assert_eq!(socket.recv_lease().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(socket.recv_stream().next().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

#[allow(unsafe_code, reason = "a system call")]
fn shut_reading(socket: &StdSocket) {
    use std::os::fd::AsRawFd;
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RD) }, 0);
}

/// Whatever is dropped whenever: every datagram comes out once, in order, and every buffer comes back.
#[test]
fn dropped_at_every_stage_nothing_is_lost() {
    let event_loop = EventLoop::builder().lease_buffers(1024, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (peer, from) = peer();
        let (socket, address) = socket().await;
        let mut random = Random(0xda7a);
        let (mut sent, mut taken) = (0u32, 0u32);
        let check = |bytes: &[u8], source: SocketAddr, taken: &mut u32| {
            let expected = if taken.is_multiple_of(5) { Vec::new() } else { taken.to_le_bytes().to_vec() };
            assert_eq!((bytes, source), (&expected[..], from), "datagram {taken}");
            *taken += 1;
        };
        for _ in 0..2000 {
            let send = |sent: &mut u32, random: &mut Random| {
                for _ in 0..random.below(3) {
                    let bytes = if sent.is_multiple_of(5) { Vec::new() } else { sent.to_le_bytes().to_vec() };
                    peer.send_to(&bytes, address).unwrap();
                    *sent += 1;
                }
            };
            match random.below(4) {
                0 => {
                    let mut one = socket.recv_lease();
                    match poll_once(&mut one).await {
                        std::task::Poll::Ready(got) => {
                            let (lease, message) = got.unwrap();
                            check(&lease, message.from, &mut taken);
                        }
                        std::task::Poll::Pending => {
                            send(&mut sent, &mut random);
                            for _ in 0..random.below(3) {
                                turn().await;
                            }
                        }
                    }
                }
                1 => {
                    let mut many = socket.recv_stream();
                    for _ in 0..random.below(4) {
                        if let Some(got) = poll_and_drop(many.next()).await {
                            let (lease, message) = got.unwrap();
                            check(&lease, message.from, &mut taken);
                        }
                        send(&mut sent, &mut random);
                        for _ in 0..random.below(3) {
                            turn().await;
                        }
                    }
                }
                2 => {
                    send(&mut sent, &mut random);
                    if let Some((result, buf)) = poll_and_drop(socket.recv_from(Vec::with_capacity(99))).await {
                        check(&buf, result.unwrap().1, &mut taken);
                    }
                    for _ in 0..random.below(3) {
                        turn().await;
                    }
                }
                _ => {
                    while taken < sent {
                        let (lease, message) = socket.recv_lease().await.unwrap();
                        check(&lease, message.from, &mut taken);
                    }
                }
            }
        }
        while taken < sent {
            let (lease, message) = socket.recv_lease().await.unwrap();
            check(&lease, message.from, &mut taken);
        }
        // All 64 are there.
        let mut held = Vec::new();
        for _ in 0..64 {
            peer.send_to(b"x", address).unwrap();
            held.push(socket.recv_lease().await.unwrap().0);
        }
        assert!(held.iter().all(|lease| &lease[..] == b"x"));
    }));
}

#[test]
fn receives_wait_for_buffers_and_get_them_in_order() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (peer, _) = peer();
        let (socket, address) = socket().await;
        let mut held = Vec::new();
        for _ in 0..64 {
            peer.send_to(b"held", address).unwrap();
            held.push(socket.recv_lease().await.unwrap());
        }
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for index in 0..6 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            peer.send_to(b"waits", socket.local_addr().unwrap()).unwrap();
            let order = order.clone();
            tasks.push(ringtoss::spawn(async move {
                let (lease, _) = if index % 2 == 0 {
                    socket.recv_lease().await.unwrap()
                } else {
                    socket.recv_stream().next().await.unwrap()
                };
                assert_eq!(&lease[..], b"waits");
                order.borrow_mut().push(index);
                lease
            }));
            turn().await;
            turn().await;
        }
        assert!(order.borrow().is_empty(), "there is no buffer");
        let mut got = Vec::new();
        for (round, task) in tasks.into_iter().enumerate() {
            drop(held.pop());
            got.push(task.await.unwrap());
            assert!(order.borrow().iter().copied().eq(0..=round), "{order:?}");
        }
    }));
}

/// A slow consumer holds some tens of buffers at most, and gets what the socket's own queue has kept.
#[test]
fn a_slow_consumer_stops_the_kernel_and_goes_on() {
    let event_loop = EventLoop::builder().lease_buffers(512, 256).build().unwrap();
    event_loop.block_on(bounded(async {
        let (peer, _) = peer();
        let (slow, address) = socket().await;
        let mut received = slow.recv_stream();
        assert!(poll_and_drop(received.next()).await.is_none());
        for number in 0..150u32 {
            peer.send_to(&number.to_le_bytes(), address).unwrap();
            turn().await;
        }
        // Others still have buffers.
        let (other, other_address) = socket().await;
        let mut held = Vec::new();
        for _ in 0..128 {
            peer.send_to(b"x", other_address).unwrap();
            held.push(other.recv_lease().await.unwrap());
        }
        drop(held);
        for number in 0..150u32 {
            assert_eq!(received.next().await.unwrap().0[..], number.to_le_bytes());
        }
    }));
}

/// A receive that waits beside a stream gets what that leaves.
#[test]
fn others_that_wait_are_called_for_what_a_dropped_stream_leaves() {
    run(async {
        let (peer, _) = peer();
        let (socket, address) = socket().await;
        for round in 0..50u32 {
            let mut received = socket.recv_stream();
            assert!(poll_and_drop(received.next()).await.is_none());
            turn().await;
            peer.send_to(&round.to_le_bytes(), address).unwrap();
            turn().await;
            let mut waits = socket.recv_lease();
            assert!(poll_once(&mut waits).await.is_pending());
            turn().await;
            drop(received);
            assert_eq!(waits.await.unwrap().0[..], round.to_le_bytes());
        }
    });
}

#[test]
fn on_another_thread_and_another_loop() {
    let (peer, _) = peer();
    let mut socket = run(socket());
    for round in 0..20u32 {
        peer.send_to(&round.to_le_bytes(), socket.1).unwrap();
        socket = std::thread::spawn(move || {
            run(async {
                let mut received = socket.0.recv_stream();
                assert_eq!(received.next().await.unwrap().0[..], round.to_le_bytes());
                std::thread::scope(|scope| {
                    scope.spawn(move || drop(received));
                });
            });
            socket
        })
        .join()
        .unwrap();
    }
}

#[test]
fn unix_datagrams() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("to")).await.unwrap();
        let named = UnixDatagram::bind(dir.path().join("from")).await.unwrap();
        let unnamed = UnixDatagram::unbound().unwrap();
        let mut received = socket.recv_stream();
        for text in ["one", "", "three"] {
            named.send_to(text, dir.path().join("to")).await.0.unwrap();
            unnamed.send_to(text, dir.path().join("to")).await.0.unwrap();
            let (lease, message) = received.next().await.unwrap();
            assert_eq!((&lease[..], message.truncated), (text.as_bytes(), false));
            assert_eq!(message.from.as_pathname(), Some(&*dir.path().join("from")));
            let (lease, message) = received.next().await.unwrap();
            assert_eq!(&lease[..], text.as_bytes());
            assert!(message.from.is_unnamed());
        }
        drop(received);
        // Descriptors that nobody asked for are closed.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (a, b) = UnixDatagram::pair().unwrap();
        a.send_fds("with", vec![reader.into()]).await.0.unwrap();
        assert_eq!(b.recv_lease().await.unwrap().0[..], *b"with");
        until(|| std::io::Write::write(&mut writer, b"x").is_err_and(|e| e.kind() == ErrorKind::BrokenPipe)).await;
    });
}
