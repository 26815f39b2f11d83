//! When buffers run out, or nobody takes what comes.

use std::io::Write;

use ringtoss::EventLoop;
use ringtoss::buf::Lease;
use ringtoss::net::TcpStream;

use crate::util::*;

/// So many buffers of the loop's, with a few bytes in each.
async fn leases(ours: &mut TcpStream, peer: &mut std::net::TcpStream, count: usize) -> Vec<Lease> {
    let mut held = Vec::new();
    for _ in 0..count {
        peer.write_all(b"held").unwrap();
        held.push(ours.recv().await.unwrap().unwrap());
    }
    held
}

#[test]
fn receives_wait_for_buffers_and_get_them_in_order() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut ours, mut peer) = with_std_peer();
        let mut held = leases(&mut ours, &mut peer, 64).await;
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut peers = Vec::new();
        let mut tasks = Vec::new();
        for index in 0..10 {
            let (mut ours, mut peer) = with_std_peer();
            peer.write_all(b"waits").unwrap();
            peers.push(peer);
            let order = order.clone();
            tasks.push(ringtoss::spawn(async move {
                let lease = if index % 2 == 0 {
                    ours.recv().await.unwrap().unwrap()
                } else {
                    ours.recv_stream().next().await.unwrap().unwrap()
                };
                assert_eq!(&lease[..], b"waits");
                order.borrow_mut().push(index);
                lease
            }));
            turn().await;
            turn().await;
        }
        assert!(order.borrow().is_empty(), "there is no buffer");
        let mut got = Vec::new();
        for (round, task) in tasks.into_iter().enumerate() {
            // Back from this thread and from another one. Each goes to whoever has waited for longest, and stays there.
            let lease = held.pop().unwrap();
            if round % 2 == 0 {
                drop(lease)
            } else {
                std::thread::spawn(move || drop(lease)).join().unwrap()
            }
            got.push(task.await.unwrap());
            assert!(order.borrow().iter().copied().eq(0..=round), "{order:?}");
        }
    }));
}

/// They are back, and with the kernel again, before whoever was refused one hears of that.
#[test]
fn who_was_refused_a_buffer_does_not_wait_for_those_that_the_kernel_has_got_since() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).submission_entries(64).build().unwrap();
    event_loop.block_on(bounded(async {
        for many in [false, true] {
            let (mut ours, mut peer) = with_std_peer();
            let held = leases(&mut ours, &mut peer, 64).await;
            // Both are done with one enter, and this one is woken first.
            let first = ringtoss::spawn(async move {
                ringtoss::op::nop().await.unwrap();
                drop(held);
                let mut nops: Vec<_> = (0..200).map(|_| ringtoss::op::nop()).collect();
                for nop in &mut nops {
                    // The queue is full now and then, and is handed over with what has come back.
                    assert!(poll_once(nop).await.is_pending());
                }
                for nop in nops {
                    nop.await.unwrap();
                }
            });
            peer.write_all(b"more").unwrap();
            let second = ringtoss::spawn(async move {
                let lease = if many { ours.recv_stream().next().await } else { ours.recv().await.transpose() };
                assert_eq!(&lease.unwrap().unwrap()[..], b"more");
            });
            first.await.unwrap();
            second.await.unwrap();
        }
    }));
}

#[test]
fn who_waited_and_went_passes_its_turn_on() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut ours, mut peer) = with_std_peer();
        let mut held = leases(&mut ours, &mut peer, 64).await;
        for round in 0..100 {
            let (mut first, mut first_peer) = with_std_peer();
            let (mut second, mut second_peer) = with_std_peer();
            first_peer.write_all(b"1").unwrap();
            second_peer.write_all(b"2").unwrap();
            let gone = ringtoss::spawn(async move { first.recv().await.unwrap().is_some() });
            let stays = ringtoss::spawn(async move { second.recv().await.unwrap().unwrap().into_vec() });
            for _ in 0..round % 5 {
                turn().await;
            }
            drop(held.pop());
            gone.abort();
            assert_eq!(stays.await.unwrap(), b"2");
            peer.write_all(b"held").unwrap();
            held.push(ours.recv().await.unwrap().unwrap());
        }
    }));
}

#[test]
fn a_slow_consumer_stops_the_kernel_and_goes_on() {
    let event_loop = EventLoop::builder().lease_buffers(512, 1024).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut slow, mut theirs) = pair().await;
        let mut received = slow.recv_stream();
        let mut place = 0;
        theirs.write_all(pattern(0, 10)).await.0.unwrap();
        let lease = received.next().await.unwrap().unwrap();
        check(&lease, 0);
        place += lease.len();
        let writer = ringtoss::spawn(async move {
            let mut sent = 10;
            for _ in 0..400 {
                theirs.write_all(pattern(sent, 1000)).await.0.unwrap();
                sent += 1000;
                turn().await;
            }
            sent
        });
        // Nobody takes anything meanwhile, and another connection still has buffers.
        for _ in 0..500 {
            turn().await;
        }
        let (mut other, mut peer) = with_std_peer();
        drop(leases(&mut other, &mut peer, 512).await);
        while let Some(lease) = received.next().await {
            let lease = lease.unwrap();
            check(&lease, place);
            place += lease.len();
        }
        assert_eq!(writer.await.unwrap(), place);
    }));
}

#[test]
fn buffers_are_made_as_they_are_needed() {
    run(async {
        let (mut ours, mut peer) = with_std_peer();
        let held: Vec<_> = {
            let mut held = Vec::new();
            for round in 0..1000u32 {
                peer.write_all(&round.to_le_bytes()).unwrap();
                held.push(ours.recv().await.unwrap().unwrap());
            }
            held
        };
        for (round, lease) in held.iter().enumerate() {
            assert_eq!(&lease[..], (round as u32).to_le_bytes());
        }
    });
}

/// Buffers that come back call those who wait, one each. Who has nothing to receive, or an end, takes none, and calls the next.
#[test]
fn a_call_that_takes_no_buffer_goes_on_to_who_has_waited_for_less() {
    let event_loop = EventLoop::builder().lease_buffers(512, 64).build().unwrap();
    event_loop.block_on(bounded(async {
        let (mut ours, mut peer) = with_std_peer();
        let mut held = leases(&mut ours, &mut peer, 64).await;
        let mut resting = Vec::new();
        let mut tasks = Vec::new();
        for index in 0..10 {
            let (mut ours, peer) = with_std_peer();
            // Some have nothing, some are at their end.
            if index % 3 == 0 {
                peer.shutdown(std::net::Shutdown::Write).unwrap();
            }
            resting.push(peer);
            tasks.push(ringtoss::spawn(async move {
                let got = if index % 2 == 0 { ours.recv().await } else { ours.recv_stream().next().await.transpose() };
                // There is one buffer for all of them, which is not kept until somebody asks for what came of this.
                got.unwrap().map(|lease| lease.to_vec())
            }));
            turn().await;
            turn().await;
        }
        let (mut ours, mut peer) = with_std_peer();
        peer.write_all(b"more").unwrap();
        let last = ringtoss::spawn(async move { ours.recv().await.unwrap().unwrap().to_vec() });
        turn().await;
        turn().await;
        assert!(!last.is_finished());
        // One for all of them.
        held.pop();
        assert_eq!(last.await.unwrap(), b"more");
        for mut peer in resting {
            let _ = peer.write_all(b"late");
        }
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), (index % 3 != 0).then(|| b"late".to_vec()));
        }
    }));
}
