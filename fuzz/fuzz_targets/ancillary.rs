//! See `src/fuzzing/ancillary.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::ancillary(data));
