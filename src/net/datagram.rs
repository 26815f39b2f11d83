//! What sockets of datagrams do, of whichever family.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::socket::{self, Bound};
use crate::buf::{IoBuf, IoBufMut};
use crate::convert::ConvertError;
use crate::fd::Fd;
use crate::op::{self, Datagrams, Operation, PollAdd, Receive, Receives, RecvMsg, RecvMsgLease, SendMsg, ZeroCopy};
use crate::salvage::Datagram;
use crate::sys::{self, Address};

#[derive(Debug)]
pub(super) struct DatagramSocket {
    socket: Bound,
    /// What comes to a connected socket comes from its peer, so that a receive need not ask.
    connected: AtomicBool,
}

/// Datagrams that dropped receives have received, each with where it came from.
pub(super) type Unread<A> = Vec<(Vec<u8>, A)>;

impl DatagramSocket {
    pub(super) fn new(socket: Bound) -> DatagramSocket {
        DatagramSocket { socket, connected: AtomicBool::new(false) }
    }

    /// One that may have been connected by others.
    pub(super) fn foreign<A: Address>(socket: Bound) -> DatagramSocket {
        let connected = AtomicBool::new(sys::peer_address::<A>(socket.raw()).is_ok());
        DatagramSocket { socket, connected }
    }

    pub(super) fn connected(socket: Bound) -> DatagramSocket {
        DatagramSocket { socket, connected: AtomicBool::new(true) }
    }

    pub(super) fn try_clone(&self) -> io::Result<DatagramSocket> {
        let socket = self.socket.try_clone()?;
        Ok(DatagramSocket { socket, connected: AtomicBool::new(self.is_connected()) })
    }

    pub(super) fn bound(&self) -> &Bound {
        &self.socket
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn fd(&self) -> &Fd {
        self.socket.fd()
    }

    pub(super) async fn connect<A: Address>(&self, address: &A) -> io::Result<()> {
        let fd = self.fd();
        let connect = Operation::on(fd, op::Connect::new(fd.raw(), address));
        // While it is not known, a receive asks where its datagram comes from.
        self.connected.store(false, Ordering::Relaxed);
        connect.await?;
        self.connected.store(true, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn recv<B: IoBufMut, R: Receives>(&self, buf: B) -> Operation<'_, RecvMsg<B, R>> {
        let fd = self.fd();
        Operation::on(fd, RecvMsg::new(fd.raw(), buf, self.is_connected()))
    }

    pub(super) fn recv_append<B: IoBufMut, R: Receives>(&self, buf: B) -> Operation<'_, RecvMsg<B, R>> {
        let fd = self.fd();
        Operation::on(fd, RecvMsg::append(fd.raw(), buf, self.is_connected()))
    }

    pub(super) fn peek<B: IoBufMut, R: Receives>(&self, buf: B) -> Operation<'_, RecvMsg<B, R>> {
        let fd = self.fd();
        Operation::on(fd, RecvMsg::new(fd.raw(), buf, self.is_connected()).peek())
    }

    pub(super) fn recv_lease<R: Receives>(&self) -> Receive<'_, RecvMsgLease<R>> {
        Receive::new(self.fd())
    }

    pub(super) fn recv_stream<R: Receives>(&self) -> Datagrams<'_, R> {
        Datagrams::new(self.fd())
    }

    /// A datagram, which may be addressed and get more than bytes before it is sent.
    #[inline]
    pub(super) fn send<B: IoBuf>(
        &self,
        buf: B,
        with: impl FnOnce(SendMsg<B>) -> SendMsg<B>,
    ) -> Operation<'_, SendMsg<B>> {
        let fd = self.fd();
        Operation::on(fd, with(SendMsg::datagram(fd.raw(), buf)))
    }

    /// The same without copying.
    pub(super) fn send_zc<B: IoBuf>(
        &self,
        buf: B,
        with: impl FnOnce(SendMsg<B>) -> SendMsg<B>,
    ) -> Operation<'_, ZeroCopy<SendMsg<B>>> {
        let fd = self.fd();
        Operation::on(fd, ZeroCopy::new(fd, with(SendMsg::datagram(fd.raw(), buf))))
    }

    pub(super) fn readable(&self) -> Operation<'_, PollAdd> {
        let fd = self.fd();
        Operation::on(fd, PollAdd::has_datagram(fd.raw()))
    }

    pub(super) fn writable(&self) -> Operation<'_, PollAdd> {
        socket::writable(self.fd())
    }

    pub(super) async fn take_dropped_write(&self) -> Option<io::Result<usize>> {
        self.fd().take_dropped_write().await
    }

    /// As [`Bound::into_owned`].
    pub(super) fn into_owned(self) -> Result<OwnedFd, (Option<io::Error>, DatagramSocket)> {
        let connected = self.connected;
        self.socket.into_owned().map_err(|(error, socket)| (error, DatagramSocket { socket, connected }))
    }

    /// The same together with what dropped receives have received.
    pub(super) fn into_parts<A: Address>(self) -> Result<(OwnedFd, Unread<A>), ConvertError<DatagramSocket>> {
        let connected = self.connected;
        let parts = self.socket.into_parts();
        let (fd, unread) = parts.map_err(|failure| failure.map(|socket| DatagramSocket { socket, connected }))?;
        let source = |datagram: &Datagram| op::source(fd.as_raw_fd(), datagram.from);
        let unread = unread.into_iter().filter_map(|datagram| {
            let from = source(&datagram).ok()?;
            Some((datagram.bytes, from))
        });
        let unread = unread.collect();
        Ok((fd, unread))
    }

    pub(super) async fn close(self) -> io::Result<()> {
        self.socket.close().await
    }
}
