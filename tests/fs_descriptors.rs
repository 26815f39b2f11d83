//! Descriptors of files: none is lost, and none is closed too often. A process of its own, because it counts them.

use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use ringtoss::fs::{self, Advice, Allocate, Dir, File, OpenOptions, XattrMode};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// The kernel truncates on a thread of its own, which looks the number up when it gets to it.
#[test]
fn a_truncation_never_reaches_a_stranger_that_got_the_number() {
    let _alone = alone();
    ringtoss::block_on(async {
        turn().await;
        let before = descriptors();
        for round in 1..=15 {
            let leaks = round <= 5;
            let completions = ringtoss::metrics().completions;
            for index in 0..40 {
                let file = File::from_std(tempfile::tempfile().unwrap());
                // So that it has a home.
                file.write_at("x", 0).await.0.unwrap();
                let mut truncating = Box::pin(file.set_len(0));
                assert!(poll_once(&mut truncating).await.is_pending());
                if leaks {
                    std::mem::forget(truncating);
                } else if index % 2 == 0 {
                    turn().await;
                }
            }
            turn().await;
            let strangers: Vec<_> = (0..40)
                .map(|_| {
                    let mut stranger = tempfile::tempfile().unwrap();
                    stranger.write_all(b"precious").unwrap();
                    stranger
                })
                .collect();
            // Until those that nobody awaits have been made, too.
            let mut least = completions + 40 + 40 + 1;
            while leaks && ringtoss::metrics().completions < least {
                turn().await;
                least += 1;
            }
            back_to(before + 40 + 40 * round.min(5), "truncations, but for those that were leaked").await;
            assert!(strangers.iter().all(|stranger| stranger.metadata().unwrap().len() == 8), "round {round}");
        }
    });
}

/// The same of a hole that is punched, and of an attribute that is set.
#[test]
fn what_the_kernel_does_late_never_reaches_a_stranger() {
    let _alone = alone();
    ringtoss::block_on(async {
        turn().await;
        let before = descriptors();
        for round in 1..=5 {
            let completions = ringtoss::metrics().completions;
            for _ in 0..40 {
                let file = File::from_std(tempfile::tempfile().unwrap());
                file.write_at("x", 0).await.0.unwrap();
                let mut punching = file.allocate(Allocate::PunchHole, 0, 1 << 20);
                assert!(poll_once(&mut punching).await.is_pending());
                let mut naming = Box::pin(file.set_xattr("user.name", "value", XattrMode::Any));
                assert!(poll_once(&mut naming).await.is_pending());
                std::mem::forget((punching, naming));
            }
            turn().await;
            let strangers: Vec<_> = (0..80)
                .map(|_| {
                    let mut stranger = tempfile::tempfile().unwrap();
                    stranger.write_all(b"precious").unwrap();
                    stranger
                })
                .collect();
            let mut least = completions + 40 + 80 + 1;
            while ringtoss::metrics().completions < least {
                turn().await;
                least += 1;
            }
            // Each that was leaked keeps its duplicate.
            back_to(before + 80 + 80 * round, "what was leaked").await;
            for stranger in strangers {
                let stranger = File::from_std(stranger);
                assert_eq!(stranger.read_at(Vec::with_capacity(9), 0).await.1, b"precious", "round {round}");
                assert_eq!(stranger.get_xattr("user.name").await.unwrap_or_default(), None, "round {round}");
                stranger.close().await.unwrap();
            }
        }
    });
}

