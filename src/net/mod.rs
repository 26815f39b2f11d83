//! L5: TCP, UDP and Unix sockets.
//!
//! Names and meaning are tokio's; reads and writes take their buffer by value and give it back with the result (see
//! [`buf`](crate::buf)). Sockets are `Send + Sync` and may move between loops.
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

mod address;
mod datagram;
mod listener;
mod socket;
mod split;
mod stream;
pub mod udp;
pub mod unix;

pub use crate::convert::ConvertError;
pub use address::{ToSocketAddrs, lookup_host};
pub use listener::TcpListener;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, StreamSocket, WriteHalf};
pub use stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};

/// The domain of an address, for `socket(2)`.
fn domain(address: &std::net::SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}
