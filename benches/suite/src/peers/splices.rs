//! This crate where bytes only pass through: they go from descriptor to descriptor in the kernel (`io::splice`).

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ringtoss::fs::File;
use ringtoss::io::{splice, splice_bidirectional};
use ringtoss::net::{TcpListener, TcpStream};

use crate::candidate::{Candidate, Kind, Ready};
use crate::http;
use crate::work::{self, Work};

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss splice",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "io::splice and splice_bidirectional, where bytes only pass through",
        can: |work| matches!(work, Work::Proxy { .. } | Work::FileServer { .. }),
        serve,
        window: work::window::<super::ringtoss::Ringtoss>,
    }
}

fn serve(work: Work, path: &Path, ready: Ready) {
    let path = path.to_owned();
    ringtoss::block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port to listen on");
        ready(listener.local_addr().expect("an address").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            crate::sys::no_delay(stream.as_raw_fd()).expect("TCP_NODELAY");
            match work {
                Work::Proxy { upstream, .. } => ringtoss::spawn(proxy(stream, upstream)),
                Work::FileServer { bytes } => ringtoss::spawn(file_server(stream, path.clone(), bytes)),
                _ => unreachable!("said that it cannot"),
            };
        }
    })
}

async fn proxy(mut stream: TcpStream, upstream: u16) {
    let Ok(mut upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    crate::sys::no_delay(upstream.as_raw_fd()).expect("TCP_NODELAY");
    // Whoever breaks a connection ends it.
    let _ = splice_bidirectional(&mut stream, &mut upstream).await;
}

async fn file_server(mut stream: TcpStream, path: PathBuf, bytes: usize) {
    // What is spliced comes from the file's position, so each connection has a file of its own.
    let mut file = File::open(path).await.expect("the file");
    let (mut buf, mut head) = (Vec::with_capacity(http::BUFFER_BYTES), http::head(bytes));
    let mut requests = http::Requests::default();
    loop {
        let (result, read) = stream.read(buf).await;
        buf = read;
        if !matches!(result, Ok(1..)) {
            return;
        }
        for _ in 0..requests.count(&buf) {
            let (result, written) = stream.write_all(head).await;
            head = written;
            if result.is_err() || file.rewind().await.is_err() {
                return;
            }
            if splice(&mut file, &mut stream, bytes as u64).await.is_err() {
                return;
            }
        }
    }
}
