//! What a dropped receive brings is not lost, and buffers are not either.

use std::io::Write;
use std::time::Duration;

use ringtoss::net::TcpStream;
use ringtoss::time::sleep;

use crate::util::*;

/// Reads in some way, perhaps dropped, and checks; gives how many bytes.
async fn round(stream: &mut TcpStream, random: &mut Random, place: usize) -> usize {
    let other = async {
        match random.below(4) {
            0 => {}
            1 => turn().await,
            2 => ringtoss::yield_now().await,
            _ => sleep(Duration::from_micros(30)).await,
        }
    };
    match place % 3 {
        0 => tokio::select! {
            lease = stream.recv() => {
                let lease = lease.unwrap().unwrap_or_else(|| panic!("the end at {place}"));
                check(&lease, place);
                lease.len()
            }
            () = other => 0,
        },
        1 => {
            let mut received = stream.recv_stream();
            let mut taken = 0;
            let take = async {
                for _ in 0..3 {
                    let lease = received.next().await.expect("the writer is there").unwrap();
                    check(&lease, place + taken);
                    taken += lease.len();
                }
            };
            tokio::select! { () = take => {}, () = other => {} }
            taken
        }
        _ => tokio::select! {
            (result, buf) = stream.read(Vec::with_capacity(700)) => {
                check(&buf, place);
                result.unwrap()
            }
            () = other => 0,
        },
    }
}

#[test]
fn select_loops_lose_no_byte_and_keep_the_order() {
    run(async {
        let (mut ours, mut theirs) = pair().await;
        let writer = ringtoss::spawn(async move {
            let mut random = Random(0x1ea5e);
            let mut place = 0;
            while place < 2_000_000 {
                let len = 1 + random.below(1000);
                theirs.write_all(pattern(place, len)).await.0.unwrap();
                place += len;
                if random.below(3) == 0 {
                    turn().await;
                }
            }
            place
        });
        let mut random = Random(0xfeed);
        let mut place = 0;
        while place < 1_900_000 {
            place += round(&mut ours, &mut random, place).await;
        }
        while let Some(lease) = ours.recv().await.unwrap() {
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(writer.await.unwrap(), place);
    });
}

#[test]
fn dropped_at_every_stage_no_buffer_is_lost() {
    // With 64 buffers, a leak of one in a hundred rounds would starve the rest.
    let event_loop = ringtoss::EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut ours, mut peer) = with_std_peer();
        let mut place = 0;
        let mut sent = 0;
        for round in 0..2000 {
            if round % 2 == 0 {
                peer.write_all(&pattern(sent, 300)).unwrap();
                sent += 300;
            }
            let mut receive = ours.recv();
            let _ = poll_once(&mut receive).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(receive);
            let mut received = ours.recv_stream();
            let _ = poll_and_drop(received.next()).await.map(|lease| {
                let lease = lease.unwrap().unwrap();
                check(&lease, place);
                place += lease.len();
            });
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(received);
            if round % 2 == 1 {
                while place < sent {
                    let lease = ours.recv().await.unwrap().unwrap();
                    check(&lease, place);
                    place += lease.len();
                }
            }
        }
        // All 64 are there.
        let mut held = Vec::new();
        for _ in 0..64 {
            peer.write_all(b"x").unwrap();
            held.push(ours.recv().await.unwrap().unwrap());
        }
        assert!(held.iter().all(|lease| &lease[..] == b"x"));
    }));
}

#[test]
fn dropped_on_another_thread() {
    let (ours, mut peer) = with_std_peer();
    let mut ours = ours;
    run(async {
        for round in 0..200u32 {
            peer.write_all(&round.to_le_bytes()).unwrap();
            std::thread::scope(|scope| {
                let mut received = ours.recv_stream();
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(received.poll_next(&mut cx).is_pending());
                scope.spawn(move || drop(received)).join().unwrap();
            });
            let (result, buf) = ours.read_exact(Vec::with_capacity(4), 4).await;
            result.unwrap();
            assert_eq!(buf, round.to_le_bytes());
        }
    });
}
