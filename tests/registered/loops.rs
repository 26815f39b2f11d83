//! Other loops and threads, and the end of the loop.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use ringtoss::net::UnixStream;
use ringtoss::{EventLoop, metrics};

use super::{
    alone, assert_end, assert_ended, assert_places, bounded, event_loop, poll_once, run, turn, with_place, works,
};

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        ringtoss::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn dropped_on_another_thread_it_leaves_its_place_at_home() {
    run(|| async {
        for with_loop in [false, true] {
            let (stream, peer) = with_place().await;
            let thread = std::thread::spawn(move || {
                let drops = async move { drop(stream) };
                if with_loop { ringtoss::block_on(drops) } else { futures::executor::block_on(drops) }
            });
            thread.join().unwrap();
            // It is home that closes it.
            until(|| metrics().registered_files == 0).await;
            turn().await;
            turn().await;
            assert_end(&peer);
            assert_places(0);
        }
    });
}

#[test]
fn a_dropped_operation_on_another_thread_does_not_keep_it_open() {
    run(|| async {
        let (mut stream, peer) = with_place().await;
        let mut read = Box::pin(async move { stream.read(Vec::with_capacity(8)).await });
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::thread::spawn(move || drop(read)).join().unwrap();
        until(|| metrics().registered_files == 0).await;
        turn().await;
        turn().await;
        assert_end(&peer);
    });
}

/// There it goes by its number, and so it does at home from then on.
#[test]
fn it_works_on_other_loops_as_ever() {
    run(|| async {
        let (mut stream, mut peer) = with_place().await;
        for round in 0..5u8 {
            let (mut moved, done) = (stream, mpsc::channel());
            let thread = std::thread::spawn(move || {
                ringtoss::block_on(async {
                    moved.register();
                    moved.write_all(vec![round; 3]).await.0.unwrap();
                    let (result, got) = moved.read(Vec::with_capacity(8)).await;
                    assert_eq!((result.unwrap(), got), (1, vec![round]));
                });
                done.0.send(moved).unwrap();
            });
            let mut got = [0; 3];
            peer.read_exact(&mut got).unwrap();
            assert_eq!(got, [round; 3]);
            peer.write_all(&[round]).unwrap();
            thread.join().unwrap();
            stream = done.1.recv().unwrap();
            stream.write_all("here").await.0.unwrap();
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        drop(stream);
        until(|| metrics().registered_files == 0).await;
        turn().await;
        turn().await;
        assert_end(&peer);
        assert_places(0);
    });
}

#[test]
fn objects_outlive_the_loop_and_its_table() {
    let _alone = alone();
    let (mut stream, peer) = event_loop().block_on(bounded(with_place()));
    let (mut next, next_peer) = ringtoss::block_on(bounded(async {
        stream.write_all("again").await.0.unwrap();
        (&peer).read_exact(&mut [0; 5]).unwrap();
        let (next, next_peer) = with_place().await;
        drop(stream);
        turn().await;
        assert_end(&peer);
        (next, next_peer)
    }));
    ringtoss::block_on(bounded(async {
        next.register();
        next.write_all("again").await.0.unwrap();
        (&next_peer).read_exact(&mut [0; 5]).unwrap();
    }));
    drop(next);
    assert_end(&next_peer);
}

/// The kernel takes a ring apart when it likes; the files in its table are closed at once.
#[test]
fn a_loop_that_ends_lets_go_of_its_table() {
    let _alone = alone();
    for (tasks, in_flight) in [(false, false), (true, false), (true, true)] {
        let event_loop = event_loop();
        let (mut stream, peer) = event_loop.block_on(bounded(with_place()));
        if works() {
            assert_eq!(event_loop.metrics().registered_files, 1);
        }
        if tasks {
            event_loop.spawn(async move {
                if in_flight {
                    let _ = stream.read(Vec::with_capacity(8)).await;
                }
                std::future::pending::<()>().await;
                drop(stream);
            });
            event_loop.block_on(turn());
        } else {
            drop(stream);
        }
        drop(event_loop);
        assert_ended(&peer);
    }
}

#[test]
fn a_loop_without_the_switch_registers_what_asks_and_nothing_else() {
    let _alone = alone();
    EventLoop::new().unwrap().block_on(bounded(async {
        let (mut a, mut b) = UnixStream::pair().unwrap();
        super::ping_pong(&mut a, &mut b, 20).await;
        assert_places(0);
        // It has a home already.
        a.register();
        super::ping_pong(&mut a, &mut b, 2).await;
        assert_places(1);
    }));
}
