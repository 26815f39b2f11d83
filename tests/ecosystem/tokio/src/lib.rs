//! Portable code: a line-based key-value protocol, written once over futures' traits and run by `ringtoss`, tokio and smol alike
//! (`tests/all/portable.rs`).
//!
//! What a runtime has of its own, the caller brings along: the stream, and a sleep for the time-out. So there is no trait of
//! runtimes, and no feature to choose one.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use futures::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// What a server keeps for its connections.
#[derive(Debug, Default)]
pub struct Store(Mutex<HashMap<String, String>>);

/// Serves one connection until it ends, says `quit`, or says nothing for as long as `idle` takes; how many lines it said.
///
/// `set KEY VALUE` answers `ok`, `get KEY` the value or `none`, everything else `error`. A last line without its end is none.
///
/// # Errors
/// Those of the stream, and `TimedOut`.
pub async fn serve<S, I>(stream: S, store: &Store, idle: impl Fn() -> I) -> io::Result<usize>
where
    S: AsyncRead + AsyncWrite,
    I: Future<Output = ()>,
{
    let (read, mut write) = stream.split();
    let mut read = pin!(BufReader::new(read));
    let mut line = String::new();
    for count in 0.. {
        line.clear();
        let length = before(idle(), read.read_line(&mut line)).await??;
        let Some(line) = line.strip_suffix('\n').filter(|line| length > 0 && *line != "quit") else {
            write.close().await?;
            return Ok(count);
        };
        let answer = store.answer(line);
        // One write a line: nothing waits for a flush.
        write.write_all(answer.as_bytes()).await?;
        write.flush().await?;
    }
    unreachable!("a connection says less than usize::MAX lines")
}

impl Store {
    fn answer(&self, line: &str) -> String {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *line.splitn(3, ' ').collect::<Vec<_>>() {
            ["set", key, value] => {
                entries.insert(key.to_string(), value.to_string());
                "ok\n".to_string()
            }
            ["get", key] => entries.get(key).map_or("none\n".to_string(), |value| format!("{value}\n")),
            _ => "error\n".to_string(),
        }
    }
}

/// Says one line and gives the answer, without its end.
///
/// # Errors
/// Those of the stream; `UnexpectedEof` if it ends before the answer does.
pub async fn ask<S>(stream: &mut BufReader<S>, line: &str) -> io::Result<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = format!("{line}\n");
    stream.get_mut().write_all(answer.as_bytes()).await?;
    stream.get_mut().flush().await?;
    answer.clear();
    stream.read_line(&mut answer).await?;
    match answer.strip_suffix('\n') {
        Some(answer) => Ok(answer.to_string()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Awaits a future for as long as the other one takes.
async fn before<F: Future>(end: impl Future<Output = ()>, future: F) -> io::Result<F::Output> {
    let (mut end, mut future) = (pin!(end), pin!(future));
    poll_fn(|cx| match (future.as_mut().poll(cx), end.as_mut().poll(cx)) {
        (Poll::Ready(output), _) => Poll::Ready(Ok(output)),
        (_, Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        _ => Poll::Pending,
    })
    .await
}
