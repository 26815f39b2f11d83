//! hyper, as server and as client, against itself and against curl, h2load and wrk.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::compat::{PollIo, Readable, Writable};
use ringtoss::net::{TcpListener, TcpStream, UnixStream};
use ringtoss_ecosystem::{noise, output_of, program, run};

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/hyper_server.rs"]
mod hyper_server;

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    ringtoss::spawn(hyper_server::serve(listener));
    address
}

fn post(path: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder().method(Method::POST).uri(format!("http://localhost{path}")).body(Full::new(body)).unwrap()
}

#[test]
fn curl_gets_and_posts_by_both_versions() {
    let Some(curl) = program("curl") else { return };
    run(async {
        let address = server().await;
        let folder = tempfile::tempdir().unwrap();
        let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
        std::fs::write(&sent, noise(3_000_000)).unwrap();
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let mut get = Command::new(&curl);
            get.args(["-sS", "--fail", version, &format!("http://{address}/")]);
            assert_eq!(output_of(get).await.stdout, b"hello\n", "{version}");
            let mut missing = Command::new(&curl);
            missing.args(["-sS", version, "-w", "%{http_code}", &format!("http://{address}/nowhere")]);
            assert_eq!(output_of(missing).await.stdout, b"not here\n404");
            let mut post = Command::new(&curl);
            post.args(["-sS", "--fail", version, "-H", "Expect:", "--data-binary"])
                .arg(format!("@{}", sent.display()))
                .arg("-o")
                .arg(&got)
                .arg(format!("http://{address}/echo"));
            output_of(post).await;
            assert!(std::fs::read(&got).unwrap() == noise(3_000_000), "{version}: what was sent comes back");
        }
        // By HTTP/2, curl 7.88 gives up before it sends the second request; h2load does that part.
        let mut twice = Command::new(&curl);
        twice.args(["-sS", "--fail"]).args([format!("http://{address}/"), format!("http://{address}/")]);
        assert_eq!(output_of(twice).await.stdout, b"hello\nhello\n", "two on one connection");
    });
}

#[test]
fn h2load_sees_no_error() {
    let Some(h2load) = program("h2load") else { return };
    run(async {
        let address = server().await;
        for arguments in [&["--h1", "-n5000", "-c50"][..], &["-n5000", "-c10", "-m50"]] {
            let mut load = Command::new(&h2load);
            load.args(arguments).arg(format!("http://{address}/"));
            let output = String::from_utf8(output_of(load).await.stdout).unwrap();
            assert!(output.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{output}");
            assert!(output.contains("status codes: 5000 2xx"), "{output}");
        }
    });
}

#[test]
fn wrk_sees_no_error() {
    let Some(wrk) = program("wrk") else { return };
    run(async {
        let address = server().await;
        let mut load = Command::new(wrk);
        load.args(["-t1", "-c100", "-d2s", "--timeout", "20s"]).arg(format!("http://{address}/"));
        let output = String::from_utf8(output_of(load).await.stdout).unwrap();
        assert!(output.contains("requests in"), "{output}");
        assert!(!output.contains("Socket errors") && !output.contains("Non-2xx"), "{output}");
    });
}

#[test]
fn a_client_of_http1_keeps_its_connection() {
    run(async {
        let address = server().await;
        let io = PollIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = ringtoss::spawn(connection);
        for round in 0..300 {
            let body = Bytes::from(noise(round * round));
            sender.ready().await.unwrap();
            let response = sender.send_request(post("/echo", body.clone())).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn a_client_of_http2_has_a_hundred_streams_on_one_connection() {
    run(async {
        let address = server().await;
        let io = PollIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) =
            hyper::client::conn::http2::Builder::new(Executor).timer(Timer).handshake(io).await.unwrap();
        let connection = ringtoss::spawn(connection);
        let requests = (0..100).map(|number| {
            let mut sender = sender.clone();
            async move {
                let body = Bytes::from(noise(1 + number * 1000));
                sender.ready().await.unwrap();
                let response = sender.send_request(post("/echo", body.clone())).await.unwrap();
                assert!(response.into_body().collect().await.unwrap().to_bytes() == body);
            }
        });
        futures::future::join_all(requests).await;
        drop(sender);
        connection.await.unwrap().unwrap();
    });
}

/// A body whose pieces are made when they are asked for, and hashed on their way.
struct Noise {
    left: usize,
    hash: Arc<Mutex<DefaultHasher>>,
    random: u64,
}

impl Noise {
    fn new(left: usize, seed: u64) -> (Noise, Arc<Mutex<DefaultHasher>>) {
        let hash = Arc::default();
        (Noise { left, hash: Arc::clone(&hash), random: seed | 1 }, hash)
    }
}

impl Body for Noise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let len = (1 + (self.random >> 33) as usize % 40_000).min(self.left);
        self.left -= len;
        let piece: Vec<u8> = (0..len as u64).map(|place| (self.random.wrapping_mul(place + 3) >> 40) as u8).collect();
        self.hash.lock().unwrap().write(&piece);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

/// So many bytes, and their hash.
async fn hash_of(mut body: Incoming) -> (usize, u64) {
    let (mut count, mut hash) = (0, DefaultHasher::new());
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        count += data.len();
        hash.write(&data);
    }
    (count, hash.finish())
}

/// What goes each way at once, on each of four streams of a connection.
const LARGE: usize = 3_000_000;

async fn exchange<S: Readable + Writable>(client: PollIo<S>, server: PollIo<S>) {
    // The answer comes while the question is still being asked.
    async fn answer(request: Request<Incoming>) -> Result<Response<Noise>, Infallible> {
        let asked: u64 = request.headers()["expected"].to_str().unwrap().parse().unwrap();
        let (body, hash) = Noise::new(LARGE, asked);
        let receiving = ringtoss::spawn(async move {
            let (count, received) = hash_of(request.into_body()).await;
            assert_eq!(count, LARGE);
            (asked, received)
        });
        RECEIVED.lock().unwrap().push(receiving);
        SENT.lock().unwrap().push((asked, hash));
        Ok(Response::new(body))
    }
    static RECEIVED: Mutex<Vec<ringtoss::task::JoinHandle<(u64, u64)>>> = Mutex::new(Vec::new());
    static SENT: Mutex<Vec<(u64, Arc<Mutex<DefaultHasher>>)>> = Mutex::new(Vec::new());

    let serving = ringtoss::spawn(http2::Builder::new(Executor).serve_connection(server, service_fn(answer)));
    let (sender, connection) = hyper::client::conn::http2::handshake(Executor, client).await.unwrap();
    let connection = ringtoss::spawn(connection);
    let streams = (0..4).map(|seed| {
        let mut sender = sender.clone();
        async move {
            let (body, hash) = Noise::new(LARGE, seed + 77);
            let request = Request::post("http://localhost/").header("expected", seed.to_string()).body(body).unwrap();
            let (count, received) = hash_of(sender.send_request(request).await.unwrap().into_body()).await;
            assert_eq!(count, LARGE);
            (seed, received, hash)
        }
    });
    let asked = futures::future::join_all(streams).await;
    drop(sender);
    connection.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
    // The connection may end before those who read of it have run.
    let (answered, receiving) =
        (std::mem::take(&mut *SENT.lock().unwrap()), std::mem::take(&mut *RECEIVED.lock().unwrap()));
    let heard: Vec<_> = futures::future::join_all(receiving).await.into_iter().map(Result::unwrap).collect();
    for (seed, received, hash) in asked {
        let (_, sent) = answered.iter().find(|(asked, _)| *asked == seed).unwrap();
        assert_eq!(sent.lock().unwrap().finish(), received, "what the server sent");
        let (_, got) = heard.iter().find(|(asked, _)| *asked == seed).unwrap();
        assert_eq!(hash.lock().unwrap().finish(), *got, "what the client sent");
    }
}

/// With little room in the sockets, so that writes are refused and tried again with other bytes: a library that changes what it
/// wants to send meanwhile is where lent pointers show.
#[test]
fn large_bodies_go_both_ways_by_http2() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for at_once in [false, true] {
            let wrap = |stream: TcpStream| {
                stream.set_nodelay(true).unwrap();
                if at_once { PollIo::direct(stream) } else { PollIo::new(stream) }
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let server = listener.accept().await.unwrap().0;
            exchange(wrap(client), wrap(server)).await;
            let (client, server) = UnixStream::pair().unwrap();
            for stream in [&client, &server] {
                let bytes: libc::c_int = 8192;
                let size = size_of::<libc::c_int>() as libc::socklen_t;
                // SAFETY: the value lives over the call and its size is passed.
                let result = unsafe {
                    let value = (&raw const bytes).cast();
                    libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, value, size)
                };
                assert_eq!(result, 0);
            }
            let wrap = if at_once { PollIo::direct } else { PollIo::new };
            exchange(wrap(client), wrap(server)).await;
        }
    });
}

