//! tokio-postgres over `connect_raw`, against a real server.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use ringtoss::compat::PollIo;
use ringtoss_ecosystem::{Server, connect, free_address, program, run};
use tempfile::TempDir;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

/// PostgreSQL does not run as root: as nobody, then.
fn as_a_user(command: &mut Command, folder: &Path) {
    const NOBODY: u32 = 65534;
    if folder.metadata().unwrap().uid() == 0 {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    if Path::new("/proc/self").metadata().unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
}

struct Postgres {
    address: SocketAddr,
    // In this order: the server goes before its folder.
    _server: Server,
    _folder: TempDir,
}

fn server() -> Option<Postgres> {
    let (initdb, postgres) = (program("initdb")?, program("postgres")?);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = Command::new("timeout");
    command.arg("50").arg(initdb).args([
        "--no-sync",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--pgdata",
    ]);
    command.arg(&data).current_dir("/");
    as_a_user(&mut command, folder.path());
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let address = free_address();
    let mut command = Command::new(postgres);
    command.arg("-D").arg(&data).arg("-k").arg(folder.path()).args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
    ]);
    command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]).current_dir("/");
    as_a_user(&mut command, folder.path());
    let server = Server::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    Some(Postgres { address, _server: server, _folder: folder })
}

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
