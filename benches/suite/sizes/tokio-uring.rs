use std::io;

use tokio_uring::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    tokio_uring::start(async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio_uring::spawn(echo(stream));
        }
    })
}

async fn echo(stream: TcpStream) {
    let mut buf = vec![0; 4096];
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
