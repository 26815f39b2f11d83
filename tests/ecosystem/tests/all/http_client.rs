//! hyper-util's client: its pool of connections, tunnels through a proxy, and both over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use ringtoss::JoinHandle;
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss_ecosystem::{free_address, noise, output_of, program, run};
use tokio::sync::{Semaphore, oneshot};

use crate::grpc::grpc_example::hyper_client;
use crate::tls::Identity;

// The examples are what is tested; the other one is part of the example `grpc`.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/connect_proxy.rs"]
mod connect_proxy;

/// Of connections.
struct Counts {
    opened: AtomicUsize,
    /// A permit for each.
    closed: Semaphore,
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

/// Ends when it is told to, with its connections drained.
async fn serve(listener: TcpListener, counts: Arc<Counts>, stopped: oneshot::Receiver<()>) {
    let connections = GracefulShutdown::new();
    let mut stopped = stopped;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = &mut stopped => break,
        };
        counts.opened.fetch_add(1, Ordering::Relaxed);
        let server = auto::Builder::new(Executor);
        let connection = server.serve_connection(PollIo::new(stream), service_fn(echo)).into_owned();
        let (connection, counts) = (connections.watch(connection), counts.clone());
        ringtoss::spawn(async move {
            connection.await.unwrap();
            counts.closed.add_permits(1);
        });
    }
    drop(listener);
    connections.shutdown().await;
}

