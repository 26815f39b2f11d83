//! A TCP proxy: `tcp_proxy LISTEN UPSTREAM [--copy]`.
//!
//! What one side sends goes to the other, until both have ended; the end of one is passed on while the other goes on. Nothing is
//! read that the other side has no room for. If a connection breaks, so does the one behind it, with a reset: a stream that was
//! cut off must not look like one that has ended.
//!
//! Bytes go by splice, and never come here; with `--copy` they are read and written. A gigabyte at once cost this program 0.7 of
//! the CPU time that it cost with `--copy`, messages of 1 KiB one at a time 2.3 times as much (Linux 6.18, loopback);
//! `cargo bench --bench splice` tells it by size.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use ringtoss::io::{copy_bidirectional, splice_bidirectional};
use ringtoss::net::{TcpListener, TcpStream};

/// How long it may take to connect to the other side.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, upstream, splices) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [listen, upstream] => (listen, upstream, true),
        [listen, upstream, "--copy"] => (listen, upstream, false),
        _ => {
            eprintln!("usage: tcp_proxy LISTEN UPSTREAM [--copy]   (addresses with ports)");
            return ExitCode::from(2);
        }
    };
    let Err(error) = ringtoss::block_on(serve(listen, upstream.to_string(), splices)) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("tcp_proxy: {listen}: {error}");
    ExitCode::FAILURE
}

async fn serve(listen: &str, upstream: String, splices: bool) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (client, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, say: those who are connected will leave.
                eprintln!("tcp_proxy: accepting: {error}");
                ringtoss::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let upstream = upstream.clone();
        drop(ringtoss::spawn(async move {
            match proxy(client, &upstream, splices).await {
                Ok((there, back)) => println!("{peer}: {there} bytes there, {back} back"),
                Err(error) => eprintln!("{peer}: {error}"),
            }
        }));
    }
}

async fn proxy(mut client: TcpStream, upstream: &str, splices: bool) -> io::Result<(u64, u64)> {
    let connected = match ringtoss::time::timeout(PATIENCE, TcpStream::connect(upstream)).await {
        Ok(connected) => connected,
        Err(late) => Err(late.into()),
    };
    let mut server = match connected {
        Ok(server) => server,
        Err(error) => {
            client.set_zero_linger()?;
            return Err(error);
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let moved = if splices {
        splice_bidirectional(&mut client, &mut server).await
    } else {
        copy_bidirectional(&mut client, &mut server).await
    };
    if moved.is_err() {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    moved
}