async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// Waits until there are as many as before. Dropped operations may still be under way in worker threads, so one look after
/// another may differ.
async fn back_to(before: usize, what: &str) {
    for _ in 0..5000 {
        if descriptors() == before {
            return;
        }
        ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(descriptors(), before, "after {what}");
}

#[test]
fn descriptors_are_not_lost() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "content").unwrap();
    let outside = descriptors();
    ringtoss::block_on(async {
        // What the loop and its timers need is there now.
        ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
        let before = descriptors();

        for round in 0..3000 {
            let mut opening = File::open(&path);
            let _ = poll_once(&mut opening).await;
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(opening);
            let mut creating = OpenOptions::new().write(true).create(true).open(dir.path().join("created"));
            let _ = poll_once(&mut creating).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(creating);
        }
        back_to(before, "opens that were dropped").await;

        for round in 0..1000 {
            let file = File::open(&path).await.unwrap();
            let clone = file.try_clone().unwrap();
            match round % 4 {
                0 => drop(file),
                1 => file.close().await.unwrap(),
                2 => drop(file.into_std().unwrap()),
                _ => {
                    let mut closing = Box::pin(file.close());
                    let _ = poll_once(&mut closing).await;
                    if round % 8 < 4 {
                        turn().await;
                    }
                }
            }
            assert_eq!(clone.read_at(Vec::with_capacity(9), 0).await.1, b"content");
        }
        back_to(before, "closes").await;

        for _ in 0..300 {
            fs::write(&path, "content").await.unwrap();
            fs::read(&path).await.unwrap();
            let mut reading = Box::pin(fs::read(&path));
            let _ = poll_once(&mut reading).await;
            turn().await;
            let _ = poll_once(&mut reading).await;
        }
        back_to(before, "whole files").await;

        // Directories, their entries, and calls on the blocking pool that hold descriptors.
        for round in 0..300 {
            let mut opening = Box::pin(fs::read_dir(dir.path()));
            let _ = poll_once(&mut opening).await;
            for _ in 0..round % 3 {
                turn().await;
            }
            drop(opening);
            let mut entries = fs::read_dir(dir.path()).await.unwrap();
            if round % 2 == 0 {
                let entry = entries.next_entry().await.unwrap().unwrap();
                drop(entries);
                let mut metadata = entry.metadata();
                let _ = poll_once(&mut metadata).await;
                if round % 4 == 0 {
                    turn().await;
                }
            } else {
                let _ = poll_once(&mut Box::pin(entries.next_entry())).await;
            }
            let mut copying = Box::pin(fs::copy(&path, dir.path().join("copy")));
            for _ in 0..round % 7 {
                if poll_once(&mut copying).await.is_ready() {
                    break;
                }
                turn().await;
            }
            // Another one each time: what was dropped goes on removing while the next is made.
            let top = dir.path().join(format!("a{round}"));
            fs::create_dir_all(top.join("b")).await.unwrap();
            let mut removing = Box::pin(fs::remove_dir_all(top));
            let _ = poll_once(&mut removing).await;
        }
        back_to(before, "directories").await;

        // Operations that own a duplicate, or wait on the blocking pool.
        for round in 0..300 {
            let file = OpenOptions::new().read(true).write(true).open(&path).await.unwrap();
            let holder = File::open(&path).await.unwrap();
            if round % 2 == 0 {
                holder.lock().await.unwrap();
            }
            let mut locking = Box::pin(file.lock());
            let _ = poll_once(&mut locking).await;
            let mut locking_bytes = Box::pin(file.lock_range(3..));
            let _ = poll_once(&mut locking_bytes).await;
            let mut allocating = file.allocate(Allocate::KeepSize, 0, 4096);
            let _ = poll_once(&mut allocating).await;
            let mut advising = Box::pin(file.advise(Advice::WillNeed, 0, 0));
            let _ = poll_once(&mut advising).await;
            let mut naming = Box::pin(file.set_xattr("user.name", "value", XattrMode::Any));
            let _ = poll_once(&mut naming).await;
            let mut listing = Box::pin(file.list_xattrs());
            let _ = poll_once(&mut listing).await;
            for _ in 0..round % 4 {
                turn().await;
            }
        }
        back_to(before, "locks, ranges and attributes").await;

        // Open directories, with work in them that was dropped.
        for round in 0..300 {
            let mut opening = Dir::open(dir.path());
            let _ = poll_once(&mut opening).await;
            if round % 2 == 0 {
                turn().await;
            }
            drop(opening);
            let open = Dir::open(dir.path()).await.unwrap();
            let mut making = open.create_dir("made");
            let _ = poll_once(&mut making).await;
            let mut opening = open.open_file("file");
            let _ = poll_once(&mut opening).await;
            let mut metadata = open.metadata("file");
            let _ = poll_once(&mut metadata).await;
            let mut reading = Box::pin(open.read_link("file"));
            let _ = poll_once(&mut reading).await;
            drop((open.clone(), open.try_clone().unwrap()));
            for _ in 0..round % 4 {
                turn().await;
            }
        }
        back_to(before, "open directories").await;

        // Files that are sent away and dropped there come home to be closed.
        for _ in 0..100 {
            let file = File::open(&path).await.unwrap();
            file.read_at(Vec::with_capacity(9), 0).await.0.unwrap();
            std::thread::spawn(move || drop(file)).join().unwrap();
        }
        back_to(before, "files that were dropped elsewhere").await;

        // The kernel has the read, the file goes.
        for _ in 0..300 {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
            let mut read = reader.read(Vec::with_capacity(9));
            let _ = poll_once(&mut read).await;
            turn().await;
            drop(read);
            drop(reader);
            drop(writer);
        }
        back_to(before, "pipes with a read in flight").await;
    });
    assert_eq!(descriptors(), outside, "after the loop");
}
