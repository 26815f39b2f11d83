//! axum without its `tokio` feature, over the serve loop of the example.

use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::client::conn::http2;
use ringtoss::JoinHandle;
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss_ecosystem::{output_of, program, run};
use tokio::sync::oneshot;

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/axum_server.rs"]
mod axum_server;

async fn server() -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    (address, stop, ringtoss::spawn(axum_server::serve(listener, axum_server::app(), shutdown)))
}

async fn client(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = handshake(PollIo::new(TcpStream::connect(address).await.unwrap())).await.unwrap();
    ringtoss::spawn(connection);
    sender
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).header("host", "localhost").body(Full::default()).unwrap()
}

#[test]
fn routes_state_json_and_a_streaming_body() {
    let Some(curl) = program("curl") else { return };
    run(async {
        let (address, stop, server) = server().await;
        for (version, visits) in [("--http1.1", "1"), ("--http2-prior-knowledge", "2")] {
            let sum = ["-H", "content-type: application/json", "-d", "[1,2,39]"];
            let numbers: String = (0..100).map(|number| format!("{number}\n")).collect();
            let asked: [(&str, &[&str], &str); 5] = [
                ("/", &[], "hello\n200"),
                ("/visits", &[], &format!("{visits}200")),
                ("/sum", &sum, "42200"),
                ("/count/100", &[], &format!("{numbers}200")),
                ("/nowhere", &[], "404"),
            ];
            for (path, arguments, expected) in asked {
                let mut command = Command::new(&curl);
                command.args(["-sS", version, "-w", "%{http_code}"]).args(arguments);
                command.arg(format!("http://{address}{path}"));
                let output = output_of(command).await.stdout;
                assert_eq!(String::from_utf8_lossy(&output), expected, "{version} {path}");
            }
        }
        stop.send(()).unwrap();
        server.await.unwrap();
    });
}

#[test]
fn a_graceful_shutdown_lets_answers_end_and_nobody_in() {
    run(async {
        let (address, stop, server) = server().await;
        let mut idle = client(address).await;
        let first = idle.send_request(get("/")).await.unwrap();
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "hello\n");
        let mut busy = client(address).await;
        let mut answer = busy.send_request(get("/count/200")).await.unwrap().into_body();
        let begun = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        stop.send(()).unwrap();
        let rest = answer.collect().await.unwrap().to_bytes();
        let all: String = (0..200).map(|number| format!("{number}\n")).collect();
        assert_eq!([&begun[..], &rest[..]].concat(), all.as_bytes());
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
        assert!(idle.send_request(get("/")).await.is_err(), "what was idle is closed");
    });
}

/// The same by HTTP/2: what has begun on a connection ends, and nothing new begins on it.
#[test]
fn a_graceful_shutdown_lets_streams_end() {
    run(async {
        let (address, stop, server) = server().await;
        let io = PollIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::Builder::new(Executor).timer(Timer).handshake(io).await.unwrap();
        let connection = ringtoss::spawn(connection);
        let ask = |count: u64| {
            let mut sender = sender.clone();
            async move { sender.send_request(get(&format!("http://localhost/count/{count}"))).await }
        };
        let mut begun = Vec::new();
        for count in [50, 100, 150] {
            let mut answer = ask(count).await.unwrap().into_body();
            begun.push((count, answer.frame().await.unwrap().unwrap().into_data().unwrap(), answer));
        }
        stop.send(()).unwrap();
        for (count, first, rest) in begun {
            let all: String = (0..count).map(|number| format!("{number}\n")).collect();
            assert_eq!([first, rest.collect().await.unwrap().to_bytes()].concat(), all.as_bytes());
        }
        server.await.unwrap();
        connection.await.unwrap().expect("the server has said that it goes");
        assert!(ask(1).await.is_err(), "nothing begins any more");
        assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
    });
}
