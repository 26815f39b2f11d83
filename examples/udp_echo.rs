//! A UDP echo server: `udp_echo [ADDRESS]`, 127.0.0.1:8080 unless told otherwise. Datagrams that come together are received
//! together (GRO) and sent back together (GSO): one receive and one send for up to 64 of them.

use std::io;
use std::process::ExitCode;

use ringtoss::EventLoop;
use ringtoss::buf::BufResultExt;
use ringtoss::net::UdpSocket;
use ringtoss::net::udp::Transmit;

/// As much as the kernel joins, and what it says about that.
const BUFFER_BYTES: usize = 66_000;

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    let event_loop = EventLoop::builder().lease_buffers(BUFFER_BYTES, 256).build();
    let Err(error) = event_loop.and_then(|event_loop| event_loop.block_on(serve(&address))) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("udp_echo: {address}: {error}");
    ExitCode::FAILURE
}

async fn serve(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address).await?;
    socket.set_gro(true)?;
    socket.set_recv_ecn(true)?;
    println!("listening on {}", socket.local_addr()?);
    // One submission serves many receives; each comes in a buffer of the loop's.
    let mut received = socket.recv_stream();
    loop {
        let (lease, message) = received.next().await?;
        let mut transmit = Transmit::to(message.from);
        if let Some(mark) = message.ecn {
            transmit = transmit.ecn(mark);
        }
        if let Some(len) = message.segment_len.filter(|&len| len < lease.len()) {
            transmit = transmit.segment_len(len.try_into().expect("a datagram has less than 64 KiB"));
        }
        // Sent from where it was received, and then the buffer goes back to the loop.
        if let Err(error) = socket.send_msg(lease, &transmit).await.into_result() {
            eprintln!("udp_echo: {}: {error}", message.from);
        }
    }
}
