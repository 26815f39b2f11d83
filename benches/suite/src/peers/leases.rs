//! This crate with leases: multishot accept and receive into the loop's buffers, which are sent back as they are.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;

use ringtoss::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};

use crate::candidate::{Candidate, Kind, Ready};
use crate::work::{self, Work};

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss leases",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "multishot accept (incoming) and receive (recv_stream) into the loop's buffers",
        can: |work| matches!(work, Work::Echo { .. } | Work::Unix { .. } | Work::Udp { .. } | Work::Storm { .. }),
        serve,
        window: work::window::<super::ringtoss::Ringtoss>,
    }
}

/// What a datagram's buffer holds beside it.
const BESIDE_DATAGRAM: usize = 256;

fn serve(work: Work, path: &Path, ready: Ready) {
    let bytes = work.buffer_bytes().max(512) + BESIDE_DATAGRAM;
    let event_loop = ringtoss::EventLoop::builder().lease_buffers(bytes, 4096).build().expect("a loop");
    event_loop.block_on(async {
        match work {
            Work::Unix { .. } => unix(path, ready).await,
            Work::Udp { .. } => udp(ready).await,
            _ => tcp(work, ready).await,
        }
    })
}

async fn tcp(work: Work, ready: Ready) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port to listen on");
    ready(listener.local_addr().expect("an address").port());
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await.expect("a connection");
        crate::sys::no_delay(stream.as_raw_fd()).expect("TCP_NODELAY");
        match work {
            Work::Storm { .. } => ringtoss::spawn(once(stream)),
            _ => ringtoss::spawn(echo(stream)),
        };
    }
}

async fn unix(path: &Path, ready: Ready) {
    let listener = UnixListener::bind(path).await.expect("a path to listen at");
    ready(0);
    let mut incoming = listener.incoming();
    loop {
        ringtoss::spawn(echo_unix(incoming.next().await.expect("a connection")));
    }
}

async fn udp(ready: Ready) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    ready(socket.local_addr().expect("an address").port());
    let mut received = socket.recv_stream();
    loop {
        let (lease, message) = received.next().await.expect("a datagram");
        socket.send_to(lease, message.from).await.0.expect("a datagram that can be sent");
    }
}

/// One answer. A single receive: there is nothing to come after it.
async fn once(mut stream: TcpStream) {
    if let Ok(Some(lease)) = stream.recv().await {
        let _ = stream.write_all(lease).await;
    }
}

macro_rules! echo {
    ($name:ident, $stream:ty) => {
        async fn $name(mut stream: $stream) {
            let (mut reader, mut writer) = stream.split();
            let mut received = reader.recv_stream();
            while let Some(Ok(lease)) = received.next().await {
                if writer.write_all(lease).await.0.is_err() {
                    return;
                }
            }
        }
    };
}

echo!(echo, TcpStream);
echo!(echo_unix, UnixStream);
