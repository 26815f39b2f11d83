use std::io;

use smol::LocalExecutor;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            executor.spawn(echo(stream)).detach();
        }
    }))
}

async fn echo(mut stream: TcpStream) {
    let mut buf = vec![0; 4096];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buf).await else { return };
        if stream.write_all(&buf[..read]).await.is_err() {
            return;
        }
    }
}
