//! A buffer is freed exactly once, wherever its operation was when it was dropped.

use std::task::Poll;

use ringtoss::fs::File;

use crate::util::{Counted, holding, pattern, pipe, poll_once, run, turn, unnamed};

#[test]
fn never_polled() {
    run(async {
        let (mut reader, mut writer) = pipe();
        let (buf, drops) = Counted::new(vec![0; 100]);
        drop(reader.read(buf));
        assert_eq!(drops.count(), 1);
        let (buf, drops) = Counted::new(vec![0; 100]);
        drop(writer.write_all(buf));
        turn().await;
        assert_eq!(drops.count(), 1);
        writer.write_all("x").await.0.unwrap();
        assert_eq!(reader.read(Vec::with_capacity(9)).await.1, b"x", "nothing was written");
    });
}

/// Dropped in the poll in which it was submitted: the kernel never sees it.
#[test]
fn staged() {
    run(async {
        let (mut reader, mut writer) = pipe();
        for _ in 0..1000 {
            let (buf, drops) = Counted::new(vec![7; 100]);
            let mut write = writer.write(buf);
            assert!(poll_once(&mut write).await.is_pending());
            drop(write);
            assert_eq!(drops.count(), 1);
            let (buf, drops) = Counted::new(vec![0; 100]);
            let mut read = reader.read(buf);
            assert!(poll_once(&mut read).await.is_pending());
            drop(read);
            assert_eq!(drops.count(), 1);
        }
        turn().await;
        assert!(writer.take_dropped_write().await.is_none(), "it never reached the kernel");
        writer.write_all("x").await.0.unwrap();
        assert_eq!(reader.read(Vec::with_capacity(900)).await.1, b"x");
    });
}

#[test]
fn in_flight() {
    run(async {
        for _ in 0..200 {
            let (mut reader, mut writer) = pipe();
            let (buf, drops) = Counted::new(vec![0; 100]);
            let mut read = reader.read(buf);
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(read);
            assert_eq!(drops.count(), 0, "the kernel still has it");
            drops.once().await;
            // A write that the pipe has no room for.
            let (buf, drops) = Counted::new(vec![0; 1 << 20]);
            let mut write = writer.write_all(buf);
            assert!(poll_once(&mut write).await.is_pending());
            turn().await;
            drop(write);
            drops.once().await;
        }
    });
}

#[test]
fn in_flight_when_the_loop_ends() {
    let (buf, drops) = Counted::new(vec![0; 100]);
    let (mut reader, _writer) = pipe();
    ringtoss::block_on(async {
        let mut read = reader.read(buf);
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
    });
    assert_eq!(drops.count(), 1);
}

#[test]
fn completed_and_not_taken() {
    run(async {
        let content = pattern(1000);
        let mut file = holding(&content);
        for round in 0..100 {
            let (buf, drops) = Counted::new(vec![0; 100]);
            let mut read = file.read_at(buf, 0);
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..10 {
                turn().await;
            }
            assert_eq!(drops.count(), 0);
            drop(read);
            drops.once().await;
            let (buf, drops) = Counted::new(vec![0; 100]);
            let mut read = file.read(buf);
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..round {
                turn().await;
            }
            drop(read);
            drops.once().await;
        }
        let (result, buf) = file.read_to_end(Vec::new()).await;
        assert!(result.unwrap() == 1000 && buf == content, "none of the dropped reads has happened");
    });
}

#[test]
fn completed_and_taken() {
    run(async {
        let file = holding(&pattern(1000));
        let (buf, drops) = Counted::new(vec![0; 100]);
        let (result, buf) = file.read_at(buf, 10).await;
        assert_eq!((result.unwrap(), buf.bytes()), (100, &pattern(1000)[10..110]));
        assert_eq!(drops.count(), 0);
        drop(buf);
        assert_eq!(drops.count(), 1);
    });
}

