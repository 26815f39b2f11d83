//! gRPC without tonic's `transport`, which needs tokio's runtime: a server over hyper-util's, a client over its pool.
//!
//! `cargo run -p ringtoss-ecosystem --example grpc -- serve 127.0.0.1:50051`, and then
//! `cargo run -p ringtoss-ecosystem --example grpc -- ask 127.0.0.1:50051 one two three`.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::TcpListener;
use ringtoss::time::sleep;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use words::words_client::WordsClient;
use words::words_server::{Words, WordsServer};

/// The connector, and the builder of a client.
#[allow(dead_code, reason = "the rest of that example")]
#[path = "hyper_client.rs"]
pub mod hyper_client;

/// Messages, client and service, as tonic-prost-build makes them.
#[path = "words/words.rs"]
pub mod words;
pub use words::Phrase;

/// The service itself is as it would be on tokio.
#[derive(Debug, Default)]
struct Speaker;

type Phrases = Pin<Box<dyn Stream<Item = Result<Phrase, Status>> + Send>>;

fn phrase(text: impl Into<String>) -> Phrase {
    Phrase { text: text.into() }
}

#[tonic::async_trait]
impl Words for Speaker {
    async fn greet(&self, request: Request<Phrase>) -> Result<Response<Phrase>, Status> {
        let name = request.into_inner().text;
        if name.is_empty() {
            return Err(Status::invalid_argument("who is there?"));
        }
        Ok(Response::new(phrase(format!("hello {name}"))))
    }

    type SplitStream = Phrases;

    async fn split(&self, request: Request<Phrase>) -> Result<Response<Phrases>, Status> {
        let text = request.into_inner().text;
        let words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        let slowly = futures::stream::iter(words).then(|word| async {
            sleep(Duration::from_millis(1)).await;
            Ok(phrase(word))
        });
        Ok(Response::new(Box::pin(slowly)))
    }

    async fn join(&self, request: Request<Streaming<Phrase>>) -> Result<Response<Phrase>, Status> {
        let words: Vec<String> = request.into_inner().map_ok(|phrase| phrase.text).try_collect().await?;
        Ok(Response::new(phrase(words.join(" "))))
    }

    type EchoStream = Phrases;

    async fn echo(&self, request: Request<Streaming<Phrase>>) -> Result<Response<Phrases>, Status> {
        Ok(Response::new(Box::pin(request.into_inner())))
    }
}

/// What the server has.
pub fn services() -> Routes {
    Routes::new(WordsServer::new(Speaker)).prepare()
}

/// What `Server::serve_with_incoming_shutdown` does: answers until `shutdown` is ready, then what has begun.
pub async fn serve(listener: TcpListener, services: Routes, shutdown: impl Future<Output = ()>) {
    let connections = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((stream, _)) = accepted else {
            // No descriptors are left, say.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let mut server = auto::Builder::new(Executor).http2_only();
        server.http2().timer(Timer).keep_alive_interval(Duration::from_secs(30));
        let service = TowerToHyperService::new(services.clone());
        let connection = server.serve_connection(PollIo::new(stream), service).into_owned();
        ringtoss::spawn(connections.watch(connection));
    }
    drop(listener);
    connections.shutdown().await;
}

/// A client that connects when it is used, and again when its connection has gone: what tonic's `Channel` is.
pub fn client(origin: Uri) -> WordsClient<Client<hyper_client::Connector, Body>> {
    WordsClient::with_origin(hyper_client::builder().http2_only(true).build(hyper_client::Connector), origin)
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, address) = match &arguments[..] {
        [what, address, ..] => (what.as_str(), address.as_str()),
        _ => return Err("serve ADDRESS, or ask ADDRESS WORD…".into()),
    };
    ringtoss::block_on(async {
        if what == "serve" {
            let listener = TcpListener::bind(address).await?;
            println!("http://{}", listener.local_addr()?);
            serve(listener, services(), std::future::pending()).await;
            return Ok(());
        }
        let mut client = client(format!("http://{address}").parse()?);
        let said = arguments[2..].join(" ");
        println!("{}", client.greet(phrase(said.clone())).await?.into_inner().text);
        let mut split = client.split(phrase(said)).await?.into_inner();
        while let Some(word) = split.message().await? {
            println!("{}", word.text);
        }
        Ok(())
    })
}
