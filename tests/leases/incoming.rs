//! Accepting again and again with one submission.

use std::io::Read;
use std::net::TcpStream as StdStream;

use crate::util::*;

#[test]
fn one_submission_serves_many_accepts() {
    run(async {
        let (listener, address) = listener().await;
        let mut incoming = listener.incoming();
        let before = ringtoss::metrics().submissions;
        let mut ports = Vec::new();
        for _ in 0..200 {
            let client = StdStream::connect(address).unwrap();
            let stream = incoming.next().await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
            ports.push(stream);
        }
        assert!(ringtoss::metrics().submissions - before < 20);
    });
}

#[test]
fn a_storm_that_nobody_takes_is_stopped_and_goes_on() {
    run(async {
        let (listener, address) = listener().await;
        let mut incoming = listener.incoming();
        assert!(poll_and_drop(incoming.next()).await.is_none());
        let clients: Vec<_> = (0..300).map(|_| StdStream::connect(address).unwrap()).collect();
        for _ in 0..100 {
            turn().await;
        }
        for client in &clients {
            assert_eq!(incoming.next().await.unwrap().peer_addr().unwrap(), client.local_addr().unwrap());
        }
    });
}

#[test]
fn what_had_arrived_when_it_was_dropped_is_accepted_next() {
    run(async {
        let (listener, address) = listener().await;
        for round in 0..50 {
            let mut incoming = listener.incoming();
            assert!(poll_and_drop(incoming.next()).await.is_none());
            let clients: Vec<_> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(incoming);
            let mut ports: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
            for index in 0..5 {
                let port = match index % 2 {
                    0 => listener.accept().await.unwrap().1.port(),
                    _ => listener.incoming().next().await.unwrap().peer_addr().unwrap().port(),
                };
                ports.retain(|&other| other != port);
            }
            assert!(ports.is_empty(), "{ports:?} were lost in round {round}");
        }
    });
}

#[test]
fn what_nobody_takes_is_closed_with_the_listener() {
    run(async {
        let (listener, address) = listener().await;
        let mut incoming = listener.incoming();
        assert!(poll_and_drop(incoming.next()).await.is_none());
        let mut clients: Vec<_> = (0..5).map(|_| StdStream::connect(address).unwrap()).collect();
        for _ in 0..5 {
            turn().await;
        }
        drop(incoming);
        drop(listener);
        turn().await;
        for client in &mut clients {
            client.set_read_timeout(Some(patience())).unwrap();
            // The end, or a reset.
            assert!(!matches!(client.read(&mut [0; 9]), Ok(1..)));
        }
        let bound = std::net::TcpListener::bind(address).expect("the port is free at once");
        drop(bound);
    });
}
