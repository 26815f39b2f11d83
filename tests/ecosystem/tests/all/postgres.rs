//! tokio-postgres over `connect_raw`, against a real server.

use std::net::SocketAddr;
use std::pin::pin;

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use ringtoss::compat::PollIo;
use ringtoss_ecosystem::postgres::server;
use ringtoss_ecosystem::{connect, run};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

async fn client(address: SocketAddr) -> Client {
    let mut config = Config::new();
    config.user("postgres").dbname("postgres");
    loop {
        let stream = PollIo::new(connect(address).await);
        match config.connect_raw(stream, NoTls).await {
            Ok((client, connection)) => {
                ringtoss::spawn(async move { connection.await.unwrap() });
                return client;
            }
            Err(error) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW) => {
                ringtoss::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn queries_copy_and_cancelling() {
    let Some(postgres) = server() else { return };
    run(async {
        let mut client = client(postgres.address).await;
        let row = client.query_one("SELECT $1::TEXT || ' there', 40 + $2::INT", &[&"hello", &2]).await.unwrap();
        assert_eq!((row.get::<_, String>(0), row.get::<_, i32>(1)), ("hello there".to_string(), 42));

        client.batch_execute("CREATE TABLE numbers (number BIGINT, square TEXT)").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let mut sink = pin!(transaction.copy_in::<_, Bytes>("COPY numbers FROM STDIN").await.unwrap());
        for number in 0..20_000u64 {
            sink.send(Bytes::from(format!("{number}\t{}\n", number * number))).await.unwrap();
        }
        assert_eq!(sink.as_mut().finish().await.unwrap(), 20_000);
        transaction.commit().await.unwrap();

        let out = client.copy_out("COPY (SELECT * FROM numbers ORDER BY number) TO STDOUT").await.unwrap();
        let parts: Vec<Bytes> = out.try_collect().await.unwrap();
        let expected: String = (0..20_000u64).map(|number| format!("{number}\t{}\n", number * number)).collect();
        assert!(parts.concat() == expected.as_bytes());

        // Many questions at once are pipelined on the one connection.
        let statement = client.prepare("SELECT square FROM numbers WHERE number = $1").await.unwrap();
        let (client, statement) = (&client, &statement);
        let answers =
            futures::future::join_all((0..50i64).map(|number| async move {
                client.query_one(statement, &[&number]).await.unwrap().get::<_, String>(0)
            }));
        let squares: Vec<String> = (0..50i64).map(|number| (number * number).to_string()).collect();
        assert_eq!(answers.await, squares);

        let sleeping = client.batch_execute("SELECT pg_sleep(50)");
        let cancelling = async {
            ringtoss::time::sleep(std::time::Duration::from_millis(200)).await;
            let stream = PollIo::new(connect(postgres.address).await);
            client.cancel_token().cancel_query_raw(stream, NoTls).await.unwrap();
        };
        let (slept, ()) = futures::join!(sleeping, cancelling);
        assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
        client.batch_execute("SELECT 1").await.expect("the connection goes on");
    });
}
