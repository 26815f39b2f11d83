//! Fetches a URL by hand, over HTTP/1.1: `get http://HOST[:PORT][/PATH]`. The body goes to standard output, the status to
//! standard error; it fails unless the status is 2xx.

use std::io::{self, Error, ErrorKind, Result};
use std::{mem, os::fd::AsFd, process::ExitCode, time::Duration};

use ringtoss::{buf::BufResultExt, fs::File, net::TcpStream};

fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_default();
    let Err(error) = ringtoss::block_on(get(&url)) else { return ExitCode::SUCCESS };
    eprintln!("get: {url}: {error}");
    ExitCode::FAILURE
}

async fn get(url: &str) -> Result<()> {
    let rest =
        url.split('#').next().and_then(|s| s.strip_prefix("http://")).ok_or_else(|| Error::other("not http://"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let has_port = host.contains(':') && !host.ends_with(']');
    let mut stream = TcpStream::connect(if has_port { host.to_string() } else { format!("{host}:80") }).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request).await.result()?;
    let mut response = Response { stream, unread: Vec::new() };
    let head = response.until(b"\r\n\r\n").await?;
    let (status, headers) = head.split_once("\r\n").unwrap_or_default();
    eprintln!("{status}");
    let headers = headers.to_ascii_lowercase();
    let field = |name| headers.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let chunked = field("transfer-encoding:").is_some_and(|value| value.ends_with("chunked"));
    let mut length = field("content-length:").filter(|_| !chunked).map(str::parse).transpose().map_err(Error::other)?;
    let mut out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    while chunked && length != Some(0) {
        let line = response.until(b"\r\n").await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        length = Some(u64::from_str_radix(size, 16).map_err(Error::other)?);
        response.body(length, &mut out).await?;
        response.until(b"\r\n").await?;
    }
    response.body(length, &mut out).await?;
    if status.get(8..10) == Some(" 2") { Ok(()) } else { Err(Error::other(status)) }
}

struct Response {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Response {
    /// Takes as many of the bytes that are there as `count` says, once it says so.
    async fn take(&mut self, count: impl Fn(&[u8]) -> Option<usize>) -> Result<Vec<u8>> {
        loop {
            if let Some(count) = count(&self.unread) {
                return Ok(self.unread.drain(..count).collect());
            }
            self.unread.reserve(64 * 1024);
            let read = self.stream.read_append(mem::take(&mut self.unread)).timeout(Duration::from_secs(30));
            let (1.., buf) = read.await.into_result()? else { return Err(ErrorKind::UnexpectedEof.into()) };
            self.unread = buf;
        }
    }

    async fn until(&mut self, end: &[u8]) -> Result<String> {
        let found = |unread: &[u8]| Some(unread.windows(end.len()).position(|bytes| bytes == end)? + end.len());
        Ok(String::from_utf8_lossy(&self.take(found).await?).into_owned())
    }

    /// Passes so many bytes of the body on, or all until the end.
    async fn body(&mut self, length: Option<u64>, out: &mut File) -> Result<()> {
        let mut left = length.unwrap_or(u64::MAX);
        while left > 0 {
            match self.take(move |there| (!there.is_empty()).then_some(left.min(there.len() as u64) as usize)).await {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && length.is_none() => break,
                part => left -= out.write_all(part?).await.into_result()?.1.len() as u64,
            }
        }
        Ok(())
    }
}
