//! Calls that do not wait, and clones: they see what dropped operations have left.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};

use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

#[test]
fn what_is_there_is_read_and_written_without_waiting() {
    run(async {
        let (ours, mut peer) = with_std_peer();
        let mut buf = [0; 99];
        assert_eq!(ours.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.write_all(b"hello world").unwrap();
        ours.readable().await.unwrap();
        let (mut one, mut two) = ([0; 5], [0; 99]);
        let count = ours.try_read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
        assert_eq!((count, &one[..], &two[..6]), (11, &b"hello"[..], &b" world"[..]));
        assert_eq!(ours.try_write(b"one ").unwrap(), 4);
        assert_eq!(ours.try_write_vectored(&[IoSlice::new(b"two "), IoSlice::new(b"three")]).unwrap(), 9);
        peer.read_exact(&mut buf[..13]).unwrap();
        assert_eq!(&buf[..13], b"one two three");
        small_buffers(&ours);
        let sent = loop {
            if let Err(error) = ours.try_write(&[7; 100_000]) {
                break error;
            }
        };
        assert_eq!(sent.kind(), ErrorKind::WouldBlock);
        let (mut read, write) = ours.into_split();
        assert_eq!(write.try_write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(read.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        peer.write_all(b"x").unwrap();
        read.peek(vec![0; 9]).await.0.unwrap();
        assert_eq!(read.try_read(&mut buf).unwrap(), 1);
        reset(peer);
        let error = loop {
            match read.try_read(&mut buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => read.readable().await.unwrap(),
                Err(error) => break error,
                Ok(count) => panic!("{count} bytes"),
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// A loop of `readable` and `try_read` sees the bytes of dropped reads, in order.
#[test]
fn bytes_of_dropped_reads_come_first() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        let (mut sent, mut place) = (0, 0);
        for round in 0..200 {
            let mut dropped = ours.read(Vec::with_capacity(50));
            let _ = poll_once(&mut dropped).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            peer.write_all(&pattern(sent, 40)).unwrap();
            sent += 40;
            for _ in 0..round % 2 {
                turn().await;
            }
            drop(dropped);
            let mut buf = [0; 16];
            while place < sent {
                ours.readable().await.unwrap();
                let (mut one, mut two) = ([0; 7], [0; 9]);
                let read = match round % 2 {
                    0 => ours.try_read(&mut buf),
                    _ => ours.try_read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]),
                };
                match read {
                    Ok(count) => {
                        if round % 2 == 1 {
                            buf[..7].copy_from_slice(&one);
                            buf[7..].copy_from_slice(&two);
                        }
                        check(&buf[..count], place);
                        place += count;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
        drop(peer);
        let mut dropped = ours.read(Vec::with_capacity(50));
        let _ = poll_once(&mut dropped).await;
        turn().await;
        drop(dropped);
        ours.readable().await.unwrap();
        assert_eq!(ours.try_read(&mut [0; 9]).unwrap(), 0);
    });
}

/// A write that was dropped may go out yet: what comes behind it waits.
#[test]
fn nothing_overtakes_a_dropped_write() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        small_buffers(&ours);
        small_buffers(&peer);
        let mut sent = 0;
        while ours.writable().timeout(std::time::Duration::from_millis(50)).await.is_ok() {
            sent += ours.try_write(&pattern(sent, 100_000)).unwrap_or(0);
        }
        let mut write = ours.write_all(pattern(sent, 5000));
        assert!(poll_once(&mut write).await.is_pending());
        turn().await;
        drop(write);
        // There is room now, but what was dropped comes first, if it comes.
        let mut all = vec![0; sent];
        peer.read_exact(&mut all).unwrap();
        check(&all, 0);
        assert_eq!(ours.try_write(b"behind").unwrap_err().kind(), ErrorKind::WouldBlock);
        let taken = ours.take_dropped_write().await.unwrap().unwrap();
        peer.read_exact(&mut all[..taken]).unwrap();
        check(&all[..taken], sent);
        ours.writable().await.unwrap();
        assert_eq!(ours.try_write(b"behind").unwrap(), 6);
        peer.read_exact(&mut all[..6]).unwrap();
        assert_eq!(&all[..6], b"behind");
    });
}

#[test]
fn clones_of_a_listener_share_connections_and_the_port() {
    run(async {
        let (listener, address) = listener().await;
        let clone = listener.try_clone().unwrap();
        for round in 0..40 {
            let (one, other): (&TcpListener, &TcpListener) =
                if round % 2 == 0 { (&listener, &clone) } else { (&clone, &listener) };
            let mut dropped = one.accept();
            assert!(poll_once(&mut dropped).await.is_pending());
            turn().await;
            let client = std::net::TcpStream::connect(address).unwrap();
            turn().await;
            drop(dropped);
            assert_eq!(other.accept().await.unwrap().1, client.local_addr().unwrap());
        }
        drop(listener);
        let _client = TcpStream::connect(address).await.unwrap();
        clone.accept().await.unwrap();
        drop(clone);
        std::net::TcpListener::bind(address).unwrap();
    });
}