struct Echo {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn server(address: &str) -> Echo {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new(Counts { opened: AtomicUsize::new(0), closed: Semaphore::new(0) });
    let (stop, stopped) = oneshot::channel();
    let server = ringtoss::spawn(serve(listener, counts.clone(), stopped));
    Echo { address, counts, stop, server }
}

fn post(address: SocketAddr, body: Bytes) -> Request<Full<Bytes>> {
    Request::builder().method(Method::POST).uri(format!("http://{address}/")).body(Full::new(body)).unwrap()
}

async fn whole(response: Response<Incoming>) -> Bytes {
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn the_pool_uses_its_connections_again() {
    run(async {
        let echo = server("127.0.0.1:0").await;
        let client = hyper_client::client::<Full<Bytes>>();
        let tasks = (0..8).map(|task| {
            let (client, address) = (client.clone(), echo.address);
            ringtoss::spawn(async move {
                for round in 0..100 {
                    let body = Bytes::from(noise(task * 10_000 + round * 7));
                    assert!(whole(client.request(post(address, body.clone())).await.unwrap()).await == body);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let opened = echo.counts.opened.load(Ordering::Relaxed);
        // More than tasks: while one connects, another connection may be given back, and is taken instead.
        assert!((1..=16).contains(&opened), "{opened} connections for eight tasks");
        for _ in 0..20 {
            whole(client.request(post(echo.address, Bytes::new())).await.unwrap()).await;
        }
        assert_eq!(echo.counts.opened.load(Ordering::Relaxed), opened, "there are idle ones enough");
    });
}

#[test]
fn one_connection_of_http2_serves_all() {
    run(async {
        let echo = server("127.0.0.1:0").await;
        let client = hyper_client::builder().http2_only(true).build(hyper_client::Connector);
        let requests = (0..100).map(|number| {
            let (client, address) = (&client, echo.address);
            async move {
                let body = Bytes::from(noise(1 + number * 700));
                assert!(whole(client.request(post(address, body.clone())).await.unwrap()).await == body);
            }
        });
        futures::future::join_all(requests).await;
        assert_eq!(echo.counts.opened.load(Ordering::Relaxed), 1);
    });
}

/// The pool's time limit is kept by the loop's timer.
#[test]
fn the_pool_closes_what_is_idle_for_too_long() {
    run(async {
        let echo = server("127.0.0.1:0").await;
        let mut builder = hyper_client::builder();
        let client = builder.pool_idle_timeout(Duration::from_millis(100)).build(hyper_client::Connector);
        whole(client.request(post(echo.address, Bytes::new())).await.unwrap()).await;
        let _ = echo.counts.closed.acquire().await.unwrap();
        whole(client.request(post(echo.address, Bytes::new())).await.unwrap()).await;
        assert_eq!(echo.counts.opened.load(Ordering::Relaxed), 2);
    });
}

/// A server that stops gracefully closes what is idle, and the pool notices.
#[test]
fn a_client_survives_the_restart_of_its_server() {
    run(async {
        for http2 in [false, true] {
            let first = server("127.0.0.1:0").await;
            let client = hyper_client::builder().http2_only(http2).build(hyper_client::Connector);
            whole(client.request(post(first.address, Bytes::from("one"))).await.unwrap()).await;
            first.stop.send(()).unwrap();
            first.server.await.unwrap();
            // It has let go of the connection, which the loop closes at the end of its turn; the pool hears of it in the next.
            // A request in between could not be told from one that got lost.
            for _ in 0..4 {
                ringtoss::op::nop().await.unwrap();
            }
            let second = server(&first.address.to_string()).await;
            let answer = client.request(post(first.address, Bytes::from("two"))).await.unwrap();
            assert_eq!(whole(answer).await, "two");
            assert_eq!(second.counts.opened.load(Ordering::Relaxed), 1);
        }
    });
}

async fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    ringtoss::spawn(connect_proxy::serve(listener));
    address
}

#[test]
fn a_client_goes_through_a_tunnel() {
    run(async {
        let (echo, proxy) = (server("127.0.0.1:0").await, proxy().await);
        let client = hyper_client::client_through::<Full<Bytes>>(format!("http://{proxy}").parse().unwrap());
        let requests = (0..20).map(|number| {
            let (client, address) = (&client, echo.address);
            async move {
                let body = Bytes::from(noise(number * 100_000));
                assert!(whole(client.request(post(address, body.clone())).await.unwrap()).await == body);
            }
        });
        futures::future::join_all(requests).await;
        // The end of one side is passed on to the other.
        let opened = echo.counts.opened.load(Ordering::Relaxed);
        drop(client);
        let _ = echo.counts.closed.acquire_many(opened as u32).await.unwrap();
    });
}

#[test]
fn a_tunnel_to_nowhere_is_refused() {
    run(async {
        let proxy: Uri = format!("http://{}", proxy().await).parse().unwrap();
        let nowhere: Uri = format!("http://{}/", free_address()).parse().unwrap();
        let error = hyper_client::client_through::<Empty<Bytes>>(proxy.clone()).get(nowhere).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let answer = hyper_client::client::<Empty<Bytes>>().get(proxy).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    });
}

/// hyper over rustls: tokio's traits in between, by hyper-util's `TokioIo`.
async fn serve_tls(listener: TcpListener, identity: Arc<Identity>) {
    let mut config = (*identity.server).clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        ringtoss::spawn(async move {
            let tls = acceptor.accept(PollIo::new(stream)).await.unwrap();
            let mut server = auto::Builder::new(Executor);
            server.http1().timer(Timer);
            server.http2().timer(Timer);
            // curl ends without close_notify now and then.
            let _ = server.serve_connection(TokioIo::new(tls), service_fn(echo)).await;
        });
    }
}

#[test]
fn curl_by_https_with_and_without_a_proxy() {
    let Some(curl) = program("curl") else { return };
    run(async {
        let identity = Arc::new(Identity::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        ringtoss::spawn(serve_tls(listener, identity.clone()));
        let proxy = proxy().await.to_string();
        std::fs::write(identity.path("body"), noise(2_000_000)).unwrap();
        for version in ["--http1.1", "--http2"] {
            for through in [&[][..], &["--proxytunnel", "-x", &proxy][..]] {
                let mut post = Command::new(&curl);
                post.args(["-sS", "--fail", version, "--cacert", &identity.path("certificate"), "-H", "Expect:"]);
                post.args(["--connect-to", "localhost::127.0.0.1:", "-w", "%{stderr}%{http_version}"]).args(through);
                post.args(["--data-binary", &format!("@{}", identity.path("body"))]);
                post.arg(format!("https://localhost:{port}/"));
                let output = output_of(post).await;
                assert!(output.stdout == noise(2_000_000), "{version} {through:?}");
                let spoken = if version == "--http2" { "2" } else { "1.1" };
                assert_eq!(String::from_utf8_lossy(&output.stderr), spoken);
            }
        }
    });
}

/// What has been read of the stream before the tunnel began goes along: the client does not wait for the answer.
#[test]
fn what_is_sent_early_goes_through_the_tunnel() {
    run(async {
        let (echo, proxy) = (server("127.0.0.1:0").await, proxy().await);
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let both = format!(
            "CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-length: 5\r\n\r\nearly",
            echo.address
        );
        stream.write_all(both).await.0.unwrap();
        let (result, all) = stream.read_to_end(Vec::new()).await;
        result.unwrap();
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("early"), "{all}");
    });
}
