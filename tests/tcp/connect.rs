//! Connecting: over several addresses, refused, cut short.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::time::{sleep, timeout};

use crate::util::*;

#[test]
fn the_first_address_that_answers_is_taken() {
    run(async {
        let (listener, address) = listener().await;
        let (refusing, second) = (refusing(address), refusing(address));
        for addresses in [vec![address], vec![refusing, second, address], vec![address, refusing]] {
            let stream = TcpStream::connect(addresses.as_slice()).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, stream.local_addr().unwrap());
        }
        let addresses = [refusing, second];
        same_error(TcpStream::connect(addresses).await, std::net::TcpStream::connect(&addresses[..]));
        let none: Vec<SocketAddr> = Vec::new();
        same_error(TcpStream::connect(&none).await, std::net::TcpStream::connect(&none[..]));
    });
}

/// `localhost` usually has two addresses, of which only one answers here.
#[test]
fn a_name_stands_for_all_its_addresses() {
    run(async {
        let (listener, address) = listener().await;
        let (stream, accepted) = futures::join!(TcpStream::connect(("localhost", address.port())), listener.accept());
        assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
        accepted.unwrap();
        TcpStream::connect(format!("localhost:{}", address.port())).await.unwrap();
    });
}

#[test]
fn both_families() {
    run(async {
        for ip in [Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()] {
            if std::net::TcpListener::bind((ip.as_str(), 0)).is_err() {
                eprintln!("there is no {ip} here: left out");
                continue;
            }
            let listener = TcpListener::bind((ip.as_str(), 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (client, accepted) = futures::join!(TcpStream::connect(address), listener.accept());
            let (mut client, (mut server, peer)) = (client.unwrap(), accepted.unwrap());
            assert_eq!((client.peer_addr().unwrap(), client.local_addr().unwrap()), (address, peer));
            assert_eq!((server.local_addr().unwrap(), server.peer_addr().unwrap()), (address, peer));
            client.write_all(ip.clone()).await.0.unwrap();
            assert_eq!(server.read(Vec::with_capacity(99)).await.1, ip.as_bytes());
            drop(listener);
            same_error(TcpStream::connect(address).await, std::net::TcpStream::connect(address));
        }
    });
}

/// A listener whose queue is full lets further connects wait.
pub async fn unresponsive(ip: &str) -> (TcpListener, SocketAddr, Vec<std::net::TcpStream>) {
    let listener = TcpListener::bind_with_backlog((ip, 0), 0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        fill.push(stream);
    }
    (listener, address, fill)
}

#[test]
fn one_that_takes_too_long_is_given_up() {
    run(async {
        let (_listener, address, _fill) = unresponsive("127.0.0.1").await;
        let error = timeout(Duration::from_millis(50), TcpStream::connect(address)).await.unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
}

#[test]
fn a_limit_is_kept() {
    run(async {
        let (_listener, address, _fill) = unresponsive("127.0.0.1").await;
        let limit = Duration::from_millis(30);
        let ours = TcpStream::connect_timeout(address, limit).await;
        same_error(
            ours.map_err(|error| error.kind().into()),
            std::net::TcpStream::connect_timeout(&address, limit).map_err(|error| error.kind().into()),
        );
        same_error(
            TcpStream::connect_timeout(address, Duration::ZERO).await,
            std::net::TcpStream::connect_timeout(&address, Duration::ZERO),
        );
        let (_listener, address) = listener().await;
        TcpStream::connect_timeout(address, seconds(50)).await.unwrap();
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
}

/// What is dropped while it waits does not connect later.
#[test]
fn a_dropped_connect_does_not_connect() {
    run(async {
        let (listener, address, fill) = unresponsive("127.0.0.1").await;
        for turns in 0..4 {
            let mut connecting = Box::pin(TcpStream::connect(address));
            for _ in 0..turns {
                assert!(poll_once(&mut connecting).await.is_pending());
                turn().await;
            }
        }
        for _ in &fill {
            listener.accept().await.unwrap();
        }
        // There is room now: whoever still tries gets in within a few seconds. Those that were dropped do not try.
        until(|| ringtoss::metrics().in_flight == 0).await;
        let (client, (_, peer)) = tokio::join!(TcpStream::connect(address), async { listener.accept().await.unwrap() });
        assert_eq!(client.unwrap().local_addr().unwrap(), peer);
        tokio::select! {
            accepted = listener.accept() => panic!("{accepted:?}"),
            () = sleep(Duration::from_millis(20)) => {}
        }
    });
}
