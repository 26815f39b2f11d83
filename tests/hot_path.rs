//! What the common ways cost, counted: allocations by an allocator that counts, kernel entries by the loop.

use ringtoss::net::UdpSocket;
use ringtoss::net::udp::{Ecn, Transmit};
use ringtoss::op::nop;
use ringtoss::{metrics, spawn, yield_now};

use counting::allocations;

mod counting;

/// Tasks that do so many Nops each; gives the allocations and kernel entries that they took, spawning left out.
async fn nops(tasks: usize, each: usize) -> (u64, u64) {
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            spawn(async move {
                for _ in 0..each {
                    nop().await.unwrap();
                }
            })
        })
        .collect();
    let before = (allocations(), metrics().enters);
    for handle in handles {
        handle.await.unwrap();
    }
    (allocations() - before.0, metrics().enters - before.1)
}

#[test]
fn the_common_ways_cost_what_they_are_said_to() {
    ringtoss::block_on(async {
        nops(128, 100).await;
        let (allocated, entered) = nops(128, 1000).await;
        assert_eq!(allocated, 0, "allocations for 128,000 Nops, 128 in flight");
        assert!(entered <= 1000 + 8, "{entered} kernel entries for 1,000 turns of 128 Nops each");

        // Two vectors of ready tasks: warm from above. The memory of a task is that of one before it.
        let fresh = if cfg!(fresh_tasks) { 1000 } else { 1 };
        let before = allocations();
        for _ in 0..1000 {
            spawn(async {}).await.unwrap();
        }
        assert!(allocations() - before <= fresh, "one allocation a task, at most");
        let turns = metrics().turns;
        for _ in 0..1000 {
            spawn(async {}).await.unwrap();
        }
        let turns = metrics().turns - turns;
        assert!((1000 / 64..=1000 / 16).contains(&turns), "{turns} turns for 1,000 tasks, each awaited at once");

        let before = allocations();
        for _ in 0..1000 {
            yield_now().await;
        }
        let task = spawn(async {
            for _ in 0..1000 {
                yield_now().await;
            }
        });
        task.await.unwrap();
        assert!(allocations() - before <= 1, "none a wake, one for the task");

        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        receiver.set_recv_ecn(true).unwrap();
        let address = receiver.local_addr().unwrap();
        let mut buf = Vec::with_capacity(64);
        let mut before = 0;
        for round in 0..300 {
            if round == 100 {
                before = allocations();
            }
            receiver.send_to("datagram", address).await.0.unwrap();
            let (result, filled) = receiver.recv_from(buf).await;
            assert_eq!(result.unwrap(), (8, address));
            receiver.send_msg("datagram", &Transmit::to(address).ecn(Ecn::Ect0)).await.0.unwrap();
            let (result, filled) = receiver.recv_msg(filled).await;
            assert_eq!(result.unwrap().ecn, Some(Ecn::Ect0));
            buf = filled;
        }
        assert_eq!(allocations() - before, 0, "a datagram's header is lent by the loop");

        let turns = (metrics().turns, metrics().enters);
        for _ in 0..1000 {
            yield_now().await;
        }
        assert!(metrics().turns - turns.0 >= 1000);
        assert_eq!(metrics().enters - turns.1, 0, "a turn with nothing to submit and nothing to reap enters no kernel");
    });
}
