//! Sockets of the Unix family, `unix(7)`: [`UnixStream`], [`UnixListener`], [`UnixDatagram`],
//! [`UnixSeqpacket`].
//!
//! Addresses are paths, or std's [`SocketAddr`]s, which may be abstract names, too.
//!
//! ```
//! # ringtoss::block_on(async {
//! use std::os::linux::net::SocketAddrExt;
//! use std::os::unix::net::SocketAddr;
//! use ringtoss::net::{UnixListener, UnixStream};
//!
//! let address = SocketAddr::from_abstract_name(format!("ringtoss-doc-{}", std::process::id()))?;
//! let listener = UnixListener::bind_addr(&address).await?;
//! let server = ringtoss::spawn(async move {
//!     let (mut stream, _) = listener.accept().await?;
//!     stream.write_all("hello").await.0
//! });
//! let mut client = UnixStream::connect_addr(&address).await?;
//! let (result, buf) = client.read_exact(Vec::with_capacity(5), 5).await;
//! result?;
//! assert_eq!(buf, b"hello");
//! assert_eq!(client.peer_cred()?.pid(), Some(std::process::id() as i32));
//! server.await.unwrap()?;
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

mod credentials;
mod datagram;
mod listener;
mod seqpacket;
mod socket;
mod stream;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::SocketAddr;

pub use credentials::UCred;
pub use datagram::{UnixDatagram, UnixMessage};
pub use listener::UnixListener;
pub use seqpacket::{Record, RecordWithRights, UnixSeqpacket, UnixSeqpacketListener};
pub use socket::UnixSocket;
pub use stream::UnixStream;

use super::{OwnedReadHalf as ReadHalfOf, OwnedWriteHalf as WriteHalfOf, ReadHalf as Reads, WriteHalf as Writes};
use crate::blocking;
use crate::sys;

/// Made by [`UnixStream::split`].
pub type ReadHalf<'a> = Reads<'a, UnixStream>;
/// Made by [`UnixStream::split`].
pub type WriteHalf<'a> = Writes<'a, UnixStream>;
/// Made by [`UnixStream::into_split`].
pub type OwnedReadHalf = ReadHalfOf<UnixStream>;
/// Made by [`UnixStream::into_split`].
pub type OwnedWriteHalf = WriteHalfOf<UnixStream>;
/// Halves of different streams do not make one.
pub type ReuniteError = super::ReuniteError<UnixStream>;

/// A socket that is bound to an address. A path is looked up and made by the file system, which may take its time, so that
/// is done on the blocking pool.
async fn bound(kind: libc::c_int, address: SocketAddr, and: fn(&OwnedFd) -> io::Result<()>) -> io::Result<OwnedFd> {
    let waits = address.as_pathname().is_some();
    let bind = move || {
        let socket = sys::socket(libc::AF_UNIX, kind)?;
        sys::bind(socket.as_raw_fd(), &address)?;
        and(&socket)?;
        Ok(socket)
    };
    if waits { blocking::run(bind).await } else { bind() }
}
