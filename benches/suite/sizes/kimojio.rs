use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use kimojio::configuration::Configuration;
use kimojio::operations;

fn main() -> io::Result<()> {
    let listener: OwnedFd = TcpListener::bind("127.0.0.1:0")?.into();
    let served = kimojio::Runtime::new(0, Configuration::new()).block_on(async move {
        while let Ok(stream) = operations::accept(&listener).await {
            operations::spawn_task(echo(stream));
        }
    });
    drop(served);
    Ok(())
}

async fn echo(stream: OwnedFd) {
    let mut buf = vec![0; 4096];
    loop {
        let Ok(read @ 1..) = operations::read(&stream, &mut buf).await else { return };
        let mut done = 0;
        while done < read {
            match operations::write(&stream, &buf[done..read]).await {
                Ok(written @ 1..) => done += written,
                _ => return,
            }
        }
    }
}
