//! Files that chains open for themselves: at a place of the table that is theirs until they are over. Neither the file nor the
//! place stays, whatever becomes of the chain.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringtoss::fs::{ChainedFile, OpenOptions, Resolve};
use ringtoss::{EventLoop, metrics, op};
use tempfile::TempDir;

use super::{alone, assert_places, bounded, event_loop, in_the_table, poll_once, run, turn, works};

const CANCELLED: Option<i32> = Some(libc::ECANCELED);

fn reading() -> OpenOptions {
    OpenOptions::new().read(true).clone()
}

fn creating() -> OpenOptions {
    OpenOptions::new().write(true).create(true).truncate(true).clone()
}

/// A folder with a file of that content.
fn with_file(content: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, content).unwrap();
    (folder, path)
}

/// A folder with a pipe that has a name.
fn with_fifo() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    (folder, path)
}

/// Whether there are no places here, so that a chain's own file has a number, and what has not been submitted when its loop ends is submitted to the
/// loop that goes on with it.
fn link_by_link() -> bool {
    let without = !works();
    if without {
        eprintln!("LEFT OUT: before Linux 6.13 a chain's own file has a number");
    }
    without
}

/// Waits until the chain has left nothing: no operation, no place, no file under a number.
async fn assert_gone(path: &Path) {
    for _ in 0..2000 {
        turn().await;
        if metrics().in_flight == 0 && metrics().registered_files == 0 && in_the_table() == 0 && !has_number(path) {
            return;
        }
        ringtoss::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} in flight, {} places, {} in the table", metrics().in_flight, metrics().registered_files, in_the_table());
}

fn has_number(path: &Path) -> bool {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.filter_map(|link| fs::read_link(link.path()).ok()).any(|target| target == path)
}

fn errno<T>(result: &std::io::Result<T>) -> Option<i32> {
    result.as_ref().err().and_then(std::io::Error::raw_os_error)
}

#[test]
fn one_submission_opens_uses_and_closes_it() {
    run(|| async {
        let (_folder, path) = with_file(b"before, and longer");
        turn().await;
        let before = metrics();
        let chain = creating()
            .open_chained(&path)
            .link(ChainedFile.write_all_at("some bytes", 0))
            .link(ChainedFile.sync_data())
            .link(ChainedFile.close());
        let (opened, (written, text), synced, closed) = chain.await;
        opened.unwrap();
        written.unwrap();
        synced.unwrap();
        closed.unwrap();
        turn().await;
        assert_eq!((text, fs::read(&path).unwrap()), ("some bytes", b"some bytes".to_vec()));
        if works() {
            // Only the last one speaks. And a turn is an entry.
            assert_eq!(metrics().submissions - before.submissions, 4 + 1);
            assert_eq!(metrics().completions - before.completions, 1 + 1);
        }
        let chain = reading()
            .open_chained(&path)
            .link(ChainedFile.read_exact_at(Vec::with_capacity(4), 4, 0))
            .link(ChainedFile.read_at(Vec::with_capacity(100), 5))
            .hardlink(ChainedFile.close());
        let (opened, (first, start), (second, rest), closed) = chain.await;
        opened.unwrap();
        closed.unwrap();
        assert_eq!((first.unwrap(), &start[..]), (4, &b"some"[..]));
        assert_eq!((second.unwrap(), &rest[..]), (5, &b"bytes"[..]));
        assert_places(0);
        assert!(!has_number(&path));
    });
}

