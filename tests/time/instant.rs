//! Instants.

use std::thread;

use ringtoss::time::{self, Duration, Instant};

use crate::{HOUR, ms, paused};

#[test]
fn instants_calculate_as_stds_do() {
    let std = std::time::Instant::now();
    let instant = Instant::from_std(std);
    assert_eq!(instant.into_std(), std);
    assert_eq!(std::time::Instant::from(Instant::from(std)), std);
    let mut later = instant + ms(5);
    assert_eq!(later - instant, ms(5));
    assert_eq!(instant - later, Duration::ZERO);
    assert_eq!(later - ms(5), instant);
    assert_eq!(later.duration_since(instant), ms(5));
    assert_eq!(instant.duration_since(later), Duration::ZERO);
    assert_eq!(instant.saturating_duration_since(later), Duration::ZERO);
    assert_eq!(instant.checked_duration_since(later), None);
    assert_eq!(instant.checked_add(ms(5)), Some(later));
    assert_eq!(later.checked_sub(ms(5)), Some(instant));
    assert_eq!(instant.checked_add(Duration::MAX), None);
    later += ms(1);
    later -= ms(6);
    assert_eq!(later, instant);
    assert_eq!((instant + HOUR).elapsed(), Duration::ZERO);
    assert_eq!(format!("{instant:?}"), format!("{std:?}"));
    assert!(Instant::now() >= instant);
}

#[test]
fn off_the_loop_time_is_the_systems() {
    paused(async {
        time::advance(24 * HOUR).await;
        let there = thread::spawn(Instant::now).join().unwrap();
        assert!(there.into_std() <= std::time::Instant::now());
        assert!(there < Instant::now());
    });
}
