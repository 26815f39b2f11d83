//! Tasks, wakes, timers, and loops themselves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::runtime::Runtime;
use crate::sys;

use super::Window;

pub fn starts<R: Runtime>(duration: Duration) -> Window {
    R::block_on(false, async {});
    let (start, cpu_ns, mut ops) = (Instant::now(), sys::own_cpu_ns(), 0);
    while start.elapsed() < duration {
        R::block_on(false, async {});
        ops += 1;
    }
    Window { ops, wall_ns: start.elapsed().as_nanos() as u64, cpu_ns: sys::own_cpu_ns() - cpu_ns, before: 1 }
}

pub async fn nops<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..16 {
            R::nop().await;
        }
        ops += 16;
    }
    ops
}

pub async fn spawns<R: Runtime>(tasks: usize, until: Instant) -> u64 {
    let (mut ops, mut handles) = (0, Vec::with_capacity(tasks));
    while Instant::now() < until {
        for _ in 0..128 / tasks {
            handles.extend((0..tasks).map(|number| R::spawn(async move { number })));
            for handle in handles.drain(..) {
                std::hint::black_box(handle.await);
            }
            ops += tasks as u64;
        }
    }
    ops
}

pub async fn yields<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..64 {
            R::yield_now().await;
        }
        ops += 64;
    }
    ops
}

pub async fn channel<R: Runtime>(until: Instant) -> u64 {
    let (sender, receiver) = async_channel::bounded::<u64>(64);
    let consumer = R::spawn(async move {
        let mut ops = 0;
        while receiver.recv().await.is_ok() {
            ops += 1;
        }
        ops
    });
    while Instant::now() < until {
        for number in 0..256 {
            sender.send(number).await.expect("the consumer");
        }
    }
    drop(sender);
    consumer.await
}

pub async fn sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        R::sleep(Duration::from_millis(1)).await;
        ops += 1;
    }
    ops
}

pub async fn dropped_sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while Instant::now() < until {
        for _ in 0..64 {
            let mut sleep = pin!(R::sleep(Duration::from_secs(60)));
            let done = poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
            assert!(!done, "a minute is not over");
        }
        R::yield_now().await;
        ops += 64;
    }
    ops
}

/// How long the other thread lets the loop fall asleep before it wakes it again.
const NAP: Duration = Duration::from_micros(50);

/// Time is what passes from the wake to the task's answer, on CPUs of their own; CPU is the loop's.
pub async fn wakes<R: Runtime>(duration: Duration) -> Window {
    let bell = Arc::new(Bell::default());
    let (ringer_bell, cpu_ns) = (bell.clone(), sys::own_cpu_ns());
    let ringer = std::thread::spawn(move || {
        let _ = crate::cpus::Cpus::find().pin_generator();
        ringer_bell.ring_for(duration)
    });
    let mut heard = 0;
    while !bell.over.load(Ordering::Acquire) {
        heard = bell.wait(heard).await;
        bell.heard.store(heard, Ordering::Release);
    }
    let (ops, wall_ns, ringer_cpu_ns) = ringer.join().expect("the thread that rings");
    Window { ops, wall_ns, cpu_ns: (sys::own_cpu_ns() - cpu_ns).saturating_sub(ringer_cpu_ns), before: 0 }
}

#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    heard: AtomicU64,
    over: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    async fn wait(&self, heard: u64) -> u64 {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            match self.rung.load(Ordering::SeqCst) {
                rung if rung > heard => Poll::Ready(rung),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn ring(&self, number: u64) {
        self.rung.store(number, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn ring_for(&self, duration: Duration) -> (u64, u64, u64) {
        let (until, mut wall_ns, mut number) = (Instant::now() + duration, 0, 0);
        while Instant::now() < until {
            spin(NAP);
            number += 1;
            let start = Instant::now();
            self.ring(number);
            while self.heard.load(Ordering::Acquire) < number {
                std::hint::spin_loop();
            }
            wall_ns += start.elapsed().as_nanos() as u64;
        }
        self.over.store(true, Ordering::Release);
        self.ring(number + 1);
        (number, wall_ns, sys::thread_cpu_ns())
    }
}

fn spin(duration: Duration) {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
