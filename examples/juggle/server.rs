//! The loop that is measured: echo server, copies and timers on one thread and one ring.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures::future::try_join;
use hdrhistogram::Histogram;
use ringtoss::Metrics;
use ringtoss::buf::BufResultExt;
use ringtoss::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::copy::{self, Copies, Files};
use crate::progress::Progress;
use crate::timers::{self, Lateness};
use crate::{Load, all};

/// What the server tells the clients, and how they answer.
pub struct Invitation {
    pub address: SocketAddr,
    /// All are connected.
    pub connected: oneshot::Sender<()>,
    /// Go.
    pub start: oneshot::Receiver<()>,
}

/// What the loop has done while everything ran.
pub struct Served {
    pub elapsed: Duration,
    pub before: Metrics,
    pub after: Metrics,
    pub echoed_bytes: u64,
    pub copies: Copies,
    /// How late timers were, in nanoseconds.
    pub lateness: Histogram<u64>,
}

/// Runs everything for the duration, and until one copy is done.
pub async fn run(load: Load, progress: Arc<Progress>, clients: oneshot::Sender<Invitation>) -> Result<Served> {
    const GONE: &str = "the clients are gone";
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening on 127.0.0.1")?;
    let (connected, all_connected) = oneshot::channel();
    let (start, started) = oneshot::channel();
    let invitation = Invitation { address: listener.local_addr()?, connected, start: started };
    clients.send(invitation).map_err(|_| anyhow!(GONE))?;
    let all_connected = async { all_connected.await.context(GONE) };
    let (streams, ()) = try_join(accept(&listener, load.connections), all_connected).await?;

    let files = Rc::new(Files::open(load.source).await?);
    let lateness = Lateness::new(RefCell::new(Histogram::new(3)?));
    let mut echo = pin!(echo(streams));
    let (before, begin) = (ringtoss::metrics(), Instant::now());
    progress.begin();
    start.send(()).map_err(|()| anyhow!(GONE))?;
    let copies = copy::repeat(files.clone(), begin + load.duration, progress.clone());
    let copies = tokio::select! {
        copies = ringtoss::spawn(copies) => copies?.context("the copy")?,
        Err(error) = timers::run(progress.clone(), lateness.clone()) => bail!(error),
        echoed = &mut echo => bail!(echoed.err().unwrap_or_else(|| anyhow!("the clients left too early"))),
    };
    let (after, elapsed, lateness) = (ringtoss::metrics(), begin.elapsed(), lateness.borrow().clone());
    progress.end();
    // The clients wait for the echoes that are still to come, and leave.
    let echoed_bytes = echo.await?;
    Ok(Served { elapsed, before, after, echoed_bytes, copies, lateness })
}

async fn accept(listener: &TcpListener, connections: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(connections);
    while streams.len() < connections {
        streams.push(listener.accept().await.context("accepting")?.0);
    }
    Ok(streams)
}

/// Echoes what comes until all have left; gives the number of bytes.
async fn echo(streams: Vec<TcpStream>) -> Result<u64> {
    Ok(all(streams.into_iter().map(echo_one)).await?.iter().sum())
}

async fn echo_one(mut stream: TcpStream) -> Result<u64> {
    let mut bytes = 0;
    let mut buf = Vec::with_capacity(4096);
    loop {
        let (count, received) = stream.read(buf).await.into_result().context("receiving from a client")?;
        if count == 0 {
            return Ok(bytes);
        }
        buf = stream.write_all(received).await.into_result().context("echoing to a client")?.1;
        bytes += count as u64;
    }
}
