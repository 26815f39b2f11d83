//! See `src/fuzzing/buffers.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringtoss::fuzzing::buffers(data));
