//! The two families of tungstenite, each as server and as client of the other.

use futures::{Sink, SinkExt, Stream, StreamExt};
use ringtoss::compat::PollIo;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss_ecosystem::run;

async fn pair() -> (PollIo<TcpStream>, PollIo<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (PollIo::new(client), PollIo::new(listener.accept().await.unwrap().0))
}

/// Both use the same messages, of another version of tungstenite perhaps.
macro_rules! echo_and_ask {
    ($echo:ident, $ask:ident, $tungstenite:ty) => {
        async fn $echo<S, E: std::fmt::Debug>(mut socket: S)
        where
            S: Stream<Item = Result<$tungstenite, E>> + Sink<$tungstenite, Error = E> + Unpin,
        {
            while let Some(message) = socket.next().await {
                let message = message.unwrap();
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.unwrap();
                }
            }
        }

        async fn $ask<S, E: std::fmt::Debug>(mut socket: S)
        where
            S: Stream<Item = Result<$tungstenite, E>> + Sink<$tungstenite, Error = E> + Unpin,
        {
            type Message = $tungstenite;
            for round in 0..200usize {
                let text = format!("message {round}");
                socket.send(Message::text(text.clone())).await.unwrap();
                assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
            }
            let large = vec![7; 3_000_000];
            socket.send(Message::binary(large.clone())).await.unwrap();
            assert!(socket.next().await.unwrap().unwrap() == Message::binary(large));
            socket.send(Message::Ping(vec![1, 2, 3].into())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(vec![1, 2, 3].into()));
            socket.close().await.unwrap();
            while let Some(last) = socket.next().await {
                assert!(last.unwrap().is_close());
            }
        }
    };
}

echo_and_ask!(echo_tokio, ask_tokio, tokio_tungstenite::tungstenite::Message);
echo_and_ask!(echo_async, ask_async, async_tungstenite::tungstenite::Message);

#[test]
fn a_client_of_tokio_tungstenite() {
    run(async {
        let (client, server) = pair().await;
        let server =
            ringtoss::spawn(async move { echo_async(async_tungstenite::accept_async(server).await.unwrap()).await });
        let (socket, _) = tokio_tungstenite::client_async("ws://localhost/", client).await.unwrap();
        ask_tokio(socket).await;
        server.await.unwrap();
    });
}

#[test]
fn a_client_of_async_tungstenite() {
    run(async {
        let (client, server) = pair().await;
        let server =
            ringtoss::spawn(async move { echo_tokio(tokio_tungstenite::accept_async(server).await.unwrap()).await });
        let (socket, _) = async_tungstenite::client_async("ws://localhost/", client).await.unwrap();
        ask_async(socket).await;
        server.await.unwrap();
    });
}
