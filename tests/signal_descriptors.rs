//! Descriptors that listening for signals takes. A process of its own, because it counts and limits them.
#![allow(unsafe_code, reason = "limits and signals by number")]

#[path = "patience/mod.rs"]
mod patience;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use ringtoss::signal::unix::{Signal, SignalKind, signal};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn raise(kind: SignalKind) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::raise(kind.as_raw_value()) }, 0);
}

fn limit_descriptors(soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives over both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, soft);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

async fn poll(signal: &mut Signal) -> Poll<Option<()>> {
    poll_fn(|cx| Poll::Ready(signal.poll_recv(cx))).await
}

/// Has the listeners be told of one signal, all but the first `idle`.
async fn tell(signals: &mut [Signal], idle: usize, kind: SignalKind) {
    raise(kind);
    for signal in &mut signals[idle..] {
        assert_eq!(signal.recv().await, Some(()));
        assert!(poll(signal).await.is_pending());
    }
}

#[test]
fn a_thousand_listeners_share_few_descriptors_and_go_on_without_any() {
    let kind = SignalKind::user_defined2();
    let test = async {
        ringtoss::time::sleep(Duration::from_millis(1)).await;
        let before = descriptors();
        let mut signals: Vec<_> = (0..1000).map(|_| signal(kind).unwrap()).collect();
        for round in 0..20 {
            tell(&mut signals, 0, kind).await;
            assert!(descriptors() <= before + 2, "{} more in round {round}", descriptors() - before);
        }
        // Ten that wait and are not polled any more, each since another signal, hold a bell each.
        for idle in 1..=10 {
            tell(&mut signals, idle, kind).await;
        }
        let with_idle = descriptors();
        assert!(with_idle <= before + 12);

        // Now there is no descriptor for another bell. Those who wait are told all the same, and wait again.
        let limit = limit_descriptors(with_idle as u64 - 1);
        for idle in 11..=14 {
            raise(kind);
            for signal in &mut signals[idle..] {
                assert_eq!(signal.recv().await, Some(()));
                assert!(poll(signal).await.is_pending());
            }
        }
        limit_descriptors(limit);
        // Also those who were idle all the time.
        raise(kind);
        for signal in &mut signals {
            assert_eq!(signal.recv().await, Some(()));
        }
        tell(&mut signals, 0, kind).await;
        drop(signals);
        // Bells are used again.
        let most = descriptors();
        for _ in 0..100 {
            let mut again = [signal(kind).unwrap(), signal(kind).unwrap()];
            tell(&mut again, 0, kind).await;
        }
        assert!(descriptors() <= most);
    };
    patience::run(test);
}
