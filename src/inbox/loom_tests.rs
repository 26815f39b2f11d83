//! Models of the inbox: run with `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::Inbox;

/// Explores interleavings with at most `preemptions` forced switches.
fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

/// Two threads that push something each and kick, and how many of them are seen to have pushed.
fn two_pushers(inbox: &Arc<Inbox<()>>) -> ([thread::JoinHandle<()>; 2], impl Fn() -> usize) {
    let queues: Arc<[AtomicUsize; 2]> = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let pushers = [0, 1].map(|index| {
        let (inbox, queues) = (Arc::clone(inbox), Arc::clone(&queues));
        thread::spawn(move || {
            queues[index].store(1, Ordering::Relaxed);
            inbox.kick();
        })
    });
    (pushers, move || queues.iter().filter(|queue| queue.load(Ordering::Relaxed) == 1).count())
}

/// Pushers that only store to an atomic, with no order of its own: the two fences alone must see to
/// it that the loop does not sleep through them. A lost wake-up is a deadlock here.
#[test]
fn no_push_is_slept_through() {
    model(3, || {
        let inbox = Inbox::<()>::new(1).unwrap();
        let (pushers, pushed) = two_pushers(&inbox);
        let mut sleeps = 0;
        let mut seen = 0;
        while seen < 2 {
            let _anew = inbox.announce_sleep();
            let now = pushed();
            if now == seen {
                sleeps += 1;
                inbox.event.wait();
            }
            inbox.announce_awake();
            seen = now;
        }
        // A kick that came late may have ended one more sleep than there was something to see.
        assert!(sleeps <= 3);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

/// A loop that leaves its announcement standing while it is awake, now and then or always, and looks again only if it had to announce
/// anew. It may come upon a kick's completion between its look and the announcement.
#[test]
fn no_push_is_slept_through_where_an_announcement_stands() {
    for (comes_upon_kicks, is_wary) in [(false, false), (true, false), (false, true), (true, true)] {
        model(3, move || {
            let inbox = Inbox::<()>::new(1).unwrap();
            let (pushers, pushed) = two_pushers(&inbox);
            let mut sleeps = 0;
            loop {
                let seen = pushed();
                if seen == 2 {
                    break;
                }
                if comes_upon_kicks {
                    inbox.event.take();
                }
                if inbox.announce_sleep() && pushed() > seen {
                    continue;
                }
                inbox.event.wait();
                sleeps += 1;
                if is_wary && sleeps == 1 {
                    inbox.announce_awake();
                }
            }
            // As above: one more than there was something to see.
            assert!(sleeps <= 3);
            for pusher in pushers {
                pusher.join().unwrap();
            }
        });
    }
}

/// A loop that looks for a while before it announces that it sleeps (`Builder::spin`): nobody kicks it while it looks, and it
/// sleeps through nothing that comes when it has just looked for the last time.
#[test]
fn a_spinning_loop_is_not_kicked_and_sleeps_through_nothing() {
    model(3, || {
        let inbox = Inbox::<()>::new(1).unwrap();
        let (pushers, pushed) = two_pushers(&inbox);
        let (mut seen, mut announced) = (0, false);
        while seen < 2 {
            let looked = (0..2).map(|_| pushed()).find(|&now| now > seen);
            if let Some(now) = looked {
                seen = now;
                continue;
            }
            announced = true;
            let _anew = inbox.announce_sleep();
            let now = pushed();
            if now == seen {
                inbox.event.wait();
            }
            inbox.announce_awake();
            seen = now;
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert!(announced || inbox.event.signals() == 0, "a loop that is awake was kicked");
    });
}

#[test]
fn mail_wakes_a_sleeping_loop() {
    model(3, || {
        let inbox = Inbox::new(1).unwrap();
        let pushers = [1, 2].map(|mail| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.post(mail).unwrap())
        });
        let mut sum = 0;
        loop {
            while let Some(mail) = inbox.pop() {
                sum += mail;
            }
            if sum == 3 {
                break;
            }
            let _anew = inbox.announce_sleep();
            if inbox.is_empty() {
                inbox.event.wait();
            }
            inbox.announce_awake();
        }
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

/// However many kick, a sleep that was announced once is ended by one signal.
#[test]
fn one_signal_a_sleep() {
    loom::model(|| {
        let inbox = Inbox::<()>::new(1).unwrap();
        let _anew = inbox.announce_sleep();
        let kickers = [0, 1].map(|_| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.kick())
        });
        inbox.kick();
        for kicker in kickers {
            kicker.join().unwrap();
        }
        assert_eq!(inbox.event.signals(), 1);
    });
}

/// What was accepted is there to drain when `close` returns; what was not came back.
#[test]
fn closing_loses_nothing_and_lets_nothing_in() {
    model(4, || {
        let inbox = Inbox::new(1).unwrap();
        let pushers = [1, 2].map(|mail| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || match inbox.post(mail) {
                Ok(()) => mail,
                Err(back) => {
                    assert_eq!(back, mail);
                    0
                }
            })
        });
        inbox.close();
        let mut drained = 0;
        while let Some(mail) = inbox.pop() {
            drained += mail;
        }
        let accepted: i32 = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
        assert_eq!(drained, accepted);
        assert!(inbox.is_empty());
        assert_eq!(inbox.post(9), Err(9));
    });
}

/// What a sender does inside the gate happened before `close` returns, without help from a queue.
#[test]
fn closing_waits_for_a_posting() {
    loom::model(|| {
        let inbox = Inbox::<()>::new(1).unwrap();
        let entered = Arc::new(loom::cell::UnsafeCell::new(0));
        let sender = thread::spawn({
            let (inbox, entered) = (Arc::clone(&inbox), Arc::clone(&entered));
            move || {
                if let Some(posting) = inbox.enter() {
                    // SAFETY: whether this races with the read below is what the model is about.
                    entered.with_mut(|value| unsafe { *value += 1 });
                    drop(posting);
                }
            }
        });
        inbox.close();
        // SAFETY: as above.
        let _ = entered.with(|value| unsafe { *value });
        sender.join().unwrap();
    });
}
