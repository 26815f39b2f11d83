//! Errors are those that std gives for the same calls.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

/// A stream of ours and one of std's in the same situation.
fn two() -> ((TcpStream, std::net::TcpStream), (std::net::TcpStream, std::net::TcpStream)) {
    (with_std_peer(), std_pair())
}

/// Waits until the reset has arrived.
async fn has_failed(stream: &TcpStream) {
    stream.readable().await.unwrap();
}

#[test]
fn connecting_and_binding() {
    run(async {
        let (_listener, taken) = listener().await;
        // None of these leaves the machine.
        let addresses: [SocketAddr; 3] = [refusing(taken), ([127, 0, 0, 1], 0).into(), (Ipv4Addr::BROADCAST, 9).into()];
        for address in addresses {
            same_error(TcpStream::connect(address).await, std::net::TcpStream::connect(address));
        }
        let addresses: [SocketAddr; 2] = [taken, ([203, 0, 113, 1], 0).into()];
        for address in addresses {
            same_error(TcpListener::bind(address).await, std::net::TcpListener::bind(address));
        }
    });
}

#[test]
fn a_reset() {
    run(async {
        let ((mut ours, our_peer), (mut std, std_peer)) = two();
        reset(our_peer);
        reset(std_peer);
        has_failed(&ours).await;
        same_error(ours.read(Vec::with_capacity(9)).await.0, std.read(&mut [0; 9]));
        assert_eq!(ours.read(Vec::with_capacity(9)).await.0.unwrap(), std.read(&mut [0; 9]).unwrap());
        same_error(ours.write("x").await.0, std.write(b"x"));
        same_error(ours.peer_addr(), std.peer_addr());
        // As with tokio, and unlike std: what has ended may be ended.
        assert_eq!(std.shutdown(Shutdown::Write).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
        for how in [Shutdown::Write, Shutdown::Read, Shutdown::Both] {
            ours.shutdown(how).await.unwrap();
        }
        let (_reader, mut writer) = ours.into_split();
        writer.shutdown().await.unwrap();

        let ((mut ours, our_peer), (mut std, std_peer)) = two();
        reset(our_peer);
        reset(std_peer);
        has_failed(&ours).await;
        same_error(ours.write_all("x").await.0, std.write_all(b"x"));
        same_error(ours.write_all("x").await.0, std.write_all(b"x"));

        let ((mut ours, our_peer), (mut std, std_peer)) = two();
        reset(our_peer);
        reset(std_peer);
        has_failed(&ours).await;
        same_error(ours.read_vectored((Vec::with_capacity(9), Vec::new())).await.0, std.read(&mut [0; 9]));

        let ((ours, our_peer), (std, std_peer)) = two();
        reset(our_peer);
        reset(std_peer);
        has_failed(&ours).await;
        same_error(ours.peek(Vec::with_capacity(9)).await.0, std.peek(&mut [0; 9]));

        let ((ours, our_peer), (std, std_peer)) = two();
        reset(our_peer);
        reset(std_peer);
        has_failed(&ours).await;
        let (ours, std) = (ours.take_error().unwrap().unwrap(), std.take_error().unwrap().unwrap());
        assert_eq!(ours.raw_os_error(), std.raw_os_error());
    });
}

#[test]
fn a_closed_direction() {
    run(async {
        let ((mut ours, _our_peer), (mut std, _std_peer)) = two();
        ours.shutdown(Shutdown::Write).await.unwrap();
        std.shutdown(Shutdown::Write).unwrap();
        same_error(ours.write("x").await.0, std.write(b"x"));
        same_error(ours.write_all("x").await.0, std.write_all(b"x"));
        same_error(ours.write_vectored(("x", "y")).await.0, std.write_vectored(&[std::io::IoSlice::new(b"x")]));
    });
}

#[test]
fn a_read_in_flight_meets_the_reset() {
    run(async {
        let (mut stream, peer) = with_std_peer();
        let mut read = stream.read(Vec::with_capacity(9));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        reset(peer);
        let (result, buf) = read.await;
        assert_eq!((result.unwrap_err().raw_os_error(), buf.len()), (Some(libc::ECONNRESET), 0));
    });
}
