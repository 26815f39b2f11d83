//! Accepts: several at once, and dropped at every moment without a connection being lost.

use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use ringtoss::time::sleep;

use crate::util::*;

#[test]
fn a_connection_that_came_to_a_dropped_accept_is_given_to_the_next() {
    run(async {
        let (listener, address) = listener().await;
        for round in 0..200 {
            let (before, after) = (round % 3, round / 3 % 4);
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            for _ in 0..before {
                turn().await;
            }
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client.write_all(&[round as u8]).unwrap();
            for _ in 0..after {
                turn().await;
            }
            drop(accept);
            for _ in 0..round % 2 {
                turn().await;
            }
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            assert_eq!(stream.read(Vec::with_capacity(9)).await.1, [round as u8]);
        }
    });
}

#[test]
fn if_the_listener_goes_the_peer_sees_the_end() {
    run(async {
        for round in 0..100 {
            let (listener, address) = listener().await;
            let mut accept = listener.accept();
            assert!(poll_once(&mut accept).await.is_pending());
            turn().await;
            let client = std::net::TcpStream::connect(address).unwrap();
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(accept);
            for _ in 0..round / 4 % 3 {
                turn().await;
            }
            if round % 2 == 0 {
                drop(listener);
            } else {
                listener.close().await.unwrap();
            }
            let end = ringtoss::spawn_blocking(move || {
                client.set_read_timeout(Some(seconds(50))).unwrap();
                (&client).read(&mut [0; 9])
            });
            match end.await.unwrap() {
                Ok(count) => assert_eq!(count, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
            }
        }
    });
}

/// The kernel has told the first of the connection, or has given it to that. The others wait, and no further connection
/// ever wakes them.
#[test]
fn another_accept_that_waits_gets_what_came_to_a_dropped_one() {
    run(async {
        let (listener, address) = listener().await;
        for round in 0..100 {
            let mut first = listener.accept();
            assert!(poll_once(&mut first).await.is_pending());
            turn().await;
            let mut others: Vec<_> = (0..=round % 3).map(|_| listener.accept()).collect();
            for other in &mut others {
                assert!(poll_once(other).await.is_pending());
            }
            turn().await;
            let client = std::net::TcpStream::connect(address).unwrap();
            for _ in 0..round / 3 % 4 {
                turn().await;
            }
            let accepted = match round / 12 % 3 {
                0 => {
                    drop(first);
                    Err(())
                }
                1 => first.cancel().await.map_err(drop),
                _ => {
                    std::thread::scope(|scope| scope.spawn(|| drop(first)).join().unwrap());
                    Err(())
                }
            };
            let (_, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(()) => futures::future::select_all(others).await.0.unwrap(),
            };
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

#[test]
fn many_accept_at_once() {
    run(async {
        let (listener, address) = listener().await;
        let listener = Rc::new(listener);
        let accepts: Vec<_> = (0..50)
            .map(|_| {
                let listener = listener.clone();
                ringtoss::spawn(async move { listener.accept().await.unwrap().1 })
            })
            .collect();
        turn().await;
        let clients: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut peers = Vec::new();
        for accept in accepts {
            peers.push(accept.await.unwrap());
        }
        let mut ours: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        peers.sort();
        ours.sort();
        assert_eq!(peers, ours);
    });
}

#[test]
fn accepts_that_lose_races_lose_no_connection() {
    const CLIENTS: usize = 1000;
    run(async {
        let (listener, address) = listener().await;
        let clients = std::thread::spawn(move || {
            for index in 0..CLIENTS {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                client.write_all(&index.to_ne_bytes()).unwrap();
                // The end is the server's: it has read the number.
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            }
        });
        let mut random = Random(0xacce_0001);
        let mut seen = 0;
        while seen < CLIENTS {
            let other = async {
                match random.below(4) {
                    0 => ringtoss::yield_now().await,
                    1 => turn().await,
                    2 => sleep(Duration::from_micros(50)).await,
                    _ => sleep(Duration::from_millis(1)).await,
                }
            };
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut stream, _) = accepted.unwrap();
                    let (result, bytes) = stream.read_exact(Vec::with_capacity(8), 8).await;
                    result.unwrap();
                    assert_eq!(usize::from_ne_bytes(bytes.try_into().unwrap()), seen);
                    seen += 1;
                }
                () = other => {}
            }
        }
        until(|| clients.is_finished()).await;
        clients.join().unwrap();
    });
}

#[test]
fn bounded_and_cancelled() {
    run(async {
        let (listener, _) = listener().await;
        let error = listener.accept().timeout(Duration::from_millis(5)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_pending());
        assert_eq!(accept.cancel().await.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        let token = ringtoss::CancellationToken::new();
        let (result, ()) = futures::join!(listener.accept().cancel_on(&token), async { token.cancel() });
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
}
