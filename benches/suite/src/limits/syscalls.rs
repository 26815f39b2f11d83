//! Files by plain system calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::work::{Clock, READ_BYTES, Random, Window, Work};

/// One read after the other.
pub fn window(_work: Work, duration: Duration, file: &Path) -> Window {
    let file = File::open(file).expect("the file");
    let blocks = file.metadata().expect("the file").len() / READ_BYTES as u64;
    let (mut random, mut buf, mut ops) = (Random::new(0), vec![0; READ_BYTES], 0);
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    while Instant::now() < until {
        for _ in 0..16 {
            file.read_exact_at(&mut buf, random.below(blocks) * READ_BYTES as u64).expect("a read");
        }
        ops += 16;
    }
    clock.stop(ops)
}
