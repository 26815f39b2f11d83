//! Writers that are killed in the middle: what they were told is on the disk is there, whole.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringtoss::fs::{self, File};

use crate::util::*;

const RECORD: usize = 4096;
const WRITERS: u64 = 8;
const KILLS: u64 = 5;

/// A record that tells its number in every byte.
fn record(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend(pattern(number as usize * RECORD, RECORD - 8));
    bytes
}

/// Writes records with several tasks at once, and tells the number of each that `sync_data` has confirmed.
pub fn write_records(path: &Path) {
    ringtoss::block_on(async {
        let file = Rc::new(File::options().write(true).create(true).open(path).await.unwrap());
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let file = file.clone();
                ringtoss::spawn(async move {
                    for number in (writer..).step_by(WRITERS as usize) {
                        let at = number * RECORD as u64;
                        // Some in one piece, some in two, some dropped half-way and written again.
                        let bytes = record(number);
                        match number % 3 {
                            0 => file.write_all_at(bytes, at).await.0.unwrap(),
                            1 => {
                                let (head, tail) = bytes.split_at(1000);
                                let (head, tail) = (head.to_vec(), tail.to_vec());
                                let (one, other) =
                                    futures::join!(file.write_all_at(head, at), file.write_all_at(tail, at + 1000));
                                one.0.unwrap();
                                other.0.unwrap();
                            }
                            _ => {
                                let dropped = file.write_all_at(vec![0xee; RECORD], at);
                                let _ = ringtoss::time::timeout(Duration::ZERO, dropped).await;
                                file.write_all_at(bytes, at).await.0.unwrap();
                            }
                        }
                        file.sync_data().await.unwrap();
                        say(number);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn what_was_synced_is_there_when_its_writer_is_killed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).or_else(|_| tempfile::tempdir()).unwrap();
    let mut random = Random(7);
    let mut confirmed = 0;
    for round in 0..KILLS {
        let path = dir.path().join(format!("records-{round}"));
        let other = Other::start(&format!("records {}", path.display()));
        let mut numbers = vec![other.line()];
        for _ in 0..random.below(30) {
            numbers.push(other.line());
        }
        other.signal(libc::SIGKILL);
        numbers.extend(other.rest());
        let bytes = std::fs::read(&path).unwrap();
        for number in numbers {
            let number: u64 = number.parse().unwrap();
            let at = number as usize * RECORD;
            let found = bytes.get(at..at + RECORD);
            assert!(found.is_some_and(|found| found == record(number)), "record {number} of round {round}");
            confirmed += 1;
        }
    }
    println!("{confirmed} records were confirmed before {KILLS} kills; all are there");
}

/// Writes a new version beside the old one, syncs it and puts it in its place, without an end.
pub fn replace_again_and_again(dir: &Path) {
    ringtoss::block_on(async {
        for version in 1u64.. {
            let fresh = dir.join("fresh");
            let mut file = File::create(&fresh).await.unwrap();
            let bytes: Vec<u8> = [version.to_le_bytes().to_vec(), pattern(version as usize, 50_000)].concat();
            file.write_all(bytes).await.0.unwrap();
            file.sync_data().await.unwrap();
            file.close().await.unwrap();
            fs::rename(&fresh, dir.join("current")).await.unwrap();
            say(version);
        }
    });
}

#[test]
fn a_file_that_is_replaced_is_the_old_one_or_the_new_one() {
    let mut random = Random(11);
    for _ in 0..KILLS {
        let dir = tempfile::tempdir().unwrap();
        let other = Other::start(&format!("replaces {}", dir.path().display()));
        let mut last: u64 = other.line().parse().unwrap();
        for _ in 0..random.below(12) {
            last = other.line().parse().unwrap();
        }
        other.signal(libc::SIGKILL);
        last = other.rest().last().map_or(last, |line| line.parse().unwrap());
        let bytes = std::fs::read(dir.path().join("current")).unwrap();
        let version = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        // The rename may have been made, and not been told of.
        assert!(version == last || version == last + 1, "{version} after {last}");
        assert_eq!(bytes.len(), 50_008);
        check(&bytes[8..], version as usize);
    }
}
