//! Transfers that a worker thread of the kernel's makes because they are large: they are as others are, dropped ones too.

use std::io::SeekFrom;

use ringtoss::CancellationToken;
use ringtoss::fs::{self, File};

use crate::util::{poll_once, run, turn, unnamed};

const LEN: usize = (3 << 20) + 17;

fn content(seed: usize) -> Vec<u8> {
    let mut content = (0..251).map(|place| (place * 7 + seed) as u8).collect::<Vec<_>>().repeat(LEN / 251 + 1);
    content.truncate(LEN);
    content
}

#[test]
fn every_way_there_and_back() {
    run(async {
        let mut file = unnamed();
        let at_once = content(1);
        let (result, at_once) = file.write_at(at_once, 0).await;
        assert_eq!(result.unwrap(), LEN);
        let (result, read) = file.read_at(Vec::with_capacity(LEN + 5), 0).await;
        assert_eq!(result.unwrap(), LEN);
        assert!(read == at_once);
        let (result, two) = file.read_vectored_at(vec![Vec::with_capacity(LEN / 2), Vec::with_capacity(LEN)], 0).await;
        assert_eq!(result.unwrap(), LEN);
        assert!(two.concat() == at_once);

        let all = content(2);
        file.write_all(all.clone()).await.0.unwrap();
        file.write_vectored(vec![all.clone(), all.clone()]).await.0.unwrap();
        assert_eq!(file.seek(SeekFrom::Current(0)).await.unwrap(), 3 * LEN as u64);
        file.seek(SeekFrom::Start(LEN as u64)).await.unwrap();
        let (result, read) = file.read_exact(Vec::with_capacity(LEN), LEN).await;
        result.unwrap();
        assert!(read == all);
        let (result, rest) = file.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), LEN);
        assert!(rest == all);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("whole");
        fs::write(&path, all.clone()).await.unwrap();
        assert!(fs::read(&path).await.unwrap() == all);
    });
}

/// At every moment; the position is where it would be without it, and what was taken is there.
#[test]
fn dropped_ones_have_happened_or_not() {
    run(async {
        let (old, new) = (content(3), content(4));
        for turns in [0, 1, 2, 50, 5000] {
            let mut file = unnamed();
            file.write_all_at(old.clone(), 0).await.0.unwrap();
            let mut read = file.read(Vec::with_capacity(LEN));
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            drop(read);
            let (result, read) = file.read_exact(Vec::with_capacity(LEN), LEN).await;
            result.unwrap();
            assert!(read == old, "{turns}");

            let mut write = file.write_all_at(new.clone(), 0);
            assert!(poll_once(&mut write).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            drop(write);
            let taken = match file.take_dropped_write().await {
                Some(Ok(taken)) => taken,
                Some(Err(error)) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                    0
                }
                None => 0,
            };
            let (result, is) = file.read_exact_at(Vec::with_capacity(LEN), LEN, 0).await;
            result.unwrap();
            assert!(is[..taken] == new[..taken] && is[taken..] == old[taken..], "{turns}: {taken}");
        }
    });
}

/// A cancel gives the buffer back, whichever was faster.
#[test]
fn cancelled_ones_say_how_far_they_came() {
    run(async {
        let file = unnamed();
        file.write_all_at(content(5), 0).await.0.unwrap();
        for turns in [0, 1, 5, 500] {
            let token = CancellationToken::new();
            let mut read = file.read_at(Vec::with_capacity(LEN), 0).cancel_on(&token);
            assert!(poll_once(&mut read).await.is_pending());
            for _ in 0..turns {
                turn().await;
            }
            token.cancel();
            match read.await {
                (Ok(count), buf) => assert!(count == LEN && buf == content(5)),
                (Err(error), buf) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                    assert!(buf.is_empty());
                }
            }
        }
    });
}

/// More than there are threads, and small ones between them.
#[test]
fn many_at_once_beside_small_ones() {
    run(async {
        let file = std::rc::Rc::new(unnamed());
        file.write_all_at(content(6), 0).await.0.unwrap();
        let small = async |file: &File| {
            for _ in 0..100 {
                let (result, byte) = file.read_exact_at(Vec::with_capacity(1), 1, 7).await;
                result.unwrap();
                assert_eq!(byte[0], content(6)[7]);
            }
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let file = file.clone();
                ringtoss::spawn(async move { file.read_at(Vec::with_capacity(LEN), 0).await.0.unwrap() })
            })
            .collect();
        small(&file).await;
        for task in tasks {
            assert_eq!(task.await.unwrap(), LEN);
        }
    });
}
