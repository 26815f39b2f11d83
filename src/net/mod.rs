//! L5: TCP, UDP and Unix sockets, and those of other families ([`Socket`]).
//!
//! Names and meaning are tokio's; reads and writes take their buffer by value and give it back with the result (see
//! [`buf`](crate::buf)). Sockets are `Send + Sync` and may move between loops; the loop on which something is in flight
//! still (a dropped read, say) has to run or to have ended ([why](crate::op#threads)).
//!
//! ```
//! # ringtoss::block_on(async {
//! use ringtoss::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let server = ringtoss::spawn(async move {
//!     let (mut stream, _peer) = listener.accept().await?;
//!     let (result, buf) = stream.read(Vec::with_capacity(1024)).await;
//!     result?;
//!     stream.write_all(buf).await.0
//! });
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all("hello").await.0?;
//! let (result, buf) = client.read_exact(Vec::with_capacity(5), 5).await;
//! result?;
//! assert_eq!(buf, b"hello");
//! server.await.unwrap()?;
//! # std::io::Result::Ok(()) }).unwrap();
//! ```
//!
//! # Set-up
//!
//! Connecting goes through the ring, and so does the socket that it needs. What else is said before a socket is in use
//! (options, `bind(2)`, `listen(2)`) is a direct call, though newer kernels have `IORING_OP_BIND`, `IORING_OP_LISTEN` (6.11)
//! and `getsockopt` and `setsockopt` as commands (6.7). None of these calls blocks, and each would be a submission to wait
//! for: a listener by four entries one after the other took 1.23 times as long as by the direct calls, and one with an
//! option 1.28 times (Linux 6.18; 9.3 µs instead of 7.6, 10.2 instead of 8.0). Only many at once gain by it (32 at once:
//! 0.86 of the time), and nobody makes listeners like that. A Unix path, which is made by the file system and may take its
//! time, is bound on the blocking pool: `IORING_OP_BIND` would do it in the call that submits it, and hold up the loop.

mod address;
mod any;
mod builder;
mod datagram;
mod happy_eyeballs;
mod listener;
mod options;
mod raw_option;
mod sock_addr;
mod socket;
mod split;
mod stream;
mod tcp_info;
mod tcp_socket;
mod try_now;
pub mod udp;
pub mod unix;
pub mod zcrx;
mod zero_copy;

pub use crate::convert::ConvertError;
pub use address::{ToSocketAddrs, lookup_host};
pub use any::{ControlMessage, Inbound, Outbound, Socket};
pub use builder::{ListenerBuilder, UdpBuilder};
pub use happy_eyeballs::HappyEyeballs;
pub use listener::TcpListener;
pub use sock_addr::SockAddr;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, StreamSocket, WriteHalf};
pub use stream::TcpStream;
pub use tcp_info::{TcpInfo, TcpState};
pub use tcp_socket::TcpSocket;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixSocket, UnixStream};

/// The domain of an address, for `socket(2)`.
fn domain(address: &std::net::SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}
