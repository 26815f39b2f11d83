use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{FusionDriver, RuntimeBuilder};

fn main() -> io::Result<()> {
    RuntimeBuilder::<FusionDriver>::new().enable_timer().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) {
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
