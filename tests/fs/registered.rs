//! Registered buffers: the same results as with any other, on whichever loop.

use std::io::ErrorKind;

use ringtoss::buf::{IoBufExt, RegisteredBuf, RegisteredPool};
use ringtoss::fs::File;

use crate::util::*;

fn filled(pool: &RegisteredPool, bytes: &[u8]) -> RegisteredBuf {
    let mut buf = pool.try_take().unwrap();
    buf.extend_from_slice(bytes);
    buf
}

#[test]
fn what_is_written_is_read() {
    run(async {
        for huge_pages in [false, true] {
            let pool = RegisteredPool::builder(10_000, 100).huge_pages(huge_pages).build().unwrap();
            assert_eq!((pool.buffer_bytes(), pool.most()), (12_288, 100));
            let mut file = unnamed();
            file.write_all_at(filled(&pool, &pattern(12_288)), 0).await.0.unwrap();
            let (result, buf) = file.read_at(pool.take().await.unwrap(), 0).await;
            assert!(result.unwrap() == 12_288 && buf[..] == pattern(12_288), "by reading at an offset");
            let (result, buf) = file.read_exact_at(buf.slice(100..), 200, 300).await;
            result.unwrap();
            let buf = buf.into_inner();
            assert!(buf.len() == 300 && buf[..100] == pattern(100) && buf[100..] == pattern(500)[300..]);
            // At the position, and at the end.
            let (result, buf) = file.read(buf).await;
            assert!(result.unwrap() == 12_288 && buf[..] == pattern(12_288));
            let (result, mut buf) = file.read(buf).await;
            assert_eq!((result.unwrap(), buf.len()), (0, 0));
            buf.extend_from_slice(b"more");
            let (result, _) = file.write(buf).await;
            assert_eq!(result.unwrap(), 4);
            // Vectored; on kernels before 6.15 the plain way.
            let (result, bufs) = file.read_vectored_at([filled(&pool, b""), filled(&pool, b"")], 0).await;
            assert_eq!(result.unwrap(), 12_292);
            assert!(bufs[0][..] == pattern(12_288) && bufs[1][..] == *b"more");
            let (result, _) = file.write_vectored_at((filled(&pool, b"one "), filled(&pool, b"two")), 5).await;
            assert_eq!(result.unwrap(), 7);
            let (result, buf) = file.read_exact_at(pool.take().await.unwrap(), 7, 5).await;
            assert_eq!((result.unwrap(), &buf[..]), (7, &b"one two"[..]));
        }
    });
}

#[test]
fn who_waits_is_served_in_order_and_nobody_is_forgotten() {
    run(async {
        let pool = RegisteredPool::new(4096, 2).unwrap();
        let (a, b) = (pool.take().await.unwrap(), pool.take().await.unwrap());
        assert_eq!(pool.try_take().unwrap_err().kind(), ErrorKind::WouldBlock);
        let (mut first, mut second, mut third) = (pool.take(), pool.take(), pool.take());
        for take in [&mut first, &mut second, &mut third] {
            assert!(poll_once(take).await.is_pending());
        }
        drop(a);
        assert!(poll_once(&mut second).await.is_pending());
        assert_eq!(pool.try_take().unwrap_err().kind(), ErrorKind::WouldBlock, "it is the first one's");
        // Dropped, it passes its turn on.
        drop(first);
        let a = second.await.unwrap();
        let waiting = async { third.await.unwrap() };
        let back = async {
            turn().await;
            // On any thread.
            std::thread::spawn(move || drop(b)).join().unwrap();
        };
        let (b, ()) = futures::join!(waiting, back);
        drop((a, b));
        assert!(pool.try_take().is_ok());
    });
}

#[test]
fn they_outlive_their_pool_and_their_loop() {
    let (buf, other) = run(async {
        let pool = RegisteredPool::new(4096, 4).unwrap();
        (filled(&pool, b"bytes"), pool.take().await.unwrap())
    });
    run(async {
        let file = unnamed();
        let (result, buf) = file.write_all_at(buf, 0).await;
        result.unwrap();
        let (result, other) = file.read_at(other, 0).await;
        assert_eq!((result.unwrap(), &other[..]), (5, &buf[..]));
    });
}

