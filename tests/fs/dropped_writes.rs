//! An old write never lands after a newer one, and its fate can be told.

use std::time::Duration;

use ringtoss::time::timeout;

use crate::util::{pattern, pipe, poll_once, poll_until_woken, run, turn, unnamed};

/// A write that was dropped, in one way or another, and tried again with other bytes.
#[test]
fn the_old_bytes_never_land_last() {
    const LEN: usize = 1 << 16;
    run(async {
        let file = unnamed();
        for round in 0..1000u32 {
            let (old, new) = (vec![1; LEN], vec![(round % 250) as u8 + 2; LEN]);
            let offset = u64::from(round % 3) * 1000;
            match round % 4 {
                0 => drop(timeout(Duration::ZERO, file.write_at(old, offset)).await),
                1 => drop(timeout(Duration::from_micros(u64::from(round % 100)), file.write_all_at(old, offset)).await),
                2 => {
                    let mut write = file.write_at(old, offset);
                    let _ = poll_once(&mut write).await;
                }
                _ => {
                    let half = (old[..LEN / 2].to_vec(), old[LEN / 2..].to_vec());
                    let mut write = file.write_vectored_at(half, offset);
                    let _ = poll_once(&mut write).await;
                    turn().await;
                }
            }
            let (result, new) = file.write_all_at(new, offset).await;
            result.unwrap();
            if round % 2 == 0 {
                file.sync_data().await.unwrap();
            }
            let (result, buf) = file.read_exact_at(Vec::with_capacity(LEN), LEN, offset).await;
            result.unwrap();
            assert!(buf == new, "round {round}");
        }
    });
}

/// What is cut off must stay cut off, and what is written behind a dropped `set_len` must not be cut off.
#[test]
fn set_len_and_dropped_writes() {
    run(async {
        let file = unnamed();
        for round in 0..300 {
            let mut write = file.write_at(vec![1; 100_000], 0);
            let _ = poll_once(&mut write).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(write);
            file.set_len(10).await.unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), 10, "round {round}");
            let mut cut = Box::pin(file.set_len(0));
            let _ = poll_once(&mut cut).await;
            if round % 3 == 0 {
                turn().await;
            }
            drop(cut);
            file.write_all_at("behind", 4).await.0.unwrap();
            let (result, buf) = file.read_at(Vec::with_capacity(100), 4).await;
            assert_eq!((result.unwrap(), &buf[..]), (6, &b"behind"[..]), "round {round}");
        }
    });
}

#[test]
fn the_fate_of_a_dropped_write() {
    run(async {
        let file = unnamed();
        assert!(file.take_dropped_write().await.is_none());
        for round in 0..200 {
            file.set_len(0).await.unwrap();
            let mut write = file.write_at(pattern(50_000), 0);
            assert!(poll_once(&mut write).await.is_pending());
            for _ in 0..1 + round % 4 {
                turn().await;
            }
            drop(write);
            let taken = file.take_dropped_write().await.expect("the kernel had it").unwrap();
            assert_eq!(file.metadata().await.unwrap().len(), taken as u64, "round {round}");
            let (_, buf) = file.read_at(Vec::with_capacity(60_000), 0).await;
            assert!(buf == pattern(50_000)[..taken]);
            assert!(file.take_dropped_write().await.is_none(), "it is told once");
        }
        // Errors are told, too.
        let full = ringtoss::fs::File::options().write(true).open("/dev/full").await.unwrap();
        let mut write = full.write_at("x", 0);
        // Dropped when it is done, or the cancellation might be faster.
        poll_until_woken(&mut write).await;
        drop(write);
        let error = full.take_dropped_write().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    });
}

/// The bytes that a pipe took of dropped writes are those that they tell, in order with those of the others.
#[test]
fn on_a_pipe_in_order() {
    run(async {
        let (mut reader, mut writer) = pipe();
        let receiver = ringtoss::spawn(async move {
            let mut all = Vec::new();
            loop {
                ringtoss::time::sleep(Duration::from_micros(100)).await;
                let (result, buf) = reader.read(Vec::with_capacity(30_000)).await;
                if result.unwrap() == 0 {
                    return all;
                }
                all.extend_from_slice(&buf);
            }
        });
        let mut expected = Vec::new();
        for round in 0..100u8 {
            // More than the pipe holds.
            let write = writer.write_all(vec![round; 100_000]);
            match timeout(Duration::from_micros(u64::from(round) * 10), write).await {
                Ok((result, _)) => {
                    result.unwrap();
                    expected.push((round, 100_000));
                }
                Err(_) => {
                    let taken = writer.take_dropped_write().await.map_or(0, Result::unwrap);
                    expected.push((round, taken));
                }
            }
            writer.write_all(vec![255]).await.0.unwrap();
            expected.push((255, 1));
        }
        writer.close().await.unwrap();
        let all = receiver.await.unwrap();
        let expected: Vec<u8> = expected.into_iter().flat_map(|(byte, count)| vec![byte; count]).collect();
        assert_eq!(all.len(), expected.len());
        assert!(all == expected);
    });
}

/// Closing and syncing wait for what was dropped.
#[test]
fn closing_waits_for_dropped_writes() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        for round in 0..200 {
            let path = dir.path().join(format!("{round}"));
            let file = ringtoss::fs::File::create(&path).await.unwrap();
            let mut write = file.write_at(pattern(100_000), 0);
            assert!(poll_once(&mut write).await.is_pending());
            turn().await;
            drop(write);
            file.close().await.unwrap();
            // Its fate is sealed: nothing changes any more.
            let first = std::fs::read(&path).unwrap();
            for _ in 0..3 {
                turn().await;
            }
            assert!(std::fs::read(&path).unwrap() == first && pattern(100_000).starts_with(&first));
        }
    });
}

/// Writes to other bytes do not wait: only what overlaps is kept in order.
#[test]
fn many_dropped_and_kept_writes_side_by_side() {
    const BLOCK: usize = 1 << 12;
    run(async {
        let file = unnamed();
        for round in 1..50u8 {
            let mut dropped = Vec::new();
            for index in 0..32 {
                let mut write = file.write_at(vec![0xee; BLOCK], index * BLOCK as u64);
                let _ = poll_once(&mut write).await;
                dropped.push(write);
            }
            if round % 2 == 0 {
                turn().await;
            }
            drop(dropped);
            let mut kept: Vec<_> =
                (0..32).map(|index| file.write_all_at(vec![round; BLOCK], index * BLOCK as u64)).collect();
            for write in &mut kept {
                write.await.0.unwrap();
            }
            let (result, buf) = file.read_exact_at(Vec::with_capacity(32 * BLOCK), 32 * BLOCK, 0).await;
            result.unwrap();
            assert!(buf.iter().all(|&byte| byte == round), "round {round}");
        }
    });
}
