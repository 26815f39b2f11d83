//! Tasks, wakes, timers, and loops themselves.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::counts::Scales;
use crate::runtime::Runtime;
use crate::sys;

use super::{Clock, Window};

pub fn starts<R: Runtime>(duration: Duration) -> Window {
    R::block_on(false, async {});
    let (clock, until, mut ops) = (Clock::start(), Instant::now() + duration, 0);
    while ops == 0 || Instant::now() < until {
        R::block_on(false, async {});
        ops += 1;
    }
    Window { before: 1, ..clock.stop(ops) }
}

pub async fn nops<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while ops == 0 || Instant::now() < until {
        for _ in 0..16 {
            R::nop().await;
        }
        ops += 16;
    }
    ops
}

pub async fn spawns<R: Runtime>(tasks: usize, until: Instant) -> u64 {
    let (mut ops, mut handles) = (0, Vec::with_capacity(tasks));
    while ops == 0 || Instant::now() < until {
        for _ in 0..(128 / tasks).max(1) {
            handles.extend((0..tasks).map(|number| R::spawn(async move { number })));
            for handle in handles.drain(..) {
                std::hint::black_box(handle.await);
            }
            ops += tasks as u64;
        }
    }
    ops
}

/// The tasks have to take turns: who yields to itself does nothing of what the row is about.
pub async fn yielding<R: Runtime>(tasks: usize, duration: Duration) -> Window {
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    let handles: Vec<_> = (0..tasks).map(|_| R::spawn(yields::<R>(until))).collect();
    let (mut all, mut most) = (0, 0);
    for handle in handles {
        let ops = handle.await;
        (all, most) = (all + ops, most.max(ops));
    }
    let window = clock.stop(all);
    // A scheduler need not be quite fair, but a thousand others are not one's own.
    assert!(tasks < 100 || most <= all / 10, "one of {tasks} tasks did {most} of all {all} yields");
    window
}

async fn yields<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while ops == 0 || Instant::now() < until {
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
    loop {
        for number in 0..256 {
            sender.send(number).await.expect("the consumer");
        }
        if Instant::now() >= until {
            break;
        }
    }
    drop(sender);
    consumer.await
}

pub async fn sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while ops == 0 || Instant::now() < until {
        R::sleep(Duration::from_millis(1)).await;
        ops += 1;
    }
    ops
}

pub async fn dropped_sleeps<R: Runtime>(until: Instant) -> u64 {
    let mut ops = 0;
    while ops == 0 || Instant::now() < until {
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

/// From the first to the last of the wake-ups of [`sleep_all`].
const SPREAD: Duration = Duration::from_millis(100);

/// CPU is that of making the tasks, of their timers, and of the wake-ups.
pub async fn sleep_all<R: Runtime>(tasks: usize) -> Window {
    // Long enough that the last is made before the first wakes up.
    let first = Duration::from_nanos(3_000 * tasks as u64);
    let clock = Clock::start();
    let sleep = |number: usize| {
        let each = first + SPREAD.mul_f64(number as f64 / tasks as f64);
        R::spawn(async move {
            let start = Instant::now();
            R::sleep(each).await;
            assert!(start.elapsed() >= each, "a sleep is over too early");
        })
    };
    let handles: Vec<_> = (0..tasks).map(sleep).collect();
    for handle in handles {
        handle.await;
    }
    clock.stop(tasks as u64)
}

/// Where tasks wait until they are let through.
struct Gate {
    open: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    expected: usize,
    /// Told when everybody is there.
    keeper: Mutex<Option<Waker>>,
}

impl Gate {
    fn of(expected: usize) -> Gate {
        let waiting = Mutex::new(Vec::with_capacity(expected));
        Gate { open: AtomicBool::new(false), waiting, expected, keeper: Mutex::new(None) }
    }

    async fn pass(self: Arc<Gate>) {
        poll_fn(|cx| {
            let mut waiting = self.waiting.lock().unwrap();
            if self.open.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            if waiting.len() < self.expected {
                waiting.push(cx.waker().clone());
                if waiting.len() == self.expected {
                    drop(waiting);
                    self.keeper.lock().unwrap().take().into_iter().for_each(Waker::wake);
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Until everybody is there. Yielding would not do: with monoio, who yields is next.
    async fn everybody(&self) {
        poll_fn(|cx| {
            *self.keeper.lock().unwrap() = Some(cx.waker().clone());
            match self.waiting.lock().unwrap().len() {
                there if there == self.expected => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    fn open(&self) {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap();
            self.open.store(true, Ordering::Relaxed);
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

pub async fn waiting<R: Runtime>(tasks: usize, duration: Duration) -> Window {
    let until = Instant::now() + duration;
    let (mut window, mut handles) = (Window::default(), Vec::with_capacity(tasks));
    loop {
        let gate = Arc::new(Gate::of(tasks));
        let clock = Clock::start();
        let scales = Scales::set_up();
        handles.extend((0..tasks).map(|_| R::spawn(gate.clone().pass())));
        gate.everybody().await;
        window.task_bytes = Some(scales.read().max(0) as u64 / tasks as u64);
        gate.open();
        for handle in handles.drain(..) {
            handle.await;
        }
        window += clock.stop(tasks as u64);
        if Instant::now() >= until {
            return window;
        }
    }
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
    let cpu_ns = (sys::own_cpu_ns() - cpu_ns).saturating_sub(ringer_cpu_ns);
    Window { ops, wall_ns, cpu_ns, ..Window::default() }
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
        while number == 0 || Instant::now() < until {
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
