//! Processes that are stopped and go on: ours, and the peer's.

use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::poll;
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
    const STOPS: usize = 40;
    let other = Other::start("echo");
    let mut sender = std::net::TcpStream::connect(other.line()).unwrap();
    sender.set_read_timeout(Some(patience())).unwrap();
    sender.set_write_timeout(Some(patience())).unwrap();
    let mut receiver = sender.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for at in (0..LEN).step_by(10_000) {
            sender.write_all(&pattern(at, 10_000)).unwrap();
        }
    });
    // Waits now and then until it was heard that it is in the middle of it.
    let (progress, in_the_middle) = std::sync::mpsc::sync_channel(0);
    let receiving = std::thread::spawn(move || {
        let mut part = vec![0; LEN / (STOPS + 1)];
        for number in 0..=STOPS {
            receiver.read_exact(&mut part).unwrap();
            check(&part, number * part.len());
            let _ = progress.send(());
        }
        let mut rest = vec![0; LEN % (STOPS + 1)];
        receiver.read_exact(&mut rest).unwrap();
        check(&rest, LEN - rest.len());
    });
    let mut random = Random(5);
    for _ in 0..STOPS {
        in_the_middle.recv_timeout(patience()).unwrap();
        other.stop();
        std::thread::sleep(Duration::from_millis(random.below(20)));
        other.signal(libc::SIGCONT);
    }
    drop(in_the_middle);
    sending.join().unwrap();
    receiving.join().unwrap();
    other.end();
}

/// Says when a sleep of so long is over, and a wait with such a limit, and how an interval goes on.
pub fn ticks(long: Duration) {
    run(async {
        let start = Instant::now();
        let mut sleep = pin!(time::sleep(long));
        assert!(poll!(sleep.as_mut()).is_pending());
        turn().await;
        say("begun");
        sleep.await;
        say(start.elapsed().as_millis());
        // Limits run while the process stands still, as tokio's do.
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut limited = pin!(ringtoss::op::poll_readable(&reader).timeout(long));
        assert!(poll!(limited.as_mut()).is_pending());
        turn().await;
        say("waits");
        assert_eq!(limited.await.unwrap_err().kind(), ErrorKind::TimedOut);
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
    // A machine that is slow to stop it needs a longer sleep.
    let mut long = Duration::from_millis(50);
    while !stops_while_they_run(long) {
        long *= 2;
        assert!(long < patience(), "it is never stopped in time");
    }
}

/// Whether it was stopped before the sleep and the limit were over. What it stands for holds in any case.
fn stops_while_they_run(long: Duration) -> bool {
    let other = Other::start(&format!("ticks {}", long.as_millis()));
    assert_eq!(other.line(), "begun");
    // It began before it said so: what is due so long after that is due before it goes on.
    let stop = || {
        other.stop();
        let early = other.line_so_far();
        std::thread::sleep(long);
        other.signal(libc::SIGCONT);
        early
    };
    let early = stop();
    let mut in_time = early.is_none();
    let elapsed: u128 = early.unwrap_or_else(|| other.line()).parse().unwrap();
    assert!(elapsed >= long.as_millis(), "{elapsed}");
    assert_eq!(other.line(), "waits");
    let early = stop();
    in_time &= early.is_none();
    assert_eq!(early.unwrap_or_else(|| other.line()), "ticks");
    let early = stop();
    assert_eq!(early.unwrap_or_else(|| other.line()), "done");
    other.end();
    in_time
}

/// A peer of std's that reads so many bytes and tells whether they were right.
pub fn swallow(len: usize) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    say(listener.local_addr().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
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
        let mut left = pattern(0, LEN);
        // As much as there is room for; a slow machine needs several limits until the first of it is sent.
        while left.len() == LEN {
            let (result, back) = stream.write_all(left).timeout(Duration::from_millis(300)).await;
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let sent = transferred(&error).unwrap();
            assert!(sent < LEN);
            left = back[sent..].to_vec();
        }
        let sending = ringtoss::spawn(async move { stream.write_all(left).await.0 });
        // Nobody reads, so it stays as it is.
        for _ in 0..100 {
            turn().await;
        }
        assert!(!sending.is_finished());
        other.signal(libc::SIGCONT);
        sending.await.unwrap().unwrap();
    });
    assert_eq!(other.line(), "right");
    other.end();
}
