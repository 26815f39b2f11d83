//! A port in steps. 4: the loop runs by itself, and tokio's runtime is gone. A library that insists on it would be awaited in
//! `compat::tokio::in_context`.

use std::io;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringtoss::fs::File;
use ringtoss::io::BufReader;
use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::task::JoinSet;
use ringtoss::time::timeout;

/// Answers so many clients; how many bytes they got.
pub fn run(listener: StdListener, folder: PathBuf, clients: usize) -> io::Result<u64> {
    ringtoss::block_on(serve(listener, folder, clients))
}

async fn serve(listener: StdListener, folder: PathBuf, clients: usize) -> io::Result<u64> {
    let listener = TcpListener::from_std(listener);
    // Tasks of the loop stay on its thread: no `Arc` is needed.
    let folder: Rc<Path> = folder.into();
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

async fn answer(stream: TcpStream, folder: Rc<Path>) -> io::Result<u64> {
    let mut stream = BufReader::new(stream);
    let mut name = String::new();
    timeout(Duration::from_secs(5), stream.read_line(&mut name)).await??;
    let mut file = File::open(folder.join(name.trim_end())).await?;
    let mut buf = Vec::with_capacity(64 * 1024);
    let mut sent = 0;
    loop {
        // The buffer goes in and comes back: what it holds is what was read.
        let (result, bytes) = file.read(buf).await;
        let count = result?;
        if count == 0 {
            return Ok(sent);
        }
        let (result, bytes) = stream.get_mut().write_all(bytes).await;
        result?;
        buf = bytes;
        sent += count as u64;
    }
}

#[allow(dead_code, reason = "the tests have a main of their own")]
fn main() -> io::Result<()> {
    run(StdListener::bind("127.0.0.1:8080")?, ".".into(), usize::MAX).map(drop)
}
