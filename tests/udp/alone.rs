//! A datagram that is all there is to do goes by a system call of its own, and nothing else waits for that.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringtoss::net::udp::Transmit;
use ringtoss::net::{UdpSocket, UnixDatagram};
use ringtoss::{metrics, op, spawn, time};

use crate::basics::{socket, std_socket};
use crate::util::*;

/// What such a piece of work has cost: entries of the ring, and operations.
async fn counted<F: Future>(work: F) -> (u64, u64) {
    let before = metrics();
    work.await;
    let after = metrics();
    (after.enters - before.enters, after.completions - before.completions)
}

#[test]
fn the_ring_is_not_entered_for_it() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        let (enters, completions) = counted(async {
            for number in 0..100u8 {
                assert_eq!(socket.send_to(vec![number; 3], peer_address).await.0.unwrap(), 3);
            }
        })
        .await;
        assert_eq!((enters, completions), (0, 100));
        let mut buf = [0; 9];
        for number in 0..100 {
            assert_eq!(peer.recv_from(&mut buf).unwrap(), (3, address));
            assert_eq!(buf[..3], [number; 3]);
        }
        // What waits already is received in the same way; with control messages, too.
        for number in 0..100u8 {
            peer.send_to(&[number; 3], address).unwrap();
        }
        let (enters, completions) = counted(async {
            for number in (0..100u8).step_by(2) {
                let (result, buf) = socket.recv_from(Vec::with_capacity(9)).await;
                assert_eq!((result.unwrap(), buf), ((3, peer_address), vec![number; 3]));
                let (result, buf) = socket.recv_msg(Vec::with_capacity(2)).await;
                let message = result.unwrap();
                assert_eq!((message.from, message.truncated, buf), (peer_address, true, vec![number + 1; 2]));
            }
        })
        .await;
        assert_eq!((enters, completions), (0, 100));
    });
}

#[test]
fn what_it_has_to_wait_for_comes_all_the_same() {
    run(async {
        let (peer, peer_address) = std_socket();
        let (socket, address) = socket().await;
        let answering = std::thread::spawn(move || {
            let mut buf = [0; 9];
            for _ in 0..200 {
                let (len, from) = peer.recv_from(&mut buf).unwrap();
                peer.send_to(&buf[..len], from).unwrap();
            }
        });
        socket.connect(peer_address).await.unwrap();
        for number in 0..200u8 {
            socket.send(vec![number; 5]).await.0.unwrap();
            let (result, buf) = socket.recv(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), buf), (5, vec![number; 5]));
        }
        answering.join().unwrap();
        assert_eq!(socket.local_addr().unwrap(), address);
    });
}

#[test]
fn a_send_without_room_waits_for_it() {
    run(async {
        let (sender, receiver) = UnixDatagram::pair().unwrap();
        let sending = spawn(async move {
            for number in 0..1000u32 {
                sender.send(number.to_ne_bytes().to_vec()).await.0.unwrap();
            }
        });
        // By now it waits: a queue of datagrams is short.
        turn().await;
        turn().await;
        for number in 0..1000u32 {
            let (result, buf) = receiver.recv(Vec::with_capacity(9)).await;
            assert_eq!((result.unwrap(), buf), (4, number.to_ne_bytes().to_vec()));
        }
        sending.await.unwrap();
    });
}

#[test]
fn errors_are_those_of_the_ring() {
    run(async {
        let (socket, _) = socket().await;
        let gone = std_socket().1;
        socket.connect(gone).await.unwrap();
        socket.send("nobody").await.0.unwrap();
        let error = socket.recv(Vec::with_capacity(9)).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        let error = socket.send(vec![0; 70_000]).await.0.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let other = UdpSocket::bind("[::1]:0").await.unwrap();
        let error = other.send_msg("x", &Transmit::to("127.0.0.1:9".parse().unwrap())).await.0.unwrap_err();
        assert!(error.raw_os_error().is_some() || error.kind() == std::io::ErrorKind::InvalidInput, "{error:?}");
    });
}

/// A task that never has to wait is no reason for others to.
#[test]
fn everything_else_goes_on_beside_it() {
    run(async {
        let (socket, address) = socket().await;
        let stop = Arc::new(AtomicBool::new(false));
        let busy = spawn({
            let stop = stop.clone();
            async move {
                let mut datagrams = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    socket.send_to(vec![1; 8], address).await.0.unwrap();
                    socket.recv_from(Vec::with_capacity(8)).await.0.unwrap();
                    datagrams += 1;
                }
                datagrams
            }
        });
        // A timer, a completion that comes by itself, and a wake from elsewhere.
        time::sleep(Duration::from_millis(2)).await;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut reader = ringtoss::pipe::Receiver::from(reader);
        let waiting = spawn(async move { reader.read(Vec::with_capacity(9)).await });
        for _ in 0..10 {
            op::nop().await.unwrap();
        }
        let (done, told) = async_channel::bounded(1);
        let thread = std::thread::spawn(move || {
            writer.write_all(b"late").unwrap();
            done.send_blocking(()).unwrap();
        });
        told.recv().await.unwrap();
        let (result, buf) = waiting.await.unwrap();
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"late"[..]));
        thread.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(busy.await.unwrap() > 0);
    });
}
