//! A loop inside tokio, beside reqwest and sqlx.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ringtoss::compat::tokio::Guest;
use ringtoss::{EventLoop, fs};

use crate::util::{body, bytes, database, web_server};

/// Runs a test in a current-thread runtime with a guest, for a bounded time.
fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _guest = Guest::start(&EventLoop::builder()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs")
    })
}

#[test]
fn reqwest_and_the_rings_files_in_one_task() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page"), bytes(300_000, 1)).unwrap();
    let Some((_server, address)) = web_server(folder.path()) else { return };
    run(async {
        let client = reqwest::Client::new();
        let url = format!("http://{address}/page");
        assert_eq!(body(&client, &url).await.len(), 300_000);
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (client, url, copy) = (client.clone(), url.clone(), folder.path().join(format!("copy {number}")));
                // A task of tokio's.
                tokio::spawn(async move {
                    for _ in 0..5 {
                        fs::write(&copy, body(&client, &url).await).await.unwrap();
                        assert!(fs::read(&copy).await.unwrap() == bytes(300_000, 1));
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        ringtoss::time::sleep(Duration::from_millis(1)).await;
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
fn sqlx_and_the_rings_files_in_one_task() {
    let Some(postgres) = ringtoss_ecosystem::postgres::server() else { return };
    let folder = tempfile::tempdir().unwrap();
    run(async {
        let pool = database(postgres.address).await;
        sqlx::query("create table files (name text, content bytea)").execute(&pool).await.unwrap();
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (pool, path) = (pool.clone(), folder.path().join(format!("{number}")));
                tokio::spawn(async move {
                    fs::write(&path, bytes(50_000, number)).await.unwrap();
                    let content = fs::read(&path).await.unwrap();
                    let name = number.to_string();
                    let insert = sqlx::query("insert into files values ($1, $2)").bind(&name).bind(content);
                    insert.execute(&pool).await.unwrap();
                    let select = sqlx::query_scalar("select content from files where name = $1").bind(&name);
                    let content: Vec<u8> = select.fetch_one(&pool).await.unwrap();
                    assert!(content == bytes(50_000, number));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        pool.close().await;
    });
}

#[test]
fn a_runtime_of_many_threads_is_refused_and_its_local_set_is_not() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let refused = Guest::start(&EventLoop::builder()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        assert!(refused.to_string().contains("start_local"), "{refused}");
    });
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime, async {
        let guest = Guest::start_local(&EventLoop::builder()).unwrap();
        let local = Rc::new(());
        let task = tokio::task::spawn_local(async move {
            let _local = local;
            // Workers do tokio's part meanwhile.
            let one = tokio::spawn(async {
                tokio::time::sleep(Duration::from_millis(1)).await;
                1
            });
            let bytes = fs::read("/proc/self/comm").await.unwrap();
            assert!(!bytes.is_empty());
            one.await.unwrap()
        });
        assert_eq!(task.await.unwrap(), 1);
        // A worker has no loop, and reaches this one by its handle.
        let handle = guest.handle();
        let comm = tokio::spawn(async move { handle.spawn(fs::read("/proc/self/comm")).await });
        assert!(!comm.await.unwrap().unwrap().unwrap().is_empty());
        let none = tokio::spawn(async { fs::read("/proc/self/comm").await }).await.unwrap_err();
        assert!(none.is_panic());
    });
}
