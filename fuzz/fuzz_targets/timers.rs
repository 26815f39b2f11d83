//! See `src/fuzzing/timers.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::timers(data));
