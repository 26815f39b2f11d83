//! A port in steps. 1: the program as it was, on tokio. A client says a file's name, and gets the file.

use std::io;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Answers so many clients; how many bytes they got.
pub fn run(listener: StdListener, folder: PathBuf, clients: usize) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listener, folder, clients))
}

async fn serve(listener: StdListener, folder: PathBuf, clients: usize) -> io::Result<u64> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let folder: Arc<Path> = folder.into();
    let mut answers = JoinSet::new();
    for _ in 0..clients {
        let (stream, _) = listener.accept().await?;
        answers.spawn(answer(stream, folder.clone()));
    }
    let mut bytes = 0;
    while let Some(sent) = answers.join_next().await {
        bytes += sent??;
    }
    Ok(bytes)
}

async fn answer(stream: TcpStream, folder: Arc<Path>) -> io::Result<u64> {
    let mut stream = BufReader::new(stream);
    let mut name = String::new();
    timeout(Duration::from_secs(5), stream.read_line(&mut name)).await??;
    let mut file = File::open(folder.join(name.trim_end())).await?;
    let mut buf = vec![0; 64 * 1024];
    let mut sent = 0;
    loop {
        let count = file.read(&mut buf).await?;
        if count == 0 {
            return Ok(sent);
        }
        stream.write_all(&buf[..count]).await?;
        sent += count as u64;
    }
}

#[allow(dead_code, reason = "the tests have a main of their own")]
fn main() -> io::Result<()> {
    run(StdListener::bind("127.0.0.1:8080")?, ".".into(), usize::MAX).map(drop)
}
