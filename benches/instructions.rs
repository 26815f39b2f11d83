//! For `.ci/measure`: so many operations of one kind and nothing else, to be run under `valgrind --tool=callgrind` with
//! two counts, whose difference is the cost of one without start-up and end.
//!
//!     instructions nop|spawn|burst|yield|sleep|timeout COUNT [IN_FLIGHT]

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringtoss::{op, spawn, time, yield_now};

/// Longer than anything here takes.
const NEVER: Duration = Duration::from_secs(600);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [kind, count, rest @ ..] = arguments.as_slice() else {
        // `cargo bench` runs this without arguments.
        return println!("usage: instructions nop|spawn|burst|yield|sleep|timeout COUNT [IN_FLIGHT]");
    };
    let count: usize = count.parse().expect("a count");
    let in_flight: usize = rest.first().map_or(128, |text| text.parse().expect("a count"));
    ringtoss::block_on(async move {
        match kind.as_str() {
            "nop" => nops(count, in_flight).await,
            "spawn" => spawns(count).await,
            "burst" => bursts(count, in_flight).await,
            "yield" => yields(count, in_flight).await,
            "sleep" => sleeps(count).await,
            "timeout" => timeouts(count, in_flight).await,
            other => panic!("no such kind: {other}"),
        }
    });
}

async fn nops(count: usize, in_flight: usize) {
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            spawn(async move {
                for _ in 0..count / in_flight {
                    op::nop().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn spawns(count: usize) {
    for _ in 0..count {
        spawn(async {}).await.unwrap();
    }
}

async fn yields(count: usize, in_flight: usize) {
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            spawn(async move {
                for _ in 0..count / in_flight {
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Tasks that are spawned so many at once, and joined.
async fn bursts(count: usize, at_once: usize) {
    let mut tasks = Vec::with_capacity(at_once);
    for _ in 0..count / at_once {
        tasks.extend((0..at_once).map(|_| spawn(async {})));
        for task in tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

/// Sleeps that begin and are dropped: what a timeout that does not happen costs.
async fn sleeps(count: usize) {
    std::future::poll_fn(|cx| {
        for _ in 0..count {
            let mut sleep = pin!(time::sleep(NEVER));
            assert!(sleep.as_mut().poll(cx).is_pending());
        }
        Poll::Ready(())
    })
    .await;
}

/// Operations with a time limit around them that does not happen.
async fn timeouts(count: usize, in_flight: usize) {
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            spawn(async move {
                for _ in 0..count / in_flight {
                    time::timeout(NEVER, op::nop()).await.unwrap().unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
