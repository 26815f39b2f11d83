//! Reads that a turn has nothing beside: made by a call, not by the ring, where they have not to wait.

use std::cell::Cell;
use std::future::Future;
use std::io::{ErrorKind, IoSliceMut, Write};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringtoss::buf::RegisteredPool;
use ringtoss::fs::{File, MemfdOptions, OpenOptions};
use ringtoss::net::UnixStream;
use rustix::io::ReadWriteFlags;

use crate::util::{disk_dir, forget, often, pattern, poll_once, run, turn};

const BLOCK: usize = 4096;

/// A file in memory.
async fn in_memory(len: usize) -> File {
    let file = MemfdOptions::new().create("alone").unwrap();
    file.write_all_at(pattern(len), 0).await.0.unwrap();
    know(&file).await;
    file
}

/// What kind of file it is is looked up when it is read for the second time.
async fn know(file: &File) {
    for _ in 0..2 {
        file.read_at(vec![0; 8], 0).await.0.unwrap();
    }
    turn().await;
}

/// How often the kernel was entered for it.
async fn enters_for<T>(work: impl Future<Output = T>) -> (u64, T) {
    let before = ringtoss::metrics().enters;
    let out = work.await;
    (ringtoss::metrics().enters - before, out)
}

fn block(number: usize) -> Vec<u8> {
    pattern((number + 1) * BLOCK).split_off(number * BLOCK)
}

async fn reads_block(file: &File, number: usize) {
    let (result, buf) = file.read_at(vec![0; BLOCK], (number * BLOCK) as u64).await;
    assert_eq!(result.unwrap(), BLOCK);
    assert!(buf == block(number), "block {number}");
}

#[test]
fn a_file_in_memory_is_read_without_the_ring() {
    run(async {
        let file = in_memory(8 * BLOCK + 100).await;
        let (enters, ()) = enters_for(async {
            for number in 0..8 {
                reads_block(&file, number).await;
            }
            // Its end is known, too.
            let (result, buf) = file.read_at(vec![0; BLOCK], 8 * BLOCK as u64).await;
            assert_eq!((result.unwrap(), &buf[..]), (100, &block(8)[..100]));
            assert_eq!(file.read_at(vec![0; BLOCK], 9 * BLOCK as u64).await.0.unwrap(), 0);
            let (result, buf) = file.read_exact_at(vec![0; BLOCK], BLOCK, 8 * BLOCK as u64).await;
            assert_eq!((result.unwrap_err().kind(), buf.len()), (ErrorKind::UnexpectedEof, 100));
        })
        .await;
        assert_eq!(enters, 0);
    });
}

/// As the page cache has it, on a file system that can say so.
#[test]
fn what_is_cached_is_read_without_the_ring() {
    let dir = disk_dir();
    let path = dir.path().join("file");
    std::fs::write(&path, pattern(8 * BLOCK)).unwrap();
    run(async {
        let file = File::open(&path).await.unwrap();
        know(&file).await;
        let (enters, ()) = enters_for(async {
            for number in 0..8 {
                reads_block(&file, number).await;
            }
        })
        .await;
        let mut bytes = [0; BLOCK];
        let can = rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT).is_ok();
        if can {
            assert_eq!(enters, 0);
        } else {
            eprintln!("not looked at: this file system does not know what it would wait for");
        }
    });
}

/// Several in one turn go together.
#[test]
fn those_that_are_not_alone_go_by_the_ring() {
    run(async {
        let file = in_memory(2 * BLOCK).await;
        let (enters, ()) = enters_for(async {
            let (mut one, mut other) = (pin!(reads_block(&file, 0)), pin!(reads_block(&file, 1)));
            let _ = (poll_once(&mut one).await, poll_once(&mut other).await);
            one.await;
            other.await;
        })
        .await;
        assert!(enters > 0);
    });
}

#[test]
fn files_and_buffers_that_are_registered_are_read_as_well() {
    run(async {
        let file = in_memory(2 * BLOCK).await;
        file.register();
        know(&file).await;
        if ringtoss::metrics().registered_files == 0 {
            eprintln!("by its number only: this kernel gives files no place");
        }
        let enters = ringtoss::metrics().enters;
        let pool = RegisteredPool::new(BLOCK, 2).unwrap();
        for number in 0..2 {
            let buf = pool.take().await.unwrap();
            let (result, buf) = file.read_at(buf, (number * BLOCK) as u64).await;
            assert_eq!(result.unwrap(), BLOCK);
            assert!(buf[..] == block(number)[..]);
        }
        assert_eq!(ringtoss::metrics().enters, enters);
        // Large ones go by the ring, which copies into them faster.
        let file = in_memory(4 * BLOCK).await;
        let large = RegisteredPool::new(4 * BLOCK, 1).unwrap();
        let buf = large.take().await.unwrap();
        let (enters, (result, buf)) = enters_for(file.read_at(buf, 0)).await;
        assert_eq!(result.unwrap(), 4 * BLOCK);
        assert!(buf[..] == pattern(4 * BLOCK)[..] && enters > 0);
    });
}

