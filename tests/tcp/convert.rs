//! To std and back.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ringtoss::EventLoop;
use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

#[test]
fn there_and_back() {
    run(async {
        let (std, mut peer) = std_pair();
        let number = std.as_raw_fd();
        let mut stream = TcpStream::from(std);
        assert_eq!((stream.as_raw_fd(), stream.as_fd().as_raw_fd()), (number, number));
        stream.write_all("ours ").await.0.unwrap();
        let mut std = stream.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number);
        std.write_all(b"std ").unwrap();
        let mut stream = TcpStream::from(OwnedFd::from(std));
        stream.write_all("ours").await.0.unwrap();
        let fd: OwnedFd = stream.into_std().unwrap().into();
        assert_eq!(fd.as_raw_fd(), number);
        drop(fd);
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ours std ours");

        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = std.local_addr().unwrap();
        let listener = TcpListener::from(OwnedFd::from(std));
        assert_eq!(listener.as_fd().as_raw_fd(), listener.as_raw_fd());
        let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
        drop((client, accepted));
        let std = listener.into_std().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(std.accept().unwrap().1, client.local_addr().unwrap());
        drop(TcpListener::from(std));
    });
    // Also where no loop runs.
    TcpStream::from_std(std_pair().0).into_std().unwrap();
}

/// What was staged reaches the kernel before the number is out of our hands.
#[test]
fn what_was_staged_is_submitted_before() {
    run(async {
        let (stream, mut peer) = with_std_peer();
        let mut stream = stream;
        let mut write = stream.write_all("staged");
        assert!(poll_once(&mut write).await.is_pending());
        std::mem::forget(write);
        drop(stream.into_std().unwrap());
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "staged");
    });
}

#[test]
fn salvaged_bytes_are_handed_over_or_the_stream_comes_back() {
    run(async {
        let mut refused = 0;
        for round in 0..24 {
            let (mut stream, mut peer) = with_std_peer();
            let mut read = stream.read(Vec::with_capacity(100));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            peer.write_all(b"hello").unwrap();
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            if round >= 12 {
                turn().await;
            }
            let failure = match stream.into_std() {
                // The read was cancelled before it took anything.
                Ok(std) => {
                    assert_eq!((&std).read(&mut [0; 9]).unwrap(), 5);
                    continue;
                }
                Err(failure) => failure,
            };
            assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
            refused += 1;
            assert!(failure.to_string().contains("into_parts"), "{failure}");
            let mut stream = failure.into_inner();
            assert_eq!(stream.read(Vec::with_capacity(2)).await.1, b"he");
            let (mut std, unread) = stream.into_parts().unwrap();
            assert_eq!(unread, b"llo");
            peer.write_all(b"!").unwrap();
            assert_eq!(std.read(&mut [0; 9]).unwrap(), 1);
        }
        assert!(refused > 0);
    });
}

