//! Thousands of operations and wakes against a host that is woken, turns for nothing, and turns late.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringtoss::compat::Guest;
use ringtoss::fs::File;
use ringtoss::io::AsyncFd;
use ringtoss::net::{TcpListener, TcpStream, UnixStream};
use ringtoss::{EventLoop, time};
use rustix::event::{EventfdFlags, eventfd};

use crate::util::{Random, is_called, pattern, pattern_at, turn_until, wait};

/// Waits as a host does that now and then does something else first.
fn wait_somehow(guest: &Guest, random: &mut Random) {
    match random.below(8) {
        // Turned for nothing, most likely.
        0 => {}
        1 => std::thread::yield_now(),
        // Late.
        2 => std::thread::sleep(Duration::from_micros(random.below(200))),
        _ => wait(guest),
    }
}

fn turn_until_all_are_done(guest: &Guest, left: &Cell<usize>, seed: u64) {
    let mut random = Random(seed);
    let mut idle = 0;
    while left.get() > 0 {
        if idle > 100 {
            // It does come to it if nothing but the descriptor is looked at.
            wait(guest);
        } else {
            wait_somehow(guest, &mut random);
        }
        let before = guest.metrics();
        guest.turn(1 + random.below(64) as usize);
        let after = guest.metrics();
        idle = if (before.polls, before.completions) == (after.polls, after.completions) { idle + 1 } else { 0 };
    }
}

/// Counts one down when it is dropped, done or not.
struct Counts(Rc<Cell<usize>>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn tasks(guest: &Guest, count: usize) -> (Rc<Cell<usize>>, impl Fn() -> Counts + use<>) {
    assert!(!is_called(guest));
    let left = Rc::new(Cell::new(count));
    let counts = left.clone();
    (left, move || Counts(counts.clone()))
}

#[test]
fn files_sockets_timers_and_wakes_from_other_threads_are_never_missed() {
    let guest = Guest::new().unwrap();
    let file = pattern(1 << 20);
    let (left, counts) = tasks(&guest, 4 * 16);
    for index in 0..16u64 {
        let (path, count) = (file.path().to_owned(), counts());
        guest.spawn(async move {
            let _count = count;
            let file = File::open(path).await.unwrap();
            for step in 0..200 {
                let offset = (index * 7919 + step * 4099) % (1 << 19);
                let (result, bytes) = file.read_at(Vec::with_capacity(512), offset).await;
                assert_eq!(result.unwrap(), 512);
                assert_eq!(bytes[511], pattern_at(offset as usize + 511));
            }
        });
        let count = counts();
        guest.spawn(async move {
            let _count = count;
            let mut random = Random(index + 1);
            for _ in 0..30 {
                time::sleep(Duration::from_micros(random.below(1500))).await;
            }
        });
        let count = counts();
        guest.spawn(async move {
            let _count = count;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (client, server) = futures::join!(TcpStream::connect(address), listener.accept());
            let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
            let echo = ringtoss::spawn(async move {
                loop {
                    let (result, bytes) = server.read(Vec::with_capacity(64)).await;
                    if result.unwrap() == 0 {
                        return;
                    }
                    server.write_all(bytes).await.0.unwrap();
                }
            });
            for step in 0..100u8 {
                client.write_all(vec![step; 32]).await.0.unwrap();
                assert_eq!(client.read_exact(Vec::with_capacity(32), 32).await.1, [step; 32]);
            }
            drop(client);
            echo.await.unwrap();
        });
        let count = counts();
        guest.spawn(async move {
            let _count = count;
            // From the pool's threads.
            for step in 0..100 {
                assert_eq!(ringtoss::spawn_blocking(move || step).await.unwrap(), step);
            }
        });
    }
    turn_until_all_are_done(&guest, &left, 7);
    while guest.turn(128) {}
    assert_eq!(guest.metrics().stale_completions, 0);
    assert!(!is_called(&guest));
}

#[test]
fn a_wake_from_another_thread_always_calls_the_guest() {
    // One wake at a time, so that each has to do it all by itself.
    let guest = Guest::new().unwrap();
    let (to_thread, orders) = std::sync::mpsc::channel::<tokio::sync::oneshot::Sender<u32>>();
    let thread = std::thread::spawn(move || {
        let mut random = Random(11);
        for (round, sender) in (0..).zip(orders) {
            for _ in 0..random.below(300) {
                std::hint::spin_loop();
            }
            sender.send(round).unwrap();
        }
    });
    let rounds = 5000;
    let task = guest.spawn(async move {
        for round in 0..rounds {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            to_thread.send(sender).unwrap();
            assert_eq!(receiver.await.unwrap(), round);
        }
    });
    let mut turns = 0;
    while !task.is_finished() {
        wait(&guest);
        guest.turn(128);
        turns += 1;
    }
    thread.join().unwrap();
    assert!(turns <= 4 * rounds, "{turns} turns for {rounds} wakes");
}

#[test]
fn spawns_from_many_threads_all_arrive() {
    let guest = Guest::new().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let handle = guest.handle();
            std::thread::spawn(move || {
                let tasks: Vec<_> = (0..1000u32).map(|index| handle.spawn(async move { index })).collect();
                let sum: u32 = tasks.into_iter().map(|task| futures::executor::block_on(task).unwrap()).sum();
                assert_eq!(sum, 999 * 500);
            })
        })
        .collect();
    let patience = Instant::now() + crate::patience::patience();
    while !threads.iter().all(|thread| thread.is_finished()) {
        assert!(Instant::now() < patience, "the guest is never called");
        if is_called(&guest) {
            guest.turn(128);
        }
        std::thread::yield_now();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Has a thread send something, again and again, but only when the guest has nothing to do: each has to call it all by itself.
fn one_at_a_time(guest: Guest, send: impl Fn(u64) + Send + 'static, receive: impl AsyncFn(u64) + 'static) {
    let (may_send, orders) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || orders.iter().for_each(send));
    let received = Rc::new(Cell::new(0));
    let count = received.clone();
    let task = guest.spawn(async move {
        for round in 1.. {
            receive(round).await;
            count.set(round);
        }
    });
    for round in 1..=12 {
        while is_called(&guest) {
            guest.turn(128);
        }
        may_send.send(round).unwrap();
        turn_until(&guest, || received.get() == round);
    }
    drop((may_send, task));
    thread.join().unwrap();
    assert!(guest.metrics().turns < 100, "{:?}", guest.metrics());
}

