//! A hyper server, HTTP/1.1 and HTTP/2: `cargo run -p ringtoss-ecosystem --example hyper_server -- 127.0.0.1:8080`.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::server::conn::auto;
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::TcpListener;

type Body = BoxBody<Bytes, hyper::Error>;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Response::new(whole("hello\n")),
        // Sent back as it comes in.
        (&Method::POST, "/echo") => Response::new(request.into_body().boxed()),
        _ => {
            let mut missing = Response::new(whole("not here\n"));
            *missing.status_mut() = StatusCode::NOT_FOUND;
            missing
        }
    })
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No descriptors are left, say: some are free again soon.
                eprintln!("accept: {error}");
                ringtoss::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        stream.set_nodelay(true)?;
        ringtoss::spawn(async move {
            let mut server = auto::Builder::new(Executor);
            server.http1().timer(Timer).header_read_timeout(Duration::from_secs(30));
            server.http2().timer(Timer);
            let connection = server.serve_connection_with_upgrades(PollIo::new(stream), service_fn(answer));
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    ringtoss::block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        serve(listener).await
    })
}
