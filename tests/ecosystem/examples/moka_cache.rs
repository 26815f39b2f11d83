//! A moka cache whose entries expire by the loop's clock: `cargo run -p ringtoss-ecosystem --example moka_cache -- FILE…`.
//!
//! moka runs unchanged, and whoever misses the same key at the same time waits for one load. Its own limits
//! (`time_to_live` and the like) go by std's clock, though, so that a test with a paused clock would wait for real.
//! Here each entry has its deadline beside it: it is not given out after that, and a timer takes it away.

use std::future::Future;
use std::hash::Hash;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::ops::compute::Op;
use ringtoss::time::{Instant, sleep_until};

#[derive(Clone)]
struct Timed<V> {
    value: V,
    until: Instant,
}

impl<V> Timed<V> {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.until
    }
}

/// A bounded cache of what is worth a certain time.
#[derive(Clone)]
pub struct TimedCache<K, V> {
    entries: Cache<K, Timed<V>>,
    time_to_live: Duration,
}

impl<K, V> TimedCache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// One for so many entries.
    pub fn new(capacity: u64, time_to_live: Duration) -> TimedCache<K, V> {
        TimedCache { entries: Cache::new(capacity), time_to_live }
    }

    /// How many there are, those included that a load is about to replace.
    pub async fn count(&self) -> u64 {
        self.entries.run_pending_tasks().await;
        self.entries.entry_count()
    }

    /// What the cache has, or else what `load` gives, which is kept unless it is an error. Of those who ask for a key
    /// that is not there, one loads, and the others wait for that; when it fails, the next one tries.
    pub async fn get<E>(&self, key: K, load: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        E: Send + Sync + 'static,
    {
        if let Some(entry) = self.entries.get(&key).await.filter(Timed::is_fresh) {
            return Ok(entry.value);
        }
        let mut loaded = None;
        let result = self.entries.entry(key.clone()).and_try_compute_with(|entry| {
            let loaded = &mut loaded;
            async move {
                // Loaded by another, meanwhile.
                if entry.is_some_and(|entry| entry.value().is_fresh()) {
                    return Ok(Op::Nop);
                }
                let value = load.await?;
                let until = Instant::now() + self.time_to_live;
                *loaded = Some(until);
                Ok(Op::Put(Timed { value, until }))
            }
        });
        let entry = result.await?.into_entry().expect("it was there, or was put there");
        if let Some(until) = loaded {
            ringtoss::spawn(self.clone().take_away(key, until));
        }
        Ok(entry.into_value().value)
    }

    /// Unless it has been replaced.
    async fn take_away(self, key: K, until: Instant) {
        sleep_until(until).await;
        let stale = |entry: Option<moka::Entry<K, Timed<V>>>| {
            let stale = entry.is_some_and(|entry| !entry.value().is_fresh());
            std::future::ready(if stale { Op::Remove } else { Op::Nop })
        };
        self.entries.entry(key).and_compute_with(stale).await;
    }
}

/// Files, read once in a while.
pub type Files = TimedCache<String, Arc<Vec<u8>>>;

/// A file's content as it was at most the cache's time ago.
pub async fn read(files: &Files, path: &str) -> io::Result<Arc<Vec<u8>>> {
    files.get(path.to_string(), async { ringtoss::fs::read(path).await.map(Arc::new) }).await
}

fn main() -> io::Result<()> {
    ringtoss::block_on(async {
        let files = Files::new(1000, Duration::from_secs(10));
        for path in std::env::args().skip(1) {
            for _ in 0..2 {
                println!("{path}: {} bytes", read(&files, &path).await?.len());
            }
        }
        println!("{} read", files.count().await);
        Ok(())
    })
}
