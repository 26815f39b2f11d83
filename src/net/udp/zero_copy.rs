//! Sending datagrams without copying.

use std::net::SocketAddr;

use super::{Transmit, UdpSocket};
use crate::buf::IoBuf;
use crate::net::domain;
use crate::op::{Operation, SendMsg, ZeroCopy};
use crate::sys::Address;

/// Sending without copying: the kernel sends from the buffer itself, which comes back when the kernel is done with it. For
/// large datagrams, or many of one size at once ([`Transmit`]). What is not worth it is copied: fewer than 16 KiB, and
/// everything on a socket once the kernel has reported that it copies all the same. See
/// [`TcpStream::send_zc`](crate::net::TcpStream::send_zc).
impl UdpSocket {
    /// [`send`](UdpSocket::send) without copying: `IORING_OP_SEND_ZC`.
    ///
    /// # Errors
    /// As there.
    pub fn send_zc<B: IoBuf>(&self, buf: B) -> Operation<'_, ZeroCopy<SendMsg<B>>> {
        self.socket.send_zc(buf, |send| send)
    }

    /// [`send_to`](UdpSocket::send_to) without copying: `IORING_OP_SEND_ZC`.
    ///
    /// # Errors
    /// As there.
    pub fn send_to_zc<B: IoBuf>(&self, buf: B, target: SocketAddr) -> Operation<'_, ZeroCopy<SendMsg<B>>> {
        self.socket.send_zc(buf, |send| send.to(Ok(target.encode())))
    }

    /// [`send_msg`](UdpSocket::send_msg) without copying: `IORING_OP_SENDMSG_ZC`.
    ///
    /// # Errors
    /// As there.
    pub fn send_msg_zc<B: IoBuf>(&self, buf: B, transmit: &Transmit) -> Operation<'_, ZeroCopy<SendMsg<B>>> {
        let family = || self.peer_addr().map_or(libc::AF_INET, |peer| domain(&peer));
        self.socket.send_zc(buf, |send| transmit.apply(send, family))
    }
}
