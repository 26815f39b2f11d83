//! reqwest and sqlx on a `ringtoss` loop, in tokio's context.

use std::time::Duration;

use ringtoss::compat::tokio::in_context;
use ringtoss::fs;
use ringtoss_ecosystem::run;

use crate::util::{body, bytes, database, web_server};

#[test]
fn reqwest_in_a_task_of_the_loops() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page"), bytes(300_000, 2)).unwrap();
    let Some((_server, address)) = web_server(folder.path()) else { return };
    run(async {
        let client = reqwest::Client::new();
        let url = format!("http://{address}/page");
        in_context(body(&client, &url)).await;
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (client, url, copy) = (client.clone(), url.clone(), folder.path().join(format!("copy {number}")));
                // The whole task in the context: it may await both.
                ringtoss::spawn(in_context(async move {
                    for _ in 0..5 {
                        fs::write(&copy, body(&client, &url).await).await.unwrap();
                        assert!(fs::read(&copy).await.unwrap() == bytes(300_000, 2));
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn sqlx_in_a_task_of_the_loops() {
    let Some(postgres) = ringtoss_ecosystem::postgres::server() else { return };
    run(in_context(async {
        let pool = database(postgres.address).await;
        sqlx::query("create table numbers (number bigint)").execute(&pool).await.unwrap();
        let tasks: Vec<_> = (0..8i64)
            .map(|number| {
                let pool = pool.clone();
                ringtoss::spawn(in_context(async move {
                    for step in 0..20 {
                        let insert = sqlx::query("insert into numbers values ($1)").bind(number * 20 + step);
                        insert.execute(&pool).await.unwrap();
                    }
                    // A time-out of the loop's around what is tokio's: the query is dropped, the pool goes on.
                    let sleep = sqlx::query("select pg_sleep(0.1)").execute(&pool);
                    assert!(ringtoss::time::timeout(Duration::from_millis(1), sleep).await.is_err());
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let sum = sqlx::query_scalar("select sum(number)::bigint from numbers");
        let sum: i64 = sum.fetch_one(&pool).await.unwrap();
        assert_eq!(sum, 160 * 159 / 2);
        pool.close().await;
    }));
}
