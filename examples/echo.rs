//! An echo server, one task a connection: `echo [ADDRESS]`, 127.0.0.1:8080 unless told otherwise.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ringtoss::buf::BufResultExt;
use ringtoss::net::{TcpListener, TcpStream};

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    let Err(error) = ringtoss::block_on(serve(&address)) else { return ExitCode::SUCCESS };
    eprintln!("echo: {address}: {error}");
    ExitCode::FAILURE
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => drop(ringtoss::spawn(async move {
                match echo(stream).await {
                    Ok(bytes) => println!("{peer}: {bytes} bytes"),
                    Err(error) => eprintln!("{peer}: {error}"),
                }
            })),
            Err(error) => {
                // Too many open files, say: those who are connected will leave.
                eprintln!("echo: accepting: {error}");
                ringtoss::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Sends everything back; gives the number of bytes.
async fn echo(mut stream: TcpStream) -> io::Result<u64> {
    let mut buf = Vec::with_capacity(16 * 1024);
    let mut bytes = 0;
    loop {
        let (count, received) = stream.read(buf).await.into_result()?;
        if count == 0 {
            return Ok(bytes);
        }
        buf = stream.write_all(received).await.into_result()?.1;
        bytes += count as u64;
    }
}