/// Restricted paths go by another opcode, which has its flags elsewhere; and from a directory.
#[test]
fn with_restrictions_and_from_a_directory() {
    run(|| async {
        let (folder, path) = with_file(b"bytes");
        let dir = ringtoss::fs::Dir::open(folder.path()).await.unwrap();
        let mut beneath = reading();
        beneath.resolve(Resolve::BENEATH);
        for options in [reading(), beneath.clone()] {
            let chain = dir
                .open_chained("file", &options)
                .link(ChainedFile.read_at(Vec::with_capacity(9), 0))
                .hardlink(ChainedFile.close());
            let (opened, (read, bytes), closed) = chain.await;
            opened.unwrap();
            closed.unwrap();
            assert_eq!((read.unwrap(), &bytes[..]), (5, &b"bytes"[..]));
        }
        let escape = dir.open_chained("../file", &beneath).link(ChainedFile.close()).await;
        assert_eq!((errno(&escape.0), errno(&escape.1)), (Some(libc::EXDEV), CANCELLED));
        drop(dir);
        assert_gone(&path).await;
    });
}

#[test]
fn where_no_link_closes_it_it_is_closed_all_the_same() {
    run(|| async {
        let (_folder, path) = with_file(b"bytes");
        for round in 0..50 {
            let chain = reading().open_chained(&path).link(ChainedFile.read_at(Vec::with_capacity(9), 0));
            let (opened, (read, _)) = chain.await;
            opened.unwrap();
            assert_eq!(read.unwrap(), 5, "round {round}");
            reading().open_chained(&path).await.unwrap();
            reading().open_chained(&path).link_timeout(Duration::from_secs(30)).await.unwrap();
            let (_, opened) = op::nop().link(reading().open_chained(&path)).await;
            opened.unwrap();
        }
        assert_gone(&path).await;
    });
}

/// Each link in turn; what follows it softly does not run, what follows it hard does, and nothing stays open.
#[test]
fn every_link_may_fail() {
    run(|| async {
        let (folder, path) = with_file(b"bytes");
        let missing = folder.path().join("missing");
        let buf = || Vec::<u8>::with_capacity(100);
        // The open.
        let chain = reading().open_chained(&missing).link(ChainedFile.read_at(buf(), 0)).hardlink(ChainedFile.close());
        let (opened, (read, back), closed) = chain.await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((errno(&read), back.capacity(), errno(&closed)), (CANCELLED, 100, CANCELLED));
        assert_places(0);
        let chain = OpenOptions::new().open_chained(&path).link(ChainedFile.close());
        let (opened, closed) = chain.await;
        assert_eq!((opened.unwrap_err().kind(), errno(&closed)), (ErrorKind::InvalidInput, CANCELLED));
        let (opened, closed) = reading().open_chained("a\0b").link(ChainedFile.close()).await;
        assert_eq!((opened.unwrap_err().kind(), errno(&closed)), (ErrorKind::InvalidInput, CANCELLED));
        // The open, and what follows it runs nevertheless: there is no file.
        let chain =
            reading().open_chained(&missing).hardlink(ChainedFile.read_at(buf(), 0)).hardlink(ChainedFile.close());
        let (opened, (read, _), closed) = chain.await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((errno(&read), errno(&closed)), (Some(libc::EBADF), Some(libc::EBADF)));
        assert_places(0);
        // A transfer: it is open for the other direction; before a soft and before a hard link.
        let chain = creating().open_chained(&missing).link(ChainedFile.read_at(buf(), 0)).link(ChainedFile.close());
        let (opened, (read, _), closed) = chain.await;
        opened.unwrap();
        assert_eq!((errno(&read), errno(&closed)), (Some(libc::EBADF), CANCELLED));
        let chain = reading().open_chained(&path).link(ChainedFile.write_all_at("x", 0)).hardlink(ChainedFile.close());
        let (_, (written, _), closed) = chain.await;
        assert_eq!(errno(&written), Some(libc::EBADF));
        closed.unwrap();
        // It meets the end.
        let chain =
            reading().open_chained(&path).link(ChainedFile.read_exact_at(buf(), 9, 0)).link(ChainedFile.close());
        let (_, (read, _), closed) = chain.await;
        assert_eq!((read.unwrap_err().kind(), errno(&closed)), (ErrorKind::UnexpectedEof, CANCELLED));
        let chain = reading().open_chained(&path).link(ChainedFile.read_at(buf(), 0)).link(ChainedFile.close());
        let (_, (read, bytes), closed) = chain.await;
        assert_eq!((read.unwrap(), &bytes[..], errno(&closed)), (5, &b"bytes"[..], CANCELLED));
        // A disk that is full.
        let chain = OpenOptions::new()
            .write(true)
            .open_chained("/dev/full")
            .link(ChainedFile.write_all_at("x", 0))
            .link(ChainedFile.sync_all());
        let (opened, (written, _), synced) = chain.await;
        opened.unwrap();
        assert_eq!((errno(&written), errno(&synced)), (Some(libc::ENOSPC), CANCELLED));
        // A sync that is none; and a close too many.
        let chain = reading()
            .open_chained("/dev/null")
            .link(ChainedFile.sync_all())
            .hardlink(ChainedFile.close())
            .link(ChainedFile.close());
        let (_, synced, closed, again) = chain.await;
        assert_eq!((errno(&synced), errno(&again)), (Some(libc::EINVAL), Some(libc::EBADF)));
        closed.unwrap();
        let chain = reading().open_chained(&path).link(ChainedFile.close()).hardlink(ChainedFile.read_at(buf(), 0));
        let (_, closed, (read, _)) = chain.await;
        closed.unwrap();
        assert_eq!(errno(&read), Some(libc::EBADF));
        // By itself.
        assert_eq!(errno(&ChainedFile.read_at(buf(), 0).await.0), Some(libc::EBADF));
        assert_eq!(errno(&ChainedFile.close().await), Some(libc::EBADF));
        assert_gone(&path).await;
    });
}

