//! tonic without its `transport`: every kind of call, over the example's serve loop and client.

use std::net::SocketAddr;
use std::process::Command;

use futures::{StreamExt, TryStreamExt};
use ringtoss::JoinHandle;
use ringtoss::net::TcpListener;
use ringtoss_ecosystem::{output_of, program, run};
use tokio::sync::{mpsc, oneshot};
use tonic::Code;

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/grpc.rs"]
pub(crate) mod grpc_example;

use grpc_example::Phrase;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = ringtoss::spawn(grpc_example::serve(listener, grpc_example::services(), shutdown));
    Server { address, stop, task }
}

fn phrase(text: impl Into<String>) -> Phrase {
    Phrase { text: text.into() }
}

#[test]
fn every_kind_of_call() {
    run(async {
        let server = server().await;
        let mut client = grpc_example::client(format!("http://{}", server.address).parse().unwrap());
        assert_eq!(client.greet(phrase("you")).await.unwrap().into_inner().text, "hello you");

        let refused = client.greet(phrase("")).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "who is there?"));

        let numbers: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        let split = client.split(phrase(numbers.join(" "))).await.unwrap().into_inner();
        let words: Vec<String> = split.map_ok(|phrase| phrase.text).try_collect().await.unwrap();
        assert_eq!(words, numbers);

        // 1.5 MB, more than the window of a stream.
        let large: Vec<Phrase> = (0..1500).map(|_| phrase("x".repeat(1000))).collect();
        let joined = client.join(futures::stream::iter(large)).await.unwrap().into_inner().text;
        assert_eq!(joined.len(), 1500 * 1001 - 1);

        // Each is sent when the one before has come back.
        let (sender, receiver) = mpsc::channel(1);
        let sent = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|phrase| (phrase, receiver))
        });
        let mut echo = client.echo(sent).await.unwrap().into_inner();
        for number in 0..200 {
            sender.send(phrase(number.to_string())).await.unwrap();
            assert_eq!(echo.message().await.unwrap().unwrap().text, number.to_string());
        }
        drop(sender);
        assert!(echo.message().await.unwrap().is_none());
    });
}

#[test]
fn many_calls_at_once() {
    run(async {
        let server = server().await;
        let client = grpc_example::client(format!("http://{}", server.address).parse().unwrap());
        let calls = (0..300).map(|number| {
            let mut client = client.clone();
            async move {
                let text = client.greet(phrase(number.to_string())).await.unwrap().into_inner().text;
                assert_eq!(text, format!("hello {number}"));
            }
        });
        futures::future::join_all(calls).await;
    });
}

/// A call that nobody listens to any more frees its stream: the connection goes on, and shuts down.
#[test]
fn calls_that_are_dropped_and_a_graceful_shutdown() {
    run(async {
        let server = server().await;
        let mut client = grpc_example::client(format!("http://{}", server.address).parse().unwrap());
        let endless = vec!["word"; 1_000_000].join(" ");
        for _ in 0..3 {
            let mut dropped = client.split(phrase(&endless[..4_000_000])).await.unwrap().into_inner();
            assert!(dropped.message().await.unwrap().is_some());
        }
        let split = client.split(phrase("one two three")).await.unwrap().into_inner();
        server.stop.send(()).unwrap();
        assert_eq!(split.count().await, 3, "what has begun ends");
        server.task.await.unwrap();
        assert_eq!(client.greet(phrase("you")).await.unwrap_err().code(), Code::Unknown, "it listens no more");
    });
}

/// A peer that is not ours: the message in its frame (a byte for compression, four for the length), the status behind it.
#[test]
fn curl_understands_the_answer() {
    let Some(curl) = program("curl") else { return };
    run(async {
        let server = server().await;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("sent"), b"\0\0\0\0\x05\x0a\x03you").unwrap();
        let mut call = Command::new(curl);
        call.args(["-sS", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"]);
        call.args(["--data-binary", &format!("@{}", path("sent")), "-D", &path("headers"), "-o", &path("got")]);
        call.arg(format!("http://{}/words.Words/Greet", server.address));
        output_of(call).await;
        assert_eq!(std::fs::read(path("got")).unwrap(), b"\0\0\0\0\x0b\x0a\x09hello you");
        let headers = std::fs::read_to_string(path("headers")).unwrap();
        assert!(
            headers.contains("content-type: application/grpc\r\n") && headers.contains("grpc-status: 0"),
            "{headers}"
        );
    });
}
