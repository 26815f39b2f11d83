use std::io;

use ringtoss::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    ringtoss::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            ringtoss::spawn(echo(stream));
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
