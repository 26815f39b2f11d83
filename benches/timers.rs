//! What a timer costs, by how many are pending: a table of nanoseconds an operation and how that grows.
//!
//! * `insert`: a `Sleep` that was made before is polled for the first time;
//! * `reset`: it gets another deadline;
//! * `cancel`: it is dropped;
//! * `fire`: its time comes, and its waker is called;
//! * `timeout`: one of half a minute is begun and dropped, again and again, while so many others are pending: what nearly all
//!   timers of a server are for.
//!
//! Deadlines are spread evenly over an hour and, but for `timeout`, operations come in random order, so that each is for a
//! timer that was not touched for long. For each there is the same on a
//! `BTreeMap` in the same run. What grows with the number of timers is the memory that they take: beyond the caches every
//! access is a miss, whatever the structure.
//!
//!     cargo bench --bench timers

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant as Clock;

use ringtoss::EventLoop;
use ringtoss::time::{self, Duration, Instant, Sleep};

const PENDING: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// So many operations are timed for each number of timers, in as many rounds as that takes; the fastest third of the rounds
/// counts.
const OPERATIONS: usize = 3_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;
const TIMEOUT_NS: u64 = 30_000_000_000;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn deadline_ns(&mut self) -> u64 {
        HOUR_NS + self.next() % HOUR_NS
    }

    fn order(&mut self, count: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        for index in (1..count).rev() {
            order.swap(index, (self.next() % (index as u64 + 1)) as usize);
        }
        order
    }
}

/// Timeouts begun and dropped in a round.
const TIMEOUTS: usize = 100_000;

/// Nanoseconds an operation in each round, by kind.
#[derive(Default)]
struct Rounds([Vec<f64>; 5]);

const KINDS: [&str; 5] = ["insert", "reset", "cancel", "fire", "timeout"];

impl Rounds {
    fn time<R>(&mut self, kind: usize, count: usize, work: impl FnOnce() -> R) -> R {
        let start = Clock::now();
        let result = work();
        self.0[kind].push(start.elapsed().as_nanos() as f64 / count as f64);
        result
    }

    fn costs(mut self) -> [f64; 5] {
        self.0.each_mut().map(|rounds| {
            rounds.sort_by(f64::total_cmp);
            let best = &rounds[..rounds.len().div_ceil(3)];
            best.iter().sum::<f64>() / best.len() as f64
        })
    }
}

fn poll(sleep: &mut Sleep) -> bool {
    Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// On a loop whose clock stands still, so that nothing fires but by `advance`.
async fn on_the_loop(count: usize) -> [f64; 5] {
    let (mut random, mut rounds) = (Random(count as u64), Rounds::default());
    for _ in 0..OPERATIONS.div_ceil(count) {
        let start = Instant::now();
        let at = |ns: u64| start + Duration::from_nanos(ns);
        let fresh = |random: &mut Random| -> Vec<Option<Sleep>> {
            (0..count).map(|_| Some(time::sleep_until(at(random.deadline_ns())))).collect()
        };
        let mut sleeps = fresh(&mut random);
        rounds.time(0, count, || sleeps.iter_mut().flatten().for_each(|sleep| assert!(!poll(sleep))));
        rounds.time(4, TIMEOUTS, || {
            for index in 0..TIMEOUTS as u64 {
                let mut timeout = time::sleep_until(at(TIMEOUT_NS + index * 1000));
                assert!(!poll(&mut timeout));
            }
        });
        let order = random.order(count);
        let later: Vec<Instant> = (0..count).map(|_| at(random.deadline_ns())).collect();
        rounds.time(1, count, || {
            for (&index, &deadline) in order.iter().zip(&later) {
                Pin::new(sleeps[index as usize].as_mut().unwrap()).reset(deadline);
            }
        });
        let order = random.order(count);
        rounds.time(2, count, || order.iter().for_each(|&index| drop(sleeps[index as usize].take())));
        let mut sleeps = fresh(&mut random);
        sleeps.iter_mut().flatten().for_each(|sleep| assert!(!poll(sleep)));
        let before = Clock::now();
        for _ in 0..100 {
            time::advance(Duration::from_nanos(2 * HOUR_NS / 100)).await;
        }
        rounds.0[3].push(before.elapsed().as_nanos() as f64 / count as f64);
        assert!(sleeps.iter_mut().flatten().all(poll));
    }
    rounds.costs()
}

/// The same bookkeeping in an ordered map.
fn in_a_map(count: usize) -> [f64; 5] {
    let (mut random, mut rounds) = (Random(count as u64), Rounds::default());
    for _ in 0..OPERATIONS.div_ceil(count) {
        let mut map = BTreeMap::new();
        let mut keys: Vec<(u64, u32)> = (0..count as u32).map(|index| (random.deadline_ns(), index)).collect();
        rounds.time(0, count, || keys.iter().for_each(|&key| drop(map.insert(key, Waker::noop().clone()))));
        rounds.time(4, TIMEOUTS, || {
            for index in 0..TIMEOUTS as u64 {
                let key = (TIMEOUT_NS + index * 1000, u32::MAX);
                map.insert(key, Waker::noop().clone());
                drop(map.remove(&key));
            }
        });
        let order = random.order(count);
        let later: Vec<u64> = (0..count).map(|_| random.deadline_ns()).collect();
        rounds.time(1, count, || {
            for (&index, &deadline_ns) in order.iter().zip(&later) {
                let key = &mut keys[index as usize];
                let waker = map.remove(key).unwrap();
                *key = (deadline_ns, index);
                map.insert(*key, waker);
            }
        });
        let order = random.order(count);
        rounds.time(2, count, || order.iter().for_each(|&index| drop(map.remove(&keys[index as usize]))));
        keys.iter().for_each(|&key| drop(map.insert(key, Waker::noop().clone())));
        rounds.time(3, count, || {
            while let Some((_, waker)) = map.pop_first() {
                waker.wake();
            }
        });
    }
    rounds.costs()
}

/// How long it takes to make a loop, and to end it.
fn start_up() {
    let mut made_ns = Vec::new();
    let mut ended_ns = Vec::new();
    for _ in 0..200 {
        let start = Clock::now();
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {});
        made_ns.push(start.elapsed().as_nanos());
        let start = Clock::now();
        drop(event_loop);
        ended_ns.push(start.elapsed().as_nanos());
    }
    for (what, mut times) in [("a loop is made and run in", made_ns), ("and ended in", ended_ns)] {
        times.sort_unstable();
        println!("{what} {} µs (best {}, worst {})", times[100] / 1000, times[0] / 1000, times[199] / 1000);
    }
}

fn main() {
    start_up();
    let event_loop = EventLoop::builder().start_paused(true).build().unwrap();
    let rows: Vec<_> =
        PENDING.iter().map(|&count| (count, event_loop.block_on(on_the_loop(count)), in_a_map(count))).collect();
    println!("\nns an operation      {}", PENDING.map(|count| format!("{count:>10}")).concat());
    for (kind, name) in KINDS.iter().enumerate() {
        let line = |cost: &dyn Fn(usize) -> f64| {
            let costs: String = (0..rows.len()).map(|row| format!("{:>10.1}", cost(row))).collect();
            format!("{costs}   × {:.1}", cost(rows.len() - 1) / cost(0))
        };
        println!("{name:<8} loop         {}", line(&|row| rows[row].1[kind]));
        println!("{:<8} BTreeMap     {}", "", line(&|row| rows[row].2[kind]));
    }
}
