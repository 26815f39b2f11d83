//! The word by itself: what each step makes of it. What happens when two of them race is for the models.

use super::*;

/// A word with these references and flags: s(cheduled), c(omplete), a(bort), h(andle), j(oin waker).
fn word(references: usize, flags: &str) -> usize {
    let bit = |flag| match flag {
        's' => SCHEDULED,
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
    let state = State::new(2);
    let is = |references, flags| assert_eq!(state.0.load(Ordering::Relaxed), word(references, flags), "{state:?}");
    is(2, "h");
    assert!(!state.is_complete() && !state.is_aborted());
    state.retain();
    assert_eq!(state.wake_by_value(), Wake::Queue);
    is(3, "hs");
    assert_eq!(state.wake_by_ref(), Wake::Nothing);
    assert!(state.arrive());
    is(3, "h");
    assert_eq!(state.finish(2), Finished::Released);
    is(1, "ch");
    assert!(state.is_complete());
    assert!(state.release(1));
    let born = |state: State| state.0.load(Ordering::Relaxed);
    assert_eq!(born(State::scheduled(3)), word(3, "hs"));
    assert_eq!(born(State::complete()), word(1, "ch"));
}

#[test]
fn waking_from_elsewhere() {
    assert_eq!(step((2, "h"), State::wake_by_ref, (3, "hs")), Wake::Queue);
    assert_eq!(step((2, "h"), State::wake_by_value, (2, "hs")), Wake::Queue);
    for wake in [State::wake_by_ref, State::wake_by_value] {
        for flags in ["hs", "has", "ch", "chs"] {
            assert_eq!(step((3, flags), wake, (3, flags)), Wake::Nothing, "{flags}");
        }
    }
    for (flags, awaited_here) in [("h", true), ("ha", true), ("hj", false), ("ch", true), ("c", false), ("", false)] {
        let scheduled = [flags, "s"].concat();
        assert_eq!(step((3, &scheduled), State::arrive, (3, flags)), awaited_here, "{flags}");
    }
}

#[test]
fn aborting() {
    assert_eq!(step((2, "h"), State::abort, (3, "has")), Wake::Queue);
    for (before, after) in [("hs", "has"), ("has", "has"), ("ch", "ch"), ("chs", "chs")] {
        assert_eq!(step((3, before), State::abort, (3, after)), Wake::Nothing, "{before}");
    }
    for (before, after) in [("h", "ha"), ("ha", "ha"), ("hs", "has")] {
        assert!(step((3, before), State::abort_here, (3, after)), "{before}");
        assert!(step((3, after), State::is_aborted, (3, after)));
    }
    assert!(!step((1, "ch"), State::abort_here, (1, "ch")));
    assert!(!step((2, "hs"), State::is_aborted, (2, "hs")));
}

#[test]
fn ending() {
    for count in [0, 1, 2] {
        let finish = |state: &State| state.finish(count);
        assert_eq!(step((3, "h"), finish, (3 - count, "ch")), Finished::Released);
        assert_eq!(step((5, "hs"), finish, (5 - count, "chs")), Finished::Released);
        assert_eq!(step((3, "hj"), finish, (3, "chj")), Finished::Awaited);
        assert_eq!(step((3, "ha"), finish, (3 - count, "cha")), Finished::Released);
        assert_eq!(step((3, ""), finish, (3, "c")), Finished::Unwanted);
        assert_eq!(step((3, "s"), finish, (3, "cs")), Finished::Unwanted);
    }
    // Alone with it, nobody is told.
    for flags in ["", "s", "a"] {
        assert_eq!(step((2, flags), |state| state.finish(2), (2, flags)), Finished::Unwanted);
    }
}

#[test]
fn the_handle() {
    assert!(step((3, "h"), State::offer_join_waker, (3, "hj")));
    assert!(step((3, "hj"), State::offer_join_waker, (3, "hj")));
    assert!(step((3, "hj"), State::reclaim_join_waker, (3, "h")));
    assert!(!step((1, "ch"), State::offer_join_waker, (1, "ch")));
    assert!(!step((3, "chj"), State::reclaim_join_waker, (3, "chj")));
    assert!(step((3, "hj"), State::has_join_waker, (3, "hj")));
    assert!(!step((3, "h"), State::has_join_waker, (3, "h")));
    assert_eq!(step((3, "h"), State::detach, (2, "")), Detach::Done);
    assert_eq!(step((3, "hj"), State::detach, (3, "")), Detach::TakeWaker);
    assert_eq!(step((1, "ch"), State::detach, (1, "ch")), Detach::TakeOutput);
}

#[test]
fn counting() {
    step((2, "h"), State::retain, (3, "h"));
    // The flags are no references, whatever they are.
    for flags in ["", "s", "a", "c", "cs", "ch"] {
        for count in [1, 2, 3] {
            assert!(!step((5, flags), |state| state.release(count), (5 - count, flags)), "{count} of {flags}");
            assert!(step((count, flags), |state| state.release(count), (count, flags)), "{count} of {flags}");
        }
    }
    // None given up is none, whoever is left.
    assert!(!step((1, "ch"), |state| state.release(0), (1, "ch")));
    // More than that ends the process.
    check_overflow(MAX_WORD);
}
