//! See `src/fuzzing/addresses.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::addresses(data));
