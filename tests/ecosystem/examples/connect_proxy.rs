//! A proxy that connects its clients (`CONNECT`): `cargo run -p ringtoss-ecosystem --example connect_proxy -- 127.0.0.1:3128`,
//! and then, say, `curl --proxytunnel -x http://127.0.0.1:3128 http://127.0.0.1:8080/`.
//!
//! hyper reads the request and answers it; from there on the two streams are copied by the loop itself, with buffers
//! of their own.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::Timer;
use ringtoss::io::copy_bidirectional;
use ringtoss::net::{TcpListener, TcpStream};

fn refuse(status: StatusCode, why: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(why.into()));
    *response.status_mut() = status;
    response
}

async fn connect(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = match request.uri().authority() {
        Some(target) if request.method() == Method::CONNECT => target.to_string(),
        _ => return Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "only CONNECT\n".to_string())),
    };
    let server = match TcpStream::connect(&target).await {
        Ok(server) => server,
        Err(error) => return Ok(refuse(StatusCode::BAD_GATEWAY, format!("{target}: {error}\n"))),
    };
    ringtoss::spawn(async move {
        if let Err(error) = tunnel(request, server).await {
            eprintln!("{target}: {error}");
        }
    });
    Ok(Response::default())
}

/// Begins when the answer has been sent.
async fn tunnel(request: Request<Incoming>, mut server: TcpStream) -> io::Result<()> {
    let upgraded = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    let parts = upgraded.downcast::<PollIo<TcpStream>>().expect("that is what was given to hyper");
    let mut client = parts.io.into_inner();
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    // What the client has sent without waiting for the answer.
    server.write_all(parts.read_buf.to_vec()).await.0?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors are left, say.
            ringtoss::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        ringtoss::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(Timer).header_read_timeout(Duration::from_secs(30));
            let connection = server.serve_connection(PollIo::new(stream), service_fn(connect)).with_upgrades();
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3128".to_string());
    ringtoss::block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("http://{}", listener.local_addr()?);
        serve(listener).await
    })
}