#[test]
fn other_loops_take_them_as_plain_ones_or_learn_them() {
    let pool = run(async { RegisteredPool::new(4096, 300).unwrap() });
    for _ in 0..3 {
        run(async {
            let file = unnamed();
            for round in 0..2 {
                let mut held = Vec::new();
                for index in 0..300u32 {
                    let buf = filled(&pool, &index.to_ne_bytes());
                    let (result, buf) = file.write_all_at(buf, u64::from(index) * 4).await;
                    result.unwrap();
                    held.push(buf);
                }
                let (result, buf) = file.read_exact_at(held.pop().unwrap(), 1200, 0).await;
                result.unwrap();
                assert!(buf.chunks(4).zip(0u32..).all(|(bytes, index)| *bytes == index.to_ne_bytes()), "{round}");
                pool.register().unwrap();
            }
        });
    }
    // A loop more than there are places for.
    let refused: Vec<_> = (0..20).map(|_| run(async { pool.register() })).filter_map(Result::err).collect();
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::QuotaExceeded) && !refused.is_empty(), "{refused:?}");
}

#[test]
fn dropped_at_any_moment_a_buffer_goes_back_when_the_kernel_has_let_go() {
    run(async {
        let pool = RegisteredPool::new(65_536, 8).unwrap();
        let (mut sender, mut receiver) = ringtoss::pipe::pipe().unwrap();
        for turns in 0..4 {
            let mut read = receiver.read(pool.take().await.unwrap());
            for _ in 0..turns {
                assert!(poll_once(&mut read).await.is_pending());
                turn().await;
            }
            drop(read);
            sender.write_all(vec![turns as u8 + 1; 10]).await.0.unwrap();
            let (result, buf) = receiver.read(pool.take().await.unwrap()).await;
            assert_eq!((result.unwrap(), &buf[..]), (10, &[turns as u8 + 1; 10][..]));
        }
        // All of them are back in the end.
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(pool.take().await.unwrap());
        }
    });
}

/// What is refused for another reason is refused as ever, and registered memory is used again the next time.
#[test]
fn an_error_of_a_vectored_transfer_is_the_plain_ones() {
    let dir = crate::util::disk_dir();
    run(async {
        let pool = RegisteredPool::new(8192, 2).unwrap();
        let mut options = ringtoss::fs::OpenOptions::new();
        options.read(true).write(true).create(true).custom_flags(libc::O_DIRECT);
        let Ok(file) = options.open(dir.path().join("direct")).await else {
            return eprintln!("skipped: this file system has no O_DIRECT");
        };
        file.write_all_at(filled(&pool, &pattern(8192)), 0).await.0.unwrap();
        // An address that is not a multiple of a block.
        let slices = [filled(&pool, b"a").slice(1..4097), filled(&pool, b"").slice(..4096)];
        let (result, bufs) = file.read_vectored_at(slices, 0).await;
        let refused = result.map_err(|error| error.raw_os_error());
        assert!(matches!(refused, Err(Some(libc::EINVAL)) | Ok(8192)), "{refused:?}");
        let bufs = bufs.map(|slice| slice.into_inner());
        let (result, bufs) = file.read_vectored_at(bufs, 0).await;
        assert!(result.unwrap() == 8192 && bufs[0][..] == pattern(8192));
    });
}

/// A buffer that was given out is nobody's turn any more, even while the future that gave it is there.
#[test]
fn a_turn_ends_with_its_buffer() {
    run(async {
        let pool = RegisteredPool::new(4096, 1).unwrap();
        let first = pool.try_take().unwrap();
        let mut take = pool.take();
        assert!(poll_once(&mut take).await.is_pending());
        drop(first);
        drop((&mut take).await.unwrap());
        assert!(pool.try_take().is_ok(), "it is free, and nobody waits");
    });
}

/// Files that know only plain reads: of those the kernel would take the list of buffers for the buffer.
#[test]
fn vectored_reads_of_odd_files_are_the_plain_ones() {
    run(async {
        let pool = RegisteredPool::new(4096, 2).unwrap();
        for path in ["/proc/self/environ", "/proc/self/cmdline", "/proc/self/auxv", "/proc/self/status"] {
            let Ok(file) = File::open(path).await else { continue };
            let (result, bufs) = file.read_vectored_at(vec![filled(&pool, b""), filled(&pool, b"")], 0).await;
            let (plain, expected) =
                file.read_vectored_at(vec![Vec::with_capacity(4096), Vec::with_capacity(4096)], 0).await;
            assert_eq!(result.unwrap(), plain.unwrap(), "{path}");
            assert!(bufs[0][..16] == expected[0][..16], "{path}");
        }
    });
}
