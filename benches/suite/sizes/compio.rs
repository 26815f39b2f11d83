use std::io;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    compio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            compio::runtime::spawn(echo(stream)).detach();
        }
    })
}

async fn echo(mut stream: TcpStream) {
    let mut buf = Vec::with_capacity(4096);
    loop {
        buf.clear();
        let BufResult(result, read) = stream.read(buf).await;
        if !matches!(result, Ok(1..)) {
            return;
        }
        let BufResult(result, written) = stream.write_all(read).await;
        if result.is_err() {
            return;
        }
        buf = written;
    }
}