/// At every point: before it is submitted, at each of its links, and when it is complete.
#[test]
fn dropped_at_every_point() {
    run(|| async {
        let (_folder, path) = with_file(b"");
        for round in 0..240 {
            let mut chain = creating()
                .open_chained(&path)
                .link(ChainedFile.write_all_at(vec![7; 1 << 16], 0))
                .link(ChainedFile.sync_all())
                .hardlink(ChainedFile.close());
            if round % 8 > 0 {
                assert!(poll_once(&mut chain).await.is_pending());
            }
            for _ in 1..round % 8 {
                turn().await;
            }
            match round % 3 {
                0 => drop(chain),
                1 => std::thread::scope(|scope| scope.spawn(move || drop(chain)).join().unwrap()),
                _ => drop(chain.timeout(Duration::from_micros(round)).await),
            }
        }
        assert_gone(&path).await;
    });
}

/// It waits in a link, which is cancelled; what would close it runs, or does not, or is not there.
#[test]
fn dropped_while_a_link_waits() {
    run(|| async {
        let (_folder, path) = with_fifo();
        for round in 0..60 {
            let read = || ChainedFile.read_at(Vec::<u8>::with_capacity(9), 0);
            let nonblocking =
                |path: &Path| fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
            let waits = async |path: &Path| {
                for _ in 0..2000 {
                    if let Ok(writer) = nonblocking(path) {
                        return writer;
                    }
                    turn().await;
                }
                panic!("nobody has opened it");
            };
            macro_rules! drop_it {
                ($chain:expr) => {{
                    let mut chain = $chain;
                    assert!(poll_once(&mut chain).await.is_pending());
                    let writer = waits(&path).await;
                    assert_eq!(metrics().registered_files, u64::from(works()));
                    match round / 3 % 3 {
                        0 => drop(chain),
                        1 => std::thread::scope(|scope| scope.spawn(move || drop(chain)).join().unwrap()),
                        _ => drop(chain.timeout(Duration::from_micros(50)).await),
                    }
                    writer
                }};
            }
            let mut writer = match round % 3 {
                0 => drop_it!(reading().open_chained(&path).link(read()).hardlink(ChainedFile.close())),
                1 => drop_it!(reading().open_chained(&path).link(read()).link(ChainedFile.close())),
                _ => drop_it!(reading().open_chained(&path).link(read())),
            };
            assert_gone(&path.with_extension("none")).await;
            let error = writer.write(b"x").expect_err("nobody reads any more");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "round {round}");
        }
    });
}

