//! Network work: servers.

use crate::http;
use crate::runtime::{Net, buffer};

use super::Work;

/// Serves until the process is killed. `ready` is told the port.
pub async fn serve<R: Net>(work: Work, ready: impl FnOnce(u16)) {
    let (listener, port) = R::listen().await.expect("a port to listen on");
    ready(port);
    loop {
        let stream = R::accept(&listener).await.expect("a connection");
        match work {
            Work::Echo { bytes } => R::detach(echo::<R>(stream, bytes)),
            _ => R::detach(http_server::<R>(stream)),
        }
    }
}

async fn echo<R: Net>(mut stream: R::Stream, bytes: usize) {
    let mut buf = buffer(bytes);
    loop {
        let (result, read) = R::read(&mut stream, buf).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let (result, written) = R::write_all(&mut stream, read).await;
        if result.is_err() {
            return;
        }
        buf = written;
    }
}

async fn http_server<R: Net>(mut stream: R::Stream) {
    let mut buf = buffer(http::BUFFER_BYTES);
    let mut answer = http::RESPONSE.to_vec();
    let mut requests = http::Requests::default();
    loop {
        let (result, read) = R::read(&mut stream, buf).await;
        buf = read;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let ended = requests.count(&buf);
        if ended == 0 {
            continue;
        }
        http::repeat(&mut answer, ended);
        let (result, written) = R::write_all(&mut stream, answer).await;
        if result.is_err() {
            return;
        }
        answer = written;
    }
}
