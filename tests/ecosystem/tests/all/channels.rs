//! Channels, locks and events of others, between two loops and threads that have none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, Listener};
use futures::future::join_all;
use ringtoss_ecosystem::{OtherLoop, run};
use tokio::sync::{Barrier, Notify, Semaphore, broadcast, mpsc, oneshot, watch};

/// Messages of each sender.
const MANY: u64 = 5000;

/// Every sender's messages have come, in its order.
#[derive(Default)]
struct Received {
    next: [u64; 3],
}

impl Received {
    fn take(&mut self, (sender, number): (usize, u64)) {
        assert_eq!(number, self.next[sender], "of sender {sender}");
        self.next[sender] += 1;
    }

    fn check(&self) {
        assert_eq!(self.next, [MANY; 3]);
    }
}

/// A bounded channel with senders on this loop, on another and on a plain thread, and with the receiver on the other loop.
macro_rules! from_everywhere {
    ($test:ident, $channel:expr, $send:ident, $send_blocking:ident, $receive:ident) => {
        #[test]
        fn $test() {
            run(async {
                let other = OtherLoop::start();
                let (sender, receiver) = $channel;
                let (second, third) = (sender.clone(), sender.clone());
                let plain = std::thread::spawn(move || {
                    for number in 0..MANY {
                        third.$send_blocking((2, number)).unwrap();
                    }
                });
                let there = other.handle().spawn(async move {
                    for number in 0..MANY {
                        second.$send((1, number)).await.unwrap();
                    }
                });
                let received = other.handle().spawn(async move {
                    #[allow(unused_mut, reason = "some receivers are changed by it")]
                    let mut receiver = receiver;
                    let mut received = Received::default();
                    while let Some(message) = $receive!(receiver) {
                        received.take(message);
                    }
                    received
                });
                for number in 0..MANY {
                    sender.$send((0, number)).await.unwrap();
                }
                drop(sender);
                there.await.unwrap();
                received.await.unwrap().check();
                plain.join().unwrap();
            });
        }
    };
}

macro_rules! recv_option {
    ($receiver:ident) => {
        $receiver.recv().await
    };
}

macro_rules! recv_result {
    ($receiver:ident) => {
        $receiver.recv().await.ok()
    };
}

macro_rules! recv_async {
    ($receiver:ident) => {
        $receiver.recv_async().await.ok()
    };
}

from_everywhere!(tokio_mpsc, mpsc::channel(8), send, blocking_send, recv_option);
from_everywhere!(async_channels, async_channel::bounded(8), send, send_blocking, recv_result);
from_everywhere!(flumes, flume::bounded(8), send_async, send, recv_async);

/// And the other way: a plain thread receives what both loops send.
#[test]
fn a_plain_thread_receives() {
    run(async {
        let other = OtherLoop::start();
        let (tokio_sender, mut tokio_receiver) = mpsc::channel(4);
        let (async_sender, async_receiver) = async_channel::bounded(4);
        let (flume_sender, flume_receiver) = flume::bounded(4);
        let plain = std::thread::spawn(move || {
            for _ in 0..2 * MANY {
                let of_tokio = tokio_receiver.blocking_recv().unwrap();
                let of_async = async_receiver.recv_blocking().unwrap();
                let of_flume = flume_receiver.recv().unwrap();
                assert_eq!((of_tokio, of_async), (7, 8));
                assert_eq!(of_flume, 9);
            }
        });
        let send = || {
            let (tokio, asynchronous, flume) = (tokio_sender.clone(), async_sender.clone(), flume_sender.clone());
            async move {
                for _ in 0..MANY {
                    tokio.send(7).await.unwrap();
                    asynchronous.send(8).await.unwrap();
                    flume.send_async(9).await.unwrap();
                }
            }
        };
        let there = other.handle().spawn(send());
        send().await;
        there.await.unwrap();
        plain.join().unwrap();
    });
}

/// A counter that only its lock keeps whole.
async fn count_with_tokio(lock: Arc<tokio::sync::Mutex<u64>>) {
    for _ in 0..MANY {
        let mut count = lock.lock().await;
        let before = *count;
        ringtoss::yield_now().await;
        *count = before + 1;
    }
}

async fn count_with_async_lock(lock: Arc<async_lock::Mutex<u64>>) {
    for _ in 0..MANY {
        let mut count = lock.lock().await;
        let before = *count;
        ringtoss::yield_now().await;
        *count = before + 1;
    }
}

#[test]
fn locks_are_held_across_an_await_by_one_at_a_time() {
    run(async {
        let other = OtherLoop::start();
        let (one, two) = (Arc::new(tokio::sync::Mutex::new(0)), Arc::new(async_lock::Mutex::new(0)));
        let (one_there, two_there) = (one.clone(), two.clone());
        let plain = std::thread::spawn(move || {
            for _ in 0..MANY {
                *one_there.blocking_lock() += 1;
                *two_there.lock_blocking() += 1;
            }
        });
        let tasks: Vec<_> = (0..2)
            .flat_map(|_| {
                let there = other.handle();
                [
                    there.spawn(count_with_tokio(one.clone())),
                    there.spawn(count_with_async_lock(two.clone())),
                    ringtoss::spawn(count_with_tokio(one.clone())),
                    ringtoss::spawn(count_with_async_lock(two.clone())),
                ]
            })
            .collect();
        join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
        plain.join().unwrap();
        assert_eq!((*one.lock().await, *two.lock().await), (5 * MANY, 5 * MANY));
    });
}