/// Both sides take their stream out of hyper again, with what had come behind the headers.
#[test]
fn an_upgraded_connection_gives_the_stream_back() {
    async fn take_out(upgraded: Upgraded) -> (TcpStream, Bytes) {
        let parts = upgraded.downcast::<PollIo<TcpStream>>().expect("that is what it was");
        (parts.io.into_inner(), parts.read_buf)
    }

    async fn switch(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        ringtoss::spawn(async move {
            let (mut stream, early) = take_out(hyper::upgrade::on(&mut request).await.unwrap()).await;
            let (result, rest) = stream.read_exact(Vec::with_capacity(5), 5 - early.len()).await;
            result.unwrap();
            assert_eq!([&early[..], &rest[..]].concat(), b"knock");
            stream.write_all("who is there?").await.0.unwrap();
        });
        let switching = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        Ok(switching.header(CONNECTION, "upgrade").header(UPGRADE, "doors").body(Full::default()).unwrap())
    }

    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        ringtoss::spawn(async move {
            let io = PollIo::new(listener.accept().await.unwrap().0);
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(io, service_fn(switch)).with_upgrades().await.unwrap();
        });
        let io = PollIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        ringtoss::spawn(connection.with_upgrades());
        let request =
            Request::builder().header(CONNECTION, "upgrade").header(UPGRADE, "doors").body(Full::<Bytes>::default());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let (mut stream, early) = take_out(hyper::upgrade::on(response).await.unwrap()).await;
        assert!(early.is_empty());
        stream.write_all("knock").await.0.unwrap();
        let (result, answer) = stream.read_exact(Vec::with_capacity(13), 13).await;
        result.unwrap();
        assert_eq!(answer, b"who is there?");
    });
}

/// hyper's timer is the loop's: a client that says nothing is sent away.
#[test]
fn a_client_that_says_nothing_is_sent_away() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let io = PollIo::new(listener.accept().await.unwrap().0);
        let mut server = hyper::server::conn::http1::Builder::new();
        server.timer(Timer).header_read_timeout(Duration::from_millis(50));
        let service =
            service_fn(|_: Request<Incoming>| async { Ok::<Response<Full<Bytes>>, hyper::Error>(Response::default()) });
        let error = server.serve_connection(io, service).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(silent.read(Vec::with_capacity(9)).await.0.unwrap(), 0);
    });
}
