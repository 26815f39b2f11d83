//! Files, names and registered buffers.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use ringtoss::fs::{self, File};
use ringtoss::task::JoinSet;
use ringtoss::time;

use crate::{Kind, check, count, goes_on, pattern};

const BLOCK: usize = 16 * 1024;
const BLOCKS: usize = 64;

pub async fn start(work: &mut JoinSet<()>, dir: &Path) -> Result<()> {
    let file = Rc::new(fs::tempfile_in(dir).await?);
    for number in 0..8 {
        work.spawn(blocks(file.clone(), number));
        work.spawn(names(dir.to_path_buf(), number));
    }
    // Where memory may not be pinned, plain buffers do the same.
    let pool = ringtoss::buf::RegisteredPool::new(BLOCK, 8)?;
    work.spawn(registered(pool, fs::tempfile_in(dir).await?));
    Ok(())
}

/// Each has blocks of its own: some writes are dropped half-way, and the next one is the one that stays.
async fn blocks(file: Rc<File>, number: usize) {
    let mut round = 0;
    while goes_on() {
        round += 1;
        let place = (number + 8 * fastrand::usize(..BLOCKS / 8)) * BLOCK;
        if fastrand::bool() {
            let write = file.write_all_at(vec![0xee; BLOCK], place as u64);
            let _ = time::timeout(Duration::from_micros(fastrand::u64(..100)), write).await;
        }
        file.write_all_at(pattern(place + round, BLOCK), place as u64).await.0.unwrap();
        if round % 100 == 0 {
            file.sync_data().await.unwrap();
        }
        let read = file.read_exact_at(Vec::with_capacity(BLOCK), BLOCK, place as u64);
        if let Ok((result, bytes)) = time::timeout(Duration::from_millis(fastrand::u64(..20)), read).await {
            result.unwrap();
            check(&bytes, place + round);
        }
        count(Kind::Files);
        time::sleep(Duration::from_millis(1)).await;
    }
}

async fn names(dir: PathBuf, number: usize) {
    let own = dir.join(format!("{number}"));
    fs::create_dir(&own).await.unwrap();
    while goes_on() {
        let (first, second) = (own.join("first"), own.join("second"));
        let len = fastrand::usize(..30_000);
        fs::write(&first, pattern(len, len)).await.unwrap();
        fs::rename(&first, &second).await.unwrap();
        assert_eq!(fs::metadata(&second).await.unwrap().len(), len as u64);
        check(&fs::read(&second).await.unwrap(), len);
        // An open that is dropped: what it opens late is closed.
        let _ = time::timeout(Duration::ZERO, File::open(&second)).await;
        let mut entries = fs::read_dir(&own).await.unwrap();
        let entry = entries.next().await.transpose().unwrap();
        assert_eq!(entry.map(|entry| entry.file_name().to_owned()), Some("second".into()));
        drop(entries);
        fs::remove_file(&second).await.unwrap();
        count(Kind::Names);
        time::sleep(Duration::from_millis(10)).await;
    }
    fs::remove_dir_all(&own).await.unwrap();
}

async fn registered(pool: ringtoss::buf::RegisteredPool, file: File) {
    let mut round = 0;
    while goes_on() {
        round += 1;
        let mut buf = pool.take().await.unwrap();
        buf.extend_from_slice(&pattern(round, BLOCK));
        let (result, buf) = file.write_all_at(buf, 0).await;
        result.unwrap();
        drop(buf);
        let (result, buf) = file.read_exact_at(pool.take().await.unwrap(), BLOCK, 0).await;
        result.unwrap();
        check(&buf, round);
        count(Kind::Registered);
        time::sleep(Duration::from_millis(1)).await;
    }
}
