//! hyper-util's client with its pool of connections, over ringtoss:
//! `cargo run -p ringtoss-ecosystem --example hyper_client -- http://127.0.0.1:8080/ [http://proxy:3128/]`.
//!
//! With a proxy, what is asked for goes through a tunnel (`CONNECT`), see the example `connect_proxy`.

use std::future::Future;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Uri;
use hyper::body::Body;
use hyper::rt::{self, ReadBufCursor};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Builder, Client};
use ringtoss::compat::PollIo;
use ringtoss::compat::hyper::{Executor, Timer};
use ringtoss::net::TcpStream;
use tower_service::Service;

/// Connects to the host that an address names. What hyper-util's `HttpConnector` does on tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connector;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let missing = || io::Error::new(io::ErrorKind::InvalidInput, "an address without a host");
            // One of IPv6 is in brackets.
            let host = uri.host().ok_or_else(missing)?.trim_matches(['[', ']']);
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(Stream(PollIo::new(stream)))
        })
    }
}

/// A connection of the pool's. (It is of this crate, because the trait `Connection` is of another.)
#[derive(Debug)]
pub struct Stream(pub PollIo<TcpStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        rt::Read::poll_read(Pin::new(&mut self.0), cx, buf)
    }
}

impl rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        rt::Write::poll_write(Pin::new(&mut self.0), cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        rt::Write::poll_write_vectored(Pin::new(&mut self.0), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        rt::Write::is_write_vectored(&self.0)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        rt::Write::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        rt::Write::poll_shutdown(Pin::new(&mut self.0), cx)
    }
}

/// A builder of clients whose tasks and time limits are the loop's.
pub fn builder() -> Builder {
    let mut builder = Client::builder(Executor);
    builder.timer(Timer).pool_timer(Timer).pool_idle_timeout(Duration::from_secs(90));
    builder
}

/// A client that keeps connections for the next request.
pub fn client<B>() -> Client<Connector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    builder().build(Connector)
}

/// One that asks a proxy to connect it.
pub fn client_through<B>(proxy: Uri) -> Client<Tunnel<Connector>, B>
where
    B: Body + Send,
    B::Data: Send,
{
    builder().build(Tunnel::new(proxy, Connector))
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let uri: Uri = arguments.next().ok_or("which address?")?.parse()?;
    let proxy: Option<Uri> = arguments.next().map(|proxy| proxy.parse()).transpose()?;
    ringtoss::block_on(async {
        let response = match proxy {
            Some(proxy) => client_through::<Empty<Bytes>>(proxy).get(uri).await?,
            None => client::<Empty<Bytes>>().get(uri).await?,
        };
        eprintln!("{}", response.status());
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                std::io::stdout().write_all(&data)?;
            }
        }
        Ok(())
    })
}
