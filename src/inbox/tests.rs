//! The inbox with real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Inbox;

/// The counter of the eventfd, which this resets: how many kicks there were.
fn kicks<M>(inbox: &Inbox<M>) -> u64 {
    let mut count = 0u64;
    // SAFETY: eight writable bytes.
    let read = unsafe { libc::read(inbox.eventfd(), (&raw mut count).cast(), 8) };
    if read == 8 { count } else { 0 }
}

#[test]
fn mail_arrives_in_order() {
    let inbox = Inbox::new(3).unwrap();
    assert_eq!(inbox.id(), 3);
    assert!(inbox.is_empty());
    for number in 0..100 {
        inbox.post(number).unwrap();
    }
    assert!(!inbox.is_empty());
    for number in 0..100 {
        assert_eq!(inbox.pop(), Some(number));
    }
    assert_eq!(inbox.pop(), None);
}

#[test]
fn a_loop_that_is_awake_is_not_kicked() {
    let inbox = Inbox::new(1).unwrap();
    inbox.post(()).unwrap();
    inbox.kick();
    let _anew = inbox.announce_sleep();
    inbox.announce_awake();
    inbox.post(()).unwrap();
    assert_eq!(kicks(&inbox), 0);
}

#[test]
fn a_sleep_is_ended_by_one_kick() {
    let inbox = Inbox::new(1).unwrap();
    for _ in 0..3 {
        let _anew = inbox.announce_sleep();
        for _ in 0..10 {
            inbox.post(()).unwrap();
            inbox.kick();
        }
        assert_eq!(kicks(&inbox), 1);
        inbox.announce_awake();
    }
}

#[test]
fn a_closed_inbox_gives_the_mail_back() {
    let inbox = Inbox::new(1).unwrap();
    inbox.post("in time").unwrap();
    inbox.close();
    assert_eq!(inbox.post("late"), Err("late"));
    assert!(inbox.enter().is_none());
    assert_eq!(inbox.pop(), Some("in time"));
    assert_eq!(inbox.pop(), None);
    inbox.close();
}

#[test]
fn closing_waits_for_those_inside_and_loses_nothing() {
    for _ in 0..if cfg!(miri) { 3 } else { 500 } {
        let inbox = Inbox::new(1).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (inbox, accepted) = (Arc::clone(&inbox), Arc::clone(&accepted));
                thread::spawn(move || {
                    while inbox.post(()).is_ok() {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        thread::yield_now();
        inbox.close();
        let mut taken = 0;
        while inbox.pop().is_some() {
            taken += 1;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((taken, inbox.pop()), (accepted.load(Ordering::Relaxed), None));
    }
}
