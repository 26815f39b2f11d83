//! Network work: servers.

use std::path::Path;
use std::sync::Arc;

use crate::http;
use crate::runtime::{Files, How, Net, Sends, Sink, Source, Udp, Unix, buffer};

use super::Work;

/// What a proxy takes at once.
pub const PROXY_BYTES: usize = 16384;

/// Serves until the process is killed. `path` is the file to serve, or where a Unix socket goes; `ready` is told the port.
pub async fn serve<R: Sends + Unix + Udp>(work: Work, path: &Path, ready: impl FnOnce(u16)) {
    match work {
        Work::Unix { bytes } => return serve_unix::<R>(bytes, path, ready).await,
        Work::Udp { bytes } => return udp::<R>(bytes, ready).await,
        _ => {}
    }
    let file = match work {
        Work::FileServer { .. } | Work::Mixed { .. } => {
            Some(Arc::new(R::open(path, How::default()).await.expect("the file")))
        }
        _ => None,
    };
    let (listener, port) = R::listen().await.expect("a port to listen on");
    ready(port);
    loop {
        let stream = R::accept(&listener).await.expect("a connection");
        match (work, &file) {
            (Work::Http, _) => R::detach(http_server(stream)),
            (Work::Storm { bytes }, _) => R::detach(once(stream, bytes)),
            (Work::Proxy { upstream, .. }, _) => R::detach(proxy::<R>(stream, upstream)),
            (Work::FileServer { bytes } | Work::Mixed { bytes }, Some(file)) => {
                R::detach(file_server::<R>(stream, file.clone(), bytes));
            }
            _ => R::detach(echo(stream, buffer(work.buffer_bytes()))),
        }
    }
}

async fn serve_unix<R: Unix>(bytes: usize, path: &Path, ready: impl FnOnce(u16)) {
    let listener = R::listen_unix(path).await.expect("a path to listen at");
    ready(0);
    loop {
        let stream = R::accept_unix(&listener).await.expect("a connection");
        R::detach(echo(stream, buffer(bytes)));
    }
}

async fn udp<R: Udp>(bytes: usize, ready: impl FnOnce(u16)) {
    let (socket, port) = R::bind().await.expect("a port");
    ready(port);
    let mut buf = buffer(bytes);
    loop {
        let (from, received) = R::recv_from(&socket, buf).await;
        let (result, sent) = R::send_to(&socket, received, from.expect("a datagram")).await;
        result.expect("a datagram that can be sent");
        buf = sent;
    }
}

async fn echo<S: Source + Sink>(mut stream: S, mut buf: Vec<u8>) {
    loop {
        let (result, read) = stream.read(buf).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let (result, written) = stream.write_all(read).await;
        if result.is_err() {
            return;
        }
        buf = written;
    }
}

/// One answer, and the connection is closed.
async fn once<S: Source + Sink>(mut stream: S, bytes: usize) {
    let (result, read) = stream.read(buffer(bytes)).await;
    if matches!(result, Ok(1..)) {
        // Whoever has gone meanwhile gets none.
        let _ = stream.write_all(read).await;
    }
}

async fn http_server<S: Source + Sink>(mut stream: S) {
    let mut buf = buffer(http::BUFFER_BYTES);
    let mut answer = http::RESPONSE.to_vec();
    let mut requests = http::Requests::default();
    loop {
        let (result, read) = stream.read(buf).await;
        buf = read;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let ended = requests.count(&buf);
        if ended == 0 {
            continue;
        }
        http::repeat(&mut answer, ended);
        let (result, written) = stream.write_all(answer).await;
        if result.is_err() {
            return;
        }
        answer = written;
    }
}

/// A task for each direction. It ends when both sides have.
async fn proxy<R: Net>(stream: R::Stream, upstream: u16) {
    let Ok(upstream) = R::connect(upstream).await else { return };
    let (client_reader, client_writer) = R::split(stream);
    let (upstream_reader, upstream_writer) = R::split(upstream);
    R::detach(pump(client_reader, upstream_writer));
    pump(upstream_reader, client_writer).await;
}

async fn pump(mut from: impl Source, mut to: impl Sink) {
    let mut buf = buffer(PROXY_BYTES);
    loop {
        let (result, read) = from.read(buf).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let (result, written) = to.write_all(read).await;
        if result.is_err() {
            return;
        }
        buf = written;
    }
}

/// Answers requests with the beginning of the file. What does not begin as a request gets an echo, for mixed work.
async fn file_server<R: Sends>(mut stream: R::Stream, file: Arc<<R as Files>::File>, bytes: usize) {
    let (result, mut buf) = stream.read(buffer(http::BUFFER_BYTES)).await;
    if !matches!(result, Ok(1..)) {
        return;
    }
    if !http::is_request(&buf) {
        if let (Ok(()), buf) = stream.write_all(buf).await {
            echo(stream, buf).await;
        }
        return;
    }
    let (mut head, mut body) = (http::head(bytes), buffer(bytes));
    let mut requests = http::Requests::default();
    loop {
        for _ in 0..requests.count(&buf) {
            let (result, written) = stream.write_all(head).await;
            head = written;
            if result.is_err() {
                return;
            }
            let (result, sent) = R::send_file(&mut stream, &file, body).await;
            body = sent;
            if result.is_err() {
                return;
            }
        }
        let (result, read) = stream.read(buf).await;
        buf = read;
        if !matches!(result, Ok(1..)) {
            return;
        }
    }
}