/// A file that is cached in part, shorter than it was, longer than it was: whatever is tried first, all of it comes.
#[test]
fn what_is_not_all_there_is_waited_for() {
    let dir = disk_dir();
    let path = dir.path().join("file");
    let len = 16 * BLOCK;
    std::fs::write(&path, pattern(len)).unwrap();
    run(async {
        let file = File::open(&path).await.unwrap();
        know(&file).await;
        for round in 0..often(200) {
            forget(&path, ((round % 16) * BLOCK) as u64..len as u64);
            let (result, buf) = file.read_at(vec![0; len], 0).await;
            assert!(result.unwrap() == len && buf == pattern(len), "round {round}");
        }
        let writer = OpenOptions::new().write(true).open(&path).await.unwrap();
        for len in [100, 5000, 3 * BLOCK, 0, 7] {
            writer.set_len(0).await.unwrap();
            writer.write_all_at(pattern(len), 0).await.0.unwrap();
            let (result, buf) = file.read_at(vec![0; 4 * BLOCK], 0).await;
            assert!(result.unwrap() == len && buf == pattern(len), "{len}");
            let (result, buf) = file.read_exact_at(vec![0; 4 * BLOCK], 4 * BLOCK, 0).await;
            assert!(result.is_err() && buf == pattern(len), "{len}");
        }
    });
}

/// A call for them would wait for the device, whatever it is told.
#[test]
fn reads_past_the_page_cache_go_by_the_ring() {
    let dir = disk_dir();
    run(async {
        let Some(file) = crate::direct::direct(dir.path()).await else { return };
        let mut buf = ringtoss::buf::AlignedBuf::with_capacity(BLOCK);
        buf.resize(BLOCK, 7);
        let (result, mut buf) = file.write_all_at(buf, 0).await;
        result.unwrap();
        for round in 0..4 {
            let (enters, (result, back)) = enters_for(file.read_at(buf, 0)).await;
            assert_eq!(result.unwrap(), BLOCK);
            assert!(enters > 0, "round {round}");
            buf = back;
        }
    });
}

/// Who reads without a pause keeps nobody else waiting: neither those who wait for the kernel, nor for the clock, nor for another thread.
#[test]
fn others_have_their_turn() {
    run(async {
        let file = in_memory(BLOCK).await;
        let (reads, read_on) = (Arc::new(AtomicU64::new(0)), Rc::new(Cell::new(true)));
        let busy = ringtoss::spawn({
            let (reads, read_on) = (reads.clone(), read_on.clone());
            async move {
                while read_on.get() {
                    reads_block(&file, 0).await;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        // When the loop has done nothing but read for some turns.
        let meanwhile = |work: Box<dyn FnOnce() + Send>| {
            let (reads, before) = (reads.clone(), reads.load(Ordering::Relaxed));
            std::thread::spawn(move || {
                while reads.load(Ordering::Relaxed) < before + 100 {
                    std::thread::yield_now();
                }
                work();
            })
        };
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut there = UnixStream::from_std(there);
        for _ in 0..often(20) {
            let writer = here.try_clone().unwrap();
            let writing = meanwhile(Box::new(move || (&writer).write_all(&[7]).unwrap()));
            assert_eq!(there.read(vec![0; 8]).await.0.unwrap(), 1);
            writing.join().unwrap();
            let (send, woken) = async_channel::bounded(1);
            let waking = meanwhile(Box::new(move || send.send_blocking(()).unwrap()));
            woken.recv().await.unwrap();
            waking.join().unwrap();
            ringtoss::time::sleep(Duration::from_millis(1)).await;
        }
        read_on.set(false);
        busy.await.unwrap();
    });
}

/// What stands in the queue where a read stood that was taken back is not taken for that: at the position, a read that is made again
/// would miss what the first one has read.
#[test]
fn a_read_at_the_position_in_the_place_of_one_that_was_taken_back() {
    let dir = disk_dir();
    let path = dir.path().join("file");
    std::fs::write(&path, pattern(100)).unwrap();
    run(async {
        let mut file = File::open(&path).await.unwrap();
        know(&file).await;
        // Its second link is refused, so that the first one is taken back.
        let (_, refused) = file.read_at(vec![0; 8], 0).link(file.read_at(Vec::new(), 0)).await;
        assert_eq!(refused.0.unwrap_err().kind(), ErrorKind::InvalidInput);
        let (result, buf) = file.read(Vec::with_capacity(BLOCK)).await;
        assert!(result.unwrap() == 100 && buf == pattern(100));
        // Nor is what is read of another file then.
        let other = MemfdOptions::new().create("other").unwrap();
        other.write_all_at("other", 0).await.0.unwrap();
        let (_, refused) = file.read_at(vec![0; 5], 0).link(file.read_at(Vec::new(), 0)).await;
        assert!(refused.0.is_err());
        let (result, buf) = other.read_at(vec![0; 5], 0).await;
        assert!(result.unwrap() == 5 && buf == b"other");
    });
}

/// Dropped before it was made, it is not made.
#[test]
fn a_read_that_is_dropped_before_its_turn_is_not_made() {
    run(async {
        let file = in_memory(BLOCK).await;
        let before = ringtoss::metrics();
        let mut read = Box::pin(file.read_at(vec![0; BLOCK], 0));
        assert!(poll_once(&mut read).await.is_pending());
        drop(read);
        turn().await;
        assert_eq!(ringtoss::metrics().completions, before.completions + 1, "the turn's own");
        assert_eq!(ringtoss::metrics().stale_completions, before.stale_completions);
        assert_eq!(ringtoss::metrics().in_flight, before.in_flight);
        reads_block(&file, 0).await;
    });
}
