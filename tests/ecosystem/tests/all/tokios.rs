//! What of tokio and tokio-util needs no runtime of theirs.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use ringtoss::compat::PollIo;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::time::timeout;
use ringtoss_ecosystem::{noise, run};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufStream, simplex};
use tokio::sync::{OnceCell, SetOnce};
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec};
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::sync::CancellationToken;

async fn pair() -> (PollIo<TcpStream>, PollIo<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (PollIo::new(client), PollIo::new(listener.accept().await.unwrap().0))
}

#[test]
fn frames_over_a_stream() {
    run(async {
        let (client, server) = pair().await;
        let server = ringtoss::spawn(async move {
            let mut lines = Framed::new(server, LinesCodec::new());
            let first = lines.next().await.unwrap().unwrap();
            lines.send(format!("you said {first}")).await.unwrap();
            // What was read ahead goes along to the next kind of frame.
            let mut frames = lines.map_codec(|_| LengthDelimitedCodec::new());
            while let Some(frame) = frames.next().await {
                frames.send(frame.unwrap().freeze()).await.unwrap();
            }
        });
        let mut lines = Framed::new(client, LinesCodec::new());
        lines.send("hello").await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "you said hello");
        let mut frames = lines.map_codec(|_| LengthDelimitedCodec::new());
        for len in [0, 1, 1000, 1_000_000] {
            let sent = Bytes::from(noise(len));
            // A frame that is waited for and given up is not lost.
            assert!(timeout(Duration::from_millis(1), frames.next()).await.is_err());
            frames.send(sent.clone()).await.unwrap();
            assert!(frames.next().await.unwrap().unwrap() == sent);
        }
        drop(frames);
        server.await.unwrap();
    });
}

#[test]
fn readers_are_streams_and_the_other_way_round() {
    run(async {
        let (client, server) = pair().await;
        let writing = ringtoss::spawn(async move {
            let mut client = BufStream::new(client);
            client.write_all(&noise(300_000)).await.unwrap();
            client.shutdown().await.unwrap();
        });
        let stream = ReaderStream::new(server).map_ok(|bytes| bytes.slice(..));
        let mut reader = StreamReader::new(stream);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        assert!(all == noise(300_000));
        writing.await.unwrap();
    });
}

tokio::task_local! {
    static NAME: &'static str;
}

#[test]
fn what_knows_no_runtime() {
    run(async {
        let named = NAME.scope("one", async {
            ringtoss::yield_now().await;
            NAME.get()
        });
        let other = NAME.scope("two", async { NAME.get() });
        let (named, other) = tokio::join!(ringtoss::spawn(named), other);
        assert_eq!((named.unwrap(), other), ("one", "two"));
        assert_eq!(tokio::task::unconstrained(async { 7 }).await, 7);

        let (once, set) = (OnceCell::new(), SetOnce::new());
        let (made, waited, _) =
            tokio::join!(once.get_or_init(|| async { 1 }), set.wait(), async { set.set(2).unwrap() });
        assert_eq!((*made, *waited), (1, 2));

        let (reader, mut writer) = simplex(8);
        let mut lines = BufReader::new(reader).lines();
        let reading = async {
            let mut seen = 0;
            while let Some(line) = lines.next_line().await.unwrap() {
                assert_eq!(line, "a line that is longer");
                seen += 1;
            }
            seen
        };
        let writing = async {
            for _ in 0..10 {
                writer.write_all(b"a line that is longer\n").await.unwrap();
            }
            writer.shutdown().await.unwrap();
        };
        assert_eq!(tokio::join!(reading, writing).0, 10);

        let token = CancellationToken::new();
        let waiting = ringtoss::spawn(token.clone().cancelled_owned());
        token.cancel();
        waiting.await.unwrap();
    });
}

/// tokio gives each of its tasks a budget; where none of its tasks runs, its channels do not wait for one.
#[test]
fn a_task_of_ours_has_no_budget_of_tokios() {
    run(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..10_000 {
            sender.send(number).unwrap();
        }
        let waker = std::task::Waker::noop();
        for _ in 0..10_000 {
            assert!(receiver.poll_recv(&mut std::task::Context::from_waker(waker)).is_ready());
        }
    });
}
