//! Files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::{Files, buffer};

use super::{Random, Window, timed};

/// The size of a file read.
pub const READ_BYTES: usize = 4096;

/// Random reads, so many in flight.
pub async fn random_reads<R: Files>(in_flight: usize, duration: Duration, file: &Path) -> Window {
    let blocks = std::fs::metadata(file).expect("the file").len() / READ_BYTES as u64;
    let file = Arc::new(R::open(file).await.expect("the file"));
    timed::<R, _>(in_flight, duration, move |seed, until| reads::<R>(file.clone(), blocks, seed, until)).await
}

async fn reads<R: Files>(file: Arc<R::File>, blocks: u64, seed: usize, until: Instant) -> u64 {
    let mut random = Random::new(seed as u64);
    let (mut buf, mut ops) = (buffer(READ_BYTES), 0);
    while Instant::now() < until {
        for _ in 0..16 {
            let offset = random.below(blocks) * READ_BYTES as u64;
            let (result, read) = R::read_at(&file, buf, offset).await;
            assert_eq!(result.expect("a read"), READ_BYTES, "a whole block");
            buf = read;
        }
        ops += 16;
    }
    ops
}
