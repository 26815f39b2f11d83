//! Models that are too large for loom, explored at random by shuttle: run with `.ci/long shuttle`.
//!
//! Shuttle knows one order of all accesses, so it finds what goes wrong by who comes when, and leaves to loom what goes wrong by
//! what an ordering allows. `RINGTOSS_ITERATIONS` says how many schedules of each are tried.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Barrier;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

use super::models::{Drops, ModelLoop, WakerPlace, drive, leave, take};
use super::{JoinHandle, JoinSet, Scheduler, scope, yield_now};

/// Half of the schedules at random, half by priorities that change a few times.
pub(crate) fn explore(model: impl Fn() + Send + Sync + 'static) {
    let iterations = std::env::var("RINGTOSS_ITERATIONS").ok().and_then(|number| number.parse().ok()).unwrap_or(200);
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    shuttle::check_random(move || again(), iterations / 2 + 1);
    shuttle::check_pct(move || model(), iterations / 2 + 1, 4);
}

fn below(bound: usize) -> usize {
    thread_rng().gen_range(0..bound)
}

/// Words that threads say, each once, to whoever waits for them.
struct Words {
    said: Vec<AtomicUsize>,
    waiting: Vec<WakerPlace>,
}

impl Words {
    fn new(count: usize) -> Arc<Words> {
        let said = (0..count).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Words { said, waiting: (0..count).map(|_| WakerPlace::default()).collect() })
    }

    fn say(&self, word: usize) {
        self.said[word].store(1, Ordering::Relaxed);
        if let Some(waker) = take(&self.waiting[word]) {
            if word % 2 == 0 { waker.wake() } else { waker.wake_by_ref() }
        }
    }

    /// Whoever is dropped, aborted say, leaves its waker behind: it may be woken long after its end.
    async fn hear(&self, word: usize) {
        poll_fn(|cx| {
            leave(&self.waiting[word], cx);
            if self.said[word].load(Ordering::Relaxed) == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// A thread that says all words, the last one first.
fn speaker(words: &Arc<Words>) -> thread::JoinHandle<()> {
    let words = Arc::clone(words);
    thread::spawn(move || (0..words.said.len()).rev().for_each(|word| words.say(word)))
}

async fn child(words: Arc<Words>, number: usize, guard: impl Sized) -> usize {
    let _guard = guard;
    for _ in 0..below(3) {
        yield_now().await;
    }
    words.hear(number).await;
    number
}

/// Does something with a task of another loop: awaits it, aborts it before or after, lets it go.
async fn deal_with(handle: JoinHandle<usize>, number: usize) {
    match below(4) {
        0 => drop(handle),
        1 => {
            handle.abort();
            drop(handle);
        }
        2 => {
            handle.abort();
            if let Ok(output) = handle.await {
                assert_eq!(output, number);
            }
        }
        _ => {
            if let Ok(output) = handle.await {
                assert_eq!(output, number);
            }
        }
    }
}

/// Three loops that spawn on each other, await and abort what they have spawned and end one by one, while a thread wakes their
/// tasks: each future is dropped once, and nothing is waited for in vain.
#[test]
fn loops_that_spawn_on_each_other() {
    const LOOPS: u64 = 3;
    const CHILDREN: usize = 3;
    explore(|| {
        let words = Words::new(LOOPS as usize * CHILDREN);
        let (drops, all) = (Drops::default(), Arc::new(shuttle::sync::Mutex::new(Vec::<Arc<Scheduler>>::new())));
        let barrier = Arc::new(Barrier::new(LOOPS as usize));
        let loops: Vec<_> = (1..=LOOPS)
            .map(|id| {
                let (words, drops, all, barrier) = (words.clone(), drops.clone(), all.clone(), barrier.clone());
                thread::spawn(move || {
                    let model = ModelLoop::new(id);
                    all.lock().unwrap().push(model.scheduler());
                    barrier.wait();
                    let others = all.lock().unwrap().clone();
                    let guard = drops.guard(Some(id));
                    drop(model.owner.spawn(async move {
                        let _guard = guard;
                        for number in 0..CHILDREN {
                            let number = (id as usize - 1) * CHILDREN + number;
                            // A loop that has ended refuses it, and it is dropped here.
                            let task = child(words.clone(), number, drops.guard(None));
                            let handle = others[below(others.len())].spawn_send(task);
                            deal_with(handle, number).await;
                        }
                    }));
                    model.run();
                    model.close();
                })
            })
            .collect();
        let speaker = speaker(&words);
        loops.into_iter().for_each(|one| one.join().unwrap());
        speaker.join().unwrap();
        drop(words);
        assert_eq!(drops.count(), LOOPS as usize * (CHILDREN + 1), "a future was not dropped, or twice");
        for scheduler in std::mem::take(&mut *all.lock().unwrap()) {
            assert_eq!(Arc::strong_count(&scheduler), 1, "a task was not freed");
        }
    });
}

/// A set of tasks on two loops, joined on a third thread, aborted, detached or dropped in the middle.
#[test]
fn a_set_of_tasks_on_two_loops() {
    explore(|| {
        const TASKS: usize = 6;
        let (words, drops) = (Words::new(TASKS), Drops::default());
        let (sender, receiver) = shuttle::sync::mpsc::channel();
        let loops: Vec<_> = (1..=2)
            .map(|id| {
                let (words, drops, sender) = (words.clone(), drops.clone(), sender.clone());
                thread::spawn(move || {
                    let model = ModelLoop::new(id);
                    for number in (0..TASKS).filter(|number| number % 2 == id as usize - 1) {
                        let task = model.owner.spawn(child(words.clone(), number, drops.guard(Some(id))));
                        sender.send(task).unwrap();
                    }
                    drop(sender);
                    model.run();
                    let scheduler = model.scheduler();
                    model.close();
                    scheduler
                })
            })
            .collect();
        drop(sender);
        let speaker = speaker(&words);
        let mut set = JoinSet::new();
        for handle in receiver.iter() {
            set.insert(handle);
        }
        let (stop, way) = (below(TASKS + 1), below(4));
        drive(async {
            let mut joined = 0;
            while joined < stop {
                assert!(set.join_next().await.expect("there are more").unwrap() < TASKS);
                joined += 1;
            }
            match way {
                0 => set.detach_all(),
                1 => drop(set),
                2 => set.shutdown().await,
                _ => {
                    while let Some(result) = set.join_next().await {
                        assert!(result.unwrap() < TASKS);
                        joined += 1;
                    }
                    assert_eq!(joined, TASKS);
                }
            }
        });
        let schedulers: Vec<_> = loops.into_iter().map(|one| one.join().unwrap()).collect();
        speaker.join().unwrap();
        assert_eq!(drops.count(), TASKS, "a future was not dropped, or twice");
        // Handles and wakers outlive their loops; now they are gone.
        drop(words);
        for scheduler in schedulers {
            assert_eq!(Arc::strong_count(&scheduler), 1, "a task was not freed");
        }
    });
}

/// A scope whose children and body are woken by threads, with one that fails at some moment.
#[test]
fn a_scope_with_many_children() {
    explore(|| {
        const CHILDREN: usize = 5;
        // The last one is the body's: a word has one listener.
        let (words, drops) = (Words::new(CHILDREN + 1), Drops::default());
        let fails = below(2 * CHILDREN);
        let speakers = [speaker(&words), speaker(&words)];
        let borrowed = AtomicUsize::new(0);
        let result: Result<usize, usize> = drive(scope(async |s| {
            for number in 0..CHILDREN {
                let (words, guard, borrowed) = (words.clone(), drops.guard(None), &borrowed);
                s.spawn(async move {
                    let number = child(words, number, guard).await;
                    borrowed.fetch_add(1, Ordering::Relaxed);
                    if number == fails { Err(number) } else { Ok(()) }
                });
            }
            words.hear(CHILDREN).await;
            Ok(7)
        }));
        assert_eq!(result, if fails < CHILDREN { Err(fails) } else { Ok(7) });
        let ended = borrowed.load(Ordering::Relaxed);
        assert!(if fails < CHILDREN { (1..=CHILDREN).contains(&ended) } else { ended == CHILDREN });
        assert_eq!(drops.count(), CHILDREN, "a child outlived its scope, or was dropped twice");
        for speaker in speakers {
            speaker.join().unwrap();
        }
    });
}

/// A loop ends while threads wake, abort and spawn.
#[test]
fn a_loop_ends_among_others() {
    explore(|| {
        const TASKS: usize = 4;
        let (words, drops) = (Words::new(TASKS), Drops::default());
        let model = ModelLoop::new(1);
        let scheduler = model.scheduler();
        let mut handles: Vec<_> =
            (0..TASKS).map(|number| model.owner.spawn(child(words.clone(), number, drops.guard(Some(1))))).collect();
        let speakers = [speaker(&words), speaker(&words)];
        let aborting = thread::spawn({
            let handles: Vec<_> = handles.drain(..TASKS / 2).collect();
            move || handles.into_iter().for_each(|handle| handle.abort())
        });
        let (spawns, late) = (drops.clone(), words.clone());
        let spawning = thread::spawn(move || {
            let handles: Vec<_> =
                (0..2).map(|n| scheduler.spawn_send(child(late.clone(), n, spawns.guard(None)))).collect();
            handles.into_iter().map(|handle| drive(handle).is_ok()).filter(|&ran| ran).count()
        });
        for _ in 0..below(4) {
            model.turn();
        }
        model.owner.shutdown();
        for mut handle in handles {
            let ended = drive(poll_fn(|cx| Pin::new(&mut handle).poll(cx)));
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
        aborting.join().unwrap();
        assert!(spawning.join().unwrap() <= 2);
        for speaker in speakers {
            speaker.join().unwrap();
        }
        drop(words);
        assert_eq!(drops.count(), TASKS + 2);
        model.end();
    });
}
