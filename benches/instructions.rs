//! For `.ci/measure`: so many operations of one kind and nothing else, to be run under `valgrind --tool=callgrind` with
//! two counts, whose difference is the cost of one without start-up and end.
//!
//!     instructions nop|spawn|yield COUNT [IN_FLIGHT]

use ringtoss::{op, spawn, yield_now};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [kind, count, rest @ ..] = arguments.as_slice() else {
        // `cargo bench` runs this without arguments.
        return println!("usage: instructions nop|spawn|yield COUNT [IN_FLIGHT]");
    };
    let count: usize = count.parse().expect("a count");
    let in_flight: usize = rest.first().map_or(128, |text| text.parse().expect("a count"));
    ringtoss::block_on(async move {
        match kind.as_str() {
            "nop" => nops(count, in_flight).await,
            "spawn" => spawns(count).await,
            "yield" => yields(count, in_flight).await,
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
