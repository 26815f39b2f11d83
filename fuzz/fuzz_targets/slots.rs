//! See `src/fuzzing/slots.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::slots(data));
