//! Files.

use std::io::{Seek, SeekFrom, Write};

use ringtoss::buf::RegisteredPool;
use ringtoss::fs::{self, File};

use super::{assert_places, run, turn};

/// A file of so many bytes, each its own number, with a place.
async fn file(bytes: usize) -> File {
    let mut std = tempfile::tempfile().unwrap();
    let content: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
    std.write_all(&content).unwrap();
    std.seek(SeekFrom::Start(0)).unwrap();
    let file = File::from_std(std);
    file.register();
    for at in 0..3 {
        let (result, got) = file.read_at(Vec::with_capacity(1), at).await;
        assert_eq!((result.unwrap(), got), (1, vec![at as u8]));
    }
    file
}

#[test]
fn everything_that_a_file_can_do_works_as_ever() {
    run(|| async {
        let mut file = file(10_000).await;
        assert_places(1);
        let pool = RegisteredPool::new(4096, 2).unwrap();
        let (result, buf) = file.read_at(pool.take().await.unwrap(), 256 + 5).await;
        assert_eq!((result.unwrap(), &buf[..3]), (4096, &[5, 6, 7][..]));
        let (result, buf) = file.write_all_at(buf, 10_000).await;
        result.unwrap();
        drop(buf);
        assert_eq!(file.metadata().await.unwrap().len(), 14_096);
        file.sync_all().await.unwrap();
        file.set_len(12_000).await.unwrap();
        // At the position, and a clone, which shares that.
        let (result, got) = file.read_exact(Vec::with_capacity(10), 10).await;
        assert_eq!((result.unwrap(), got), (10, (0..10).collect()));
        let mut clone = file.try_clone().unwrap();
        clone.register();
        for at in 10..20u8 {
            let (result, got) = clone.read(Vec::with_capacity(1)).await;
            assert_eq!((result.unwrap(), got), (1, vec![at]));
            std::mem::swap(&mut file, &mut clone);
        }
        assert_places(2);
        assert_eq!(file.stream_position().await.unwrap(), 20);
        let (result, got) = file.read_vectored(vec![Vec::with_capacity(2), Vec::with_capacity(2)]).await;
        assert_eq!((result.unwrap(), got), (4, vec![vec![20, 21], vec![22, 23]]));
        let (std, unread) = file.into_parts().unwrap();
        assert_eq!((std.metadata().unwrap().len(), unread.len()), (12_000, 0));
        clone.close().await.unwrap();
        turn().await;
        assert_places(0);
    });
}

/// Its place is the next file's, which must not be taken for it.
#[test]
fn a_closed_file_lets_go_at_once_and_its_place_is_the_next_ones() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..200u8 {
            let path = folder.path().join(round.to_string());
            fs::write(&path, vec![round; 64]).await.unwrap();
            let file = File::open(&path).await.unwrap();
            file.register();
            for _ in 0..2 + round % 2 {
                let (result, got) = file.read_at(Vec::with_capacity(64), 0).await;
                assert_eq!((result.unwrap(), got), (64, vec![round; 64]));
            }
            assert_places(1);
            file.lock().await.unwrap();
            if round % 3 == 0 {
                file.close().await.unwrap()
            } else {
                drop(file)
            }
            turn().await;
            assert_places(0);
            // The lock goes with the open file, which a thread that has taken the lock may hold a little longer.
            File::open(&path).await.unwrap().lock().await.unwrap();
        }
    });
}

#[test]
fn registering_it_again_or_after_its_place_was_left_changes_nothing() {
    run(|| async {
        let file = file(100).await;
        for _ in 0..20 {
            file.register();
            assert_eq!(file.read_at(Vec::with_capacity(1), 7).await.0.unwrap(), 1);
        }
        assert_places(1);
        let std = file.into_std().unwrap();
        turn().await;
        assert_places(0);
        let file = File::from_std(std);
        // Never used: there is nothing to give back.
        file.register();
        drop(file);
        turn().await;
        assert_places(0);
    });
}
