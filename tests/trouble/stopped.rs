//! Processes that are stopped and go on: ours, and the peer's.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::op::transferred;
use ringtoss::time;

use crate::util::*;

/// An echo server, with timers and files beside it, until its input ends.
pub fn echo() {
    let ended = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        say(listener.local_addr().unwrap());
        drop(ringtoss::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                drop(ringtoss::spawn(async move {
                    let mut buf = Vec::with_capacity(16384);
                    loop {
                        let result;
                        (result, buf) = stream.read(buf).await;
                        if result.unwrap() == 0 {
                            return;
                        }
                        let result;
                        (result, buf) = stream.write_all(buf).await;
                        result.unwrap();
                    }
                }));
            }
        }));
        drop(ringtoss::spawn(async {
            let mut ticks = time::interval(Duration::from_millis(1));
            let file = ringtoss::fs::File::from_std(tempfile::tempfile().unwrap());
            loop {
                ticks.tick().await;
                file.write_all_at(pattern(0, 5000), 0).await.0.unwrap();
                let (result, bytes) = file.read_exact_at(Vec::with_capacity(5000), 5000, 0).await;
                result.unwrap();
                check(&bytes, 0);
            }
        }));
        ringtoss::spawn_blocking(|| ended.join().unwrap().unwrap()).await.unwrap();
        assert_eq!(ringtoss::metrics().stale_completions, 0);
    });
}

#[test]
fn a_loop_that_is_stopped_again_and_again_loses_nothing() {
    const LEN: usize = 3_000_000;
    let other = Other::start("echo");
    let mut sender = std::net::TcpStream::connect(other.line()).unwrap();
    sender.set_read_timeout(Some(PATIENCE)).unwrap();
    sender.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut receiver = sender.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for at in (0..LEN).step_by(10_000) {
            sender.write_all(&pattern(at, 10_000)).unwrap();
        }
    });
    let receiving = std::thread::spawn(move || {
        let mut all = vec![0; LEN];
        receiver.read_exact(&mut all).unwrap();
        check(&all, 0);
    });
    let mut random = Random(5);
    for _ in 0..40 {
        other.stop();
        std::thread::sleep(Duration::from_millis(random.below(20)));
        other.signal(libc::SIGCONT);
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }
    sending.join().unwrap();
    receiving.join().unwrap();
    other.end();
}

/// Says when a sleep of 50 ms is over, and how an interval goes on.
pub fn ticks() {
    run(async {
        let start = Instant::now();
        say("begun");
        time::sleep(Duration::from_millis(50)).await;
        say(start.elapsed().as_millis());
        // Limits run while the process stands still, as tokio's do.
        let (reader, _writer) = std::io::pipe().unwrap();
        say("waits");
        let error = ringtoss::op::poll_readable(&reader).timeout(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let mut ticks = time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Skip);
        say("ticks");
        for _ in 0..100 {
            ticks.tick().await;
        }
        say("done");
    });
}

#[test]
fn timers_that_are_due_while_the_process_is_stopped_fire_afterwards() {
    let other = Other::start("ticks");
    assert_eq!(other.line(), "begun");
    let pause = || {
        other.stop();
        std::thread::sleep(Duration::from_millis(120));
        other.signal(libc::SIGCONT);
    };
    pause();
    let elapsed: u64 = other.line().parse().unwrap();
    assert!(elapsed >= 50, "{elapsed}");
    assert_eq!(other.line(), "waits");
    pause();
    assert_eq!(other.line(), "ticks");
    pause();
    assert_eq!(other.line(), "done");
    other.end();
}

/// A peer of std's that reads so many bytes and tells whether they were right.
pub fn swallow(len: usize) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    say(listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut all = vec![0; len];
    say("accepted");
    stream.read_exact(&mut all).unwrap();
    check(&all, 0);
    say("right");
}

#[test]
fn a_peer_that_is_stopped_gets_the_rest_when_it_goes_on() {
    const LEN: usize = 40 << 20;
    let other = Other::start(&format!("swallow {LEN}"));
    let address: std::net::SocketAddr = other.line().parse().unwrap();
    run(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(other.line(), "accepted");
        other.stop();
        let bytes = pattern(0, LEN);
        let (result, bytes) = stream.write_all(bytes).timeout(Duration::from_millis(300)).await;
        let error = result.unwrap_err();
        let sent = transferred(&error).unwrap();
        assert!(error.kind() == ErrorKind::TimedOut && sent < LEN);
        let sending = ringtoss::spawn(async move { stream.write_all(bytes[sent..].to_vec()).await.0 });
        time::sleep(Duration::from_millis(50)).await;
        assert!(!sending.is_finished());
        other.signal(libc::SIGCONT);
        sending.await.unwrap().unwrap();
    });
    assert_eq!(other.line(), "right");
    other.end();
}
