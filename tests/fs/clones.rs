//! Clones of a file share its position and take turns.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringtoss::fs::File;

use crate::util::{holding, poll_once, run, turn};

const BLOCK: usize = 4096;
const BLOCKS: usize = 512;

/// Blocks of which each holds its own number all over.
fn numbered() -> Vec<u8> {
    (0..BLOCKS).flat_map(|number| (number as u64).to_le_bytes().repeat(BLOCK / 8)).collect()
}

#[track_caller]
fn number(block: &[u8]) -> u64 {
    assert_eq!(block.len(), BLOCK, "whole blocks only");
    let number = u64::from_le_bytes(block[..8].try_into().unwrap());
    assert!(block.chunks(8).all(|chunk| chunk == number.to_le_bytes()), "a torn block");
    number
}

#[track_caller]
fn all_once(seen: Vec<u64>) {
    let distinct: HashSet<u64> = seen.iter().copied().collect();
    assert_eq!((seen.len(), distinct.len()), (BLOCKS, BLOCKS), "every block once");
}

#[test]
fn concurrent_readers_never_get_the_same_block() {
    run(async {
        let content = numbered();
        for _ in 0..10 {
            let file = holding(&content);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let mut file = file.try_clone().unwrap();
                    ringtoss::spawn(async move {
                        let mut seen = Vec::new();
                        loop {
                            let (result, buf) = file.read(Vec::with_capacity(BLOCK)).await;
                            if result.unwrap() == 0 {
                                return seen;
                            }
                            seen.push(number(&buf));
                        }
                    })
                })
                .collect();
            let mut seen = Vec::new();
            for reader in readers {
                seen.extend(reader.await.unwrap());
            }
            all_once(seen);
        }
    });
}

/// With readers that give up, in every way there is.
#[test]
fn readers_that_give_up_disturb_nobody() {
    run(async {
        let content = numbered();
        for _ in 0..5 {
            let file = holding(&content);
            let readers: Vec<_> = (0..4usize)
                .map(|index| {
                    let mut file = file.try_clone().unwrap();
                    ringtoss::spawn(async move {
                        let mut seen = Vec::new();
                        let mut round = index;
                        loop {
                            round += 1;
                            let (result, buf) = match round % 5 {
                                0 => file.read(Vec::with_capacity(BLOCK)).cancel().await,
                                1 => file.read(Vec::with_capacity(BLOCK)).timeout(Duration::from_micros(20)).await,
                                2 => {
                                    let mut read = file.read(Vec::with_capacity(BLOCK));
                                    let polled = poll_once(&mut read).await;
                                    turn().await;
                                    match polled {
                                        std::task::Poll::Ready(done) => done,
                                        std::task::Poll::Pending => continue,
                                    }
                                }
                                3 => {
                                    let mut read = file.read_exact(Vec::with_capacity(BLOCK), BLOCK);
                                    match poll_once(&mut read).await {
                                        std::task::Poll::Ready(done) => done,
                                        std::task::Poll::Pending => continue,
                                    }
                                }
                                _ => file.read(Vec::with_capacity(BLOCK)).await,
                            };
                            match result {
                                Ok(0) => return seen,
                                Ok(_) => seen.push(number(&buf)),
                                Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
                                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
                                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                    })
                })
                .collect();
            let mut seen = Vec::new();
            for reader in readers {
                seen.extend(reader.await.unwrap());
            }
            all_once(seen);
        }
    });
}

#[test]
fn readers_on_two_threads() {
    let content = numbered();
    for _ in 0..5 {
        let file = holding(&content);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (file, seen) = (file.try_clone().unwrap(), seen.clone());
                std::thread::spawn(move || {
                    run(async {
                        let tasks: Vec<_> = (0..2)
                            .map(|_| {
                                let (mut file, seen) = (file.try_clone().unwrap(), seen.clone());
                                ringtoss::spawn(async move {
                                    loop {
                                        let (result, buf) = file.read(Vec::with_capacity(BLOCK)).await;
                                        if result.unwrap() == 0 {
                                            return;
                                        }
                                        seen.lock().unwrap().push(number(&buf));
                                    }
                                })
                            })
                            .collect();
                        for task in tasks {
                            task.await.unwrap();
                        }
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        all_once(std::mem::take(&mut seen.lock().unwrap()));
    }
}

#[test]
fn concurrent_writers_overwrite_nothing() {
    run(async {
        let file = crate::util::unnamed();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut file = file.try_clone().unwrap();
                ringtoss::spawn(async move {
                    for index in (writer..BLOCKS).step_by(4) {
                        let block = (index as u64).to_le_bytes().repeat(BLOCK / 8);
                        file.write_all(block).await.0.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let mut file = file;
        assert_eq!(file.stream_position().await.unwrap(), (BLOCKS * BLOCK) as u64);
        file.rewind().await.unwrap();
        let (result, buf) = file.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), BLOCKS * BLOCK);
        all_once(buf.chunks(BLOCK).map(number).collect());
    });
}

#[test]
fn a_clone_gets_what_a_dropped_read_of_another_has_read() {
    run(async {
        let (mut reader, mut writer) = crate::util::pipe();
        let mut clone = reader.try_clone().unwrap();
        let mut read = reader.read(Vec::with_capacity(100));
        assert!(poll_once(&mut read).await.is_pending());
        turn().await;
        writer.write_all("hello").await.0.unwrap();
        turn().await;
        drop(read);
        drop(reader);
        let (result, buf) = clone.read(Vec::with_capacity(3)).await;
        assert_eq!((result.unwrap(), &buf[..]), (3, &b"hel"[..]));
        let mut again = clone.try_clone().unwrap();
        clone.close().await.unwrap();
        let (result, buf) = again.read(Vec::with_capacity(100)).await;
        assert_eq!((result.unwrap(), &buf[..]), (2, &b"lo"[..]));
        drop(writer);
        assert_eq!(again.read(Vec::with_capacity(100)).await.0.unwrap(), 0);
    });
}

#[test]
fn a_seek_waits_its_turn() {
    run(async {
        let file = holding(&numbered());
        let (mut reader, mut seeker) = (file.try_clone().unwrap(), file.try_clone().unwrap());
        for _ in 0..200 {
            seeker.rewind().await.unwrap();
            let mut read = reader.read(Vec::with_capacity(BLOCK));
            let polled = poll_once(&mut read).await;
            let position = seeker.seek(std::io::SeekFrom::Start(7 * BLOCK as u64));
            let mut position = position;
            let early = poll_once(&mut position).await;
            assert!(polled.is_ready() || early.is_pending(), "the position is in use");
            if polled.is_pending() {
                assert_eq!(number(&(&mut read).await.1), 0);
            }
            if early.is_pending() {
                assert_eq!((&mut position).await.unwrap(), 7 * BLOCK as u64);
            }
        }
    });
}

fn assert_threads<T: Send + Sync + 'static>() {}

#[test]
fn files_and_their_operations_go_between_threads() {
    assert_threads::<File>();
    assert_threads::<ringtoss::fs::OpenOptions>();
    assert_threads::<ringtoss::fs::Metadata>();
    fn send<T: Send>(_: &T) {}
    let mut file = crate::util::unnamed();
    send(&file.read_at(vec![0; 1], 0));
    send(&file.write_all_at(vec![0; 1], 0));
    send(&file.read_to_end(vec![0; 1]));
    send(&file.metadata());
    send(&file.set_len(0));
    send(&File::open("/"));
    send(&ringtoss::fs::read("/"));
    send(&ringtoss::fs::write("/", "x"));
    send(&file.close());
}
