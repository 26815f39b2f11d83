//! This crate with a loop that looks for a while before it sleeps.

use std::future::Future;
use std::time::Duration;

use crate::candidate::{Candidate, Kind};
use crate::runtime::Runtime;
use crate::work::{self, Work};

use super::ringtoss::Ringtoss;

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss spin",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "Builder::spin: the loop looks for 100 µs before it sleeps, for wakes by other threads",
        can: |work| matches!(work, Work::Wake { .. }),
        serve: |_, _, _| unreachable!("it does not serve"),
        window: |_, duration, _| work::woken::<Spin>(duration),
    }
}

struct Spin;

impl Runtime for Spin {
    fn block_on<T: 'static>(_timers: bool, future: impl Future<Output = T> + 'static) -> T {
        let event_loop = ringtoss::EventLoop::builder().spin(Duration::from_micros(100)).build().expect("a loop");
        event_loop.block_on(future)
    }

    fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
        Ringtoss::spawn(future)
    }

    fn detach(future: impl Future<Output = ()> + 'static) {
        Ringtoss::detach(future);
    }

    async fn yield_now() {
        Ringtoss::yield_now().await;
    }

    async fn sleep(duration: Duration) {
        Ringtoss::sleep(duration).await;
    }
}
