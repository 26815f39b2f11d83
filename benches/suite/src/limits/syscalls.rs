//! Files by plain system calls, one after the other.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::buffers::{Block, Buffer, PAGE_BYTES};
use crate::counts::uncounted;
use crate::runtime::How;
use crate::work::{Blocks, Clock, Random, Small, SmallFiles, Window, Work, check_copy, copy_paths, files_to_stat};

pub fn window(work: Work, duration: Duration, file: &Path) -> Window {
    let until = Instant::now() + duration;
    match work {
        Work::Blocks(work) => blocks(work, until, file),
        Work::Small { what, .. } => small_files(what, until, file),
        Work::Stat { .. } => stats(until, file),
        Work::Copy => copies(until, file),
        _ => unreachable!("said that it cannot"),
    }
}

fn blocks(work: Blocks, until: Instant, file: &Path) -> Window {
    let file = work.how().open(&work.path(file)).expect("the file");
    let (mut buf, mut offsets, mut ops) = (Block::new(work.bytes()), work.offsets(&Arc::default(), 0), 0);
    let clock = Clock::start();
    while ops == 0 || Instant::now() < until {
        for _ in 0..16 {
            let offset = offsets.next();
            if work.write {
                buf.stamp(!offset);
                file.write_all_at(buf.bytes(), offset).expect("a write");
            } else {
                file.read_exact_at(buf.whole(), offset).expect("a read");
                assert_eq!(buf.stamped(), offset, "another block was read");
            }
            if work.sync {
                file.sync_data().expect("a sync");
            }
        }
        ops += 16;
    }
    clock.stop(ops)
}

fn small_files(what: Small, until: Instant, file: &Path) -> Window {
    let (files, mut buf) = (SmallFiles::new(what, file), Block::new(PAGE_BYTES));
    let mut window = Window::default();
    while window.ops == 0 || Instant::now() < until {
        uncounted(|| files.prepare());
        let clock = Clock::start();
        for path in &files.paths {
            if what == Small::Create {
                let file = How { write: true, create: true, direct: false }.open(path).expect("a new file");
                file.write_all_at(buf.bytes(), 0).expect("a write");
            }
            if matches!(what, Small::Read | Small::Drain) {
                let file = How::default().open(path).expect("a small file");
                file.read_exact_at(buf.whole(), 0).expect("a read");
            }
            if matches!(what, Small::Unlink | Small::Drain) {
                std::fs::remove_file(path).expect("an unlink");
            }
        }
        window += clock.stop(files.paths.len() as u64);
        uncounted(|| files.check());
    }
    window
}

fn stats(until: Instant, file: &Path) -> Window {
    let (paths, mut random, mut ops) = (files_to_stat(file), Random::new(0), 0);
    let clock = Clock::start();
    while ops == 0 || Instant::now() < until {
        for _ in 0..16 {
            let number = random.below(paths.len() as u64);
            let len = std::fs::metadata(&paths[number as usize]).expect("a stat").len();
            assert_eq!(len, number, "the length of another file");
        }
        ops += 16;
    }
    clock.stop(ops)
}

/// std's copy: `copy_file_range` and the like.
fn copies(until: Instant, file: &Path) -> Window {
    let (from, to) = copy_paths(file);
    let mut window = Window::default();
    while window.ops == 0 || Instant::now() < until {
        let clock = Clock::start();
        let bytes = std::fs::copy(&from, &to).expect("a copy");
        window += clock.stop(bytes >> 20);
        uncounted(|| check_copy(&to));
    }
    window
}
