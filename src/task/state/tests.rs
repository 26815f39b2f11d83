//! The word by itself: what each step makes of it. What happens when two of them race is for the models.

use super::*;

/// A word with these references and flags: s(cheduled), r(unning), c(omplete), a(bort), h(andle), j(oin waker).
fn word(references: usize, flags: &str) -> usize {
    let bit = |flag| match flag {
        's' => SCHEDULED,
        'r' => RUNNING,
        'c' => COMPLETE,
        'a' => ABORT,
        'h' => HANDLE,
        'j' => JOIN_WAKER,
        _ => unreachable!(),
    };
    flags.chars().map(bit).sum::<usize>() + references * REFERENCE
}

/// Takes a step from one word to another, and gives what the step has said.
#[track_caller]
fn step<R>(from: (usize, &str), take: impl FnOnce(&State) -> R, to: (usize, &str)) -> R {
    let state = State(AtomicUsize::new(word(from.0, from.1)));
    let said = take(&state);
    assert_eq!(state.0.load(Ordering::Relaxed), word(to.0, to.1), "{from:?} has become {state:?}");
    said
}

#[test]
fn a_life() {
    let state = State::queued(3);
    let is = |references, flags| assert_eq!(state.0.load(Ordering::Relaxed), word(references, flags), "{state:?}");
    is(3, "rh");
    assert_eq!(state.start(), Some(Start::Poll));
    assert!(state.is_running() && !state.is_complete());
    assert_eq!(state.idle(false), Idle::Waiting);
    is(2, "h");
    state.retain();
    assert_eq!(state.wake_by_value(), Wake::Queue);
    is(3, "hs");
    assert_eq!(state.start(), Some(Start::Poll));
    assert_eq!(state.wake_by_ref(), Wake::Nothing);
    is(3, "rhs");
    assert_eq!(state.idle(false), Idle::Queue);
    assert_eq!(state.start(), Some(Start::Poll));
    is(3, "rh");
    assert_eq!(state.idle(true), Idle::Queue);
    is(3, "rh");
    assert_eq!(state.finish(2), Finished::Released);
    is(1, "ch");
    assert!(state.is_complete() && !state.is_running());
    assert_eq!(state.start(), None);
    assert!(state.release(1));
    let refused = State::complete();
    assert_eq!(refused.0.load(Ordering::Relaxed), word(1, "ch"));
}

#[test]
fn waking() {
    assert_eq!(step((2, "h"), State::wake_by_ref, (3, "hs")), Wake::Queue);
    assert_eq!(step((2, "h"), State::wake_by_value, (2, "hs")), Wake::Queue);
    for wake in [State::wake_by_ref, State::wake_by_value] {
        for (before, after) in [("hs", "hs"), ("rh", "rhs"), ("rhs", "rhs"), ("has", "has"), ("ch", "ch")] {
            assert_eq!(step((3, before), wake, (3, after)), Wake::Nothing, "{before}");
        }
    }
    for references in [0, 1] {
        let claim = |state: &State| state.claim(references);
        assert_eq!(step((2, "h"), claim, (2 + references, "rh")), Claim::Queue);
        for (flags, says) in [
            ("hs", Claim::Nothing),
            ("ch", Claim::Nothing),
            ("cs", Claim::Nothing),
            ("rh", Claim::Running),
            ("rhs", Claim::Running),
        ] {
            assert_eq!(step((3, flags), claim, (3, flags)), says, "{flags}");
        }
    }
}

#[test]
fn aborting() {
    assert_eq!(step((2, "h"), State::abort, (3, "has")), Wake::Queue);
    for (before, after) in [("hs", "has"), ("has", "has"), ("rh", "rhas"), ("rhas", "rhas"), ("ch", "ch")] {
        assert_eq!(step((3, before), State::abort, (3, after)), Wake::Nothing, "{before}");
    }
    assert_eq!(step((3, "has"), State::start, (3, "rha")), Some(Start::Aborted));
    assert_eq!(step((3, "rhas"), State::start, (3, "rha")), Some(Start::Aborted));
    assert_eq!(step((3, "rhs"), State::start, (3, "rh")), Some(Start::Poll));
    assert_eq!(step((3, "chs"), State::start, (3, "chs")), None);
    assert_eq!(step((3, "rhas"), |state| state.idle(false), (3, "rhas")), Idle::Aborted);
    // What came in the last moments of a poll, when its reference was given up already.
    let late = |state: &State| state.idle_after_all(state.0.load(Ordering::Relaxed));
    assert_eq!(step((2, "has"), late, (3, "rhas")), Idle::Aborted);
    assert_eq!(step((2, "hs"), late, (3, "hs")), Idle::Queue);
    assert!(step((2, "h"), |state| state.start_cancel(false), (2, "rh")));
    assert!(step((2, "hs"), |state| state.start_cancel(false), (2, "rhs")));
    assert!(!step((3, "rh"), |state| state.start_cancel(true), (3, "rhas")));
    assert!(!step((3, "rhas"), |state| state.start_cancel(true), (3, "rhas")));
}

#[test]
fn ending() {
    let finish = |state: &State| state.finish(2);
    assert_eq!(step((3, "rh"), finish, (1, "ch")), Finished::Released);
    assert_eq!(step((5, "rhs"), finish, (3, "chs")), Finished::Released);
    assert_eq!(step((3, "rhj"), finish, (3, "chj")), Finished::Awaited);
    // Alone with it, nobody is told.
    assert_eq!(step((2, "r"), finish, (2, "r")), Finished::Unwanted);
    assert_eq!(step((2, "rs"), finish, (2, "rs")), Finished::Unwanted);
    assert_eq!(step((3, "r"), finish, (3, "c")), Finished::Unwanted);
    assert_eq!(step((3, "rs"), finish, (3, "cs")), Finished::Unwanted);
}

#[test]
fn the_handle() {
    assert!(step((3, "rh"), State::offer_join_waker, (3, "rhj")));
    assert!(step((3, "rhj"), State::offer_join_waker, (3, "rhj")));
    assert!(step((3, "rhj"), State::reclaim_join_waker, (3, "rh")));
    assert!(!step((1, "ch"), State::offer_join_waker, (1, "ch")));
    assert!(!step((3, "chj"), State::reclaim_join_waker, (3, "chj")));
    assert!(step((3, "rhj"), State::has_join_waker, (3, "rhj")));
    assert!(!step((3, "rh"), State::has_join_waker, (3, "rh")));
    assert_eq!(step((3, "rh"), State::detach, (2, "r")), Detach::Done);
    assert_eq!(step((3, "rhj"), State::detach, (3, "r")), Detach::TakeWaker);
    assert_eq!(step((1, "ch"), State::detach, (1, "ch")), Detach::TakeOutput);
}

#[test]
fn counting() {
    step((2, "h"), State::retain, (3, "h"));
    // The flags are no references, whatever they are.
    for flags in ["", "s", "r", "rs", "c", "cs", "ch"] {
        for count in [1, 2, 3] {
            assert!(!step((5, flags), |state| state.release(count), (5 - count, flags)), "{count} of {flags}");
            assert!(step((count, flags), |state| state.release(count), (count, flags)), "{count} of {flags}");
        }
    }
    // More than that ends the process.
    check_overflow(MAX_WORD);
}
