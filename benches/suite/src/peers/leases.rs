//! This crate with leases: multishot accept and receive into the loop's buffers, which are sent back as they are.

use std::os::fd::AsRawFd;

use ringtoss::net::{TcpListener, TcpStream};

use crate::candidate::{Candidate, Kind, Ready};
use crate::work::{self, Work};

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss leases",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "multishot accept (incoming) and receive (recv_stream) into the loop's buffers",
        can: |work| matches!(work, Work::Echo { .. }),
        serve,
        window: work::window::<super::ringtoss::Ringtoss>,
    }
}

fn serve(work: Work, ready: Ready) {
    let event_loop =
        ringtoss::EventLoop::builder().lease_buffers(work.buffer_bytes().max(512), 4096).build().expect("a loop");
    event_loop.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port to listen on");
        ready(listener.local_addr().expect("an address").port());
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await.expect("a connection");
            crate::sys::no_delay(stream.as_raw_fd()).expect("TCP_NODELAY");
            ringtoss::spawn(echo(stream));
        }
    })
}

async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    let mut received = reader.recv_stream();
    while let Some(Ok(lease)) = received.next().await {
        if writer.write_all(lease).await.0.is_err() {
            return;
        }
    }
}