/// Std would see a clean end after it.
#[test]
fn a_salvaged_error_is_not_lost() {
    run(async {
        let mut refused = 0;
        for round in 0..8 {
            let (mut stream, peer) = with_std_peer();
            let mut read = stream.read(Vec::with_capacity(100));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            reset(peer);
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            turn().await;
            let failure = match stream.into_std() {
                // The read was cancelled before it met it.
                Ok(std) => {
                    assert_eq!((&std).read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
                    continue;
                }
                Err(failure) => failure,
            };
            assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
            refused += 1;
            let failure = failure.into_inner().into_parts().unwrap_err();
            let mut stream = failure.into_inner();
            let error = stream.read(Vec::with_capacity(2)).await.0.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            stream.into_std().unwrap();
        }
        assert!(refused > 0);
    });
}

#[test]
fn reads_and_writes_in_flight_are_ended_before() {
    run_watched(|| {
        run(async {
            let (mut stream, mut peer) = with_std_peer();
            for _ in 0..20 {
                let mut read = stream.read(Vec::with_capacity(100));
                assert!(poll_once(&mut read).await.is_pending());
                turn().await;
                drop(read);
                let mut std = stream.into_std().unwrap();
                peer.write_all(b"x").unwrap();
                assert_eq!(std.read(&mut [0; 9]).unwrap(), 1);
                stream = TcpStream::from_std(std);
            }
            small_buffers(&stream);
            let mut write = stream.write_all(pattern(0, 4_000_000));
            assert!(poll_once(&mut write).await.is_pending());
            turn().await;
            drop(write);
            let std = stream.into_std().unwrap();
            std.shutdown(std::net::Shutdown::Write).unwrap();
            let all = rest_of(peer).await;
            assert!(!all.is_empty() && all.len() < 4_000_000);
            check(&all, 0);
        });
    });
}

/// The loop has the operation by mail only, which it reads in the middle of the conversion.
#[test]
fn one_that_was_dropped_on_another_thread_is_ended_before() {
    run_watched(|| {
        run(async {
            for round in 0..200 {
                let (mut stream, mut peer) = with_std_peer();
                let mut read = stream.read(Vec::with_capacity(100));
                assert!(poll_once(&mut read).await.is_pending());
                for _ in 0..round % 3 {
                    turn().await;
                }
                let arrives = round % 4 == 0 && round % 3 > 0;
                if arrives {
                    peer.write_all(b"x").unwrap();
                    turn().await;
                }
                std::thread::scope(|scope| scope.spawn(|| drop(read)).join().unwrap());
                let (mut std, mut bytes) = stream.into_parts().unwrap();
                // Most of the time the receive has brought it; a slow network brings it later, to the socket. Lost it is not.
                peer.write_all(b"y").unwrap();
                drop(peer);
                std.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes, if arrives { &b"xy"[..] } else { b"y" });
            }
        });
    });
}

#[test]
fn a_listener_that_has_accepted_comes_back() {
    run(async {
        let mut refused = 0;
        for turns in 0..4 {
            let (listener, address) = listener().await;
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            turn().await;
            let client = std::net::TcpStream::connect(address).unwrap();
            for _ in 0..turns {
                turn().await;
            }
            drop(accept);
            let failure = match listener.into_std() {
                // The accept was cancelled before it took the connection.
                Ok(std) => {
                    assert_eq!(std.accept().unwrap().1, client.local_addr().unwrap());
                    continue;
                }
                Err(failure) => failure,
            };
            assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
            refused += 1;
            let listener = failure.into_inner();
            assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            turn().await;
            drop(accept);
            listener.into_std().unwrap();
        }
        assert!(refused > 0);
    });
}

/// Away from its loop the number goes home to be closed, and the caller gets a duplicate.
#[test]
fn away_from_its_loop() {
    let event_loop = EventLoop::new().unwrap();
    let (mut stream, peer) = with_std_peer();
    event_loop.block_on(async { stream.write_all("home").await.0.unwrap() });
    let number = stream.as_raw_fd();
    let std = std::thread::spawn(move || stream.into_std().unwrap()).join().unwrap();
    assert_ne!(std.as_raw_fd(), number);
    (&std).write_all(b" and away").unwrap();
    drop(std);
    event_loop.block_on(turn());
    assert_eq!(run(rest_of(peer)), b"home and away");

    // With an operation in flight there it cannot be had.
    let (mut stream, _peer) = with_std_peer();
    event_loop.block_on(async {
        let mut read = stream.read(Vec::with_capacity(9));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::thread::scope(|scope| scope.spawn(|| drop(read)).join().unwrap());
    });
    let failure = std::thread::spawn(move || stream.into_std().unwrap_err()).join().unwrap();
    assert_eq!(failure.error().kind(), ErrorKind::ResourceBusy);
    event_loop.block_on(async move {
        turn().await;
        failure.into_inner().into_std().unwrap();
    });
}
