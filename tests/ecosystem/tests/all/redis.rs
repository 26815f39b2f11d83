//! redis-rs against a real server, over connections that are handed in.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig, ProtocolVersion, PushKind, RedisConnectionInfo, Value};
use ringtoss::compat::PollIo;
use ringtoss_ecosystem::{Server, connect, free_address, program, run};
use tokio::sync::mpsc;

pub(crate) fn server() -> Option<(SocketAddr, Server)> {
    let address = free_address();
    let mut command = Command::new(program("redis-server")?);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &address.port().to_string()]);
    Some((address, Server::start(command.stdout(Stdio::null()))))
}

/// Time limits of redis-rs's are tokio's: without them it needs no runtime. `ringtoss::time::timeout` bounds a call.
pub(crate) fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None)
}

pub(crate) async fn connection(address: SocketAddr, config: AsyncConnectionConfig) -> MultiplexedConnection {
    let info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    let stream = PollIo::new(connect(address).await);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await.unwrap();
    ringtoss::spawn(driver);
    connection
}

#[test]
fn commands_pipelines_and_many_tasks_on_one_connection() {
    let Some((address, _server)) = server() else { return };
    run(async {
        let mut connection = connection(address, config()).await;
        let _: () = connection.set("greeting", "hello").await.unwrap();
        assert_eq!(connection.get::<_, String>("greeting").await.unwrap(), "hello");
        let large = vec![b'x'; 2_000_000];
        let _: () = connection.set("large", &large).await.unwrap();
        assert!(connection.get::<_, Vec<u8>>("large").await.unwrap() == large);

        let mut pipeline = redis::pipe();
        for number in 0..1000 {
            pipeline.incr("count", number).ignore();
        }
        let (count,): (u64,) = pipeline.get("count").query_async(&mut connection).await.unwrap();
        assert_eq!(count, 499_500);

        let tasks = (0..50u64).map(|number| {
            let mut connection = connection.clone();
            ringtoss::spawn(async move {
                for round in 0..20 {
                    let _: () = connection.set(number, round).await.unwrap();
                    assert_eq!(connection.get::<_, u64>(number).await.unwrap(), round);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

#[test]
fn published_messages_arrive() {
    let Some((address, _server)) = server() else { return };
    run(async {
        let (sender, mut pushed) = mpsc::unbounded_channel();
        let mut subscriber = connection(address, config().set_push_sender(sender)).await;
        subscriber.subscribe("news").await.unwrap();
        let mut publisher = connection(address, config()).await;
        for number in 0..100 {
            let receivers: u32 = publisher.publish("news", number).await.unwrap();
            assert_eq!(receivers, 1);
        }
        let mut next = 0;
        while next < 100 {
            let push = pushed.recv().await.unwrap();
            if push.kind == PushKind::Message {
                assert_eq!(push.data[1], Value::BulkString(next.to_string().into_bytes()));
                next += 1;
            }
        }
    });
}
