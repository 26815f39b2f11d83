//! Reads and NOPs: a loop on the io-uring crate, with the flags that do best on one thread and no futures.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::ring::Queues;
use crate::work::{Clock, READ_BYTES, Random, Window, Work};

/// The ring as the kernel's documentation advises it for one thread.
pub fn ring(entries: u32) -> IoUring {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(entries * 8);
    let modern = builder.clone().setup_no_sqarray().build(entries);
    modern.or_else(|_| builder.build(entries)).expect("an io_uring")
}

pub fn window(work: Work, duration: Duration, file: &Path) -> Window {
    let mut ring = ring(256);
    let ring = &mut Queues::of(&mut ring);
    match work {
        Work::Nop { in_flight } => {
            run(ring, in_flight, duration, |number| opcode::Nop::new().build().user_data(number))
        }
        Work::Read { in_flight } => {
            let file = File::open(file).expect("the file");
            let blocks = file.metadata().expect("the file").len() / READ_BYTES as u64;
            let mut bufs = vec![vec![0u8; READ_BYTES]; in_flight];
            let mut random = Random::new(0);
            run(ring, in_flight, duration, move |number| {
                let buf = &mut bufs[number as usize];
                let fd = types::Fd(file.as_raw_fd());
                opcode::Read::new(fd, buf.as_mut_ptr(), READ_BYTES as u32)
                    .offset(random.below(blocks) * READ_BYTES as u64)
                    .build()
                    .user_data(number)
            })
        }
        _ => unreachable!("said that it cannot"),
    }
}

/// Keeps so many entries in flight until the time is over. `entry` owns what they point to.
fn run(ring: &mut Queues, in_flight: usize, duration: Duration, mut entry: impl FnMut(u64) -> squeue::Entry) -> Window {
    let (clock, until) = (Clock::start(), Instant::now() + duration);
    let (mut ops, mut turns, mut over, mut left) = (0, 0u64, false, in_flight);
    for number in 0..in_flight as u64 {
        // SAFETY: what it points to lives until the last completion has come, below.
        unsafe { ring.push(entry(number)) };
    }
    let mut completions: Vec<cqueue::Entry> = Vec::new();
    while left > 0 {
        ring.turn(&mut completions);
        turns += 1;
        if turns.is_multiple_of(16) {
            over = Instant::now() >= until;
        }
        for completion in completions.drain(..) {
            assert!(completion.result() >= 0, "an operation failed: {}", completion.result());
            ops += 1;
            if over {
                left -= 1;
            } else {
                // SAFETY: as above; the one before it on the same buffer has ended.
                unsafe { ring.push(entry(completion.user_data())) };
            }
        }
    }
    clock.stop(ops)
}
