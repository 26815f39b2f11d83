//! The clients: every connection sends a message, waits for its echo, compares, and sends the next one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use ringtoss::buf::BufResultExt;
use ringtoss::net::TcpStream;
use tokio::sync::oneshot;

use crate::all;
use crate::progress::Progress;
use crate::server::Invitation;

/// Bytes of a message.
pub const MESSAGE: usize = 64;

/// What the clients have seen.
pub struct Driven {
    pub requests: u64,
    pub elapsed: Duration,
    /// From before a request is sent until its echo is here, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// Connects, tells the server, and sends requests when it says so and until the time is up.
pub async fn run(connections: usize, progress: Arc<Progress>, server: oneshot::Receiver<Invitation>) -> Result<Driven> {
    let Invitation { address, connected, start } = server.await.context("the server is gone")?;
    let streams = try_join_all((0..connections).map(|number| async move {
        TcpStream::connect(address).await.with_context(|| format!("connection {number} of {connections} to {address}"))
    }))
    .await?;
    connected.send(()).ok().context("the server is gone")?;
    start.await.context("the server is gone")?;

    let latency = Rc::new(RefCell::new(Histogram::new(3)?));
    let begin = Instant::now();
    let talks = streams.into_iter().enumerate().map(|(number, stream)| {
        let talk = talk(number, stream, progress.clone(), latency.clone());
        async move { talk.await.with_context(|| format!("connection {number}")) }
    });
    let requests = all(talks).await?.iter().sum();
    let elapsed = begin.elapsed();
    let latency = latency.borrow().clone();
    Ok(Driven { requests, elapsed, latency })
}

/// One connection; gives the number of its requests.
async fn talk(
    number: usize,
    mut stream: TcpStream,
    progress: Arc<Progress>,
    latency: Rc<RefCell<Histogram<u64>>>,
) -> Result<u64> {
    let mut message = vec![0; MESSAGE];
    fastrand::fill(&mut message);
    message[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let mut echo = Vec::with_capacity(MESSAGE);
    let mut requests = 0u64;
    while !progress.is_over() {
        message[8..16].copy_from_slice(&requests.to_le_bytes());
        let sent = Instant::now();
        message = stream.write_all(message).await.into_result().context("sending")?.1;
        echo = stream.read_exact(echo, MESSAGE).await.into_result().context("receiving")?.1;
        latency.borrow_mut().record(sent.elapsed().as_nanos() as u64)?;
        ensure!(echo == message, "the echo of request {requests} is not what was sent");
        requests += 1;
        progress.requests.fetch_add(1, Ordering::Relaxed);
    }
    Ok(requests)
}
