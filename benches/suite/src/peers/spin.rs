//! This crate with a loop that looks for a while before it sleeps.

use std::time::Duration;

use ringtoss::Builder;

use crate::candidate::{Candidate, Kind};
use crate::work::{self, Work};

use super::ringtoss::{Setting, With};

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss spin",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "Builder::spin: the loop looks for 100 µs before it sleeps, for wakes by other threads",
        can: |work| matches!(work, Work::Wake { .. }),
        serve: |_, _, _| unreachable!("it does not serve"),
        window: |_, duration, _| work::woken::<Spin>(duration),
    }
}

type Spin = With<LooksBeforeItSleeps>;

struct LooksBeforeItSleeps;

impl Setting for LooksBeforeItSleeps {
    fn set(builder: Builder) -> Builder {
        builder.spin(Duration::from_micros(100))
    }
}
