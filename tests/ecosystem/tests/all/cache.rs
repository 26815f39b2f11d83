//! A moka cache in front of redis and of files: one load for all who miss, and an expiry by the loop's clock.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use redis::AsyncCommands;
use ringtoss::time::{advance, pause, resume};
use ringtoss_ecosystem::run;

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/moka_cache.rs"]
mod moka_cache;

use moka_cache::{Files, TimedCache};

/// Ten seconds go by at once.
async fn ten_seconds_pass() {
    pause();
    advance(Duration::from_secs(10)).await;
    resume();
}

#[test]
fn in_front_of_redis_a_key_is_fetched_once() {
    let Some((address, _server)) = crate::redis::server() else { return };
    run(async {
        let mut connection = crate::redis::connection(address, crate::redis::config()).await;
        let cache = TimedCache::<u32, String>::new(100, Duration::from_secs(10));
        for (round, fetched) in [("one", 20), ("two", 40)] {
            for key in 0..20u32 {
                let _: () = connection.set(key, format!("{round} {key}")).await.unwrap();
            }
            let asking = (0..400u32).map(|number| {
                let (cache, mut connection) = (cache.clone(), connection.clone());
                ringtoss::spawn(async move {
                    let key = number % 20;
                    let value = cache.get(key, async { connection.get::<_, String>(key).await }).await;
                    assert_eq!(value.unwrap(), format!("{round} {key}"));
                })
            });
            for task in asking.collect::<Vec<_>>() {
                task.await.unwrap();
            }
            let statistics: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
            assert!(statistics.contains(&format!("cmdstat_get:calls={fetched},")), "{round}: {statistics}");
            ten_seconds_pass().await;
        }
    });
}

#[test]
fn in_front_of_files_an_entry_lives_as_long_as_the_loop_says() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file").display().to_string();
        let files = Files::new(10, Duration::from_secs(10));
        let missing = moka_cache::read(&files, &path).await.unwrap_err();
        assert_eq!((missing.kind(), files.count().await), (std::io::ErrorKind::NotFound, 0));

        std::fs::write(&path, "old").unwrap();
        assert_eq!(**moka_cache::read(&files, &path).await.unwrap(), *b"old");
        std::fs::write(&path, "new").unwrap();
        assert_eq!(**moka_cache::read(&files, &path).await.unwrap(), *b"old", "for ten seconds");
        ten_seconds_pass().await;
        assert_eq!(**moka_cache::read(&files, &path).await.unwrap(), *b"new");

        // Nobody asks any more, and it goes all the same.
        ten_seconds_pass().await;
        while files.count().await > 0 {
            ringtoss::yield_now().await;
        }
    });
}

/// Whoever waits for a load that fails tries it.
#[test]
fn an_error_is_not_kept() {
    run(async {
        let cache = TimedCache::<(), u32>::new(1, Duration::from_secs(10));
        let tries = Cell::new(0);
        let load = || async {
            tries.set(tries.get() + 1);
            ringtoss::yield_now().await;
            if tries.get() < 3 { Err(Arc::new("not yet")) } else { Ok(7) }
        };
        let answers = futures::future::join_all((0..5).map(|_| cache.get((), load()))).await;
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        assert_eq!((failed, tries.get()), (2, 3));
        assert!(answers.iter().flatten().all(|value| *value == 7));
    });
}

/// Why the example keeps deadlines of its own: moka's are by std's clock.
#[test]
fn mokas_own_limits_do_not_follow_a_paused_clock() {
    run(async {
        let cache = Cache::builder().time_to_live(Duration::from_secs(5)).build();
        cache.insert(1, "still there").await;
        ten_seconds_pass().await;
        assert_eq!(cache.get(&1).await, Some("still there"));
        // Concurrent misses are one load with moka alone, too.
        let loads = Cell::new(0);
        let load = || async {
            loads.set(loads.get() + 1);
            ringtoss::time::sleep(Duration::from_millis(5)).await;
            "loaded"
        };
        futures::future::join_all((0..50).map(|_| cache.get_with(2, load()))).await;
        assert_eq!(loads.get(), 1);
    });
}
