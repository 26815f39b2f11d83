//! Connecting to whichever address answers first, with addresses that refuse, that cannot be reached, and that swallow
//! everything.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ringtoss::net::{HappyEyeballs, TcpStream};
use ringtoss::time::{Instant, pause};

use crate::connect::unresponsive;
use crate::system;
use crate::util::*;

const STAGGER: Duration = Duration::from_millis(250);

/// Runs a test on a clock that moves only when there is nothing else to do.
fn run_paused<F: Future>(test: F) -> F::Output {
    run(async {
        pause();
        test.await
    })
}

async fn connect(addresses: &[SocketAddr]) -> (std::io::Result<TcpStream>, Duration) {
    let start = Instant::now();
    let result = HappyEyeballs::new().connect(addresses).await;
    (result, start.elapsed())
}

#[test]
fn one_that_refuses_costs_no_time() {
    run_paused(async {
        let (_listener, address) = listener().await;
        let refusing = refusing(address);
        for addresses in [vec![address], vec![refusing, address], vec![refusing, refusing, refusing, address]] {
            let (stream, time) = connect(&addresses).await;
            assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, Duration::ZERO));
        }
        let (failure, time) = connect(&[refusing, refusing]).await;
        assert_eq!(time, Duration::ZERO);
        same_error(failure, std::net::TcpStream::connect(refusing));
        let none: Vec<SocketAddr> = Vec::new();
        same_error(connect(&none).await.0, std::net::TcpStream::connect(&none[..]));
    });
}

#[test]
fn one_that_swallows_everything_costs_a_quarter_of_a_second() {
    run_paused(async {
        let (_swallows, black_hole, _fill) = unresponsive("127.0.0.1").await;
        let (_listener, address) = listener().await;
        let refusing = refusing(address);
        let (stream, time) = connect(&[black_hole, address]).await;
        assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, STAGGER));
        let (stream, time) = connect(&[black_hole, black_hole, address]).await;
        assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, 2 * STAGGER));
        // One that fails later lets the next one begin at once.
        let (stream, time) = connect(&[black_hole, refusing, address]).await;
        assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, STAGGER));
        let start = Instant::now();
        HappyEyeballs::new()
            .stagger(Duration::from_millis(10))
            .connect([black_hole, address].as_slice())
            .await
            .unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        // The losers are cancelled.
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
}

#[test]
fn the_families_take_turns() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return eprintln!("skipped: there is no IPv6 here");
    }
    run_paused(async {
        let (_swallows, black_hole, _fill) = unresponsive("::1").await;
        let (_listener, address) = listener().await;
        // After one address of the family that does not work comes one of the other, however many there are.
        let addresses = [black_hole, black_hole, black_hole, black_hole, address];
        let (stream, time) = connect(&addresses).await;
        assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, STAGGER));
    });
}

#[test]
fn one_that_cannot_be_reached_costs_no_time() {
    if !system::is_root() {
        return eprintln!("skipped: a network namespace wants root");
    }
    system::in_network_namespace(|| {
        run_paused(async {
            let (_listener, address) = listener().await;
            let unreachable: SocketAddr = "192.0.2.1:80".parse().unwrap();
            let (stream, time) = connect(&[unreachable, unreachable, address]).await;
            assert_eq!((stream.unwrap().peer_addr().unwrap(), time), (address, Duration::ZERO));
            let (failure, _) = connect(&[unreachable]).await;
            assert_eq!(failure.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
        });
    });
}

/// Those that were begun before are still in the race.
#[test]
fn an_early_attempt_may_win_late() {
    run(async {
        let (first, black_hole, fill) = unresponsive("127.0.0.1").await;
        let (_second, never, _fill) = unresponsive("127.0.0.1").await;
        let addresses = [black_hole, never];
        let eyeballs = HappyEyeballs::new().stagger(Duration::from_millis(10));
        let (stream, ()) = tokio::join!(eyeballs.connect(addresses.as_slice()), async {
            ringtoss::time::sleep(Duration::from_millis(50)).await;
            for _ in &fill {
                first.accept().await.unwrap();
            }
        });
        assert_eq!(stream.unwrap().peer_addr().unwrap(), black_hole);
        until(|| ringtoss::metrics().in_flight == 0).await;
    });
}

#[test]
fn dropped_at_every_stage_it_leaves_nothing() {
    run(async {
        let (_swallows, black_hole, _fill) = unresponsive("127.0.0.1").await;
        let (listener, address) = listener().await;
        for turns in 0..6 {
            let eyeballs = HappyEyeballs::new().stagger(Duration::from_micros(50));
            let mut connecting = Box::pin(eyeballs.connect([black_hole, black_hole, black_hole]));
            for _ in 0..turns {
                assert!(poll_once(&mut connecting).await.is_pending());
                turn().await;
            }
            drop(connecting);
            until(|| ringtoss::metrics().in_flight == 0).await;
        }
        // Two that answer: one connection is left.
        let eyeballs = HappyEyeballs::new().stagger(Duration::ZERO);
        let mut stream = eyeballs.connect([address, address].as_slice()).await.unwrap();
        stream.write_all("won").await.0.unwrap();
        let mut winners = 0;
        // The other one may have been cancelled before it was connected.
        while let Ok((mut accepted, _)) = listener.accept().timeout(Duration::from_millis(20)).await {
            if let (Ok(1..), buf) = accepted.read(Vec::with_capacity(9)).await {
                assert_eq!((&buf[..], winners), (&b"won"[..], 0));
                winners += 1;
            }
        }
        assert_eq!(winners, 1);
    });
}

#[test]
fn every_socket_is_configured() {
    run(async {
        let (_listener, address) = listener().await;
        let eyeballs = HappyEyeballs::new().configure(|socket| socket.set_user_timeout(Some(Duration::from_secs(9))));
        let stream = eyeballs.connect([refusing(address), address].as_slice()).await.unwrap();
        assert_eq!(stream.user_timeout().unwrap(), Some(Duration::from_secs(9)));
        let failing = HappyEyeballs::new().configure(|_| Err(ErrorKind::Unsupported.into()));
        assert_eq!(failing.connect(address).await.unwrap_err().kind(), ErrorKind::Unsupported);
        fn is_send<T: Send>(_: &T) {}
        is_send(&failing.connect(address));
    });
}