/// Nobody takes its result. The place is free, and the file closed, when the kernel is done with it.
#[test]
fn forgotten() {
    run(|| async {
        let (_folder, path) = with_file(b"bytes");
        for round in 0..20 {
            let mut chain = Box::pin(
                reading().open_chained(&path).link(ChainedFile.read_at(vec![0; 100], 0)).hardlink(ChainedFile.close()),
            );
            assert!(poll_once(&mut chain).await.is_pending());
            std::mem::forget(chain);
            let mut open = Box::pin(reading().open_chained(&path).link(ChainedFile.read_at(vec![0; 100], 0)));
            assert!(poll_once(&mut open).await.is_pending());
            std::mem::forget(open);
            for _ in 0..round % 4 {
                turn().await;
            }
        }
        if !works() {
            return;
        }
        for attempt in 0.. {
            turn().await;
            if metrics().registered_files == 0 && in_the_table() == 0 {
                break;
            }
            assert!(attempt < 2000, "{} places, {} files", metrics().registered_files, in_the_table());
            ringtoss::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn the_end_of_the_loop() {
    if link_by_link() {
        return;
    }
    for round in 0..20 {
        let _alone = alone();
        let (_folder, path) = with_fifo();
        let event_loop = event_loop();
        let mut kept = None;
        event_loop.block_on(bounded(async {
            let mut chain = reading()
                .open_chained(&path)
                .link(ChainedFile.read_at(Vec::<u8>::with_capacity(9), 0))
                .hardlink(ChainedFile.close());
            assert!(poll_once(&mut chain).await.is_pending());
            for _ in 0..round % 4 {
                turn().await;
            }
            kept = (round % 2 == 0).then_some(chain);
        }));
        drop(event_loop);
        if let Some(chain) = kept {
            let (_, (read, _), _) = ringtoss::block_on(chain);
            assert!(read.is_err());
        }
        assert!(!has_number(&path));
        let error = fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).expect_err("closed");
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "round {round}: somebody still reads");
    }
}

/// A pipe's open for writing waits for a reader, in a worker thread of the kernel's: it is made anew, and all behind it.
#[test]
fn an_open_that_waits() {
    run(|| async {
        let (_folder, path) = with_fifo();
        for dropped in [false, true] {
            let mut chain = OpenOptions::new()
                .write(true)
                .open_chained(&path)
                .link(ChainedFile.write_all_at("through the pipe", 0))
                .link(ChainedFile.close());
            assert!(poll_once(&mut chain).await.is_pending());
            for _ in 0..5 {
                turn().await;
            }
            if dropped {
                drop(chain);
                assert_gone(&path).await;
                continue;
            }
            let name = path.clone();
            let reader = std::thread::spawn(move || {
                let mut text = String::new();
                fs::File::open(name).unwrap().read_to_string(&mut text).unwrap();
                text
            });
            let (opened, (written, _), closed) = chain.await;
            opened.unwrap();
            written.unwrap();
            closed.unwrap();
            assert_eq!(reader.join().unwrap(), "through the pipe");
            assert_gone(&path).await;
        }
    });
}

/// What is closed under a number that looks like a place has nothing to do with whoever has that.
#[test]
fn a_place_is_no_number() {
    if link_by_link() {
        return;
    }
    run(|| async {
        let (_folder, path) = with_fifo();
        let mut chains: Vec<_> = (0..64)
            .map(|_| {
                reading().open_chained(&path).link(ChainedFile.read_at(vec![0; 1], 0)).hardlink(ChainedFile.close())
            })
            .collect();
        for chain in &mut chains {
            assert!(poll_once(chain).await.is_pending());
        }
        turn().await;
        for _ in 0..3 {
            let file = ringtoss::fs::File::open("/dev/null").await.unwrap();
            assert!(file.as_raw_fd() < 64);
            file.close().await.unwrap();
        }
        let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
        writer.write_all(&[7; 64]).unwrap();
        for chain in chains {
            let (opened, (read, byte), closed) = chain.await;
            opened.unwrap();
            closed.unwrap();
            assert_eq!((read.unwrap(), byte), (1, vec![7]));
        }
        assert_places(0);
    });
}

/// Hundreds of them, of which each finds its own file.
#[test]
fn many_at_once() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let tasks: Vec<_> = (0..400u32)
            .map(|number| {
                let path = folder.path().join(number.to_string());
                ringtoss::spawn(async move {
                    let text = format!("file {number}");
                    let chain = creating()
                        .open_chained(&path)
                        .link(ChainedFile.write_all_at(text.clone(), 0))
                        .link(ChainedFile.close());
                    let (opened, (written, _), closed) = chain.await;
                    opened.unwrap();
                    written.unwrap();
                    closed.unwrap();
                    let chain = reading()
                        .open_chained(&path)
                        .link(ChainedFile.read_at(Vec::with_capacity(100), 0))
                        .hardlink(ChainedFile.close());
                    let (_, (read, bytes), _) = chain.await;
                    read.unwrap();
                    assert_eq!(bytes, text.as_bytes());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_gone(folder.path()).await;
    });
}

/// Where it cannot be done in one go the file has a number, and all is as ever.
#[test]
fn one_by_one() {
    async fn all_of_it(limit: Option<Duration>) {
        let (folder, path) = with_file(b"");
        for round in 0..30 {
            let write = creating().open_chained(&path).link(ChainedFile.write_all_at(vec![round; 100], 0));
            let close = ChainedFile.close();
            let (opened, (written, _), closed) = match limit {
                Some(limit) => write.link_timeout(limit).link(close).await,
                None => write.link(close).await,
            };
            opened.unwrap();
            written.unwrap();
            closed.unwrap();
            assert!(!has_number(&path));
            let chain = reading()
                .open_chained(&path)
                .link(ChainedFile.read_at(Vec::with_capacity(200), 0))
                .hardlink(ChainedFile.close())
                .hardlink(ChainedFile.close());
            let (_, (read, bytes), closed, again) = chain.await;
            assert_eq!((read.unwrap(), bytes), (100, vec![round; 100]));
            closed.unwrap();
            assert_eq!(errno(&again), Some(libc::EBADF));
            let missing = folder.path().join("missing");
            let chain = reading().open_chained(missing).hardlink(ChainedFile.close());
            let (opened, closed) = chain.await;
            assert_eq!((errno(&opened), errno(&closed)), (Some(libc::ENOENT), Some(libc::EBADF)));
            // Dropped at each of its links. What is at work may end later.
            let dropped = folder.path().join("dropped");
            let mut chain = creating()
                .open_chained(&dropped)
                .link(ChainedFile.write_all_at("x", 0))
                .link(ChainedFile.sync_data())
                .link(ChainedFile.close());
            for _ in 0..round % 12 {
                if poll_once(&mut chain).await.is_ready() {
                    break;
                }
                turn().await;
            }
            drop(chain);
            turn().await;
            // Nobody closes the number a second time, whoever has it by now.
            for polls in 0..8 {
                let mut chain = reading().open_chained(&path).link(ChainedFile.close()).hardlink(op::nop());
                for _ in 0..polls {
                    if poll_once(&mut chain).await.is_ready() {
                        break;
                    }
                    turn().await;
                }
                drop(chain);
                let strangers: Vec<_> = (0..4).map(|_| fs::File::open("/dev/null").unwrap()).collect();
                for _ in 0..3 {
                    turn().await;
                }
                assert!(strangers.iter().all(|stranger| stranger.metadata().is_ok()));
            }
        }
        assert_gone(&folder.path().join("dropped")).await;
    }
    let _alone = alone();
    for entries in [1, 2] {
        let event_loop = EventLoop::builder().submission_entries(entries).build().unwrap();
        event_loop.block_on(bounded(all_of_it(None)));
    }
    event_loop().block_on(bounded(all_of_it(Some(Duration::from_secs(30)))));
}
