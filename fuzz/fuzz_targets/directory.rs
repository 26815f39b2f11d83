//! See `src/fuzzing/directory.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::directory(data));
