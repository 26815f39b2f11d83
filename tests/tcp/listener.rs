//! Listeners: their options, and that a port is free when its listener is gone.

use std::io::Write;
use std::net::SocketAddr;

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::op::poll_readable;

use crate::util::*;

#[test]
fn options() {
    run(async {
        let listener = TcpListener::bind_with_backlog("127.0.0.1:0", 17).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.port() != 0 && address.ip().is_loopback());
        assert_eq!(option(&listener, libc::SOL_SOCKET, libc::SO_REUSEADDR, 0), 1);
        assert_eq!(backlog(&listener), 17);
        let default = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        assert_eq!(backlog(&default), most.trim().parse::<u32>().unwrap().min(4096));
        listener.set_ttl(33).unwrap();
        assert_eq!(listener.ttl().unwrap(), 33);
        assert!(listener.take_error().unwrap().is_none());
        assert!(format!("{listener:?}").contains(&address.to_string()));
        let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
        assert_eq!(accepted.unwrap().0.ttl().unwrap(), 33);
        drop(client);
    });
}

/// `tcp(7)`, `TCP_INFO` of a socket that listens.
fn backlog(listener: &TcpListener) -> u32 {
    // `struct tcp_info` of `linux/tcp.h`, up to `tcpi_sacked`, which is the bound.
    option(listener, libc::IPPROTO_TCP, libc::TCP_INFO, [0u32; 8])[7]
}

#[test]
fn the_first_address_that_can_be_bound_is_taken() {
    run(async {
        let (taken, address) = listener().await;
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(&[address, free][..]).await.unwrap();
        assert_ne!(listener.local_addr().unwrap(), address);
        same_error(TcpListener::bind(address).await, std::net::TcpListener::bind(address));
        // An address for documentation, which no machine has.
        let nowhere = "203.0.113.1:0";
        same_error(TcpListener::bind(nowhere).await, std::net::TcpListener::bind(nowhere));
        drop(taken);
    });
}

async fn again(address: SocketAddr, what: &str) -> TcpListener {
    TcpListener::bind(address).await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[test]
fn dropped_and_bound_again_at_once() {
    run(async {
        let _no_children = no_children();
        let (mut listener, address) = listener().await;
        for round in 0..50 {
            drop(listener);
            listener = again(address, "unused").await;

            let mut accepts: Vec<_> = (0..100).map(|_| listener.accept()).collect();
            for accept in &mut accepts {
                assert!(poll_once(accept).await.is_pending());
            }
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(accepts);
            for _ in 0..round % 2 {
                turn().await;
            }
            if round % 5 == 0 {
                listener.close().await.unwrap();
            } else {
                drop(listener);
            }
            listener = again(address, "with accepts in flight").await;
        }
    });
}

/// The kernel handles so many completions an entry, and the accepts' come behind all of these.
#[test]
fn bound_again_behind_many_completions() {
    run(async {
        let _no_children = no_children();
        let (mut listener, address) = listener().await;
        for round in 0..20 {
            let pairs: Vec<_> = (0..150).map(|_| std::os::unix::net::UnixStream::pair().unwrap()).collect();
            let mut polls: Vec<_> = pairs.iter().map(|(reader, _)| poll_readable(reader)).collect();
            for poll in &mut polls {
                assert!(poll_once(poll).await.is_pending());
            }
            turn().await;
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            turn().await;
            for (_, writer) in &pairs {
                (&*writer).write_all(b"x").unwrap();
            }
            drop(accept);
            if round % 2 == 0 {
                drop(listener);
            } else {
                listener.close().await.unwrap();
            }
            listener = again(address, "behind completions").await;
            for poll in polls {
                poll.await.unwrap();
            }
        }
    });
}

/// The connection that the server has closed is in `TIME_WAIT`, and one that waits was never accepted.
#[test]
fn bound_again_after_connections() {
    run(async {
        let _no_children = no_children();
        let (mut listener, address) = listener().await;
        for _ in 0..20 {
            let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
            drop(accepted.unwrap());
            let mut client = client.unwrap();
            assert_eq!(client.read(Vec::with_capacity(1)).await.0.unwrap(), 0);
            drop(client);
            let waits = std::net::TcpStream::connect(address).unwrap();
            drop(listener);
            listener = again(address, "after connections").await;
            drop(waits);
        }
    });
}

/// The operation comes home by mail, which the loop has not read yet when the listener goes.
#[test]
fn bound_again_after_an_accept_that_was_dropped_elsewhere() {
    run_watched(|| {
        run(async {
            let _no_children = no_children();
            let (mut listener, address) = listener().await;
            for round in 0..50 {
                let mut accept = listener.accept();
                assert!(poll_once(&mut accept).await.is_pending());
                for _ in 0..round % 3 {
                    turn().await;
                }
                std::thread::scope(|scope| scope.spawn(|| drop(accept)).join().unwrap());
                if round % 2 == 0 {
                    drop(listener);
                } else {
                    listener = TcpListener::from_std(listener.into_std().unwrap());
                    listener.close().await.unwrap();
                }
                listener = again(address, "after a drop elsewhere").await;
            }
        });
    });
}

/// Away from home a listener is closed soon, by the loop that it was used on.
#[test]
fn dropped_elsewhere_it_goes_home() {
    run(async {
        let (listener, address) = listener().await;
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_pending());
        turn().await;
        drop(accept);
        std::thread::spawn(move || drop(listener)).join().unwrap();
        let mut bound = TcpListener::bind(address).await;
        while let Err(error) = bound {
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
            turn().await;
            bound = TcpListener::bind(address).await;
        }
    });
}