/// Some kernels signal a registered eventfd for the first completion only whose reason is a poll.
#[test]
fn what_a_thread_sends_always_calls_the_guest() {
    messages_one_at_a_time(Guest::new().unwrap());
    messages_one_at_a_time(EventLoop::builder().registered_files(true).build_guest().unwrap());
    // There a thread of the kernel's completes them.
    messages_one_at_a_time(EventLoop::builder().kernel_thread(Duration::from_millis(1), None).build_guest().unwrap());
}

fn messages_one_at_a_time(guest: Guest) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let stream = tokio::sync::Mutex::new(UnixStream::from(ours));
    one_at_a_time(
        guest,
        move |round| std::io::Write::write_all(&mut &theirs, &[round as u8]).unwrap(),
        async move |round| {
            let mut stream = stream.lock().await;
            assert_eq!(stream.read_exact(Vec::with_capacity(1), 1).await.1, [round as u8]);
        },
    );
}

/// And these do not where an eventfd is what is polled.
#[test]
fn an_eventfd_that_a_thread_writes_always_calls_the_guest() {
    let event = std::sync::Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap());
    let ours = AsyncFd::new(event.try_clone().unwrap()).unwrap();
    one_at_a_time(
        Guest::new().unwrap(),
        move |round| assert_eq!(rustix::io::write(&event, &round.to_ne_bytes()), Ok(8)),
        async move |round| {
            let mut value = [0; 8];
            ours.readable().await.unwrap().clear_ready();
            rustix::io::read(ours.get_ref(), &mut value).unwrap();
            assert_eq!(u64::from_ne_bytes(value), round);
        },
    );
}

/// Worker threads of the kernel's complete more than the queue holds, before the host comes to it.
#[test]
fn completions_that_did_not_fit_call_the_guest() {
    let guest = EventLoop::builder().submission_entries(8).completion_entries(16).build_guest().unwrap();
    let file = pattern(4096);
    for _ in 0..20 {
        // Each opens in a worker thread.
        let tasks: Vec<_> = (0..100).map(|_| guest.spawn(File::open(file.path()))).collect();
        turn_until(&guest, || tasks.iter().all(|task| task.is_finished()));
    }
    while guest.turn(128) {}
    assert_eq!(guest.metrics().in_flight, 0);
}
