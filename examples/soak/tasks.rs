//! Tasks, timers, the other loop, the pool, and processes.

use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ringtoss::net::UnixStream;
use ringtoss::process::Command;
use ringtoss::task::JoinSet;
use ringtoss::{Handle, op, spawn, time};

use crate::{Kind, check, count, goes_on, pattern};

/// What the other loop has in flight, told by itself.
pub static IN_FLIGHT_THERE: AtomicU64 = AtomicU64::new(0);

pub fn start(work: &mut JoinSet<()>, there: &Handle) {
    for _ in 0..500 {
        work.spawn(timers());
    }
    for _ in 0..4 {
        work.spawn(aborts());
        work.spawn(foreign(there.clone()));
        work.spawn(blocking());
    }
    work.spawn(processes());
}

async fn timers() {
    while goes_on() {
        let length = Duration::from_millis(fastrand::u64(1..200));
        let start = time::Instant::now();
        // Some are given up before they are due.
        let _ = time::timeout(Duration::from_millis(fastrand::u64(1..400)), time::sleep(length)).await;
        assert!(start.elapsed() >= Duration::from_millis(1));
        count(Kind::Timers);
    }
}

async fn aborts() {
    while goes_on() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let reading = spawn(async move {
            let (result, bytes) = one.read(vec![0; 4096]).await;
            result.map(|_| bytes)
        });
        for _ in 0..fastrand::usize(..4) {
            ringtoss::yield_now().await;
        }
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        drop(other);
        count(Kind::Aborts);
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// Operations that begin here and end there, whatever becomes of them.
async fn foreign(there: Handle) {
    let mut round = 0;
    while goes_on() {
        round += 1;
        let (mut one, mut other) = UnixStream::pair().unwrap();
        let moved = there.spawn(async move {
            let (result, bytes) = one.read_exact(Vec::with_capacity(1000), 1000).await;
            result.unwrap();
            check(&bytes, 7);
            one
        });
        other.write_all(pattern(7, 1000)).await.0.unwrap();
        let mut one = moved.await.unwrap();
        // Polled here, dropped there, with what it brings: the next read has it.
        let mut poll = op::poll_readable(&other).timeout(Duration::from_millis(1));
        let _ = futures::poll!(std::pin::Pin::new(&mut poll));
        let _ = poll.await;
        let (here, mut sender) = (Handle::current(), other);
        let back = there.spawn(async move {
            let returned = here.spawn(async move {
                sender.write_all(pattern(9, 10)).await.0.unwrap();
                sender
            });
            returned.await.unwrap()
        });
        let mut other = back.await.unwrap();
        let (result, bytes) = one.read_exact(Vec::with_capacity(10), 10).await;
        result.unwrap();
        check(&bytes, 9);
        let nop = {
            let mut nop = op::nop();
            let _ = futures::poll!(std::pin::Pin::new(&mut nop));
            nop
        };
        there.spawn(async move { if round % 2 == 0 { drop(nop) } else { nop.await.unwrap() } }).await.unwrap();
        other.write_all("x").await.0.unwrap();
        count(Kind::Foreign);
        time::sleep(Duration::from_millis(2)).await;
    }
}

async fn blocking() {
    while goes_on() {
        let number = fastrand::u64(..);
        assert_eq!(ringtoss::spawn_blocking(move || number).await.unwrap(), number);
        count(Kind::Blocking);
        time::sleep(Duration::from_millis(3)).await;
    }
}

async fn processes() {
    while goes_on() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let writing = spawn(async move { stdin.write_all(pattern(3, 100_000)).await.0.unwrap() });
        let (result, bytes) = stdout.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), 100_000);
        check(&bytes, 3);
        writing.await.unwrap();
        assert!(child.wait().await.unwrap().success());
        count(Kind::Processes);
        time::sleep(Duration::from_millis(100)).await;
    }
}