/// The kernel writes into leaked memory; nothing else is harmed.
#[test]
fn a_forgotten_read_leaks_its_buffer() {
    let (buf, drops) = Counted::new(vec![0; 100]);
    let address = buf.bytes().as_ptr() as usize;
    run(async {
        let (mut reader, mut writer) = pipe();
        let mut read = reader.read(buf);
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::mem::forget(read);
        writer.write_all("into leaked memory").await.0.unwrap();
        // Memory of the same size is elsewhere, and stays as it is.
        let others: Vec<Vec<u8>> = (0..100).map(|_| vec![9; 100]).collect();
        for _ in 0..10 {
            turn().await;
        }
        assert!(others.iter().all(|other| other.as_ptr() as usize != address && other.iter().all(|&byte| byte == 9)));
        writer.write_all("more").await.0.unwrap();
        let (result, buf) = reader.read(Vec::with_capacity(100)).await;
        assert_eq!((result.unwrap(), &buf[..]), (4, &b"more"[..]));
        // And one that never completes.
        let mut read = reader.read(Vec::with_capacity(100));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        std::mem::forget(read);
    });
    assert_eq!(drops.count(), 0);
}

/// Freed memory is used again at once, so a buffer that was freed under the kernel would be seen to change.
#[test]
fn nothing_is_freed_under_the_kernel() {
    run(async {
        for _ in 0..300 {
            let (mut reader, mut writer) = pipe();
            let mut read = reader.read(Vec::with_capacity(777));
            assert!(poll_once(&mut read).await.is_pending());
            turn().await;
            drop(read);
            let others: Vec<Vec<u8>> = (0..8).map(|_| vec![9; 777]).collect();
            writer.write_all(vec![1; 777]).await.0.unwrap();
            for _ in 0..3 {
                turn().await;
            }
            assert!(others.iter().all(|other| other.iter().all(|&byte| byte == 9)));
            let (result, buf) = reader.read_exact(Vec::with_capacity(777), 777).await;
            assert!(result.unwrap() == 777 && buf.iter().all(|&byte| byte == 1), "and nothing is lost");
        }
    });
}

#[test]
fn every_operation_may_be_dropped_at_any_point() {
    run(async {
        let path = std::path::Path::new("/proc/self/status");
        for turns in 0..4 {
            for _ in 0..25 {
                let mut file = unnamed();
                file.write_all(pattern(5000)).await.0.unwrap();
                file.rewind().await.unwrap();
                drop_after(turns, &mut file.seek(std::io::SeekFrom::Start(7))).await;
                file.rewind().await.unwrap();
                drop_after(turns, &mut file.sync_all()).await;
                drop_after(turns, &mut file.metadata()).await;
                drop_after(turns, &mut File::open(path)).await;
                drop_after(turns, &mut Box::pin(ringtoss::fs::read(path))).await;
                drop_after(turns, &mut Box::pin(file.set_len(5000))).await;
                drop_after(turns, &mut file.read_vectored((vec![0; 10], vec![0; 10]))).await;
                drop_after(turns, &mut file.read_vectored_at((vec![0; 10], vec![0; 10]), 5)).await;
                drop_after(turns, &mut file.read_to_end(vec![])).await;
                drop_after(turns, &mut file.read_append(Vec::with_capacity(100))).await;
                drop_after(turns, &mut file.read_exact(Vec::with_capacity(10_000), 10_000)).await;
                let (result, buf) = file.read_to_end(vec![]).await;
                assert!(result.unwrap() == 5000 && buf == pattern(5000));
                drop_after(turns, &mut file.write_vectored_at((vec![0; 10], vec![0; 10]), 5)).await;
                drop_after(turns, &mut file.write_vectored((vec![0; 10], vec![0; 10]))).await;
                drop_after(turns, &mut file.write_all(vec![0; 10])).await;
                drop_after(turns, &mut Box::pin(file.take_dropped_write())).await;
                drop_after(turns, &mut Box::pin(file.close())).await;
            }
        }
    });
}

/// Polls once, lets the loop go round so often, and gives up.
async fn drop_after<F: Future + Unpin>(turns: usize, future: &mut F) -> Option<F::Output> {
    // The caller's temporary is dropped when this is done.
    match poll_once(future).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => {
            for _ in 0..turns {
                turn().await;
            }
            None
        }
    }
}
