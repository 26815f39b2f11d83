//! The waker of the future that `block_on` runs.

use std::thread;

use super::*;

fn on_a_thread(run: impl FnOnce() + Send + 'static) {
    thread::spawn(run).join().unwrap();
}

#[test]
fn it_is_woken_here_and_elsewhere_and_says_so_once() {
    let mini = MiniLoop::new();
    let main = &mini.main;
    assert!(!main.take_woken());
    let waker = main.waker();
    waker.wake_by_ref();
    assert!(main.is_woken() && main.take_woken() && !main.is_woken() && !main.take_woken());
    let clone = waker.clone();
    on_a_thread(move || clone.wake());
    assert!(main.is_woken() && main.take_woken() && !main.take_woken());
    // Both at once is one wake.
    waker.wake_by_ref();
    mini.outside(|| waker.wake_by_ref());
    assert!(main.take_woken() && !main.take_woken());
}

#[test]
fn only_its_own_waker_is_taken() {
    let mini = MiniLoop::new();
    assert!(mini.main.take(mini.main.waker()).is_ok());
    assert!(mini.main.take_woken());
    assert!(mini.main.take(Waker::noop().clone()).is_err());
    let another = super::super::MainWaker::new(mini.inbox.clone());
    assert!(mini.main.take(another.waker()).is_err_and(|waker| waker.will_wake(&another.waker())));
    assert!(!mini.main.wake_if(&another.waker()) && !mini.main.wake_if(Waker::noop()));
    assert!(!mini.main.take_woken() && !another.take_woken());
    assert!(mini.main.wake_if(&mini.main.waker()));
    assert!(mini.main.take_woken() && !mini.main.take_woken());
}

/// References are made and given up on both sides of the thread, in every order, before and after the loop's end.
#[test]
fn every_reference_is_accounted_for() {
    let mini = MiniLoop::new();
    let count = || mini.main.references();
    let waker = mini.main.waker();
    assert_eq!(count(), (2, 0));
    let clones: Vec<_> = (0..4).map(|_| waker.clone()).collect();
    assert_eq!(count(), (6, 0));
    drop(clones);
    assert_eq!(count(), (6, 4), "kept, not given up");
    let here = waker.clone();
    let sent = waker.clone();
    assert_eq!(count(), (6, 2), "taken from those that were kept");
    on_a_thread(move || drop(sent.clone()));
    assert_eq!(count(), (5, 2), "given up elsewhere");
    let made = thread::spawn({
        let waker = waker.clone();
        move || (waker.clone(), waker)
    });
    drop(made.join().unwrap());
    assert_eq!(count(), (6, 3), "what was made elsewhere is kept here");
    mini.main.close();
    assert_eq!(count(), (3, 0), "ours, and the two wakers");
    let late = here.clone();
    drop((here, late, waker));
    assert_eq!(count(), (1, 0));
}

#[test]
fn it_outlives_its_loop() {
    let waker = {
        let mini = MiniLoop::new();
        drop(mini.main.waker());
        mini.main.waker()
    };
    waker.wake_by_ref();
    on_a_thread(move || drop(waker.clone()));
}