#[test]
fn semaphores_and_barriers_of_both() {
    run(async {
        let other = OtherLoop::start();
        let (tokio_permits, async_permits) = (Arc::new(Semaphore::new(3)), Arc::new(async_lock::Semaphore::new(3)));
        let (tokio_barrier, async_barrier) = (Arc::new(Barrier::new(8)), Arc::new(async_lock::Barrier::new(8)));
        let (inside, leaders) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let work = || {
            let (tokio_permits, async_permits) = (tokio_permits.clone(), async_permits.clone());
            let (tokio_barrier, async_barrier) = (tokio_barrier.clone(), async_barrier.clone());
            let (inside, leaders) = (inside.clone(), leaders.clone());
            async move {
                for _ in 0..200 {
                    let _one = tokio_permits.acquire().await.unwrap();
                    let _two = async_permits.acquire().await;
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                    ringtoss::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
                for _ in 0..200 {
                    let first = tokio_barrier.wait().await.is_leader();
                    let second = async_barrier.wait().await.is_leader();
                    leaders.fetch_add(u64::from(first) + u64::from(second), Ordering::SeqCst);
                }
            }
        };
        let there: Vec<_> = (0..4).map(|_| other.handle().spawn(work())).collect();
        join_all((0..4).map(|_| work())).await;
        join_all(there).await.into_iter().for_each(|task| task.unwrap());
        assert_eq!(leaders.load(Ordering::SeqCst), 400);
    });
}

/// The rest of tokio's: each round goes there and back.
#[test]
fn tokios_oneshot_watch_broadcast_and_notify() {
    run(async {
        let other = OtherLoop::start();
        let (watched, mut watching) = watch::channel(0);
        let (spoken, mut heard) = broadcast::channel(4);
        let (ask, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<u64>>();
        let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (going, went) = (go.clone(), gone.clone());
        let there = other.handle().spawn(async move {
            for round in 1..=1000 {
                watching.wait_for(|seen| *seen == round).await.unwrap();
                assert_eq!(heard.recv().await.unwrap(), round);
                going.notified().await;
                went.notify_one();
                asked.recv().await.unwrap().send(round).unwrap();
            }
        });
        for round in 1..=1000 {
            watched.send(round).unwrap();
            spoken.send(round).unwrap();
            go.notify_one();
            gone.notified().await;
            let (sender, receiver) = oneshot::channel();
            ask.send(sender).unwrap();
            assert_eq!(receiver.await.unwrap(), round);
        }
        there.await.unwrap();
    });
}

/// A ball goes round a plain thread and two loops.
#[test]
fn events_wake_whoever_listens() {
    const ROUNDS: u64 = 3000;

    /// Tells the others when it has become somebody's turn.
    struct Ball {
        at: AtomicU64,
        moved: Event,
    }

    impl Ball {
        fn is_for(&self, player: u64) -> bool {
            self.at.load(Ordering::SeqCst) % 3 == player
        }

        fn pass(&self) {
            self.at.fetch_add(1, Ordering::SeqCst);
            self.moved.notify(usize::MAX);
        }
    }

    async fn play(ball: Arc<Ball>, player: u64) {
        for _ in 0..ROUNDS {
            while !ball.is_for(player) {
                let moved = ball.moved.listen();
                if ball.is_for(player) {
                    break;
                }
                moved.await;
            }
            ball.pass();
        }
    }

    run(async {
        let other = OtherLoop::start();
        let ball = Arc::new(Ball { at: AtomicU64::new(0), moved: Event::new() });
        let thrown = ball.clone();
        let plain = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                while !thrown.is_for(2) {
                    let moved = thrown.moved.listen();
                    if thrown.is_for(2) {
                        break;
                    }
                    moved.wait();
                }
                thrown.pass();
            }
        });
        let there = other.handle().spawn(play(ball.clone(), 1));
        play(ball.clone(), 0).await;
        there.await.unwrap();
        plain.join().unwrap();
        assert_eq!(ball.at.load(Ordering::SeqCst), 3 * ROUNDS);
    });
}

/// A lock that many read and one writes, on both loops.
#[test]
fn readers_and_writers_of_both() {
    run(async {
        let other = OtherLoop::start();
        let tokio_lock = Arc::new(tokio::sync::RwLock::new((0u64, 0u64)));
        let async_lock = Arc::new(async_lock::RwLock::new((0u64, 0u64)));
        let work = || {
            let (tokio_lock, async_lock) = (tokio_lock.clone(), async_lock.clone());
            async move {
                for round in 0..500 {
                    if round % 5 == 0 {
                        let (mut one, mut two) = (tokio_lock.write().await, async_lock.write().await);
                        (one.0, two.0) = (one.0 + 1, two.0 + 1);
                        ringtoss::yield_now().await;
                        (one.1, two.1) = (one.1 + 1, two.1 + 1);
                    } else {
                        let (one, two) = (tokio_lock.read().await, async_lock.read().await);
                        assert_eq!((one.0, two.0), (one.1, two.1), "no half of a change is seen");
                    }
                }
            }
        };
        let there: Vec<_> = (0..3).map(|_| other.handle().spawn(work())).collect();
        join_all((0..3).map(|_| work())).await;
        join_all(there).await.into_iter().for_each(|task| task.unwrap());
        assert_eq!((*tokio_lock.read().await, *async_lock.read().await), ((600, 600), (600, 600)));
    });
}
